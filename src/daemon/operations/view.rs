//! Who asks, and what of the volumes is shown then.

use super::super::{driver::Docker, state::VolumeState};

/// Which volumes a caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::daemon) enum View {
    /// All.
    Whole,
    /// Those that Docker has by its plugin, as they are known: Docker asks while it answers us, so
    /// asking it back would make both wait. Docker's own are not the plugin's.
    Plugin,
}

impl View {
    pub(super) fn shows(self, volume: &VolumeState) -> bool {
        self == Self::Whole || volume.driver != Docker::NAME
    }
}
