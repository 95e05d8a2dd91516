//! The loop with a stepped clock, and a runner that notes its calls.

use std::sync::Mutex;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use tokio::sync::Semaphore;

use super::*;
use crate::{
    error::{Error, ErrorKind},
    runs::EntryTimes,
    schedule::{
        crontab::{self, testing},
        runner::{RecordBegin, StartedRun},
        timer::SteppedTimer,
    },
};

/// A runner that notes its calls.
#[derive(Default)]
struct Recorder {
    notes: Mutex<Vec<String>>,
    known: Mutex<HashMap<String, EntryTimes>>,
    /// `None`: runs end at once. Else each run needs a permit to end.
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
    async fn run(
        &self,
        entry: Arc<CrontabEntry>,
        due: Due,
        begins: RecordBegin,
        mut reply: StartReply,
        cancellation: CancellationToken,
    ) -> RunEnd {
        reply.send(Ok(StartedRun { run: entry.script.clone(), is_waiting: false }));
        begins.await;
        let before = match due.before {
            Before::Nothing => "",
            Before::Missed => " made up",
            Before::CutOff => " again",
            Before::NotDue => " by hand",
        };
        self.note(format!("{} {}{before}", entry.script, due.time));
        assert!(entry.script != "volumes", "on purpose");
        let Some(gate) = &self.gate else { return RunEnd::Ended };
        tokio::select! {
            permit = gate.acquire() => {
                permit.unwrap().forget();
                RunEnd::Ended
            }
            () = cancellation.cancelled(), if !self.stubborn => {
                self.note(format!("{} cancelled", entry.script));
                RunEnd::CutOff
            }
        }
    }

    fn missed(&self, missed: &[MissedTick]) {
        missed.iter().for_each(|MissedTick { entry, due, why }| {
            self.note(format!("{} missed {due} {why:?}", entry.script))
        });
    }

    fn remembered(&self) -> HashMap<String, EntryTimes> {
        self.known.lock().unwrap().clone()
    }

    fn remember(&self, events: &[(Arc<CrontabEntry>, EntryEvent)]) -> bool {
        let mut known = self.known.lock().unwrap();
        for (entry, event) in events {
            let past = known
                .entry(entry.key.clone())
                .or_insert(EntryTimes { due: Timestamp::MIN, begun: None });
            match event {
                EntryEvent::DealtWith(due) => past.due = *due,
                EntryEvent::Begun(run) => {
                    *past = EntryTimes { due: run.due, begun: Some(*run) };
                }
                EntryEvent::Ended => past.begun = None,
            }
        }
        true
    }

    fn refused(&self, errors: &[Error]) {
        self.note(format!("refused: {}", errors[0]));
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A running scheduler with its crontab, and the ways to control it.
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
        // The stepped clock does not wait for other threads.
        let scheduler = Scheduler::with(
            &testing::crontab(text),
            options,
            timer.clone(),
            runner.clone(),
            ScheduleWriter::at_once(runner.clone()),
            Box::new(|longest| longest / 2),
        );
        let (reload, end, view) =
            (Arc::new(Notify::new()), CancellationToken::new(), scheduler.view());
        let text = Arc::new(Mutex::new(text.to_owned()));
        let source = text.clone();
        let read: Read = Arc::new(move || {
            crontab::parse(&source.lock().unwrap(), "crontab", &testing::surroundings(&[]))
        });
        let task = tokio::spawn(scheduler.run(read, reload.clone(), end.clone()));
        Self { timer, runner, text, reload, end, view, task }
    }

    async fn until(&self, time: &str) -> Vec<String> {
        self.timer.go_on_until(at(time)).await;
        self.runner.take()
    }

    /// Has the crontab read again. Another thread reads it, so the test waits until `done`.
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
    let site =
        Site::start("0 * * * * snapshot", "2026-11-23T11:30:00Z", Arc::new(Recorder::slow()));
    assert_eq!(site.until("2026-11-23T12:10:00Z").await, ["snapshot 2026-11-23T12:00:00Z"]);
    site.write("61 * * * * snapshot", |site| !site.runner.notes.lock().unwrap().is_empty()).await;
    assert_eq!(site.runner.take(), ["refused: \"61\" is not a minute"]);
    assert_eq!(site.view.entries()[0].next, Some(at("2026-11-23T13:00:00Z")));
    site.write("15 * * * * backup\n0 * * * * snapshot", |site| site.view.entries().len() == 2)
        .await;
    let entries = site.view.entries();
    assert!(!entries[0].running && entries[1].running, "it went on meanwhile");
    assert_eq!(
        site.until("2026-11-23T13:00:00Z").await,
        ["backup 2026-11-23T12:15:00Z", "snapshot missed 2026-11-23T13:00:00Z StillRunning"]
    );
}

