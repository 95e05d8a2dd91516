//! Reads a volume's folder: the metadata of files, what can't be read, and the comparison of a
//! volume with a snapshot. The walk uses open folder handles, so swapping a folder for a symlink
//! during the walk can't lead it outside the volume.

mod compare;
mod failures;
mod file;
mod metadata;
#[cfg(test)]
mod tests;
mod walk;

pub(in crate::daemon) use compare::first_difference;
pub(in crate::daemon) use failures::{Lacking, ReadFailures, cut};
pub(in crate::daemon) use metadata::{MetadataNotes, MetadataReader, kind_of};
