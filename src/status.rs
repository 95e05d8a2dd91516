//! How safe each volume is, by what the daemon, the store of runs and the destinations know of it.
//!
//! The room asks volume daemons through guards that only read, asks the store of runs, reads the
//! crontab's entries and queues alerts. The command line, `serve` and HTTP call it; it knows none
//! of them. Its files, the lowest first:
//!
//! - `distance`: how far a volume's backups usually come apart.
//! - `evidence`: what a volume's good backups prove: one that is dated in the future proves nothing.
//! - `freshness`: the pure rule: whether a backup is new enough, and the sentence that says so.
//! - `volume`: the record of one volume. `known`: what a look at all of them found.
//! - `coverage`: which lines of the crontab snapshot and back up a volume.
//! - `failures`: which runs failed and have not succeeded since.
//! - `newest`: the look at each volume's newest backup at one destination. `destinations`: what that
//!   says of each destination, and what is learned from it.
//! - `volumes`: the state of each volume, from all of those.
//! - `look`: one look at every daemon that the crontab uses.
//! - `alerts`: which problems of volumes and destinations are reported, and when they are resolved.
//! - `headline`: the sentence on all of them.
//! - `left_out`: the sentences on what is on a Docker host and not backed up.
//! - `report`: the form in which people and programs get the result; `assemble` fills it in.

pub(crate) mod alerts;
mod assemble;
mod backups;
mod coverage;
mod destinations;
mod distance;
mod evidence;
mod failures;
mod freshness;
mod headline;
mod known;
mod left_out;
mod look;
mod newest;
mod removals;
mod report;
mod volume;
mod volumes;

#[cfg(test)]
mod tests;

pub(crate) use assemble::{Sources, report};
pub(crate) use coverage::Coverage;
pub(crate) use freshness::{Level, State};
pub(crate) use known::{DestinationLook, DestinationVerdict, Known};
pub(crate) use left_out::{not_backed_up, should_be_backed_up};
pub(crate) use look::{DaemonLook, Looked, look, look_at_destination};
pub(crate) use report::Report;
pub(crate) use volume::VolumeStatus;
