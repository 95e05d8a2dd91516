//! A daemon as Docker's volume plugin: what its protocol asks beyond Convoy's API.

use async_trait::async_trait;

use super::{Daemon, Mount, Name};
use crate::error::Result;

/// What Docker asks of its volume plugin. The daemon's other methods answer without a question to
/// Docker: while Docker asks, it may not answer.
///
/// The errors are those of [`Daemon`].
#[async_trait]
pub(crate) trait Plugin: Daemon {
    /// Mounts a volume for a container. `user` is the id that Docker gives to that mount.
    async fn mount_for(&self, name: &Name, user: &str) -> Result<Mount>;

    /// Unmounts a volume for a container. It stays mounted while another one has it.
    async fn unmount_for(&self, name: &Name, user: &str) -> Result<()>;

    /// Removes a volume that no container has any more, as Docker says. Its files stay.
    async fn remove_for_docker(&self, name: &Name) -> Result<()>;
}
