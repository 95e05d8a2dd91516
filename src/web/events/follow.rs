//! Follows the store and publishes its changes through the hub.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak, mpsc},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::hub::{EventName, Hub};
use crate::{
    error::{ErrorKind, Result},
    run_words::RunStatus,
    runs::{
        Store,
        record::{Filter, Line, RunRecord},
    },
    web::run_answer::shown,
};

/// How often the store is polled for changes, and the runs for their progress.
const STORE_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How often the store is polled for runs whose process ended without recording it.
const DEAD_RUN_POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How many lines of a run's log are read at a time.
const LINES_AT_A_TIME: usize = 500;

/// Starts a thread that follows a store and publishes its changes until the returned sender is
/// dropped. Runs that are already over are not published. This function itself reads the store, so
/// it blocks for a moment.
pub(crate) fn follow(store: Store, hub: &Arc<Hub>) -> mpsc::Sender<()> {
    let (stop, stopped) = mpsc::channel();
    let hub = Arc::downgrade(hub);
    let mut follower = Follower::new(store);
    let follow = move || {
        let mut looked = Instant::now();
        while stopped.recv_timeout(STORE_POLL_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
            let Some(hub) = Weak::upgrade(&hub) else { return };
            let version = follower.store.change_count().ok();
            let look_for_dead =
                !follower.open.is_empty() && looked.elapsed() >= DEAD_RUN_POLL_INTERVAL;
            if version != follower.version || look_for_dead {
                looked = Instant::now();
                match follower.look(&hub) {
                    Ok(()) => follower.version = version,
                    Err(error) => log::debug!("what happens can't be told: {error}"),
                }
            }
            follower.open.keys().for_each(|run| hub.publish_progress(run));
        }
    };
    if let Err(error) = std::thread::Builder::new().name("events".into()).spawn(follow) {
        log::warn!("what happens is not told to those who watch: {error}");
    }
    stop
}

struct Follower {
    store: Store,
    /// The newest row that was published. `None`: there was no store yet.
    row: Option<i64>,
    version: Option<i64>,
    /// The open runs, each with the number of the last line that was published.
    open: BTreeMap<String, (RunRecord, u64)>,
}

impl Follower {
    /// Follows runs that begin from now on, and those that go on now.
    fn new(store: Store) -> Self {
        let mut follower = Self { store, row: None, version: None, open: BTreeMap::new() };
        if let Err(error) = follower.begin() {
            log::debug!("what went on before is not followed: {error}");
        }
        follower
    }

    fn begin(&mut self) -> Result<()> {
        let row = match self.store.last_row() {
            Ok(row) => row,
            // There is no store yet.
            Err(error) if error.kind == ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        for status in [RunStatus::Running, RunStatus::Waiting] {
            for run in self.store.list(&Filter { status: Some(status), ..Filter::default() })? {
                let last = self.store.last_lines(&run.id, 1)?.first().map_or(0, |line| line.number);
                self.open.insert(run.id.clone(), (run, last));
            }
        }
        self.row = Some(row);
        Ok(())
    }

    fn look(&mut self, hub: &Hub) -> Result<()> {
        let Some(row) = self.row else { return self.begin() };
        if self.store.last_row()? < row {
            // The file was replaced by another store, or its rows were numbered anew.
            self.open.clear();
            hub.publish(EventName::Reset);
            return self.begin();
        }
        let (last, runs) = self.store.runs_behind(row)?;
        self.row = Some(last);
        for run in runs {
            if self.open.contains_key(&run.id) {
                continue;
            }
            hub.publish_for_run(EventName::RunStarted, &run.id, &shown(&run));
            self.open.insert(run.id.clone(), (run, 0));
        }
        let ids: Vec<String> = self.open.keys().cloned().collect();
        for id in ids {
            // The record is read first: if the run has ended, the store has all lines of its log.
            let record = match self.store.get(&id) {
                Ok(record) => record,
                Err(error) if matches!(error.kind, ErrorKind::Usage | ErrorKind::NotFound) => {
                    self.open.remove(&id);
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.publish_lines(hub, &id)?;
            let Some((known, _)) = self.open.get_mut(&id) else { continue };
            if !record.status.is_open() {
                hub.publish_progress(&id);
                hub.progress().forget(&id);
                hub.publish_for_run(EventName::RunEnded, &id, &shown(&record));
                self.open.remove(&id);
            } else if record.status != known.status {
                hub.publish_for_run(EventName::RunStarted, &id, &shown(&record));
                *known = record;
            }
        }
        Ok(())
    }

    fn publish_lines(&mut self, hub: &Hub, id: &str) -> Result<()> {
        let Some((_, told)) = self.open.get_mut(id) else { return Ok(()) };
        loop {
            let lines = self.store.lines(id, *told, LINES_AT_A_TIME)?;
            for line in &lines {
                hub.publish_for_run(EventName::RunLine, id, &line_of(id, line));
                *told = line.number;
            }
            if lines.len() < LINES_AT_A_TIME {
                return Ok(());
            }
        }
    }
}

fn line_of(run: &str, line: &Line) -> Value {
    let mut value = serde_json::to_value(line).unwrap_or_default();
    value["run"] = run.into();
    value
}
