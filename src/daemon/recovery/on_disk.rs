//! What lies on disk of volumes.

use super::super::{driver::Driver, root::Root, state::StateFolder};

/// What lies on disk of volumes, and what is remembered of them there.
#[derive(Clone, Copy)]
pub(in crate::daemon) struct OnDisk<'a> {
    pub(in crate::daemon) root: &'a Root,
    pub(in crate::daemon) driver: &'a dyn Driver,
    pub(in crate::daemon) state: &'a StateFolder,
}
