//! A volume is read before its writers are held, and they are not held for nothing.

use std::{fs, path::Path, sync::Arc};

use rustic_core::repofile::Chunker;
use serde_json::json;

use super::*;
use crate::{
    clock::SystemClock,
    daemon::{
        moment::{ContainerHolds, HoldOptions, Moments, Place},
        repository::Backend,
        root::Root,
    },
    engine::HoldPolicy,
    support::engine::FakeEngine,
};

const HOUR: Duration = Duration::from_hours(1);

fn seconds(took: &[u64]) -> Vec<Duration> {
    took.iter().copied().map(Duration::from_secs).collect()
}

#[test]
fn it_is_held_once_a_reading_took_half_of_the_limit_and_never_if_that_does_not_come() {
    let next = |took: &[u64]| next(&seconds(took), Duration::from_secs(30));
    assert_eq!(next(&[3]), Next::Hold);
    assert_eq!(next(&[15]), Next::Hold);
    assert_eq!(next(&[16]), Next::Read);
    assert_eq!(next(&[7200, 300]), Next::Read);
    assert_eq!(next(&[7200, 300, 12]), Next::Hold);
    assert_eq!(next(&[7200, 300, 290]), Next::GiveUp);
    assert_eq!(next(&[7200, 300, 100, 40]), Next::GiveUp);
}

struct Scene {
    folder: tempfile::TempDir,
    engine: FakeEngine,
    place: Place,
    repository: OpenRepository,
}

impl Scene {
    fn new() -> Self {
        Self::with_labels(&json!({}))
    }

    fn with_labels(labels: &serde_json::Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = FakeEngine::start(&folder.path().join("docker"));
        let files = engine.volume("db", &json!(null), &json!(null));
        fs::write(files.join("table"), "rows").unwrap();
        engine.container("one", "running", labels, &["db"]);
        let place = Place {
            volume: "db".into(),
            folder: files,
            beside: None,
            is_of_the_host: true,
            is_of_the_engine: true,
            is_for_containers_only: true,
        };
        fs::create_dir(folder.path().join("repository")).unwrap();
        let backend = Backend::in_folder(&folder.path().join("repository"), "host1");
        let repository = OpenRepository::create(backend, "secret", true, Chunker::Rabin).unwrap();
        Self { folder, engine, place, repository }
    }

    fn moments(&self, limit: Duration, reads_unheld: bool) -> Moments {
        self.moments_by(HoldPolicy::Pause, limit, reads_unheld)
    }

    fn moments_by(&self, policy: HoldPolicy, limit: Duration, reads_unheld: bool) -> Moments {
        let root = Root::make(&self.folder.path().join("root")).unwrap();
        root.make_folders().unwrap();
        let at = ContainerHolds::at(&self.engine.socket);
        let containers = Some(ContainerHolds { policy, reads_unheld, limit, ..at });
        let options = HoldOptions { commands: None, containers, limit: HOUR };
        Moments::new(&root, None, Arc::new(SystemClock)).holding(options)
    }

    fn save(&self, moments: &Moments, parent: Option<Parent>) -> Result<Saved> {
        let still = moments.still([&self.place]);
        let files =
            Files { folder: &self.place.folder, copies: None, still: Some(&still), excludes: None };
        let source = Source { files, volume: "db", parent, extras: Extras::default() };
        self.save_source(source)
    }

    /// How many packs there are when this call to the engine comes.
    fn packs_at(&self, call: &str) -> std::sync::mpsc::Receiver<usize> {
        let (seen, counted) = std::sync::mpsc::channel();
        let folder = self.folder.path().join("repository");
        let count = move |_: &mut crate::support::engine::Contents| {
            _ = seen.send(packs(&folder));
        };
        let call = format!("POST /containers/{:064x}/{call}", 1);
        self.engine.with(|contents| contents.before.push((call, Box::new(count))));
        counted
    }

    /// As one volume is saved.
    fn save_source(&self, source: Source<'_>) -> Result<Saved> {
        let to = Target { repository: &self.repository, spool: None };
        let mut unheld = Unheld::read(to, source, &NoProgress)?;
        if source.files.still.map_or(Ok(false), Still::begin)? {
            unheld = unheld.again(to, source)?;
        }
        unheld.save(to, source, &NoProgress)
    }
}

fn packs(repository: &Path) -> usize {
    let folders = fs::read_dir(repository.join("data")).unwrap().flatten();
    folders.map(|folder| fs::read_dir(folder.path()).unwrap().count()).sum()
}

#[test]
fn all_that_changed_since_the_last_backup_is_read_before_anything_is_held() {
    let scene = Scene::new();
    let moments = scene.moments(HOUR, false);
    let begun = Timestamp::now();
    let tree = scene.save(&moments, None).unwrap().tree;
    let noise: Vec<u8> =
        (0..3_000_000_u32).flat_map(|it| it.wrapping_mul(it).to_le_bytes()).collect();
    fs::write(scene.place.folder.join("new"), noise).unwrap();
    let before = packs(&scene.folder.path().join("repository"));
    let counted = scene.packs_at("pause");
    let saved = scene.save(&moments, Some(Parent { tree, begun })).unwrap();
    assert!(counted.recv().unwrap() > before);
    assert_eq!(scene.engine.acts(), "pause one, unpause one, pause one, unpause one");
    // All readings count in what is told of it.
    assert_eq!((saved.summary.files_new, saved.summary.total_files_processed), (1, 2));
    assert!(saved.summary.data_added > 10_000_000 && saved.bytes_added > 0);
}

