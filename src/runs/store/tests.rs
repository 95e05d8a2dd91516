//! The store, on real files.

use std::{os::unix::fs::PermissionsExt as _, sync::Arc};

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    convoy::{
        Extent,
        guards::{KnownBackups as _, Observation},
    },
    run_words::{RunStatus, Trigger},
    runs::{
        alive::Alive,
        record::{
            Cancelling, Deleted, DeletedKind, Entry, Filter, Line, Output, RunRecord, Skipped,
        },
    },
    script::{Effect, Failure},
};

fn deleted() -> Vec<Deleted> {
    let url = "vfs:///b?backup=b1&volume=vol1".to_owned();
    vec![Deleted { what: DeletedKind::Backup, name: url, volume: "vol1".to_owned() }]
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const NOON: &str = "2026-11-23T12:00:00Z";

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(&folder.path().join("data"));
    (folder, store)
}

fn record(id: &str, status: RunStatus) -> RunRecord {
    RunRecord {
        digest: "abc".into(),
        origin: "built in".into(),
        arguments: Map::from_iter([("volume".to_owned(), Value::from("vol1"))]),
        entry: Some(Entry { key: "daily".into(), line: 7 }),
        host: "host1".into(),
        process: 42,
        boot: "boot".into(),
        ended: (status != RunStatus::Running).then(|| at(NOON)),
        took: (status != RunStatus::Running).then_some(Duration::from_millis(1_500)),
        status,
        volumes_done: vec!["vol1".into()],
        bytes: Some(7),
        ..RunRecord::new(id.into(), "backup".into(), Trigger::Cron, at(NOON))
    }
}

impl Store {
    /// Records so many runs that began at one time.
    fn fill(&self, count: u32, started: &str) {
        self.write(|transaction| {
            for number in 0..count {
                let sql = "INSERT INTO runs (id, script, status, trigger, dry_run, started, digest, origin, host, process, boot, arguments,
                    volumes_done, failures) VALUES (?1, 'x', 'done', 'cron', 0, ?2, '', '', '', 1, '', '{}', '[]', '[]')";
                let id = format!("20261123T{number:06}");
                transaction.execute(sql, rusqlite::params![id, micros(at(started))])?;
            }
            Ok(())
        })
        .unwrap();
    }

    /// The ids of the runs other than those of [`Self::fill`], newest first.
    fn ids_but_filled(&self) -> Vec<String> {
        let mut ids = self.ids(&Filter::default());
        ids.retain(|id| !id.starts_with("20261123T"));
        ids
    }

    fn begin(&self, record: &RunRecord) -> Result<()> {
        self.apply(&[Change::Begin(record)], at(NOON))
    }

    fn append(&self, run: &str, lines: &[Line]) -> Result<()> {
        self.apply(&[Change::Lines(run, lines)], at(NOON))
    }

    fn put(&self, record: &RunRecord) {
        self.begin(record).unwrap();
    }

    fn put_end(&self, record: &RunRecord, now: &str, observed: &[Observation]) {
        let output = Output { result: Some(json!([1])), plan: None, deleted: deleted() };
        let ending =
            Ending { record, output: &output, observed: Some(("daemon", observed)), lines: &[] };
        self.apply(&[Change::End(ending)], at(now)).unwrap();
    }

    fn ids(&self, filter: &Filter) -> Vec<String> {
        self.list(filter).unwrap().into_iter().map(|run| run.id).collect()
    }

    fn raw(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }
}

#[test]
fn what_was_written_of_a_run_is_what_is_read() {
    let (_folder, store) = store();
    assert!(
        !store.exists() && store.list(&Filter::default()).unwrap().is_empty() && !store.exists()
    );
    let mut run = record("run-1", RunStatus::Running);
    store.put(&run);
    run.status = RunStatus::Partial;
    run.ended = Some(at("2026-11-23T12:00:01.123456Z"));
    run.took = Some(Duration::from_micros(1_123_456));
    run.error = Some(json!({ "code": "guard", "message": "no" }));
    run.failures = vec![Failure {
        volume: "vol2".into(),
        code: "busy".into(),
        message: "in use".into(),
        hint: None,
    }];
    run.lines_left_out = 3;
    store.put_end(&run, NOON, &[]);
    assert_eq!(store.get("run-1").unwrap(), run);
    assert_eq!(
        store.output("run-1").unwrap(),
        Output { result: Some(json!([1])), plan: None, deleted: deleted() }
    );
    let line = |number, text: &str| Line {
        number,
        time: at(NOON),
        level: log::Level::Warn,
        target: "backup".into(),
        text: text.into(),
    };
    store.append("run-1", &[line(1, "one"), line(2, "two\n\u{1b}")]).unwrap();
    store.append("run-1", &[line(2, "again"), line(3, "three")]).unwrap();
    assert_eq!(
        store.lines("run-1", 0, 100).unwrap(),
        [line(1, "one"), line(2, "two\n\u{1b}"), line(3, "three")]
    );
    assert_eq!(store.lines("run-1", 2, 100).unwrap().len(), 1);
    assert_eq!(store.last_lines("run-1", 2).unwrap(), [line(2, "two\n\u{1b}"), line(3, "three")]);
}

#[test]
fn only_the_owner_may_read_the_store() {
    let (folder, store) = store();
    store.put(&record("run-1", RunStatus::Done));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("data")), 0o700);
    for suffix in ["", "-wal", "-shm"] {
        assert_eq!(mode(&with_suffix(&store.path, suffix)), 0o600, "{suffix}");
    }
}

