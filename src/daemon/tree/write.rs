//! Fills an empty folder with what a snapshot holds.
//!
//! The folder is private and new, every file is made through the handle of the folder it is in, and
//! no name is ever followed through a symlink. A fixed number of threads reads, checks (against the
//! name of each piece, its SHA-256) and writes, fed through a short queue: the memory is bounded
//! whatever the volume. Runs of zeros, aligned to 4 KiB, become holes. A file's size is what its
//! content adds up to. The first failure ends the restore.

use std::{
    collections::HashMap,
    ffi::{CString, OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::FileExt as _},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use rustic_core::{
    BlobId, DataId, TreeId,
    repofile::{BlobType, Metadata, Node, NodeType},
};
use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags},
    io::Errno,
};

use super::{
    access_list::{self, GroupBits},
    mode,
    read::c_name,
};
use crate::{
    daemon::repository::{Indexed, OpenRepository, guarded},
    error::{Error, ErrorKind, Result},
    files::write_error,
    progress::Piece,
    sync::lock,
};

/// Zeros are left out in units of this many bytes: the block of most file systems.
const HOLE: usize = 4096;
/// Pieces of a file that one thread restores at a time; a large file is restored by several.
const PIECES: usize = 8;
/// Pieces of work that wait at most.
const QUEUE: usize = 16;
const THREADS: usize = 4;
/// How a folder is opened.
const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A path that is longer than this, in bytes, is opened in steps: the system takes 4096 with the
/// zero behind them.
const LONGEST_STEP: usize = 4000;

/// What could not be kept, and why that is no failure.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn once(&self, note: &str) {
        let mut notes = lock(&self.0);
        if !notes.iter().any(|known| known == note) {
            notes.push(note.to_owned());
        }
    }

    /// The notes, each once.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0))
    }
}

/// A file that is being written, by several threads perhaps.
struct Writing {
    file: File,
    meta: Metadata,
    path: PathBuf,
    size: u64,
    holes: AtomicBool,
    /// Pieces of work that are not done; the last one to finish sets the metadata.
    left: AtomicUsize,
}

/// A part of a file: the pieces from `offset` on.
struct Part {
    file: Arc<Writing>,
    offset: u64,
    pieces: Vec<DataId>,
}

/// What a thread is handed.
enum Work {
    /// A whole file that is small and has one name: making it, and setting what is to be set, takes
    /// longer than its content.
    File { folder: Arc<OwnedFd>, name: CString, path: PathBuf, node: Box<Node> },
    /// A part of a file that is there.
    Part(Part),
}

/// A folder that is complete but for its metadata.
type Folder = (PathBuf, Metadata);

/// A folder that is being filled.
struct Level {
    handle: Arc<OwnedFd>,
    path: PathBuf,
    meta: Metadata,
    nodes: std::vec::IntoIter<Node>,
}

struct Restorer<'a> {
    repository: &'a OpenRepository,
    indexed: &'a Indexed,
    piece: &'a dyn Piece,
    notes: &'a Notes,
    failed: Mutex<Option<Error>>,
}

/// Restores the one folder in `tree` to `target`, an empty folder of ours, and puts it on disk.
///
/// # Errors
/// Whatever can't be read, does not match its name, or can't be written or set; `target` is then in
/// any state.
pub(crate) fn restore(
    repository: &OpenRepository,
    tree: TreeId,
    target: &Path,
    piece: &dyn Piece,
    notes: &Notes,
) -> Result<()> {
    let indexed = repository.indexed()?;
    let restorer =
        Restorer { repository, indexed: &indexed, piece, notes, failed: Mutex::default() };
    let root = rustix::fs::open(target, FOLDER, Mode::empty())
        .map_err(|error| write_error(target, &io::Error::from(error)))?;
    let root = Arc::new(root);
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(THREADS);
    let (sender, receiver) = sync_channel(QUEUE);
    let receiver = Mutex::new(receiver);
    let walked = std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| restorer.work(&receiver));
        }
        let folders = restorer
            .walk(tree, root.clone(), &sender)
            .inspect_err(|error| restorer.fail(error.clone()))?;
        drop(sender);
        Ok(folders)
    });
    if let Some(error) = lock(&restorer.failed).take() {
        return Err(error);
    }
    // All names are in their folders, so times stay; the deepest first, as long as their parents
    // can be entered.
    for (path, meta) in walked? {
        restorer.set_open(&open_folder(&root, &path)?, &meta, &path)?;
    }
    rustix::fs::syncfs(&*root).map_err(|error| write_error(target, &io::Error::from(error)))
}

