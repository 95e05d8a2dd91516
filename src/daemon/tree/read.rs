//! What a snapshot reads: a volume's folder, walked with open folder handles, so that nothing
//! outside can be reached by swapping a folder for a symlink while the walk goes on.
//!
//! The library ignores whatever it can't read; so every failure is recorded here ([`Findings`]),
//! and the snapshot fails when there was one. Only what vanished between listing and reading is
//! normal on a volume in use: it is counted. Mounts inside the volume are crossed, as `tar` does.
//! Sockets are kept as empty names, as restic does. Extended attributes, owners, times and link
//! counts are taken as they are; names of owners are not looked up, numbers are kept. A file that
//! grows while it is read ends at the size it had when it was listed; one that was replaced by
//! another in the meantime is read as far as that one goes.

use std::{
    ffi::{CStr, CString, OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use rustic_core::{
    ErrorKind as RusticKind, ReadSource, ReadSourceEntry, ReadSourceOpen, RusticError,
    RusticResult,
    jiff::Timestamp,
    repofile::{Metadata, Node, NodeType},
};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::mode;
use crate::{
    daemon::repository::Backend,
    error::{Error, ErrorKind},
    sync::lock,
};

/// Failures named in an error; the others are counted.
const NAMED: usize = 10;

/// What went wrong, or was odd, while a volume was read.
#[derive(Debug, Default)]
pub(crate) struct Findings(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    named: Vec<String>,
    failures: u64,
    vanished: u64,
    /// Files given to the library that it must have kept, folders likewise.
    files: u64,
    folders: u64,
    /// Why reading stopped before the end: the repository failed.
    stopped: Option<Error>,
}

impl Findings {
    fn lock(&self) -> MutexGuard<'_, Found> {
        lock(&self.0)
    }

    /// Counts an entry that the library must keep.
    fn given(&self, node: &Node) {
        let mut found = self.lock();
        if node.is_dir() { found.folders += 1 } else { found.files += 1 }
    }

    /// Counts a file that could not be opened after all.
    fn taken_back(&self) {
        self.lock().files -= 1;
    }

    /// Compares what was given with what the library says that it kept (it counts the snapshot's
    /// root as one more folder).
    pub(crate) fn check(&self, files: u64, folders: u64) -> Result<(), Error> {
        let found = self.lock();
        if found.folders == 0 {
            return Err(Error::new(
                ErrorKind::Io,
                "nothing was read, not even the volume's folder",
            )
            .with_hint("no snapshot was made; look into the log, and try again"));
        }
        if (found.files, found.folders + 1) == (files, folders) {
            return Ok(());
        }
        let message = format!(
            "{} files and {} folders were read, but {files} and {folders} kept",
            found.files, found.folders
        );
        Err(Error::new(ErrorKind::Repository, message)
            .with_hint("no snapshot was made; look into the log, and try again"))
    }

    /// Records a failure at `path`, unless it is that the file is gone.
    fn record(&self, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            self.lock().vanished += 1;
        } else {
            self.fail(path, error);
        }
    }

    /// Records a failure at `path`, whatever it is.
    fn fail(&self, path: &Path, error: &io::Error) {
        let mut found = self.lock();
        found.failures += 1;
        if found.named.len() < NAMED {
            found.named.push(format!("\"{}\": {error}", path.display()));
        }
    }

    /// Records that reading ends here, because the repository failed.
    fn stop(&self, error: Error) {
        self.lock().stopped.get_or_insert(error);
    }

    /// Why reading stopped before the end.
    pub(crate) fn stopped(&self) -> Option<Error> {
        self.lock().stopped.clone()
    }

    /// Files that were gone before they could be read.
    pub(crate) fn vanished(&self) -> u64 {
        self.lock().vanished
    }

    /// The error of the snapshot, where a file could not be read.
    pub(crate) fn error(&self, volume: &str) -> Option<Error> {
        let found = self.lock();
        if found.failures == 0 {
            return None;
        }
        let more = found.failures - found.named.len() as u64;
        let mut text = found.named.join("; ");
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

/// A volume's folder as the library's source.
pub(crate) struct VolumeSource {
    root: PathBuf,
    /// What the root is called in the snapshot: `/<volume>`.
    shown: PathBuf,
    findings: Arc<Findings>,
    /// Once it failed to write, reading on is of no use.
    backend: Arc<Backend>,
}

impl VolumeSource {
    /// The folder `root`, shown in the snapshot as `/<volume>`.
    pub(crate) fn new(
        root: &Path,
        volume: &str,
        findings: Arc<Findings>,
        backend: Arc<Backend>,
    ) -> Self {
        Self { root: root.to_owned(), shown: Path::new("/").join(volume), findings, backend }
    }
}

impl ReadSource for VolumeSource {
    type Open = OpenLater;
    type Iter = Walk;

    /// Bytes in the volume's files, for progress; failures are left to the walk that counts.
    fn size(&self) -> RusticResult<Option<u64>> {
        let quiet = Arc::new(Findings::default());
        let mut walk = Walk::new(&self.root, &self.shown, quiet, self.backend.clone());
        walk.attributes = false;
        Ok(Some(
            walk.flatten()
                .filter(|entry| entry.node.is_file())
                .map(|entry| entry.node.meta.size)
                .sum(),
        ))
    }

    fn entries(&self) -> Walk {
        Walk::new(&self.root, &self.shown, self.findings.clone(), self.backend.clone())
    }
}

/// A folder that is being walked: its handle, its path in the snapshot, and the names not yet
/// visited, last first.
struct Level {
    handle: Arc<OwnedFd>,
    shown: PathBuf,
    names: Vec<CString>,
}

/// The walk: each folder before what is in it, names in the order of their bytes, as the library's
/// trees are.
pub(crate) struct Walk {
    levels: Vec<Level>,
    /// The root, until it was given out.
    first: Option<(Arc<OwnedFd>, PathBuf)>,
    root_failed: Option<io::Error>,
    findings: Arc<Findings>,
    backend: Arc<Backend>,
    attributes: bool,
    /// Where this process finds what it has opened: attributes can't be read relative to a folder's
    /// handle.
    descriptors: &'static str,
    /// Listing attributes needs a buffer; one serves all.
    buffer: Vec<u8>,
}

impl Walk {
    fn new(root: &Path, shown: &Path, findings: Arc<Findings>, backend: Arc<Backend>) -> Self {
        let opened = rustix::fs::open(root, folder_flags(), Mode::empty());
        let (first, root_failed) = match opened {
            Ok(handle) => (Some((Arc::new(handle), shown.to_owned())), None),
            Err(error) => (None, Some(error.into())),
        };
        Self {
            levels: Vec::new(),
            first,
            root_failed,
            findings,
            backend,
            attributes: true,
            descriptors: "/proc/self/fd",
            buffer: Vec::new(),
        }
    }

    fn enter(&mut self, handle: Arc<OwnedFd>, shown: &Path) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&*handle)? {
            let entry = entry?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        self.levels.push(Level { handle, shown: shown.to_owned(), names });
        Ok(())
    }

    fn root(
        &mut self,
        handle: Arc<OwnedFd>,
        shown: PathBuf,
    ) -> io::Result<ReadSourceEntry<OpenLater>> {
        let stat = rustix::fs::fstat(&*handle)?;
        let meta = self.metadata(&stat, &handle, c".")?;
        let node = Node::new_node(shown.file_name().unwrap_or_default(), NodeType::Dir, meta);
        self.enter(handle, &shown)?;
        Ok(ReadSourceEntry { path: shown, node, open: None })
    }

    /// One entry of the folder on top of the stack.
    fn entry(
        &mut self,
        handle: &Arc<OwnedFd>,
        name: CString,
        path: &Path,
    ) -> io::Result<ReadSourceEntry<OpenLater>> {
        let stat = rustix::fs::statat(&**handle, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => NodeType::File,
            FileType::Directory => NodeType::Dir,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&**handle, &name, Vec::new())?;
                NodeType::from_link(Path::new(OsStr::from_bytes(target.as_bytes())))
            }
            FileType::Fifo => NodeType::Fifo,
            FileType::Socket => NodeType::Socket,
            FileType::CharacterDevice => NodeType::Chardev { device: stat.st_rdev },
            FileType::BlockDevice => NodeType::Dev { device: stat.st_rdev },
            FileType::Unknown => return Err(io::Error::other("it is of a kind that is not known")),
        };
        let meta = self.metadata(&stat, handle, &name)?;
        let node = Node::new_node(OsStr::from_bytes(name.as_bytes()), kind, meta);
        if node.is_dir() {
            let folder = open_at(handle, &name, folder_flags())?;
            self.enter(Arc::new(folder), path)?;
        }
        let open = node.is_file().then(|| OpenLater {
            folder: handle.clone(),
            name,
            path: path.to_owned(),
            listed: (stat.st_dev, stat.st_ino),
            size: node.meta.size,
            findings: self.findings.clone(),
            backend: self.backend.clone(),
        });
        Ok(ReadSourceEntry { path: path.to_owned(), node, open })
    }

    fn metadata(&mut self, stat: &Stat, folder: &OwnedFd, name: &CStr) -> io::Result<Metadata> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let linked = stat.st_nlink > 1 && kind != FileType::Directory;
        Ok(Metadata {
            mode: Some(mode::to_restic(stat.st_mode)),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            atime: time(stat.st_atime, stat.st_atime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
            uid: Some(stat.st_uid),
            gid: Some(stat.st_gid),
            user: None,
            group: None,
            inode: stat.st_ino,
            // Only hard links need it; it changes when the host starts again, which would make
            // every folder look changed.
            device_id: if linked { stat.st_dev } else { 0 },
            size: if kind == FileType::RegularFile {
                u64::try_from(stat.st_size).unwrap_or(0)
            } else {
                0
            },
            links: if linked { wide(stat.st_nlink) } else { 0 },
            // The library does not give the type of an attribute a public name; its JSON is
            // restic's and will not change.
            extended_attributes: match self.attributes_of(folder, name)?.as_slice() {
                [] => Vec::new(),
                found => serde_json::from_value(found.iter().cloned().collect())?,
            },
        })
    }

    /// The attributes of `name` in a folder. That their path is not there does not tell whether the
    /// file is.
    fn attributes_of(
        &mut self,
        folder: &OwnedFd,
        name: &CStr,
    ) -> io::Result<Vec<serde_json::Value>> {
        let mut through = OsString::from(format!("{}/{}/", self.descriptors, folder.as_raw_fd()));
        through.push(OsStr::from_bytes(name.to_bytes()));
        let read = self.attributes(&through);
        if read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            return Err(io::Error::other(format!(
                "its extended attributes can't be read: \"{}\" is not there; /proc must be mounted",
                self.descriptors
            )));
        }
        read
    }

    /// Each attribute as restic writes it: `{"name": .., "value": base64}`.
    fn attributes(&mut self, path: &OsStr) -> io::Result<Vec<serde_json::Value>> {
        if !self.attributes {
            return Ok(Vec::new());
        }
        self.buffer.resize(64 * 1024, 0);
        let length = match rustix::fs::llistxattr(path, &mut self.buffer[..]) {
            Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
            other => other?,
        };
        let names = self.buffer[..length].to_vec();
        let mut found = Vec::new();
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let Ok(text) = std::str::from_utf8(name) else {
                return Err(io::Error::other("the name of an extended attribute is not UTF-8"));
            };
            let length = match rustix::fs::lgetxattr(path, text, &mut self.buffer[..]) {
                // It was removed in the meantime.
                Err(Errno::NODATA) => continue,
                other => other?,
            };
            found.push((text.to_owned(), base64(&self.buffer[..length])));
        }
        found.sort_unstable();
        Ok(found
            .into_iter()
            .map(|(name, value)| serde_json::json!({ "name": name, "value": value }))
            .collect())
    }
}

