//! A moment by reflinks, where a file system shares the blocks of copies (XFS, btrfs).
//!
//! Copying a whole tree so takes a tenth of a millisecond a file, which is too long for a moment, and
//! its files would have other inodes and times than the volume's. So only what is **hot**, changed
//! lately, is copied: the names in such folders, and copies of such files, which have no names and so
//! leave no traces. All else is read from the volume itself; what changes there after the moment has
//! a later time, by which the reader tells.
//!
//! The copies are not made at one time. So the tree is looked at again and again, and what changed
//! since it was copied is copied again, until a look finds nothing: then all copies are as their
//! files were when that look began, which is the moment. A volume in which something changes at
//! every look has no such moment; what moves is told then.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{CStr, CString},
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
    process::Resource,
};

use crate::{
    daemon::tree::{
        folder_handles::{FolderHandles, OpenedFolder, TreeFolder},
        left_out::LeftOut,
        open::open_file,
    },
    exclude::VolumeExcludes,
    files::FOLDER,
};

/// What was changed so lately may change again at any time.
const HOT: SignedDuration = SignedDuration::from_hours(1);
/// The coarsest times of local file systems that tell fractions of a second: the kernel's tick. Before
/// Linux 6.13, a file that was changed so shortly before it was looked at may have changed once more and
/// look the same. Others have times of one or two seconds (ext3, FAT): waiting for that at each file
/// would last too long, so there a change in the same second is not seen (`docs/live.md`).
pub(in crate::daemon) const TICK: SignedDuration = SignedDuration::from_millis(10);
/// The most bytes that the system returns for an attribute, or for the names of all attributes.
const LARGEST_ATTRIBUTE: usize = 64 * 1024;
/// How often what changed is copied again.
const LOOKS: usize = 6;

/// The copies of what is hot in a folder.
#[derive(Debug)]
pub(in crate::daemon) struct Copies {
    /// The names in hot folders, by the folders' paths.
    folders: BTreeMap<PathBuf, HotFolder>,
    files: BTreeMap<PathBuf, CopiedFile>,
    /// What changed at every look.
    moving: BTreeSet<PathBuf>,
    /// When the last look began.
    moment: Timestamp,
}

/// A folder as it was at the moment.
#[derive(Debug)]
pub(in crate::daemon) struct HotFolder {
    pub(in crate::daemon) stat: Stat,
    pub(in crate::daemon) names: Vec<CString>,
    /// Its extended attributes.
    pub(in crate::daemon) attributes: Vec<(CString, Vec<u8>)>,
}

/// A file as it was at the moment.
#[derive(Debug)]
pub(in crate::daemon) struct CopiedFile {
    /// That of the volume's own file.
    pub(in crate::daemon) stat: Stat,
    /// Its extended attributes.
    pub(in crate::daemon) attributes: Vec<(CString, Vec<u8>)>,
    /// A copy without a name.
    pub(in crate::daemon) copy: File,
    /// When it was copied.
    copied: Timestamp,
    _counted: Counted,
}

/// The copies that this process holds, of all moments.
static COPIES: AtomicUsize = AtomicUsize::new(0);

/// Counts a copy until it is dropped.
#[derive(Debug)]
struct Counted;

