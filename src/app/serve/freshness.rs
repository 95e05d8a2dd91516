//! Looks at the volumes every few minutes, and reports volumes without a fresh backup and
//! interrupted runs.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tokio::{runtime::Handle, sync::watch};
use tokio_util::sync::CancellationToken;

use super::{notified_run::mark_interruption_reported, state::ServeState};
use crate::{
    app::{self, run_reports},
    blocking,
    clock::{Clock, SystemClock},
    diagnostic::explained,
    notify::Notifier,
    runs::Store,
    schedule::{Crontab, View},
    status::{self, Coverage, DaemonLook, Known, Looked, Report, VolumeStatus, alerts},
    sync::lock,
};

/// The pause between two looks, unless one is asked for earlier.
const LOOK_INTERVAL: Duration = Duration::from_mins(5);
/// The time after which people are notified that a look hangs, because of the daemon or a network
/// folder.
const LOOK_ALERT_AFTER: Duration = Duration::from_mins(30);

/// Looks at the volumes every few minutes and after each run.
pub(super) struct FreshnessWatch {
    shared: Arc<ServeState>,
    view: View,
    clock: Arc<dyn Clock>,
    /// When `serve` was started.
    since: Timestamp,
    /// What the last look found.
    found: Mutex<Option<Found>>,
    /// The report of the last look.
    report: watch::Sender<Option<Arc<Report>>>,
    /// Held during a look. The value is when the last look began.
    looking: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

/// What a look found, and the crontab that it went by.
struct Found {
    crontab: Crontab,
    looked: Looked,
}

/// Reports the runs that a crash, a kill or a power failure interrupted.
fn report_interrupted_runs(store: &Store, notifier: &Notifier) {
    match store.unreported_interruptions() {
        Ok(runs) => {
            for run in runs {
                log::warn!(
                    "run {}: \"{}\" was interrupted: its process is gone",
                    run.id,
                    run.script
                );
                notifier.on_run_end(&run_reports::of_record(store, &run));
                mark_interruption_reported(store, &run.id);
            }
        }
        Err(error) => log::warn!("whether runs were interrupted is not known: {error}"),
    }
}

/// Reports daemons that do not answer, a store that can't be read, destinations that lack their newest
/// backups, and volumes whose newest backup can't be restored or that are not safe for a reason of
/// their own. Problems of those are resolved only if every daemon answers. Those that are dated in
/// the future count from now on.
pub(super) fn report_daemon_and_backups(notifier: &Notifier, known: &Known) {
    notifier.correct_dates();
    alerts::report_store(notifier, known.store_error.as_ref());
    if let Some(error) = &known.unreachable {
        let text = format!("{}\n\nLook closer with: convoy-backups doctor", explained(error));
        notifier.problem("daemon", "the volume daemon does not answer as it should", &text);
        return;
    }
    notifier.resolve("daemon", "the volume daemon answers again", "It lists its volumes.");
    alerts::report_destinations(notifier, &known.destinations);
    let volumes = known.volumes.iter().map(|volume| (volume.label(), volume.clone())).collect();
    alerts::report_broken(notifier, &volumes);
    alerts::report_unsafe(notifier, &volumes);
    alerts::resolve_ended(notifier, &volumes, &known.destinations);
}

impl FreshnessWatch {
    pub(super) fn new(shared: Arc<ServeState>, view: View) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self {
            shared,
            view,
            since: clock.now(),
            clock,
            found: Mutex::default(),
            report: watch::Sender::new(None),
            looking: Arc::default(),
        }
    }

