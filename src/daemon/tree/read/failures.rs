//! What could not be read of a volume. A file or a folder that has a fault of its own (a permission, a
//! bad block) is left out, and the backup is partial. What says that the volume as a whole can't be
//! read, as a share that has gone stale, fails it.

use std::{
    collections::HashSet,
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use rustix::io::Errno;

use crate::{
    convoy::LackingFile,
    error::{Error, ErrorKind},
    sync::lock,
};

/// How many failures are named. The others are counted.
const NAMED_FAILURES: usize = 10;
/// The longest path that a record has, in bytes.
const LONGEST_PATH: usize = 500;
/// So many are known, so that none of them is counted twice.
const REMEMBERED: usize = 10_000;

/// Errors that are one file's or folder's own. `ESTALE`, `ENOTCONN`, `ETIMEDOUT` and others are of a whole
/// share, and `EMFILE` or `ENOMEM` of this process.
const OWN: [Errno; 10] = [
    Errno::ACCESS,
    Errno::PERM,
    Errno::IO,
    // Checksums and structures that are wrong: ext4, XFS, btrfs.
    Errno::BADMSG,
    Errno::UCLEAN,
    Errno::REMOTEIO,
    // Encrypted, and locked.
    Errno::NOKEY,
    Errno::OVERFLOW,
    Errno::NAMETOOLONG,
    Errno::OPNOTSUPP,
];

/// The failures while a volume was read.
#[derive(Debug, Default)]
pub(in crate::daemon) struct ReadFailures(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Those that the volume as a whole can't be read for.
    of_all: Named,
    /// Those of single files and folders.
    own: Named,
    paths: HashSet<PathBuf>,
    vanished: u64,
}

/// A path for people: others make paths that are too long for a record.
pub(in crate::daemon) fn cut(path: &Path) -> &Path {
    let bytes = path.as_os_str().as_bytes();
    Path::new(OsStr::from_bytes(&bytes[..bytes.len().min(LONGEST_PATH)]))
}

#[derive(Debug, Default)]
struct Named {
    first: Vec<LackingFile>,
    count: u64,
}

impl Named {
    fn add(&mut self, path: &Path, why: String) {
        self.count += 1;
        if self.first.len() < NAMED_FAILURES {
            let path = cut(path).display().to_string();
            self.first.push(LackingFile { path, why });
        }
    }
}

/// What was left out because it could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::daemon) struct Lacking {
    /// Files and folders. Those in a folder that can't be read are not known.
    pub(in crate::daemon) count: u64,
    /// Some of them, sorted by path.
    pub(in crate::daemon) first: Vec<LackingFile>,
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
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        if !errno.is_some_and(|errno| OWN.contains(&errno)) {
            return self.fail_all(path, error);
        }
        self.leave_out(path, error.to_string());
    }

    /// Records that a file or a folder is left out, because it can't be read for a reason of its own.
    pub(in crate::daemon) fn leave_out(&self, path: &Path, why: String) {
        let mut counts = self.lock();
        if counts.paths.contains(path) {
            return;
        }
        if counts.paths.len() < REMEMBERED {
            counts.paths.insert(path.to_owned());
        }
        counts.own.add(path, why);
    }

    /// Records that the volume as a whole can't be read: its own folder can't be.
    pub(in crate::daemon) fn fail_all(&self, path: &Path, error: &io::Error) {
        self.lock().of_all.add(path, error.to_string());
    }

    /// Whether this file or folder is known as one that can't be read.
    pub(in crate::daemon) fn has(&self, path: &Path) -> bool {
        self.lock().paths.contains(path)
    }

    /// The number of files that vanished before they could be read.
    pub(in crate::daemon) fn vanished(&self) -> u64 {
        self.lock().vanished
    }

    /// Single files and folders that could not be read.
    pub(in crate::daemon) fn lacking(&self) -> Lacking {
        let counts = self.lock();
        let mut first = counts.own.first.clone();
        first.sort_by(|one, other| one.path.cmp(&other.path));
        Lacking { count: counts.own.count, first }
    }

    /// Why the volume as a whole can't be read.
    pub(in crate::daemon) fn error_of_all(&self, volume: &str) -> Option<Error> {
        let counts = self.lock();
        let hint =
            "nothing was kept; see whether the volume's disk or share is well, and try again";
        (counts.of_all.count > 0).then(|| error(volume, [&counts.of_all, &counts.own], hint))
    }

    /// The error, if anything could not be read.
    pub(in crate::daemon) fn error(&self, volume: &str) -> Option<Error> {
        let counts = self.lock();
        let hint = "see why these files can't be read (permissions, a failing disk, a share), or leave them out: docs/excludes.md";
        (counts.of_all.count + counts.own.count > 0)
            .then(|| error(volume, [&counts.of_all, &counts.own], hint))
    }
}

fn error(volume: &str, failures: [&Named; 2], hint: &str) -> Error {
    let named = failures.iter().flat_map(|named| &named.first).take(NAMED_FAILURES);
    let named: Vec<_> = named.map(ToString::to_string).collect();
    let all: u64 = failures.iter().map(|named| named.count).sum();
    let more = all - named.len() as u64;
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let message =
        format!("volume \"{volume}\" could not be read completely: {}{more}", named.join("; "));
    Error::new(ErrorKind::Io, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(with: &[Errno]) -> ReadFailures {
        let failures = ReadFailures::default();
        for (number, errno) in with.iter().enumerate() {
            let path = PathBuf::from(format!("f{number}"));
            // The second look finds it, too.
            failures.record(&path, &(*errno).into());
            failures.record(&path, &(*errno).into());
        }
        failures
    }

    #[test]
    fn a_fault_of_a_file_leaves_it_out_and_one_of_a_share_fails_the_volume() {
        let lacking = failed(&[Errno::ACCESS, Errno::IO, Errno::NOENT]);
        assert!(lacking.error_of_all("vol1").is_none());
        let Lacking { count, first } = lacking.lacking();
        assert_eq!((count, lacking.vanished()), (2, 2));
        assert_eq!(first[0].to_string(), "\"f0\": Permission denied (os error 13)");
        assert!(lacking.error("vol1").unwrap().message.contains("\"f1\""));
        assert!(lacking.has(Path::new("f0")) && !lacking.has(Path::new("f2")));
        for errno in [Errno::STALE, Errno::NOTCONN, Errno::TIMEDOUT, Errno::MFILE, Errno::NOMEM] {
            let error = failed(&[Errno::ACCESS, errno]).error_of_all("vol1").unwrap();
            assert!(error.message.contains("\"f0\""), "{error}");
        }
        let root = ReadFailures::default();
        root.fail_all(Path::new("."), &Errno::IO.into());
        assert!(root.error_of_all("vol1").is_some());
    }
}
