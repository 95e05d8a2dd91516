//! The root, its owner and its key.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::scene::{Scene, options};
use crate::{
    daemon::{BuiltinDaemon, BuiltinOptions, settle_moved},
    error::ErrorKind,
};

#[test]
fn the_password_is_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let daemon = BuiltinDaemon::open(options.clone()).unwrap();
    assert!(!format!("{options:?} {daemon:?}").contains("secret\""));
}

#[test]
fn a_root_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = BuiltinDaemon::open(options(folder.path())).unwrap();
    let error = BuiltinDaemon::open(options(folder.path())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy);
    assert!(error.message.contains(&format!("process {}", std::process::id())), "{error}");
    drop(daemon);
    BuiltinDaemon::open(options(folder.path())).unwrap();
}

#[tokio::test]
async fn the_root_opens_without_the_password_that_made_it() {
    let (mut scene, _) = Scene::with_backup().await;
    scene.daemon = None;
    let changed =
        BuiltinOptions { password: Some("another".into()), ..options(&scene.path("root")) };
    scene.daemon = Some(BuiltinDaemon::open(changed).unwrap());
    scene.snapshot("vol1", "snap2").await;
    let key = fs::metadata(scene.path("root/repository.key")).unwrap();
    assert_eq!(key.mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(scene.path("root")).unwrap().mode() & 0o777, 0o700);
}

/// The names of the files in a folder and below, with what is in them.
fn all_in(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(all_in(&path));
            all.insert(path, Vec::new());
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn a_root_that_a_newer_release_has_changed_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let open = || BuiltinDaemon::open(options(folder.path())).map(drop);
    open().unwrap();
    fs::write(
        folder.path().join("format.json"),
        r#"{ "format": 99, "release": "9.0.0", "more": [] }"#,
    )
    .unwrap();
    let before = all_in(folder.path());
    for error in [open().unwrap_err(), settle_moved(folder.path()).unwrap_err()] {
        assert_eq!(error.kind, ErrorKind::Configuration);
        assert!(error.message.contains("a newer release has changed"), "{error}");
        assert!(error.message.contains("format 99"), "{error}");
        let hint = error.hint.unwrap();
        assert!(
            hint.contains("install convoy-backups 9.0.0 or newer; nothing was changed"),
            "{hint}"
        );
    }
    assert_eq!(all_in(folder.path()), before);

    fs::write(folder.path().join("format.json"), "99").unwrap();
    let error = open().unwrap_err();
    assert!(error.message.contains("format.json\" can't be read"), "{error}");
}

#[test]
fn a_root_says_which_release_it_needs_and_what_a_crash_left_of_that_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let open = || BuiltinDaemon::open(options(folder.path())).map(drop).unwrap();
    let format = folder.path().join("format.json");
    let written = || fs::read_to_string(&format).unwrap();
    open();
    let first = written();
    // What version 0.1.0 fails to read, and then names.
    let sign = fs::read_dir(folder.path().join("state")).unwrap().next().unwrap().unwrap().path();
    assert!(sign.is_dir() && sign.extension().unwrap() == "json", "{}", sign.display());
    assert!(sign.display().to_string().contains("install a newer release"), "{}", sign.display());
    let completed = || {
        open();
        assert!(sign.is_dir());
        assert_eq!(written(), first);
    };
    fs::remove_file(&format).unwrap();
    completed();
    fs::remove_dir(&sign).unwrap();
    completed();
}
