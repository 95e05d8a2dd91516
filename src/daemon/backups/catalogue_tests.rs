//! Tests of what is known of a destination's backups.

use std::path::Path;

use rustic_core::repofile::Chunker;

use super::*;
use crate::{
    convoy::Destination,
    daemon::repository::{Backend, Cached, Folder, hash, tags},
};

/// The repository in a folder, with copies of its small files as of one in a bucket.
fn cached(scratch: &Path) -> Backend {
    Backend::new(Cached::new(Folder::new(&scratch.join("far"), "host1"), scratch.join("copies")))
}

fn make(repository: &OpenRepository, backup: &str) -> SnapshotId {
    let tags = tags(&[("backup", backup), ("volume", "vol1"), ("snapshot", "snap1")]);
    repository.save_snapshot(&SnapshotFile { tags, ..SnapshotFile::default() }).unwrap()
}

#[test]
fn a_file_that_cannot_be_read_hides_no_other_backup() {
    let scratch = tempfile::tempdir().unwrap();
    let repository =
        OpenRepository::create(cached(scratch.path()), "secret", true, Chunker::Rabin).unwrap();
    let catalogue = Catalogue::new(Arc::new(Identity::random()));
    make(&repository, "backup-0000000000000001");
    let write = |id: &Id, content: &'static [u8]| {
        let content = content.into();
        repository.backend().write_file(FileType::Snapshot, id, content).unwrap();
    };
    let number = || catalogue.readable(&repository).unwrap().len();
    // Who does not have the key wrote this: it is named by its content, as all files are.
    write(&Id::new(hash(b"anything")), b"anything");
    assert_eq!((number(), catalogue.all(&repository).unwrap().len()), (1, 1));
    // This one is named otherwise, so it was another file once.
    write(&Id::random(), b"rotten");
    make(&repository, "backup-0000000000000002");
    assert_eq!(number(), 2);
    assert!(catalogue.all(&repository).is_err());
    assert_eq!(lock(&catalogue.warned_of).len(), 2, "each is named");
}

#[test]
fn a_copy_of_a_backups_file_does_not_prove_that_the_backup_is_there() {
    let scratch = tempfile::tempdir().unwrap();
    let repository =
        OpenRepository::create(cached(scratch.path()), "secret", true, Chunker::Rabin).unwrap();
    let id = make(&repository, "backup-0000000000000001");
    let catalogue = Catalogue::new(Arc::new(Identity::random()));
    let (backup, volume) =
        (Name::parse("backup", "backup-0000000000000001"), Name::volume("vol1").unwrap());
    let destination = Destination::parse("s3://bucket@region/path").unwrap();
    let url = StoredUrl { destination: &destination, backup: &backup.unwrap(), volume: &volume };
    assert!(catalogue.is_there(&repository, &url).unwrap());
    // Another host deletes it. This one has its file in memory, and a copy.
    let name = id.to_hex();
    let file = |below: &str| scratch.path().join(below).join("snapshots").join(name.as_str());
    assert!(file("copies").exists());
    std::fs::remove_file(file("far")).unwrap();
    assert!(!catalogue.is_there(&repository, &url).unwrap());
}
