//! What is lost at a destination: the next backup stores again what its volume still has, and older
//! backups with the same content are whole again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use jiff::Timestamp;
use rustic_core::repofile::{BlobType, IndexFile};

use super::scene::{Scene, name, noise};
use crate::{
    convoy::{BackupUrl, Daemon as _, ReadBack},
    daemon::repository::{Backend, OpenRepository},
    error::ErrorKind,
};

/// Backups of two volumes, three of each, of which the newest is as the volume is. The oldest ones have
/// files that are still there, in a folder that has changed since.
struct Backups {
    scene: Scene,
    /// The oldest first.
    urls: Vec<BackupUrl>,
}

impl Backups {
    async fn new() -> Self {
        let scene = Scene::new();
        let mut urls = Vec::new();
        for volume in ["vol1", "vol2"] {
            let files = scene.volume(volume).await;
            fs::create_dir(files.join("dir")).unwrap();
            let seed = usize::from(volume == "vol2");
            fs::write(files.join("dir/large"), noise(2_000_000 + seed)).unwrap();
            for generation in 0..3 {
                if generation > 0 {
                    fs::write(files.join("new"), noise(100_000 + 10 * generation + seed)).unwrap();
                }
                urls.push(scene.back_up(volume, &format!("{volume}-{generation}")).await);
            }
        }
        Self { scene, urls }
    }

    fn repository(&self) -> PathBuf {
        self.scene.path("backups/repository")
    }

    /// The packs that have pieces of this kind, the largest first.
    fn packs(&self, kind: BlobType) -> Vec<PathBuf> {
        let backend = Backend::in_folder(&self.repository(), "host9");
        let plain = OpenRepository::open(backend, "secret").unwrap().plain().unwrap();
        let files = plain.stream_files::<IndexFile>().unwrap();
        let packs = files.flat_map(|file| file.unwrap().1.packs);
        let packs = packs.filter(|pack| pack.blob_type() == kind);
        let mut packs: Vec<_> = packs
            .map(|pack| {
                let name = pack.id.to_hex();
                self.repository().join("data").join(&name[..2]).join(name.as_str())
            })
            .collect();
        let size = |pack: &PathBuf| fs::metadata(pack).map_or(0, |metadata| metadata.len());
        packs.sort_by_key(|pack| std::cmp::Reverse(size(pack)));
        packs
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.repository().join(folder)).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    }

    async fn back_up_both(&self, name: &str) {
        for volume in ["vol1", "vol2"] {
            self.scene.back_up(volume, &format!("{name}-{volume}")).await;
        }
    }

    /// Which of the backups can't be restored.
    async fn broken(&self) -> Vec<usize> {
        let mut broken = Vec::new();
        for (number, url) in self.urls.iter().enumerate() {
            let volume =
                format!("restored{number}-{}", rustic_core::Id::random().to_hex().as_str());
            if self.scene.restore(&volume[..30], url).await.is_err() {
                broken.push(number);
            }
        }
        broken
    }

    fn restart(&mut self) {
        self.scene.restart(|_| ());
    }

    /// What restic says of the repository, where there is restic.
    fn restic_checks(&self) {
        let mut restic = Command::new("restic");
        restic.args(["check", "--read-data", "--no-cache", "--repo"]).arg(self.repository());
        let Ok(checked) = restic.env("RESTIC_PASSWORD", "secret").output() else { return };
        assert!(checked.status.success(), "{checked:?}");
    }

    /// Lets the look that found packs missing be two days ago.
    fn two_days_pass(&self) {
        let folder = self.scene.path("root/missing");
        let file = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        let mut content: serde_json::Value =
            serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let before = (Timestamp::now() - jiff::SignedDuration::from_hours(48)).to_string();
        content["looked"] = before.clone().into();
        for since in content["missing"].as_object_mut().unwrap().values_mut() {
            *since = before.clone().into();
        }
        fs::write(file, content.to_string()).unwrap();
    }
}

fn flip(file: &Path) {
    let mut content = fs::read(file).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 0x10;
    fs::write(file, content).unwrap();
}

fn cut(file: &Path) {
    let content = fs::read(file).unwrap();
    fs::write(file, &content[..content.len() / 2]).unwrap();
}

