//! The guarded daemon of one run: what the guards share, and what they remember.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use super::{
    by_backup::ByBackup,
    data_look::{DataLook, Good},
    deletion_record::DeletionRecord,
    doubts::KnownSources,
    known::KnownBackups,
    listed::{ListOf, Listed},
    observations::{Observation, Observations},
};
use crate::{
    clock::Clock,
    convoy::{Backup, BackupUrl, Capabilities, Daemon, Destination, Info},
    error::{Error, ErrorKind, Result},
    locks::Locks,
    sync::lock,
};

/// What a script may delete by its declaration, from the least on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deletable {
    Nothing,
    Snapshots,
    /// Volumes and backups too.
    Everything,
}

/// The guarded daemon of one run. All calls of a run go through the same value, because it
/// remembers what the run has seen.
#[derive(Debug)]
pub(crate) struct Guards {
    pub(super) daemon: Arc<dyn Daemon>,
    /// `None` in a dry run, which writes nothing, not even a lock file.
    pub(super) locks: Option<Locks>,
    /// The folder with the marks of the destinations at which good backups were seen.
    pub(super) marks: Option<PathBuf>,
    /// What earlier runs learned of backups; `None` in a process without a store.
    pub(super) known: Option<Arc<dyn KnownBackups>>,
    /// Records deletions at once; `None` in a dry run, and in a process without a store.
    pub(super) deletions: Option<Arc<dyn DeletionRecord>>,
    /// Looks at the data of backups, where the daemon does not.
    pub(super) data: Option<Arc<dyn DataLook>>,
    /// Whether the script declared that it only reads.
    pub(super) read_only: bool,
    /// The configured destination, if it is a bucket as it was.
    pub(super) past: Option<Destination>,
    /// What the script may delete by its declaration.
    pub(super) deletable: Deletable,
    pub(super) clock: Arc<dyn Clock>,
    /// The pause between two looks at an EBS backup that is not complete yet.
    pub(super) poll_interval: Duration,
    pub(super) memory: Mutex<Memory>,
}

/// What the guards remember of a run.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Why this run may delete nothing more; `None` while it may.
    pub(super) stopped: Option<String>,
    /// By volume and key of the destination: why a backup that this run tried is not proven good.
    pub(super) unproven: BTreeMap<(String, String), String>,
    /// The destination and URL of each backup that this run made, proved good, and has not deleted.
    pub(super) made: Vec<(Destination, BackupUrl)>,
    /// The region of the daemon's EBS driver. The outer `None`: the daemon was not asked yet. The
    /// inner `None`: the daemon has no EBS driver.
    pub(super) ebs_region: Option<Option<String>>,
    /// The snapshots on EBS whose backups this run deleted.
    pub(super) removed_at_ebs: Vec<String>,
    /// The volumes of backups at EBS, whose URLs do not name them.
    pub(super) volumes_at_ebs: ByBackup<String>,
    /// The lists that were said to be cut.
    pub(super) cut_lists: BTreeSet<String>,
    /// The URLs of listed backups that were said to be ignored.
    pub(super) ignored: BTreeSet<String>,
    /// `None`: the daemon was not asked yet. Each run asks, because another daemon may have taken
    /// the place of the one at a socket.
    pub(super) capabilities: Option<Capabilities>,
    /// The backups that this run made and proved good, as they were inspected then.
    pub(super) proven: ByBackup<Backup>,
    /// Backups that this run inspected and found good.
    pub(super) good: ByBackup<Good>,
    /// Backups whose data this run looked at and found broken.
    pub(super) broken: ByBackup<()>,
    /// The lists by which this run deletes backups.
    pub(super) lists: BTreeMap<ListOf, Listed>,
    /// How often the run began to write something else than deletions of backups and snapshots.
    pub(super) writes: u64,
    /// Whether the run said that the data of its backups can't be seen.
    pub(super) said_not_seen: bool,
    /// The volumes in the last list that nobody named.
    pub(super) unnamed: Vec<String>,
    /// Whether the last list of volumes was empty.
    pub(super) lists_no_volume: bool,
    /// What happened, for the run's record.
    pub(super) observations: Observations,
    /// Volumes that were seen to be unchanged since a backup: the volume's name and the backup's URL.
    pub(super) unchanged: Vec<(String, String)>,
    /// By volume: the source of a copy that this run made is in doubt.
    pub(super) doubted: BTreeMap<String, Error>,
    /// `None`: the memory of earlier runs was not asked yet.
    pub(super) sources: Option<Arc<KnownSources>>,
    /// Backups that were seen to be a volume's own. The run may have deleted the snapshot that
    /// proved it.
    pub(super) own: ByBackup<()>,
}

