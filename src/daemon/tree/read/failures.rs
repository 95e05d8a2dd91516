//! What was read of a volume, and what could not be read. The snapshot fails if the counts do not
//! match.

use std::{
    io,
    path::Path,
    sync::{Mutex, MutexGuard},
};

use rustic_core::repofile::Node;

use crate::{
    error::{Error, ErrorKind},
    sync::lock,
};

/// How many failures an error names. The others are counted.
const NAMED_FAILURES: usize = 10;

/// The failures while a volume was read, and how much was read.
#[derive(Debug, Default)]
pub(in crate::daemon) struct ReadFailures(Mutex<Counts>);

#[derive(Debug, Default)]
pub(super) struct Counts {
    named: Vec<String>,
    failures: u64,
    vanished: u64,
    /// The number of files given to rustic, which must have kept them. The same for folders.
    files: u64,
    folders: u64,
    /// Why reading stopped early: the repository failed.
    stopped: Option<Error>,
}

impl ReadFailures {
    pub(super) fn lock(&self) -> MutexGuard<'_, Counts> {
        lock(&self.0)
    }

    /// Counts an entry that rustic must keep.
    pub(super) fn given(&self, node: &Node) {
        let mut counts = self.lock();
        if node.is_dir() { counts.folders += 1 } else { counts.files += 1 }
    }

    /// Takes back the count of a file that could not be opened.
    pub(super) fn taken_back(&self) {
        self.lock().files -= 1;
    }

    /// Compares what was given to rustic with what rustic reports as kept. rustic counts the
    /// snapshot's root as one more folder.
    pub(in crate::daemon) fn check(&self, files: u64, folders: u64) -> Result<(), Error> {
        const HINT: &str = "no snapshot was made; look into the log, and try again";
        let counts = self.lock();
        if counts.folders == 0 {
            let message = "nothing was read, not even the volume's folder";
            return Err(Error::new(ErrorKind::Io, message).with_hint(HINT));
        }
        if (counts.files, counts.folders + 1) == (files, folders) {
            return Ok(());
        }
        let message = format!(
            "{} files and {} folders were read, but {files} and {folders} kept",
            counts.files, counts.folders
        );
        Err(Error::new(ErrorKind::Repository, message).with_hint(HINT))
    }

    /// Records a failure at `path`. A missing file is not a failure, and is only counted.
    pub(super) fn record(&self, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            self.lock().vanished += 1;
        } else {
            self.fail(path, error);
        }
    }

    /// Records a failure at `path`, whatever its kind.
    pub(super) fn fail(&self, path: &Path, error: &io::Error) {
        let mut counts = self.lock();
        counts.failures += 1;
        if counts.named.len() < NAMED_FAILURES {
            counts.named.push(format!("\"{}\": {error}", path.display()));
        }
    }

    /// Records that reading stops because the repository failed.
    pub(super) fn stop(&self, error: Error) {
        self.lock().stopped.get_or_insert(error);
    }

    /// Why reading stopped early.
    pub(in crate::daemon) fn stopped(&self) -> Option<Error> {
        self.lock().stopped.clone()
    }

    /// The number of files that vanished before they could be read.
    pub(in crate::daemon) fn vanished(&self) -> u64 {
        self.lock().vanished
    }

    /// The error of the snapshot, if a file could not be read.
    pub(in crate::daemon) fn error(&self, volume: &str) -> Option<Error> {
        let counts = self.lock();
        if counts.failures == 0 {
            return None;
        }
        let more = counts.failures - counts.named.len() as u64;
        let mut text = counts.named.join("; ");
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        let message = format!("volume \"{volume}\" could not be read completely: {text}");
        Some(
            Error::new(ErrorKind::Io, message)
                .with_hint("no snapshot was made; mend or remove these files, and try again"),
        )
    }
}