impl Restorer<'_> {
    fn fail(&self, error: Error) {
        lock(&self.failed).get_or_insert(error);
    }

    fn has_failed(&self) -> bool {
        lock(&self.failed).is_some()
    }

    fn nodes(&self, tree: &TreeId, path: &Path) -> Result<std::vec::IntoIter<Node>> {
        let tree = self.indexed.get_tree(tree).map_err(|error| {
            let what = format!("cannot read the folder \"{}\" of the backup", path.display());
            self.repository.failure(&what, &error)
        })?;
        Ok(tree.nodes.into_iter())
    }

    /// Makes folders and everything that has no content; hands out the content of files.
    fn walk(
        &self,
        tree: TreeId,
        root: Arc<OwnedFd>,
        sender: &SyncSender<Work>,
    ) -> Result<Vec<Folder>> {
        let mut folders = Vec::new();
        let top: Vec<_> = self.nodes(&tree, Path::new("/"))?.collect();
        let [Node { subtree: Some(subtree), meta, .. }] = top.as_slice() else {
            return Err(Error::new(
                ErrorKind::Repository,
                "the backup does not hold exactly one folder",
            )
            .with_hint("it was not made by this program; restore it with \"restic restore\""));
        };
        let nodes = self.nodes(subtree, Path::new("/"))?;
        let mut levels =
            vec![Level { handle: root.clone(), path: PathBuf::new(), meta: meta.clone(), nodes }];
        let mut linked: HashMap<(u64, u64), PathBuf> = HashMap::new();
        while let Some(level) = levels.last_mut() {
            if self.has_failed() {
                return Ok(folders);
            }
            let Some(node) = level.nodes.next() else {
                folders.extend(levels.pop().map(|level| (level.path, level.meta)));
                continue;
            };
            let name = checked_name(&node, &level.path)?;
            let path = level.path.join(OsStr::from_bytes(name.as_bytes()));
            let handle = level.handle.clone();
            let hard_link = (node.meta.links > 1).then_some((node.meta.device_id, node.meta.inode));
            if let Some(first) = hard_link.and_then(|id| linked.get(&id)) {
                let (folder, first) = (
                    first.parent().unwrap_or(Path::new("")),
                    first.file_name().unwrap_or_default(),
                );
                let folder = open_folder(&root, folder)?;
                rustix::fs::linkat(&*folder, first, &*handle, &name, AtFlags::empty())
                    .map_err(failed(&path))?;
                continue;
            }
            let first = hard_link.map(|id| (id, path.clone()));
            let mut made = true;
            match &node.node_type {
                NodeType::Dir => {
                    rustix::fs::mkdirat(&*handle, &name, Mode::RWXU).map_err(failed(&path))?;
                    let folder = rustix::fs::openat(&*handle, &name, FOLDER, Mode::empty())
                        .map_err(failed(&path))?;
                    let Some(subtree) = &node.subtree else {
                        return Err(Error::new(
                            ErrorKind::Repository,
                            format!(
                                "the folder \"{}\" of the backup has no content",
                                path.display()
                            ),
                        ));
                    };
                    let nodes = self.nodes(subtree, &path)?;
                    levels.push(Level { handle: Arc::new(folder), path, meta: node.meta, nodes });
                }
                NodeType::File
                    if first.is_none()
                        && node.content.as_ref().is_none_or(|it| it.len() <= PIECES) =>
                {
                    // Where all threads ended, one of them has said why.
                    let _ = sender.send(Work::File {
                        folder: handle,
                        name,
                        path,
                        node: Box::new(node),
                    });
                }
                NodeType::File => {
                    let (file, parts) = self.start(&handle, &name, path, node)?;
                    if parts.is_empty() {
                        self.finish(&file)?;
                    }
                    for part in parts {
                        let _ = sender.send(Work::Part(part));
                    }
                }
                _ => made = self.special(&handle, &name, &path, &node)?,
            }
            linked.extend(first.filter(|_| made));
        }
        Ok(folders)
    }

    /// Makes a file; the parts of its content that are to be written into it.
    fn start(
        &self,
        folder: &OwnedFd,
        name: &CString,
        path: PathBuf,
        node: Node,
    ) -> Result<(Arc<Writing>, Vec<Part>)> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(failed(&path))?;
        let mut parts = Vec::new();
        let mut size = 0;
        for pieces in node.content.unwrap_or_default().chunks(PIECES) {
            parts.push((size, pieces.to_vec()));
            for piece in pieces {
                let entry =
                    self.indexed.get_index_entry(piece).map_err(|_| missing(piece, &path))?;
                size += u64::from(entry.data_length());
            }
        }
        let file = Arc::new(Writing {
            file: File::from(file),
            meta: node.meta,
            path,
            size,
            holes: AtomicBool::new(false),
            left: AtomicUsize::new(parts.len().max(1)),
        });
        let part = |(offset, pieces)| Part { file: Arc::clone(&file), offset, pieces };
        let parts = parts.into_iter().map(part).collect();
        Ok((file, parts))
    }

    fn work(&self, queue: &Mutex<Receiver<Work>>) {
        loop {
            let work = lock(queue).recv();
            let Ok(work) = work else { return };
            if self.has_failed() {
                // The queue must drain, or the walk would wait for room in it.
                continue;
            }
            let path = match &work {
                Work::File { path, .. } => path,
                Work::Part(part) => &part.file.path,
            };
            let what = format!("restoring \"{}\"", path.display());
            if let Err(error) = guarded(&what, || self.do_work(work)) {
                self.fail(error);
            }
        }
    }

    fn do_work(&self, work: Work) -> Result<()> {
        match work {
            Work::Part(part) => self.write(&part),
            Work::File { folder, name, path, node } => {
                let (file, parts) = self.start(&folder, &name, path, *node)?;
                if parts.is_empty() {
                    return self.finish(&file);
                }
                parts.iter().try_for_each(|part| self.write(part))
            }
        }
    }

    fn write(&self, part: &Part) -> Result<()> {
        let file = &part.file;
        let mut offset = part.offset;
        for piece in &part.pieces {
            let content = self
                .indexed
                .get_blob_cached(&BlobId::from(**piece), BlobType::Data)
                .map_err(|error| {
                    self.repository.failure(
                        &format!("cannot read a piece of \"{}\"", file.path.display()),
                        &error,
                    )
                })?;
            if !piece.blob_matches_reader(content.len() as u64, &mut &content[..]) {
                let message =
                    format!("a piece of \"{}\" is not what was backed up", file.path.display());
                return Err(Error::new(ErrorKind::Repository, message).with_hint("the repository is damaged: try an older or a newer backup; \"restic restore\" goes on past what it can't read"));
            }
            let dug = write_with_holes(&file.file, &content, offset)
                .map_err(|error| write_error(&file.path, &error))?;
            if dug {
                file.holes.store(true, Ordering::Relaxed);
            }
            offset += content.len() as u64;
            self.piece.advance(content.len() as u64);
        }
        self.finish(file)
    }

    /// One part of the file is done; the last one sets what is left to set.
    fn finish(&self, file: &Writing) -> Result<()> {
        if file.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return Ok(());
        }
        if file.holes.load(Ordering::Relaxed) {
            file.file.set_len(file.size).map_err(|error| write_error(&file.path, &error))?;
        }
        self.set_open(&file.file, &file.meta, &file.path)
    }

    /// Sets the metadata of an open file or folder. The owner goes first: changing it clears
    /// set-user-id and capabilities.
    fn set_open(&self, open: impl AsFd, meta: &Metadata, path: &Path) -> Result<()> {
        let open = open.as_fd();
        let owned = self.owner(meta, path, |user, group| rustix::fs::fchown(open, user, group))?;
        let lost = self.attributes(meta, path, |name, value| {
            rustix::fs::fsetxattr(open, name, value, XattrFlags::empty())
        })?;
        if let Some(mode) = mode_of(meta, owned, lost) {
            rustix::fs::fchmod(open, mode).map_err(failed(path))?;
        }
        rustix::fs::futimens(open, &times(meta)).map_err(failed(path))
    }

    /// Makes a symlink, FIFO, device or socket; `false` where this process may not.
    fn special(&self, folder: &OwnedFd, name: &CString, path: &Path, node: &Node) -> Result<bool> {
        let make =
            |kind, device| rustix::fs::mknodat(folder, name, kind, Mode::RUSR | Mode::WUSR, device);
        let made = match &node.node_type {
            NodeType::Symlink { .. } => {
                rustix::fs::symlinkat(node.node_type.to_link(), folder, name)
            }
            NodeType::Fifo => make(FileType::Fifo, 0),
            NodeType::Socket => make(FileType::Socket, 0),
            NodeType::Chardev { device } => make(FileType::CharacterDevice, *device),
            NodeType::Dev { device } => make(FileType::BlockDevice, *device),
            NodeType::Dir | NodeType::File => Ok(()),
        };
        let device = matches!(node.node_type, NodeType::Chardev { .. } | NodeType::Dev { .. });
        if device && made == Err(Errno::PERM) {
            self.notes.once(&format!(
                "the device \"{}\" was not made: that needs CAP_MKNOD",
                path.display()
            ));
            return Ok(false);
        }
        made.map_err(failed(path))?;
        let meta = &node.meta;
        let owned = self.owner(meta, path, |user, group| {
            rustix::fs::chownat(folder, name, user, group, AtFlags::SYMLINK_NOFOLLOW)
        })?;
        let mut through = OsString::from(format!("/proc/self/fd/{}/", folder.as_raw_fd()));
        through.push(OsStr::from_bytes(name.as_bytes()));
        let lost = self.attributes(meta, path, |name, value| {
            rustix::fs::lsetxattr(&through, name, value, XattrFlags::empty())
        })?;
        if let Some(mode) = mode_of(meta, owned, lost).filter(|_| !node.is_symlink()) {
            rustix::fs::chmodat(folder, name, mode, AtFlags::empty()).map_err(failed(path))?;
        }
        rustix::fs::utimensat(folder, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed(path))?;
        Ok(true)
    }

    /// Sets the owner; `false` where this process may not (root in a container may lack any right,
    /// so its number says nothing), or its user namespace does not know the owner.
    fn owner(
        &self,
        meta: &Metadata,
        path: &Path,
        set: impl FnOnce(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
    ) -> Result<bool> {
        let user = meta.uid.filter(|id| *id != u32::MAX).map(Uid::from_raw);
        let group = meta.gid.filter(|id| *id != u32::MAX).map(Gid::from_raw);
        match set(user, group) {
            Ok(()) => Ok(true),
            Err(Errno::PERM | Errno::INVAL) => {
                self.notes
                    .once("owners were not kept: giving files away needs CAP_CHOWN, and owners that are known here");
                Ok(false)
            }
            Err(error) => Err(failed(path)(error)),
        }
    }

    /// Sets the extended attributes; what the group may do by the access list, where that one was
    /// lost.
    fn attributes(
        &self,
        meta: &Metadata,
        path: &Path,
        set: impl Fn(&str, &[u8]) -> Result<(), Errno>,
    ) -> Result<Option<GroupBits>> {
        let mut lost = None;
        for attribute in &meta.extended_attributes {
            let name = &attribute.name;
            let value = attribute.value.as_deref().unwrap_or_default();
            let note = match set(name, value) {
                Ok(()) => continue,
                Err(Errno::NOTSUP) => {
                    "extended attributes were not kept: the file system has none".to_owned()
                }
                Err(Errno::INVAL) if access_list::NAMES.contains(&name.as_str()) => {
                    format!(
                        "access lists (\"{name}\") were not kept: they name users or groups that are not known here"
                    )
                }
                Err(Errno::PERM | Errno::ACCESS | Errno::INVAL) if !name.starts_with("user.") => {
                    format!(
                        "attributes \"{name}\" were not kept: that needs CAP_SYS_ADMIN or CAP_SETFCAP"
                    )
                }
                Err(error) => {
                    let what =
                        format!("cannot set the attribute \"{name}\" of \"{}\"", path.display());
                    return Err(Error::io(what, &error.into()));
                }
            };
            self.notes.once(&note);
            if name == access_list::ACCESS {
                lost = Some(access_list::group_bits(value));
            }
        }
        Ok(lost)
    }
}

