//! The running program as the HTTP routes use it.

use std::{collections::BTreeSet, fs, io, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    freshness::FreshnessWatch,
    notified_run::{log_end, run_and_notify},
    state::ServeState,
};
use crate::{
    app::{Connection, library, settings},
    blocking,
    clock::{Clock as _, SystemClock},
    config::Config,
    error::{Error, ErrorKind, Result},
    files::write_whole,
    run_words::Trigger,
    runs::{self, RunEnvironment, RunQueue, RunRequest, Store},
    schedule::{StartedRun, View},
    script::{Library, Settings},
    status::Report,
    web::core::{AnswerAt, Call, Core, RunHandle, Schedule},
};

/// The part of the program that the routes need.
pub(super) struct Program {
    pub(super) shared: Arc<ServeState>,
    /// The part of the configuration that scripts see.
    settings: Arc<Settings>,
    read_queue: Arc<RunQueue>,
    pub(super) freshness: Arc<FreshnessWatch>,
    view: View,
    /// Cancelled when the grace time is over: it cancels the runs that go on.
    pub(super) cut_off: CancellationToken,
    /// The runs that were started over HTTP.
    pub(super) running: TaskTracker,
    /// Held while an entry is paused or resumed.
    pausing: tokio::sync::Mutex<()>,
}

/// The most runs that only read at a time. Each holds a thread while the daemon answers.
const MAX_CONCURRENT_READS: usize = 32;
/// How long a request waits for the first look at the volumes.
const FIRST_LOOK_TIMEOUT: Duration = Duration::from_secs(2);

impl Program {
    pub(super) fn new(shared: Arc<ServeState>, freshness: Arc<FreshnessWatch>, view: View) -> Self {
        Self {
            settings: settings(&shared.config),
            shared,
            read_queue: Arc::new(RunQueue::new(MAX_CONCURRENT_READS)),
            freshness,
            view,
            cut_off: CancellationToken::new(),
            running: TaskTracker::new(),
            pausing: tokio::sync::Mutex::default(),
        }
    }

    /// Connects to the configuration's daemon, unless the program ends.
    async fn connection(&self, config: &Config) -> Result<Arc<Connection>> {
        let connection = self.shared.daemons.get(config).await?;
        if self.shared.ending.is_cancelled() {
            return Err(Error::new(
                ErrorKind::Cancelled,
                "the program is ending, and starts nothing new",
            ));
        }
        Ok(connection)
    }

    /// Starts a run in this environment.
    async fn start(
        &self,
        environment: RunEnvironment,
        request: RunRequest,
        connection: Arc<Connection>,
        answer_at: AnswerAt,
    ) -> RunHandle {
        let environment =
            RunEnvironment { read_queue: Some(self.read_queue.clone()), ..environment };
        let is_of_interest = !request.script.read_only && !request.dry_run;
        let queued = runs::enqueue(&environment, request, self.cut_off.child_token());
        let (id, is_waiting) = (queued.id().to_owned(), queued.is_waiting());
        let (send, finished) = oneshot::channel();
        let shared = self.shared.clone();
        self.running.spawn(async move {
            let finished = run_and_notify(queued, &shared.notifier, std::future::ready(())).await;
            log_end(&finished);
            if is_of_interest {
                shared.changed.notify_one();
            }
            // The request may be gone.
            _ = send.send(finished);
            drop(connection);
        });
        if answer_at == AnswerAt::Start {
            let (recorder, run) = (self.shared.recorder.clone(), id.clone());
            blocking::run(move || recorder.write_now(&run)).await;
        }
        RunHandle { id, is_waiting, finished }
    }

    /// The report until the first look is done.
    fn not_looked_yet(&self) -> Report {
        Report {
            sentence: "The volumes were not looked at yet.".to_owned(),
            serving: true,
            looked: SystemClock.now(),
            host: self.shared.config.host_name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            destination: self.shared.config.backup_url.as_ref().map(ToString::to_string),
            data_dir: self.shared.config.data_dir.display().to_string(),
            problems: vec![
                "the volumes were not looked at yet: the daemon or the destination takes its time"
                    .to_owned(),
            ],
            ..Report::default()
        }
    }
}

#[async_trait]
impl Core for Program {
    fn config(&self) -> &Config {
        &self.shared.config
    }

    fn store(&self) -> &Arc<Store> {
        self.shared.store()
    }

    fn write_now(&self, run: &str) {
        self.shared.recorder.write_now(run);
    }

    fn library(&self) -> Result<Library> {
        library(&self.shared.config)
    }