impl Iterator for Walk {
    type Item = RusticResult<ReadSourceEntry<OpenLater>>;

    fn next(&mut self) -> Option<Self::Item> {
        // A volume that is gone is no empty volume: its folder is never counted as vanished.
        if let Some(error) = self.root_failed.take() {
            self.findings.fail(Path::new("."), &error);
        }
        if let Some((handle, shown)) = self.first.take() {
            match self.root(handle, shown) {
                Ok(entry) => {
                    self.findings.given(&entry.node);
                    return Some(Ok(entry));
                }
                Err(error) => self.findings.fail(Path::new("."), &error),
            }
        }
        loop {
            if let Some(error) = self.backend.failure() {
                self.findings.stop(error);
                return None;
            }
            let level = self.levels.last_mut()?;
            let Some(name) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let handle = level.handle.clone();
            let path = level.shown.join(OsStr::from_bytes(name.as_bytes()));
            match self.entry(&handle, name, &path) {
                Ok(entry) => {
                    self.findings.given(&entry.node);
                    return Some(Ok(entry));
                }
                Err(error) => self.findings.record(path_in_volume(&path), &error),
            }
        }
    }
}

/// A file that is opened when its turn comes, and not at all where it is unchanged.
pub(crate) struct OpenLater {
    folder: Arc<OwnedFd>,
    name: CString,
    path: PathBuf,
    /// The device and the inode that were listed.
    listed: (u64, u64),
    size: u64,
    findings: Arc<Findings>,
    backend: Arc<Backend>,
}