#[test]
fn runs_are_found_by_script_status_time_and_volume_the_newest_first() {
    let (_folder, store) = store();
    let mut runs = [
        record("run-1", RunStatus::Done),
        record("run-2", RunStatus::Failed),
        record("run-3", RunStatus::Done),
        record("run-4", RunStatus::Skipped),
    ];
    runs[1].failures = vec![Failure {
        volume: "vol9".into(),
        code: "io".into(),
        message: "no".into(),
        hint: None,
    }];
    runs[2].script = "prune".into();
    runs[2].started = at("2026-11-24T12:00:00Z");
    runs[2].arguments = Map::new();
    runs[2].volumes_done = vec!["vol2".into()];
    runs.iter().for_each(|run| store.put(run));
    let ids = |filter| store.ids(&filter);
    assert_eq!(ids(Filter::default()), ["run-4", "run-3", "run-2", "run-1"]);
    assert_eq!(ids(Filter { limit: Some(2), ..Filter::default() }), ["run-4", "run-3"]);
    assert_eq!(ids(Filter { script: Some("prune".into()), ..Filter::default() }), ["run-3"]);
    assert_eq!(ids(Filter { status: Some(RunStatus::Failed), ..Filter::default() }), ["run-2"]);
    assert_eq!(
        ids(Filter { since: Some(at("2026-11-24T00:00:00Z")), ..Filter::default() }),
        ["run-3"]
    );
    for (volume, found) in [
        ("vol1", vec!["run-4", "run-2", "run-1"]),
        ("vol2", vec!["run-3"]),
        ("vol9", vec!["run-2"]),
    ] {
        assert_eq!(
            ids(Filter { volume: Some(volume.into()), ..Filter::default() }),
            found,
            "{volume}"
        );
    }
    let both =
        Filter { script: Some("backup".into()), volume: Some("vol2".into()), ..Filter::default() };
    assert!(ids(both).is_empty());
}

#[test]
fn mere_looks_are_left_out_but_for_what_the_crontab_started() {
    let (_folder, store) = store();
    let by = |id: &str, script: &str, trigger, dry_run| {
        store.put(&RunRecord {
            script: script.into(),
            trigger,
            dry_run,
            read_only: script == "volumes",
            ..record(id, RunStatus::Done)
        });
    };
    by("run-1", "backup", Trigger::Http, false);
    by("run-2", "backup", Trigger::Cli, true);
    by("run-3", "volumes", Trigger::Http, false);
    by("run-4", "volumes", Trigger::Cron, false);
    by("run-5", "prune", Trigger::Cron, true);
    assert_eq!(
        store.ids(&Filter { without_read_only: true, ..Filter::default() }),
        ["run-5", "run-4", "run-1"]
    );
}

/// Makes a store of version 4 of this one.
fn before_backups(store: &Store) {
    let columns = [
        "made",
        "verified",
        "files",
        "changed_files",
        "broken",
        "broken_since",
        "broken_by_reading",
        "doubt",
        "partial",
        "restored",
        "former",
    ];
    let dropped = columns.map(|column| format!("ALTER TABLE backups DROP COLUMN {column};"));
    let older =
        "ALTER TABLE volumes DROP COLUMN created; ALTER TABLE volumes DROP COLUMN restored_from;
        ALTER TABLE runs DROP COLUMN deleted; ALTER TABLE backups RENAME TO good_backups;
        DROP TABLE snapshots; DROP TABLE sources; DROP TABLE made_backups; DROP TABLE looked_at;
        DROP TABLE removals; PRAGMA user_version = 4";
    store.raw().execute_batch(&format!("{}{older}", dropped.concat())).unwrap();
}

#[test]
fn of_runs_on_an_older_store_it_is_known_what_the_default_script_of_their_name_does() {
    let (folder, store) = store();
    for (id, script) in [("run-1", "backup"), ("run-2", "volumes"), ("run-3", "mine")] {
        store.put(&RunRecord { script: script.into(), ..record(id, RunStatus::Done) });
    }
    let older = "ALTER TABLE runs DROP COLUMN does; ALTER TABLE runs DROP COLUMN read_only; PRAGMA user_version = 3";
    before_backups(&store);
    store.raw().execute_batch(older).unwrap();
    let again = Store::new(&folder.path().join("data"));
    again.put(&RunRecord { does: vec![Effect::Snapshot], ..record("run-4", RunStatus::Done) });
    let known = |id: &str| again.get(id).map(|run| (run.does, run.read_only)).unwrap();
    assert_eq!(known("run-1"), (vec![Effect::Backup], false));
    assert_eq!(known("run-2"), (Vec::new(), true));
    assert_eq!(known("run-3"), (Vec::new(), false));
    assert_eq!(known("run-4"), (vec![Effect::Snapshot], false));
}

#[test]
fn the_beginning_of_an_id_is_enough_where_only_one_begins_so() {
    let (_folder, store) = store();
    for id in [
        "20261123T120000.000001-1a-0",
        "20261123T120000.000002-1a-0",
        "20261123T120000.000002-1a-01",
    ] {
        store.put(&record(id, RunStatus::Done));
    }
    assert_eq!(store.get("20261123T120000.000001").unwrap().id, "20261123T120000.000001-1a-0");
    assert_eq!(
        store.get("20261123T120000.000002-1a-0").unwrap().id,
        "20261123T120000.000002-1a-0",
        "it is one itself"
    );
    let error = store.get("20261123").unwrap_err();
    assert!(
        error.message.contains("more than one") && error.message.contains("000001-1a-0"),
        "{error}"
    );
    for unknown in ["", "x", "%", "20261123T120000.000001-1a-00"] {
        let error = store.get(unknown).unwrap_err();
        assert!(error.message.contains("there is no run") && error.exit_code() == 2, "{error}");
    }
    let meant = store.get("20261123T120000.000001-1a-9").unwrap_err().hint.unwrap();
    assert_eq!(meant, "did you mean \"20261123T120000.000001-1a-0\"?");
    assert!(
        store.get("20251123T120000.000001-77-9").unwrap_err().hint.unwrap().contains("runs list")
    );
}

#[test]
fn old_runs_and_too_many_go_and_those_that_go_on_stay() {
    let (_folder, store) = store();
    let mut old = record("20260101", RunStatus::Done);
    old.started = at("2026-01-01T00:00:00Z");
    let going_on = RunRecord { id: "20260102".into(), status: RunStatus::Running, ..old.clone() };
    store.put(&old);
    store.put(&going_on);
    store
        .append(
            "20260101",
            &[Line {
                number: 1,
                time: at(NOON),
                level: log::Level::Info,
                target: "x".into(),
                text: "y".into(),
            }],
        )
        .unwrap();
    store.fill(10_005, NOON);
    store.prune(at(NOON)).unwrap();
    let ids = store.ids(&Filter::default());
    assert_eq!((ids.len(), ids.last().unwrap().as_str()), (10_001, "20260102"));
    assert_eq!(ids[9_999], "20261123T000005");
    assert!(store.lines("20260101", 0, 10).unwrap().is_empty());
}

