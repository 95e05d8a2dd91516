//! The state that the crontab's runs, the runs over HTTP and the looks at the volumes share.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::daemons::Daemons;
use crate::{
    app::{Connection, run_environment, settings},
    clock::{Clock as _, SystemClock, ZonedClock},
    config::Config,
    error::Error,
    notify::Notifier,
    runs::{Recorder, RunEnvironment, RunQueue, Store},
    schedule::{Crontab, CrontabEntry},
    script::Settings,
    sync::lock,
    web::events::Hub,
};

pub(super) struct ServeState {
    /// The configuration, without the settings of the crontab's lines.
    pub(super) config: Arc<Config>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) queue: Arc<RunQueue>,
    pub(super) notifier: Arc<Notifier>,
    pub(super) daemons: Daemons,
    pub(super) hub: Arc<Hub>,
    /// The crontab in force.
    pub(super) following: Mutex<Crontab>,
    /// The errors of a newer crontab, which is not in force.
    pub(super) refused: Mutex<Vec<Error>>,
    /// Notified when the state of a volume may have changed, for the next look.
    pub(super) changed: Notify,
    /// Cancelled when the program is told to end: no new run starts.
    pub(super) ending: CancellationToken,
}

impl ServeState {
    /// The state at the start, over this store of runs and this crontab. `ending` is cancelled when
    /// the program is told to end.
    pub(super) fn new(
        config: Config,
        store: Arc<Store>,
        notifier: Arc<Notifier>,
        crontab: Crontab,
        ending: CancellationToken,
    ) -> Self {
        let hub = Arc::new(Hub::new(format!("{:x}", SystemClock.now().as_microsecond())));
        Self {
            recorder: Arc::new(Recorder::new(store, Arc::new(SystemClock))),
            queue: Arc::new(RunQueue::new(config.max_concurrent)),
            notifier,
            daemons: Daemons::new(Arc::new(hub.progress().clone())),
            hub,
            following: Mutex::new(crontab),
            refused: Mutex::default(),
            changed: Notify::new(),
            ending,
            config: Arc::new(config),
        }
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        self.recorder.store()
    }

    /// The crontab in force.
    pub(super) fn crontab(&self) -> Crontab {
        lock(&self.following).clone()
    }

    /// The errors of a newer crontab, which is not in force.
    pub(super) fn refused(&self) -> Vec<Error> {
        lock(&self.refused).clone()
    }

    /// The environment of a run with these settings and this daemon.
    pub(super) fn environment(
        &self,
        config: &Config,
        settings: Arc<Settings>,
        connection: &Connection,
    ) -> RunEnvironment {
        let environment = run_environment(
            config,
            settings,
            connection,
            self.notifier.clone(),
            self.recorder.clone(),
        );
        // A daemon that only a line of the crontab names is not the data folder's.
        let is_of_program = config.convoy == self.config.convoy;
        RunEnvironment {
            queue: Some(self.queue.clone()),
            ending: self.ending.clone(),
            listener: Arc::new(self.hub.progress().clone()),
            worked_with_volumes: environment.worked_with_volumes.filter(|_| is_of_program),
            ..environment
        }
    }

    /// The environment of a run of the crontab's entry, with its own settings.
    pub(super) fn environment_of_entry(
        &self,
        entry: &CrontabEntry,
        connection: &Connection,
    ) -> RunEnvironment {
        RunEnvironment {
            // Days and weeks are counted in the line's time zone.
            clock: Arc::new(ZonedClock(entry.schedule.zone().clone())),
            // Runs that want the same volume or destination wait for each other, as long as their
            // timeout allows.
            lock_wait: entry.timeout,
            ..self.environment(&entry.config, settings(&entry.config), connection)
        }
    }
}
