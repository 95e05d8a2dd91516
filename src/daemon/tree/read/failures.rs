//! What could not be read of a volume.

use std::{
    io,
    path::Path,
    sync::{Mutex, MutexGuard},
};

use crate::{
    error::{Error, ErrorKind},
    sync::lock,
};

/// How many failures an error names. The others are counted.
const NAMED_FAILURES: usize = 10;

/// The failures while a volume was read.
#[derive(Debug, Default)]
pub(in crate::daemon) struct ReadFailures(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    named: Vec<String>,
    failures: u64,
    vanished: u64,
}

impl ReadFailures {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        lock(&self.0)
    }

    /// Records a failure at `path`. A missing file is not a failure, and is only counted.
    pub(in crate::daemon) fn record(&self, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            self.lock().vanished += 1;
        } else {
            self.fail(path, error);
        }
    }

    /// Records a failure at `path`, whatever its kind.
    pub(in crate::daemon) fn fail(&self, path: &Path, error: &io::Error) {
        let mut counts = self.lock();
        counts.failures += 1;
        if counts.named.len() < NAMED_FAILURES {
            counts.named.push(format!("\"{}\": {error}", path.display()));
        }
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