const DUMPS: &str = "head -c 3000000 /dev/urandom > volumes/db/_data/dump";

#[test]
fn what_a_command_before_writes_is_read_before_anything_is_held_and_the_rest_before_the_command() {
    let labels =
        json!({ "convoy-backups.exec-before": DUMPS, "convoy-backups.exec-after": "true" });
    let scene = Scene::with_labels(&labels);
    let (at_command, at_pause) = (scene.packs_at("exec"), scene.packs_at("pause"));
    let saved = scene.save(&scene.moments(HOUR, false), None).unwrap();
    let done = format!("exec in one: {DUMPS}, pause one, unpause one, exec in one: true");
    assert_eq!((scene.engine.acts(), saved.files), (done, 2));
    let at_command = at_command.recv().unwrap();
    assert!(at_command > 0 && at_pause.recv().unwrap() > at_command);
    // Also where nothing is held, and however long the reading takes.
    let scene = Scene::with_labels(&labels);
    let at_command = scene.packs_at("exec");
    let moments = scene.moments_by(HoldPolicy::None, Duration::from_nanos(1), false);
    assert_eq!(scene.save(&moments, None).unwrap().files, 2);
    assert!(at_command.recv().unwrap() > 0);
    assert_eq!(scene.engine.acts(), format!("exec in one: {DUMPS}, exec in one: true"));
}

#[test]
fn commands_run_around_the_last_reading_of_what_is_read_as_it_is() {
    let labels =
        json!({ "convoy-backups.exec-before": DUMPS, "convoy-backups.exec-after": "true" });
    let scene = Scene::with_labels(&labels);
    let moments = scene.moments(Duration::from_nanos(1), true);
    assert_eq!(scene.save(&moments, None).unwrap().files, 2);
    assert_eq!(scene.engine.acts(), format!("exec in one: {DUMPS}, exec in one: true"));
}

#[test]
fn what_a_reading_wrote_wrong_is_found_though_the_one_that_counts_takes_it_as_it_is() {
    let scene = Scene::new();
    let saved = scene.save(&scene.moments(HOUR, false), None).unwrap();
    let is_written = || saved.needs.are_written(&scene.repository).is_ok_and(|is| is);
    assert!(saved.needs.are_met(&scene.repository).unwrap() && is_written());
    let repository = scene.folder.path().join("repository/data");
    for folder in fs::read_dir(repository).unwrap().flatten() {
        for pack in fs::read_dir(folder.path()).unwrap().flatten() {
            let length = pack.metadata().unwrap().len() as usize;
            fs::write(pack.path(), vec![0; length]).unwrap();
        }
    }
    assert!(saved.needs.are_met(&scene.repository).unwrap() && !is_written());
}

#[test]
fn what_cant_be_read_in_time_fails_or_is_read_as_it_is_before_anything_is_held() {
    let scene = Scene::new();
    let instant = Duration::from_nanos(1);
    let error = scene.save(&scene.moments(instant, false), None).unwrap_err();
    assert!(error.message.contains("volume \"db\": what changes in it can't be read"), "{error}");
    assert!(error.hint.unwrap().contains("raise BKUP_DOCKER_HOLD_MAX"));
    let moments = scene.moments(instant, true);
    let still = moments.still([&scene.place]);
    let files =
        Files { folder: &scene.place.folder, copies: None, still: Some(&still), excludes: None };
    let source = Source { files, volume: "db", parent: None, extras: Extras::default() };
    let saved = scene.save_source(source).unwrap();
    assert!(saved.files == 1 && still.stood().is_none());
    assert_eq!(scene.engine.acts(), "");
}

#[test]
fn trees_of_a_reading_are_not_read_from_the_repository_by_the_next_one() {
    let scene = Scene::new();
    fs::create_dir(scene.place.folder.join("below")).unwrap();
    fs::write(scene.place.folder.join("below/row"), "row").unwrap();
    let shelf = Shelf::new(&scene.folder.path().join("shelves")).unwrap();
    let files = Files { folder: &scene.place.folder, copies: None, still: None, excludes: None };
    let reading = Reading { shelf: Some(&shelf), may_count: true };
    let read = |parent| {
        let source = Source { files, volume: "db", parent, extras: Extras::default() };
        save::save_again(&scene.repository, source, (&NoProgress, &|| false), reading).unwrap()
    };
    let tree = read(None).tree;
    for folder in fs::read_dir(scene.folder.path().join("repository/data")).unwrap().flatten() {
        fs::remove_dir_all(folder.path()).unwrap();
    }
    // Later than the files, so that they need not be read.
    let begun = Timestamp::now().saturating_add(HOUR).unwrap();
    let summary = read(Some(Parent { tree, begun })).summary;
    assert_eq!((summary.files_unmodified, summary.files_new), (2, 0));
}
