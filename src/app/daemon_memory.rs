//! Remembers, in the data folder, to which daemon its volumes and runs belong: from the first run
//! that worked with volumes, and from the runs of versions that did not remember it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::Connection;
use crate::{
    config::{CONVOY_SOCKET, Config, DaemonChoice, RememberedDaemon, Settled},
    runs::{Store, record::VolumeRecord},
};

/// What a run calls once it worked with volumes: the data folder remembers the run's daemon, unless
/// it remembers one already.
pub(super) fn remember_at_run_end(
    config: &Config,
    connection: &Connection,
) -> Arc<dyn Fn() + Send + Sync> {
    let (config, choice) = (config.clone(), connection.choice.clone());
    let (same, is_done) = (connection.same.clone(), AtomicBool::new(false));
    Arc::new(move || {
        if is_done.load(Ordering::Relaxed) {
            return;
        }
        match config.remember_run(&choice, same.as_ref()) {
            Ok(()) => is_done.store(true, Ordering::Relaxed),
            Err(error) => {
                log::warn!("which daemon the volumes belong to is not remembered: {error}");
            }
        }
    })
}

/// Where `BKUP_CONVOY` is not set and the data folder does not remember a daemon, the volumes that
/// earlier runs saw say which one it was. A host that was upgraded while Convoy was down must not
/// learn the wrong one.
///
/// Only the two daemons that such a run can have used count. If it used both, the one with the
/// newest record does.
pub(crate) fn recall_from_history(config: &Config) {
    if config.convoy.is_some() || config.remembers_daemon() {
        return;
    }
    let store = Store::new(&config.data_dir);
    if !store.exists() {
        return;
    }
    let records = match store.volumes() {
        Ok(records) => records,
        Err(error) => {
            log::warn!("to which daemon the volumes belong is not known: {error}");
            return;
        }
    };
    let candidates =
        [DaemonChoice::Socket(CONVOY_SOCKET.into()), DaemonChoice::Builtin(config.builtin_root())];
    let newest = |choice: &DaemonChoice| {
        let identity = choice.identity();
        let is_own = |record: &&VolumeRecord| record.removed.is_none() && record.daemon == identity;
        records.iter().filter(is_own).map(|record| record.last_seen).max()
    };
    let used = candidates.into_iter().filter_map(|choice| Some((newest(&choice)?, choice)));
    let Some((_, choice)) = used.max_by_key(|(seen, _)| *seen) else { return };
    let daemon = RememberedDaemon { choice, settled: Settled::History, same: None };
    if let Err(error) = config.remember_daemon(&daemon) {
        log::warn!("which daemon the volumes belong to is not remembered: {error}");
    }
}
