//! Tests of reading a volume that changes meanwhile.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::{CWD, FileType, Mode, inotify, mknodat},
    io::Errno,
};

use super::{
    ReadFailures,
    metadata::base64,
    walk::{Entry, Walk},
};
use crate::daemon::tree::open::open_file;

fn walk(folder: &Path) -> (Walk<'static>, Arc<ReadFailures>) {
    let failures: Arc<ReadFailures> = Arc::default();
    (Walk::new(folder, Path::new("/vol1"), failures.clone(), None), failures)
}

fn entry(walk: Walk, name: &str) -> Entry {
    walk.into_iter().find(|entry| entry.path.ends_with(name)).unwrap()
}

#[test]
fn a_file_that_vanished_is_counted_and_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("f"), "f").unwrap();
    let (walk, failures) = walk(folder.path());
    let found = entry(walk, "f");
    fs::remove_file(folder.path().join("f")).unwrap();
    assert!(found.open.unwrap().open().is_none());
    assert_eq!(failures.vanished(), 1);
    assert!(failures.error("vol1").is_none());
}

#[test]
fn a_file_that_was_replaced_by_a_folder_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("f"), "f").unwrap();
    let (walk, failures) = walk(folder.path());
    let found = entry(walk, "f");
    fs::remove_file(folder.path().join("f")).unwrap();
    fs::create_dir(folder.path().join("f")).unwrap();
    assert!(found.open.unwrap().open().is_none());
    assert!(failures.error("vol1").unwrap().message.contains("\"f\": it was replaced"));
}

#[test]
fn a_pipe_or_a_device_in_the_place_of_a_file_is_never_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, file) = (folder.path().join("pipe"), folder.path().join("file"));
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::write(&file, "f").unwrap();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    for path in [&pipe, &file] {
        inotify::add_watch(&watch, path, inotify::WatchFlags::OPEN).unwrap();
    }
    let opened = || rustix::io::read(&watch, &mut [0; 1024]);
    let handle = fs::File::open(folder.path()).unwrap();
    assert_eq!(open_file(&handle, c"pipe").unwrap_err(), Errno::NXIO);
    assert_eq!(opened().unwrap_err(), Errno::AGAIN);
    open_file(&handle, c"file").unwrap();
    opened().expect("the watch sees what is opened");
}

#[test]
fn without_proc_nothing_counts_as_vanished() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("f"), "f").unwrap();
    // The first walk reads the root's attributes, the second those of a file.
    let (mut first, of_first) = walk(folder.path());
    first.metadata.descriptors = "/nowhere/at/all";
    assert_eq!(first.count(), 0);
    let (mut second, of_second) = walk(folder.path());
    second.next().unwrap();
    second.metadata.descriptors = "/nowhere/at/all";
    assert_eq!(second.count(), 0);
    for (failures, path) in [(of_first, "\".\": "), (of_second, "\"f\": ")] {
        let error = failures.error("vol1").unwrap();
        assert_eq!(failures.vanished(), 0);
        assert!(error.message.contains(path), "{error}");
        assert!(error.message.contains("/proc must be mounted"), "{error}");
    }
}

#[test]
fn ten_failures_are_named() {
    let failures = ReadFailures::default();
    for number in 0..12 {
        failures.record(Path::new(&format!("file{number}")), &io::Error::other("broken"));
    }
    let error = failures.error("vol1").unwrap();
    assert!(
        error.message.contains("\"file0\": ") && error.message.ends_with("; and 2 more"),
        "{error}"
    );
}

#[test]
fn a_failure_while_reading_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("f"), "f").unwrap();
    let (walk, failures) = walk(folder.path());
    let mut reader = entry(walk, "f").open.unwrap().open().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "f");
    // A folder can be opened like a file, but not read.
    reader.file = fs::File::open(folder.path()).unwrap();
    assert!(reader.read(&mut [0; 9]).is_err());
    assert!(failures.error("vol1").unwrap().message.contains("\"f\": "));
}

#[test]
fn a_volume_that_is_gone_is_not_an_empty_one() {
    let (walk, failures) = walk(Path::new("/nowhere/at/all"));
    assert_eq!(walk.count(), 0);
    assert!(failures.error("vol1").is_some());
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
