//! The volume daemon as a trait: Convoy's API, at both ends of the wire.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{
    Backup, BackupUrl, Capabilities, Destination, DriverInfo, Info, Mount, Name, NewVolume,
    Snapshot, Volume,
};
use crate::error::Result;

/// The operations of Convoy's API, and what a daemon knows beyond it.
///
/// No method has a default: each implementation says what it knows, also those that only pass calls
/// on, so that nothing is lost on the way to a script.
///
/// Every method fails with [`crate::error::ErrorKind::Unreachable`] where nothing was sent,
/// `Timeout` where the outcome is unknown, `Protocol` where the answer makes no sense, `NotFound`
/// and `Daemon` where the daemon said no, its own words included. None of them repeats a write.
/// Dropping a future does not stop the daemon: it goes on with what it was told.
#[async_trait]
pub(crate) trait Daemon: Send + Sync + std::fmt::Debug {
    /// One line on which daemon this is, for the log: `Convoy at /var/run/convoy/convoy.sock`.
    fn description(&self) -> String;

    /// The key under which locks and the store know this daemon: the same for every way to one
    /// address.
    fn identity(&self) -> String;

    /// What the daemon does beyond Convoy's API. Our server answers `GET /capabilities`; Convoy has
    /// no such route, and [`Capabilities::CONVOY`].
    async fn capabilities(&self) -> Result<Capabilities>;

    /// Whether a destination holds anything that backups need; `None` where the daemon can't tell.
    /// Our server answers `GET /backups/used`; Convoy has no such route, and can't tell.
    async fn is_used(&self, destination: &Destination) -> Result<Option<bool>>;

    /// `GET /info`: the daemon's settings and its drivers'.
    async fn info(&self) -> Result<Info>;

    /// `GET /volumes/list`, by name. An empty answer is no proof that there are none.
    async fn volumes(&self) -> Result<BTreeMap<String, Volume>>;

    /// `GET /volumes/list?driver=1`: the drivers' own view, by name.
    async fn driver_volumes(&self) -> Result<BTreeMap<String, DriverInfo>>;

    /// `GET /volumes/`: one volume.
    async fn volume(&self, name: &Name) -> Result<Volume>;

    /// `POST /volumes/create`: a new volume, empty or from a backup.
    async fn create_volume(&self, volume: &NewVolume) -> Result<Volume>;

    /// `POST /volumes/mount`: where the volume's files are; at `mount_point` where the driver can
    /// choose.
    async fn mount_volume(&self, name: &Name, mount_point: Option<&str>) -> Result<Mount>;

    /// `POST /volumes/umount`.
    async fn unmount_volume(&self, name: &Name) -> Result<()>;

    /// `DELETE /volumes/`: with `reference_only` the data stays and only the daemon forgets it.
    async fn delete_volume(&self, name: &Name, reference_only: bool) -> Result<()>;

    /// `POST /snapshots/create`.
    async fn create_snapshot(&self, volume: &Name, name: &Name) -> Result<Snapshot>;

    /// `GET /snapshots/`: one snapshot.
    async fn snapshot(&self, name: &Name) -> Result<Snapshot>;

    /// `DELETE /snapshots/`.
    async fn delete_snapshot(&self, name: &Name) -> Result<()>;

    /// `GET /backups/list`: the backups at a destination, of one volume or of all; in no particular
    /// order.
    async fn backups(
        &self,
        destination: &Destination,
        volume: Option<&Name>,
    ) -> Result<Vec<Backup>>;

    /// `GET /backups/inspect`: one backup.
    async fn backup(&self, url: &BackupUrl) -> Result<Backup>;

    /// `POST /backups/create`: copies a snapshot to a destination; the new backup's URL.
    async fn create_backup(&self, snapshot: &Name, destination: &Destination) -> Result<BackupUrl>;

    /// `DELETE /backups`.
    async fn delete_backup(&self, url: &BackupUrl) -> Result<()>;
}
