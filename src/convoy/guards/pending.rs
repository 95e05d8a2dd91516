//! Pending operations: backups and deletions whose end no process has seen yet (guard 4).
//!
//! Convoy finishes an operation even after its client has gone, and has no lock between a backup
//! and a deletion at one destination. The file lock is released when the process that held it ends.
//! So each operation is written to a file before the daemon is asked, and the file is removed once
//! the daemon has answered. A deletion that finds a pending backup looks for that backup in the
//! list, and deletes nothing if the backup is missing. A backup that finds a pending deletion fails
//! as busy.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    clock::{Clock, Uptime, is_in_future},
    convoy::Backup,
    error::{Error, Result},
    locks::file_name,
};

/// Makes the file names of this process unique.
static SERIAL: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Operation {
    Backup,
    /// The deletion of a backup.
    Delete,
}

impl Operation {
    /// How an error names the operation.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Backup => "the backup of the snapshot",
            Self::Delete => "the deletion of the backup",
        }
    }

    /// After this many hours, the operation counts as ended. A backup may take longer than any of
    /// our calls waits. The clean-up after a deletion is short, and it blocks backups.
    fn longest_hours(self) -> i64 {
        match self {
            Self::Backup => 24,
            Self::Delete => 1,
        }
    }
}

/// An operation that the daemon was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingOperation {
    pub(super) operation: Operation,
    /// The snapshot that is backed up, or the backup that is deleted.
    pub(super) name: String,
    pub(super) volume: String,
    /// The key of the destination.
    pub(super) destination: String,
    /// When the daemon was asked.
    pub(super) begun: Timestamp,
    /// The same, by a clock that nobody sets.
    #[serde(default)]
    pub(super) uptime: Option<Uptime>,
}

/// The pending operations of one data folder.
#[derive(Debug)]
pub(super) struct PendingOperations {
    folder: PathBuf,
}

/// The file of one pending operation.
#[derive(Debug)]
pub(super) struct PendingFile {
    path: PathBuf,
}

impl PendingOperations {
    /// The pending operations beside the locks in `lock_folder`. Their folder need not exist.
    pub(super) fn new(lock_folder: &Path) -> Self {
        Self { folder: lock_folder.join("unfinished") }
    }

    /// Writes a pending operation. It is on disk when this returns.
    ///
    /// # Errors
    /// If the file can't be written.
    pub(super) fn write(&self, pending: &PendingOperation) -> Result<PendingFile> {
        let path = self.folder.join(pending.file_name());
        let temporary = path.with_extension("new");
        let write = || {
            std::fs::create_dir_all(&self.folder)?;
            let file = std::fs::File::create(&temporary)?;
            serde_json::to_writer(&file, pending)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            std::fs::File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error: std::io::Error| {
            let _ = std::fs::remove_file(&temporary);
            Error::io(format_args!("cannot write \"{}\"", path.display()), &error)
        })?;
        Ok(PendingFile { path })
    }

    /// The pending operations of this kind at a destination, with their files.
    ///
    /// # Errors
    /// If a file can't be read: the operation in it is unknown.
    pub(super) fn of(
        &self,
        operation: Operation,
        destination: &str,
    ) -> Result<Vec<(PendingFile, PendingOperation)>> {
        let failed = |path: &Path, error: &std::io::Error| {
            Error::io(format_args!("cannot read \"{}\"", path.display()), error)
        };
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| failed(&self.folder, &error))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| failed(&self.folder, &error))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = match std::fs::read(&path) {
                // The operation ended between the listing and now.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                text => text.map_err(|error| failed(&path, &error))?,
            };
            let pending: PendingOperation =
                serde_json::from_slice(&text).map_err(|error| failed(&path, &error.into()))?;
            if pending.operation == operation && pending.destination == destination {
                found.push((PendingFile { path }, pending));
            }
        }
        Ok(found)
    }
}

