//! Looks whether each volume has a good backup that is new enough, and whether runs were cut off;
//! and tells people.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tokio::{runtime::Handle, sync::watch};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::{
    app::{report_of_record, telling::interruption_told},
    blocking,
    clock::{Clock, SystemClock},
    diagnostic::explained,
    notify::Notifier,
    runs::Store,
    schedule::View,
    status::{self, Known, VolumeStatus, alerts, freshness::Freshness, report::Report},
};

/// Between two looks whether every volume's backup is new enough.
const LOOK_EVERY: Duration = Duration::from_mins(5);
/// A look that takes longer is told: the daemon or a network folder hangs.
const LOOK_TIME: Duration = Duration::from_mins(30);
/// What the problem of a look that does not come to its end is known by.
const WATCH: &str = "freshness watch";

/// Looks at the volumes every few minutes, and after each run.
pub(super) struct FreshnessWatch {
    shared: Arc<Shared>,
    view: View,
    /// When `serve` was started.
    since: Timestamp,
    /// What was seen last.
    report: watch::Sender<Option<Arc<Report>>>,
    /// Held while it is looked: when that began.
    looking: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

/// Tells of the runs that a crash, a kill or a power failure cut off.
fn tell_interrupted(store: &Store, notifier: &Notifier) {
    match store.untold_interruptions() {
        Ok(runs) => {
            for run in runs {
                log::warn!(
                    "run {}: \"{}\" was interrupted: its process is gone",
                    run.id,
                    run.script
                );
                notifier.on_run_end(&report_of_record(store, &run));
                interruption_told(store, &run.id);
            }
        }
        Err(error) => log::warn!("whether runs were interrupted is not known: {error}"),
    }
}

impl FreshnessWatch {
    pub(super) fn new(shared: Arc<Shared>, view: View) -> Self {
        let since = SystemClock.now();
        Self { shared, view, since, report: watch::Sender::new(None), looking: Arc::default() }
    }

    /// What was seen last, and each time that it is looked again.
    pub(super) fn report(&self) -> watch::Receiver<Option<Arc<Report>>> {
        self.report.subscribe()
    }

    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clone().look_now() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.shared.changed.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Looks, and waits until that is done; where it takes too long, people are told, and there is
    /// no second look beside the first.
    pub(super) async fn look_now(self: Arc<Self>) {
        // It goes with the look itself: whoever asked for it may go away meanwhile.
        let asked = Instant::now();
        let mut guard = self.looking.clone().lock_owned().await;
        // Of all who waited for a look that was under way, one looks again for the rest.
        if guard.is_some_and(|begun| begun > asked) {
            return;
        }
        *guard = Some(Instant::now());
        let watch = self.clone();
        // Most of it reads the store and other files, and scripts: on a thread of its own it keeps
        // nobody waiting.
        let mut looking = tokio::task::spawn_blocking(move || {
            Handle::current().block_on(watch.look());
            watch.shared.notifier.resolve(
                WATCH,
                "backups are looked at again",
                "Each volume's newest backup is known.",
            );
            drop(guard);
        });
        let looked = match tokio::time::timeout(LOOK_TIME, &mut looking).await {
            Ok(looked) => looked,
            Err(_) => {
                let why = "The daemon or the destination did not answer for half an hour: does a network folder hang?";
                self.tell_broken(why.to_owned()).await;
                looking.await
            }
        };
        if let Err(panic) = looked {
            self.tell_broken(panic.to_string()).await;
        }
    }

    async fn tell_broken(&self, why: String) {
        let notifier = self.shared.notifier.clone();
        blocking::run(move || notifier.problem(WATCH, "backups can't be looked at", &why)).await;
    }

    async fn look(&self) {
        let Shared { config, notifier, daemons, .. } = &*self.shared;
        let store = self.shared.store();
        tell_interrupted(store, notifier);
        let crontab = self.shared.crontab();
        let mut seen = Known::default();
        let mut lacks_destination = false;
        let mut daemon = None;
        for (index, expected) in
            status::Expected::by_daemon(config, &crontab.entries).into_iter().enumerate()
        {
            lacks_destination |= expected.config().backup_url.is_none();
            let connection = match daemons.get(expected.config()).await {
                Ok(connection) => connection,
                Err(error) => {
                    seen.unreachable = Some(error);
                    continue;
                }
            };
            daemon.get_or_insert_with(|| connection.daemon.description());
            let guards = status::guards(&connection.daemon);
            let known = status::volumes(&guards, store, &expected, SystemClock.now()).await;
            let known = if index == 0 { known } else { known.of(&guards.identity()) };
            let others = known.volumes.iter().any(|volume| !volume.lost);
            for volume in &known.volumes {
                if !self.is_on_its_way(&expected, volume) {
                    alerts::tell_volume(notifier, volume, others);
                }
            }
            seen.add(known);
        }
        match &seen.unreachable {
            Some(error) => {
                let text =
                    format!("{}\n\nLook closer with: convoy-backups doctor", explained(error));
                notifier.problem("daemon", "the volume daemon does not answer as it should", &text);
            }
            None => {
                notifier.resolve(
                    "daemon",
                    "the volume daemon answers again",
                    "It lists its volumes.",
                );
                alerts::tell_destinations(notifier, &seen.destinations);
                let known =
                    seen.volumes.iter().map(|volume| (volume.label(), volume.clone())).collect();
                alerts::tell_over(notifier, &known, &seen.destinations);
            }
        }
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
        let report = status::report(&status::Seen {
            config,
            serving: Some(true),
            entries: &crontab.entries,
            paused: &paused,
            followed: None,
            crontab_problem,
            lacks_destination,
            daemon: daemon.unwrap_or_default(),
            known: &seen,
            store,
            notifier,
            now: SystemClock.now(),
        });
        self.report.send_replace(Some(Arc::new(report)));
    }

    /// Whether a backup that is overdue is being made: what was missed while the program was down
    /// is made up for.
    fn is_on_its_way(&self, expected: &status::Expected, volume: &VolumeStatus) -> bool {
        let Freshness::Overdue(since) = volume.freshness else { return false };
        let patience = SignedDuration::try_from(expected.run_time(&volume.name))
            .unwrap_or(SignedDuration::MAX);
        let waited = SystemClock.now().duration_since(since.max(self.since));
        !volume.lost && self.is_worked_on(expected, &volume.name) && waited < patience
    }

    /// Whether a run that should back the volume up goes on, or waits for its turn.
    fn is_worked_on(&self, schedule: &status::Expected, volume: &str) -> bool {
        let entries = self.view.entries();
        entries.iter().any(|shown| {
            (shown.running || shown.waiting) && schedule.covers(&shown.entry.key, volume)
        })
    }
}
