//! `serve`: follows the crontab, remembers every run, looks whether each volume has a backup that is new enough, and tells people;
//! until it is told to end.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use super::{
    Connection, connect, door, report_of_record,
    status::{self, VolumeStatus},
    volumes_told,
};
use crate::{
    clock::{Clock, SystemClock},
    config::Config,
    error::{Error, ErrorKind, Result},
    freshness::Freshness,
    locks::{Lock, Locks, Sharing},
    logging,
    notify::Teller,
    progress,
    runs::{self, Request, Store, Trigger, record},
    schedule::{Crontab, Due, Entry, Missed, Options, Runner, Scheduler, Source, Surroundings, View, watch},
    text::counted,
};

/// Between two looks whether every volume's backup is new enough.
const LOOK_EVERY: Duration = Duration::from_mins(5);
/// Messages may take so long to be sent when the program ends; what is left waits in the outbox.
const LAST_MESSAGES: Duration = Duration::from_secs(5);
/// What the problem of a `serve` that can't start is known by.
const START: &str = "start";
/// A look that takes longer is given up, and told: the daemon or a network folder hangs.
const LOOK_TIME: Duration = Duration::from_mins(30);
/// The lock by which others see that `serve` runs.
const LOCK: &str = "serve";

/// What `serve` is started with: a crontab that was checked.
pub struct Serving {
    /// The configuration, without what the crontab sets.
    pub config: Config,
    /// What the crontab is read in when it changes.
    pub surroundings: Surroundings,
    /// The crontab as it is now.
    pub crontab: Crontab,
    /// Tells people.
    pub teller: Arc<Teller>,
}

/// Serves until it is cancelled; then nothing new is started, and what runs has the grace time to end.
///
/// # Errors
/// [`ErrorKind::Busy`] where another `serve` works with the same data folder; a configuration error where the data folder or
/// the daemon can't be used at all.
pub async fn serve(serving: Serving, cancellation: CancellationToken) -> Result<()> {
    let Serving { config, surroundings, crontab, teller } = serving;
    // First of all: a SIGHUP that nobody watches for ends the process.
    let reload = Arc::new(Notify::new());
    on_hangup(reload.clone());
    let alone = alone(&config).await;
    let _alone = or_tell(&teller, alone).await?;
    say_who_is_told(&teller);
    let store = Arc::new(Store::new(&config.data_dir));
    mend(&store).await;
    let daemons = Arc::new(Daemons::default());
    let connection = or_tell(&teller, daemons.get(&config).await).await?;
    let entries = counted(crontab.entries.len(), "entry", "entries");
    log::info!("serving \"{}\": {entries}, {}", crontab.file, connection.daemon.description());

    let changed = Arc::new(Notify::new());
    let following = Arc::new(std::sync::Mutex::new(crontab.clone()));
    let runner = Arc::new(CrontabRunner {
        store: store.clone(),
        teller: teller.clone(),
        daemons,
        changed: changed.clone(),
        following: following.clone(),
        end: cancellation.clone(),
    });
    if let Err(error) = std::fs::write(running_sign(&config), "") {
        log::warn!("\"status\" will not know that serve was killed, should it be: {error}");
    }
    teller.solved(START, "serve runs again", "It follows the crontab.");
    teller.solved("crontab", "the crontab is in order again", "It is in force.");
    let options = Options { most_at_a_time: config.max_concurrent, grace: config.shutdown_grace };
    let scheduler = Scheduler::new(&crontab, options, Arc::new(SystemClock), runner.clone());

    let stop = CancellationToken::new();
    let watched = config.clone();
    tokio::spawn(watch::watch(move || Source::find(&watched), reload.clone(), stop.clone()));
    let (telling, told) = (teller.clone(), stop.clone());
    let delivering = tokio::spawn(async move { telling.keep_delivering(told).await });
    let freshness = FreshnessWatch {
        config: Arc::new(config.clone()),
        daemons: runner.daemons.clone(),
        store,
        teller: teller.clone(),
        following,
        view: scheduler.view(),
        since: SystemClock.now(),
    };
    tokio::spawn(Arc::new(freshness).watch(changed, stop.clone()));

    let read = Arc::new(move || Source::find(&surroundings.config).check(&surroundings));
    let ended = scheduler.run(read, reload, cancellation.clone()).await;
    stop.cancel();
    // It ends within a moment; a message that is being sent is not cut off.
    let _ = delivering.await;
    teller.deliver_within(LAST_MESSAGES).await;
    if ended.left_behind.is_empty() {
        drop(connection);
        runner.daemons.close().await;
    }
    let _ = std::fs::remove_file(running_sign(&config));
    log::info!("ended; {} cut off", counted(ended.cut_off.len(), "run was", "runs were"));
    Ok(())
}