#[test]
fn the_newest_thousand_runs_stay_whatever_the_clock_says() {
    let (_folder, store) = store();
    // A new host has the runs of one day.
    for hour in 10..=23 {
        store.put(&dated(&format!("20261123T{hour}"), &format!("2026-11-23T{hour}:00:00Z")));
    }
    for _ in 0..3 {
        store.prune(at("2027-12-28T00:00:00Z")).unwrap();
    }
    assert_eq!(store.ids(&Filter::default()).len(), 14);
    store.fill(990, NOON);
    store.prune(at("2027-12-28T00:00:00Z")).unwrap();
    let ids = store.ids(&Filter::default());
    assert_eq!((ids.len(), ids.last().unwrap().as_str()), (1_000, "20261123T14"));
    // Runs that only read take the place of no others.
    store.put(&RunRecord {
        read_only: true,
        trigger: Trigger::Cli,
        ..record("read", RunStatus::Done)
    });
    store.prune(at("2027-12-28T00:00:00Z")).unwrap();
    assert_eq!(store.ids(&Filter::default()).len(), 1_001);
}

/// A run of a day in November 2026, or of another time.
fn dated(id: &str, started: &str) -> RunRecord {
    RunRecord { started: at(started), ..record(id, RunStatus::Done) }
}

#[test]
fn a_clock_that_is_wrong_for_a_moment_does_not_throw_the_record_away() {
    let (_folder, store) = store();
    for day in 10..=23 {
        store.put(&dated(&format!("202611{day}"), &format!("2026-11-{day}T12:00:00Z")));
    }
    store.fill(1_000, "2026-11-23T13:00:00Z");
    store.prune(at("2036-01-01T00:00:00Z")).unwrap();
    // The oldest day may go, the others stay.
    assert_eq!(store.ids_but_filled().len(), 13);
    store.prune(at("1970-01-01T00:00:00Z")).unwrap();
    assert_eq!(store.ids_but_filled().len(), 13);
    // With the right clock, all of them become old in their time.
    for _ in 0..14 {
        store.prune(at("2027-03-01T00:00:00Z")).unwrap();
    }
    assert!(store.ids_but_filled().is_empty());
}

#[test]
fn a_run_whose_clock_was_wrong_is_neither_kept_for_ever_nor_the_newest_nor_thrown_away_early() {
    let (_folder, store) = store();
    store.put(&dated("20261110", "2026-11-10T12:00:00Z"));
    store.put(&dated("20360101", "2036-01-01T12:00:00Z"));
    store.put(&dated("19700101", "1970-01-01T12:00:00Z"));
    store.put(&dated("20261112", "2026-11-12T12:00:00Z"));
    let all = ["20261112", "19700101", "20360101", "20261110"];
    assert_eq!(store.ids(&Filter::default()), all);
    let before = |id: &str| store.ids(&Filter { before: Some(id.into()), ..Filter::default() });
    assert_eq!(before("20360101"), ["20261110"]);
    assert_eq!(before("19700101"), ["20360101", "20261110"]);
    assert!(before("0").is_empty(), "a run that is deleted already was older than all others");
    store.fill(1_000, "2026-11-12T13:00:00Z");
    store.prune(at(NOON)).unwrap();
    assert_eq!(store.ids_but_filled(), all);
    store.prune(at("2027-02-09T12:00:00Z")).unwrap();
    assert_eq!(store.ids_but_filled(), ["20261112"]);
}

#[test]
fn looking_at_volumes_all_day_does_not_push_backups_out() {
    let (_folder, store) = store();
    store.put(&record("20261123T000000", RunStatus::Done));
    let mut looked = record("", RunStatus::Done);
    looked.trigger = Trigger::Cli;
    looked.volumes_done.clear();
    store
        .write(|transaction| {
            for number in 0..1_010 {
                looked.id = format!("20261124T{number:06}");
                super::writing::save(transaction, &looked, &Output::default())?;
            }
            Ok(())
        })
        .unwrap();
    store.prune(at(NOON)).unwrap();
    let ids = store.ids(&Filter::default());
    assert_eq!((ids.len(), ids.last().unwrap().as_str()), (1_001, "20261123T000000"));
}

#[test]
fn pruning_happens_by_itself_once_an_hour() {
    let (_folder, store) = store();
    // It is 90 days old half an hour after noon.
    store.put(&dated("20260825", "2026-08-25T12:30:00Z"));
    store.fill(1_000, NOON);
    let new = record("20261123", RunStatus::Done);
    for (now, runs) in [(NOON, 2), ("2026-11-23T12:59:59Z", 2), ("2026-11-23T13:00:00Z", 1)] {
        store.put_end(&new, now, &[]);
        assert_eq!(store.ids_but_filled().len(), runs, "{now}");
    }
}

#[test]
fn pruning_goes_on_after_the_clock_was_set_back() {
    let (_folder, store) = store();
    let wrong = at("2036-01-01T00:00:00Z");
    store.write(|transaction| super::times::set(transaction, "pruned", wrong)).unwrap();
    store.put(&dated("20260101", "2026-01-01T00:00:00Z"));
    store.fill(1_000, NOON);
    store.put_end(&record("20261123", RunStatus::Done), NOON, &[]);
    assert_eq!(store.ids_but_filled(), ["20261123"]);
}

