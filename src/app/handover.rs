//! A built-in daemon's root has one owner at a time, and all other processes talk to the owner's
//! socket. Owners change: when a command ends, the next process that asks takes the root over.
//! [`Handover`] asks, and follows the owners.
//!
//! An owner that ends in order first answers all connected processes. An owner that is killed
//! breaks calls off. Reads are then sent again to the next owner. The outcome of a write is
//! unknown, and the guards examine it.

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;

use crate::convoy::inside::{Content, Look, ReadFile, Seen};
use crate::{
    convoy::{
        AsItIs, Backup, BackupUrl, Capabilities, Changes, Daemon, Destination, DriverInfo,
        GivenBack, Info, Mount, Name, NewVolume, Quiesced, ReadBack, Snapshot, Volume, WasReadBack,
        identity,
    },
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// How long a call is sent to one owner after another.
const OWNER_SEARCH_TIMEOUT: Duration = Duration::from_secs(15);
/// The pause before each further owner is asked, so that an owner that hangs up on every call is
/// not asked in a busy loop.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Connects anew: takes the root if it is free, or connects to its owner.
type Connect =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Arc<dyn Daemon>>> + Send>> + Send + Sync>;

/// A daemon that is connected to again if it went away before a call was sent, or during a read.
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
    /// Connects for the first time. `root` is the root of the daemon that `connect` returns.
    pub(super) async fn new(root: &Path, connect: Connect) -> Result<Self> {
        let current = Mutex::new(connect().await?);
        // The root exists by now. Its canonical path is one spelling for all of its spellings.
        let root = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
        Ok(Self { current, connect, root })
    }

    fn current(&self) -> Arc<dyn Daemon> {
        lock(&self.current).clone()
    }

    async fn reconnect(&self) -> Result<()> {
        let daemon = (self.connect)().await?;
        *lock(&self.current) = daemon;
        Ok(())
    }
}

/// Whether a call may be repeated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CallKind {
    Read,
    Write,
}

/// Whether the owner has gone and the call may be sent to the next one.
fn has_gone(kind: CallKind, error: &Error, asked: Instant) -> bool {
    asked.elapsed() < OWNER_SEARCH_TIMEOUT
        && match error.kind {
            // The call was not sent.
            ErrorKind::Unreachable => true,
            // No read reaches its time limit this early: its connection broke.
            ErrorKind::Timeout => kind == CallKind::Read,
            _ => false,
        }
}

