//! One look at all daemons that the crontab's lines use, for `status` and `serve`. `doctor` looks
//! at the destinations of one daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    coverage::Coverage,
    destinations::look_at_destinations,
    known::{DestinationLook, Known},
    volumes::{guards, records, unseen_volumes, volumes},
};
use crate::{
    clock::Clock,
    config::Config,
    convoy::{
        Daemon,
        guards::{DataLook, Guards},
    },
    error::{Error, Result},
    objectstore::ObjectStoreLook,
    runs::{Store, record::VolumeRecord},
    schedule::CrontabEntry,
};

/// What a look found at one daemon.
pub(crate) struct DaemonLook {
    /// Whether a line of the crontab, or the configuration, uses this daemon.
    pub(crate) is_used: bool,
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
    /// Whether a run ever saw a volume, at any daemon.
    pub(crate) ever_saw_volumes: bool,
    /// The daemons that have volumes with good backups, and that nothing uses any more.
    pub(crate) unused_daemons: Vec<UnusedDaemon>,
    /// When the look began.
    pub(crate) at: Timestamp,
    /// Why daemons could not be connected to. The last error is also [`Known::unreachable`].
    pub(crate) not_connected: Vec<Error>,
}

/// A daemon that nothing uses any more, and its volumes.
#[derive(Debug)]
pub(crate) struct UnusedDaemon {
    /// The daemon's key in the store, for people as well.
    pub(crate) identity: String,
    pub(crate) volumes: Vec<String>,
}

/// Looks at the volumes of every daemon that these entries use, one daemon after the other; without
/// entries, at the configuration's daemon. The clock says what is old by now.
///
/// `connect` connects to the daemon of a configuration. `seen` gets what was found at each daemon
/// before the look goes on: the next daemon may hang.
pub(crate) async fn look(
    config: &Arc<Config>,
    entries: &[Arc<CrontabEntry>],
    store: &Store,
    clock: &Arc<dyn Clock>,
    mut connect: impl AsyncFnMut(&Config) -> Result<Arc<dyn Daemon>>,
    mut seen: impl FnMut(&DaemonLook),
) -> Looked {
    let mut looked = Looked { at: clock.now(), ..Looked::default() };
    let mut identities = BTreeSet::new();
    for (index, coverage) in Coverage::by_daemon(config, entries).into_iter().enumerate() {
        looked.lacks_destination |= coverage.config().backup_url.is_none();
        let now = clock.now();
        let (identity, known) = match connect(coverage.config()).await {
            Ok(daemon) => {
                if looked.daemon.is_empty() {
                    looked.daemon = daemon.description();
                }
                let guards = knowing(config, guards(&daemon, clock));
                let guards = guards.looking_at_data(data_look(coverage.config()));
                (guards.identity(), volumes(&guards, store, &coverage, now).await)
            }
            Err(error) => {
                looked.not_connected.push(error.clone());
                let identity = coverage.config().daemon().choice.identity();
                let known = not_connected(store, &coverage, &identity, error, now).await;
                (identity, known)
            }
        };
        let projects = known.volumes.iter();
        let projects =
            projects.filter_map(|volume| Some((volume.name.clone(), volume.project.clone()?)));
        let coverage = coverage.knowing(projects.collect());
        let known = if index == 0 { known } else { known.at(&identity) };
        identities.insert(identity.clone());
        let look = DaemonLook { is_used: true, coverage, identity, known };
        seen(&look);
        looked.known.add(look.known);
    }
    look_at_unused(config, entries, store, clock.now(), &identities, &mut looked, seen).await;
    looked
}

/// What the store knows of the volumes of a daemon that could not be connected to.
async fn not_connected(
    store: &Store,
    coverage: &Coverage,
    identity: &str,
    error: Error,
    now: Timestamp,
) -> Known {
    let (mut records, store_error) = match records(store, identity) {
        Ok(records) => (records, None),
        Err(error) => (BTreeMap::new(), Some(error)),
    };
    records.retain(|_, record| record.removed.is_none());
    let volumes = unseen_volumes(&records, store, coverage, now).await;
    Known { volumes, unreachable: Some(error), store_error, ..Known::default() }
}

/// Looks at the volumes of daemons that nothing uses any more. Such a volume counts if it has a good
/// backup, and unless a daemon in use has a volume of its name: then it was moved there.
async fn look_at_unused(
    config: &Arc<Config>,
    entries: &[Arc<CrontabEntry>],
    store: &Store,
    now: Timestamp,
    used: &BTreeSet<String>,
    looked: &mut Looked,
    mut seen: impl FnMut(&DaemonLook),
) {
    let Ok(records) = store.volumes() else { return };
    looked.ever_saw_volumes = !records.is_empty();
    let is_there =
        |name: &str| looked.known.volumes.iter().any(|volume| volume.name == name && !volume.gone);
    let mut unused: BTreeMap<String, BTreeMap<String, VolumeRecord>> = BTreeMap::new();
    for record in records {
        let is_missed = record.removed.is_none() && !record.good_backups.is_empty();
        if is_missed && !used.contains(&record.daemon) && !is_there(&record.name) {
            unused.entry(record.daemon.clone()).or_default().insert(record.name.clone(), record);
        }
    }
    for (identity, records) in unused {
        let coverage = Coverage::of(config.clone(), entries);
        let volumes = unseen_volumes(&records, store, &coverage, now).await;
        let known = Known { volumes, ..Known::default() }.at(&identity);
        let volumes = records.into_keys().collect();
        looked.unused_daemons.push(UnusedDaemon { identity: identity.clone(), volumes });
        let look = DaemonLook { is_used: false, coverage, identity, known };
        seen(&look);
        looked.known.add(look.known);
    }
}

/// Looks at the destination that the configuration names.
pub(crate) async fn look_at_destination(
    config: &Config,
    daemon: &Arc<dyn Daemon>,
    store: &Store,
    clock: &Arc<dyn Clock>,
) -> Vec<DestinationLook> {
    let guards = knowing(config, guards(daemon, clock)).looking_at_data(data_look(config));
    let mut records = records(store, &guards.identity()).unwrap_or_default();
    records.retain(|_, record| record.removed.is_none());
    let coverage = Coverage::of(Arc::new(config.clone()), &[]);
    look_at_destinations(&guards, store, &mut records, &coverage, clock.now()).await.destinations
}

/// Guards that know what earlier runs learned of backups.
fn knowing(config: &Config, guards: Guards) -> Guards {
    guards.knowing(Arc::new(Store::new(&config.data_dir)))
}

/// Looks at the data of the backups at this configuration's destinations.
fn data_look(config: &Config) -> Arc<dyn DataLook> {
    Arc::new(ObjectStoreLook::new(config.s3()))
}