#[test]
fn a_run_whose_process_is_gone_is_interrupted_and_that_is_told_once() {
    let (_folder, store) = store();
    let alive = Alive::new(store.running(), "run-2").unwrap();
    // What kill -9 leaves behind.
    fs::write(store.running().join("run-1"), "").unwrap();
    for id in ["run-1", "run-2", "run-3"] {
        store.put(&record(id, RunStatus::Running));
    }
    let shown: Vec<_> =
        store.list(&Filter::default()).unwrap().into_iter().map(|run| run.status).collect();
    assert_eq!(
        shown,
        [RunStatus::Interrupted, RunStatus::Running, RunStatus::Interrupted],
        "shown so before it is written"
    );
    let filter = |status| Filter { status: Some(status), ..Filter::default() };
    assert_eq!(store.ids(&filter(RunStatus::Interrupted)), ["run-3", "run-1"]);
    assert_eq!(store.ids(&filter(RunStatus::Running)), ["run-2"]);
    assert_eq!(store.mark_interrupted().unwrap(), 2);
    assert!(!store.running().join("run-1").exists());
    let told = |store: &Store| {
        let unreported = store.unreported_interruptions().unwrap();
        unreported.iter().for_each(|run| store.mark_interruption_reported(&run.id).unwrap());
        unreported.into_iter().map(|run| run.id).collect::<Vec<_>>()
    };
    assert_eq!(told(&store), ["run-1", "run-3"], "marked by somebody else, told here");
    assert!(told(&store).is_empty());
    drop(alive);
    assert_eq!(told(&store), ["run-2"]);
    // A record that comes late wins: the run knows best how it ended.
    store.put_end(&record("run-2", RunStatus::Done), NOON, &[]);
    assert_eq!(store.get("run-2").unwrap().status, RunStatus::Done);
}

#[test]
fn a_wish_that_a_run_should_end_reaches_it_and_stays_in_its_record() {
    let (folder, store) = store();
    let run = record("run-1", RunStatus::Running);
    let _alive = Alive::new(store.running(), "run-1").unwrap();
    store.put(&run);
    let other = Store::new(&folder.path().join("data"));
    assert_eq!(store.cancel_requests().unwrap(), []);
    assert_eq!(other.request_cancel("run-1", "ann", at(NOON)).unwrap(), Cancelling::Asked);
    assert_eq!(other.request_cancel("run-1", "bob", at(NOON)).unwrap(), Cancelling::Asked);
    assert_eq!(store.cancel_requests().unwrap()[0].1.by, "ann");
    store.put_end(&record("run-1", RunStatus::Cancelled), NOON, &[]);
    assert_eq!(store.get("run-1").unwrap().cancel_requested.unwrap().by, "ann");
    assert_eq!(
        other.request_cancel("run-1", "bob", at(NOON)).unwrap(),
        Cancelling::Ended(RunStatus::Cancelled)
    );
    store.put(&record("run-2", RunStatus::Running));
    assert_eq!(
        store.request_cancel("run-2", "bob", at(NOON)).unwrap(),
        Cancelling::Ended(RunStatus::Interrupted),
        "its process is gone"
    );
}

#[test]
fn what_the_scheduler_must_remember_outlives_it() {
    let (folder, store) = store();
    assert!(store.entry_times().unwrap().is_empty());
    assert!(!store.exists());
    let (noon, next) = (at(NOON), at("2026-11-24T12:00:00Z"));
    let begun = |due, again| EntryEvent::Begun(EntryRun { due, again });
    store
        .remember(&[("daily", EntryEvent::DealtWith(noon)), ("hourly", begun(noon, false))])
        .unwrap();
    store.remember(&[("daily", EntryEvent::DealtWith(next))]).unwrap();
    let skipped = Skipped {
        script: "backup".into(),
        arguments: Map::new(),
        entry: Entry { key: "daily".into(), line: 3 },
        does: Vec::new(),
        due: at(NOON),
        reason: "the run before still goes on".into(),
    };
    let id = store.skipped(&[skipped], at(NOON)).unwrap().remove(0);
    let again = Store::new(&folder.path().join("data"));
    let times = |key: &str| again.entry_times().unwrap().get(key).copied();
    assert_eq!(times("daily"), Some(EntryTimes { due: next, begun: None }));
    assert_eq!(
        times("hourly"),
        Some(EntryTimes { due: noon, begun: Some(EntryRun { due: noon, again: false }) })
    );
    again.remember(&[("hourly", begun(noon, true))]).unwrap();
    assert_eq!(times("hourly").unwrap().begun, Some(EntryRun { due: noon, again: true }));
    again.remember(&[("hourly", begun(next, false))]).unwrap();
    assert_eq!(
        times("hourly").unwrap().begun,
        Some(EntryRun { due: next, again: false }),
        "a later one is a first try"
    );
    again.remember(&[("hourly", EntryEvent::Ended)]).unwrap();
    assert_eq!(times("hourly"), Some(EntryTimes { due: next, begun: None }));
    assert_eq!(times("weekly"), None);
    let run = again.get(&id).unwrap();
    assert_eq!(
        (run.status, run.reason.as_deref()),
        (RunStatus::Skipped, Some("the run before still goes on"))
    );
    assert_eq!(again.mark_interrupted().unwrap(), 0);
}

fn good(url: &str, snapshot_time: &str, made: bool) -> Observation {
    Observation::BackupGood {
        volume: "vol1".into(),
        url: url.into(),
        snapshot_time: Some(at(snapshot_time)),
        bytes: Some(9),
        files: Some(2),
        changed_files: Some(0),
        stood: None,
        made,
        verified: true,
    }
}

#[test]
fn what_volumes_had_is_remembered_until_their_snapshots_are_deleted() {
    let (_folder, store) = store();
    let extent = Extent { files: Some(30), bytes: Some(9), mounts: Some(Vec::new()) };
    let made = |snapshot: &str, seen_here| Observation::SnapshotMade {
        volume: "vol1".into(),
        snapshot: snapshot.into(),
        time: at(NOON),
        extent: extent.clone(),
        seen_here,
    };
    let run = record("run-1", RunStatus::Done);
    store.put_end(&run, NOON, &[made("s1", true), made("s2", true), made("told", false)]);
    let known = || store.sources("daemon").unwrap().extents;
    assert_eq!(known(), ["s1", "s2"].map(|name| (name.to_owned(), extent.clone())).into());
    let deleted = Observation::SnapshotDeleted { volume: "vol1".into(), snapshot: "s1".into() };
    store.put_end(&run, NOON, &[deleted]);
    assert_eq!(known().into_keys().collect::<Vec<_>>(), ["s2"]);
    let many: Vec<_> = (0..120).map(|number| made(&format!("s-{number:03}"), true)).collect();
    store.put_end(&run, NOON, &many);
    assert_eq!(known().len(), 100);
    assert!(store.sources("another").unwrap().extents.is_empty());
}

