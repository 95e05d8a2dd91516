//! Reads a volume's folder for a snapshot. The walk uses open folder handles, so swapping a folder
//! for a symlink during the walk can't lead it outside the volume.
//!
//! - rustic ignores what it can't read. So every failure is recorded here ([`ReadFailures`]), and
//!   the snapshot fails if there was one.
//! - Files that vanish between listing and reading are normal for a volume in use. They are
//!   counted.
//! - Mounts inside the volume are crossed, as `tar` does.
//! - Sockets are kept as empty names, as restic does.
//! - Extended attributes, owners, times and link counts are kept as they are. Owners are numbers;
//!   their names are not looked up.
//! - A file that grows while it is read ends at the size it had when it was listed. A file that was
//!   replaced by another one is read to the end of the new one.

mod compare;
mod failures;
mod file;
mod metadata;
mod open;
mod source;
#[cfg(test)]
mod tests;
mod walk;

pub(in crate::daemon) use compare::first_difference;
pub(in crate::daemon) use failures::ReadFailures;
pub(in crate::daemon) use source::VolumeSource;
