//! Giving back space at a destination that several hosts write to.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use rustic_core::{FileType, Id, WriteBackend as _, repofile::IndexFile};

use super::scene::{Scene, set_times};
use crate::{
    clock::{Clock as _, SystemClock},
    convoy::Daemon as _,
    daemon::repository::{Backend, OpenRepository, hash},
};

const TWO_DAYS: SignedDuration = SignedDuration::from_hours(48);

fn destination(scene: &Scene) -> OpenRepository {
    let backend = Backend::in_folder(&scene.path("backups/repository"), "host1");
    OpenRepository::open(backend, "secret").unwrap()
}

/// How many packs of the destination are marked for deletion.
fn marked(scene: &Scene) -> usize {
    let plain = destination(scene).plain().unwrap();
    let files = plain.stream_files::<IndexFile>().unwrap();
    files.map(|file| file.unwrap().1.packs_to_delete.len()).sum()
}

/// Writes the destination's index anew, in which all packs have this date.
fn date_packs(scene: &Scene, time: Timestamp) {
    let repository = destination(scene);
    let plain = repository.plain().unwrap();
    let files: Vec<_> = plain.stream_files::<IndexFile>().unwrap().collect();
    for file in files {
        let (old, mut index) = file.unwrap();
        index.packs.iter_mut().for_each(|pack| pack.time = Some(time));
        let text = serde_json::to_vec(&index).unwrap();
        let sealed = repository.coder().unwrap().seal_file(&text).unwrap();
        let id = Id::new(hash(&sealed));
        repository.backend().write_file(FileType::Index, &id, sealed.into()).unwrap();
        repository.backend().remove(FileType::Index, &old, false).unwrap();
    }
}

/// Makes a backup and deletes it: that gives back space, as if it were the first time today.
async fn give_back(scene: &Scene) {
    _ = fs::remove_file(scene.path("backups/repository/convoy-backups.pruned"));
    let volume = scene.path("root/volumes/vol1/new");
    fs::write(volume, Id::random().to_hex().as_str()).unwrap();
    let url = scene.back_up("vol1", &format!("snap-{}", &Id::random().to_hex()[..8])).await;
    scene.daemon().delete_backup(&url, &[]).await.unwrap();
    assert!(scene.path("backups/repository/convoy-backups.pruned").exists());
}

#[tokio::test]
async fn what_was_written_within_a_day_is_not_marked_for_deletion() {
    let (scene, url) = Scene::with_backup().await;
    // As if another host had written it just now, for a backup that is not to be seen yet.
    scene.daemon().delete_backup(&url, &[]).await.unwrap();
    assert_eq!(marked(&scene), 0);
    date_packs(&scene, SystemClock.now() - TWO_DAYS);
    give_back(&scene).await;
    assert!(marked(&scene) > 0);
}

#[tokio::test]
async fn a_date_in_the_future_keeps_no_pack_for_years() {
    let (scene, url) = Scene::with_backup().await;
    scene.daemon().delete_backup(&url, &[]).await.unwrap();
    let ahead: Timestamp = "2099-01-01T00:00:00Z".parse().unwrap();
    date_packs(&scene, ahead);
    give_back(&scene).await;
    assert_eq!(marked(&scene), 0, "the files were written just now");
    date_packs(&scene, ahead);
    let before = (SystemClock.now() - TWO_DAYS).as_second();
    scene.packs("backups/repository").iter().for_each(|pack| set_times(pack, before, 0));
    give_back(&scene).await;
    assert!(marked(&scene) > 0);
}