impl Counted {
    fn one() -> Self {
        COPIES.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        COPIES.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Copies {
    /// A hot folder of the volume. The volume's own folder is `.`.
    pub(in crate::daemon) fn folder(&self, folder: &Path) -> Option<&HotFolder> {
        let folder = if folder == Path::new(".") { Path::new("") } else { folder };
        self.folders.get(folder)
    }

    /// A file of the volume, if it was copied.
    pub(in crate::daemon) fn file(&self, path: &Path) -> Option<&CopiedFile> {
        self.files.get(path)
    }

    /// Whether a file that was not copied may have changed since the moment. The time of a new file is
    /// that of the last tick.
    pub(in crate::daemon) fn is_later(&self, stat: &Stat) -> bool {
        changed_at(stat) >= self.moment.saturating_sub(TICK).unwrap_or(Timestamp::MIN)
    }

    /// What changed at every look: each of these is of one moment, but not of the same.
    pub(in crate::daemon) fn moving(&self) -> &BTreeSet<PathBuf> {
        &self.moving
    }
}

/// Whether the files in a folder can be copied so. Nothing is left.
pub(super) fn is_offered(folder: &Path) -> bool {
    let tried = open_root(folder).and_then(|root| {
        let (from, to) = (nameless(&root)?, nameless(&root)?);
        rustix::fs::ioctl_ficlone(to, from)
    });
    tried.is_ok()
}

/// Keeps what is hot in a folder and not left out.
///
/// # Errors
/// If a copy can't be made, as on a full disk. What was made goes away by itself.
pub(super) fn copy_hot(
    (folder, excludes): (&Path, Option<&VolumeExcludes>),
    now: impl Fn() -> Timestamp,
) -> io::Result<Copies> {
    let begun = now();
    let hot = begun.saturating_sub(HOT).unwrap_or(Timestamp::MIN);
    let (folders, files) = (BTreeMap::new(), BTreeMap::new());
    let mut copies = Copies { folders, files, moving: BTreeSet::new(), moment: begun };
    let handles = FolderHandles::default();
    let root = &handles.root(folder)?;
    let (most, tick) = (most_copies(), tick());
    for _ in 0..LOOKS {
        copies.moment = now();
        copies.moving.clear();
        let (handles, copies, seen) = (&handles, &mut copies, BTreeSet::new());
        let look = Look { handles, root, excludes, hot, most, tick, now: &now, copies, seen };
        look.whole()?;
        if copies.moving.is_empty() {
            break;
        }
    }
    Ok(copies)
}

/// How coarse times are here. From Linux 6.13 on, a file that was looked at gets a finer time at the
/// next change.
fn tick() -> SignedDuration {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (6, 13) { SignedDuration::ZERO } else { TICK }
}

/// A quarter of the files that this process may have open. That many copies may all moments have.
fn most_copies() -> usize {
    let limit = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit / 4).unwrap_or(usize::MAX).min(4096)
}

/// One look at the whole tree.
struct Look<'a> {
    handles: &'a FolderHandles,
    root: &'a OpenedFolder,
    excludes: Option<&'a VolumeExcludes>,
    hot: Timestamp,
    most: usize,
    tick: SignedDuration,
    now: &'a dyn Fn() -> Timestamp,
    copies: &'a mut Copies,
    seen: BTreeSet<PathBuf>,
}

impl Look<'_> {
    fn whole(mut self) -> io::Result<()> {
        let mut left = Vec::new();
        self.folder(self.root, &mut left)?;
        while let Some((above, name)) = left.pop() {
            match self.handles.enter(&above, &name) {
                Ok(opened) => self.folder(&opened, &mut left)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.copies.moving.insert(above.path_of(&name));
                }
                // The reader's to tell.
                Err(_) => {}
            }
        }
        let gone: Vec<_> =
            self.copies.files.keys().filter(|path| !self.seen.contains(*path)).cloned().collect();
        for path in gone {
            self.copies.files.remove(&path);
            self.copies.moving.insert(path);
        }
        Ok(())
    }

    /// Looks at a folder. What can't be looked at is the reader's to tell.
    fn folder(
        &mut self,
        opened: &OpenedFolder,
        left: &mut Vec<(Arc<TreeFolder>, CString)>,
    ) -> io::Result<()> {
        let (folder, handle) = (&opened.folder, &*opened.handle);
        let Ok((stat, listed)) = rustix::fs::fstat(handle).and_then(|stat| {
            let names = Dir::read_from(handle)?.map(|it| it.map(|it| it.file_name().to_owned()));
            Ok((stat, names.collect::<Result<Vec<_>, _>>()?))
        }) else {
            return Ok(());
        };
        let left_out = self.excludes.map(|excludes| LeftOut::of(excludes, opened));
        let is_out = |name: &CStr| left_out.as_ref().is_some_and(|left_out| left_out.has(name));
        let mut names = Vec::new();
        for name in listed {
            if name.as_c_str() == c"." || name.as_c_str() == c".." {
                continue;
            }
            if !is_out(&name) && !self.entry(opened, &name, left)? {
                continue;
            }
            names.push(name);
        }
        let path = match folder.path() {
            path if path == Path::new(".") => PathBuf::new(),
            path => path,
        };
        if changed_at(&stat) < self.hot {
            return Ok(());
        }
        let known = self.copies.folders.get(&path);
        if !known.is_some_and(|known| same(&known.stat, &stat) && known.names == names)
            && let Ok(attributes) = attributes(handle)
        {
            self.copies.moving.insert(path.clone());
            self.copies.folders.insert(path, HotFolder { stat, names, attributes });
        }
        Ok(())
    }

    /// Looks at what has this name in a folder. Returns whether it is there.
    fn entry(
        &mut self,
        opened: &OpenedFolder,
        name: &CStr,
        left: &mut Vec<(Arc<TreeFolder>, CString)>,
    ) -> io::Result<bool> {
        let (folder, handle) = (&opened.folder, &*opened.handle);
        match rustix::fs::statat(handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(seen) => match FileType::from_raw_mode(seen.st_mode) {
                FileType::Directory => left.push((Arc::clone(folder), name.to_owned())),
                FileType::RegularFile if changed_at(&seen) >= self.hot => {
                    self.file(&folder.path_of(name), (handle, name), &seen)?;
                }
                _ => {}
            },
            Err(Errno::NOENT) => {
                self.copies.moving.insert(folder.path_of(name));
                return Ok(false);
            }
            // The reader's to tell.
            Err(_) => {}
        }
        Ok(true)
    }

    /// Copies a hot file, unless its copy is still what the file is.
    fn file(
        &mut self,
        path: &Path,
        (folder, name): (&OwnedFd, &CStr),
        stat: &Stat,
    ) -> io::Result<()> {
        self.seen.insert(path.to_owned());
        if let Some(known) = self.copies.files.get(path)
            && same(&known.stat, stat)
            && changed_at(stat) < known.copied.saturating_sub(self.tick).unwrap_or(Timestamp::MIN)
        {
            return Ok(());
        }
        let is_known = self.copies.files.contains_key(path);
        if !is_known && COPIES.load(Ordering::Relaxed) >= self.most {
            return Ok(());
        }
        let copied = (self.now)();
        match copy(&self.root.handle, (folder, name), stat, copied)? {
            Some(copy) => {
                self.copies.moving.insert(path.to_owned());
                self.copies.files.insert(path.to_owned(), copy);
            }
            // The copy that is there is not what the file is. So the file itself is read.
            None if self.copies.files.remove(path).is_some() => {
                self.copies.moving.insert(path.to_owned());
            }
            None => {}
        }
        Ok(())
    }
}