/// Implements each method alike: if the owner has gone, the next one is asked.
macro_rules! forward {
    ($($kind:ident $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Daemon for Handover {
            fn description(&self) -> String {
                self.identity()
            }

            fn identity(&self) -> String {
                identity::of_root(&self.root)
            }

            $(async fn $method(&self, $($argument: $type),*) -> Result<$answer> {
                let asked = Instant::now();
                let mut pause = Duration::ZERO;
                loop {
                    match self.current().$method($($argument),*).await {
                        Err(error) if has_gone(CallKind::$kind, &error, asked) => {
                            log::info!("the owner of the built-in daemon's folder has gone ({error}); looking for the next");
                            tokio::time::sleep(pause).await;
                            pause = RECONNECT_PAUSE;
                            self.reconnect().await?;
                        }
                        answer => return answer,
                    }
                }
            })*
        }
    };
}

forward! {
    Read capabilities() -> Capabilities;
    Read info() -> Info;
    Read is_used(destination: &Destination) -> Option<bool>;
    Read changes_since(volume: &Name, backup: &BackupUrl) -> Changes;
    Read mounts_in_volume(volume: &Name) -> Option<Vec<String>>;
    Read volumes() -> BTreeMap<String, Volume>;
    Read driver_volumes() -> BTreeMap<String, DriverInfo>;
    Read forgotten_volumes() -> Option<BTreeMap<String, Volume>>;
    Read volume(name: &Name) -> Volume;
    Write create_volume(volume: &NewVolume) -> Volume;
    Write mount_volume(name: &Name, mount_point: Option<&str>) -> Mount;
    Write unmount_volume(name: &Name) -> ();
    Write delete_volume(name: &Name, id: Option<&str>, reference_only: bool) -> ();
    Write create_snapshot(volume: &Name, name: &Name) -> Snapshot;
    Read snapshot(name: &Name) -> Snapshot;
    Write delete_snapshot(name: &Name) -> ();
    Read backups(destination: &Destination, volume: Option<&Name>) -> Vec<Backup>;
    Read backup(url: &BackupUrl) -> Backup;
    Read inspect_backups(urls: &[BackupUrl]) -> Vec<Result<Backup>>;
    Read read_back(destination: &Destination, what: &ReadBack) -> Option<WasReadBack>;
    Read look(what: &Look) -> Option<Seen>;
    Read content(what: &ReadFile) -> Option<Content>;
    Write create_backup(snapshot: &Name, destination: &Destination) -> BackupUrl;
    Write quiesce(volumes: &[Name]) -> Quiesced;
    Write let_go_on(id: &str) -> ();
    Write run_in_container(container: &str, command: &str) -> ();
    Write back_up(volumes: &[AsItIs], destination: &Destination) -> Vec<Result<BackupUrl>>;
    Write give_back(destination: &Destination) -> Option<GivenBack>;
    Write delete_backup(url: &BackupUrl, required: &[BackupUrl]) -> ();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        convoy::memory::{Fault, MemoryDaemon},
        error::Error,
    };

    /// A handover over these daemons, one after another.
    async fn handover(turns: &[&Arc<MemoryDaemon>]) -> Handover {
        let turns: Vec<_> = turns.iter().rev().map(|daemon| Arc::clone(daemon)).collect();
        let turns = Arc::new(Mutex::new(turns));
        let connect: Connect = Box::new(move || {
            let next = turns.lock().unwrap().pop();
            Box::pin(async move { Ok(next.unwrap() as Arc<dyn Daemon>) })
        });
        Handover::new(Path::new("/root-of-a-test"), connect).await.unwrap()
    }

    fn faulty(call: &'static str, kind: ErrorKind) -> Arc<MemoryDaemon> {
        let daemon = Arc::new(MemoryDaemon::with_volumes(&["vol1"]));
        daemon.fault(call, Fault::Fails(Error::new(kind, "gone")));
        daemon
    }

    #[tokio::test(start_paused = true)]
    async fn owners_that_have_gone_one_after_the_other_are_followed() {
        let gone = [(); 3].map(|()| faulty("create_volume", ErrorKind::Unreachable));
        let last = Arc::new(MemoryDaemon::new());
        let daemon = handover(&[&gone[0], &gone[1], &gone[2], &last]).await;
        daemon.create_volume(&NewVolume::named(Name::volume("vol2").unwrap())).await.unwrap();
        assert_eq!(last.writes().len(), 1);
    }

    #[tokio::test]
    async fn a_read_that_the_owners_end_cut_off_is_asked_again_and_a_write_is_not() {
        let (first, second) = (
            faulty("volumes", ErrorKind::Timeout),
            Arc::new(MemoryDaemon::with_volumes(&["vol1"])),
        );
        let daemon = handover(&[&first, &second]).await;
        assert_eq!(daemon.volumes().await.unwrap().len(), 1);

        second.fault("create_volume", Fault::Fails(Error::new(ErrorKind::Timeout, "gone")));
        let volume = NewVolume::named(Name::volume("vol2").unwrap());
        assert_eq!(daemon.create_volume(&volume).await.unwrap_err().kind, ErrorKind::Timeout);
        assert_eq!(second.writes().len(), 1);
    }

    #[test]
    fn a_read_that_hung_until_its_time_was_up_is_not_asked_again() {
        let Some(long_ago) = Instant::now().checked_sub(Duration::from_mins(1)) else { return };
        assert!(!has_gone(CallKind::Read, &Error::new(ErrorKind::Timeout, "no answer"), long_ago));
    }
}
