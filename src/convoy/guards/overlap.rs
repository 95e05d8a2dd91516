//! Guard 4: at one destination, a backup and a deletion never overlap.
//!
//! File locks keep the processes of this host apart. If the destination is a folder, they also keep
//! other hosts apart. [`super::pending`] operations stand for what the daemon may still be doing
//! after the process that asked for it has ended.

use std::path::Path;

use super::{
    destinations::seen,
    pending::{Operation, PendingFile, PendingOperation, PendingOperations, is_made_from},
    run::Guards,
};
use crate::{
    convoy::{Capabilities, Destination, Name},
    error::{Error, ErrorKind, Result},
    locks::{Lock, Locks, Sharing},
    scope,
};

/// The lock file in a `vfs://` destination that Convoy writes to.
pub(super) const DESTINATION_LOCK: &str = ".convoy-backups.lock";

/// Hosts that share a destination may use different users, and an exclusive lock on NFS needs write
/// permission.
const DESTINATION_LOCK_MODE: u32 = 0o666;

impl Guards {
    /// Takes the locks for a backup (shared) or a deletion (exclusive) at a destination. The first
    /// lock is this host's. If the destination is a folder that this process can write to, the
    /// second lock is in that folder, against other hosts and other data folders.
    pub(super) async fn lock_destination(
        &self,
        destination: &Destination,
        sharing: Sharing,
    ) -> Result<[Option<Lock>; 2]> {
        let here = self.lock(&destination.key(), sharing).await?;
        let Some(locks) = self.needed_locks().await? else { return Ok([here, None]) };
        // The lock is made only in a folder that holds backups. If the folder is missing or wrong,
        // the daemon refuses it.
        let is_convoys =
            |folder: &&Path| seen(folder, |folder| folder.join("convoy-objectstore").is_dir());
        let Some(folder) = destination.folder().filter(is_convoys) else {
            return Ok([here, None]);
        };
        let path = folder.join(DESTINATION_LOCK);
        match locks.acquire_file(&destination.key(), &path, DESTINATION_LOCK_MODE, sharing).await {
            Ok(Some(there)) => Ok([here, Some(there)]),
            Ok(None) => {
                log::debug!("backups and deletions of other hosts are not kept away from \"{destination}\"");
                Ok([here, None])
            }
            // The daemon can write to the folder but this process can't, so it can't make the lock.
            // A backup continues without the lock. A deletion fails. If another user's lock is
            // there and can't be opened, a backup fails too.
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

    /// The locks, if the daemon does not keep backups and deletions apart itself.
    pub(super) async fn needed_locks(&self) -> Result<Option<&Locks>> {
        let Some(locks) = &self.locks else { return Ok(None) };
        let by_itself = self.capabilities().await?.locks_destinations;
        Ok((!by_itself).then_some(locks))
    }

    /// The daemon's capabilities, asked for once in a run.
    pub(super) async fn capabilities(&self) -> Result<Capabilities> {
        let known = self.memory().capabilities;
        match known {
            Some(known) => Ok(known),
            None => {
                let capabilities = self.daemon.capabilities().await?;
                self.memory().capabilities = Some(capabilities);
                Ok(capabilities)
            }
        }
    }

    /// Locks a volume: shared to read it, exclusive to make or delete it.
    pub(super) async fn lock_volume(&self, volume: &str, sharing: Sharing) -> Result<Option<Lock>> {
        self.lock(&format!("volume {volume} of {}", self.daemon.identity()), sharing).await
    }

    pub(super) async fn lock(&self, key: &str, sharing: Sharing) -> Result<Option<Lock>> {
        let Some(locks) = &self.locks else { return Ok(None) };
        match locks.acquire(key, sharing).await {
            Ok(lock) => Ok(Some(lock)),
            // If the data folder is full or read-only, a backup continues without the lock. A
            // deletion fails.
            Err(error) if error.kind == ErrorKind::Io && sharing == Sharing::Shared => {
                log::warn!("going on without a lock: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes down a pending operation before the daemon is asked. A daemon that locks its
    /// destinations itself does not need this.
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
            uptime: self.clock.uptime(),
        };
        match PendingOperations::new(locks.folder()).write(&pending) {
            Ok(file) => Ok(Some(file)),
            // If the data folder is full or read-only, a backup continues. A deletion fails.
            Err(error) if operation == Operation::Backup => {
                log::warn!("going on without a note of the backup: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Guard 4 for a lock whose holder has ended while the daemon may still be working. Fails if an
    /// operation is pending: on the snapshot or backup `named`, or, if `None`, on anything that
    /// concerns the volume.
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
            } else if pending.is_given_up(&*self.clock) {
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

    /// Whether the pending backup is in the list by now.
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

/// Waits for a write. If the run is cancelled during the wait, the write goes on, as it does in the
/// daemon, and the locks are held until it has ended.
pub(super) async fn finish_even_if_cancelled<T: Send + 'static, L: Send + 'static>(
    write: impl Future<Output = T> + Send + 'static,
    locks: L,
) -> Result<(T, L)> {
    // The write runs on another thread. Its log lines still belong to this run.
    let write = scope::carried(write);
    let ended = tokio::spawn(async move { (write.await, locks) });
    ended.await.map_err(|panic| Error::internal(format!("a call of the daemon failed: {panic}")))
}

/// Removes the file of a pending operation when the daemon has answered. It stays if the outcome is
/// unknown.
pub(super) fn has_ended<T>(file: Option<PendingFile>, outcome: &Result<T>) {
    let is_known = !matches!(outcome, Err(error) if error.kind == ErrorKind::Timeout);
    if let Some(file) = file.filter(|_| is_known) {
        file.remove();
    }
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
        let write = async move { asked.await.is_ok() };
        let mut waiting = Box::pin(finish_even_if_cancelled(write, lock));
        assert!(is_pending(&mut waiting).await, "the daemon has not answered yet");
        drop(waiting);
        assert!(locks.acquire("vfs:///backups", Sharing::Shared).await.is_err());
        answer.send(()).unwrap();
        Locks::new(folder.path(), Duration::from_secs(60), "a test")
            .acquire("vfs:///backups", Sharing::Shared)
            .await
            .unwrap();
    }

    /// Polls the future once and tells whether it is still pending.
    async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
        })
        .await
    }
}
