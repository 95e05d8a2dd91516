//! Databases, recognised by the files in a volume's folder. Only what is near the top is looked at, and
//! not much of it: it is for advice.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

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
    let folders = || FOLDERS.iter().map(|name| folder.join(name));
    let known = folders().find_map(|folder| {
        let has = |(file, _): &&(&str, _)| fs::symlink_metadata(folder.join(file)).is_ok();
        FILES.iter().find(has).map(|(_, database)| *database)
    });
    known.or_else(|| folders().any(|folder| has_sqlite(&folder)).then_some("sqlite"))
}

fn has_sqlite(folder: &Path) -> bool {
    let Ok(names) = fs::read_dir(folder) else { return false };
    let is_named = |path: &Path| {
        let ending = path.extension().and_then(|it| it.to_str());
        ending.is_some_and(|ending| SQLITE.contains(&ending))
    };
    let paths = names.take(NAMES).filter_map(|entry| entry.ok().map(|entry| entry.path()));
    paths.filter(|path| is_named(path)).take(OPENED).any(|path| is_sqlite(&path))
}

fn is_sqlite(path: &Path) -> bool {
    // Another kind of file, such as a pipe, could be waited for.
    if !fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
        return false;
    }
    let mut header = [0; 16];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header == *b"SQLite format 3\0"
}

#[cfg(test)]
mod tests {
    use super::*;

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
