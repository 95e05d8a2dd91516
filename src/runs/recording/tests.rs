//! A recording, over a real store.

use super::*;
use crate::{
    clock::SystemClock,
    run_words::{RunStatus, Trigger},
    runs::record::{Cancelling, Filter},
};

fn record() -> RunRecord {
    RunRecord::new("run-1".into(), "backup".into(), Trigger::Cli, Timestamp::now())
}

struct Bench {
    _folder: tempfile::TempDir,
    store: Arc<Store>,
    cancellation: CancellationToken,
    recorder: Recorder,
    recording: Recording,
}

fn begin() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::new(&folder.path().join("data")));
    let cancellation = CancellationToken::new();
    // No machine is so slow that a run which only reads is not over at once.
    let read_run_delay = Duration::from_hours(1);
    let recorder = Recorder::new(store.clone(), Arc::new(SystemClock));
    let recorder = Recorder { read_run_delay, ..recorder };
    let recording = recorder.begin(record(), cancellation.clone(), true);
    Bench { _folder: folder, store, cancellation, recorder, recording }
}

/// Waits until the condition holds, and fails the test after a while.
fn until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "it never was so");
        std::thread::yield_now();
    }
}

fn is(store: &Store, status: RunStatus) -> bool {
    store.get("run-1").is_ok_and(|run| run.status == status)
}

fn done() -> RunRecord {
    RunRecord { status: RunStatus::Done, ..record() }
}

#[test]
fn a_run_is_in_the_store_while_it_goes_on_with_what_it_said_so_far() {
    let bench = begin();
    let lines = bench.recording.lines();
    until(|| is(&bench.store, RunStatus::Running));
    lines.line(Timestamp::now(), Level::Info, "convoy_backups::runs", "one\n");
    until(|| !bench.store.lines("run-1", 0, 10).unwrap().is_empty());
    lines.line(Timestamp::now(), Level::Warn, "backup", "two");
    assert!(bench.recording.end(done(), Output::default(), None));
    let kept = bench.store.lines("run-1", 0, 10).unwrap();
    let words: Vec<_> =
        kept.iter().map(|line| (line.number, line.target.as_str(), line.text.as_str())).collect();
    assert_eq!(words, [(1, "runs", "one"), (2, "backup", "two")]);
    assert_eq!(bench.store.get("run-1").unwrap().status, RunStatus::Done);
    lines.line(Timestamp::now(), Level::Info, "late", "nobody hears it");
}

#[test]
fn a_log_without_end_is_cut_and_its_warnings_are_not() {
    let bench = begin();
    let lines = bench.recording.lines();
    for number in 0..10_050 {
        lines.line(Timestamp::now(), Level::Info, "mine", &format!("line {number}"));
    }
    lines.line(Timestamp::now(), Level::Error, "mine", "what went wrong");
    assert!(bench.recording.end(done(), Output::default(), None));
    assert_eq!(bench.store.get("run-1").unwrap().lines_left_out, 50);
    assert_eq!(bench.store.last_lines("run-1", 1).unwrap()[0].text, "what went wrong");
    assert_eq!(bench.store.lines("run-1", 0, 20_000).unwrap().len(), 10_001);
}

#[test]
fn long_lines_are_cut_between_characters_and_all_of_them_together_are_bounded() {
    let bench = begin();
    let lines = bench.recording.lines();
    let long = "é".repeat(20_000);
    for _ in 0..300 {
        lines.line(Timestamp::now(), Level::Info, "mine", &long);
    }
    assert!(bench.recording.end(done(), Output::default(), None));
    let kept = bench.store.lines("run-1", 0, 1_000).unwrap();
    assert!(
        kept.iter().map(|line| line.text.len()).sum::<usize>() <= MAX_BYTES && kept.len() > 200
    );
    assert_eq!(bench.store.get("run-1").unwrap().lines_left_out, 300 - kept.len() as u64);
}

#[test]
fn who_asks_for_the_end_in_the_store_ends_the_run() {
    let bench = begin();
    until(|| is(&bench.store, RunStatus::Running));
    let asked = bench.store.request_cancel("run-1", "ann on host1", Timestamp::now()).unwrap();
    assert_eq!(asked, Cancelling::Asked);
    until(|| bench.cancellation.is_cancelled());
    assert_eq!(bench.recording.cancelled_by(), Some("ann on host1"));
}

