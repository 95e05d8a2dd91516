//! What other members of a repository write there: every member can write backups, with any names.

use std::fs;

use rustic_core::{FileType, Id, repofile::BlobType};

use super::scene::{Scene, name};
use crate::{
    convoy::{Changes, Daemon as _},
    daemon::repository::{Backend, OpenRepository, hash},
    error::ErrorKind,
};

const NAMES: [&str; 3] = ["backup=backup-00000000000fa4e0", "volume=vol1", "snapshot=snap9"];

#[tokio::test]
async fn a_backup_whose_parts_are_no_names_is_none_and_hides_no_other() {
    let (scene, url) = Scene::with_backup().await;
    for forged in [
        "backup=x&backup=backup-00000000000fa4e0",
        "backup=../x",
        "volume=vol1&volume=vol2",
        "volume=",
        "snapshot=a b",
    ] {
        let part = forged.split_once('=').unwrap().0;
        let others = NAMES.into_iter().filter(|tag| !tag.starts_with(part));
        scene.forge(&others.chain([forged]).collect::<Vec<_>>());
    }
    scene.forge(&[&NAMES[..], &["volume=vol2"]].concat());
    let listed = scene.daemon().backups(&scene.destination, None).await.unwrap();
    let urls: Vec<_> = listed.iter().map(|backup| backup.url().unwrap()).collect();
    assert_eq!(urls, std::slice::from_ref(&url));
    scene.daemon().delete_backup(&url, &[]).await.unwrap();
}

#[tokio::test]
async fn what_another_member_wrote_in_this_roots_name_says_nothing_of_what_has_changed() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    for (name, content) in [("a", "right"), ("b", "wrong")] {
        fs::write(files.join(name), content).unwrap();
    }
    let url = scene.back_up("vol1", "snap1").await;
    let forged = scene.forge_content(&url, "a", "b");
    let volume = name("vol1");
    let listed = scene.daemon().backup(&forged).await.unwrap();
    assert_eq!(listed.field("Origin"), "here", "it looks like this root's");
    let changes = scene.daemon().changes_since(&volume, &forged).await.unwrap();
    assert!(matches!(&changes, Changes::Changed { path } if path == "a"), "{changes:?}");
    assert_eq!(scene.daemon().changes_since(&volume, &url).await.unwrap(), Changes::Unchanged);
    let next = scene.back_up("vol1", "snap2").await;
    scene.restore("vol2", &next).await.unwrap();
    assert_eq!(fs::read_to_string(scene.path("root/volumes/vol2/a")).unwrap(), "right");
}

#[tokio::test]
async fn a_file_with_the_name_of_a_backup_that_this_root_made_is_ignored() {
    let (mut scene, url) = Scene::with_backup().await;
    let name = format!("backup={}", url.backup());
    scene.forge(&[&name, "volume=vol1", "snapshot=snap1", "volume-created=2026-01-01T00:00:00Z"]);
    for _ in 0..2 {
        let listed = scene.daemon().backups(&scene.destination, None).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].field("Origin"), "here");
        scene.daemon().backup(&url).await.unwrap();
        scene.restart(|_| ());
    }
    scene.daemon().delete_backup(&url, &[]).await.unwrap();
    let left = scene.daemon().backups(&scene.destination, None).await.unwrap();
    assert!(left.iter().all(|backup| backup.field("Origin") != "here"), "{left:?}");
}

#[tokio::test]
async fn where_nothing_tells_which_of_two_files_is_a_backup_none_counts_and_both_are_named() {
    let (scene, url) = Scene::with_backup().await;
    let other = scene.backup("snap1").await;
    let tags = scene.tags(&url);
    let forged = scene.forge(&tags.iter().map(String::as_str).collect::<Vec<_>>());
    let listed = scene.daemon().backups(&scene.destination, None).await.unwrap();
    let urls: Vec<_> = listed.iter().map(|backup| backup.url().unwrap()).collect();
    assert_eq!(urls, std::slice::from_ref(&other));
    for error in [
        scene.daemon().backup(&url).await.unwrap_err(),
        scene.daemon().delete_backup(&url, &[]).await.unwrap_err(),
        scene.restore("vol2", &url).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Repository, "{error}");
        assert!(error.message.contains("2 files say to be"), "{error}");
        assert!(error.message.contains(&forged), "{error}");
    }
    scene.daemon().delete_backup(&other, &[]).await.unwrap();
}

#[tokio::test]
async fn files_that_unpack_without_end_and_pieces_out_of_proportion_are_passed_over() {
    let (scene, url) = Scene::with_backup().await;
    let backend = Backend::in_folder(&scene.path("backups/repository"), "evil");
    let opened = OpenRepository::open(backend, "secret").unwrap();
    let packed = zstd::bulk::compress(&vec![b' '; 64 << 20], 3).unwrap();
    let snapshot = opened.coder().unwrap().seal_header(&[&[2], &packed[..]].concat()).unwrap();
    let pack = serde_json::json!({ "id": "ab".repeat(32), "blobs": [{
        "id": "cd".repeat(32), "type": "data", "offset": 0, "length": u32::MAX,
        "uncompressed_length": u32::MAX,
    }] });
    let index = serde_json::json!({ "packs": [pack] }).to_string();
    let index = opened.coder().unwrap().seal_file(index.as_bytes()).unwrap();
    for (kind, sealed) in [(FileType::Snapshot, snapshot), (FileType::Index, index)] {
        opened.backend().write_file(kind, &Id::new(hash(&sealed)), sealed.into()).unwrap();
    }
    assert!(!opened.index().unwrap().has(BlobType::Data, &[0xcd; 32]));
    let listed = scene.daemon().backups(&scene.destination, None).await.unwrap();
    assert_eq!(listed.len(), 1);
    scene.back_up("vol1", "snap2").await;
    scene.restore("vol2", &url).await.unwrap();
}
