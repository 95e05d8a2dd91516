//! The demo's files, with a sample of everything that volumes hold, and the comparison that finds
//! any difference between two trees.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{Read, Seek, SeekFrom, Write},
    os::unix::{
        ffi::OsStringExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// The size of the largest file, which makes up most of the demo's volume, in bytes.
pub(super) const LARGE_FILE: u64 = 16 << 20;
const SMALL_FILES: usize = 400;

fn failed(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let what = format!("cannot {what} \"{}\"", path.display());
    move |error| Error::io(what, &error)
}

/// Makes `None` of the error that the file system has no extended attributes.
fn if_supported<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOTSUP.raw_os_error()) => {
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// Fills an empty folder with the same content each time. Returns whether the file system has
/// extended attributes, and so whether one of the files has one.
pub(super) fn fill(folder: &Path) -> Result<bool> {
    let mut noise = Noise(1);
    for index in 0..SMALL_FILES {
        let path = folder.join(format!("documents/{:02}/report-{index:03}.txt", index % 20));
        fs::create_dir_all(path.parent().unwrap_or(folder))
            .map_err(failed("create the folder of", &path))?;
        let size = 2_000 + noise.next() as usize % 14_000;
        fs::write(&path, noise.text(size)).map_err(failed("write", &path))?;
    }
    let database = folder.join("database/pages.db");
    fs::create_dir_all(folder.join("database")).map_err(failed("create", &database))?;
    fs::write(&database, noise.bytes(LARGE_FILE as usize)).map_err(failed("write", &database))?;

    let odd = folder.join("odd");
    fs::create_dir_all(&odd).map_err(failed("create", &odd))?;
    fs::set_permissions(&odd, fs::Permissions::from_mode(0o2750))
        .map_err(failed("set the mode of", &odd))?;
    let secret = odd.join("secret.key");
    fs::write(&secret, "not really\n").map_err(failed("write", &secret))?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))
        .map_err(failed("set the mode of", &secret))?;
    let with_attributes = if_supported(xattr::set(&secret, "user.origin", b"demo"))
        .map_err(failed("set an extended attribute of", &secret))?
        .is_some();
    let link = odd.join("hard-link.key");
    fs::hard_link(&secret, &link).map_err(failed("link", &link))?;
    let symbolic = odd.join("link to the database");
    symlink("../database/pages.db", &symbolic).map_err(failed("link", &symbolic))?;
    let latin = odd.join(OsString::from_vec(b"caf\xe9.txt".to_vec()));
    fs::write(&latin, "its name is not UTF-8\n").map_err(failed("write", &latin))?;
    let sparse = odd.join("sparse.img");
    let mut file = fs::File::create(&sparse).map_err(failed("create", &sparse))?;
    file.set_len(64 << 20).map_err(failed("size", &sparse))?;
    file.seek(SeekFrom::Start(32 << 20))
        .and_then(|_| file.write_all(b"in the middle"))
        .map_err(failed("write", &sparse))?;
    let fifo = odd.join("queue");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o620),
        0,
    )
    .map_err(|error| failed("create", &fifo)(error.into()))?;
    Ok(with_attributes)
}

/// Changes a few files: one page of the database and three documents. One file is added and one
/// removed.
pub(super) fn change(folder: &Path) -> Result<()> {
    let database = folder.join("database/pages.db");
    let mut file =
        fs::OpenOptions::new().write(true).open(&database).map_err(failed("open", &database))?;
    file.seek(SeekFrom::Start(LARGE_FILE / 2))
        .and_then(|_| file.write_all(&Noise(7).bytes(4096)))
        .map_err(failed("write", &database))?;
    for index in [3, 4, 5] {
        let path = folder.join(format!("documents/{:02}/report-{index:03}.txt", index % 20));
        let mut file =
            fs::OpenOptions::new().append(true).open(&path).map_err(failed("open", &path))?;
        file.write_all(b"one more line\n").map_err(failed("write", &path))?;
    }
    let new = folder.join("documents/new.txt");
    fs::write(&new, "written after the first backup\n").map_err(failed("write", &new))?;
    let gone = folder.join("documents/07/report-007.txt");
    fs::remove_file(&gone).map_err(failed("remove", &gone))
}

