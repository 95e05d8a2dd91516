//! The volume daemon as a trait: Convoy's API, for clients and servers alike.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{
    AsItIs, Backup, BackupUrl, Capabilities, Changes, Destination, DriverInfo, GivenBack, Info,
    Mount, Name, NewVolume, Quiesced, ReadBack, Snapshot, Volume, WasReadBack,
    inside::{Content, Look, ReadFile, Seen},
};
use crate::error::Result;

/// The operations of Convoy's API, and what a daemon knows beyond it.
///
/// No method has a default. Each implementation says what it knows, even if it only passes calls
/// on, so that no knowledge is lost on the way to a script.
///
/// Every method can fail with these kinds of [`crate::error::ErrorKind`]:
/// - `Unreachable`: nothing was sent.
/// - `Timeout`: the outcome is unknown.
/// - `Protocol`: the answer makes no sense.
/// - `NotFound` and `Daemon`: the daemon refused, and the error has its words.
///
/// No method repeats a write. Dropping a future does not stop the daemon, which finishes what it
/// was asked to do.
#[async_trait]
pub(crate) trait Daemon: Send + Sync + std::fmt::Debug {
    /// One line that names this daemon, for the log: `Convoy at /var/run/convoy/convoy.sock`.
    fn description(&self) -> String;

    /// The key under which locks and the store know this daemon. It is the same for every way to
    /// reach one address.
    fn identity(&self) -> String;

    /// What the daemon does beyond Convoy's API. Our server answers `GET /capabilities`. Convoy has
    /// no such route, so the answer is [`Capabilities::CONVOY`].
    async fn capabilities(&self) -> Result<Capabilities>;

    /// Whether a destination holds anything that backups need; `None` if the daemon can't tell. Our
    /// server answers `GET /backups/used`. Convoy has no such route and can't tell.
    async fn is_used(&self, destination: &Destination) -> Result<Option<bool>>;

    /// The mount points at a volume's folder and below it, as the daemon's process sees them; `None`
    /// if the daemon can't tell. Our server answers `GET /volumes/mounts`. Convoy has no such route
    /// and can't tell.
    async fn mounts_in_volume(&self, volume: &Name) -> Result<Option<Vec<String>>>;

    /// Whether a volume's files are still those of one of its backups. Our server answers `GET
    /// /volumes/changes`. Convoy has no such route and can't tell.
    async fn changes_since(&self, volume: &Name, backup: &BackupUrl) -> Result<Changes>;

    /// `GET /info`: the settings of the daemon and of its drivers.
    async fn info(&self) -> Result<Info>;

    /// `GET /volumes/list`: the volumes by name. An empty answer does not prove that there are no
    /// volumes.
    async fn volumes(&self) -> Result<BTreeMap<String, Volume>>;

    /// `GET /volumes/list?driver=1`: the volumes as the drivers see them, by name.
    async fn driver_volumes(&self) -> Result<BTreeMap<String, DriverInfo>>;

    /// The volumes that are forgotten, by name: they are not listed, and their files and snapshots
    /// stay. `None` if the daemon can't tell. Our server answers `GET /volumes/forgotten`. Convoy has
    /// no such route and can't tell. [`Daemon::delete_volume`] also deletes one of these.
    async fn forgotten_volumes(&self) -> Result<Option<BTreeMap<String, Volume>>>;

    /// `GET /volumes/`: one volume.
    async fn volume(&self, name: &Name) -> Result<Volume>;

    /// `POST /volumes/create`: a new volume, empty or from a backup.
    async fn create_volume(&self, volume: &NewVolume) -> Result<Volume>;

    /// `POST /volumes/mount`: the folder with the volume's files. The folder is `mount_point` if
    /// the driver can choose.
    async fn mount_volume(&self, name: &Name, mount_point: Option<&str>) -> Result<Mount>;

    /// `POST /volumes/umount`.
    async fn unmount_volume(&self, name: &Name) -> Result<()>;

    /// `DELETE /volumes/`. With `reference_only`, the daemon forgets the volume and the data stays. With
    /// `id`, only the volume that has it, as far as the daemon gives volumes ids: another may have the
    /// name since it was looked at.
    async fn delete_volume(
        &self,
        name: &Name,
        id: Option<&str>,
        reference_only: bool,
    ) -> Result<()>;

