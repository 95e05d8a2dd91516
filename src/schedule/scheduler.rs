//! The loop that starts due entries: it waits for the next moment at which there is something to
//! do, and does it.
//!
//! The `board` decides what to do. This module does the work that needs a runtime: waiting,
//! running, reading the crontab again, and ending.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, mpsc},
    task::{Id, JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    board::Board,
    crontab::{Checked, Crontab, CrontabEntry},
    due::{Action, Before, Due},
    runner::{MissedTick, RunEnd, Runner, StartReply},
    timer::Timer,
    view::{ManualRun, View},
    writer::ScheduleWriter,
};
use crate::{diagnostic::in_one_line, error::Result, runs::EntryEvent, sync::lock};

/// How long cancelled runs may take to end.
const CANCELLED_RUN_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of the loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// How many entries may run at a time; at least 1.
    pub(crate) most_at_a_time: usize,
    /// How long running scripts may go on after the program was told to end.
    pub(crate) grace: Duration,
}

/// How the loop ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Runs that were cancelled because they went on after the grace time.
    pub(crate) cut_off: Vec<(Arc<CrontabEntry>, Due)>,
    /// The cancelled runs that did not end in [`CANCELLED_RUN_TIMEOUT`].
    pub(crate) left_behind: Vec<(Arc<CrontabEntry>, Due)>,
}

/// The scheduler. [`Scheduler::run`] is its loop.
pub(crate) struct Scheduler {
    board: Arc<Mutex<Board>>,
    timer: Arc<dyn Timer>,
    runner: Arc<dyn Runner>,
    writer: ScheduleWriter,
    grace: Duration,
    running: JoinSet<RunEnd>,
    /// Wakes the loop after a [`View`] has changed the board.
    wake: Arc<Notify>,
    /// The entry of each task, and the token that ends its run.
    tasks: HashMap<Id, (Arc<CrontabEntry>, CancellationToken)>,
    manual_runs: mpsc::UnboundedReceiver<ManualRun>,
    /// The sender that [`View`]s get.
    manual_run_sender: mpsc::UnboundedSender<ManualRun>,
}

/// Reads and checks the crontab in force. It may block.
pub(crate) type Read = Arc<dyn Fn() -> Checked + Send + Sync>;

impl Scheduler {
    /// A scheduler that follows this crontab. Missed ticks are made up for once it runs. This
    /// blocks while it reads what is remembered of the entries.
    pub(crate) fn new(
        crontab: &Crontab,
        options: Options,
        timer: Arc<dyn Timer>,
        runner: Arc<dyn Runner>,
    ) -> Self {
        let writer = ScheduleWriter::start(runner.clone());
        Self::with(crontab, options, timer, runner, writer, Box::new(random))
    }

    fn with(
        crontab: &Crontab,
        options: Options,
        timer: Arc<dyn Timer>,
        runner: Arc<dyn Runner>,
        writer: ScheduleWriter,
        random: super::board::Random,
    ) -> Self {
        let now = timer.now();
        let mut board = Board::new(options.most_at_a_time, now, random, runner.paused());
        let remembered = runner.remembered();
        let actions = board.follow(crontab, now, Some(&|key| remembered.get(key).copied()));
        let board = Arc::new(Mutex::new(board));
        let (manual_run_sender, manual_runs) = mpsc::unbounded_channel();
        let mut scheduler = Self {
            board,
            timer,
            runner,
            writer,
            grace: options.grace,
            running: JoinSet::new(),
            wake: Arc::default(),
            tasks: HashMap::new(),
            manual_runs,
            manual_run_sender,
        };
        // These actions start no run: a run that makes up for another waits for its delay.
        scheduler.act(actions);
        scheduler
    }

    /// A view of the scheduler, which stays current while the loop runs.
    pub(crate) fn view(&self) -> View {
        View {
            board: self.board.clone(),
            timer: self.timer.clone(),
            writer: self.writer.clone(),
            wake: self.wake.clone(),
            manual_runs: self.manual_run_sender.clone(),
        }
    }

    /// Starts due entries until `end` is cancelled. On `reload`, the crontab is read again, and
    /// ticks go on while it is read.
    pub(crate) async fn run(
        mut self,
        read: Read,
        reload: Arc<Notify>,
        end: CancellationToken,
    ) -> Ended {
        let mut reading: Option<JoinHandle<Checked>> = None;
        let mut read_again = false;
        while !end.is_cancelled() {
            let actions = lock(&self.board).advance(self.timer.now());
            self.act(actions);
            let wake = lock(&self.board).wake().unwrap_or(Timestamp::MAX);
            tokio::select! {
                biased;
                () = end.cancelled() => {}
                () = self.timer.sleep_until(wake) => {}
                () = self.wake.notified() => {}
                Some(ManualRun { entry, due, reply }) = self.manual_runs.recv() => self.start(entry, due, reply),
                Some(done) = self.running.join_next_with_id() => self.finished(done),
                checked = done(&mut reading) => {
                    reading = None;
                    match checked {
                        Ok(checked) => self.follow(checked),
                        Err(panic) => log::error!("the crontab could not be read: {panic}"),
                    }
                    if std::mem::take(&mut read_again) {
                        reload.notify_one();
                    }
                }
                () = reload.notified() => match reading {
                    // The current read may have begun before the change.
                    Some(_) => read_again = true,
                    None => {
                        let read = read.clone();
                        reading = Some(tokio::task::spawn_blocking(move || read()));
                    }
                },
            }
        }
        self.end().await
    }