#[test]
fn a_run_that_breaks_off_inside_the_program_is_recorded_as_failed() {
    let bench = begin();
    let Bench { recording, store, _folder, recorder: _recorder, .. } = bench;
    drop(recording);
    until(|| is(&store, RunStatus::Failed));
    let run = store.get("run-1").unwrap();
    assert!(run.error.unwrap().to_string().contains("broke off"));
}

#[test]
fn a_store_that_fails_costs_nothing_but_the_record() {
    let store = Arc::new(Store::new(std::path::Path::new("/proc/no/such/folder")));
    let recorder = Recorder::new(store.clone(), Arc::new(SystemClock));
    let recording = recorder.begin(record(), CancellationToken::new(), true);
    recording.lines().line(Timestamp::now(), Level::Info, "mine", "words");
    assert!(!recording.end(done(), Output::default(), None));
    assert!(!store.is_news(false), "it was said already");
    assert!(store.is_news(true) && !store.is_news(true), "that it is well again is said once");
    assert!(store.list(&Filter::default()).is_ok_and(|runs| runs.is_empty()));
}

#[test]
fn a_store_that_comes_back_gets_the_whole_record_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::write(&data, "a file").unwrap();
    let store = Arc::new(Store::new(&data));
    let recorder = Recorder::new(store.clone(), Arc::new(SystemClock));
    let recording = recorder.begin(record(), CancellationToken::new(), true);
    recording.lines().line(Timestamp::now(), Level::Info, "mine", "words");
    std::fs::remove_file(&data).unwrap();
    assert!(recording.end(done(), Output::default(), None));
    assert_eq!(store.get("run-1").unwrap().status, RunStatus::Done);
    assert_eq!(store.lines("run-1", 0, 10).unwrap().len(), 1);
}

#[test]
fn a_run_that_only_reads_and_is_over_at_once_is_written_once() {
    let bench = begin();
    let short = bench.recorder.begin(
        RunRecord { id: "run-2".into(), ..record() },
        CancellationToken::new(),
        false,
    );
    short.lines().line(Timestamp::now(), Level::Info, "mine", "words");
    until(|| is(&bench.store, RunStatus::Running));
    // The lines of another run are written at that time, and the lines of this run are not.
    bench.recording.lines().line(Timestamp::now(), Level::Info, "mine", "words");
    until(|| !bench.store.lines("run-1", 0, 10).unwrap().is_empty());
    assert!(bench.store.lines("run-2", 0, 10).unwrap().is_empty());
    assert!(short.end(RunRecord { id: "run-2".into(), ..done() }, Output::default(), None));
    assert_eq!(
        (
            bench.store.get("run-2").unwrap().status,
            bench.store.lines("run-2", 0, 10).unwrap().len()
        ),
        (RunStatus::Done, 1)
    );
}

#[test]
fn a_run_that_only_reads_and_goes_on_is_written_after_a_while() {
    let bench = begin();
    let recorder = Recorder { read_run_delay: Duration::ZERO, ..bench.recorder };
    let long = RunRecord { id: "run-2".into(), ..record() };
    let _recording = recorder.begin(long, CancellationToken::new(), false);
    until(|| bench.store.get("run-2").is_ok_and(|run| run.status == RunStatus::Running));
}

#[test]
fn a_run_whose_turn_has_come_is_no_longer_shown_as_waiting() {
    let bench = begin();
    let waiting = RunRecord { id: "run-2".into(), status: RunStatus::Waiting, ..record() };
    let recording = bench.recorder.begin(waiting.clone(), CancellationToken::new(), true);
    until(|| bench.store.get("run-2").is_ok_and(|run| run.status == RunStatus::Waiting));
    let started: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    recording.started(RunRecord { status: RunStatus::Running, started, ..waiting });
    until(|| {
        bench
            .store
            .get("run-2")
            .is_ok_and(|run| (run.status, run.started) == (RunStatus::Running, started))
    });
}