/// The mode to set. What would run as its owner must not run as another one. Where the access list
/// was `lost`, the mode's group bits are its mask, which is wider than what the list gives the
/// group.
fn mode_of(meta: &Metadata, owned: bool, lost: Option<GroupBits>) -> Option<Mode> {
    let mode = Mode::from_raw_mode(mode::permissions(meta.mode?));
    let mode = if owned { mode } else { mode - Mode::SUID - Mode::SGID };
    Some(lost.map_or(mode, |group| mode - (Mode::RWXG - group)))
}

/// A name that can't lead out of its folder, whatever the repository says.
fn checked_name(node: &Node, folder: &Path) -> Result<CString> {
    let name = node.name();
    let bytes = name.as_bytes();
    let sane = !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.contains(&b'/');
    sane.then(|| c_name(&name)).flatten().ok_or_else(|| {
        let message = format!(
            "{:?} in the folder \"{}\" of the backup is no name of a file",
            name,
            folder.display()
        );
        Error::new(ErrorKind::Repository, message)
            .with_hint("the repository is damaged, or was tampered with")
    })
}

/// Opens the folder of ours at this path below `root`, however long the path is. A handle a time:
/// what a wide tree has of folders can't all be kept open.
fn open_folder(root: &Arc<OwnedFd>, path: &Path) -> Result<Arc<OwnedFd>> {
    let mut folder = Arc::clone(root);
    for step in steps(path) {
        folder = Arc::new(
            rustix::fs::openat(&*folder, &step, FOLDER, Mode::empty()).map_err(failed(path))?,
        );
    }
    Ok(folder)
}

