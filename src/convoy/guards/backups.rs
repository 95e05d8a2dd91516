//! The guards of what is done to backups.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{
    Guards, Observation, destinations,
    unfinished::{Note, Notes, Operation, Unfinished},
};
use crate::{
    convoy::{Backup, BackupUrl, Destination, Name, Volume},
    error::{Error, ErrorKind, Result},
    locks::Sharing,
    scope,
};

impl Guards {
    /// The backups at a destination, newest first. A volume that was never backed up there has
    /// none.
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::backups`]; after one, or where a backup made in this run is
    /// missing, the run deletes nothing more.
    pub(crate) async fn backups(
        &self,
        destination: &Destination,
        volume: Option<&Name>,
    ) -> Result<Vec<Backup>> {
        let mut backups = match self.daemon.backups(destination, volume).await {
            Ok(backups) => {
                if backups.is_empty() {
                    self.still_there(destination).await?;
                }
                backups
            }
            Err(error) => match volume {
                Some(volume) if is_never_backed_up(&error) => {
                    self.still_there(destination).await?;
                    self.without_backups(destination, volume, error).await?
                }
                _ => return Err(self.stop_on(error, "a list of backups failed")),
            },
        };
        backups.extend(self.ebs_backups(volume).await?);
        if let Some(volume) = volume {
            // On S3, Convoy lists by prefix: `vol1` must not get those of `vol10`.
            backups
                .retain(|backup| backup.volume().is_empty() || backup.volume() == volume.as_str());
        }
        backups.sort_by(|a, b| b.order().cmp(&a.order()));
        let missing = self.seen().made.iter().find_map(|(made_at, made)| {
            let asked = made_at.key() == destination.key()
                && volume.is_none_or(|volume| made.volume() == Some(volume.as_str()));
            let listed =
                || backups.iter().any(|backup| backup.url().is_ok_and(|url| url.same_backup(made)));
            (asked && !listed()).then(|| made.to_string())
        });
        if let Some(missing) = missing {
            self.stop(format!(
                "the list of backups lacks \"{missing}\", which was made in this run"
            ));
        }
        Ok(backups)
    }

    /// Convoy lists no backups of EBS volumes, for there a snapshot is the backup: make the list
    /// from the snapshots.
    async fn ebs_backups(&self, volume: Option<&Name>) -> Result<Vec<Backup>> {
        let known = self.seen().ebs_region.clone();
        let region = match known {
            Some(region) => region,
            None => {
                let info = self
                    .daemon
                    .info()
                    .await
                    .map_err(|error| self.stop_on(error, "the daemon's settings failed"))?;
                self.seen().ebs_region.insert(info.ebs_region().map(str::to_owned)).clone()
            }
        };
        let Some(region) = region else { return Ok(Vec::new()) };
        let volumes = match volume {
            Some(name) => match self.daemon.volume(name).await {
                Ok(volume) => vec![volume],
                Err(error) if error.kind == ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(self.stop_on(error, "a look at a volume failed")),
            },
            None => self.volumes().await?.into_values().collect(),
        };
        let of_volume = |volume: &Volume| {
            let snapshots = volume.snapshots_by_time().into_iter();
            snapshots
                .filter_map(|snapshot| Backup::of_ebs_snapshot(volume, snapshot, &region))
                .collect::<Vec<_>>()
        };
        Ok(volumes.iter().filter(|volume| volume.driver == "ebs").flat_map(of_volume).collect())
    }

    /// Convoy refuses to list a volume that was never backed up, in the same words as one that S3
    /// denies: believe it only where the whole destination can be listed and has none of it.
    async fn without_backups(
        &self,
        destination: &Destination,
        volume: &Name,
        refusal: Error,
    ) -> Result<Vec<Backup>> {
        match self.daemon.backups(destination, None).await {
            Ok(all) if all.iter().all(|backup| backup.volume() != volume.as_str()) => {
                Ok(Vec::new())
            }
            Ok(_) => Err(self.stop_on(refusal, "a list of backups failed")),
            Err(error) => Err(self.stop_on(error, "a list of backups failed")),
        }
    }

    /// One backup.
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::backup`].
    pub(crate) async fn backup(&self, url: &BackupUrl) -> Result<Backup> {
        let found = self.daemon.backup(url).await;
        if found.as_ref().is_err_and(|error| error.kind == ErrorKind::NotFound) {
            self.still_there(&url.destination()).await?;
        }
        found
    }

    /// Backs up a snapshot, and proves the backup good before it answers (guard 1).
    ///
    /// # Errors
    /// [`ErrorKind::Guard`] where the daemon answered success and the backup can't be inspected;
    /// else as [`crate::convoy::Daemon::create_backup`]. After an error the run deletes nothing of
    /// the volume's.
    pub(crate) async fn create_backup(
        &self,
        snapshot: &Name,
        destination: &Destination,
    ) -> Result<BackupUrl> {
        self.may_write("make a backup")?;
        let volume = self.daemon.snapshot(snapshot).await?.volume_name;
        // From here on the volume counts as not backed up, until the proof.
        let key = (volume.clone(), destination.key());
        self.seen().unproven.insert(key.clone(), "it was not finished".into());
        let proven = self.make_and_prove(snapshot, &volume, destination).await;
        let mut seen = self.seen();
        match &proven {
            Ok(url) => {
                seen.unproven.remove(&key);
                seen.made.push((destination.clone(), url.clone()));
                seen.good.push(url.clone());
            }
            Err(error) => {
                seen.unproven.insert(key, error.to_string());
            }
        }
        drop(seen);
        proven
    }

    async fn make_and_prove(
        &self,
        snapshot: &Name,
        volume: &str,
        destination: &Destination,
    ) -> Result<BackupUrl> {
        let locks = (
            self.lock_volume(volume, Sharing::Shared).await?,
            self.lock_destination(destination, Sharing::Shared).await?,
        );
        let what = format!("the snapshot \"{snapshot}\" is not backed up");
        self.nothing_unfinished(Operation::Delete, None, volume, destination, &what).await?;
        // A second backup of a snapshot could not be told from the first one, whose end would then
        // seem to have been seen.
        self.nothing_unfinished(
            Operation::Backup,
            Some(snapshot.as_str()),
            volume,
            destination,
            &what,
        )
        .await
        .map_err(|error| {
            match error.hint.clone().filter(|_| error.kind == ErrorKind::Busy) {
                Some(hint) => error
                    .with_hint(format!("back up a fresh snapshot (--create-snapshot), or {hint}")),
                None => error,
            }
        })?;
        self.still_there(destination).await?;
        let begun = self.clock.now();
        let note = self.note(Operation::Backup, snapshot.as_str(), volume, destination).await?;
        let daemon = Arc::clone(&self.daemon);
        let (asked_snapshot, asked_destination) = (snapshot.clone(), destination.clone());
        let asked = async move { daemon.create_backup(&asked_snapshot, &asked_destination).await };
        let (made, _locks) = finish_even_if_cancelled(asked, note, locks).await?;
        let url = match made {
            Err(error) if error.kind == ErrorKind::Timeout => {
                self.look_for_backup(snapshot, volume, destination, begun, error).await?
            }
            made => made?,
        };
        let proven = self.prove(&url, snapshot, volume, destination).await?;
        self.observe_backup(volume, &url, &proven, true);
        if self.locks.is_some() {
            self.remember(destination).await;
        }
        Ok(url)
    }

    /// Refuses a destination that held backups and is empty now: a share is not mounted, or it is
    /// another bucket.
    async fn still_there(&self, destination: &Destination) -> Result<()> {
        let Some(marks) = &self.marks else { return Ok(()) };
        let used = destinations::Used::new(marks, destination);
        let asks = destination.is_s3() && used.is_marked();
        used.still_there(if asks { self.daemon.is_used(destination).await? } else { None })
    }

    /// Remembers that there is a good backup at a destination.
    async fn remember(&self, destination: &Destination) {
        let Some(marks) = &self.marks else { return };
        let used = destinations::Used::new(marks, destination);
        let asks = destination.is_s3() && !used.is_marked();
        used.remember(if asks {
            self.daemon.is_used(destination).await.unwrap_or_default()
        } else {
            None
        });
    }

    /// The note that something was asked for. A daemon that keeps order by itself needs none.
    async fn note(
        &self,
        operation: Operation,
        name: &str,
        volume: &str,
        destination: &Destination,
    ) -> Result<Option<Note>> {
        let Some(locks) = self.needed_locks().await? else { return Ok(None) };
        let unfinished = Unfinished {
            operation,
            name: name.to_owned(),
            volume: volume.to_owned(),
            destination: destination.key(),
            begun: self.clock.now(),
        };
        match Notes::new(locks.folder()).write(&unfinished) {
            Ok(note) => Ok(Some(note)),
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
    async fn nothing_unfinished(
        &self,
        operation: Operation,
        named: Option<&str>,
        volume: &str,
        destination: &Destination,
        what: &str,
    ) -> Result<()> {
        let Some(locks) = self.needed_locks().await? else { return Ok(()) };
        let mut notes = Notes::new(locks.folder()).of(operation, &destination.key())?;
        notes.retain(|(_, unfinished)| match named {
            Some(name) => unfinished.name == name,
            None => unfinished.concerns(volume, destination.is_s3()),
        });
        for (note, unfinished) in notes {
            let (name, begun) = (&unfinished.name, unfinished.begun);
            if operation == Operation::Backup && self.is_listed(&unfinished, destination).await? {
                note.remove();
            } else if unfinished.is_given_up(self.clock.now()) {
                log::warn!(
                    "the end of {} \"{name}\" at {destination}, begun at {begun}, was never seen",
                    operation.words()
                );
                note.remove();
            } else {
                let message = format!(
                    "{what}: {} \"{name}\" at {destination}, begun at {begun}, was cut off, and the daemon may still be at it",
                    operation.words()
                );
                return Err(Error::new(ErrorKind::Busy, message).with_hint(format!(
                    "try again later; where the daemon's log says that it is over, remove \"{}\"",
                    note.path().display()
                )));
            }
        }
        Ok(())
    }

    /// Whether the backup that was begun is there by now.
    async fn is_listed(&self, unfinished: &Unfinished, destination: &Destination) -> Result<bool> {
        let volume = Name::volume(&unfinished.volume)?;
        let backups = self.backups(destination, Some(&volume)).await?;
        Ok(backups.iter().any(|backup| is_made_from(backup, &unfinished.name, unfinished.begun)))
    }

    /// Guard 8: after a timeout, the backup of this snapshot that the list shows, if it does. The
    /// newest, where there are several.
    async fn look_for_backup(
        &self,
        snapshot: &Name,
        volume: &str,
        destination: &Destination,
        begun: Timestamp,
        error: Error,
    ) -> Result<BackupUrl> {
        let volume = Name::volume(volume)?;
        let backups = self.backups(destination, Some(&volume)).await.unwrap_or_default();
        match backups.iter().find(|backup| is_made_from(backup, snapshot.as_str(), begun)) {
            Some(backup) => backup.url(),
            None => Err(error.with_hint(format!(
                "the daemon may still be at it: look for a backup of the snapshot \"{snapshot}\" before you repeat it"
            ))),
        }
    }

    /// Guard 1: the backup can be inspected, is complete, and is of this snapshot.
    async fn prove(
        &self,
        url: &BackupUrl,
        snapshot: &Name,
        volume: &str,
        destination: &Destination,
    ) -> Result<Backup> {
        let not_good = |why: String| {
            Err(Error::guard(format!("the daemon said that \"{url}\" is done, but {why}"))
                .with_hint(
                    "nothing older was deleted; look into the daemon's log and back up again",
                ))
        };
        loop {
            let backup = match self.daemon.backup(url).await {
                Ok(backup) => backup,
                // A plain no is a no; only where there was no word, the list may tell.
                Err(error)
                    if matches!(
                        error.kind,
                        ErrorKind::Daemon | ErrorKind::NotFound | ErrorKind::Repository
                    ) =>
                {
                    return not_good(format!("it can't be inspected: {error}"));
                }
                Err(error) => match self.listed(url, destination, volume).await {
                    Some(backup) => backup,
                    None => {
                        return not_good(format!(
                            "it can be neither inspected nor listed: {error}"
                        ));
                    }
                },
            };
            for (field, expected) in [("SnapshotName", snapshot.as_str()), ("VolumeName", volume)] {
                let found = backup.field(field);
                if !found.is_empty() && found != expected {
                    return not_good(format!(
                        "its {field} is \"{found}\" instead of \"{expected}\""
                    ));
                }
            }
            match backup.field("State") {
                // EBS copies in the background; the run's deadline ends the wait.
                "pending" => tokio::time::sleep(self.look_every).await,
                _ if backup.is_complete() => return Ok(backup),
                state => return not_good(format!("its state is \"{state}\"")),
            }
        }
    }

    async fn listed(
        &self,
        url: &BackupUrl,
        destination: &Destination,
        volume: &str,
    ) -> Option<Backup> {
        let volume = Name::volume(volume).ok()?;
        let backups = self.daemon.backups(destination, Some(&volume)).await.ok()?;
        backups.into_iter().find(|backup| backup.url().is_ok_and(|there| there.same_backup(url)))
    }

    /// Deletes a backup; the volume's newest good one only with `even_the_newest`.
    ///
    /// # Errors
    /// [`ErrorKind::Guard`] where a guard refuses, [`ErrorKind::NotFound`] where the destination
    /// lists no such backup, else as [`crate::convoy::Daemon::delete_backup`].
    pub(crate) async fn delete_backup(&self, url: &BackupUrl, even_the_newest: bool) -> Result<()> {
        self.may_write("delete a backup")?;
        let what = format!("the backup \"{url}\"");
        let destination = url.destination();
        let destination_lock = self.lock_destination(&destination, Sharing::Exclusive).await?;
        self.may_delete(&what, url.volume())?;
        let (siblings, of_the_name) = self.siblings(url, &destination).await?;
        // An EBS URL does not name the volume; the list does.
        let same = |backup: &Backup| backup.url().is_ok_and(|there| there.same_backup(url));
        let place = siblings.iter().position(same).unwrap_or_default();
        let volume =
            siblings.get(place).map(|backup| backup.volume().to_owned()).unwrap_or_default();
        let refusal = format!("{what} is not deleted");
        self.nothing_unfinished(Operation::Backup, None, &volume, &destination, &refusal).await?;
        self.may_delete(&what, Some(&volume))?;
        if !even_the_newest {
            match self.newest_good(&siblings).await? {
                // One that is newer may only look broken, as any backup on S3 does while the
                // network is down.
                Some(newest)
                    if siblings
                        .iter()
                        .position(|it| it.url().is_ok_and(|it| it.same_backup(&newest)))
                        < Some(place) => {}
                Some(newest) => {
                    let why = if newest.same_backup(url) {
                        "it is the volume's newest good backup"
                    } else {
                        "it is newer than the newest one that can be inspected"
                    };
                    return Err(Error::guard(format!("{what} is not deleted: {why}")).with_hint(
                        "make a newer one first, or say that even the newest may go (remove --all)",
                    ));
                }
                None => {
                    let why = format!("no good backup of the volume was found at {destination}");
                    self.stop(why.clone());
                    return Err(Error::guard(format!("{what} is not deleted: {why}")));
                }
            }
        }
        self.no_other_volume_by_prefix(url, &destination, of_the_name, &what).await?;
        let note = self.note(Operation::Delete, url.backup(), &volume, &destination).await?;
        let (daemon, asked_url) = (Arc::clone(&self.daemon), url.clone());
        let asked = async move { daemon.delete_backup(&asked_url).await };
        let (deleted, _lock) = finish_even_if_cancelled(asked, note, destination_lock).await?;
        let deleted = match deleted {
            Err(error) if error.kind == ErrorKind::Timeout => match self.daemon.backup(url).await {
                // Convoy unlists a backup first and collects its blocks then: it may still be at
                // that, so the note stays.
                Err(gone) if gone.kind == ErrorKind::NotFound => Ok(()),
                _ => Err(error
                    .with_hint("the daemon may still be at it: look again before you repeat it")),
            },
            deleted => deleted,
        };
        if deleted.is_ok() {
            let mut seen = self.seen();
            seen.made.retain(|(_, made)| !made.same_backup(url));
            seen.good.retain(|good| !good.same_backup(url));
            seen.observed.push(Observation::BackupDeleted { volume, url: url.to_string() });
        }
        deleted
    }

    /// The backups of the same volume, newest first, this one among them; and how many there are
    /// under the volume's name.
    async fn siblings(
        &self,
        url: &BackupUrl,
        destination: &Destination,
    ) -> Result<(Vec<Backup>, usize)> {
        let volume = url.volume().map(Name::volume).transpose()?;
        let mut backups = self.backups(destination, volume.as_ref()).await?;
        let same = |backup: &Backup| backup.url().is_ok_and(|there| there.same_backup(url));
        let Some(this) = backups.iter().find(|backup| same(backup)).cloned() else {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no backup \"{url}\""))
                .with_hint(format!(
                    "see \"convoy-backups backups{}\" for those there are",
                    volume.map(|volume| format!(" --volume {volume}")).unwrap_or_default()
                )));
        };
        // An EBS URL does not name the volume; the list does.
        backups.retain(|backup| backup.volume() == this.volume());
        let of_the_name = backups.len();
        let groups = match this.volume() {
            "" => vec![
                backups
                    .into_iter()
                    .filter(|backup| backup.volume_key() == this.volume_key())
                    .collect(),
            ],
            name => self.by_volume(&Name::volume(name)?, backups).await?,
        };
        let siblings = groups.into_iter().find(|group: &Vec<Backup>| group.iter().any(same));
        Ok((siblings.unwrap_or_default(), of_the_name))
    }

    /// Guard 2's measure: the newest of these (newest first) that is complete and can be inspected.
    pub(super) async fn newest_good(&self, backups: &[Backup]) -> Result<Option<BackupUrl>> {
        for backup in backups.iter().filter(|backup| backup.is_complete()) {
            let url = backup.url()?;
            if self.seen().good.iter().any(|good| good.same_backup(&url)) {
                return Ok(Some(url));
            }
            match self.daemon.backup(&url).await {
                Ok(inspected) if inspected.is_complete() => {
                    self.seen().good.push(url.clone());
                    self.observe_backup(inspected.volume(), &url, &inspected, false);
                    return Ok(Some(url));
                }
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind,
                        ErrorKind::Daemon | ErrorKind::NotFound | ErrorKind::Repository
                    ) =>
                {
                    log::warn!("the backup \"{url}\" is listed but can't be inspected: {error}");
                }
                Err(error) => return Err(self.stop_on(error, "a backup could not be inspected")),
            }
        }
        Ok(None)
    }

    /// Guard 5: on S3, Convoy deletes a volume's last backup by prefix, and the backups of `vol10`
    /// go with those of `vol1`.
    async fn no_other_volume_by_prefix(
        &self,
        url: &BackupUrl,
        destination: &Destination,
        of_the_name: usize,
        what: &str,
    ) -> Result<()> {
        let is_last_on_s3 = destination.is_s3() && of_the_name <= 1;
        let Some(volume) = url.volume().filter(|_| is_last_on_s3) else { return Ok(()) };
        if !self.daemon.capabilities().await?.deletes_by_prefix {
            return Ok(());
        }
        let all = self.backups(destination, None).await?;
        self.may_delete(what, Some(volume))?;
        let other = all
            .iter()
            .map(Backup::volume)
            .find(|other| *other != volume && other.starts_with(volume));
        match other {
            None => Ok(()),
            Some(other) => Err(Error::guard(format!(
                "{what} is not deleted: it is the last one of \"{volume}\", and Convoy would delete those of \"{other}\" with it"
            ))
            .with_hint("keep it until the other volume's backups are gone")),
        }
    }
}