fn remove(file: &Path) {
    fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn what_a_missing_pack_had_is_stored_again_and_older_backups_are_whole_again() {
    let mut backups = Backups::new().await;
    remove(&backups.packs(BlobType::Data)[0]);
    assert_eq!(backups.broken().await.len(), 3);
    backups.restart();
    backups.back_up_both("again").await;
    for _ in 0..2 {
        assert_eq!(backups.broken().await, [] as [usize; 0]);
        // Another process has not seen what is missing.
        backups.restart();
    }
    assert_eq!(backups.packs(BlobType::Data).iter().filter(|pack| !pack.exists()).count(), 1);
    backups.two_days_pass();
    backups.back_up_both("later").await;
    assert!(backups.packs(BlobType::Data).iter().all(|pack| pack.exists()));
    assert_eq!(backups.broken().await, [] as [usize; 0]);
    backups.restic_checks();
}

#[tokio::test]
async fn a_pack_that_is_cut_or_damaged_leaves_the_index_at_once_and_what_is_whole_in_it_stays() {
    for (kind, spoil) in [BlobType::Data, BlobType::Tree]
        .into_iter()
        .flat_map(|kind| [(kind, cut as fn(&Path)), (kind, flip)])
    {
        let mut backups = Backups::new().await;
        let spoilt = backups.packs(kind)[0].clone();
        spoil(&spoilt);
        let before = backups.broken().await;
        assert!(!before.is_empty());
        backups.restart();
        backups.back_up_both("again").await;
        let broken = backups.broken().await;
        match kind {
            BlobType::Data => assert_eq!(broken, [] as [usize; 0]),
            // The volume's folder as it was then is nowhere else.
            BlobType::Tree => assert!(broken.len() <= 1, "{broken:?}"),
        }
        assert!(!backups.packs(kind).contains(&spoilt));
        if broken.is_empty() {
            backups.restic_checks();
        }
        backups.restart();
        assert_eq!(backups.broken().await, broken);
    }
}

#[tokio::test]
async fn an_index_file_that_is_damaged_or_gone_is_made_anew() {
    for spoil in [flip, cut, remove] {
        let mut backups = Backups::new().await;
        for index in backups.files("index").iter().step_by(2) {
            spoil(index);
        }
        backups.restart();
        let listed =
            backups.scene.daemon().backups(&backups.scene.destination, None).await.unwrap();
        assert_eq!(listed.len(), 6);
        backups.back_up_both("again").await;
        assert_eq!(backups.broken().await, [] as [usize; 0]);
        backups.restic_checks();
        backups.restart();
        backups.back_up_both("later").await;
        assert_eq!(backups.broken().await, [] as [usize; 0]);
    }
}

#[tokio::test]
async fn a_file_that_is_no_file_of_the_repository_is_passed_over() {
    let mut backups = Backups::new().await;
    let foreign = b"not sealed by the key of this repository, as long as it may be";
    let name = rustic_core::Id::new(crate::daemon::repository::hash(foreign));
    for folder in ["index", "snapshots", "keys"] {
        fs::write(backups.repository().join(folder).join(name.to_hex().as_str()), foreign).unwrap();
    }
    backups.restart();
    backups.back_up_both("again").await;
    assert_eq!(backups.broken().await, [] as [usize; 0]);
    let there = backups.files("index").iter().any(|file| fs::read(file).unwrap() == foreign);
    assert!(there, "what is not ours is not removed");
}

#[tokio::test]
async fn a_damaged_snapshot_file_costs_its_backup_alone() {
    for spoil in [flip, cut, remove] {
        let mut backups = Backups::new().await;
        spoil(&backups.files("snapshots")[0]);
        backups.restart();
        backups.back_up_both("again").await;
        assert_eq!(backups.broken().await.len(), 1);
        let listed =
            backups.scene.daemon().backups(&backups.scene.destination, None).await.unwrap();
        assert_eq!(listed.len(), 7);
    }
}

#[tokio::test]
async fn without_a_config_or_a_key_nothing_is_written_and_putting_it_back_helps() {
    for file in ["config", "keys"] {
        for spoil in [flip, cut, remove] {
            let mut backups = Backups::new().await;
            let file = match file {
                "config" => backups.repository().join("config"),
                folder => backups.files(folder).remove(0),
            };
            let content = fs::read(&file).unwrap();
            spoil(&file);
            backups.restart();
            let refused = backups.scene.try_back_up("vol1", "snap").await.unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Repository, "{refused}");
            fs::write(file, content).unwrap();
            backups.restart();
            backups.back_up_both("again").await;
            assert_eq!(backups.broken().await, [] as [usize; 0]);
        }
    }
}

#[tokio::test]
async fn a_damaged_folder_of_local_snapshots_is_made_anew() {
    for spoil in [flip, cut, remove] {
        for below in ["config", "keys", "index", "snapshots", "data", "all"] {
            let (mut scene, _) = Scene::with_backup().await;
            let repository = scene.path("root/repository");
            let files = |folder: &str| -> Vec<PathBuf> {
                let files = fs::read_dir(repository.join(folder)).unwrap();
                files.map(|file| file.unwrap().path()).collect()
            };
            match below {
                "config" => spoil(&repository.join("config")),
                "data" => scene.packs("root/repository").iter().for_each(|pack| spoil(pack)),
                "all" => fs::remove_dir_all(&repository).unwrap(),
                folder => files(folder).iter().for_each(|file| spoil(file)),
            }
            if below == "keys" {
                // With it, no key file is needed.
                fs::remove_file(scene.path("root/repository.key")).unwrap();
            }
            scene.restart(|_| ());
            fs::write(scene.path("root/volumes/vol1/new"), "new").unwrap();
            scene.snapshot("vol1", "snap2").await;
            let url = scene.backup("snap2").await;
            scene.restore("vol2", &url).await.unwrap();
            scene.back_up("vol1", "snap3").await;
            let volume = scene.daemon().volume(&name("vol1")).await.unwrap();
            assert!(volume.snapshots.unwrap().contains_key("snap2"));
        }
    }
}