impl ReadSourceOpen for OpenLater {
    type Reader = Reader;

    fn open(self) -> RusticResult<Reader> {
        match self.open_file() {
            Ok((file, left)) => Ok(Reader {
                file,
                left,
                path: self.path,
                findings: self.findings,
                backend: self.backend,
            }),
            Err(error) => {
                self.findings.record(path_in_volume(&self.path), &error);
                self.findings.taken_back();
                Err(RusticError::with_source(
                    RusticKind::InputOutput,
                    "a file can't be opened",
                    error,
                ))
            }
        }
    }
}

impl OpenLater {
    /// The file, and how many bytes of it are to be read: the listed size is not that of another
    /// file which took the name in the meantime, as programs do that write a new file and rename
    /// it.
    fn open_file(&self) -> io::Result<(File, u64)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = open_at(&self.folder, &self.name, flags)?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it was replaced by something that is no file"));
        }
        let same = (stat.st_dev, stat.st_ino) == self.listed;
        Ok((file.into(), if same { self.size } else { u64::try_from(stat.st_size).unwrap_or(0) }))
    }
}

/// A file that is being read; it ends at the size that was listed.
pub(crate) struct Reader {
    file: File,
    left: u64,
    path: PathBuf,
    findings: Arc<Findings>,
    backend: Arc<Backend>,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.backend.failure() {
            self.findings.stop(error);
            return Err(io::Error::other("the repository can't be written"));
        }
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        match self.file.read(&mut buffer[..length]) {
            Ok(read) => {
                self.left -= read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.findings.record(path_in_volume(&self.path), &error);
                Err(error)
            }
        }
    }
}

