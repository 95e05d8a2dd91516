//! The loop with a clock that is stepped, and a runner that remembers what it is asked.

use std::{collections::BTreeMap, sync::Mutex};

use jiff::tz::TimeZone;
use tokio::sync::Semaphore;

use super::*;
use crate::schedule::{
    board::Missed,
    crontab::{self, testing},
    timer::SteppedTimer,
};

/// Notes what is asked of it; a run lasts until it is let go.
#[derive(Default)]
struct Recorder {
    notes: Mutex<Vec<String>>,
    known: Mutex<BTreeMap<String, Timestamp>>,
    /// `None`: runs end at once. Else each takes a permit to end.
    gate: Option<Semaphore>,
    /// Runs don't end even when they are cancelled.
    stubborn: bool,
}

impl Recorder {
    fn slow() -> Self {
        Self { gate: Some(Semaphore::new(0)), ..Self::default() }
    }

    fn note(&self, text: String) {
        self.notes.lock().unwrap().push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap())
    }
}

#[async_trait]
impl Runner for Recorder {
    async fn run(&self, entry: Arc<Entry>, due: Due, cancellation: CancellationToken) {
        let made_up = if due.made_up { " made up" } else { "" };
        self.note(format!("{} {}{made_up}", entry.script, due.time));
        assert!(entry.script != "volumes", "on purpose");
        let Some(gate) = &self.gate else { return };
        tokio::select! {
            permit = gate.acquire() => permit.unwrap().forget(),
            () = cancellation.cancelled(), if !self.stubborn => self.note(format!("{} cancelled", entry.script)),
        }
    }

    fn missed(&self, entry: &Entry, due: Timestamp, why: Missed) {
        self.note(format!("{} missed {due} {why:?}", entry.script));
    }

    fn last_due(&self, key: &str) -> Option<Timestamp> {
        self.known.lock().unwrap().get(key).copied()
    }

    fn remember_due(&self, entry: &Entry, due: Timestamp) {
        self.known.lock().unwrap().insert(entry.key.clone(), due);
    }

