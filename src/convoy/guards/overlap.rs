//! Guard 4: at one destination, a backup and a deletion never overlap.
//!
//! File locks keep the processes of this host apart, and, where the destination is a folder, those
//! of other hosts. [`super::pending`] operations stand for what the daemon may still be doing after the
//! process that asked for it has gone.

use super::{
    pending::{Operation, PendingFile, PendingOperation, PendingOperations, is_made_from},
    run::Guards,
};
use crate::{
    convoy::{Destination, Name},
    error::{Error, ErrorKind, Result},
    locks::{Lock, Locks, Sharing},
    scope,
};

/// The lock file in a `vfs://` destination that Convoy writes to.
pub(super) const DESTINATION_LOCK: &str = ".convoy-backups.lock";

/// Hosts that share a destination may each come as another user, and an exclusive lock on NFS wants
/// to write.
const DESTINATION_LOCK_MODE: u32 = 0o666;

impl Guards {
    /// The locks under which backups (shared) and deletions (exclusive) happen at a destination:
    /// this host's, and where the destination is a folder that can be written from here, one in it,
    /// against other hosts and other data folders.
    pub(super) async fn lock_destination(
        &self,
        destination: &Destination,
        sharing: Sharing,
    ) -> Result<[Option<Lock>; 2]> {
        let here = self.lock(&destination.key(), sharing).await?;
        let Some(locks) = self.needed_locks().await? else { return Ok([here, None]) };
        // Only beside backups: a folder that is missing, or wrong, is for the daemon to refuse.
        let Some(folder) =
            destination.folder().filter(|folder| folder.join("convoy-objectstore").is_dir())
        else {
            return Ok([here, None]);
        };
        let path = folder.join(DESTINATION_LOCK);
        match locks.acquire_file(&destination.key(), &path, DESTINATION_LOCK_MODE, sharing).await {
            Ok(Some(there)) => Ok([here, Some(there)]),
            Ok(None) => {
                log::debug!("backups and deletions of other hosts are not kept away from \"{destination}\"");
                Ok([here, None])
            }
            // Who may not write where the daemon writes makes no lock there; that must not stop a
            // backup. A deletion it must, and where there is a lock that others use, a backup as
            // well.
            Err(error) if error.kind == ErrorKind::Io && sharing == Sharing::Shared => {
                log::warn!("backing up while other hosts' deletions are not kept away from \"{destination}\": {error}");
                Ok([here, None])
            }
            Err(error) if error.kind == ErrorKind::Busy => Err(error),
            Err(error) => Err(error.with_hint(format!(
                "let this user write there, or remove \"{}\" (or \"chmod 666\" it) while nothing is at work on that destination",
                path.display()
            ))),
        }
    }

    /// The locks, where the daemon needs us to keep backups and deletions apart.
    pub(super) async fn needed_locks(&self) -> Result<Option<&Locks>> {
        let Some(locks) = &self.locks else { return Ok(None) };
        let by_itself = self.daemon.capabilities().await?.locks_destinations;
        Ok((!by_itself).then_some(locks))
    }

    /// The lock under which a volume is read (shared) and made or deleted (exclusive).
    pub(super) async fn lock_volume(&self, volume: &str, sharing: Sharing) -> Result<Option<Lock>> {
        self.lock(&format!("volume {volume} of {}", self.daemon.identity()), sharing).await
    }

