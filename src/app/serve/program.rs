//! The program, as the HTTP routes see it.

use std::{collections::BTreeSet, fs, io, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{freshness::FreshnessWatch, shared::Shared};
use crate::{
    app::{
        library, settings,
        telling::{log_end, off_the_runtime, run_and_tell},
    },
    clock::{Clock as _, SystemClock},
    config::Config,
    daemon::files::write_whole,
    error::{Error, ErrorKind, Result},
    report::Report,
    runs::{self, Request, Store, Trigger, Turns},
    schedule::View,
    script::{Library, Settings},
    web::core::{Call, Core, EntryAction, Launched, Schedule},
};

/// What of the program the routes need.
pub(super) struct Program {
    pub(super) shared: Arc<Shared>,
    /// What scripts see of the configuration.
    settings: Arc<Settings>,
    readers: Arc<Turns>,
    pub(super) freshness: Arc<FreshnessWatch>,
    view: View,
    /// Its time is up: what still runs is cut off.
    pub(super) cut_off: CancellationToken,
    /// The runs that were started here.
    pub(super) running: TaskTracker,
    /// Held while an entry is paused or resumed.
    pausing: tokio::sync::Mutex<()>,
}

/// So many runs that only read at a time: each holds a thread while the daemon takes its time.
const READERS: usize = 32;
/// So long the first look at the volumes is waited for.
const FIRST_LOOK: Duration = Duration::from_secs(2);

impl Program {
    pub(super) fn new(shared: Arc<Shared>, freshness: Arc<FreshnessWatch>, view: View) -> Self {
        Self {
            settings: settings(&shared.config),
            shared,
            readers: Arc::new(Turns::new(READERS)),
            freshness,
            view,
            cut_off: CancellationToken::new(),
            running: TaskTracker::new(),
            pausing: tokio::sync::Mutex::default(),
        }
    }

    /// What is known before the first look is over.
    fn not_looked_yet(&self) -> Report {
        Report {
            serving: true,
            looked: SystemClock.now(),
            host: self.shared.config.host_name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            destination: self.shared.config.backup_url.as_ref().map(ToString::to_string),
            data_dir: self.shared.config.data_dir.display().to_string(),
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

    async fn launch(&self, call: Call) -> Result<Launched> {
        // The end waits for it from here on.
        let _started = self.running.token();
        let shared = self.shared.clone();
        let connection = shared.daemons.get(&shared.config).await?;
        if shared.ending.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "the program is ending, and starts nothing new"));
        }
        let mut door = shared.door(&shared.config, self.settings.clone(), &connection);
        door.readers = Some(self.readers.clone());
        let timeout = call.timeout.unwrap_or(shared.config.run_timeout);
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
        self.running.spawn(async move {
            let finished = run_and_tell(announced, &shared.teller, std::future::ready(())).await;
            log_end(&finished);
            if is_of_interest {
                shared.changed.notify_one();
            }
            // Whoever waited may be gone.
            _ = send.send(finished);
            drop(connection);
        });
        if call.is_left {
            let (recorder, run) = (self.shared.recorder.clone(), id.clone());
            off_the_runtime(move || recorder.write_now(&run)).await;
        }
        Ok(Launched { id, is_waiting, finished })
    }

    fn schedule(&self) -> Schedule {
        Schedule { crontab: self.shared.crontab(), entries: self.view.entries(), refused: self.shared.refused() }
    }

    async fn act_on(&self, key: &str, action: EntryAction) -> Result<bool> {
        if action == EntryAction::Run {
            return match self.view.run_now(key) {
                Some(true) => Ok(true),
                Some(false) => Err(Error::new(ErrorKind::Busy, "the entry runs already, or waits for its turn")
                    .with_hint("\"GET /api/runs?status=running\" lists what runs")),
                None => Ok(false),
            };
        }
        // One at a time, so that what is remembered last is what was done last.
        let _pausing = self.pausing.lock().await;
        let paused = if action == EntryAction::Pause { self.view.pause(key) } else { self.view.resume(key) };
        let Some(paused) = paused else { return Ok(false) };
        if let Some(shown) = self.view.entries().iter().find(|shown| shown.entry.key == key) {
            let (entry, how) =
                (&shown.entry, if shown.paused { "paused: it is not started at its times" } else { "resumed" });
            log::warn!("line {}: \"{}\" is {how}, over HTTP", entry.line, entry.script);
        }
        self.shared.changed.notify_one();
        let folder = self.shared.config.data_dir.clone();
        off_the_runtime(move || remember_paused(&folder, &paused)).await?;
        Ok(true)
    }

    async fn status(&self, fresh: bool) -> Arc<Report> {
        if fresh {
            self.freshness.clone().look_now().await;
        }
        // The first look is under way right after the start.
        let mut report = self.freshness.report();
        match tokio::time::timeout(FIRST_LOOK, report.wait_for(Option::is_some)).await {
            Ok(Ok(report)) => report.clone().unwrap_or_default(),
            _ => Arc::new(self.not_looked_yet()),
        }
    }

    async fn daemon(&self) -> Result<()> {
        let connection = self.shared.daemons.get(&self.shared.config).await?;
        connection.daemon.info().await.map(drop)
    }

    fn waiting_messages(&self) -> usize {
        self.shared.teller.waiting().len()
    }

    fn is_ending(&self) -> bool {
        self.shared.ending.is_cancelled()
    }
}

/// The keys of the entries that were paused before the program was started.
pub(super) fn paused(data_dir: &Path) -> BTreeSet<String> {
    let path = data_dir.join(PAUSED);
    let read = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeSet::new(),
        read => read.and_then(|text| Ok(serde_json::from_slice(&text)?)),
    };
    read.unwrap_or_else(|error: io::Error| {
        log::error!("which entries are paused is not known, all of them run: \"{}\": {error}", path.display());
        BTreeSet::new()
    })
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