/// A relative path in as few pieces as the system takes.
fn steps(path: &Path) -> Vec<PathBuf> {
    let mut steps: Vec<PathBuf> = Vec::new();
    for name in path {
        match steps.last_mut() {
            Some(step) if step.as_os_str().len() + 1 + name.len() <= LONGEST_STEP => {
                step.push(name)
            }
            _ => steps.push(name.into()),
        }
    }
    steps
}

fn failed(path: &Path) -> impl FnOnce(Errno) -> Error + '_ {
    move |error| write_error(path, &io::Error::from(error))
}

fn missing(piece: &DataId, path: &Path) -> Error {
    let message = format!(
        "a piece of \"{}\" is missing in the repository ({})",
        path.display(),
        piece.to_hex().as_str()
    );
    Error::new(ErrorKind::Repository, message).with_hint(
        "the repository is damaged: try an older or a newer backup; \"restic restore\" goes on past what it can't read",
    )
}

fn times(meta: &Metadata) -> Timestamps {
    let time = |time: Option<rustic_core::jiff::Timestamp>| match time {
        Some(time) => {
            // Before 1970 the library's parts are both negative; the system wants nanoseconds from
            // 0 up.
            let nanoseconds = time.as_nanosecond();
            let second = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).unwrap_or_default();
            let rest = nanoseconds.rem_euclid(1_000_000_000);
            Timespec { tv_sec: second, tv_nsec: i64::try_from(rest).unwrap_or_default() }
        }
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    Timestamps { last_access: time(meta.atime), last_modification: time(meta.mtime) }
}