#[test]
fn a_snapshot_that_tells_nothing_settles_no_doubt() {
    let (_folder, store) = store();
    let made = |extent: Extent| Observation::SnapshotMade {
        volume: "vol1".into(),
        snapshot: "s1".into(),
        time: at(NOON),
        extent,
        seen_here: false,
    };
    let doubt = Observation::SourceInDoubt {
        volume: "vol1".into(),
        source: String::new(),
        taken: at(NOON),
        extent: Extent::default(),
        why: "why".into(),
    };
    let run = record("run-1", RunStatus::Done);
    store.put_end(&run, NOON, &[made(Extent::default()), doubt]);
    store.put_end(&run, NOON, &[made(Extent::default())]);
    assert_eq!(store.volumes_in_doubt().unwrap(), ["vol1"]);
    store.put_end(&run, NOON, &[made(Extent { files: Some(3), ..Extent::default() })]);
    assert!(store.volumes_in_doubt().unwrap().is_empty());
}

#[test]
fn what_is_known_of_a_volume_is_what_runs_saw_of_it() {
    let (_folder, store) = store();
    let volume = || "vol1".to_owned();
    let seen =
        Observation::VolumeSeen { volume: volume(), seen: at(NOON), created: None, snapshot: None };
    let snapshot = Observation::SnapshotMade {
        volume: volume(),
        snapshot: "s1".into(),
        time: at(NOON),
        extent: Extent::default(),
        seen_here: false,
    };
    let run = record("run-1", RunStatus::Failed);
    store.put_end(&run, NOON, &[seen.clone(), snapshot, good("vfs:///b?1", NOON, true)]);
    // One found good later is not the last where its data is older.
    store.put_end(
        &record("run-2", RunStatus::Done),
        "2026-11-24T12:00:00Z",
        &[good("vfs:///b?0", "2026-11-22T12:00:00Z", false)],
    );
    let known = store.volumes().unwrap().remove(0);
    assert_eq!(
        (known.name.as_str(), known.daemon.as_str(), known.snapshot.as_deref()),
        ("vol1", "daemon", Some("s1"))
    );
    let urls: Vec<_> = known.good_backups.iter().map(|backup| backup.url.as_str()).collect();
    assert_eq!(urls, ["vfs:///b?1", "vfs:///b?0"]);
    let last = &known.good_backups[0];
    assert_eq!((last.run.as_str(), last.proven, last.bytes), ("run-1", at(NOON), Some(9)));

    let deleted = Observation::BackupDeleted { volume: volume(), url: "vfs:///b?1".into() };
    let gone = Observation::SnapshotDeleted { volume: volume(), snapshot: "s1".into() };
    store.put_end(&run, "2026-11-25T12:00:00Z", &[seen.clone(), deleted, gone]);
    let known = store.volumes().unwrap().remove(0);
    assert_eq!((known.good_backups.len(), known.snapshot), (1, None));
    assert_eq!((known.first_seen, known.last_seen), (at(NOON), at("2026-11-25T12:00:00Z")));

    store.put_end(
        &run,
        "2026-11-26T12:00:00Z",
        &[Observation::VolumeGone { volume: volume(), forgotten: false }],
    );
    assert_eq!(store.volumes().unwrap()[0].removed, Some(at("2026-11-26T12:00:00Z")));
    // A run that takes long learns at its end what it saw before the removal.
    store.put_end(&run, "2026-11-27T12:00:00Z", &[seen]);
    assert_eq!(store.volumes().unwrap()[0].removed, Some(at("2026-11-26T12:00:00Z")));
    let again = Observation::VolumeSeen {
        volume: volume(),
        seen: at("2026-11-27T12:00:00Z"),
        created: None,
        snapshot: None,
    };
    store.put_end(&run, "2026-11-27T12:00:00Z", &[again]);
    let another = store.volumes().unwrap().remove(0);
    assert_eq!((another.removed, another.first_seen), (None, at("2026-11-27T12:00:00Z")));
    assert!(
        another.good_backups.is_empty(),
        "those of the volume that had the name before are no backups of this one"
    );
}

#[test]
fn a_backup_that_only_reading_shows_to_be_broken_is_good_again_once_it_was_restored() {
    let (_folder, store) = store();
    let url = "vfs:///b?1";
    let seen = |time: &str, observed: &[Observation]| {
        store.put_end(&record("run-1", RunStatus::Done), time, observed);
        let known = store.of_volume("daemon", "vol1").unwrap().remove(0);
        let good = store.volumes().unwrap().first().map_or(0, |it| it.good_backups.len());
        (known, good)
    };
    let broken = |by_reading| Observation::BackupBroken {
        volume: "vol1".into(),
        url: url.into(),
        why: "a pack is missing".into(),
        by_reading,
    };
    let volume = Observation::VolumeSeen {
        volume: "vol1".into(),
        seen: at(NOON),
        created: None,
        snapshot: None,
    };
    let (known, good_ones) = seen(NOON, &[volume, good(url, NOON, true)]);
    assert!(known.made_here && known.verified && known.broken.is_none());
    assert_eq!((good_ones, known.files, known.bytes), (1, Some(2), Some(9)));

    // What an inspection found, a later inspection can disprove.
    let (known, good_ones) = seen("2026-11-24T12:00:00Z", &[broken(false)]);
    assert_eq!((good_ones, known.is_bad()), (0, None));
    let (known, good_ones) = seen("2026-11-24T13:00:00Z", &[good(url, NOON, false)]);
    assert_eq!((good_ones, known.broken), (1, None));

    let (_, _) = seen("2026-11-25T12:00:00Z", &[broken(true)]);
    let (known, good_ones) = seen("2026-11-25T13:00:00Z", &[good(url, NOON, false), broken(false)]);
    assert_eq!((good_ones, known.is_bad()), (0, Some("a pack is missing")));
    assert_eq!(known.broken.unwrap().since, at("2026-11-25T12:00:00Z"));
    assert_eq!(store.volumes().unwrap()[0].bad_backups[0].why, "a pack is missing");

    let restored = Observation::BackupRestored { volume: "vol1".into(), url: url.into() };
    let (known, good_ones) = seen("2026-11-26T12:00:00Z", &[restored]);
    assert_eq!((good_ones, known.broken), (1, None));
    assert!(known.made_here, "who made it is not forgotten");
}