    fn act(&mut self, actions: Vec<Action>) {
        let (mut events, mut missed) = (Vec::new(), Vec::new());
        for action in actions {
            match action {
                Action::Start(entry, due) => self.start(entry, due, StartReply::default()),
                Action::Missed(entry, due, why) => {
                    log::warn!(
                        "line {}: \"{}\" missed its time {due}: {why}",
                        entry.line,
                        entry.script
                    );
                    missed.push(MissedTick { entry, due, why });
                }
                Action::GiveUp(entry, due, why) => {
                    let (line, script) = (entry.line, &entry.script);
                    log::warn!(
                        "line {line}: \"{script}\" of {due} was cut off and is not made up for: {why}"
                    );
                    events.push((entry, EntryEvent::Ended));
                }
                Action::Remember(entry, due) => events.push((entry, EntryEvent::DealtWith(due))),
            }
        }
        self.writer.missed(missed);
        self.writer.remember(events);
    }

    fn start(&mut self, entry: Arc<CrontabEntry>, due: Due, reply: StartReply) {
        let what = match due.before {
            Before::Nothing | Before::NotDue => None,
            Before::Missed => Some("missed"),
            Before::CutOff => Some("cut off"),
        };
        if let Some(what) = what {
            log::info!(
                "line {}: \"{}\" makes up for {}, which was {what}",
                entry.line,
                entry.script,
                due.time
            );
        }
        let (runner, writer, cancellation) =
            (self.runner.clone(), self.writer.clone(), CancellationToken::new());
        let (run_entry, token) = (entry.clone(), cancellation.clone());
        let task = self.running.spawn(async move {
            // The beginning is recorded before the script does anything. So a run that a crash cuts
            // off is made up for, but only once.
            let begins_entry = run_entry.clone();
            let begins = Box::pin(async move { writer.begins(begins_entry, due).await });
            runner.run(run_entry, due, begins, reply, token).await
        });
        self.tasks.insert(task.id(), (entry, cancellation));
    }

    fn finished(&mut self, done: Result<(Id, RunEnd), tokio::task::JoinError>) {
        let id = match &done {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some((entry, _)) = self.tasks.remove(&id) else { return };
        if let Err(panic) = &done {
            log::error!("line {}: the run of \"{}\" broke off: {panic}", entry.line, entry.script);
        }
        if !matches!(done, Ok((_, RunEnd::CutOff))) {
            self.writer.remember(vec![(entry.clone(), EntryEvent::Ended)]);
        }
        let actions = lock(&self.board).finished(&entry.key);
        self.act(actions);
    }

    fn follow(&mut self, checked: Checked) {
        match checked.accept() {
            Ok((crontab, warnings)) => {
                warnings.iter().for_each(|warning| log::warn!("{}", in_one_line(warning)));
                let entries = crate::text::counted(crontab.entries.len(), "entry", "entries");
                log::info!("following \"{}\" as it is now: {entries}", crontab.file);
                let actions = lock(&self.board).follow(&crontab, self.timer.now(), None);
                self.act(actions);
                self.writer.followed(crontab);
            }
            Err(errors) => {
                errors.iter().for_each(|error| log::error!("{}", in_one_line(error)));
                let count = crate::text::counted(errors.len(), "error", "errors");
                log::error!("the crontab has {count}: the one before stays in force");
                self.writer.refused(errors);
            }
        }
    }

    /// Lets running scripts end within the grace time, then cancels them. Returns when everything
    /// is written to the store.
    async fn end(mut self) -> Ended {
        let dropped = lock(&self.board).end();
        for (entry, due) in dropped {
            log::warn!(
                "line {}: \"{}\" of {} was not started any more",
                entry.line,
                entry.script,
                due.time
            );
        }
        // Dropping the reply tells the waiting client that the run does not begin.
        while let Ok(ManualRun { entry, .. }) = self.manual_runs.try_recv() {
            let _ = lock(&self.board).finished(&entry.key);
        }
        if !self.running.is_empty() {
            log::info!("waiting for {} running scripts", self.running.len());
        }
        self.wait(self.grace).await;
        let mut ended = Ended {
            cut_off: lock(&self.board).running().cloned().collect(),
            left_behind: Vec::new(),
        };
        for (entry, due) in &ended.cut_off {
            log::warn!("line {}: \"{}\" of {} is cut off", entry.line, entry.script, due.time);
        }
        self.tasks.values().for_each(|(_, cancellation)| cancellation.cancel());
        self.wait(CANCELLED_RUN_TIMEOUT).await;
        ended.left_behind = lock(&self.board).running().cloned().collect();
        for (entry, due) in &ended.left_behind {
            log::error!(
                "line {}: \"{}\" of {} does not end and is left behind",
                entry.line,
                entry.script,
                due.time
            );
        }
        self.writer.end().await;
        ended
    }

    /// Waits until no entry runs, up to `longest`.
    async fn wait(&mut self, longest: Duration) {
        let timer = self.timer.clone();
        let Ok(until) = timer.now().checked_add(longest) else { return };
        while !self.running.is_empty() && timer.now() < until {
            tokio::select! {
                () = timer.sleep_until(until) => {}
                Some(done) = self.running.join_next_with_id() => self.finished(done),
            }
        }
    }
}

impl Drop for Scheduler {
    /// Detaches the runs that are left behind: dropping their tasks would not stop their scripts.
    fn drop(&mut self) {
        self.running.detach_all();
    }
}

/// Waits for the crontab that is being read. Waits for ever if none is.
async fn done(
    reading: &mut Option<JoinHandle<Checked>>,
) -> Result<Checked, tokio::task::JoinError> {
    match reading {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

/// A random duration up to `longest`. The standard library's hasher is seeded by the system, which
/// is random enough to spread runs.
fn random(longest: Duration) -> Duration {
    let share = RandomState::new().build_hasher().finish() >> 11;
    longest.mul_f64(share as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests;
