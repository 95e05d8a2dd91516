//! `serve`: follows the crontab, records every run, looks whether each volume has a fresh backup,
//! and notifies people, until it is told to end.

mod daemons;
mod freshness;
mod http;
#[cfg(test)]
mod model_tests;
mod notified_run;
mod presence;
mod program;
mod runner;
mod state;
mod upkeep;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Connection;
use crate::{
    blocking,
    clock::{self, Clock, SystemClock},
    config::Config,
    diagnostic::in_one_line,
    error::{ErrorKind, Result},
    logging,
    notify::{NO_CHANNEL, NO_CHANNEL_HINT, Notifier},
    runs::Store,
    schedule::{Crontab, Options, Scheduler, Source, Surroundings, watch},
    service_manager::ServiceManager,
    text::counted,
};
use freshness::FreshnessWatch;
pub(crate) use presence::{is_served, listens_at};
use program::Program;
use runner::CrontabRunner;
use state::ServeState;

/// The limit for sending messages when the program ends. The rest waits in the outbox.
const FINAL_DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// The key of the problem that `serve` can't start.
const START_PROBLEM: &str = "start";
/// The time after the grace time in which `serve` ends: cancelled runs end, and messages are sent.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// What `serve` starts with. The crontab is checked.
pub(crate) struct Serving {
    /// The configuration, without the settings of the crontab's lines.
    pub(crate) config: Config,
    /// For reading the crontab again when it changes.
    pub(crate) surroundings: Surroundings,
    pub(crate) crontab: Crontab,
    pub(crate) notifier: Arc<Notifier>,
}

/// Serves until the cancellation. Then no new run starts, and runs get the grace time to end. The
/// order of the steps matters:
///
/// 1. SIGHUP is watched for: unwatched, it ends the process.
/// 2. The lock on the data folder is taken: a second `serve` would start everything twice.
/// 3. The HTTP port is bound, and the token read or made; no request is answered yet.
/// 4. The log says which channels are on, and whether the time zone is unknown.
/// 5. A damaged store of runs is moved aside, before anything reads it.
/// 6. The configuration's daemon is connected to, unless it must be settled first which one it is.
/// 7. The sign that `serve` runs is written, and problems that kept it from starting are resolved.
/// 8. The scheduler is made: it plans missed and interrupted runs from the store.
/// 9. The crontab's file is watched, messages are delivered, volumes are looked at.
/// 10. HTTP is answered; then the service manager is told that the program is ready.
/// 11. The scheduler runs until the cancellation. Its runs and those over HTTP have the same grace
///     time at once.
/// 12. Events end, then the tasks of 9 and 10: answers are sent to their end, and a message in
///     transit is not cut off.
/// 13. The last messages are sent, for [`FINAL_DELIVERY_TIMEOUT`] at most.
/// 14. Daemons are closed, unless a run that did not end still uses one.
/// 15. The sign that `serve` runs is removed.
///
/// # Errors
/// [`ErrorKind::Busy`] if another `serve` uses the same data folder; a configuration error if the
/// data folder or the daemon can't be used at all.
pub(crate) async fn serve(serving: Serving, cancellation: CancellationToken) -> Result<()> {
    let Serving { config, surroundings, crontab, notifier } = serving;
    let reload = reload_on_hangup();
    let _lock = report_if_failed(&notifier, presence::lock_data_folder(&config).await).await?;
    let listening = report_if_failed(&notifier, http::listen(&config).await).await?;
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
    let connection = begin(&shared, config).await?;
    let daemon = match &connection {
        Some(connection) => connection.daemon.description(),
        None => "no daemon before it is settled which".to_owned(),
    };
    let entries = counted(crontab.entries.len(), "entry", "entries");
    let what = format!("serving \"{}\": {entries}, {daemon}", crontab.file);
    log::info!("{what}");

    let address = listening.as_ref().map(|(listener, _)| listener.to_string()).unwrap_or_default();
    let scheduler = start_scheduler(&shared, crontab, address).await;

    let stop = CancellationToken::new();
    let (watched, followed) = (shared.config.clone(), Source::find(config));
    let find = move || Source::find(&watched).unless_lost(&followed);
    tokio::spawn(watch::watch(find.clone(), reload.clone(), stop.clone()));
    let (outbox, ended) = (notifier.clone(), stop.clone());
    let delivering = tokio::spawn(async move { outbox.keep_delivering(ended).await });
    let freshness = Arc::new(FreshnessWatch::new(shared.clone(), scheduler.view()));
    tokio::spawn(freshness.clone().watch(stop.clone()));
    tokio::spawn(upkeep::keep(shared.clone(), stop.clone()));
    let program = Arc::new(Program::new(shared.clone(), freshness, scheduler.view()));
    let answering = listening
        .map(|(listener, gate)| http::answer(listener, gate, program.clone(), stop.clone()));

    let manager = ServiceManager::of_this_process();
    manager.ready(&what);
    let read = Arc::new(move || find().check(&surroundings));
    let work = async {
        let (ended, http_ended) = tokio::join!(
            scheduler.run(read, reload, cancellation.clone()),
            http::end_runs(&program)
        );
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
        ended.cut_off.len() + http_ended.cut_off
    };
    let cut_off = manager.during(work, &cancellation, config.shutdown_grace + END_TIMEOUT).await;
    presence::withdraw(config);
    log::info!("ended; {} cut off", counted(cut_off, "run was", "runs were"));
    Ok(())
}

/// Connects to the daemon. `None` if the volumes of the data folder belong to another daemon than the
/// one that is there: then every run fails, and people are told, until that is settled or the other
/// is there again.
async fn begin(state: &ServeState, config: &Config) -> Result<Option<Arc<Connection>>> {
    match state.daemons.get(config).await {
        Err(error) if config.daemon().refusal.is_some() => {
            log::error!("{}", in_one_line(&error));
            Ok(None)
        }
        connected => report_if_failed(&state.notifier, connected).await.map(Some),
    }
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

/// Writes the sign that `serve` runs, with the address at which it listens; resolves the problems
/// that kept it from starting; and makes the scheduler.
async fn start_scheduler(state: &Arc<ServeState>, crontab: Crontab, address: String) -> Scheduler {
    let state = state.clone();
    blocking::run(move || {
        let config = &state.config;
        presence::announce(config, &crontab.file, address);
        state.notifier.resolve(START_PROBLEM, "serve runs again", "It follows the crontab.");
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

/// Reports an error that keeps `serve` from starting: it may go unnoticed for a while otherwise.
/// Another `serve` that runs is no problem.
async fn report_if_failed<T>(notifier: &Arc<Notifier>, started: Result<T>) -> Result<T> {
    if let Err(error) = &started
        && error.kind != ErrorKind::Busy
    {
        cannot_start(notifier, &error.to_string()).await;
    }
    started
}

/// Reports that `serve` could not start, and sends the message.
pub(crate) async fn cannot_start(notifier: &Arc<Notifier>, why: &str) {
    let text = format!("Nothing is started by the crontab until this is mended:\n\n{why}");
    let problem = notifier.clone();
    blocking::run(move || problem.problem(START_PROBLEM, "serve can't start", &text)).await;
    notifier.deliver_within(FINAL_DELIVERY_TIMEOUT).await;
}

/// The keys of the crontab's entries that are paused.
pub(crate) fn paused(config: &Config) -> BTreeSet<String> {
    program::paused(&config.data_dir)
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

/// Moves a damaged store aside. Any other failure of the store is logged, and runs go on without
/// it.
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
