//! Each guard, with a test in which data would be lost without that guard.

mod absence;
mod back_up;
mod belonging;
mod data;
mod ebs;
mod every_guard;
mod lists;
mod names_and_timeouts;
mod newest_good;
mod overlap;
mod past;
mod s3;
mod sources;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use super::{Even, Guards, Observation, overlap::DESTINATION_LOCK};
use crate::{
    clock::Clock,
    convoy::{
        Backup, BackupUrl, Daemon as _, Destination, Name, NewVolume, Snapshot,
        memory::{Fault, MemoryDaemon, NothingKnown},
    },
    error::{Error, ErrorKind, Result},
    locks::{Locks, Sharing},
};

const THE_NEWEST: Even = Even { the_newest: true, of_any_host: false };

struct Bench {
    daemon: Arc<MemoryDaemon>,
    guards: Guards,
    folder: tempfile::TempDir,
}

fn bench(volumes: &[&str]) -> Bench {
    let daemon = Arc::new(MemoryDaemon::with_volumes(volumes));
    let folder = tempfile::tempdir().unwrap();
    let guards = Guards {
        poll_interval: Duration::ZERO,
        ..Guards::new(daemon.clone(), Some(locks(folder.path())), clock()).knowing(daemon.clone())
    };
    Bench { daemon, guards, folder }
}

fn locks(folder: &Path) -> Locks {
    Locks::new(folder, Duration::ZERO, "a test")
}

/// The time of the daemon in memory.
fn clock() -> Arc<dyn Clock> {
    at("2026-01-01T00:00:00Z")
}

fn at(time: &str) -> Arc<dyn Clock> {
    Arc::new(crate::clock::FixedClock::new(time.parse().unwrap(), jiff::tz::TimeZone::UTC))
}

fn vfs() -> Destination {
    Destination::parse("vfs:///backups").unwrap()
}

fn s3() -> Destination {
    Destination::parse("s3://bucket@us-east-1/host1").unwrap()
}

fn name(text: &str) -> Name {
    Name::volume(text).unwrap()
}

fn timeout() -> Error {
    Error::new(ErrorKind::Timeout, "no answer")
}

fn denied() -> Error {
    Error::new(ErrorKind::Daemon, "AccessDenied").with_status(400)
}

/// The URL of the backup that the daemon makes next.
fn next_backup(bench: &Bench) -> BackupUrl {
    let count = bench.daemon.backup_names().len() + 1;
    let backup = Name::parse("backup", &format!("backup-{count:016x}")).unwrap();
    BackupUrl::stored(&vfs(), &backup, &name("vol1"))
}

impl Bench {
    /// Takes a snapshot and backs it up, as a script does.
    async fn back_up(&self, volume: &str, destination: &Destination) -> Result<BackupUrl> {
        let snapshot = self.guards.create_snapshot(&name(volume)).await?;
        self.guards.create_backup(&name(&snapshot.name), destination).await
    }

    /// The guards of another run over the same daemon.
    fn another_run(&self) -> Guards {
        self.knowing_nothing().knowing(self.daemon.clone())
    }

    /// The guards of a run with a new data folder.
    fn knowing_nothing(&self) -> Guards {
        let locks = locks(self.folder.path());
        Guards::new(self.daemon.clone(), Some(locks), clock()).knowing(Arc::new(NothingKnown))
    }

    /// Another host with this volume, and the same destinations.
    fn another_host(&self, volumes: &[&str]) -> Self {
        let daemon = Arc::new(self.daemon.another_host(volumes));
        let folder = tempfile::tempdir().unwrap();
        let guards = Guards::new(daemon.clone(), None, clock()).knowing(daemon.clone());
        Self { guards, daemon, folder }
    }
}