/// All properties of an entry of a tree that a restore must bring back.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    size: u64,
    links: u64,
    device: u64,
    content: [u8; 32],
    target: Option<PathBuf>,
    attributes: BTreeMap<OsString, Vec<u8>>,
}

/// Compares two trees. Returns how many entries the first has below its root, and one line for each
/// difference: a missing file, or a property of a file that differs. The roots are compared as
/// well, as ".".
///
/// # Errors
/// One of the trees can't be read.
pub(super) fn differences(one: &Path, other: &Path) -> Result<(usize, Vec<String>)> {
    let (one, other) = (entries(one)?, entries(other)?);
    let mut found = Vec::new();
    for (path, entry) in &one {
        match other.get(path) {
            None => found.push(format!("{} is missing", path.display())),
            Some(there) if there != entry => {
                found.push(format!("{}: {entry:?} became {there:?}", path.display()))
            }
            Some(_) => {}
        }
    }
    found.extend(
        other
            .keys()
            .filter(|path| !one.contains_key(*path))
            .map(|path| format!("{} is new", path.display())),
    );
    Ok((one.len() - 1, found))
}

fn entries(root: &Path) -> Result<BTreeMap<PathBuf, Entry>> {
    let mut entries = BTreeMap::from([(PathBuf::from("."), entry(root)?)]);
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let full = root.join(&folder);
        for item in fs::read_dir(&full).map_err(failed("list", &full))? {
            let path = folder.join(item.map_err(failed("list", &full))?.file_name());
            let entry = entry(&root.join(&path))?;
            if entry.kind == "folder" {
                folders.push(path.clone());
            }
            entries.insert(path, entry);
        }
    }
    Ok(entries)
}

fn entry(path: &Path) -> Result<Entry> {
    let metadata = fs::symlink_metadata(path).map_err(failed("look at", path))?;
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => "folder",
        kind if kind.is_symlink() => "symbolic link",
        kind if kind.is_fifo() => "FIFO",
        kind if kind.is_socket() => "socket",
        kind if kind.is_file() => "file",
        _ => "device",
    };
    let is_file = metadata.is_file();
    let target = metadata
        .is_symlink()
        .then(|| fs::read_link(path))
        .transpose()
        .map_err(failed("read the link", path))?;
    let mut attributes = BTreeMap::new();
    let names =
        if_supported(xattr::list(path)).map_err(failed("list the extended attributes of", path))?;
    for name in names.into_iter().flatten() {
        let value = if_supported(xattr::get(path, &name))
            .map_err(failed("read an extended attribute of", path))?;
        if let Some(value) = value.flatten() {
            attributes.insert(name, value);
        }
    }
    Ok(Entry {
        kind,
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        size: if is_file { metadata.len() } else { 0 },
        links: if is_file { metadata.nlink() } else { 0 },
        device: metadata.rdev(),
        content: if is_file { hash(path)? } else { [0; 32] },
        target,
        attributes,
    })
}

/// The SHA-256 of a file's content.
fn hash(path: &Path) -> Result<[u8; 32]> {
    let mut file = fs::File::open(path).map_err(failed("open", path))?;
    let mut buffer = vec![0; 1 << 18];
    let mut hash = Sha256::new();
    loop {
        match file.read(&mut buffer).map_err(failed("read", path))? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// The size of a folder and everything in it, in bytes. Hard links count once.
pub(super) fn size_of(folder: &Path) -> u64 {
    let mut seen = std::collections::BTreeSet::new();
    let mut total = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = item.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(item.path());
            } else if seen.insert((metadata.dev(), metadata.ino())) {
                total += metadata.len();
            }
        }
    }
    total
}

