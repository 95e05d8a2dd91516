//! Looks whether each volume has a good backup that is new enough, and whether runs were cut off; and tells people.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{runtime::Handle, sync::Notify};
use tokio_util::sync::CancellationToken;

use super::{daemons::Daemons, explained};
use crate::{
    app::{
        report_of_record,
        status::{self, VolumeStatus},
        telling::{interruption_told, off_the_runtime},
    },
    clock::{Clock, SystemClock},
    config::Config,
    freshness::Freshness,
    notify::Teller,
    runs::Store,
    schedule::{Crontab, View},
};

/// Between two looks whether every volume's backup is new enough.
const LOOK_EVERY: Duration = Duration::from_mins(5);
/// A look that takes longer is told: the daemon or a network folder hangs.
const LOOK_TIME: Duration = Duration::from_mins(30);
/// What the problem of a volume without a fresh backup is known by.
const FRESHNESS: &str = "freshness ";
/// What the problem of a look that does not come to its end is known by.
const WATCH: &str = "freshness watch";

/// Looks at the volumes every few minutes, and after each run.
pub(super) struct FreshnessWatch {
    pub(super) config: Arc<Config>,
    pub(super) daemons: Arc<Daemons>,
    pub(super) store: Arc<Store>,
    pub(super) teller: Arc<Teller>,
    pub(super) following: Arc<std::sync::Mutex<Crontab>>,
    pub(super) view: View,
    /// When `serve` was started.
    pub(super) since: Timestamp,
}

/// Tells of the runs that a crash, a kill or a power failure cut off.
fn tell_interrupted(store: &Store, teller: &Teller) {
    match store.untold_interruptions() {
        Ok(runs) => {
            for run in runs {
                log::warn!("run {}: \"{}\" was interrupted: its process is gone", run.id, run.script);
                teller.run_ended(&report_of_record(store, &run));
                interruption_told(store, &run.id);
            }
        }
        Err(error) => log::warn!("whether runs were interrupted is not known: {error}"),
    }
}

impl FreshnessWatch {
    pub(super) async fn watch(self: Arc<Self>, changed: Arc<Notify>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.clone().look_in_time() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = changed.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Looks; where that takes too long, people are told, and there is no second look beside the first.
    async fn look_in_time(self: Arc<Self>) {
        let watch = self.clone();
        // Most of it reads the store and other files, and scripts: on a thread of its own it keeps nobody waiting.
        let mut looking = tokio::task::spawn_blocking(move || {
            Handle::current().block_on(watch.look());
            watch.teller.solved(WATCH, "backups are looked at again", "Each volume's newest backup is known.");
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
        let teller = self.teller.clone();
        off_the_runtime(move || teller.problem(WATCH, "backups can't be looked at", &why)).await;
    }

    async fn look(&self) {
        tell_interrupted(&self.store, &self.teller);
        let crontab = self.following.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut known = BTreeMap::new();
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
            for volume in seen.volumes {
                self.tell_overdue(&expected, &volume);
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
        // What is not wrong any more, also because the volume is gone.
        let told = self.teller.problems().unwrap_or_default();
        for key in told.keys().filter_map(|key| key.strip_prefix("problem ")) {
            let Some(volume) = key.strip_prefix(FRESHNESS) else { continue };
            match known.get(volume) {
                Some(VolumeStatus { freshness: Freshness::Overdue(_), .. } | VolumeStatus { lost: true, .. }) => {}
                Some(VolumeStatus { freshness: Freshness::Until(_), backup: Some(backup), .. }) => {
                    self.teller.solved(key, &format!("{volume} is well again"), &backup.url);
                }
                Some(VolumeStatus { freshness: Freshness::Until(_), backup: None, .. }) => {}
                Some(_) => {
                    let text =
                        "No line of the crontab backs it up, so nothing is known of when there should be a backup.";
                    self.teller.solved(key, &format!("{volume} is not scheduled any more"), text);
                }
                None => {
                    self.teller.solved(key, &format!("{volume} is gone"), "The daemon has no such volume any more.")
                }
            }
        }
    }

    /// Tells of a volume whose newest good backup is too old, or that is not there any more.
    fn tell_overdue(&self, expected: &status::Expected, volume: &VolumeStatus) {
        let key = format!("{FRESHNESS}{}", volume.name);
        let zone = SystemClock.time_zone();
        let moment = |time: Timestamp| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
        let first = match volume.freshness {
            Freshness::Overdue(since) => {
                // What was missed while the program was down is being made up for.
                let patience = SignedDuration::try_from(expected.run_time(&volume.name)).unwrap_or(SignedDuration::MAX);
                let waited = SystemClock.now().duration_since(since.max(self.since));
                if self.is_worked_on(expected, &volume.name) && waited < patience {
                    return;
                }
                log::error!("no fresh backup of \"{}\": one should have been there by {since}", volume.name);
                format!("A good backup of the volume \"{}\" should have been there by {}.", volume.name, moment(since))
            }
            _ if volume.lost => format!("The volume \"{}\" is not there any more.", volume.name),
            _ => return,
        };
        let newest = volume.backup.as_ref().map_or_else(
            || "It has no good backup at all.".to_owned(),
            |backup| format!("Its newest good backup was made {}:\n{}", moment(backup.made), backup.url),
        );
        let why = volume.problems.join("\n");
        let text = format!("{first}\n\n{newest}\n\n{why}\n\nLook closer with: convoy-backups status");
        let subject = if volume.lost {
            format!("{} is gone", volume.name)
        } else {
            format!("no fresh backup of {}", volume.name)
        };
        self.teller.problem(&key, &subject, &text);
    }

    /// Whether a run that should back the volume up goes on, or waits for its turn.
    fn is_worked_on(&self, schedule: &status::Expected, volume: &str) -> bool {
        let entries = self.view.entries();
        entries.iter().any(|shown| (shown.running || shown.waiting) && schedule.covers(&shown.entry.key, volume))
    }
}
