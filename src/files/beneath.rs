//! What is beneath a folder that others may write to. No link is followed there, nothing but regular
//! files is opened, and what takes another one's place meanwhile leads nowhere.

use std::{
    ffi::{CString, OsStr, OsString},
    fs::{File, Metadata},
    io::{self, Read as _},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::open::open_file;

/// A handle of a folder, which is only good for going on from it.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const LISTED: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A folder.
#[derive(Debug)]
pub(crate) struct Beneath(OwnedFd);

impl Beneath {
    /// A folder that somebody trusted has named: it may be a link.
    ///
    /// # Errors
    /// If it can't be opened.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(CWD, path, PLACE, Mode::empty())?))
    }

    /// The folder with this name in it.
    ///
    /// # Errors
    /// If it can't be opened, or is a link or no folder.
    pub(crate) fn folder(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let name = name.as_ref();
        match rustix::fs::openat(&self.0, name, PLACE | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(folder) => Ok(Self(folder)),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("\"{}\" is a link, or no folder", name.display()),
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// As [`Beneath::folder`], but a link is followed that is root's or this user's: others can't make such a
    /// one.
    ///
    /// # Errors
    /// As [`Beneath::folder`].
    pub(crate) fn folder_by_owner(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let name = name.as_ref();
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(link) = rustix::fs::openat(&self.0, name, flags, Mode::empty()) else {
            return self.folder(name);
        };
        let found = rustix::fs::fstat(&link)?;
        let is_trusted = [0, rustix::process::geteuid().as_raw()].contains(&found.st_uid);
        if FileType::from_raw_mode(found.st_mode) != FileType::Symlink || !is_trusted {
            return self.folder(name);
        }
        // Where this very link leads, whatever has its name by now.
        let target = rustix::fs::readlinkat(&link, c"", Vec::new())?;
        Ok(Self(rustix::fs::openat(&self.0, &*target, PLACE, Mode::empty())?))
    }

    /// Makes the folder with this name, if it is missing.
    ///
    /// # Errors
    /// If it can't be made.
    pub(crate) fn make_folder(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.0, name.as_ref(), Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What is known of what has this name; of a link, what is known of itself.
    ///
    /// # Errors
    /// If it is missing, or can't be looked at.
    pub(crate) fn metadata(&self, name: impl AsRef<OsStr>) -> io::Result<Metadata> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = rustix::fs::openat(&self.0, name.as_ref(), flags, Mode::empty())?;
        File::from(found).metadata()
    }

    /// Opens the regular file with this name for reading.
    ///
    /// # Errors
    /// If it is missing, is no regular file, or can't be opened.
    pub(crate) fn open(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let name = name.as_ref();
        let terminated = CString::new(name.as_bytes())?;
        match open_file(&self.0, &terminated) {
            Ok(file) => Ok(file.into()),
            Err(Errno::NXIO) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("\"{}\" is no regular file", name.display()),
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// The content of the regular file with this name.
    ///
    /// # Errors
    /// As [`Beneath::open`]; [`io::ErrorKind::FileTooLarge`] if it has more than `most` bytes.
    pub(crate) fn read(&self, name: impl AsRef<OsStr>, most: u64) -> io::Result<Vec<u8>> {
        let file = self.open(name)?;
        let length = file.metadata()?.len();
        let mut content = Vec::with_capacity(usize::try_from(length.min(most)).unwrap_or_default());
        file.take(most.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > most {
            let why = format!("it has {} bytes, {most} are the most", length.max(most + 1));
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        Ok(content)
    }

    /// Makes a file with this name, which must not exist.
    ///
    /// # Errors
    /// If it can't be made.
    pub(crate) fn create(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::openat(&self.0, name.as_ref(), flags, mode)?.into())
    }

    /// Opens the regular file with this name for reading and writing, and makes it if it is missing.
    ///
    /// # Errors
    /// If it is no regular file, or can't be opened or made.
    pub(crate) fn open_or_create(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let name = name.as_ref();
        match self.metadata(name) {
            Ok(found) if !found.is_file() => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("\"{}\" is no regular file", name.display()),
            )),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
                let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK;
                let mode = Mode::RUSR | Mode::WUSR;
                Ok(rustix::fs::openat(&self.0, name, flags, mode)?.into())
            }
        }
    }

    /// Removes the file with this name.
    ///
    /// # Errors
    /// If it is missing, or can't be removed.
    pub(crate) fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name.as_ref(), AtFlags::empty())?)
    }

    /// Gives the file with this name another one, in that folder. What has that name is replaced.
    ///
    /// # Errors
    /// If that can't be done.
    pub(crate) fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, name, &to.0, new)?)
    }

    /// As [`Beneath::rename`], but nothing is replaced.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if the name is taken; another kind if it can't be done.
    pub(crate) fn rename_to_new(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        match rustix::fs::renameat_with(&self.0, name, &to.0, new, RenameFlags::NOREPLACE) {
            // The file system does not support the flag (NFS). A hard link refuses an existing name.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                rustix::fs::linkat(&self.0, name, &to.0, new, AtFlags::empty())?;
                self.remove(name)
            }
            renamed => Ok(renamed?),
        }
    }

    /// Writes its entries to disk. A file system that can't sync a folder (some network ones) is trusted
    /// to have done so.
    ///
    /// # Errors
    /// If that fails.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let folder = rustix::fs::openat(&self.0, c".", LISTED, Mode::empty())?;
        match rustix::fs::fsync(folder) {
            Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            synced => Ok(synced?),
        }
    }

    /// The names in it, with their kinds as far as the file system tells.
    ///
    /// # Errors
    /// If it can't be read.
    pub(crate) fn entries(&self) -> io::Result<Vec<(OsString, FileType)>> {
        let folder = rustix::fs::openat(&self.0, c".", LISTED, Mode::empty())?;
        let mut entries = Vec::new();
        for entry in Dir::new(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                entries.push((OsString::from_vec(name.to_vec()), entry.file_type()));
            }
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn no_link_is_followed_and_nothing_but_files_is_opened() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |below: &str| scratch.path().join(below);
        fs::create_dir(path("real")).unwrap();
        fs::create_dir(path("real/folder")).unwrap();
        fs::write(path("precious"), "words").unwrap();
        symlink(path("real"), path("named")).unwrap();
        symlink("folder", path("real/link")).unwrap();
        symlink(path("precious"), path("real/file-link")).unwrap();
        symlink("/dev/zero", path("real/zero")).unwrap();
        symlink(path("made"), path("real/dangling")).unwrap();
        rustix::fs::mknodat(CWD, path("real/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();

        let below = Beneath::of(&path("named")).unwrap();
        below.folder("folder").unwrap();
        assert_eq!(below.folder("link").unwrap_err().kind(), io::ErrorKind::NotADirectory);
        for name in ["file-link", "zero", "pipe", "folder", "dangling"] {
            below.read(name, 10).unwrap_err();
            below.open_or_create(name).unwrap_err();
            below.create(name).unwrap_err();
        }
        assert!(!path("made").exists());
        below.create("new").unwrap();
        below.rename("new".as_ref(), &below, "file-link".as_ref()).unwrap();
        assert_eq!(fs::read_to_string(path("precious")).unwrap(), "words");
        assert_eq!(below.read("file-link", 0).unwrap(), b"");
    }

    #[test]
    fn a_file_that_is_larger_than_it_may_be_is_not_read() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("file"), "0123456789").unwrap();
        let below = Beneath::of(scratch.path()).unwrap();
        assert_eq!(below.read("file", 10).unwrap(), b"0123456789");
        let error = below.read("file", 9).unwrap_err();
        assert_eq!(error.to_string(), "it has 10 bytes, 9 are the most");
    }

    #[test]
    fn nothing_is_replaced_by_what_must_be_new() {
        let scratch = tempfile::tempdir().unwrap();
        let below = Beneath::of(scratch.path()).unwrap();
        below.create("one").unwrap();
        below.create("other").unwrap();
        let renamed = below.rename_to_new("one".as_ref(), &below, "other".as_ref());
        assert_eq!(renamed.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        below.rename_to_new("one".as_ref(), &below, "new".as_ref()).unwrap();
        let mut names: Vec<_> =
            below.entries().unwrap().into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(names, ["new", "other"]);
    }
}