#[test]
fn a_partial_backup_is_no_good_one_whatever_is_accepted() {
    let (_folder, store) = store();
    let (volume, url) = (String::from("vol1"), String::from("vfs:///b?1"));
    let seen = Observation::VolumeSeen {
        volume: volume.clone(),
        seen: at(NOON),
        created: None,
        snapshot: None,
    };
    let (of, at_url) = (volume.clone(), url.clone());
    let in_doubt = Observation::BackupInDoubt { volume: of, url: at_url, why: "empty".into() };
    let partial = Observation::BackupPartial { volume, url: url.clone(), why: "it lacks 1".into() };
    let observed = [seen, good(&url, NOON, true), in_doubt, partial];
    store.put_end(&record("run-1", RunStatus::Done), NOON, &observed);
    store.accept_loss("vol1", at("2030-01-01T00:00:00Z")).unwrap();
    let known = store.volumes().unwrap().remove(0);
    assert!(known.good_backups.is_empty());
    assert_eq!(
        (known.bad_backups[0].reason, &*known.bad_backups[0].why),
        (crate::runs::record::BadReason::Partial, "it lacks 1")
    );
    assert_eq!(store.of_volume("daemon", "vol1").unwrap()[0].is_bad(), Some("it lacks 1"));
}

#[test]
fn a_source_in_doubt_is_so_until_a_newer_copy_is_good_or_a_person_accepts_it() {
    let (_folder, store) = store();
    let url = |number: u8| format!("vfs:///b?{number}");
    let learn = |number: u8, doubt: Option<&str>| {
        let mut observed = vec![good(&url(number), NOON, true)];
        observed.extend(doubt.map(|why| Observation::BackupInDoubt {
            volume: "vol1".into(),
            url: url(number),
            why: why.into(),
        }));
        observed.extend(doubt.map(|why| Observation::SourceInDoubt {
            volume: "vol1".into(),
            source: "id".into(),
            taken: at(NOON),
            extent: Extent { files: Some(0), bytes: Some(0), mounts: None },
            why: why.into(),
        }));
        store.put_end(&record("run-1", RunStatus::Done), NOON, &observed);
    };
    let seen = Observation::VolumeSeen {
        volume: "vol1".into(),
        seen: at(NOON),
        created: None,
        snapshot: None,
    };
    store.put_end(&record("run-0", RunStatus::Done), NOON, &[seen]);
    let known = || store.volumes().unwrap().remove(0);
    learn(1, None);
    learn(2, Some("it is empty"));
    assert_eq!((known().good_backups.len(), known().doubt.as_deref()), (1, Some("it is empty")));
    assert_eq!(store.sources("daemon").unwrap().doubts, [(url(2), "it is empty".to_owned())]);
    assert_eq!(store.volumes_in_doubt().unwrap(), ["vol1"]);
    learn(3, None);
    assert_eq!((known().good_backups.len(), known().doubt), (2, None));
    // The files are back, and the backup without them is still in doubt.
    assert_eq!(store.volumes_in_doubt().unwrap(), ["vol1"]);
    let accepted = store.accept_loss("vol1", at("2030-01-01T00:00:00Z")).unwrap();
    assert_eq!(accepted, [("daemon".to_owned(), "it is empty".to_owned())]);
    assert_eq!(
        (known().good_backups.len(), store.sources("daemon").unwrap().accepted.len()),
        (3, 1)
    );
    assert_eq!(store.volumes_in_doubt().unwrap(), [""; 0]);
    assert_eq!(store.accept_loss("vol1", at("2030-01-01T00:00:00Z")).unwrap(), []);

    learn(4, Some("it is empty again"));
    let accepted = store.accept_loss("vol1", at("2030-01-01T00:00:00Z")).unwrap();
    assert_eq!(accepted, [("daemon".to_owned(), "it is empty again".to_owned())]);
    assert_eq!((known().good_backups.len(), known().doubt), (4, None));
    let sources = store.sources("daemon").unwrap();
    assert_eq!((sources.accepted[0].until, sources.accepted[0].extent.files), (at(NOON), Some(0)));
    assert!(sources.doubts.is_empty());
    // What was accepted is known longer than the doubt, and than the backups.
    learn(5, None);
    store.put_end(
        &record("run-2", RunStatus::Done),
        NOON,
        &[Observation::VolumeMade { volume: "vol1".into(), restored_from: None }],
    );
    assert_eq!(store.sources("daemon").unwrap().accepted.len(), 1);
}

#[test]
fn what_was_accepted_before_stays_accepted() {
    let (_folder, store) = store();
    for (taken, files, bytes) in
        [("2026-11-24T00:00:00Z", 0, 0), ("2026-11-23T00:00:00Z", 90, 4_000)]
    {
        let doubt = Observation::SourceInDoubt {
            volume: "vol1".into(),
            source: "id".into(),
            taken: at(taken),
            extent: Extent { files: Some(files), bytes: Some(bytes), mounts: None },
            why: "it lost much".into(),
        };
        store.put_end(&record(taken, RunStatus::Done), NOON, &[doubt]);
        store.accept_loss("vol1", at("2030-01-01T00:00:00Z")).unwrap();
    }
    let accepted = store.sources("daemon").unwrap().accepted.remove(0);
    assert_eq!(accepted.until, at("2026-11-24T00:00:00Z"));
    assert_eq!((accepted.extent.files, accepted.extent.bytes), (Some(0), Some(0)));
}

#[test]
fn the_backups_of_a_volume_whose_name_another_one_got_stay_known_and_count_for_nothing() {
    let (_folder, store) = store();
    let of_the_former = [good("vfs:///b?backup=old-1&volume=vol1", NOON, true)];
    store.put_end(&record("run-1", RunStatus::Done), "2026-11-23T12:05:00Z", &of_the_former);
    let again = [
        Observation::VolumeMade { volume: "vol1".into(), restored_from: None },
        good("vfs:///b?backup=new-1&volume=vol1", "2026-11-24T12:00:00Z", true),
    ];
    store.put_end(&record("run-2", RunStatus::Done), "2026-11-24T12:05:00Z", &again);
    let mut known: Vec<_> = store.of_volume("daemon", "vol1").unwrap();
    known.sort_by_key(|known| known.former);
    let known: Vec<_> = known.iter().map(|known| (known.former, known.made_here)).collect();
    assert_eq!(known, [(false, true), (true, true)]);
    assert_eq!(store.volumes().unwrap()[0].good_backups.len(), 1);
}

