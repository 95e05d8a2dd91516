//! The log file. Lines are only ever appended.
//!
//! The file is opened again when its name means another file (logrotate moved it), and after
//! [`LogFile::reopen`]. A truncated file (`copytruncate`) needs nothing, because each line is
//! appended at its end.
//!
//! A file that can't be written stops nothing: the failure is logged once, each line tries again,
//! and the lost lines are counted.

use std::{
    fs::File,
    io::{self, ErrorKind as Io, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use rustix::fs::OFlags;

use crate::{
    error::{Error, Result},
    sync::lock,
};

/// Readable by the owner's group, like other logs: an administrator can read them without being
/// root.
const FILE_MODE: u32 = 0o640;

/// What the caller logs after a write, when the file's lock is free again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WriteChange {
    /// Writing began to fail; the message says why.
    Failed(String),
    /// Lines are written again; the number of lost lines.
    Recovered(u64),
}

#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Option<File>,
    /// The last line was written in part, so the next one begins with a newline.
    torn: bool,
    lost: u64,
}

impl LogFile {
    /// Opens the file, and creates it if it does not exist; its folder must exist.
    ///
    /// # Errors
    /// A configuration error if the path can't be that of a log file: its folder does not exist, it
    /// is a folder, or this user may not write it. A failure that may pass (a full disk) is not an
    /// error.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let open = match open(path) {
            Ok(file) => Some(file),
            Err(error) => match hint(&error) {
                Some(hint) => {
                    let message =
                        format!("cannot write the log file \"{}\": {error}", path.display());
                    return Err(Error::configuration(message).with_hint(hint));
                }
                None => None,
            },
        };
        Ok(Self { path: path.to_owned(), state: Mutex::new(State { open, ..State::default() }) })
    }

    /// Appends a line, which ends with a newline.
    pub(super) fn write(&self, line: &str) -> Option<WriteChange> {
        let mut state = self.lock();
        let written = state.write(&self.path, line);
        match (written, state.lost) {
            (Ok(()), 0) => None,
            (Ok(()), lost) => {
                state.lost = 0;
                Some(WriteChange::Recovered(lost))
            }
            (Err(error), lost) => {
                state.lost += 1;
                (lost == 0).then(|| {
                    WriteChange::Failed(format!(
                        "cannot write the log file \"{}\": {error}; its lines are lost until it can be written again",
                        self.path.display()
                    ))
                })
            }
        }
    }

    /// Closes the file; the next line opens it again by its name.
    pub(super) fn reopen(&self) {
        self.lock().open = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn write(&mut self, path: &Path, line: &str) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|file| !is_at(file, path)) {
            self.open = None;
            self.torn = false;
        }
        let file = match &mut self.open {
            Some(file) => file,
            None => self.open.insert(open(path)?),
        };
        let whole = if self.torn { &format!("\n{line}") } else { line };
        // One call for each line, so that the lines of several processes don't mix.
        let written = file.write(whole.as_bytes())?;
        if written < whole.len() {
            self.torn = true;
            file.write_all(&whole.as_bytes()[written..])?;
        }
        self.torn = false;
        Ok(())
    }
}

/// Whether the open file is the one at this path.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn open(path: &Path) -> io::Result<File> {
    // A pipe without a reader must not block the program. Plain files ignore the flag.
    let flags = OFlags::NONBLOCK.bits() as i32;
    File::options().append(true).create(true).mode(FILE_MODE).custom_flags(flags).open(path)
}

/// The hint for an error that does not pass by itself; `None` for one that may.
fn hint(error: &io::Error) -> Option<&'static str> {
    Some(match error.kind() {
        Io::NotFound | Io::NotADirectory => {
            "make its folder first, or set BKUP_LOGGER_FILE_LOCATION to another file"
        }
        Io::IsADirectory => "set BKUP_LOGGER_FILE_LOCATION to a file in that folder",
        Io::PermissionDenied | Io::ReadOnlyFilesystem => {
            "let this user write it, or set BKUP_LOGGER_FILE_LOCATION to a file that it can write"
        }
        Io::InvalidFilename | Io::InvalidInput => "set BKUP_LOGGER_FILE_LOCATION to a file's name",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn lines_go_to_the_end_of_a_file_that_others_may_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "before\n").unwrap();
        assert_eq!(LogFile::open(&path).unwrap().write("one\n"), None);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\none\n");
        let new = folder.path().join("new");
        LogFile::open(&new).unwrap();
        assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o027, 0);
    }

    #[test]
    fn a_file_that_was_moved_or_removed_or_truncated_is_followed_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        let log = LogFile::open(&path).unwrap();
        log.write("one\n");
        fs::rename(&path, &old).unwrap();
        log.write("two\n");
        assert_eq!(fs::read_to_string(&old).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        log.write("three\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        // As logrotate's `create` does: the name is taken at once.
        fs::rename(&path, &old).unwrap();
        File::create(&path).unwrap();
        log.write("four\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
        log.reopen();
        log.write("five\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\nfive\n");
    }

    #[test]
    fn a_folder_that_is_gone_is_said_once_and_lost_lines_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let parent = folder.path().join("logs");
        fs::create_dir(&parent).unwrap();
        let path = parent.join("log");
        let log = LogFile::open(&path).unwrap();
        fs::remove_dir_all(&parent).unwrap();
        assert!(
            matches!(log.write("one\n"), Some(WriteChange::Failed(text)) if text.contains("No such file"))
        );
        assert_eq!(log.write("two\n"), None);
        fs::create_dir(&parent).unwrap();
        assert_eq!(log.write("three\n"), Some(WriteChange::Recovered(2)));
        assert_eq!(log.write("four\n"), None);
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\nfour\n");
    }

    #[test]
    fn a_full_disk_stops_nothing() {
        let log = LogFile::open(Path::new("/dev/full")).unwrap();
        assert!(
            matches!(log.write("one\n"), Some(WriteChange::Failed(text)) if text.contains("No space left"))
        );
        assert_eq!(log.write("two\n"), None);
    }

    #[test]
    fn a_name_that_cannot_be_a_log_files_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        for (path, word) in [
            (folder.path().to_owned(), "file in that folder"),
            (folder.path().join("none/log"), "make its folder"),
            (folder.path().join("x".repeat(300)), "file's name"),
        ] {
            let error = LogFile::open(&path).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.hint.unwrap().contains(word));
        }
    }
}