/// A copy of a file, and what the file was meanwhile. `None` of what is gone or another file by now, or
/// can't be copied: a file on another file system below, one without checksums on btrfs, or one more
/// than this process may have open.
fn copy(
    root: &OwnedFd,
    (folder, name): (&OwnedFd, &CStr),
    seen: &Stat,
    copied: Timestamp,
) -> io::Result<Option<CopiedFile>> {
    let Ok(from) = open_file(folder, name) else { return Ok(None) };
    // What is written after this look is told by the next one.
    let stat = rustix::fs::fstat(&from)?;
    if (stat.st_dev, stat.st_ino) != (seen.st_dev, seen.st_ino) {
        return Ok(None);
    }
    let copy = nameless(root)?;
    match rustix::fs::ioctl_ficlone(&copy, &from) {
        Ok(()) => {
            let Ok(attributes) = attributes(&from) else { return Ok(None) };
            Ok(Some(CopiedFile { stat, attributes, copy, copied, _counted: Counted::one() }))
        }
        Err(error @ (Errno::NOSPC | Errno::DQUOT)) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// The extended attributes of a file. What is changed after this look is told by the next one.
fn attributes(file: &OwnedFd) -> io::Result<Vec<(CString, Vec<u8>)>> {
    let mut buffer = vec![0; LARGEST_ATTRIBUTE];
    let length = match rustix::fs::flistxattr(file, &mut buffer[..]) {
        Err(Errno::NOTSUP) => 0,
        length => length?,
    };
    let names: Vec<_> = buffer[..length].split_inclusive(|byte| *byte == 0).collect();
    let names = names.into_iter().filter_map(|name| CStr::from_bytes_with_nul(name).ok());
    let names: Vec<_> = names.map(CStr::to_owned).collect();
    let mut found = Vec::new();
    for name in names {
        match rustix::fs::fgetxattr(file, &name, &mut buffer[..]) {
            // It was removed after it was listed.
            Err(Errno::NODATA) => {}
            length => found.push((name, buffer[..length?].to_vec())),
        }
    }
    Ok(found)
}

fn open_root(folder: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(folder, FOLDER, Mode::empty())
}

/// A file without a name on the folder's own file system. It goes away when it is closed.
fn nameless(root: &OwnedFd) -> Result<File, Errno> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(root, c".", flags, Mode::RUSR | Mode::WUSR)?))
}

/// When a file's content or metadata was changed last. No program can set this time.
pub(in crate::daemon) fn changed_at(stat: &Stat) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "there are 10^9 of them in a second")]
    let nanoseconds = stat.st_ctime_nsec as i32;
    Timestamp::new(stat.st_ctime, nanoseconds).unwrap_or(Timestamp::MAX)
}

fn same(one: &Stat, other: &Stat) -> bool {
    let key = |stat: &Stat| {
        let times = (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
        (stat.st_size, times, stat.st_ino, stat.st_dev)
    };
    key(one) == key(other)
}
