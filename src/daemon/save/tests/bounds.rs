//! A restore is bounded by the room on the disk, whatever a backup says.

use std::fs;

use rustic_core::{Id, TreeId};

use super::{Scene, noise};
use crate::{
    daemon::{
        repository::hash,
        save::keep_trees,
        tree::write::{self, RestoreWarnings},
    },
    error::{Error, ErrorKind},
    files::{Room, remove_all},
    progress::NoProgress,
    support::disk::Disk,
};

impl Scene {
    /// Restores to a folder on a disk, and returns the error and what it left.
    fn restored_to(&self, disk: &Disk, of: (TreeId, Option<u64>)) -> (Error, usize) {
        let to = disk.path().join("restored");
        fs::create_dir(&to).unwrap();
        let warnings = RestoreWarnings::default();
        let restored = write::restore(&self.repository, of, &to, &NoProgress, &warnings);
        (restored.unwrap_err(), fs::read_dir(to).unwrap().count())
    }
}

fn room(disk: &Disk) -> Room {
    Room::of(&rustix::fs::statvfs(disk.path()).unwrap())
}

/// The text of a tree with these entries, which are folders.
fn tree(entries: &[(&str, &str)]) -> String {
    let node = |(name, subtree): &(&str, &str)| {
        format!(
            r#"{{"name":"{name}","type":"dir","mode":493,"content":null,"subtree":"{subtree}"}}"#
        )
    };
    let nodes: Vec<_> = entries.iter().map(node).collect();
    format!("{{\"nodes\":[{}]}}\n", nodes.join(","))
}

/// Trees of which each has the one before it under these names, and the snapshot's tree.
fn chain(levels: usize, names: &[&str]) -> Vec<String> {
    let mut trees = vec![tree(&[])];
    let below = |trees: &[String]| Id::new(hash(trees.last().unwrap().as_bytes())).to_hex();
    for _ in 0..levels {
        let last = below(&trees);
        trees.push(tree(&names.iter().map(|name| (*name, last.as_str())).collect::<Vec<_>>()));
    }
    let last = below(&trees);
    trees.push(tree(&[("vol1", last.as_str())]));
    trees
}

#[test]
fn a_restore_that_can_not_fit_is_not_begun_and_one_that_does_not_ends_at_the_reserve() {
    let Some(disk) = Disk::new("ext4", &[]) else { return };
    let scene = Scene::new();
    scene.write("noise", &noise(60_000_000, 1));
    let text = b"the same words again and again, a bit longer each time\n";
    let words: Vec<u8> = (0..)
        .flat_map(|number: u64| [&number.to_le_bytes()[..], text].concat())
        .take(120_000_000)
        .collect();
    scene.write("words", &words);
    let saved = scene.save(None);
    // Room for some of it.
    let fill = fs::File::create(disk.path().join("fill")).unwrap();
    let filled = room(&disk).bytes - 80_000_000;
    rustix::fs::fallocate(&fill, rustix::fs::FallocateFlags::empty(), 0, filled).unwrap();

    // By its own word it is small, so it is begun, and ends.
    let (error, _) = scene.restored_to(&disk, (saved.tree, Some(1)));
    assert_eq!(error.kind, ErrorKind::Io);
    assert!(error.message.contains("no room left but its reserve"), "{error}");
    let disk_now = rustix::fs::statvfs(disk.path()).unwrap();
    let free = disk_now.f_bavail * disk_now.f_frsize;
    assert!(free > 10_000_000, "the reserve was used: {free} are left");
    fs::remove_dir_all(disk.path().join("restored")).unwrap();

    // What is packed of the noise alone is more.
    let half = room(&disk).bytes - 50_000_000;
    let more = fs::File::create(disk.path().join("more")).unwrap();
    rustix::fs::fallocate(&more, rustix::fs::FallocateFlags::empty(), 0, half).unwrap();
    let (error, left) = scene.restored_to(&disk, (saved.tree, Some(saved.bytes)));
    assert!(error.message.contains("the backup has 172 MiB, and the disk has 4"), "{error}");
    assert_eq!(left, 0, "nothing was begun");
}

#[test]
fn a_backup_whose_folders_are_in_one_another_again_and_again_ends_by_the_room() {
    let Some(disk) = Disk::new("ext4", &["-N", "4000"]) else { return };
    let scene = Scene::new();
    let trees = keep_trees(&scene.repository, &chain(30, &["a", "b"])).unwrap();
    let (error, _) = scene.restored_to(&disk, (*trees.last().unwrap(), None));
    assert!(error.message.contains("no more files and folders"), "{error}");
    assert!(room(&disk).entries.is_some_and(|left| left < 10));
}

#[test]
fn a_backup_of_too_many_levels_is_refused() {
    let scene = Scene::new();
    let trees = keep_trees(&scene.repository, &chain(20_001, &["d"])).unwrap();
    // In memory it takes a tenth of the time.
    let to = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let of = (*trees.last().unwrap(), None);
    let warnings = RestoreWarnings::default();
    let restored = write::restore(&scene.repository, of, to.path(), &NoProgress, &warnings);
    remove_all(to.path()).unwrap();
    let error = restored.unwrap_err();
    assert!(error.message.contains("more than 20000 folders in one another"), "{error}");
}
