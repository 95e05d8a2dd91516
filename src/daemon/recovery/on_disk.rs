//! The places on disk that belong to volumes.

use super::super::{driver::Vfs, root::Root, state::StateFolder};

/// The places on disk that belong to volumes of the driver `vfs`: the root, their files and their states.
#[derive(Clone, Copy)]
pub(in crate::daemon) struct OnDisk<'a> {
    pub(in crate::daemon) root: &'a Root,
    pub(in crate::daemon) driver: &'a Vfs,
    pub(in crate::daemon) state: &'a StateFolder,
}
