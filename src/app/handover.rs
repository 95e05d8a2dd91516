//! A built-in daemon's root has one owner at a time, and everyone else speaks to the owner's socket. Owners come and go: a
//! command that ends hands the root over to whoever asks next. This is what asks.

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use crate::{
    convoy::{Backup, BackupUrl, Daemon, Destination, DriverInfo, Info, Mount, Name, NewVolume, Snapshot, Volume},
    error::{ErrorKind, Result},
};

/// Finds the daemon anew: takes the root where it is free, or speaks to its owner.
type Connect = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Arc<dyn Daemon>>> + Send>> + Send + Sync>;

/// A daemon that is looked for again where it went away before anything was sent to it.
pub(super) struct Handover {
    current: Mutex<Arc<dyn Daemon>>,
    connect: Connect,
    root: PathBuf,
}

impl std::fmt::Debug for Handover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handover").field("current", &self.current()).finish_non_exhaustive()
    }
}

impl Handover {
    /// Over the daemon that `connect` finds, the owner of this root.
    pub(super) async fn new(root: &Path, connect: Connect) -> Result<Self> {
        let current = Mutex::new(connect().await?);
        // Made by now, where it was not there; one spelling for all of its spellings.
        let root = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
        Ok(Self { current, connect, root })
    }

    fn current(&self) -> Arc<dyn Daemon> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn reconnect(&self) -> Result<()> {
        let daemon = (self.connect)().await?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = daemon;
        Ok(())
    }
}

/// Each method the same: where the daemon could not be reached, so that nothing was sent, look for it once more.
macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Daemon for Handover {
            fn description(&self) -> String {
                self.identity()
            }

            fn identity(&self) -> String {
                format!("the built-in daemon at {}", self.root.display())
            }

            fn serialises_itself(&self) -> bool {
                // In this process or another, it is the built-in daemon.
                true
            }

            $(async fn $method(&self, $($argument: $type),*) -> Result<$answer> {
                match self.current().$method($($argument),*).await {
                    Err(error) if error.kind == ErrorKind::Unreachable => {
                        log::info!("the owner of the built-in daemon's folder has gone ({error}); looking for it again");
                        self.reconnect().await?;
                        self.current().$method($($argument),*).await
                    }
                    answer => answer,
                }
            })*
        }
    };
}

forward! {
    info() -> Info;
    volumes() -> BTreeMap<String, Volume>;
    driver_volumes() -> BTreeMap<String, DriverInfo>;
    volume(name: &Name) -> Volume;
    create_volume(volume: &NewVolume) -> Volume;
    mount_volume(name: &Name, mount_point: Option<&str>) -> Mount;
    unmount_volume(name: &Name) -> ();
    delete_volume(name: &Name, reference_only: bool) -> ();
    create_snapshot(volume: &Name, name: &Name) -> Snapshot;
    snapshot(name: &Name) -> Snapshot;
    delete_snapshot(name: &Name) -> ();
    backups(destination: &Destination, volume: Option<&Name>) -> Vec<Backup>;
    backup(url: &BackupUrl) -> Backup;
    create_backup(snapshot: &Name, destination: &Destination) -> BackupUrl;
    delete_backup(url: &BackupUrl) -> ();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        convoy::memory::{Fault, MemoryDaemon},
        error::Error,
    };

    #[tokio::test]
    async fn a_daemon_that_went_away_is_looked_for_again_and_a_write_that_was_sent_is_not_repeated() {
        let first = Arc::new(MemoryDaemon::new());
        let second = Arc::new(MemoryDaemon::with_volumes(&["vol1"]));
        first.fault("volumes", Fault::Fails(Error::new(ErrorKind::Unreachable, "nobody there")));
        let turns = Arc::new(Mutex::new(vec![second.clone(), first.clone()]));
        let connect: Connect = Box::new(move || {
            let next = turns.lock().unwrap().pop();
            Box::pin(async move { Ok(next.unwrap() as Arc<dyn Daemon>) })
        });
        let daemon = Handover::new(Path::new("/root-of-a-test"), connect).await.unwrap();
        assert_eq!(daemon.volumes().await.unwrap().len(), 1);

        let name = Name::volume("vol2").unwrap();
        second.fault("create_volume", Fault::Fails(Error::new(ErrorKind::Timeout, "gone")));
        assert!(daemon.create_volume(&NewVolume::named(name)).await.is_err());
        assert_eq!(second.writes().len(), 1);
    }
}
