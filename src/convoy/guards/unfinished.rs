//! Backups and deletions that were begun and whose end nobody saw (guard 4).
//!
//! Convoy goes on with what it was told after its client has gone, and holds no lock between a backup and a delete at one
//! destination. The file lock goes with the process that held it. So a note is written before either is asked for, and removed
//! once the daemon has answered. A deletion that finds the note of a backup looks whether that backup is listed by now, and else
//! leaves everything as it is; a backup that finds the note of a deletion waits for another time.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Operation {
    /// A backup.
    Backup,
    /// The deletion of a backup.
    Delete,
}

impl Operation {
    /// In an error's words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Backup => "the backup of the snapshot",
            Self::Delete => "the deletion of the backup",
        }
    }

    /// After so many hours it is taken to be over: a backup may take longer than any call of ours waits; a deletion's clean-up is
    /// short, and it holds up backups.
    fn longest_hours(self) -> i64 {
        match self {
            Self::Backup => 24,
            Self::Delete => 1,
        }
    }
}

/// Something that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unfinished {
    /// What.
    pub(super) operation: Operation,
    /// The snapshot that is backed up, or the backup that is deleted.
    pub(super) name: String,
    /// Its volume.
    pub(super) volume: String,
    /// The destination's key.
    pub(super) destination: String,
    /// When it was asked for.
    pub(super) begun: Timestamp,
}

/// The notes of one data folder.
#[derive(Debug)]
pub(super) struct Notes {
    folder: PathBuf,
}

/// One note on disk.
#[derive(Debug)]
pub(super) struct Note {
    path: PathBuf,
}

impl Notes {
    /// The notes in this folder, which need not be there.
    pub(super) fn new(lock_folder: &Path) -> Self {
        Self { folder: lock_folder.join("unfinished") }
    }

    /// Writes a note, on disk before this returns.
    ///
    /// # Errors
    /// Where it can't be written.
    pub(super) fn write(&self, unfinished: &Unfinished) -> Result<Note> {
        let path = self.folder.join(format!("{}.json", unfinished.name));
        let write = || {
            std::fs::create_dir_all(&self.folder)?;
            let temporary = path.with_extension("new");
            let file = std::fs::File::create(&temporary)?;
            serde_json::to_writer(&file, unfinished)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            std::fs::File::open(&self.folder)?.sync_all()
        };
        write()
            .map_err(|error: std::io::Error| Error::io(format_args!("cannot write \"{}\"", path.display()), &error))?;
        Ok(Note { path })
    }

    /// The notes of this operation on a destination, with what they say.
    ///
    /// # Errors
    /// Where a note can't be read: what it would have said is not known.
    pub(super) fn of(&self, operation: Operation, destination: &str) -> Result<Vec<(Note, Unfinished)>> {
        let failed =
            |path: &Path, error: &std::io::Error| Error::io(format_args!("cannot read \"{}\"", path.display()), error);
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
                // It has ended just now.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                text => text.map_err(|error| failed(&path, &error))?,
            };
            let unfinished: Unfinished = serde_json::from_slice(&text).map_err(|error| failed(&path, &error.into()))?;
            if unfinished.operation == operation && unfinished.destination == destination {
                found.push((Note { path }, unfinished));
            }
        }
        Ok(found)
    }
}

impl Note {
    /// Removes the note: what it says has ended.
    pub(super) fn remove(self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!("cannot remove \"{}\": {error}; remove it by hand, or it holds others up", self.path.display());
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Unfinished {
    /// Whether it is too old to be still going on. One from the future was written by a wrong clock: it is not.
    pub(super) fn is_given_up(&self, now: Timestamp) -> bool {
        now.duration_since(self.begun).as_hours() >= self.operation.longest_hours()
    }
}
