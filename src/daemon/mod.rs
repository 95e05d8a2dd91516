//! The built-in daemon: volumes as folders, with Convoy's API, where there is no Convoy.
//!
//! [`BuiltinDaemon`] implements [`crate::convoy::Daemon`] over one folder, the root:
//!
//! ```text
//! lock              held (flock) by the one process that owns the root; has its process id
//! format.json       which format its files have, and the oldest release that knows it
//! identity.json     who the root is, and where it was when it was last opened
//! volumes/<name>/   the files of a volume; a mount returns this path
//! state/<name>.json the state of a volume and its snapshots; always replaced as a whole
//! repository/       the restic-format repository of the snapshots
//! repository.key    its key, for the owner only; the volumes beside it are not encrypted either
//! copies/           small files of repositories in buckets, so that each is read once; may go
//! damaged/          pieces of files and folders that could not be read, one file a destination
//! missing/          packs that were missing at a destination, and since when, one file a destination
//! locked/           until when what is locked in a bucket, one file a destination
//! read-back/         when the packs at a destination were read back, one file a destination
//! repository.damaged-N  what is left of a repository that was damaged and made anew
//! written/          the newest backups that were written here, one file a destination
//! moments/          notes on moments that are held, so that the next start undoes them
//! spool/            packs that wait to be uploaded; what is there at a start is removed
//! pruned            its modification time tells when unused space was last freed
//! volumes/.staging/ volumes that are being restored or removed, and btrfs snapshots being read
//! ```
//!
//! A volume that was only forgotten (as by `docker volume rm`) leaves its folder, its state and its
//! snapshots. The next volume of that name that a client makes gets them back. Where Docker makes
//! one, or a backup is restored, they get another name ([`recovery::aside`]).
//!
//! A backup is in `<destination>/repository/`, in a folder or a bucket: a volume that was written
//! there as it was at one moment, or a copy of a snapshot. That is a restic-format repository that
//! several hosts can share ([`backups`] says how). Both kinds of repository can be read with `restic` and the password. restic opens repositories with an empty
//! password from version 0.17 on (`--insecure-no-password`).
//!
//! One rule holds everywhere: nothing becomes visible before it is whole, checked and on disk. The
//! next start recognises what a crash left, cleans it up and reports it ([`recovery`]).
//! [`crate::convoy::server`] serves this daemon, like any other, on a Convoy socket and with
//! Docker's volume plugin protocol.
//!
//! # Layout
//! Each file uses only those above it in this list.
//!
//! - [`threads`]: starting threads. [`root`]: every path in a root, the owner's lock, and the names in `volumes/.staging/`.
//! - [`format`]: the format of a root's files; a newer one is refused.
//! - [`identity`]: the root's id, and what becomes of it where a root is moved or copied.
//! - [`moment`]: one point in time of a folder's files. Each kind of moment has a file.
//! - [`driver`]: where the files of a volume are. Each driver has a file.
//! - [`mounted`]: who has a volume mounted. [`state`]: the state files. [`mounted_before`]: the marks of
//!   earlier boots. [`volumes`]: the volumes in memory, and the order of their locks.
//! - [`found`]: volumes that a driver finds by itself. [`database`], [`seen`]: what is seen of volumes' places.
//! - [`convoy_form`]: volumes, snapshots and settings as Convoy writes them.
//! - [`repository`]: a restic-format repository, and the storage of its files.
//! - [`tree`]: reads a folder for a snapshot, and writes one for a restore.
//! - [`save`]: reads a folder once, and writes what is new of it into a repository.
//! - [`collect`]: gives back the space of what no snapshot in a repository needs.
//! - [`snapshots`]: the root's own repository. [`backups`]: the repositories at destinations.
//! - [`reading`]: reading a volume, of a moment. [`dump`]: dumps of the databases in it.
//! - [`recovery`]: restores, removals and snapshots, each with the repair after a crash.
//! - [`options`], [`operations`]: what the API does, one method per operation. [`builtin`]: the
//!   trait over it.

mod backups;
mod builtin;
mod collect;
mod convoy_form;
mod database;
mod driver;
mod dump;
mod format;
mod found;
mod gate;
mod identity;
mod inside;
mod moment;
mod mounted;
mod mounted_before;
mod operations;
mod options;
mod read_together;
mod reading;
mod recovery;
mod repository;
mod root;
mod save;
mod seen;
mod snapshots;
mod state;
#[cfg(test)]
mod tests;
mod threads;
mod tree;
mod unheld;
mod volumes;

use std::path::{Path, PathBuf};

use crate::error::Result;

pub(crate) use builtin::BuiltinDaemon;
pub(crate) use driver::{DockerOptions, Patience, is_in_container};
pub(crate) use moment::{ContainerHolds, HoldCommands, HoldOptions, MomentCommands, release_all};
pub(crate) use options::BuiltinOptions;
pub(crate) use snapshots::damage_of_snapshots;

/// Whether the root at this path was copied or moved, and nobody has settled which of both. It changes
/// nothing; a root that can't be looked at is none.
pub(crate) fn is_copied(root: &Path) -> bool {
    identity::Identity::is_copied(root)
}

/// The folder in which packs wait for a slow destination, for the daemon of this root, and how many
/// bytes could wait there now, at most `most`; `None` if that can't be seen.
pub(crate) fn spool_room(root: &Path, most: u64) -> (PathBuf, Option<u64>) {
    let place = repository::SpoolPlace { folder: root::Root::looked_at(root).spool(), most };
    let room = place.room().ok();
    (place.folder, room)
}

/// Settles that this root was moved and not copied, so that all that it made before is its own.
/// Returns whether there was anything to settle.
///
/// # Errors
/// [`crate::error::ErrorKind::Busy`] if a process owns the root; another kind if there is no root,
/// or its files can't be read or written.
pub(crate) fn settle_moved(root: &Path) -> Result<bool> {
    identity::Identity::settle_moved(&root::Root::existing(root)?)
}
