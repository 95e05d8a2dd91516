//! Backups: copies of snapshots in restic-format repositories at `vfs://` and `s3://` destinations.
//!
//! A backup is a restic snapshot whose tags carry what Convoy's API tells of it ([`record`]); its
//! host is the host that made it, its one path is `/<volume>`, its time is when the volume was
//! snapshotted. Several hosts may share a destination. As with Convoy, a backup there is named by
//! the volume's name and the backup's, for any host: a listing shows the backups of all hosts,
//! and two hosts with volumes of one name share one history of that name. Hosts whose volumes of
//! one name are not the same volume need a destination each (`vfs:///backups/host1`).
//!
//! Backups of several hosts run side by side (a shared `flock` on
//! `repository/convoy-backups.lock`), a delete runs alone. Where there are no locks (on S3, and on
//! some file systems), two things still hold: nothing is removed before it was unused for 23 hours,
//! and each new backup is checked, and completed where needed, before it becomes visible.
//!
//! From below: what a backup's tags say ([`record`]), which backups a repository has
//! ([`catalogue`]), that one of them is whole ([`prove`]), the repository of one destination with
//! its locks ([`destination`]), and over it the verbs: [`inspect`], [`create`], [`restore`],
//! [`delete`]. [`destinations`] finds the repository of a destination.

mod catalogue;
mod create;
mod delete;
mod destination;
mod destinations;
mod inspect;
mod lock_file;
mod prove;
mod record;
mod restore;

pub(super) use destinations::Destinations;
pub(super) use record::StoredUrl;
