//! How safe each volume is: what the daemon, the store of runs and the destinations know of it, and
//! what is wrong.
//!
//! The room asks volume daemons (through guards that only read) and the store of runs, reads the
//! crontab's entries and queues alerts. The command line, `serve` and HTTP call it; it knows none of
//! them. The pieces, the lowest first:
//!
//! - `freshness`: pure: whether a backup is new enough, and the sentence that says so.
//! - `volume`: the record of one volume. `known`: what a look at all of them found.
//! - `coverage`: which lines of the crontab snapshot and back up a volume.
//! - `failures`: which runs failed and never went well since.
//! - `destinations`: whether each destination holds what was put there last.
//! - `volumes`: each volume's state, from all of those.
//! - `look`: one look at every daemon that the crontab uses.
//! - `alerts`: who is told of what is wrong, and of its end.
//! - `report`: the form in which people and programs get it; `assemble` fills it in.

pub(crate) mod alerts;
mod assemble;
mod coverage;
mod destinations;
mod failures;
mod freshness;
mod known;
mod look;
mod report;
mod volume;
mod volumes;

pub(crate) use assemble::{Sources, report};
pub(crate) use coverage::Coverage;
pub(crate) use freshness::State;
pub(crate) use known::{DestinationVerdict, Known};
pub(crate) use look::{DaemonLook, Looked, look, look_at_destination};
pub(crate) use report::Report;
pub(crate) use volume::VolumeStatus;
