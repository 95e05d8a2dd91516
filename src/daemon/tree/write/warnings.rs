//! What a restore could not keep without failing.

use std::sync::Mutex;

use crate::sync::lock;

/// What could not be kept, and why that is not a failure.
#[derive(Debug, Default)]
pub(in crate::daemon) struct RestoreWarnings(Mutex<Vec<String>>);

impl RestoreWarnings {
    /// Adds a warning, unless it is there already.
    pub(super) fn add(&self, warning: &str) {
        let mut warnings = lock(&self.0);
        if !warnings.iter().any(|known| known == warning) {
            warnings.push(warning.to_owned());
        }
    }

    /// The warnings, each once.
    pub(in crate::daemon) fn take(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0))
    }
}
