//! The program, as the HTTP routes see it.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{daemons::Daemons, freshness::FreshnessWatch};
use crate::{
    app::{
        door, library,
        telling::{log_end, off_the_runtime, run_and_tell},
    },
    clock::{Clock as _, SystemClock},
    config::Config,
    daemon::files::write_whole,
    error::{Error, ErrorKind, Result},
    notify::Teller,
    report::Report,
    runs::{self, Recorder, Request, Store, Trigger, Turns},
    schedule::{Crontab, View},
    script::Library,
    web::{
        core::{Call, Core, EntryAction, Launched, Schedule},
        progress::RunsProgress,
    },
};

/// What of the program the routes need.
pub(super) struct Program {
    pub(super) config: Arc<Config>,
    pub(super) store: Arc<Store>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) turns: Arc<Turns>,
    pub(super) readers: Arc<Turns>,
    pub(super) teller: Arc<Teller>,
    pub(super) daemons: Arc<Daemons>,
    pub(super) freshness: Arc<FreshnessWatch>,
    pub(super) report: watch::Receiver<Option<Arc<Report>>>,
    pub(super) following: Arc<Mutex<Crontab>>,
    pub(super) refused: Arc<Mutex<Vec<Error>>>,
    pub(super) view: View,
    pub(super) progress: RunsProgress,
    /// The program ends: nothing new is started.
    pub(super) ending: CancellationToken,
    /// Its time is up: what still runs is cut off.
    pub(super) cut_off: CancellationToken,
    /// The runs that were started here.
    pub(super) running: TaskTracker,
    /// Held while an entry is paused or resumed.
    pub(super) pausing: tokio::sync::Mutex<()>,
}

/// So long the first look at the volumes is waited for.
const FIRST_LOOK: Duration = Duration::from_secs(2);

impl Program {
    /// What is known before the first look is over.
    fn not_looked_yet(&self) -> Report {
        Report {
            serving: true,
            looked: SystemClock.now(),
            host: self.config.host_name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            destination: self.config.backup_url.as_ref().map(ToString::to_string),
            data_dir: self.config.data_dir.display().to_string(),
            problems: vec![
                "the volumes were not looked at yet: the daemon or the destination takes its time".to_owned(),
            ],
            ..Report::default()
        }
    }
}

#[async_trait]
impl Core for Program {
    fn config(&self) -> &Config {
        &self.config
    }

    fn store(&self) -> &Arc<Store> {
        &self.store
    }

    fn write_now(&self, run: &str) {
        self.recorder.write_now(run);
    }

    fn library(&self) -> Result<Library> {
        library(&self.config)
    }

    async fn launch(&self, call: Call) -> Result<Launched> {
        // The end waits for it from here on.
        let _started = self.running.token();
        let connection = self.daemons.get(&self.config).await?;
        if self.ending.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "the program is ending, and starts nothing new"));
        }
        let mut door = door(&self.config, &connection, self.teller.clone(), self.recorder.clone());
        door.turns = Some(self.turns.clone());
        door.readers = Some(self.readers.clone());
        door.ending = self.ending.clone();
        door.listener = Arc::new(self.progress.clone());
        let timeout = call.timeout.unwrap_or(self.config.run_timeout);
        let request = Request {
            script: call.script,
            arguments: call.arguments,
            trigger: Trigger::Http,
            entry: None,
            dry_run: call.dry_run,
            timeout,
        };
        let is_of_interest = !request.script.read_only && !request.dry_run;
        let announced = runs::announce(&door, request, self.cut_off.child_token());
        let (id, is_waiting) = (announced.id().to_owned(), announced.is_waiting());
        let (send, finished) = oneshot::channel();
        let (teller, freshness) = (self.teller.clone(), self.freshness.clone());
        self.running.spawn(async move {
            let finished = run_and_tell(announced, &teller, std::future::ready(())).await;
            log_end(&finished);
            if is_of_interest {
                freshness.look_soon();
            }
            // Whoever waited may be gone.
            _ = send.send(finished);
            drop(connection);
        });
        if call.is_left {
            let (recorder, run) = (self.recorder.clone(), id.clone());
            off_the_runtime(move || recorder.write_now(&run)).await;
        }
        Ok(Launched { id, is_waiting, finished })
    }

    fn schedule(&self) -> Schedule {
        Schedule {
            crontab: self.following.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            entries: self.view.entries(),
            refused: self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    async fn act_on(&self, key: &str, action: EntryAction) -> Result<bool> {
        match action {
            EntryAction::Run => {
                return match self.view.run_now(key) {
                    Some(true) => Ok(true),
                    Some(false) => Err(Error::new(ErrorKind::Busy, "the entry runs already, or waits for its turn")
                        .with_hint("\"GET /api/runs?status=running\" lists what runs")),
                    None => Ok(false),
                };
            }
            EntryAction::Pause | EntryAction::Resume => {}
        };
        // One at a time, so that what is remembered last is what was done last.
        let _pausing = self.pausing.lock().await;
        let paused = if action == EntryAction::Pause { self.view.pause(key) } else { self.view.resume(key) };
        let Some(paused) = paused else { return Ok(false) };
        if let Some(shown) = self.view.entries().iter().find(|shown| shown.entry.key == key) {
            let (entry, how) =
                (&shown.entry, if shown.paused { "paused: it is not started at its times" } else { "resumed" });
            log::warn!("line {}: \"{}\" is {how}, over HTTP", entry.line, entry.script);
        }
        self.freshness.look_soon();
        let folder = self.config.data_dir.clone();
        off_the_runtime(move || remember_paused(&folder, &paused)).await?;
        Ok(true)
    }

    async fn status(&self, fresh: bool) -> Arc<Report> {
        if fresh {
            self.freshness.clone().look_now().await;
        }
        // The first look is under way right after the start.
        let mut report = self.report.clone();
        match tokio::time::timeout(FIRST_LOOK, report.wait_for(Option::is_some)).await {
            Ok(Ok(report)) => report.clone().unwrap_or_default(),
            _ => Arc::new(self.not_looked_yet()),
        }
    }

    async fn daemon(&self) -> Result<()> {
        let connection = self.daemons.get(&self.config).await?;
        connection.daemon.info().await.map(drop)
    }

    fn waiting_messages(&self) -> usize {
        self.teller.waiting().len()
    }

    fn is_ending(&self) -> bool {
        self.ending.is_cancelled()
    }
}

/// The keys of the entries that were paused before the program was started.
pub(super) fn paused(data_dir: &Path) -> BTreeSet<String> {
    let path = data_dir.join(PAUSED);
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
            log::error!("which entries are paused is not known, all of them run: \"{}\": {error}", path.display());
            BTreeSet::new()
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeSet::new(),
        Err(error) => {
            log::error!("which entries are paused is not known, all of them run: \"{}\": {error}", path.display());
            BTreeSet::new()
        }
    }
}

/// The file with the keys of the paused entries.
const PAUSED: &str = "paused.json";

fn remember_paused(data_dir: &Path, paused: &BTreeSet<String>) -> Result<()> {
    let path = data_dir.join(PAUSED);
    let text = serde_json::to_vec_pretty(paused).map_err(|error| Error::internal(error.to_string()))?;
    write_whole(&path, &text).map_err(|error| {
        Error::io(format_args!("it is so until the next start only: cannot write \"{}\"", path.display()), &error)
    })
}