    /// The report of the last look; it changes with each look.
    pub(super) fn report(&self) -> watch::Receiver<Option<Arc<Report>>> {
        self.report.subscribe()
    }

    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clone().look_now() => {}
            }
            let pause = tokio::time::sleep(LOOK_INTERVAL);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.shared.changed.notified() => break,
                    () = &mut pause => break,
                    // A message that waited is no problem any more, or has become one.
                    () = self.shared.notifier.attempted() => {
                        let watch = self.clone();
                        blocking::run(move || watch.report_again()).await;
                    }
                }
            }
        }
    }

    /// Looks at the volumes, and returns once that is done. If it takes too long, people are
    /// notified; a second look never runs beside the first.
    pub(super) async fn look_now(self: Arc<Self>) {
        // The look itself holds the guard, because the caller may be dropped.
        let asked = Instant::now();
        let mut guard = self.looking.clone().lock_owned().await;
        // Of all callers that waited for a look, one looks again for the rest.
        if guard.is_some_and(|begun| begun > asked) {
            return;
        }
        *guard = Some(Instant::now());
        let watch = self.clone();
        // A look mostly reads the store, files and scripts, and so blocks: it has a thread of its
        // own.
        let mut looking = tokio::task::spawn_blocking(move || {
            Handle::current().block_on(watch.look());
            watch.shared.notifier.resolve(
                alerts::LOOK_KEY,
                "backups are looked at again",
                "Each volume's newest backup is known.",
            );
            drop(guard);
        });
        let looked = match tokio::time::timeout(LOOK_ALERT_AFTER, &mut looking).await {
            Ok(looked) => looked,
            Err(_) => {
                let why = "The daemon or the destination did not answer for half an hour: does a network folder hang?";
                self.report_failed_look(why.to_owned()).await;
                looking.await
            }
        };
        if let Err(panic) = looked {
            self.report_failed_look(panic.to_string()).await;
        }
    }

    /// Notifies people that a look failed or does not end. What the last one found gets a new
    /// report, in which that is a problem.
    async fn report_failed_look(self: &Arc<Self>, why: String) {
        log::error!("backups can't be looked at: {why}");
        let watch = self.clone();
        blocking::run(move || {
            let notifier = &watch.shared.notifier;
            notifier.problem(alerts::LOOK_KEY, "backups can't be looked at", &why);
            watch.report_again();
        })
        .await;
    }

    async fn look(&self) {
        let ServeState { config, notifier, daemons, .. } = &*self.shared;
        let store = self.shared.store();
        report_interrupted_runs(store, notifier);
        let crontab = self.shared.crontab();
        let mut connections = Vec::new();
        let looked = status::look(
            config,
            &crontab.entries,
            store,
            &self.clock,
            async |config| {
                let connection = daemons.get(config).await?;
                let daemon = connection.daemon.clone();
                connections.push(connection);
                Ok(daemon)
            },
            |look| self.report_volumes(look),
        )
        .await;
        report_daemon_and_backups(notifier, &looked.known);
        *lock(&self.found) = Some(Found { crontab, looked });
        self.report_again();
    }

    /// Makes the report on what the last look found anew: messages may have been sent since.
    fn report_again(&self) {
        // Held until the report is out, so that an older one never replaces it.
        let found = lock(&self.found);
        if let Some(Found { crontab, looked }) = &*found {
            let report = self.assembled(crontab, looked);
            self.report.send_replace(Some(Arc::new(report)));
        }
    }

    /// Reports the overdue and missing volumes of one daemon.
    fn report_volumes(&self, look: &DaemonLook) {
        let volumes = &look.known.volumes;
        let zone = self.clock.time_zone();
        let has_others = volumes.iter().any(|volume| !volume.gone);
        for volume in volumes {
            if !self.is_being_made_up_for(&look.coverage, volume) {
                alerts::report_volume(&self.shared.notifier, volume, has_others, &zone);
            }
        }
    }

    fn assembled(&self, crontab: &Crontab, looked: &Looked) -> Report {
        let entries = self.view.entries();
        let paused = entries
            .into_iter()
            .filter(|shown| shown.paused)
            .map(|shown| shown.entry.key.clone())
            .collect();
        let crontab_problem = (!self.shared.refused().is_empty()).then(|| {
            format!(
                "the crontab \"{}\" has errors, and the one before is in force: see \"convoy-backups crontab check\"",
                crontab.file
            )
        });
        status::report(&status::Sources {
            config: &self.shared.config,
            serving: Some(true),
            entries: &crontab.entries,
            paused: &paused,
            followed: None,
            crontab_problem,
            copied_root: app::copied_root(&self.shared.config),
            looked,
            store: self.shared.store(),
            notifier: &self.shared.notifier,
            now: &self.clock.now_local(),
        })
    }

    /// Whether an overdue backup is being made up for, as after a time in which the program was
    /// down.
    fn is_being_made_up_for(&self, coverage: &Coverage, volume: &VolumeStatus) -> bool {
        let Some(since) = volume.verdict.overdue_since() else { return false };
        let run_time = SignedDuration::try_from(coverage.run_time(&volume.name))
            .unwrap_or(SignedDuration::MAX);
        let waited = self.clock.now().duration_since(since.max(self.since));
        !volume.gone && self.has_active_run(coverage, &volume.name) && waited < run_time
    }

    /// Whether a run that should back the volume up goes on or waits in the queue.
    fn has_active_run(&self, coverage: &Coverage, volume: &str) -> bool {
        let entries = self.view.entries();
        entries.iter().any(|shown| {
            (shown.running || shown.waiting) && coverage.covers(&shown.entry.key, volume)
        })
    }
}