/// Waits for a write. Where the run is cancelled meanwhile, the write goes on, as the daemon does,
/// and the locks are held until it has ended. The note goes when the daemon has answered; it stays
/// where nobody knows what the daemon did.
async fn finish_even_if_cancelled<T: Send + 'static, L: Send + 'static>(
    write: impl Future<Output = Result<T>> + Send + 'static,
    note: Option<Note>,
    locks: L,
) -> Result<(Result<T>, L)> {
    // It works for the run on another thread: its log lines are the run's.
    let write = scope::carried(write);
    let ended = tokio::spawn(async move {
        let result = write.await;
        let known = !matches!(&result, Err(error) if error.kind == ErrorKind::Timeout);
        if let Some(note) = note.filter(|_| known) {
            note.remove();
        }
        (result, locks)
    });
    ended.await.map_err(|panic| Error::internal(format!("a call of the daemon failed: {panic}")))
}

/// Whether a backup was made from this snapshot, not before `begun`: the same snapshot may have
/// older ones. The daemon, on this host's clock, tells whole seconds. At EBS the snapshot is its
/// one backup, and was there before.
fn is_made_from(backup: &Backup, snapshot: &str, begun: Timestamp) -> bool {
    let slack = SignedDuration::from_secs(1);
    let in_time = || backup.created().is_none_or(|made| made.duration_since(begun) > -slack);
    let at_ebs = || matches!(backup.url(), Ok(BackupUrl::Ebs { .. }));
    backup.field("SnapshotName") == snapshot && (at_ebs() || in_time())
}

/// Convoy's words for a volume that has no backup at a destination: `cannot find .../volume.cfg in
/// objectstore`.
fn is_never_backed_up(error: &Error) -> bool {
    error.status == Some(400) && error.message.contains("volume.cfg")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::locks::Locks;

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
