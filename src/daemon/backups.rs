//! Backups: copies of snapshots in restic-format repositories at `vfs://` and `s3://` destinations.
//!
//! A backup is a restic snapshot whose tags hold what Convoy's API tells about the backup
//! ([`record`]). Its host is the host that made it, its one path is `/<volume>`, and its time is
//! when the volume was snapshotted.
//!
//! Several hosts may share a destination. As with Convoy, a backup is named by the volume's name
//! and the backup's name, whichever host made it. A listing shows the backups of all hosts, and two
//! hosts with volumes of the same name share one history of that name. If those are different
//! volumes, each host needs its own destination (`vfs:///backups/host1`).
//!
//! Backups of several hosts run side by side (a shared `flock` on
//! `repository/convoy-backups.lock`), and a deletion runs alone, and gets its turn ([`lock_file`]).
//! restic is kept away by its own locks ([`crate::daemon::repository::ResticLock`]). S3 and some file systems have no
//! locks. Some rules still hold there. Nothing is removed before it was unused for 23 hours. Each
//! new backup is checked, and completed if needed, before it becomes visible; then what another host
//! has marked for deletion meanwhile is named again ([`adopt`]).
//!
//! From the lowest file up: what a backup's tags say ([`record`]), which backups a repository has
//! ([`catalogue`]), what of them could not be read ([`damage`]) or was missing ([`looks`]), which of them this daemon wrote
//! ([`written`]), the proof that a backup is whole
//! ([`prove`]), and the repository of one destination with its locks ([`destination`]), of which two
//! backups at a time are made ([`slots`]). The operations [`inspect`], [`create`], [`restore`],
//! [`delete`] and [`give_back`] use these; [`heal`] makes good what a destination has lost, and
//! [`read_back`] finds what is damaged ([`read_times`]), [`look_into`] opens one to be looked into. What must not vanish is locked in a bucket
//! ([`keep_locked`], [`object_locks`]). [`destinations`] finds the repository of a
//! destination.

mod adopt;
mod back_up;
mod catalogue;
mod create;
mod damage;
mod delete;
mod destination;
mod destinations;
mod give_back;
mod heal;
mod inspect;
mod keep_locked;
mod lock_file;
mod look_into;
mod looks;
mod object_locks;
mod prove;
mod read_back;
mod read_times;
mod record;
mod restore;
mod slots;
mod written;

pub(super) use back_up::ToBackUp;
pub(super) use destinations::Destinations;
pub(super) use look_into::Looking;
pub(super) use record::StoredUrl;
