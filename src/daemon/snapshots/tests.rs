//! Tests of the root's own repository.

use std::path::{Path, PathBuf};

use jiff::Zoned;
use tempfile::TempDir;

use super::{prune::count_packs, *};
use crate::{
    daemon::{
        moment::Files,
        save::{Extras, Source},
        state::SnapshotState,
    },
    progress::Progress,
};

fn repository(files: usize, progress: Arc<dyn Progress>) -> (TempDir, LocalRepository) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("volumes/vol1")).unwrap();
    fs::create_dir(folder.path().join("repository")).unwrap();
    for number in 0..files {
        fs::write(folder.path().join(format!("volumes/vol1/{number}")), "f").unwrap();
    }
    let access = Access { password: None, host: "host1".into(), progress };
    let local = LocalRepository::new(Root::at(folder.path()), access);
    (folder, local)
}

fn vol1(folder: &TempDir) -> PathBuf {
    folder.path().join("volumes/vol1")
}

fn take(turn: &Turn<'_>, folder: &Path) -> Result<SnapshotState> {
    let (files, extras) = (Files::live(folder), Extras::default());
    let source = Source { files, volume: "vol1", parent: None, extras };
    let prepared = turn.prepare(source, None)?;
    turn.take(source, prepared, "snap1", &Zoned::now())
}

#[test]
fn a_snapshot_that_could_not_be_written_is_none_and_the_next_one_is_whole() {
    let (folder, local) = repository(2_000, crate::progress::none());
    let room = local.open().unwrap().backend().room.clone();
    let try_it = || take(&local.turn().unwrap(), &vol1(&folder));
    for left in [0, 100, 1_000] {
        *room.lock().unwrap() = Some(left);
        let error = try_it().unwrap_err();
        assert!(error.message.contains("No space left"), "{error}");
        assert_eq!(fs::read_dir(local.root.snapshots()).unwrap().count(), 0);
    }
    *room.lock().unwrap() = None;
    assert_eq!(try_it().unwrap().files, Some(2_000));
}

#[test]
fn space_comes_back_even_after_a_panic() {
    let (folder, local) = repository(1, crate::progress::none());
    let turn = local.turn().unwrap();
    let taken = take(&turn, &vol1(&folder)).unwrap();
    drop(turn);
    assert_ne!(count_packs(&local.root.repository()), 0);
    std::thread::scope(|scope| {
        let panicking = scope.spawn(|| {
            let _writing = local.writing.lock();
            let _gate = local.gate.write();
            panic!("while both are held");
        });
        panicking.join().unwrap_err();
    });
    local.delete(&[taken.id]).unwrap();
    assert_eq!(count_packs(&local.root.repository()), 0);
}