#[test]
fn a_backup_that_was_only_restored_is_no_good_one_of_the_volume_of_its_name() {
    let (_folder, store) = store();
    let url = "vfs:///b?backup=theirs-1&volume=vol1".to_owned();
    let observed = [
        Observation::VolumeSeen {
            volume: "vol1".into(),
            seen: at(NOON),
            created: None,
            snapshot: None,
        },
        Observation::BackupRestored { volume: "vol1".into(), url },
    ];
    store.put_end(&record("run-1", RunStatus::Done), "2026-11-23T12:05:00Z", &observed);
    let known = store.of_volume("daemon", "vol1").unwrap();
    assert_eq!((known[0].restored, known[0].made_here), (true, false));
    assert_eq!(store.volumes().unwrap()[0].good_backups, []);
}

#[test]
fn an_older_store_knows_which_backups_its_own_runs_made() {
    let (_folder, store) = store();
    let volume = Observation::VolumeSeen {
        volume: "vol1".into(),
        seen: at(NOON),
        created: None,
        snapshot: None,
    };
    let observed = [
        volume,
        good("vfs:///b?made", NOON, true),
        good("vfs:///b?inspected", "2026-11-22T12:00:00Z", false),
    ];
    store.put_end(&record("run-1", RunStatus::Done), "2026-11-23T12:05:00Z", &observed);
    before_backups(&store);

    let store = Store::new(store.path.parent().unwrap());
    let known = store.of_volume("daemon", "vol1").unwrap();
    let made: Vec<_> =
        known.iter().filter(|backup| backup.made_here).map(|backup| backup.url.as_str()).collect();
    assert_eq!(made, ["vfs:///b?made"]);
    assert_eq!(store.volumes().unwrap()[0].made, [at("2026-11-23T12:05:00Z")]);
}

#[test]
fn of_an_older_store_the_last_four_backups_say_how_often_a_volume_is_backed_up() {
    let (_folder, store) = store();
    let day = |day: i64| at(NOON) + SignedDuration::from_hours(day * 24);
    for number in 0..6 {
        let made = good(&format!("vfs:///b?{number}"), NOON, true);
        let run = record(&format!("run-{number}"), RunStatus::Done);
        store.put_end(&run, &day(number).to_string(), &[seen_at(day(number)), made]);
    }
    before_backups(&store);
    let store = Store::new(store.path.parent().unwrap());
    assert_eq!(store.volumes().unwrap()[0].made, [day(5), day(4), day(3), day(2)]);
}

fn seen_at(seen: Timestamp) -> Observation {
    Observation::VolumeSeen { volume: "vol1".into(), seen, created: None, snapshot: None }
}

#[test]
fn a_list_that_is_short_once_makes_no_volume_new() {
    let (_folder, store) = store();
    let day = |day: i64| at(NOON) + SignedDuration::from_hours(day * 24);
    let look = |volumes: &[&str], now: Timestamp| {
        store.look_at("daemon", &volumes.iter().copied().collect(), now).unwrap()
    };
    look(&["vol1", "vol2"], day(0));
    assert_eq!(look(&["vol2"], day(3)).into_values().collect::<Vec<_>>(), [day(0)]);
    assert_eq!(look(&["vol1", "vol2"], day(4))["vol1"], day(0));
    // After a month without it, it is a new one.
    look(&["vol2"], day(35));
    assert_eq!(look(&["vol1", "vol2"], day(36))["vol1"], day(36));
    // A run that sees it takes over when it was first seen.
    store.put_end(&record("run-1", RunStatus::Done), &day(37).to_string(), &[seen_at(day(37))]);
    assert_eq!(store.volumes().unwrap()[0].first_seen, day(36));
    assert_eq!(look(&["vol1"], day(38))["vol1"], day(38));
}

#[test]
fn backups_that_are_dated_in_the_future_are_forgotten_before_any_other() {
    let (_folder, store) = store();
    let run = record("run-1", RunStatus::Done);
    let future = "2036-01-01T00:00:00Z";
    let seen = Observation::VolumeSeen {
        volume: "vol1".into(),
        seen: at(NOON),
        created: None,
        snapshot: None,
    };
    store.put_end(&run, future, &[seen, good("vfs:///b?future", future, true)]);
    for number in 0..100 {
        let url = format!("vfs:///b?{number:02}");
        store.put_end(&run, NOON, &[good(&url, NOON, true)]);
    }
    let known = store.volumes().unwrap().remove(0).good_backups;
    assert_eq!(known.len(), 100);
    assert!(known.iter().all(|backup| backup.url != "vfs:///b?future"));
}

#[test]
fn a_volume_that_was_made_again_under_its_name_has_no_backups_of_the_one_before() {
    let (_folder, store) = store();
    let run = record("run-1", RunStatus::Done);
    let seen = |created: &str| Observation::VolumeSeen {
        volume: "vol1".into(),
        seen: at(NOON),
        created: Some(at(created)),
        snapshot: None,
    };
    let known = || {
        let known = store.volumes().unwrap().remove(0);
        (known.created.unwrap(), known.good_backups.len(), known.restored_from)
    };
    let first = "2026-11-01T00:00:00Z";
    store.put_end(&run, NOON, &[seen(first), good("vfs:///b?1", NOON, true)]);
    store.put_end(&run, NOON, &[seen(first)]);
    assert_eq!(known(), (at(first), 1, None));
    // Docker or Convoy made another volume; the list may come after the run's backup of it.
    let another_run = record("run-2", RunStatus::Done);
    store.put_end(&another_run, NOON, &[good("vfs:///b?2", NOON, true), seen(NOON)]);
    assert_eq!(known(), (at(NOON), 1, None));
    // One that is restored under the name.
    let made =
        Observation::VolumeMade { volume: "vol1".into(), restored_from: Some("vfs:///b?2".into()) };
    let later = "2026-11-24T00:00:00Z";
    store.put_end(&run, later, &[made, seen(later)]);
    assert_eq!(known(), (at(later), 0, Some("vfs:///b?2".to_owned())));
}