    /// `POST /snapshots/create`.
    async fn create_snapshot(&self, volume: &Name, name: &Name) -> Result<Snapshot>;

    /// `GET /snapshots/`: one snapshot.
    async fn snapshot(&self, name: &Name) -> Result<Snapshot>;

    /// `DELETE /snapshots/`.
    async fn delete_snapshot(&self, name: &Name) -> Result<()>;

    /// `GET /backups/list`: the backups at a destination, of one volume or of all, in no particular
    /// order.
    async fn backups(
        &self,
        destination: &Destination,
        volume: Option<&Name>,
    ) -> Result<Vec<Backup>>;

    /// `GET /backups/inspect`: one backup.
    async fn backup(&self, url: &BackupUrl) -> Result<Backup>;

    /// Inspects many backups, and loads only once what they share. The answers are those for the
    /// first of `urls`, in their order, and at least one: where the backups are large, ask again
    /// for the rest. The outer error is about none of them: the destination can't be read at all.
    ///
    /// Our server answers `GET /backups/inspected`. Convoy has no such route, so each is inspected
    /// by a call of its own.
    async fn inspect_backups(&self, urls: &[BackupUrl]) -> Result<Vec<Result<Backup>>>;

    /// Reads the data of backups back for a short time, and compares it with what was written. `None` if
    /// the daemon can't. Our server answers `GET /backups/read`. Convoy has no such route.
    async fn read_back(
        &self,
        destination: &Destination,
        what: &ReadBack,
    ) -> Result<Option<WasReadBack>>;

    /// Looks into backups. `None` if the daemon can't. Our server answers `GET /backups/look`. Convoy has
    /// no such route.
    async fn look(&self, what: &Look) -> Result<Option<Seen>>;

    /// Reads a file or a folder of a backup. `None` if the daemon can't. Our server answers `GET
    /// /backups/content`. Convoy has no such route.
    async fn content(&self, what: &ReadFile) -> Result<Option<Content>>;

    /// `POST /backups/create`: copies a snapshot to a destination and returns the new backup's URL.
    async fn create_backup(&self, snapshot: &Name, destination: &Destination) -> Result<BackupUrl>;

    /// Runs what labels ask to be done before, and holds what writes to volumes still until
    /// [`Daemon::let_go_on`], or the limit of holds has passed. Backups of these volumes use the hold
    /// until then. Our server answers `POST /volumes/quiesce`. Convoy has no such route
    /// ([`Capabilities::holds_writers`]).
    async fn quiesce(&self, volumes: &[Name]) -> Result<Quiesced>;

    /// Lets what was held go on, and runs what labels ask to be done after. It fails if it was let go on
    /// before. Our server answers `POST /volumes/release`.
    async fn let_go_on(&self, id: &str) -> Result<()>;

    /// Runs a command in a container: the one that its label `convoy-backups.exec.NAME` has. Our
    /// server answers `POST /containers/exec`. Convoy has no such route.
    async fn run_in_container(&self, container: &str, command: &str) -> Result<()>;

    /// Writes volumes as they are now to a destination, each as a backup of its own. What writes to
    /// any of them is held still at the same time, where it is held at all. The answers are the
    /// backups' URLs, in the order of `volumes`; one that fails does not stop the others. The outer
    /// error is about all of them. Our server answers `POST /volumes/backup`. Convoy has no such
    /// route ([`Capabilities::backs_up_volumes`]).
    async fn back_up(
        &self,
        volumes: &[AsItIs],
        destination: &Destination,
    ) -> Result<Vec<Result<BackupUrl>>>;

    /// Gives back the space of what no backup at a destination needs any more. `None` if the daemon does
    /// that by itself. Our server answers `POST /backups/give-back`. Convoy has no such route; a deletion
    /// there frees space at once.
    async fn give_back(&self, destination: &Destination) -> Result<Option<GivenBack>>;

    /// `DELETE /backups`: deletes a backup as long as those in `required`, which are at the same
    /// destination, are there. If one is not, nothing is deleted, and the error is a
    /// [`crate::error::ErrorKind::Guard`].
    ///
    /// Our server looks after them under its lock of the destination ([`Capabilities`]). Convoy does
    /// not look after them.
    async fn delete_backup(&self, url: &BackupUrl, required: &[BackupUrl]) -> Result<()>;
}