/// Numbers that look random and are the same each time (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        for word in bytes.chunks_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes()[..word.len()]);
        }
        bytes
    }

    fn text(&mut self, size: usize) -> String {
        const WORDS: [&str; 8] =
            ["volume ", "snapshot ", "backup ", "harbour ", "convoy ", "ship ", "cargo ", "sea\n"];
        let mut text = String::new();
        while text.len() < size {
            text.push_str(WORDS[self.next() as usize % WORDS.len()]);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lack_of_attributes_is_excused() {
        let error = |errno: rustix::io::Errno| Err::<(), _>(std::io::Error::from(errno));
        assert!(if_supported(error(rustix::io::Errno::NOTSUP)).unwrap().is_none());
        assert!(if_supported(Ok(())).unwrap().is_some());
        for errno in [rustix::io::Errno::ACCESS, rustix::io::Errno::IO, rustix::io::Errno::NOSPC] {
            assert!(if_supported(error(errno)).is_err());
        }
    }

    /// Gives every file and folder of `to` the times of the one of the same path in `from`.
    fn take_times(from: &Path, to: &Path) {
        let is_folder = |path: &Path| fs::symlink_metadata(path).unwrap().is_dir();
        if is_folder(to) {
            for entry in fs::read_dir(to).unwrap() {
                let name = entry.unwrap().file_name();
                take_times(&from.join(&name), &to.join(&name));
            }
        }
        let metadata = fs::symlink_metadata(from).unwrap();
        let time =
            |seconds, nanoseconds| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = rustix::fs::Timestamps {
            last_access: time(metadata.atime(), metadata.atime_nsec()),
            last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
        };
        let no_follow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, to, &times, no_follow).unwrap();
    }

    #[test]
    fn every_difference_between_two_trees_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let one = folder.path().join("one");
        fs::create_dir(&one).unwrap();
        fill(&one).unwrap();
        let copy = |name: &str| {
            let to = folder.path().join(name);
            // Made anew, not copied by another program: a process that starts holds the locks of
            // other tests for a moment.
            fs::create_dir(&to).unwrap();
            fill(&to).unwrap();
            take_times(&one, &to);
            to
        };
        let (count, found) = differences(&one, &copy("same")).unwrap();
        assert!(count > SMALL_FILES && found.is_empty(), "{found:?}");

        type Change = fn(&Path);
        let changes: [(&str, Change); 7] = [
            ("report-000.txt", |to| {
                fs::write(to.join("documents/00/report-000.txt"), "other").unwrap()
            }),
            ("secret.key", |to| {
                fs::set_permissions(to.join("odd/secret.key"), fs::Permissions::from_mode(0o644))
                    .unwrap();
            }),
            (".: ", |to| fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap()),
            ("secret.key", |to| {
                // Without extended attributes, there is nothing to change here. Any other change
                // will do.
                let secret = to.join("odd/secret.key");
                if if_supported(xattr::set(&secret, "user.origin", b"other")).unwrap().is_none() {
                    fs::write(&secret, "other").unwrap();
                }
            }),
            ("queue is missing", |to| fs::remove_file(to.join("odd/queue")).unwrap()),
            ("extra is new", |to| fs::write(to.join("extra"), "").unwrap()),
            ("link to the database", |to| {
                fs::remove_file(to.join("odd/link to the database")).unwrap();
                symlink("elsewhere", to.join("odd/link to the database")).unwrap();
            }),
        ];
        for (index, (expected, change)) in changes.iter().enumerate() {
            let to = copy(&format!("changed-{index}"));
            change(&to);
            let (_, found) = differences(&one, &to).unwrap();
            assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:?}");
        }
        assert!(one.join("odd").join(OsString::from_vec(b"caf\xe9.txt".to_vec())).exists());
    }
}