/// What keeps `serve` from starting is told, too: nobody may look at it for a while. That another one runs is no problem.
async fn or_tell<T>(teller: &Teller, started: Result<T>) -> Result<T> {
    if let Err(error) = &started
        && error.kind != ErrorKind::Busy
    {
        cannot_start(teller, &error.to_string()).await;
    }
    started
}

/// Tells that `serve` could not start.
pub async fn cannot_start(teller: &Teller, why: &str) {
    let text = format!("Nothing is started by the crontab until this is mended:\n\n{why}");
    teller.problem(START, "serve can't start", &text);
    teller.deliver_within(LAST_MESSAGES).await;
}

/// Only one `serve` for a data folder: two would start everything twice.
async fn alone(config: &Config) -> Result<Option<Lock>> {
    if config.data_dir.exists() && !config.data_dir.is_dir() {
        return Err(Error::configuration(format!("the data folder \"{}\" is not a folder", config.data_dir.display()))
            .with_hint("set BKUP_DATA_DIR to a folder that this user can write to"));
    }
    let locks = Locks::new(config.data_dir.join("locks"), Duration::ZERO, "serve");
    match locks.acquire(LOCK, Sharing::Exclusive).await {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind == ErrorKind::Busy => {
            Err(Error::new(ErrorKind::Busy, format!("\"serve\" runs already with \"{}\"", config.data_dir.display()))
                .with_hint("end that one first, or give this one a data folder of its own (BKUP_DATA_DIR)"))
        }
        Err(error) => Err(Error::configuration(format!(
            "the data folder \"{}\" can't be used: {error}",
            config.data_dir.display()
        ))
        .with_hint("let this user write to it, or set BKUP_DATA_DIR to another; \"convoy-backups doctor\" tells more")),
    }
}

/// Whether a `serve` works with this data folder now; `None` where one did, and was not told to end.
pub async fn is_served(config: &Config) -> Option<bool> {
    let was_there = running_sign(config).exists();
    let locks = Locks::new(config.data_dir.join("locks"), Duration::ZERO, "status");
    let held = locks.folder().is_dir()
        && locks.acquire(LOCK, Sharing::Shared).await.is_err_and(|error| error.kind == ErrorKind::Busy);
    if held || !was_there { Some(held) } else { None }
}

/// There while `serve` runs, and after it was killed: `status` tells the two from one that was told to end.
fn running_sign(config: &Config) -> PathBuf {
    config.data_dir.join("serve.running")
}

fn say_who_is_told(teller: &Teller) {
    let channels = teller.channels();
    for channel in &channels {
        log::info!("problems are told by {}: {}", channel.channel.as_str(), channel.to);
    }
    if channels.is_empty() {
        log::warn!("nobody is told when a backup fails: set BKUP_EMAIL_ENABLED=true or BKUP_WEBHOOK_URL");
    }
}

/// A store that is damaged is moved aside; whatever else is wrong with it is said, and the runs go on without it.
async fn mend(store: &Arc<Store>) {
    let damaged = store.clone();
    let mended = tokio::task::spawn_blocking(move || damaged.mend(SystemClock.now())).await;
    match mended.unwrap_or_else(|panic| Err(Error::internal(panic.to_string()))) {
        Ok(None) => {}
        Ok(Some(aside)) => log::error!(
            "the store of runs was damaged: it is in \"{}\" now, and a new one was begun; what ran before is not known any more",
            aside.display()
        ),
        Err(error) => log::error!("runs are not remembered: {error}"),
    }
}

/// Tells of the runs that a crash, a kill or a power failure cut off.
fn tell_interrupted(store: &Store, teller: &Teller) {
    match store.untold_interruptions() {
        Ok(runs) => {
            for run in runs {
                log::warn!("run {}: \"{}\" was interrupted: its process is gone", run.id, run.script);
                teller.run_ended(&report_of_record(store, &run));
                if let Err(error) = store.interruption_told(&run.id) {
                    log::warn!("that it was told is not remembered: {error}");
                }
            }
        }
        Err(error) => log::warn!("whether runs were interrupted is not known: {error}"),
    }
}

/// On SIGHUP, the crontab is read again and the log file opened anew.
fn on_hangup(reload: Arc<Notify>) {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::hangup()) {
        Ok(mut hangup) => {
            tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    logging::reopen();
                    log::info!("SIGHUP: reading the crontab again");
                    reload.notify_one();
                }
            });
        }
        Err(error) => log::warn!("cannot watch for SIGHUP: {error}"),
    }
}

/// The daemons that the crontab's lines use: mostly one.
#[derive(Default)]
struct Daemons(Mutex<HashMap<DaemonKey, Arc<Connection>>>);

