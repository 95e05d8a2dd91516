//! Tests of the root's own repository.

use std::{path::PathBuf, sync::OnceLock};

use jiff::Zoned;
use rustic_core::{Id, ReadBackend as _};
use tempfile::TempDir;

use super::{prune::count_packs, *};
use crate::progress::{Piece, Progress};

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

/// Makes the repository fail when the first byte is read, and hides the failure before anything
/// checks for it.
#[derive(Debug, Default)]
struct Thief(OnceLock<Arc<OpenRepository>>);

impl Progress for Thief {
    fn begin(&self, _: &str, _: Option<u64>) -> Arc<dyn Piece> {
        Arc::new(Theft(self.0.get().unwrap().clone()))
    }
}

#[derive(Debug)]
struct Theft(Arc<OpenRepository>);

impl Piece for Theft {
    fn set_total(&self, _: u64) {}

    fn advance(&self, _: u64) {
        self.0.backend().read_full(FileType::Index, &Id::default()).unwrap_err();
    }
}

impl Drop for Theft {
    fn drop(&mut self) {
        self.0.backend().take_failure().unwrap();
    }
}

#[test]
fn a_snapshot_that_was_not_read_to_the_end_is_none_even_if_the_reason_was_taken_away() {
    let thief = Arc::new(Thief::default());
    let (folder, local) = repository(2_000, thief.clone());
    thief.0.set(local.open().unwrap()).unwrap();
    let error = local.take(&vol1(&folder), "vol1", "snap1", None, &Zoned::now()).unwrap_err();
    assert!(error.message.contains("/index/"), "{error}");
    assert_eq!(fs::read_dir(local.root.snapshots()).unwrap().count(), 0);
}

#[test]
fn space_comes_back_even_after_a_panic() {
    let (folder, local) = repository(1, crate::progress::none());
    let taken = local.take(&vol1(&folder), "vol1", "snap1", None, &Zoned::now()).unwrap();
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