#[tokio::test]
async fn local_snapshots_that_are_gone_are_forgotten_and_only_one_damaged_folder_is_kept() {
    let (mut scene, _) = Scene::with_backup().await;
    for round in 0..3 {
        remove(&scene.path("root/repository/config"));
        scene.restart(|_| ());
        // The repository may be on a disk that is not mounted.
        let listed = scene.daemon().volume(&name("vol1")).await.unwrap().snapshots.unwrap();
        assert_eq!(listed.len(), 1);
        scene.snapshot("vol1", &format!("later{round}")).await;
        let listed = scene.daemon().volume(&name("vol1")).await.unwrap().snapshots.unwrap();
        assert_eq!(listed.into_keys().collect::<Vec<_>>(), [format!("later{round}")]);
    }
    let names = fs::read_dir(scene.path("root")).unwrap().map(|entry| entry.unwrap().file_name());
    let damaged = names.filter(|name| name.to_str().unwrap().starts_with("repository.damaged-"));
    assert_eq!(damaged.collect::<Vec<_>>(), ["repository.damaged-3"]);
    for snapshot in fs::read_dir(scene.path("root/repository/snapshots")).unwrap() {
        remove(&snapshot.unwrap().path());
    }
    scene.restart(|_| ());
    let listed = scene.daemon().volume(&name("vol1")).await.unwrap().snapshots.unwrap();
    assert!(listed.is_empty());
}

#[tokio::test]
async fn what_is_damaged_is_told_by_reading_back_before_a_restore_needs_it() {
    for (spoil, is_missing) in [(flip as fn(&Path), false), (cut, false), (remove, true)] {
        let mut backups = Backups::new().await;
        let read = async |backups: &Backups, what: ReadBack| {
            let daemon = backups.scene.daemon();
            daemon.read_back(&backups.scene.destination, &what).await.unwrap().unwrap()
        };
        let whole = read(&backups, ReadBack::default()).await;
        let count = backups.packs(BlobType::Data).len() + backups.packs(BlobType::Tree).len();
        assert_eq!((whole.packs as usize, whole.is_all), (count, true));
        assert!(whole.damaged.is_empty(), "{whole:?}");
        let again = ReadBack { since: Some(whole.began), ..ReadBack::default() };
        assert_eq!(read(&backups, again).await.packs, 0, "it was read a moment ago");

        spoil(&backups.packs(BlobType::Data)[0]);
        let told = read(&backups, ReadBack::default()).await;
        assert_eq!(told.damaged.len(), 1, "{told:?}");
        backups.restart();
        let mut verdicts = backups.scene.daemon().inspect_backups(&backups.urls).await.unwrap();
        assert_eq!(verdicts.extract_if(.., |verdict| verdict.is_err()).count(), 3);
        backups.back_up_both("again").await;
        assert_eq!(backups.broken().await, [] as [usize; 0]);
        let after = read(&backups, ReadBack::default()).await;
        assert_eq!(after.damaged.is_empty(), !is_missing, "{after:?}");
    }
}

#[tokio::test]
async fn what_was_read_back_longest_ago_is_read_first_and_of_one_volume_only_what_it_needs() {
    let backups = Backups::new().await;
    let daemon = backups.scene.daemon();
    let at = &backups.scene.destination;
    let one = ReadBack { most: Some(1), ..ReadBack::default() };
    let mut packs = 0;
    let mut read = daemon.read_back(at, &one).await.unwrap().unwrap();
    let began = read.began;
    while !read.is_all {
        assert_eq!(read.packs, 1);
        packs += read.packs;
        let next = ReadBack { since: Some(began), ..one.clone() };
        read = daemon.read_back(at, &next).await.unwrap().unwrap();
    }
    packs += read.packs;
    let all = daemon.read_back(at, &ReadBack::default()).await.unwrap().unwrap();
    assert_eq!(packs, all.packs);
    let of_one = ReadBack { volume: Some(name("vol1")), ..ReadBack::default() };
    let of_one = daemon.read_back(at, &of_one).await.unwrap().unwrap();
    assert_eq!(of_one.packs * 2, all.packs);
}