/// Which daemon: its address, the S3 service it is told to use, the repositories' password, and the host in backups.
type DaemonKey = (String, Option<String>, Option<String>, String);

impl Daemons {
    async fn get(&self, config: &Config) -> Result<Arc<Connection>> {
        let password = config.repository_password.as_ref().map(|password| password.expose().to_owned());
        let key = (config.daemon().0.to_string(), config.s3_endpoint.clone(), password, config.host_name());
        let mut known = self.0.lock().await;
        if let Some(connection) = known.get(&key) {
            return Ok(connection.clone());
        }
        let connection = Arc::new(connect(config, progress::none()).await?);
        known.insert(key, connection.clone());
        Ok(connection)
    }

    /// Closes those that nobody uses any more.
    async fn close(&self) {
        for (_, connection) in self.0.lock().await.drain() {
            if let Some(connection) = Arc::into_inner(connection) {
                let now = CancellationToken::new();
                now.cancel();
                connection.close(&now, |text| log::info!("{text}")).await;
            }
        }
    }
}

/// Runs the crontab's lines.
struct CrontabRunner {
    store: Arc<Store>,
    teller: Arc<Teller>,
    daemons: Arc<Daemons>,
    /// A run has ended: what is known of the volumes may be other than before.
    changed: Arc<Notify>,
    following: Arc<std::sync::Mutex<Crontab>>,
    /// The program ends.
    end: CancellationToken,
}

impl CrontabRunner {
    async fn try_run(&self, entry: &Entry, cancellation: CancellationToken) -> Result<()> {
        let (script, arguments) = entry.load()?;
        let connection = self.daemons.get(&entry.config).await?;
        let mut door = door(&entry.config, &connection, self.teller.clone());
        door.store = Some(self.store.clone());
        // Runs that want the same volume or destination take turns, as long as their time allows.
        door.lock_wait = entry.timeout;
        let request = Request {
            script,
            arguments,
            trigger: Trigger::Cron,
            entry: Some(record_entry(entry)),
            dry_run: entry.dry_run,
            timeout: entry.timeout,
        };
        let finished =
            super::run_and_tell(&door, request, &self.teller, cancellation, || self.end.is_cancelled()).await;
        let text = format!("run {}: \"{}\" {}", finished.id, finished.script, finished.status.as_str());
        match &finished.result {
            Err(error) => log::error!("{text}: {error}"),
            Ok(_) if finished.failures.is_empty() => log::info!("{text}"),
            Ok(_) => {
                for failure in &finished.failures {
                    log::error!("{text}: {}: {}", failure.volume, failure.message);
                }
            }
        }
        Ok(())
    }

    fn skip(&self, entry: &Entry, due: Timestamp, reason: String) {
        let arguments = entry.load().map(|(_, arguments)| arguments.values().clone()).unwrap_or_default();
        let skipped =
            record::Skipped { script: entry.script.clone(), arguments, entry: record_entry(entry), due, reason };
        if let Err(error) = self.store.skipped(&skipped, SystemClock.now()) {
            log::warn!("this is not remembered: {error}");
        }
    }
}

/// An error as people are told of it: with what to do about it.
fn explained(error: &Error) -> String {
    let hint = error.hint.as_ref().map(|hint| format!("\n\nWhat to do: {hint}")).unwrap_or_default();
    format!("{error}{hint}")
}

fn record_entry(entry: &Entry) -> runs::Entry {
    runs::Entry { key: entry.key.clone(), line: u32::try_from(entry.line).unwrap_or(u32::MAX) }
}

#[async_trait]
impl Runner for CrontabRunner {
    async fn run(&self, entry: Arc<Entry>, due: Due, cancellation: CancellationToken) {
        let key = format!("entry {}", entry.key);
        let what = format!("\"{} {}\" (line {} of the crontab)", entry.script, entry.arguments_text(), entry.line);
        match self.try_run(&entry, cancellation).await {
            Ok(()) => self.teller.solved(&key, &format!("{} can be started again", entry.script), &what),
            Err(error) => {
                log::error!("line {}: \"{}\" can't be started: {error}", entry.line, entry.script);
                self.skip(&entry, due.time, error.to_string());
                let text = format!("{what} was due at {} and could not be started:\n\n{}", due.time, explained(&error));
                self.teller.problem(&key, &format!("{} can't be started", entry.script), &text);
            }
        }
        self.changed.notify_one();
    }

    fn missed(&self, entry: &Entry, due: Timestamp, why: Missed) {
        self.skip(entry, due, why.to_string());
    }

