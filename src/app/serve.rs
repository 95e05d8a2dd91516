//! `serve`: follows the crontab, remembers every run, looks whether each volume has a backup that
//! is new enough, and tells people; until it is told to end.

mod daemons;
mod freshness;
mod http;
mod notified_run;
mod program;
mod runner;
mod state;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::connect::check_data_folder;
use crate::{
    blocking,
    clock::{self, Clock, SystemClock},
    config::Config,
    error::{Error, ErrorKind, Result},
    locks::{Lock, Locks, Sharing},
    logging,
    notify::{NO_CHANNEL, NO_CHANNEL_HINT, Notifier},
    runs::Store,
    schedule::{Crontab, Options, Scheduler, Source, Surroundings, watch},
    service_manager::ServiceManager,
    text::counted,
};
use freshness::FreshnessWatch;
use program::Program;
use runner::CrontabRunner;
use state::ServeState;

/// Messages may take so long to be sent when the program ends; what is left waits in the outbox.
const FINAL_DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// What the problem of a `serve` that can't start is known by.
const START: &str = "start";
/// The file that says which crontab is followed.
const FOLLOWED: &str = "serve.crontab";
/// So long after the grace time `serve` has ended: what was cut off has its last words, and
/// messages are sent.
const END_TIMEOUT: Duration = Duration::from_secs(30);
/// The lock by which others see that `serve` runs.
const LOCK: &str = "serve";

/// What `serve` is started with: a crontab that was checked.
pub(crate) struct Serving {
    /// The configuration, without what the crontab sets.
    pub(crate) config: Config,
    /// What the crontab is read in when it changes.
    pub(crate) surroundings: Surroundings,
    /// The crontab as it is now.
    pub(crate) crontab: Crontab,
    /// Tells people.
    pub(crate) notifier: Arc<Notifier>,
}

/// Serves until it is cancelled; then nothing new is started, and what runs has the grace time to
/// end. The order of the steps matters:
///
/// 1. SIGHUP is watched for: unwatched, it ends the process.
/// 2. The lock on the data folder is taken: a second `serve` would start everything twice.
/// 3. The HTTP port is bound, and the token found or made; nothing is answered yet.
/// 4. The log says who is notified of problems, and whether the time zone is unknown.
/// 5. A damaged store of runs is moved aside, before anything reads it.
/// 6. The configuration's daemon is connected to.
/// 7. The sign that `serve` runs is written, and problems that kept it from starting end.
/// 8. The scheduler is made: what was missed or cut off is planned from the store.
/// 9. The crontab's file is watched, messages are delivered, volumes are looked at.
/// 10. HTTP is answered; then the service manager is told that the program is ready.
/// 11. The scheduler runs until the cancellation; runs over HTTP have the same grace time as its
///     runs, at the same time.
/// 12. Events end, then the tasks of 9 and 10: answers are sent to the end, and a message that is
///     being sent is not cut off.
/// 13. The last messages are sent, for a few seconds at most.
/// 14. Daemons are closed, unless a run that did not end still uses one.
/// 15. The sign that `serve` runs is removed.
///
/// # Errors
/// [`ErrorKind::Busy`] where another `serve` works with the same data folder; a configuration error
/// where the data folder or the daemon can't be used at all.
pub(crate) async fn serve(serving: Serving, cancellation: CancellationToken) -> Result<()> {
    let Serving { config, surroundings, crontab, notifier } = serving;
    let reload = reload_on_hangup();
    let alone = alone(&config).await;
    let _alone = report_if_failed(&notifier, alone).await?;
    let listening = http::listen(&config).await;
    let listening = report_if_failed(&notifier, listening).await?;
    log_channels(&notifier);
    log_unknown_zone();
    let store = Arc::new(Store::new(&config.data_dir));
    mend(&store).await;
    let shared = Arc::new(ServeState::new(
        config,
        store,
        notifier.clone(),
        crontab.clone(),
        cancellation.clone(),
    ));
    let config = &*shared.config;
    let connection = report_if_failed(&notifier, shared.daemons.get(config).await).await?;
    let entries = counted(crontab.entries.len(), "entry", "entries");
    let what =
        format!("serving \"{}\": {entries}, {}", crontab.file, connection.daemon.description());
    log::info!("{what}");

    let address = listening.as_ref().map(|(listener, _)| listener.to_string()).unwrap_or_default();
    let scheduler = start_scheduler(&shared, crontab, address).await;

    let stop = CancellationToken::new();
    let watched = shared.config.clone();
    tokio::spawn(watch::watch(move || Source::find(&watched), reload.clone(), stop.clone()));
    let (outbox, ended) = (notifier.clone(), stop.clone());
    let delivering = tokio::spawn(async move { outbox.keep_delivering(ended).await });
    let freshness = Arc::new(FreshnessWatch::new(shared.clone(), scheduler.view()));
    tokio::spawn(freshness.clone().watch(stop.clone()));
    let program = Arc::new(Program::new(shared.clone(), freshness, scheduler.view()));
    let answering = listening
        .map(|(listener, gate)| http::answer(listener, gate, program.clone(), stop.clone()));

    let manager = ServiceManager::of_this_process();
    manager.ready(&what);
    tokio::spawn(manager.until_the_end(cancellation.clone(), config.shutdown_grace + END_TIMEOUT));
    let read = Arc::new(move || Source::find(&surroundings.config).check(&surroundings));
    let (ended, http_ended) =
        tokio::join!(scheduler.run(read, reload, cancellation.clone()), http::end_runs(&program));
    shared.hub.close();
    stop.cancel();
    if let Some(answering) = answering {
        let _ = answering.await;
    }
    let _ = delivering.await;
    notifier.deliver_within(FINAL_DELIVERY_TIMEOUT).await;
    if ended.left_behind.is_empty() && http_ended.left_behind == 0 {
        drop(connection);
        shared.daemons.close().await;
    }
    let _ = std::fs::remove_file(running_sign(config));
    let cut_off = ended.cut_off.len() + http_ended.cut_off;
    log::info!("ended; {} cut off", counted(cut_off, "run was", "runs were"));
    Ok(())
}