    pub(super) async fn lock(&self, key: &str, sharing: Sharing) -> Result<Option<Lock>> {
        let Some(locks) = &self.locks else { return Ok(None) };
        match locks.acquire(key, sharing).await {
            Ok(lock) => Ok(Some(lock)),
            // A data folder that is full or read-only must not stop a backup. A deletion it must.
            Err(error) if error.kind == ErrorKind::Io && sharing == Sharing::Shared => {
                log::warn!("going on without a lock: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes down what the daemon is about to be asked, where the daemon locks no destinations
    /// itself.
    pub(super) async fn record_operation(
        &self,
        operation: Operation,
        name: &str,
        volume: &str,
        destination: &Destination,
    ) -> Result<Option<PendingFile>> {
        let Some(locks) = self.needed_locks().await? else { return Ok(None) };
        let pending = PendingOperation {
            operation,
            name: name.to_owned(),
            volume: volume.to_owned(),
            destination: destination.key(),
            begun: self.clock.now(),
        };
        match PendingOperations::new(locks.folder()).write(&pending) {
            Ok(file) => Ok(Some(file)),
            // A data folder that is full or read-only must not stop a backup. A deletion it must.
            Err(error) if operation == Operation::Backup => {
                log::warn!("going on without a note of the backup: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Guard 4, where the lock's holder is gone and the daemon may still be at what was asked of
    /// it: of all that concerns the volume, or only of what is named.
    pub(super) async fn no_pending_operation(
        &self,
        operation: Operation,
        named: Option<&str>,
        volume: &str,
        destination: &Destination,
        what: &str,
    ) -> Result<()> {
        let Some(locks) = self.needed_locks().await? else { return Ok(()) };
        let mut files = PendingOperations::new(locks.folder()).of(operation, &destination.key())?;
        files.retain(|(_, pending)| match named {
            Some(name) => pending.name == name,
            None => pending.concerns(volume, destination.is_s3()),
        });
        for (file, pending) in files {
            let (name, begun) = (&pending.name, pending.begun);
            if operation == Operation::Backup && self.is_listed(&pending, destination).await? {
                file.remove();
            } else if pending.is_given_up(self.clock.now()) {
                log::warn!(
                    "the end of {} \"{name}\" at {destination}, begun at {begun}, was never seen",
                    operation.words()
                );
                file.remove();
            } else {
                let message = format!(
                    "{what}: {} \"{name}\" at {destination}, begun at {begun}, was cut off, and the daemon may still be at it",
                    operation.words()
                );
                return Err(Error::new(ErrorKind::Busy, message).with_hint(format!(
                    "try again later; where the daemon's log says that it is over, remove \"{}\"",
                    file.path().display()
                )));
            }
        }
        Ok(())
    }

    /// Whether the backup that was begun is there by now.
    async fn is_listed(
        &self,
        pending: &PendingOperation,
        destination: &Destination,
    ) -> Result<bool> {
        let volume = Name::volume(&pending.volume)?;
        let backups = self.backups(destination, Some(&volume)).await?;
        Ok(backups.iter().any(|backup| is_made_from(backup, &pending.name, pending.begun)))
    }
}

/// Waits for a write. Where the run is cancelled meanwhile, the write goes on, as the daemon does,
/// and the locks are held until it has ended. The file of the pending operation goes when the
/// daemon has answered, and stays where it is not known what the daemon did.
pub(super) async fn finish_even_if_cancelled<T: Send + 'static, L: Send + 'static>(
    write: impl Future<Output = Result<T>> + Send + 'static,
    file: Option<PendingFile>,
    locks: L,
) -> Result<(Result<T>, L)> {
    // It works for the run on another thread: its log lines are the run's.
    let write = scope::carried(write);
    let ended = tokio::spawn(async move {
        let result = write.await;
        let known = !matches!(&result, Err(error) if error.kind == ErrorKind::Timeout);
        if let Some(file) = file.filter(|_| known) {
            file.remove();
        }
        (result, locks)
    });
    ended.await.map_err(|panic| Error::internal(format!("a call of the daemon failed: {panic}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_cancelled_run_keeps_its_lock_until_the_daemon_has_answered() {
        let folder = tempfile::tempdir().unwrap();
        let locks = Locks::new(folder.path(), Duration::ZERO, "a test");
        let lock = locks.acquire("vfs:///backups", Sharing::Exclusive).await.unwrap();
        let (answer, asked) = tokio::sync::oneshot::channel::<()>();
        let write = async move { asked.await.map_err(|_| Error::internal("gone")) };
        let mut waiting = Box::pin(finish_even_if_cancelled(write, None, lock));
        assert!(is_pending(&mut waiting).await, "the daemon has not answered yet");
        drop(waiting);
        assert!(locks.acquire("vfs:///backups", Sharing::Shared).await.is_err());
        answer.send(()).unwrap();
        Locks::new(folder.path(), Duration::from_secs(60), "a test")
            .acquire("vfs:///backups", Sharing::Shared)
            .await
            .unwrap();
    }

    /// Polls once; whether it is still pending.
    async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
        })
        .await
    }
}