impl PendingFile {
    /// Removes the file, because the operation has ended.
    pub(super) fn remove(self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!(
                "cannot remove \"{}\": {error}; remove it by hand, or it holds others up",
                self.path.display()
            );
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl PendingOperation {
    /// A unique file name. One snapshot may be on its way to two destinations, so the destination
    /// is in the hash. Process ids repeat (in a container the id is always the same), so the time
    /// is in the hash too.
    fn file_name(&self) -> String {
        let Self { operation, name, volume: _, destination, begun, uptime: _ } = self;
        let operation = match operation {
            Operation::Backup => "backup",
            Operation::Delete => "delete",
        };
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        file_name(
            &format!("{operation} {name} {destination} {begun}"),
            &format!("{}-{serial}.json", std::process::id()),
        )
    }

    /// Whether the operation counts as ended, because it is too old to be still going on. If the
    /// system was not started anew since it began, its uptime says so, and a clock that was set
    /// changes nothing. Else an operation that began in the future counts as ended, too: it would
    /// block others until that time.
    pub(super) fn is_given_up(&self, clock: &dyn Clock) -> bool {
        let longest = self.operation.longest_hours();
        let passed = self.uptime.as_ref().and_then(|begun| clock.uptime()?.since(begun));
        if let Some(passed) = passed {
            return passed >= Duration::from_hours(longest.unsigned_abs());
        }
        let now = clock.now();
        now.duration_since(self.begun).as_hours() >= longest || is_in_future(self.begun, now)
    }

    /// Whether the operation may conflict with work on this volume's backups at the same
    /// destination. Convoy keeps the blocks of each volume apart. On S3 it finds them by a prefix,
    /// so an operation on `vol1` concerns `vol10` as well.
    pub(super) fn concerns(&self, volume: &str, on_s3: bool) -> bool {
        let unknown = self.volume.is_empty() || volume.is_empty();
        let by_prefix =
            on_s3 && (self.volume.starts_with(volume) || volume.starts_with(&self.volume));
        unknown || by_prefix || self.volume == volume
    }
}

/// Whether a backup was made from this snapshot, and not before `begun`: the snapshot may have
/// older backups. The daemon reports whole seconds of this host's clock. At EBS the snapshot is its
/// only backup, and may be older than `begun`.
pub(super) fn is_made_from(backup: &Backup, snapshot: &str, begun: Timestamp) -> bool {
    let slack = SignedDuration::from_secs(1);
    let in_time = || backup.created().is_none_or(|made| made.duration_since(begun) > -slack);
    backup.field("SnapshotName") == snapshot && (backup.is_at_ebs() || in_time())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup_to(destination: &str) -> PendingOperation {
        PendingOperation {
            operation: Operation::Backup,
            name: "vol1-20260101T000000.000000Z".into(),
            volume: "vol1".into(),
            destination: destination.into(),
            begun: "2026-01-01T00:00:00Z".parse().unwrap(),
            uptime: None,
        }
    }

    #[test]
    fn a_note_from_a_future_that_a_wrong_clock_told_of_is_given_up() {
        let note = backup_to("vfs:///backups");
        let given_up = |now: &'static str| note.is_given_up(&At(now, None));
        assert!(given_up("2016-01-01T00:00:00Z"));
        // The clock was set back a little.
        assert!(!given_up("2025-12-31T23:00:00Z"));
        assert!(!given_up("2026-01-01T23:59:59Z"));
        assert!(given_up("2026-01-02T00:00:00Z"));
    }

    #[test]
    fn a_clock_that_jumps_ends_no_operation_of_the_running_system() {
        let begun = Some(Uptime::of("boot", 1_000));
        let note = PendingOperation { uptime: begun, ..backup_to("vfs:///backups") };
        let given_up = |boot, seconds| {
            note.is_given_up(&At("2036-01-01T00:00:00Z", Some(Uptime::of(boot, seconds))))
        };
        assert!(!given_up("boot", 1_060));
        assert!(given_up("boot", 1_000 + 24 * 3_600));
        assert!(given_up("another boot", 60), "its daemon went down with the system");
    }

    /// A clock that shows this time and this uptime.
    #[derive(Debug)]
    struct At(&'static str, Option<Uptime>);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            self.0.parse().unwrap()
        }

        fn time_zone(&self) -> jiff::tz::TimeZone {
            jiff::tz::TimeZone::UTC
        }

        fn uptime(&self) -> Option<Uptime> {
            self.1.clone()
        }
    }

    #[test]
    fn notes_of_one_snapshot_do_not_overwrite_or_remove_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let notes = PendingOperations::new(folder.path());
        let count = |destination| notes.of(Operation::Backup, destination).unwrap().len();
        let one = notes.write(&backup_to("vfs:///one")).unwrap();
        let _two = notes.write(&backup_to("vfs:///two")).unwrap();
        let _again = notes.write(&backup_to("vfs:///two")).unwrap();
        let deletion = PendingOperation { operation: Operation::Delete, ..backup_to("vfs:///two") };
        notes.write(&deletion).unwrap().remove();
        assert_eq!((count("vfs:///one"), count("vfs:///two")), (1, 2));
        one.remove();
        assert_eq!((count("vfs:///one"), count("vfs:///two")), (0, 2));
    }

    #[test]
    fn a_note_of_an_unknown_volume_concerns_all() {
        let note = PendingOperation { volume: String::new(), ..backup_to("vfs:///backups") };
        assert!(note.concerns("vol1", false));
        assert!(backup_to("vfs:///backups").concerns("", false));
        assert!(!backup_to("vfs:///backups").concerns("vol10", false));
    }
}