impl Guards {
    /// Guards over this daemon. `locks` is `None` in a dry run.
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
            known: None,
            deletions: None,
            data: None,
            read_only: false,
            past: None,
            deletable: Deletable::Everything,
            clock,
            poll_interval: Duration::from_secs(10),
            memory: Mutex::default(),
        }
    }

    /// Guards that only read. They refuse every write before it reaches the daemon or a dry run.
    pub(crate) fn read_only(daemon: Arc<dyn Daemon>, clock: Arc<dyn Clock>) -> Self {
        Self { read_only: true, ..Self::new(daemon, None, clock) }
    }

    /// Also notices when a destination has lost backups that were seen there. The marks are in this
    /// folder, beside the locks.
    pub(crate) fn expecting_known_backups(self, lock_folder: &Path) -> Self {
        Self { marks: Some(lock_folder.to_owned()), ..self }
    }

    /// Also knows what earlier runs learned of backups.
    pub(crate) fn knowing(self, known: Arc<dyn KnownBackups>) -> Self {
        Self { known: Some(known), ..self }
    }

    /// Also records deletions at once.
    pub(crate) fn recording_deletions(self, record: Arc<dyn DeletionRecord>) -> Self {
        Self { deletions: Some(record), ..self }
    }

    /// Also looks at the data of backups, if the daemon looks at their descriptions only.
    pub(crate) fn looking_at_data(self, data: Arc<dyn DataLook>) -> Self {
        Self { data: Some(data), ..self }
    }

    /// Refuses deletions that the script's declaration does not name.
    pub(crate) fn deleting_only(self, deletable: Deletable) -> Self {
        Self { deletable, ..self }
    }

    /// Refuses a deletion that the script did not declare. Every method that deletes calls this
    /// after [`Self::may_write`].
    pub(super) fn declared(&self, needed: Deletable, what: &str) -> Result<()> {
        if self.deletable >= needed {
            return Ok(());
        }
        let error = format!("a script whose DOES names no deletion can't {what}");
        Err(Error::new(ErrorKind::Script, error).with_hint(
            "add \"delete\" (or \"prune\") to \"const DOES\" in the script, or take the call out; nothing was done",
        ))
    }

    /// Refuses a write if the script declared that it only reads, or the run looks at a bucket as it
    /// was. Every method that writes calls this first, but those that delete backups and snapshots:
    /// after them the lists of backups are as they were, but for what is deleted.
    pub(super) fn may_write(&self, what: &str) -> Result<()> {
        self.is_of_now(what)?;
        self.may_add(what)
    }

    /// As [`Self::may_write`], for what may be done beside a bucket as it was: it takes nothing away.
    pub(super) fn may_add(&self, what: &str) -> Result<()> {
        self.is_not_read_only(what)?;
        let mut memory = self.memory();
        memory.writes += 1;
        memory.lists.clear();
        Ok(())
    }

    /// As [`Self::may_write`], and the lists of backups still hold.
    pub(super) fn may_delete_listed(&self, what: &str) -> Result<()> {
        self.is_of_now(what)?;
        self.is_not_read_only(what)
    }

    fn is_not_read_only(&self, what: &str) -> Result<()> {
        if !self.read_only {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Script, format!("a script that only reads can't {what}"))
            .with_hint(
                "take \"const READ_ONLY = true;\" out of the script, or the call; nothing was done",
            ))
    }

    /// The daemon's identity. It is the same whichever way the daemon is reached.
    pub(crate) fn identity(&self) -> String {
        self.daemon.identity()
    }

    /// Whether the run asked for all volumes, found none, and worked with none.
    pub(crate) fn lists_no_volume(&self) -> bool {
        let memory = self.memory();
        memory.lists_no_volume && memory.observations.all().is_empty()
    }

    /// The daemon's settings, with what the last list of volumes left out.
    ///
    /// # Errors
    /// As [`Daemon::info`].
    pub(crate) async fn info(&self) -> Result<Info> {
        let mut info = self.daemon.info().await?;
        info.add_unnamed(self.memory().unnamed.iter().map(String::as_str));
        Ok(info)
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    /// Stops all further deletions of this run.
    pub(super) fn stop(&self, why: impl Into<String>) {
        let why = why.into();
        let mut memory = self.memory();
        if memory.stopped.is_none() {
            log::info!("nothing more is deleted in this run: {why}");
            memory.stopped = Some(why);
        }
    }

    /// Stops all further deletions of this run because of `error`, which is returned.
    pub(super) fn stop_on(&self, error: Error, what: &str) -> Error {
        // If the run ends, the request may never have reached the daemon. The error then says
        // nothing about the daemon.
        if !error.ends_the_run() {
            self.stop(format!("{what}: {error}"));
        }
        error
    }

    /// Refuses a deletion if the run has stopped deleting, or if a backup of this volume was not
    /// proven good.
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

    /// The observations of this run so far, in the order in which they happened.
    pub(crate) fn observed(&self) -> Vec<Observation> {
        self.memory().observations.all().to_vec()
    }

    /// The observations that are not on record yet: those after the run's last deletion.
    pub(crate) fn unrecorded(&self) -> Vec<Observation> {
        self.memory().observations.unrecorded().to_vec()
    }

    /// Adds an observation. A deletion is logged and recorded as well; that of a dry run is only a
    /// plan.
    pub(super) fn observe(&self, observation: Observation) {
        let record = self.deletions.as_ref().filter(|_| observation.is_of_deletion());
        if let Some(deleted) = observation.deletion().filter(|_| self.locks.is_some()) {
            log::info!("deleted {deleted}");
        }
        let identity = self.identity();
        let observations = &mut self.memory().observations;
        observations.add(observation);
        // Under the lock of the observations, so that what threads of the run observe is recorded in
        // order, and once.
        if let Some(record) = record
            && record.deleted(&identity, observations.unrecorded())
        {
            observations.are_recorded();
        }
    }
}