#[tokio::test]
async fn whoever_wants_an_entry_now_is_told_its_run_or_why_there_is_none() {
    let runner = Arc::new(Recorder::slow());
    let site =
        Site::start("0 * * * * snapshot\n0 3 * * * backup", "2026-11-23T11:30:00Z", runner.clone());
    let keys: Vec<String> =
        site.view.entries().iter().map(|shown| shown.entry.key.clone()).collect();
    let started = site.view.run_now(&keys[0]).await.unwrap().unwrap();
    assert_eq!(started, StartedRun { run: "snapshot".into(), is_waiting: false });
    assert_eq!(site.view.run_now(&keys[0]).await.unwrap_err().kind, ErrorKind::Busy);
    assert_eq!(site.view.run_now("none").await.unwrap(), None);
    assert_eq!(site.until("2026-11-23T11:30:01Z").await, ["snapshot 2026-11-23T11:30:00Z by hand"]);
    site.end.cancel();
    // It may still be wanted before the loop has seen the end, and is not started any more.
    assert_eq!(site.view.run_now(&keys[1]).await.unwrap_err().kind, ErrorKind::Cancelled);
    runner.gate.as_ref().unwrap().add_permits(1);
    let ended = site.task.await.unwrap();
    assert!(ended.cut_off.is_empty() && runner.take().is_empty(), "{ended:?}");
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
async fn a_run_that_was_cut_off_is_made_up_for_once_at_the_next_start() {
    let runner = Arc::new(Recorder::slow());
    let text = "0 12 * * * backup\n0 12 * * * @catchup=off snapshot\n";
    let cut_off_at = async |time: &str, site: Site| {
        site.end.cancel();
        site.timer.go_on_until(at(time)).await;
        assert!(!site.task.await.unwrap().cut_off.is_empty());
        site.runner.take();
    };
    let site = Site::start(text, "2026-11-23T11:30:00Z", runner.clone());
    assert_eq!(site.until("2026-11-23T12:00:00Z").await.len(), 2);
    cut_off_at("2026-11-23T12:01:00Z", site).await;
    let site = Site::start(text, "2026-11-23T12:05:00Z", runner.clone());
    assert_eq!(site.until("2026-11-23T12:10:00Z").await, ["backup 2026-11-23T12:00:00Z again"]);
    cut_off_at("2026-11-23T12:11:00Z", site).await;
    let site = Site::start(text, "2026-11-23T12:15:00Z", runner.clone());
    assert!(
        site.until("2026-11-23T12:20:00Z").await.is_empty(),
        "it would go on like that for ever"
    );
    assert_eq!(site.until("2026-11-24T12:00:00Z").await.len(), 2, "the next one is another one");
    cut_off_at("2026-11-24T12:01:00Z", site).await;
    let site = Site::start(text, "2026-11-25T13:00:00Z", runner);
    assert_eq!(
        site.until("2026-11-25T13:10:00Z").await,
        ["snapshot missed 2026-11-25T12:00:00Z Down", "backup 2026-11-25T12:00:00Z made up"],
        "what was missed since stands for both"
    );
}

#[tokio::test]
async fn a_second_try_that_comes_to_its_end_is_the_last() {
    let runner = Arc::new(Recorder::slow());
    let site = Site::start("0 12 * * * backup", "2026-11-23T11:30:00Z", runner.clone());
    site.until("2026-11-23T12:00:00Z").await;
    // As after kill -9: the memory is as it was in the middle of the run.
    let runner = Arc::new(Recorder { known: Mutex::new(runner.remembered()), ..Recorder::slow() });
    let site = Site::start("0 12 * * * backup", "2026-11-23T12:05:00Z", runner.clone());
    assert_eq!(site.until("2026-11-23T12:10:00Z").await, ["backup 2026-11-23T12:00:00Z again"]);
    runner.gate.as_ref().unwrap().add_permits(1);
    site.end.cancel();
    assert!(site.task.await.unwrap().cut_off.is_empty());
    let site = Site::start("0 12 * * * backup", "2026-11-23T12:15:00Z", runner);
    assert!(site.until("2026-11-23T12:20:00Z").await.is_empty());
}

/// A store that hangs until it is let go, and notes each call.
#[derive(Default)]
struct Hanging {
    notes: Mutex<Vec<String>>,
    free: (Mutex<bool>, std::sync::Condvar),
    /// The first events can't be remembered.
    is_full: Mutex<bool>,
}

impl Hanging {
    fn note(&self, text: String) {
        drop(self.free.1.wait_while(self.free.0.lock().unwrap(), |free| !*free));
        self.notes.lock().unwrap().push(text);
    }

    fn let_go(&self) {
        *self.free.0.lock().unwrap() = true;
        self.free.1.notify_all();
    }
}

#[async_trait]
impl Runner for Hanging {
    async fn run(
        &self,
        entry: Arc<CrontabEntry>,
        due: Due,
        begins: RecordBegin,
        _: StartReply,
        _: CancellationToken,
    ) -> RunEnd {
        begins.await;
        self.notes.lock().unwrap().push(format!("{} {}", entry.script, due.time));
        RunEnd::Ended
    }
    fn missed(&self, missed: &[MissedTick]) {
        self.note(format!("{} missed", missed.len()));
    }
    fn remembered(&self) -> HashMap<String, EntryTimes> {
        HashMap::new()
    }
    fn remember(&self, events: &[(Arc<CrontabEntry>, EntryEvent)]) -> bool {
        self.note(format!(
            "{} remembered, {} begin",
            events.len(),
            events.iter().filter(|(_, event)| matches!(event, EntryEvent::Begun(_))).count()
        ));
        !std::mem::take(&mut *self.is_full.lock().unwrap())
    }
}

#[tokio::test]
async fn ticks_wait_for_no_store_and_a_run_begins_when_its_time_is_remembered() {
    let timer = Arc::new(SteppedTimer::new(at("2026-11-23T11:30:00Z"), TimeZone::UTC));
    let (runner, end) = (Arc::new(Hanging::default()), CancellationToken::new());
    let options = Options { most_at_a_time: 2, grace: Duration::from_secs(30) };
    let crontab =
        testing::crontab("0 * * * * snapshot\n0 * * * * backup\n30 * * * * prune --keep-last 1\n");
    let scheduler = Scheduler::new(&crontab, options, timer.clone(), runner.clone());
    let view = scheduler.view();
    let task = tokio::spawn(scheduler.run(
        Arc::new(|| unreachable!("nothing asks for it")),
        Arc::default(),
        end.clone(),
    ));
    timer.go_on_until(at("2026-11-23T13:00:00Z")).await;
    let entries = view.entries();
    assert!(
        entries[0].running && entries[0].missed == 1 && entries[2].waiting,
        "the loop goes on: {entries:?}"
    );
    assert!(runner.notes.lock().unwrap().is_empty(), "no run began");
    runner.let_go();
    end.cancel();
    task.await.unwrap();
    let notes = runner.notes.lock().unwrap();
    // The thread may take any number at a time, but must lose none.
    let counts =
        notes.iter().filter_map(|note| note.split_once(" remembered")?.0.parse::<usize>().ok());
    let counts: Vec<usize> = counts.collect();
    assert!(counts.iter().sum::<usize>() == 9 && counts.len() < 9, "in batches: {notes:?}");
    let remembered = notes.iter().position(|note| note.ends_with("2 begin"));
    let began = notes.iter().position(|note| note == "backup 2026-11-23T12:00:00Z");
    assert!(remembered.unwrap() < began.unwrap(), "{notes:?}");
    assert!(
        notes.contains(&"2 missed".to_owned()),
        "what was taken is written down at the end: {notes:?}"
    );
    assert!(notes.last().unwrap().ends_with("remembered, 0 begin"), "{notes:?}");
}

#[tokio::test]
async fn what_cannot_be_remembered_is_tried_again_and_keeps_no_run_from_its_beginning() {
    let runner = Arc::new(Hanging { is_full: Mutex::new(true), ..Hanging::default() });
    runner.let_go();
    let writer = ScheduleWriter::start(runner.clone());
    let entry = testing::crontab("0 * * * * backup").entries[0].clone();
    writer
        .begins(entry.clone(), Due { time: at("2026-11-23T12:00:00Z"), before: Before::Nothing })
        .await;
    writer.remember(vec![(entry, EntryEvent::Ended)]);
    writer.end().await;
    assert_eq!(*runner.notes.lock().unwrap(), ["1 remembered, 1 begin", "2 remembered, 1 begin"]);
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
        async fn run(
            &self,
            _: Arc<CrontabEntry>,
            due: Due,
            begins: RecordBegin,
            _: StartReply,
            _: CancellationToken,
        ) -> RunEnd {
            begins.await;
            let _ = self.0.send(Timestamp::now().duration_since(due.time));
            RunEnd::Ended
        }
        fn missed(&self, _: &[MissedTick]) {}
        fn remembered(&self) -> HashMap<String, EntryTimes> {
            HashMap::new()
        }
        fn remember(&self, _: &[(Arc<CrontabEntry>, EntryEvent)]) -> bool {
            true
        }
    }
    // The clock is shifted so that the next minute begins soon, and the test does not wait for it.
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
    let text: String = (1..1_000)
        .map(|n| format!("{} {} * * * backup --volume vol{n}\n", n % 60, n % 24))
        .collect();
    let crontab = testing::crontab(&format!("{text}0 12 * * * snapshot\n"));
    let mut late = Vec::new();
    // A machine that is busy with other tests may be late once.
    for _ in 0..5 {
        let shift = at("2026-11-23T11:59:59.6Z").duration_since(Timestamp::now());
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let options = Options { most_at_a_time: 100, grace: Duration::ZERO };
        let scheduler =
            Scheduler::new(&crontab, options, Arc::new(Shifted(shift)), Arc::new(Late(sender)));
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
