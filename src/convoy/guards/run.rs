//! The guarded daemon of one run: what all guards share, and what they remember.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use super::observations::{Observation, Observations};
use crate::{
    clock::Clock,
    convoy::{BackupUrl, Daemon, Destination, Info},
    error::{Error, ErrorKind, Result},
    locks::Locks,
    sync::lock,
};

/// The guarded daemon of one run. All of a run's calls go through the same one, for it remembers
/// what the run has seen.
#[derive(Debug)]
pub(crate) struct Guards {
    pub(super) daemon: Arc<dyn Daemon>,
    /// None in a dry run, which writes nothing, not even a lock file.
    pub(super) locks: Option<Locks>,
    /// Where it is remembered at which destinations good backups were seen.
    pub(super) marks: Option<PathBuf>,
    /// The run said that it would only read.
    pub(super) read_only: bool,
    pub(super) clock: Arc<dyn Clock>,
    /// How often a backup that is still being completed (EBS) is looked at.
    pub(super) poll_interval: Duration,
    pub(super) memory: Mutex<Memory>,
}

/// What a run remembers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Why no deletion may happen any more in this run.
    pub(super) stopped: Option<String>,
    /// Volumes, each with a destination's key, of which a backup was tried in this run without
    /// being proven good, and why not.
    pub(super) unproven: BTreeMap<(String, String), String>,
    /// Backups made in this run, proven good and not deleted since, and where each is.
    pub(super) made: Vec<(Destination, BackupUrl)>,
    /// The region of the daemon's EBS driver, where it has one; `None` until it was asked.
    pub(super) ebs_region: Option<Option<String>>,
    /// Backups that were inspected in this run and found good.
    pub(super) good: Vec<BackupUrl>,
    /// What happened, for the record.
    pub(super) observations: Observations,
    /// Backups that were seen to be a volume's own, by a snapshot that this run may have deleted
    /// since.
    pub(super) own: Vec<BackupUrl>,
}

impl Guards {
    /// Guards over this daemon; without `locks` where it is a dry run.
    pub(crate) fn new(
        daemon: Arc<dyn Daemon>,
        locks: Option<Locks>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let marks = locks.as_ref().map(|locks| locks.folder().to_owned());
        Self {
            daemon,
            locks,
            marks,
            read_only: false,
            clock,
            poll_interval: Duration::from_secs(10),
            memory: Mutex::default(),
        }
    }

    /// Guards that only read: every write is refused before the daemon hears of it, also in a dry
    /// run.
    pub(crate) fn read_only(daemon: Arc<dyn Daemon>, clock: Arc<dyn Clock>) -> Self {
        Self { read_only: true, ..Self::new(daemon, None, clock) }
    }

    /// The same, who also miss the backups that were seen at a destination, by the marks beside the
    /// locks in this folder.
    pub(crate) fn expecting_known_backups(self, lock_folder: &Path) -> Self {
        Self { marks: Some(lock_folder.to_owned()), ..self }
    }

    /// Refuses a write where only reading was agreed on; every method that writes asks first.
    pub(super) fn may_write(&self, what: &str) -> Result<()> {
        if !self.read_only {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Script, format!("a script that only reads can't {what}"))
            .with_hint(
                "take \"const READ_ONLY = true;\" out of the script, or the call; nothing was done",
            ))
    }

    /// Which daemon this is, whichever way it is reached.
    pub(crate) fn identity(&self) -> String {
        self.daemon.identity()
    }

    /// The daemon's settings.
    ///
    /// # Errors
    /// As [`Daemon::info`].
    pub(crate) async fn info(&self) -> Result<Info> {
        self.daemon.info().await
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    /// Stops every deletion of this run from here on.
    pub(super) fn stop(&self, why: impl Into<String>) {
        let why = why.into();
        let mut memory = self.memory();
        if memory.stopped.is_none() {
            log::info!("nothing more is deleted in this run: {why}");
            memory.stopped = Some(why);
        }
    }

    /// The same, because of this error, which is handed back.
    pub(super) fn stop_on(&self, error: Error, what: &str) -> Error {
        // A request that never reached the daemon because the run ends is no word of the daemon's.
        if !error.ends_the_run() {
            self.stop(format!("{what}: {error}"));
        }
        error
    }

    /// Whether anything of this volume may be deleted in this run.
    pub(super) fn may_delete(&self, what: &str, volume: Option<&str>) -> Result<()> {
        let memory = self.memory();
        let of_volume =
            |(key, _): &(&(String, String), &String)| volume.is_some_and(|volume| key.0 == volume);
        let why =
            match (&memory.stopped, memory.unproven.iter().find(of_volume).map(|(_, why)| why)) {
                (Some(why), _) => why.clone(),
                (None, Some(why)) => {
                    format!(
                        "the backup of \"{}\" in this run did not prove good: {why}",
                        volume.unwrap_or_default()
                    )
                }
                (None, None) => return Ok(()),
            };
        Err(Error::guard(format!("{what} is not deleted: {why}"))
            .with_hint("mend that first, then run this again"))
    }

    /// What the run has observed so far, in the order in which it happened.
    pub(crate) fn observed(&self) -> Vec<Observation> {
        self.memory().observations.all().to_vec()
    }

    pub(super) fn observe(&self, observation: Observation) {
        self.memory().observations.add(observation);
    }
}