    fn last_due(&self, key: &str) -> Option<Timestamp> {
        self.store.last_due(key).unwrap_or_else(|error| {
            log::warn!("when lines of the crontab ran last is not known: {error}");
            None
        })
    }

    fn remember_due(&self, entry: &Entry, due: Timestamp) {
        if let Err(error) = self.store.remember_due(&entry.key, due) {
            log::debug!("line {}: that it was due is not remembered: {error}", entry.line);
        }
    }

    fn refused(&self, errors: &[Error]) {
        let text: Vec<String> = errors
            .iter()
            .take(20)
            .map(|error| {
                let place = error.location.as_ref().map(|place| format!("line {}: ", place.line)).unwrap_or_default();
                format!("{place}{error}")
            })
            .collect();
        let text = format!(
            "The crontab was changed and has errors, so the one before stays in force:\n\n{}\n\nLook at it with: convoy-backups crontab check",
            text.join("\n")
        );
        self.teller.problem("crontab", "the crontab has errors", &text);
    }

    fn followed(&self, crontab: &Crontab) {
        *self.following.lock().unwrap_or_else(PoisonError::into_inner) = crontab.clone();
        self.teller.solved("crontab", "the crontab is in order again", "The new crontab is in force.");
        self.changed.notify_one();
    }
}

/// Looks whether each volume has a good backup that is new enough.
struct FreshnessWatch {
    config: Arc<Config>,
    daemons: Arc<Daemons>,
    store: Arc<Store>,
    teller: Arc<Teller>,
    following: Arc<std::sync::Mutex<Crontab>>,
    view: View,
    /// When `serve` was started.
    since: Timestamp,
}

impl FreshnessWatch {
    async fn watch(self: Arc<Self>, changed: Arc<Notify>, stop: CancellationToken) {
        loop {
            let watch = self.clone();
            let looking = tokio::time::timeout(LOOK_TIME, tokio::spawn(async move { watch.look().await }));
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = looking => looked,
            };
            let key = "freshness watch";
            match looked {
                Ok(Ok(())) => {
                    self.teller.solved(key, "backups are looked at again", "Each volume's newest backup is known.")
                }
                Ok(Err(panic)) => self.teller.problem(key, "backups can't be looked at", &panic.to_string()),
                Err(_) => self.teller.problem(
                    key,
                    "backups can't be looked at",
                    "The daemon or the destination did not answer for half an hour: does a network folder hang?",
                ),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = changed.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn look(&self) {
        tell_interrupted(&self.store, &self.teller);
        let crontab = self.following.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut known = BTreeMap::new();
        let mut destinations = Vec::new();
        let mut unreachable = None;
        for expected in status::Expected::by_daemon(&self.config, &crontab.entries) {
            let connection = match self.daemons.get(expected.config()).await {
                Ok(connection) => connection,
                Err(error) => {
                    unreachable = Some(error);
                    continue;
                }
            };
            let guards = status::guards(&connection);
            let seen = status::volumes(&guards, &self.store, &expected, SystemClock.now()).await;
            unreachable = seen.unreachable.or(unreachable);
            let others = seen.volumes.iter().any(|volume| !volume.lost);
            destinations.extend(seen.destinations);
            for volume in seen.volumes {
                if !self.is_on_its_way(&expected, &volume) {
                    volumes_told::tell_volume(&self.teller, &volume, others);
                }
                known.insert(volume.name.clone(), volume);
            }
        }
        match &unreachable {
            Some(error) => {
                let text = format!("{}\n\nLook closer with: convoy-backups doctor", explained(error));
                self.teller.problem("daemon", "the volume daemon does not answer as it should", &text);
                return;
            }
            None => self.teller.solved("daemon", "the volume daemon answers again", "It lists its volumes."),
        }
        volumes_told::tell_destinations(&self.teller, &destinations);
        volumes_told::tell_over(&self.teller, &known, &destinations);
    }

    /// Whether a backup that is overdue is being made: what was missed while the program was down is made up for.
    fn is_on_its_way(&self, expected: &status::Expected, volume: &VolumeStatus) -> bool {
        let Freshness::Overdue(since) = volume.freshness else { return false };
        let patience = SignedDuration::try_from(expected.run_time(&volume.name)).unwrap_or(SignedDuration::MAX);
        let waited = SystemClock.now().duration_since(since.max(self.since));
        !volume.lost && self.is_worked_on(expected, &volume.name) && waited < patience
    }

    /// Whether a run that should back the volume up goes on, or waits for its turn.
    fn is_worked_on(&self, schedule: &status::Expected, volume: &str) -> bool {
        let entries = self.view.entries();
        entries.iter().any(|shown| (shown.running || shown.waiting) && schedule.covers(&shown.entry.key, volume))
    }
}