#[test]
fn many_that_make_the_same_store_at_once_all_write_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::thread::scope(|scope| {
        for number in 0..16 {
            let data = &data;
            scope.spawn(move || {
                let store = Store::new(data);
                store.put(&record(&format!("run-{number}"), RunStatus::Done));
                store.put_end(&record(&format!("run-{number}"), RunStatus::Done), NOON, &[]);
            });
        }
    });
    assert_eq!(Store::new(&data).ids(&Filter::default()).len(), 16);
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let (_folder, store) = store();
    store.put(&record("run-1", RunStatus::Done));
    store.raw().pragma_update(None, "user_version", 99).unwrap();
    store.raw().execute("UPDATE needs SET release = '9.0.0'", []).unwrap();
    let other = Store::new(store.path.parent().unwrap());
    for error in [other.list(&Filter::default()).unwrap_err(), other.mend(at(NOON)).unwrap_err()] {
        assert!(
            error.message.contains("version 99")
                && error.hint.as_ref().unwrap().contains("update this program to 9.0.0"),
            "{error}"
        );
    }
}

#[test]
fn a_folder_in_the_stores_place_is_said() {
    let (_folder, store) = store();
    fs::create_dir_all(&store.path).unwrap();
    for error in [
        store.begin(&record("run-1", RunStatus::Done)).unwrap_err(),
        store.mend(at(NOON)).unwrap_err(),
    ] {
        assert!(error.message.contains("is a folder"), "{error}");
    }
    assert!(store.path.is_dir());
}

#[test]
fn a_data_folder_that_cannot_be_made_is_said() {
    let store = Store::new(Path::new("/proc/no/such/folder"));
    let error = store.begin(&record("run-1", RunStatus::Done)).unwrap_err();
    assert!(
        error
            .message
            .contains("cannot make the store of runs \"/proc/no/such/folder/runs.sqlite\""),
        "{error}"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Store::new(file.path()).begin(&record("run-1", RunStatus::Done)).unwrap_err();
    assert!(error.hint.unwrap().contains("BKUP_DATA_DIR"));
}

#[test]
fn a_store_that_cannot_be_written_has_no_room_or_is_locked_is_said_and_used_again_when_it_can() {
    let (_folder, store) = store();
    store.put(&record("run-1", RunStatus::Done));
    let pragma = |text: &str| {
        let slot = store.open.lock().unwrap();
        slot.as_ref().unwrap().connection.execute_batch(text).unwrap();
    };
    pragma("PRAGMA query_only = 1");
    let error = store.begin(&record("run-2", RunStatus::Done)).unwrap_err();
    assert!(error.message.contains("can't be written"), "{error}");
    store.put(&record("run-2", RunStatus::Done));

    pragma("PRAGMA max_page_count = 1");
    let long = RunRecord { digest: "x".repeat(1 << 20), ..record("run-3", RunStatus::Done) };
    let error = store.begin(&long).unwrap_err();
    assert!(error.message.contains("has no room"), "{error}");
    store.put(&record("run-3", RunStatus::Done));

    let holder = store.raw();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.begin(&record("run-4", RunStatus::Done)).unwrap_err();
    assert!(error.kind == ErrorKind::Busy && error.message.contains("is locked"), "{error}");
    assert_eq!(store.ids(&Filter::default()).len(), 3, "it can be read meanwhile");
    holder.execute_batch("ROLLBACK").unwrap();
    store.put(&record("run-4", RunStatus::Done));
    assert_eq!(store.ids(&Filter::default()).len(), 4);
}

/// Writes the WAL into the store's file: the WAL would cover what a test does to that file.
fn empty_wal(store: &Store) {
    store.raw().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

#[test]
fn a_damaged_store_is_moved_aside_whole_and_never_deleted() {
    let (_folder, store) = store();
    assert_eq!(store.mend(at(NOON)).unwrap(), None);
    assert!(store.exists(), "where there was none, there is one now");
    empty_wal(&store);
    fs::write(&store.path, "no database at all, but long enough to be looked at: ".repeat(100))
        .unwrap();
    let other = Store::new(store.path.parent().unwrap());
    let error = other.list(&Filter::default()).unwrap_err();
    assert!(error.message.contains("is damaged"), "{error}");
    let aside = other.mend(at(NOON)).unwrap().unwrap();
    assert!(aside.to_str().unwrap().ends_with("runs.sqlite.damaged-20261123T120000Z"), "{aside:?}");
    assert!(fs::read_to_string(&aside).unwrap().starts_with("no database"));
    other.put(&record("run-1", RunStatus::Done));
    assert_eq!(other.ids(&Filter::default()), ["run-1"]);
}

#[test]
fn a_store_with_a_page_of_junk_is_found_damaged() {
    let (_folder, store) = store();
    for number in 0..200 {
        store.put(&record(&format!("run-{number:03}"), RunStatus::Done));
    }
    empty_wal(&store);
    let path = store.path.to_owned();
    let store = Store::new(path.parent().unwrap());
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    assert!(store.mend(at(NOON)).unwrap().is_some());
}

#[test]
fn a_store_that_is_moved_away_meanwhile_is_begun_anew() {
    let (folder, store) = store();
    store.put(&record("run-1", RunStatus::Done));
    fs::rename(folder.path().join("data"), folder.path().join("elsewhere")).unwrap();
    store.put(&record("run-2", RunStatus::Done));
    assert_eq!(store.ids(&Filter::default()), ["run-2"]);
    assert_eq!(Store::new(&folder.path().join("elsewhere")).ids(&Filter::default()), ["run-1"]);
}

#[test]
fn a_store_can_be_used_by_many_threads() {
    let (_folder, store) = store();
    let store = Arc::new(store);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let store = &store;
            scope.spawn(move || store.put(&record(&format!("run-{number}"), RunStatus::Done)));
        }
    });
    assert_eq!(store.ids(&Filter::default()).len(), 8);
}
