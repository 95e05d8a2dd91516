//! The entry point, over a daemon in memory and a real store.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};
use tokio_util::sync::CancellationToken;

use super::{
    record::{Filter, RunRecord},
    *,
};
use crate::{
    clock::FixedClock,
    convoy::{
        Daemon as _, Destination,
        guards::Observation,
        memory::{Fault, MemoryDaemon},
        memory_look::MemoryLook,
    },
    run_words::{RunStatus, Trigger},
    script::{self, Settings, testing},
};

struct Bench {
    _folder: tempfile::TempDir,
    daemon: Arc<MemoryDaemon>,
    environment: RunEnvironment,
    store: Arc<Store>,
}

fn bench(volumes: &[&str]) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Arc::new(MemoryDaemon::with_volumes(volumes));
    let store = Arc::new(Store::new(folder.path()));
    let settings = Settings {
        destination: Some(Destination::parse("vfs:///backups").unwrap()),
        ..Settings::default()
    };
    let environment = RunEnvironment {
        data_look: Arc::new(MemoryLook::default()),
        daemon: daemon.clone(),
        lock_folder: folder.path().join("locks"),
        lock_wait: Duration::ZERO,
        clock: Arc::new(FixedClock::new("2026-11-23T12:00:00Z".parse().unwrap(), TimeZone::UTC)),
        settings: Arc::new(settings),
        listener: Arc::new(script::Silent),
        message_sink: Arc::new(script::NotifyLog),
        recorder: Some(Arc::new(Recorder::new(store.clone(), Arc::new(crate::clock::SystemClock)))),
        worked_with_volumes: None,
        queue: None,
        read_queue: None,
        ending: CancellationToken::new(),
    };
    Bench { _folder: folder, daemon, environment, store }
}

fn request(text: &str) -> RunRequest {
    let script = testing::script(text).unwrap();
    let arguments = testing::given(&script, "").unwrap();
    let entry = Some(Entry { key: "daily".into(), line: 4 });
    RunRequest {
        script,
        arguments,
        trigger: Trigger::Cron,
        entry,
        dry_run: false,
        timeout: Duration::from_secs(60),
    }
}

impl Bench {
    async fn run(&self, request: RunRequest) -> (FinishedRun, RunRecord) {
        let finished = run(&self.environment, request, CancellationToken::new()).await;
        assert!(finished.recorded);
        let record = self.store.get(&finished.id).unwrap();
        (finished, record)
    }
}

#[tokio::test]
async fn a_run_is_remembered_with_what_it_returned_and_what_it_did() {
    let bench = bench(&["vol1", "vol2"]);
    let text = "fn main(args) { convoy::create_backup(convoy::create_snapshot(\"vol1\").Name); run::failed(\"vol2\", \"no\"); #{ a: 1 } }";
    let (finished, record) = bench.run(request(text)).await;
    assert_eq!((record.status, record.status), (RunStatus::Partial, finished.status));
    assert_eq!(
        (record.script.as_str(), record.trigger, record.entry.unwrap().line),
        ("test", Trigger::Cron, 4)
    );
    assert_eq!(record.digest.len(), 64);
    assert_eq!((record.volumes_done, record.failures.len()), (vec!["vol1".to_owned()], 1));
    assert_eq!(
        bench.store.output(&finished.id).unwrap().result.unwrap(),
        serde_json::json!({ "a": 1 })
    );
    let known = bench.store.volumes().unwrap().remove(0);
    assert_eq!((known.name.as_str(), known.good_backups.len()), ("vol1", 1));
    assert_eq!(known.good_backups[0].run, finished.id);
}

#[tokio::test]
async fn what_the_guards_saw_is_kept_whatever_the_script_says_of_it() {
    let bench = bench(&["vol1"]);
    let text = "fn main(args) { convoy::create_backup(convoy::create_snapshot(\"vol1\").Name); throw \"and then it broke\" }";
    let (finished, record) = bench.run(request(text)).await;
    assert_eq!(finished.status, RunStatus::Failed);
    let error = record.error.unwrap();
    assert_eq!(error["location"]["line"], 1, "{error}");
    assert_eq!(bench.store.volumes().unwrap()[0].good_backups.len(), 1);

    // A backup that is not proven good does not count, whatever the script returns.
    bench.daemon.fault("create_backup", Fault::AnswersSuccessOnly);
    let text = "fn main(args) { try { convoy::create_backup(convoy::create_snapshot(\"vol1\").Name); } catch { } [#{ URL: \"vfs:///b\" }] }";
    let (finished, _) = bench.run(request(text)).await;
    assert_eq!(finished.status, RunStatus::Done);
    assert_eq!(bench.store.volumes().unwrap()[0].good_backups.len(), 1);
}

/// Another run makes "vol1" when a script says that it is gone.
struct AnotherRunMakesIt {
    store: Arc<Store>,
    daemon: String,
}

impl script::Listener for AnotherRunMakesIt {
    fn progress(&self, _text: &str) {
        let made = Observation::VolumeMade { volume: "vol1".into(), restored_from: None };
        let now = "2026-11-23T13:00:00Z".parse().unwrap();
        self.store.deleted(&self.daemon, &[made], "another-run", now).unwrap();
    }
}