    async fn start_run(&self, call: Call) -> Result<RunHandle> {
        // The program's end waits for this run from here on.
        let _started = self.running.token();
        let config = &self.shared.config;
        let connection = self.connection(config).await?;
        let environment = self.shared.environment(config, self.settings.clone(), &connection);
        let request = RunRequest {
            script: call.script,
            arguments: call.arguments,
            trigger: Trigger::Http,
            entry: None,
            dry_run: call.dry_run,
            timeout: call.timeout.unwrap_or(config.run_timeout),
        };
        Ok(self.start(environment, request, connection, call.answer_at).await)
    }

    fn schedule(&self) -> Schedule {
        Schedule {
            crontab: self.shared.crontab(),
            entries: self.view.entries(),
            refused: self.shared.refused(),
        }
    }

    async fn run_entry(&self, key: &str) -> Result<Option<StartedRun>> {
        self.view.run_now(key).await
    }

    async fn rehearse_entry(&self, key: &str, answer_at: AnswerAt) -> Result<Option<RunHandle>> {
        let _started = self.running.token();
        let found = self.view.entries().into_iter().find(|shown| shown.entry.key == key);
        let Some(entry) = found.map(|shown| shown.entry) else { return Ok(None) };
        let loaded = entry.clone();
        let (script, arguments) = blocking::run(move || loaded.load()).await?;
        let connection = self.connection(&entry.config).await?;
        let environment = self.shared.environment_of_entry(&entry, &connection);
        // A rehearsal is not a run of the entry: the entry's last run and its time stay as they
        // are.
        let (trigger, timeout) = (Trigger::Http, entry.timeout);
        let request =
            RunRequest { script, arguments, trigger, entry: None, dry_run: true, timeout };
        Ok(Some(self.start(environment, request, connection, answer_at).await))
    }

    async fn pause_entry(&self, key: &str, pause: bool) -> Result<bool> {
        // One call at a time, so that the state on disk is that of the last call.
        let _pausing = self.pausing.lock().await;
        let paused = if pause { self.view.pause(key) } else { self.view.resume(key) };
        let Some(paused) = paused else { return Ok(false) };
        if let Some(shown) = self.view.entries().iter().find(|shown| shown.entry.key == key) {
            let (entry, how) = (
                &shown.entry,
                if shown.paused { "paused: it is not started at its times" } else { "resumed" },
            );
            log::warn!("line {}: \"{}\" is {how}, over HTTP", entry.line, entry.script);
        }
        self.shared.changed.notify_one();
        let folder = self.shared.config.data_dir.clone();
        blocking::run(move || remember_paused(&folder, &paused)).await?;
        Ok(true)
    }

    async fn status(&self, fresh: bool) -> Arc<Report> {
        if fresh {
            self.freshness.clone().look_now().await;
        }
        // The first look begins right after the start.
        let mut report = self.freshness.report();
        match tokio::time::timeout(FIRST_LOOK_TIMEOUT, report.wait_for(Option::is_some)).await {
            Ok(Ok(report)) => report.clone().unwrap_or_default(),
            _ => Arc::new(self.not_looked_yet()),
        }
    }

    async fn daemon(&self) -> Result<()> {
        let connection = self.shared.daemons.get(&self.shared.config).await?;
        connection.daemon.info().await.map(drop)
    }

    fn waiting_messages(&self) -> usize {
        self.shared.notifier.waiting().len()
    }

    fn is_ending(&self) -> bool {
        self.shared.ending.is_cancelled()
    }
}

/// The keys of the entries that are paused, as kept on disk.
pub(super) fn paused(data_dir: &Path) -> BTreeSet<String> {
    let path = data_dir.join(PAUSED_FILE);
    let read = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeSet::new(),
        read => read.and_then(|text| Ok(serde_json::from_slice(&text)?)),
    };
    read.unwrap_or_else(|error: io::Error| {
        log::error!(
            "which entries are paused is not known, all of them run: \"{}\": {error}",
            path.display()
        );
        BTreeSet::new()
    })
}

/// The file with the keys of the paused entries.
const PAUSED_FILE: &str = "paused.json";

fn remember_paused(data_dir: &Path, paused: &BTreeSet<String>) -> Result<()> {
    let path = data_dir.join(PAUSED_FILE);
    let text =
        serde_json::to_vec_pretty(paused).map_err(|error| Error::internal(error.to_string()))?;
    write_whole(&path, &text).map_err(|error| {
        Error::io(
            format_args!("it is so until the next start only: cannot write \"{}\"", path.display()),
            &error,
        )
    })
}
