//! One look at all daemons that the crontab's lines use, for `status` and `serve`. `doctor` looks
//! at the destinations of one daemon.

use std::sync::Arc;

use super::{
    coverage::Coverage,
    destinations::look_at_destinations,
    known::{DestinationLook, Known},
    volumes::{guards, records, volumes},
};
use crate::{
    clock::{Clock as _, SystemClock},
    config::Config,
    convoy::Daemon,
    error::{Error, Result},
    runs::Store,
    schedule::CrontabEntry,
};

/// What a look found at one daemon.
pub(crate) struct DaemonLook {
    /// Which of its volumes the crontab's lines snapshot and back up.
    pub(crate) coverage: Coverage,
    /// The daemon's key in the store.
    pub(crate) identity: String,
    pub(crate) known: Known,
}

/// What a look found at all daemons.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    pub(crate) known: Known,
    /// The first daemon that could be connected to, in words for people; empty if there is none.
    pub(crate) daemon: String,
    /// Whether a line, or the configuration if there are no lines, has no destination.
    pub(crate) lacks_destination: bool,
    /// Why daemons could not be connected to. The last error is also [`Known::unreachable`].
    pub(crate) not_connected: Vec<Error>,
}

/// Looks at the volumes of every daemon that these entries use, one daemon after the other; without
/// entries, at the configuration's daemon.
///
/// `connect` connects to the daemon of a configuration. `seen` gets what was found at each daemon
/// before the look goes on: the next daemon may hang.
pub(crate) async fn look(
    config: &Arc<Config>,
    entries: &[Arc<CrontabEntry>],
    store: &Store,
    mut connect: impl AsyncFnMut(&Config) -> Result<Arc<dyn Daemon>>,
    mut seen: impl FnMut(&DaemonLook),
) -> Looked {
    let mut looked = Looked::default();
    for (index, coverage) in Coverage::by_daemon(config, entries).into_iter().enumerate() {
        looked.lacks_destination |= coverage.config().backup_url.is_none();
        let daemon = match connect(coverage.config()).await {
            Ok(daemon) => daemon,
            Err(error) => {
                looked.known.unreachable = Some(error.clone());
                looked.not_connected.push(error);
                continue;
            }
        };
        if looked.daemon.is_empty() {
            looked.daemon = daemon.description();
        }
        let guards = guards(&daemon);
        let identity = guards.identity();
        let known = volumes(&guards, store, &coverage, SystemClock.now()).await;
        let known = if index == 0 { known } else { known.at(&identity) };
        let look = DaemonLook { coverage, identity, known };
        seen(&look);
        looked.known.add(look.known);
    }
    looked
}

/// Looks at the destination that the configuration names.
pub(crate) async fn look_at_destination(
    config: &Config,
    daemon: &Arc<dyn Daemon>,
    store: &Store,
) -> Vec<DestinationLook> {
    let guards = guards(daemon);
    let records = records(store, &guards.identity()).unwrap_or_default();
    let coverage = Coverage::of(Arc::new(config.clone()), &[]);
    look_at_destinations(&guards, store, &records, &coverage).await
}
