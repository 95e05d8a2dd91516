//! Databases, recognised by the files in a volume's folder. Only what is near the top is looked at, and
//! not much of it: it is for advice.

use std::{
    ffi::{CStr, CString, OsStr},
    fs::File,
    io::{self, Read as _},
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};

use super::tree::open::open_file;
use crate::files::FOLDER;

/// Where databases have their folder in a volume: at its top, or in one of these.
const FOLDERS: [&str; 6] = ["", "data", "pgdata", "mysql", "db", "redis"];
/// A file that tells of a database, and its name for the label `convoy-backups.dump`.
const FILES: [(&str, &str); 6] = [
    ("PG_VERSION", "postgres"),
    ("ibdata1", "mariadb"),
    ("WiredTiger", "mongodb"),
    ("dump.rdb", "redis"),
    ("appendonlydir", "redis"),
    ("appendonly.aof", "redis"),
];
/// What files of SQLite are usually named.
const SQLITE: [&str; 4] = ["db", "sqlite", "sqlite3", "db3"];
/// So many names of a folder are looked at, and so many files opened.
const NAMES: usize = 500;
const OPENED: usize = 20;

/// Which database has its files in this folder, if any: a value of the label `convoy-backups.dump`.
pub(super) fn database_in(folder: &Path) -> Option<&'static str> {
    let top = rustix::fs::open(folder, FOLDER - OFlags::NOFOLLOW, Mode::empty()).ok()?;
    // A container may put a link in the place of a folder or a file at any time.
    let open = |name: &&str| {
        let name = if name.is_empty() { "." } else { name };
        rustix::fs::openat(&top, name, FOLDER, Mode::empty()).ok()
    };
    let folders: Vec<_> = FOLDERS.iter().filter_map(open).collect();
    let known = folders.iter().find_map(|folder| {
        let has = |(file, _): &&(&str, _)| {
            rustix::fs::statat(folder, *file, AtFlags::SYMLINK_NOFOLLOW).is_ok()
        };
        FILES.iter().find(has).map(|(_, database)| *database)
    });
    known.or_else(|| folders.iter().any(has_sqlite).then_some("sqlite"))
}

fn has_sqlite(folder: &OwnedFd) -> bool {
    let Ok(names) = Dir::read_from(folder) else { return false };
    let is_named = |name: &CString| {
        let ending = Path::new(OsStr::from_bytes(name.as_bytes())).extension();
        ending.and_then(OsStr::to_str).is_some_and(|ending| SQLITE.contains(&ending))
    };
    let names = names.take(NAMES).filter_map(|entry| Some(entry.ok()?.file_name().to_owned()));
    names.filter(is_named).take(OPENED).any(|name| is_sqlite(folder, &name))
}

fn is_sqlite(folder: &OwnedFd, name: &CStr) -> bool {
    let mut header = [0; 16];
    let read = open_file(folder, name)
        .map_err(io::Error::from)
        .and_then(|file| File::from(file).read_exact(&mut header));
    read.is_ok() && header == *b"SQLite format 3\0"
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn links_in_a_volume_lead_to_no_database_outside() {
        let (volume, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("app.db"), "SQLite format 3\0 and more").unwrap();
        fs::write(outside.path().join("PG_VERSION"), "15").unwrap();
        symlink(outside.path(), volume.path().join("data")).unwrap();
        symlink(outside.path().join("app.db"), volume.path().join("app.db")).unwrap();
        assert_eq!(database_in(volume.path()), None);
    }

    #[test]
    fn a_database_is_known_by_its_files() {
        let of = |path: &str, content: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            database_in(folder.path())
        };
        for (path, content, database) in [
            ("PG_VERSION", "15\n", Some("postgres")),
            ("data/PG_VERSION", "15\n", Some("postgres")),
            ("ibdata1", "", Some("mariadb")),
            ("WiredTiger", "", Some("mongodb")),
            ("dump.rdb", "", Some("redis")),
            ("appendonlydir/appendonly.aof.manifest", "", Some("redis")),
            ("app.db", "SQLite format 3\0 and more", Some("sqlite")),
            ("data/app.sqlite3", "SQLite format 3\0 and more", Some("sqlite")),
            ("app.db", "SQLite", None),
            ("app.db", "Berkeley format and more", None),
            ("notes.txt", "SQLite format 3\0 and more", None),
            ("deep/er/app.db", "SQLite format 3\0 and more", None),
        ] {
            assert_eq!(of(path, content), database, "{path} {content}");
        }
        assert_eq!(database_in(Path::new("/no/such/folder")), None);
    }
}
