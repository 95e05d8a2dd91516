//! The model's world: hosts that share a destination, the true time, and what the model knows.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    hosts::{Command, Host, Kind, Limit},
    model::Model,
    random::Random,
    share::Share,
};
use crate::clock::FixedClock;

pub(super) struct World {
    pub(super) random: Random,
    pub(super) kind: Kind,
    pub(super) runtime: Runtime,
    _folder: TempDir,
    pub(super) share: Arc<Share>,
    pub(super) hosts: Vec<Host>,
    pub(super) model: Model,
    /// The true time.
    pub(super) now: Timestamp,
    /// How much each host's clock is wrong.
    pub(super) wrong_by: Vec<SignedDuration>,
    /// The number of the last new content.
    pub(super) contents: u64,
    /// The commands of each host that failed and have not succeeded since.
    pub(super) failed: Vec<BTreeSet<Command>>,
    /// Whether a command of the host failed since all was put right.
    pub(super) is_troubled: Vec<bool>,
    /// Whether a command failed while the clock was ahead: its alert stays open until that date.
    pub(super) failed_in_future: Vec<bool>,
    /// What came of the commands of this step.
    pub(super) outcomes: Vec<String>,
}

impl World {
    /// So many hosts of this kind, without volumes.
    pub(super) fn new(seed: u64, kind: Kind, hosts: usize) -> Self {
        let folder = scratch();
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let share = Arc::new(Share::new(folder.path()));
        let host = |number: usize| {
            let limit = [Limit::ThreeDays, Limit::Daily, Limit::Unsaid][number % 3];
            let clock = Arc::new(FixedClock::new(now, TimeZone::UTC));
            let folder = folder.path().join(format!("host{number}"));
            Host::new(number, kind, limit, &folder, &share, clock)
        };
        Self {
            random: Random::new(seed),
            kind,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
            hosts: (0..hosts).map(host).collect(),
            _folder: folder,
            share,
            model: Model::default(),
            now,
            wrong_by: vec![SignedDuration::ZERO; hosts],
            contents: 0,
            failed: vec![BTreeSet::new(); hosts],
            is_troubled: vec![false; hosts],
            failed_in_future: vec![false; hosts],
            outcomes: Vec::new(),
        }
    }
}

/// A new folder, in memory where there is one: the model writes small files all the time.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}