/// `/<volume>/a/b` as the operator knows it: `a/b`.
fn path_in_volume(shown: &Path) -> &Path {
    let mut parts = shown.components();
    parts.next();
    parts.next();
    parts.as_path()
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Opens without touching the access time where the system allows it (the owner, or root).
fn open_at(folder: &OwnedFd, name: &CString, flags: OFlags) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(folder, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(folder, name, flags, Mode::empty()),
        other => other,
    }
}

fn time(seconds: i64, nanoseconds: impl TryInto<i32>) -> Option<Timestamp> {
    Timestamp::new(seconds, nanoseconds.try_into().unwrap_or(0)).ok()
}

/// A link count is 64 bits wide on some systems, 32 on others.
fn wide(count: impl Into<u64>) -> u64 {
    count.into()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for digit in 0..4 {
            let six = (bits >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit <= group.len() { char::from(DIGITS[six]) } else { '=' });
        }
    }
    text
}

/// The bytes of a name that the library gave, for system calls.
pub(crate) fn c_name(name: &OsStr) -> Option<CString> {
    CString::new(name.to_owned().into_vec()).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustic_core::{FileType as RepositoryFile, Id, ReadBackend as _};

    use super::*;

    fn source(folder: &Path) -> VolumeSource {
        let backend = Arc::new(Backend::in_folder(&folder.join("nowhere"), "host1"));
        VolumeSource::new(folder, "vol1", Arc::default(), backend)
    }

    fn entry(source: &VolumeSource, name: &str) -> ReadSourceEntry<OpenLater> {
        source.entries().map(Result::unwrap).find(|entry| entry.path.ends_with(name)).unwrap()
    }

    #[test]
    fn a_file_that_vanished_is_counted_and_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "f").unwrap();
        let source = source(folder.path());
        let found = entry(&source, "f");
        fs::remove_file(folder.path().join("f")).unwrap();
        assert!(found.open.unwrap().open().is_err());
        assert_eq!(source.findings.vanished(), 1);
        assert!(source.findings.error("vol1").is_none());
        source.findings.check(0, 2).unwrap();
        assert!(
            source.findings.check(1, 2).is_err(),
            "a file that is missing in the snapshot is noticed"
        );
    }

    #[test]
    fn a_file_that_grows_ends_where_it_ended_when_it_was_listed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "first").unwrap();
        let source = source(folder.path());
        let found = entry(&source, "f");
        fs::write(folder.path().join("f"), "first and more").unwrap();
        let mut text = String::new();
        found.open.unwrap().open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), found.node.meta.size), ("first", 5));
    }

    #[test]
    fn a_file_that_was_replaced_by_another_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "first").unwrap();
        fs::write(folder.path().join("shorter"), "first").unwrap();
        let source = source(folder.path());
        let (longer, shorter) = (entry(&source, "f"), entry(&source, "shorter"));
        for (name, text) in [("f", "a longer new file, whole"), ("shorter", "new")] {
            fs::write(folder.path().join("written"), text).unwrap();
            fs::rename(folder.path().join("written"), folder.path().join(name)).unwrap();
        }
        for (found, wanted) in [(longer, "a longer new file, whole"), (shorter, "new")] {
            let mut text = String::new();
            found.open.unwrap().open().unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, wanted);
        }
        assert!(source.findings.error("vol1").is_none());
    }

    #[test]
    fn a_file_that_was_replaced_by_a_folder_is_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "f").unwrap();
        let source = source(folder.path());
        let found = entry(&source, "f");
        fs::remove_file(folder.path().join("f")).unwrap();
        fs::create_dir(folder.path().join("f")).unwrap();
        assert!(found.open.unwrap().open().is_err());
        assert!(source.findings.error("vol1").unwrap().message.contains("\"f\": it was replaced"));
    }

    #[test]
    fn without_proc_nothing_counts_as_vanished() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "f").unwrap();
        let source = source(folder.path());
        // The root's attributes, then those of a file.
        let mut walk = source.entries();
        walk.descriptors = "/nowhere/at/all";
        assert_eq!(walk.count(), 0);
        let mut walk = source.entries();
        walk.next().unwrap().unwrap();
        walk.descriptors = "/nowhere/at/all";
        assert_eq!(walk.count(), 0);
        let error = source.findings.error("vol1").unwrap();
        assert_eq!(source.findings.vanished(), 0);
        assert!(error.message.contains("\".\": ") && error.message.contains("\"f\": "), "{error}");
        assert!(error.message.contains("/proc must be mounted"), "{error}");
    }

    #[test]
    fn a_snapshot_without_its_root_is_none() {
        assert!(Findings::default().check(0, 1).is_err());
    }

    #[test]
    fn a_walk_that_stopped_early_says_so_whoever_takes_the_failure() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "a").unwrap();
        fs::write(folder.path().join("b"), "b").unwrap();
        let source = source(folder.path());
        let mut walk = source.entries();
        walk.next().unwrap().unwrap();
        let open = walk.next().unwrap().unwrap().open.unwrap();
        let mut reader = open.open().unwrap();
        assert!(source.findings.stopped().is_none());

        assert!(source.backend.read_full(RepositoryFile::Index, &Id::default()).is_err());
        assert!(walk.next().is_none());
        source.backend.take_failure().unwrap();
        assert!(source.findings.stopped().unwrap().message.contains("/index/"));

        *source.findings.lock() = Found::default();
        assert!(source.backend.read_full(RepositoryFile::Index, &Id::default()).is_err());
        assert!(reader.read(&mut [0; 9]).is_err());
        source.backend.take_failure().unwrap();
        assert!(source.findings.stopped().unwrap().message.contains("/index/"));
    }

    #[test]
    fn a_failure_while_reading_is_recorded_and_ten_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let findings: Arc<Findings> = Arc::default();
        let backend = Arc::new(Backend::in_folder(folder.path(), "host1"));
        for number in 0..12 {
            // A folder can be opened, but not read.
            let file = File::open(folder.path()).unwrap();
            let path = PathBuf::from(format!("/vol1/file{number}"));
            let mut reader = Reader {
                file,
                left: 9,
                path,
                findings: findings.clone(),
                backend: backend.clone(),
            };
            assert!(reader.read(&mut [0; 9]).is_err());
        }
        let error = findings.error("vol1").unwrap();
        assert!(
            error.message.contains("\"file0\": ") && error.message.ends_with("; and 2 more"),
            "{error}"
        );
    }

    #[test]
    fn a_volume_that_is_gone_is_not_an_empty_one() {
        let source = source(Path::new("/nowhere/at/all"));
        assert_eq!(source.entries().count(), 0);
        assert!(source.findings.error("vol1").is_some());
    }

    #[test]
    fn base64_is_as_everybody_writes_it() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"\xff\xfe\xfd\xfc", "//79/A=="),
        ] {
            assert_eq!(base64(bytes), text);
        }
    }
}
