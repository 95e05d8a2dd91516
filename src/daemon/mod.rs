//! The built-in daemon: volumes as folders, with Convoy's API, where there is no Convoy.
//!
//! [`BuiltinDaemon`] implements [`crate::convoy::Daemon`] over one folder, the root:
//!
//! ```text
//! lock              held (flock) by the one process that owns the root; its id is in it
//! volumes/<name>/   the files of a volume; mounting a volume is to be given this path
//! state/<name>.json what is known of a volume and its snapshots; replaced as a whole
//! repository/       the restic-format repository with the snapshots
//! repository.key    its key, for the owner only: what it guards lies beside it in plain
//! pruned            when unused space of the repository was last given back
//! volumes/.staging/ restores before they are whole, volumes while they are removed
//! ```
//!
//! A volume that is only forgotten (as by `docker volume rm`) leaves its folder, its state and its
//! snapshots; the next volume of that name has them again. To remove all of it, make the volume
//! again, and remove it with its data.
//!
//! A backup is a copy of a snapshot into `<destination>/repository/`, in a folder or a bucket, a
//! restic-format repository that several hosts can share ([`backups`] says how). Both kinds of
//! repository can be read with `restic` and the password; restic opens repositories with an empty
//! password from 0.17 on (`--insecure-no-password`).
//!
//! The rule throughout: nothing becomes visible before it is whole, checked and on disk; what a
//! crash leaves is recognised by the next start, cleaned up, and told of ([`recovery`]).
//! [`crate::convoy::server`] gives this daemon, or any other, a Convoy socket and Docker's volume
//! plugin protocol.
//!
//! # Layout
//! From below; each file uses only what is above it in this list.
//!
//! - [`root`]: every path of a root, its owner's lock, the names in `volumes/.staging/`.
//! - [`driver`]: where the files of a volume are, and how they come there and go; one file a driver.
//! - [`state`]: the state files. [`volumes`]: the book-keeping over them, and the order of its locks.
//! - [`convoy_form`]: how Convoy writes a volume, a snapshot, the settings.
//! - [`repository`]: a restic-format repository, and the storage that its files are in.
//! - [`tree`]: a folder, read for a snapshot or written by a restore.
//! - [`snapshots`]: the root's own repository. [`backups`]: the repositories at destinations.
//! - [`recovery`]: restores, removals and snapshots, each with what a crash leaves of it and the
//!   mend.
//! - [`options`], [`operations`]: what the API does, one method an operation. [`builtin`]: the trait
//!   over it.

mod backups;
mod builtin;
mod convoy_form;
mod driver;
mod operations;
mod options;
mod recovery;
mod repository;
mod root;
mod snapshots;
mod state;
#[cfg(test)]
mod tests;
mod tree;
mod volumes;

pub(crate) use builtin::BuiltinDaemon;
pub(crate) use options::BuiltinOptions;
pub(crate) use repository::S3Options;
