//! How safe each volume is: what the daemon, the store of runs and the destinations know of it, and
//! what is wrong.
//!
//! The room asks volume daemons (through guards that only read) and the store of runs, reads the
//! crontab's entries and queues alerts. The command line, `serve` and HTTP call it; it knows none of
//! them. The pieces, the lowest first:
//!
//! - `freshness`: pure: whether a backup is new enough.
//! - `known`: the records of what was seen. `report`: the form in which people and programs get it.
//! - `coverage`: which lines of the crontab snapshot and back up a volume.
//! - `failures`: which runs failed and never went well since.
//! - `destinations`: whether each destination holds what was put there last.
//! - `volumes`: each volume's state, from all of those.
//! - `alerts`: who is told of what is wrong, and of its end.
//! - `assemble`: one report of everything.

pub(crate) mod alerts;
mod assemble;
mod coverage;
mod destinations;
mod failures;
pub(crate) mod freshness;
mod known;
pub(crate) mod report;
mod volumes;

pub(crate) use assemble::{Seen, report};
pub(crate) use coverage::Expected;
pub(crate) use destinations::destinations;
pub(crate) use known::{Known, LookVerdict, VolumeStatus};
pub(crate) use volumes::{guards, volumes};