    fn refused(&self, errors: &[Error]) {
        self.note(format!("refused: {}", errors[0]));
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A scheduler that runs, its crontab, and the ways to tell it something.
struct Site {
    timer: Arc<SteppedTimer>,
    runner: Arc<Recorder>,
    text: Arc<Mutex<String>>,
    reload: Arc<Notify>,
    end: CancellationToken,
    view: View,
    task: JoinHandle<Ended>,
}

impl Site {
    fn start(text: &str, now: &str, runner: Arc<Recorder>) -> Self {
        let timer = Arc::new(SteppedTimer::new(at(now), TimeZone::UTC));
        let options = Options { most_at_a_time: 2, grace: Duration::from_secs(30) };
        let scheduler = Scheduler::with_random(
            &testing::crontab(text),
            options,
            timer.clone(),
            runner.clone(),
            Box::new(|longest| longest / 2),
        );
        let (reload, end, view) = (Arc::new(Notify::new()), CancellationToken::new(), scheduler.view());
        let text = Arc::new(Mutex::new(text.to_owned()));
        let source = text.clone();
        let read: Read =
            Arc::new(move || crontab::parse(&source.lock().unwrap(), "crontab", &testing::surroundings(&[])));
        let task = tokio::spawn(scheduler.run(read, reload.clone(), end.clone()));
        Self { timer, runner, text, reload, end, view, task }
    }

    async fn until(&self, time: &str) -> Vec<String> {
        self.timer.go_on_until(at(time)).await;
        self.runner.take()
    }

    /// Has the crontab read again; that is done on another thread, so the test waits for what comes of it.
    async fn write(&self, text: &str, done: impl Fn(&Self) -> bool) {
        text.clone_into(&mut self.text.lock().unwrap());
        self.reload.notify_one();
        while !done(self) {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn weeks_with_a_change_of_the_clocks_run_each_day_once() {
    let text = "CRON_TZ=Europe/Berlin\n30 2 * * * backup\n";
    let site = Site::start(text, "2026-03-20T12:00:00Z", Arc::default());
    let runs = site.until("2026-04-03T12:00:00Z").await;
    assert_eq!(runs.len(), 14);
    assert_eq!(runs[7], "backup 2026-03-28T01:30:00Z");
    assert_eq!(runs[8], "backup 2026-03-29T01:00:00Z", "03:00 by the new time");
    assert_eq!(runs[9], "backup 2026-03-30T00:30:00Z");
}

#[tokio::test]
async fn a_machine_that_slept_makes_up_once() {
    let site = Site::start("0 * * * * snapshot", "2026-11-23T11:30:00Z", Arc::default());
    site.timer.jump(at("2026-11-24T07:20:00Z")).await;
    assert_eq!(
        site.until("2026-11-24T08:30:00Z").await,
        ["snapshot 2026-11-24T07:00:00Z made up", "snapshot 2026-11-24T08:00:00Z"]
    );
}

#[tokio::test]
async fn a_restart_makes_up_for_what_waited_and_not_for_what_ran() {
    let runner = Arc::new(Recorder::default());
    let text = "0 * * * * snapshot\n0 3 * * * backup\n";
    let site = Site::start(text, "2026-11-23T02:30:00Z", runner.clone());
    site.until("2026-11-23T03:10:00Z").await;
    site.end.cancel();
    assert!(site.task.await.unwrap().cut_off.is_empty());
    let site = Site::start(text, "2026-11-23T05:30:00Z", runner);
    assert_eq!(site.until("2026-11-23T05:59:00Z").await, ["snapshot 2026-11-23T05:00:00Z made up"]);
}

#[tokio::test]
async fn a_broken_file_leaves_the_old_one_in_force_and_a_good_one_takes_over() {
    let site = Site::start("0 * * * * snapshot", "2026-11-23T11:30:00Z", Arc::new(Recorder::slow()));
    assert_eq!(site.until("2026-11-23T12:10:00Z").await, ["snapshot 2026-11-23T12:00:00Z"]);
    site.write("61 * * * * snapshot", |site| !site.runner.notes.lock().unwrap().is_empty()).await;
    assert_eq!(site.runner.take(), ["refused: \"61\" is not a minute"]);
    assert_eq!(site.view.entries()[0].next, Some(at("2026-11-23T13:00:00Z")));
    site.write("15 * * * * backup\n0 * * * * snapshot", |site| site.view.entries().len() == 2).await;
    let entries = site.view.entries();
    assert!(!entries[0].running && entries[1].running, "it went on meanwhile");
    assert_eq!(
        site.until("2026-11-23T13:00:00Z").await,
        ["backup 2026-11-23T12:15:00Z", "snapshot missed 2026-11-23T13:00:00Z StillRunning"]
    );
}

#[tokio::test]
async fn the_end_waits_for_what_runs() {
    let runner = Arc::new(Recorder::slow());
    let site = Site::start("0 * * * * snapshot", "2026-11-23T11:30:00Z", runner.clone());
    site.until("2026-11-23T12:00:00Z").await;
    site.end.cancel();
    site.timer.settle().await;
    assert!(!site.task.is_finished());
    runner.gate.as_ref().unwrap().add_permits(1);
    let ended = site.task.await.unwrap();
    assert!(ended.cut_off.is_empty() && runner.take().is_empty());
}

#[tokio::test]
async fn the_end_cuts_off_what_runs_too_long_and_says_what_does_not_end_at_all() {
    for stubborn in [false, true] {
        let runner = Arc::new(Recorder { stubborn, ..Recorder::slow() });
        let site = Site::start("0 * * * * snapshot", "2026-11-23T11:30:00Z", runner.clone());
        site.until("2026-11-23T12:00:00Z").await;
        site.end.cancel();
        site.timer.go_on_until(at("2026-11-23T12:00:29Z")).await;
        assert!(runner.take().is_empty(), "the grace time is not over");
        site.timer.go_on_until(at("2026-11-23T12:00:30Z")).await;
        assert_eq!(runner.take().len(), usize::from(!stubborn));
        site.timer.go_on_until(at("2026-11-23T12:00:40Z")).await;
        let ended = site.task.await.unwrap();
        assert_eq!((ended.cut_off.len(), ended.left_behind.len()), (1, usize::from(stubborn)));
    }
}

#[tokio::test]
async fn a_run_that_panics_frees_its_entry() {
    let site = Site::start("0 * * * * volumes", "2026-11-23T11:30:00Z", Arc::default());
    assert_eq!(site.until("2026-11-23T13:10:00Z").await.len(), 2);
}

#[tokio::test]
async fn by_the_systems_clock_a_script_starts_within_50_ms_of_its_time_among_a_thousand_entries() {
    struct Late(tokio::sync::mpsc::UnboundedSender<jiff::SignedDuration>);
    #[async_trait]
    impl Runner for Late {
        async fn run(&self, _: Arc<Entry>, due: Due, _: CancellationToken) {
            let _ = self.0.send(Timestamp::now().duration_since(due.time));
        }
        fn missed(&self, _: &Entry, _: Timestamp, _: Missed) {}
        fn last_due(&self, _: &str) -> Option<Timestamp> {
            None
        }
        fn remember_due(&self, _: &Entry, _: Timestamp) {}
    }
    // By a shifted clock the next minute begins soon, so that the test does not wait for it.
    #[derive(Debug)]
    struct Shifted(jiff::SignedDuration);
    impl crate::clock::Clock for Shifted {
        fn now(&self) -> Timestamp {
            Timestamp::now() + self.0
        }
        fn time_zone(&self) -> TimeZone {
            TimeZone::UTC
        }
    }
    #[async_trait]
    impl Timer for Shifted {
        async fn sleep_until(&self, time: Timestamp) {
            crate::clock::SystemClock.sleep_until(time - self.0).await;
        }
    }
    let text: String = (1..1_000).map(|n| format!("{} {} * * * backup --volume vol{n}\n", n % 60, n % 24)).collect();
    let crontab = testing::crontab(&format!("{text}0 12 * * * snapshot\n"));
    let mut late = Vec::new();
    // A machine that is busy with other tests may be late for once.
    for _ in 0..5 {
        let shift = at("2026-11-23T11:59:59.6Z").duration_since(Timestamp::now());
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let options = Options { most_at_a_time: 100, grace: Duration::ZERO };
        let scheduler = Scheduler::new(&crontab, options, Arc::new(Shifted(shift)), Arc::new(Late(sender)));
        let end = CancellationToken::new();
        let read: Read = Arc::new(|| unreachable!("nothing asks for it"));
        let task = tokio::spawn(scheduler.run(read, Arc::default(), end.clone()));
        late.push(receiver.recv().await.unwrap() + shift);
        end.cancel();
        task.await.unwrap();
        if late.last().is_some_and(|late| *late < jiff::SignedDuration::from_millis(50)) {
            return;
        }
    }
    panic!("too late: {late:?}");
}