/// Writes everything but whole blocks of zeros; whether any were left out.
fn write_with_holes(file: &File, content: &[u8], offset: u64) -> io::Result<bool> {
    const ZEROS: [u8; HOLE] = [0; HOLE];
    let mut dug = false;
    let mut run = 0..0;
    let mut at = 0;
    while at < content.len() {
        let into_block = usize::try_from((offset + at as u64) % HOLE as u64).unwrap_or(0);
        let end = (at + HOLE - into_block).min(content.len());
        if content[at..end] == ZEROS[..end - at] {
            dug = true;
            file.write_all_at(&content[run.clone()], offset + run.start as u64)?;
            run = end..end;
        } else {
            run.end = end;
        }
        at = end;
    }
    file.write_all_at(&content[run.clone()], offset + run.start as u64)?;
    Ok(dug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_access_list_takes_from_the_group_what_only_its_mask_had() {
        let meta = Metadata { mode: Some(0o664), ..Metadata::default() };
        assert_eq!(mode_of(&meta, true, None), Some(Mode::from_raw_mode(0o664)));
        assert_eq!(mode_of(&meta, true, Some(Mode::RGRP)), Some(Mode::from_raw_mode(0o644)));
        assert_eq!(mode_of(&meta, true, Some(Mode::empty())), Some(Mode::from_raw_mode(0o604)));
        // It never gives more than there was.
        assert_eq!(mode_of(&meta, true, Some(Mode::RWXG)), Some(Mode::from_raw_mode(0o664)));
    }

    #[test]
    fn a_path_is_opened_in_as_few_steps_as_the_system_takes() {
        assert!(steps(Path::new("")).is_empty());
        assert_eq!(steps(Path::new("dir/deep")), [PathBuf::from("dir/deep")]);
        let long: PathBuf = std::iter::repeat_n("n".repeat(200), 30).collect();
        let steps = steps(&long);
        assert_eq!((steps.len(), steps.iter().collect::<PathBuf>()), (2, long));
        assert!(steps.iter().all(|step| step.as_os_str().len() <= LONGEST_STEP));
    }
}