#[tokio::test]
async fn the_end_of_a_run_removes_no_volume_that_was_made_after_the_runs_removal() {
    let mut bench = bench(&["vol1"]);
    let (store, daemon) = (bench.store.clone(), bench.daemon.identity());
    bench.environment.listener = Arc::new(AnotherRunMakesIt { store, daemon });
    let text = "const DOES = [\"delete\"];\nfn main(args) { convoy::volumes(); convoy::delete_volume(\"vol1\", #{ without_backup: true }); run::progress(\"gone\"); }";
    let (finished, record) = bench.run(request(text)).await;
    assert_eq!(finished.status, RunStatus::Done, "{record:?}");
    let deleted = bench.store.output(&finished.id).unwrap().deleted;
    assert_eq!(deleted.len(), 1);
    let known = bench.store.volumes().unwrap().remove(0);
    let made: Timestamp = "2026-11-23T13:00:00Z".parse().unwrap();
    assert_eq!((known.removed, known.first_seen), (None, made));
}

#[tokio::test]
async fn a_dry_run_teaches_nothing_about_volumes() {
    let bench = bench(&["vol1"]);
    let text = "fn main(args) { convoy::create_backup(convoy::create_snapshot(\"vol1\").Name); }";
    let (finished, record) = bench.run(RunRequest { dry_run: true, ..request(text) }).await;
    assert!(record.dry_run && record.volumes_done.is_empty());
    assert!(bench.store.volumes().unwrap().is_empty());
    let plan = bench.store.output(&finished.id).unwrap().plan.unwrap();
    assert_eq!(plan.as_array().unwrap().len(), 2, "{plan}");
}

#[tokio::test]
async fn a_run_that_is_cancelled_or_out_of_time_is_remembered_so() {
    let bench = bench(&[]);
    let forever = "fn main(args) { while true { time::sleep(\"1h\"); } }";
    let late = RunRequest { timeout: Duration::ZERO, ..request(forever) };
    assert_eq!(bench.run(late).await.1.status, RunStatus::TimedOut);
    let token = CancellationToken::new();
    token.cancel();
    let finished = run(&bench.environment, request(forever), token).await;
    assert_eq!(bench.store.get(&finished.id).unwrap().status, RunStatus::Cancelled);
}

#[tokio::test]
async fn a_run_that_is_cut_off_with_the_program_is_interrupted_and_not_cancelled() {
    let bench = bench(&[]);
    let token = CancellationToken::new();
    token.cancel();
    bench.environment.ending.cancel();
    let finished = run(&bench.environment, request("fn main(args) { sleep(3600); }"), token).await;
    assert_eq!(finished.status, RunStatus::Interrupted);
    assert_eq!(finished.result.unwrap_err().to_string(), "serve was ended");
    let record = bench.store.get(&finished.id).unwrap();
    assert_eq!(
        (record.status, record.reason.as_deref()),
        (RunStatus::Interrupted, Some("serve was ended"))
    );
    assert!(record.took.is_some() && record.ended.is_some());
    let well = bench.run(request("fn main(args) { 7 }")).await.1;
    assert_eq!(
        (well.status, well.reason),
        (RunStatus::Done, None),
        "one that comes to its end meanwhile is done"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_nobody_waits_for_any_more_is_remembered_all_the_same() {
    let bench = bench(&["vol1"]);
    let mut running = Box::pin(run(
        &bench.environment,
        request("fn main(args) { convoy::volumes(); 7 }"),
        CancellationToken::new(),
    ));
    let polled = std::future::poll_fn(|context| {
        std::task::Poll::Ready(running.as_mut().poll(context).is_ready())
    });
    let _ = polled.await;
    drop(running);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        let runs = bench
            .store
            .list(&Filter { status: Some(RunStatus::Done), ..Filter::default() })
            .unwrap();
        if let Some(done) = runs.first() {
            assert_eq!(bench.store.output(&done.id).unwrap().result, Some(serde_json::json!(7)));
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it is not remembered as done");
}

#[tokio::test]
async fn a_store_that_cannot_be_used_stops_no_run() {
    let bench = bench(&["vol1"]);
    let nowhere = Arc::new(Store::new(std::path::Path::new("/proc/no/such")));
    let environment = RunEnvironment {
        recorder: Some(Arc::new(Recorder::new(nowhere, Arc::new(crate::clock::SystemClock)))),
        worked_with_volumes: None,
        ..bench.environment
    };
    let text = "fn main(args) { convoy::create_backup(convoy::create_snapshot(\"vol1\").Name); }";
    let finished = run(&environment, request(text), CancellationToken::new()).await;
    assert_eq!((finished.status, finished.recorded), (RunStatus::Done, false));
    assert_eq!(bench.daemon.backup_names().len(), 1);
}

#[tokio::test]
async fn of_a_long_list_only_that_it_was_too_long_is_kept() {
    let bench = bench(&["vol1"]);
    let text = "const READ_ONLY = true;\nfn main(args) { let a = []; for i in 0..COUNT { a.push(\"0123456789\"); } a }";
    for (count, is_kept) in [("100", true), ("2000", false)] {
        let (finished, _) = bench.run(request(&text.replace("COUNT", count))).await;
        assert!(finished.result.unwrap().as_array().unwrap().len() >= 100, "who asked has it");
        let kept = bench.store.output(&finished.id).unwrap().result.unwrap();
        assert_eq!(kept.get("NotKept").is_none(), is_kept, "{count}");
    }
}
