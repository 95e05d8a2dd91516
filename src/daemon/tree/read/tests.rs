//! Tests of reading a volume that changes during the snapshot.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustic_core::{
    FileType as RepositoryFile, Id, ReadBackend as _, ReadSource as _, ReadSourceEntry,
    ReadSourceOpen as _,
};

use super::{
    ReadFailures, VolumeSource,
    failures::Counts,
    file::{FileReader, ListedFile},
    metadata::base64,
};
use crate::daemon::repository::Backend;

fn source(folder: &Path) -> VolumeSource {
    let backend = Arc::new(Backend::in_folder(&folder.join("nowhere"), "host1"));
    VolumeSource::new(folder, "vol1", Arc::default(), backend)
}

fn entry(source: &VolumeSource, name: &str) -> ReadSourceEntry<ListedFile> {
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
    assert_eq!(source.failures.vanished(), 1);
    assert!(source.failures.error("vol1").is_none());
    source.failures.check(0, 2).unwrap();
    assert!(
        source.failures.check(1, 2).is_err(),
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
    assert!(source.failures.error("vol1").is_none());
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
    assert!(source.failures.error("vol1").unwrap().message.contains("\"f\": it was replaced"));
}

#[test]
fn without_proc_nothing_counts_as_vanished() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("f"), "f").unwrap();
    let source = source(folder.path());
    // The first walk reads the root's attributes, the second those of a file.
    let mut walk = source.entries();
    walk.metadata.descriptors = "/nowhere/at/all";
    assert_eq!(walk.count(), 0);
    let mut walk = source.entries();
    walk.next().unwrap().unwrap();
    walk.metadata.descriptors = "/nowhere/at/all";
    assert_eq!(walk.count(), 0);
    let error = source.failures.error("vol1").unwrap();
    assert_eq!(source.failures.vanished(), 0);
    assert!(error.message.contains("\".\": ") && error.message.contains("\"f\": "), "{error}");
    assert!(error.message.contains("/proc must be mounted"), "{error}");
}

#[test]
fn a_snapshot_without_its_root_is_none() {
    assert!(ReadFailures::default().check(0, 1).is_err());
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
    assert!(source.failures.stopped().is_none());

    assert!(source.backend.read_full(RepositoryFile::Index, &Id::default()).is_err());
    assert!(walk.next().is_none());
    source.backend.take_failure().unwrap();
    assert!(source.failures.stopped().unwrap().message.contains("/index/"));

    *source.failures.lock() = Counts::default();
    assert!(source.backend.read_full(RepositoryFile::Index, &Id::default()).is_err());
    assert!(reader.read(&mut [0; 9]).is_err());
    source.backend.take_failure().unwrap();
    assert!(source.failures.stopped().unwrap().message.contains("/index/"));
}

#[test]
fn a_failure_while_reading_is_recorded_and_ten_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let failures: Arc<ReadFailures> = Arc::default();
    let backend = Arc::new(Backend::in_folder(folder.path(), "host1"));
    for number in 0..12 {
        // A folder can be opened like a file, but not read.
        let file = File::open(folder.path()).unwrap();
        let path = PathBuf::from(format!("/vol1/file{number}"));
        let mut reader = FileReader {
            file,
            left: 9,
            path,
            failures: failures.clone(),
            backend: backend.clone(),
        };
        assert!(reader.read(&mut [0; 9]).is_err());
    }
    let error = failures.error("vol1").unwrap();
    assert!(
        error.message.contains("\"file0\": ") && error.message.ends_with("; and 2 more"),
        "{error}"
    );
}

#[test]
fn a_volume_that_is_gone_is_not_an_empty_one() {
    let source = source(Path::new("/nowhere/at/all"));
    assert_eq!(source.entries().count(), 0);
    assert!(source.failures.error("vol1").is_some());
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
