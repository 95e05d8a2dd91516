//! The root, its owner and its key.

use std::{fs, os::unix::fs::MetadataExt as _};

use super::scene::{Scene, options};
use crate::{
    daemon::{BuiltinDaemon, BuiltinOptions},
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