/// Notified at each SIGHUP from now on.
fn reload_on_hangup() -> Arc<Notify> {
    let reload = Arc::new(Notify::new());
    let hangup = reload.clone();
    logging::on_hangup(move || {
        log::info!("reading the crontab again");
        hangup.notify_one();
    });
    reload
}

/// Writes the sign that `serve` runs, with the address at which it listens; ends the problems that
/// kept it from starting; and plans the crontab's runs.
async fn start_scheduler(state: &Arc<ServeState>, crontab: Crontab, address: String) -> Scheduler {
    let state = state.clone();
    blocking::run(move || {
        let config = &state.config;
        if let Err(error) = std::fs::write(config.data_dir.join(FOLLOWED), &crontab.file) {
            log::debug!("\"status\" will not know which crontab is followed: {error}");
        }
        if let Err(error) = std::fs::write(running_sign(config), address) {
            log::warn!("\"status\" will not know that serve was killed, should it be: {error}");
        }
        state.notifier.resolve(START, "serve runs again", "It follows the crontab.");
        state.notifier.resolve("crontab", "the crontab is in order again", "It is in force.");
        let options =
            Options { most_at_a_time: config.max_concurrent, grace: config.shutdown_grace };
        let runner = Arc::new(CrontabRunner(state.clone()));
        Scheduler::new(&crontab, options, Arc::new(SystemClock), runner)
    })
    .await
}

fn log_unknown_zone() {
    if let Some(zone) = clock::unknown_zone() {
        log::error!(
            "TZ is \"{zone}\", which is no time zone that is known here: lines without CRON_TZ are due in UTC"
        );
    }
}

/// What keeps `serve` from starting is told, too: nobody may look at it for a while. That another
/// one runs is no problem.
async fn report_if_failed<T>(notifier: &Arc<Notifier>, started: Result<T>) -> Result<T> {
    if let Err(error) = &started
        && error.kind != ErrorKind::Busy
    {
        cannot_start(notifier, &error.to_string()).await;
    }
    started
}

/// Tells that `serve` could not start.
pub(crate) async fn cannot_start(notifier: &Arc<Notifier>, why: &str) {
    let text = format!("Nothing is started by the crontab until this is mended:\n\n{why}");
    let problem = notifier.clone();
    blocking::run(move || problem.problem(START, "serve can't start", &text)).await;
    notifier.deliver_within(FINAL_DELIVERY_TIMEOUT).await;
}

/// Only one `serve` for a data folder: two would start everything twice.
async fn alone(config: &Config) -> Result<Option<Lock>> {
    check_data_folder(&config.data_dir)?;
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
        .with_hint(format!(
            "let this user (id {}) write to it, or set BKUP_DATA_DIR to another folder; in a container, mount a volume there that this user can write to",
            rustix::process::geteuid().as_raw()
        ))),
    }
}

/// Whether a `serve` works with this data folder now; `None` where one did, and was not told to
/// end.
pub(crate) async fn is_served(config: &Config) -> Option<bool> {
    let was_there = running_sign(config).exists();
    let locks = Locks::new(config.data_dir.join("locks"), Duration::ZERO, "status");
    let held = locks.folder().is_dir()
        && locks
            .acquire(LOCK, Sharing::Shared)
            .await
            .is_err_and(|error| error.kind == ErrorKind::Busy);
    if held || !was_there { Some(held) } else { None }
}

/// The crontab that `serve` follows, or followed last, in words.
pub(crate) fn followed(config: &Config) -> Option<String> {
    std::fs::read_to_string(config.data_dir.join(FOLLOWED)).ok()
}

/// The keys of the crontab's entries that somebody paused.
pub(crate) fn paused(config: &Config) -> BTreeSet<String> {
    program::paused(&config.data_dir)
}

/// Where the `serve` of this data folder listens, such as `http://0.0.0.0:3000`; none where it does
/// not, or was told to end.
pub(crate) fn listens_at(config: &Config) -> Option<String> {
    std::fs::read_to_string(running_sign(config)).ok().filter(|address| !address.is_empty())
}

/// There while `serve` runs, and after it was killed: `status` tells the two from one that was told
/// to end.
fn running_sign(config: &Config) -> PathBuf {
    config.data_dir.join("serve.running")
}

fn log_channels(notifier: &Notifier) {
    let channels = notifier.channels();
    for channel in &channels {
        log::info!("problems are told by {}: {}", channel.channel.as_str(), channel.to);
    }
    if channels.is_empty() {
        log::warn!("{NO_CHANNEL}: {NO_CHANNEL_HINT}");
    }
}

/// A store that is damaged is moved aside; whatever else is wrong with it is said, and the runs go
/// on without it.
async fn mend(store: &Arc<Store>) {
    let damaged = store.clone();
    match blocking::run(move || damaged.mend(SystemClock.now())).await {
        Ok(None) => {}
        Ok(Some(aside)) => log::error!(
            "the store of runs was damaged: it is in \"{}\" now, and a new one was begun; what ran before is not known any more",
            aside.display()
        ),
        Err(error) => log::error!("runs are not remembered: {error}"),
    }
}
