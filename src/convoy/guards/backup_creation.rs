//! Making a backup (guards 1 and 8). A backup counts once it is proven good.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    data_look::{Good, Seen},
    overlap::finish_even_if_cancelled,
    pending::{Operation, is_made_from},
    run::Guards,
    snapshot_names,
};
use crate::{
    clock::is_in_future,
    convoy::{Backup, BackupUrl, Belonging, Daemon, Destination, Name, Snapshot, names},
    error::{Error, ErrorKind, Result},
    locks::Sharing,
};

/// What a backup is made of.
#[derive(Debug, Clone)]
struct Source {
    volume: Name,
    /// The name of the snapshot.
    snapshot: Name,
    /// The snapshot; `None` if the volume is written as it is, and no snapshot stays.
    taken: Option<Snapshot>,
}

impl Guards {
    /// Backs up a snapshot, and proves the backup good before it returns (guard 1).
    ///
    /// # Errors
    /// [`ErrorKind::Guard`] if the daemon answered success but the backup can't be inspected;
    /// otherwise as [`crate::convoy::Daemon::create_backup`]. After an error, the run deletes
    /// nothing more of this volume.
    pub(crate) async fn create_backup(
        &self,
        snapshot: &Name,
        destination: &Destination,
    ) -> Result<BackupUrl> {
        self.may_write("make a backup")?;
        let taken = self.with_extent_known(self.daemon.snapshot(snapshot).await?);
        let volume = Name::volume(&taken.volume_name)?;
        let source = Source { volume, snapshot: snapshot.clone(), taken: Some(taken) };
        self.back_up_from(&source, destination).await
    }

    /// Backs up a volume as it is now, and proves the backup good. If the daemon can't do that
    /// without a snapshot that stays, a snapshot is taken and backed up.
    ///
    /// # Errors
    /// As [`Guards::create_snapshot`] and [`Guards::create_backup`].
    pub(crate) async fn back_up(
        &self,
        volume: &Name,
        destination: &Destination,
    ) -> Result<BackupUrl> {
        self.may_write("back up a volume")?;
        let key = (volume.to_string(), destination.key());
        self.memory().unproven.insert(key, "it was not begun".into());
        if !self.capabilities().await?.backs_up_volumes {
            return self.back_up_by_snapshot(volume, destination).await;
        }
        let snapshot = self.next_name(volume, destination).await?;
        let source = Source { volume: volume.clone(), snapshot, taken: None };
        self.back_up_from(&source, destination).await
    }

    /// Takes a snapshot and backs it up. Another run, with a newer snapshot, may have deleted it
    /// meanwhile: then once more.
    async fn back_up_by_snapshot(
        &self,
        volume: &Name,
        destination: &Destination,
    ) -> Result<BackupUrl> {
        let snapshot = Name::snapshot(&self.create_snapshot(volume).await?.name)?;
        let gone = match self.create_backup(&snapshot, destination).await {
            Err(error) if error.kind == ErrorKind::NotFound => error,
            done => return done,
        };
        match self.daemon.snapshot(&snapshot).await {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            _ => return Err(gone),
        }
        log::info!("the snapshot \"{snapshot}\" is gone, so a fresh one is backed up: {gone}");
        let snapshot = Name::snapshot(&self.create_snapshot(volume).await?.name)?;
        self.create_backup(&snapshot, destination).await
    }

    /// The name of the snapshot that a backup without one is of. It is later than those of the
    /// volume's backups at the destination (guard 7).
    async fn next_name(&self, volume: &Name, destination: &Destination) -> Result<Name> {
        let living = self.volume(volume).await?;
        let listed = match self.daemon.backups(destination, Some(volume)).await {
            Ok(listed) => listed,
            Err(error) if error.kind == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let now = self.clock.now();
        let own = listed.iter().filter(|backup| backup.belonging(Some(&living)) == Belonging::Own);
        let names = own.filter_map(|backup| names::snapshot_time(backup.field("SnapshotName")));
        let newest = names.filter(|time| !is_in_future(*time, now)).max();
        Ok(snapshot_names::next_after(newest, volume, &living, now))
    }

    async fn back_up_from(&self, source: &Source, destination: &Destination) -> Result<BackupUrl> {
        // Until the proof, the volume counts as not backed up.
        let key = (source.volume.to_string(), destination.key());
        self.memory().unproven.insert(key.clone(), "it was not finished".into());
        let proven = self.make_and_prove(source, destination).await;
        let mut doubt = None;
        if let Ok((url, backup)) = &proven {
            self.memory().made.push((destination.clone(), url.clone()));
            self.remember_volumes_at_ebs(std::slice::from_ref(backup));
            let volume = source.volume.as_str();
            doubt =
                self.doubt_backup(backup, url, (volume, source.taken.as_ref()), destination).await;
        }
        let proven = proven.map(|(url, _)| url);
        let mut memory = self.memory();
        match &proven {
            Ok(_) => match doubt {
                None => _ = memory.unproven.remove(&key),
                // To delete on its word, a person must have accepted it (guard 10).
                Some(why) => _ = memory.unproven.insert(key, why),
            },
            Err(error) => {
                memory.unproven.insert(key, error.to_string());
            }
        }
        drop(memory);
        proven
    }

    async fn make_and_prove(
        &self,
        source: &Source,
        destination: &Destination,
    ) -> Result<(BackupUrl, Backup)> {
        let Source { snapshot, volume, taken } = source;
        let volume = volume.as_str();
        let locks = (
            self.lock_volume(volume, Sharing::Shared).await?,
            self.lock_destination(destination, Sharing::Shared).await?,
        );
        let what = match taken {
            Some(_) => format!("the snapshot \"{snapshot}\" is not backed up"),
            None => format!("the volume \"{volume}\" is not backed up"),
        };
        self.no_pending_operation(Operation::Delete, None, volume, destination, &what).await?;
        // Two backups of one snapshot can't be told apart. The end of the second one would pass for
        // the end of the first.
        self.no_pending_operation(
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
        let pending = self
            .record_operation(Operation::Backup, snapshot.as_str(), volume, destination)
            .await?;
        let asked = ask(Arc::clone(&self.daemon), source.clone(), destination.clone());
        let (made, _locks) = finish_even_if_cancelled(asked, pending, locks).await?;
        let url = match made {
            Err(error) if error.kind == ErrorKind::Timeout => {
                self.look_for_backup(snapshot, volume, destination, begun, error).await?
            }
            made => made?,
        };
        // At EBS, the inspection names neither.
        let source = [("SnapshotName", snapshot.as_str()), ("VolumeName", volume)];
        let source = source.map(|(field, value)| (field.to_owned(), value.to_owned()));
        let proven = self.prove(&url, snapshot, volume, destination).await?;
        let proven = proven.with_fields_of(&Backup::new(source.into()));
        if let Some(warning) = proven.moment().warning() {
            log::warn!("\"{volume}\": {warning}");
        }
        let (verified, bytes) = self.verify(&url, volume).await?;
        let extent = taken.as_ref().map(Snapshot::extent).unwrap_or_default();
        let proven = proven.with_size(bytes).with_extent(&extent);
        let good = Good { url: url.clone(), verified };
        self.memory().good.add_if_new(url.clone(), good);
        self.memory().observations.add_backup(volume, &url, &proven, (true, verified));
        if self.locks.is_some() {
            self.remember(destination).await;
        }
        Ok((url, proven))
    }

    /// Guard 8: after a timeout, looks for the backup of this snapshot in the list. If there are
    /// several, the newest counts.
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
        let not_good = |why: String| Err(not_good(url, &why));
        loop {
            let backup = match self.daemon.backup(url).await {
                Ok(backup) => backup,
                // Only if the daemon gave no clear answer, the list decides.
                Err(error) if gave_no_answer(&error) => {
                    match self.listed(url, destination, volume).await {
                        Some(backup) => backup,
                        None => {
                            return not_good(format!(
                                "it can be neither inspected nor listed: {error}"
                            ));
                        }
                    }
                }
                Err(error) => return not_good(format!("it can't be inspected: {error}")),
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
                "pending" => tokio::time::sleep(self.poll_interval).await,
                _ if backup.is_complete() => return Ok(backup),
                state => return not_good(format!("its state is \"{state}\"")),
            }
        }
    }

    /// Guard 1: the data of a backup that was just made is there, where it can be seen. Returns
    /// whether it was seen, and its size in bytes if that is told.
    async fn verify(&self, url: &BackupUrl, volume: &str) -> Result<(bool, Option<u64>)> {
        // A dry run made nothing that could be seen.
        if self.locks.is_none() {
            return Ok((true, None));
        }
        match self.seen(url, None).await? {
            Seen::Whole { bytes } => Ok((true, bytes)),
            Seen::Hidden(why) => {
                if !std::mem::replace(&mut self.memory().said_not_seen, true) {
                    log::info!(
                        "the backups at {} are not verified, only their descriptions were read: {why}",
                        url.destination()
                    );
                }
                Ok((false, None))
            }
            Seen::Broken(why) => {
                self.observe_broken(volume, url, why.clone());
                Err(not_good(url, &why))
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
        let this = |backup: &Backup| backup.url().is_ok_and(|there| there.same_backup(url));
        // Convoy also lists EBS backups that are not complete, and does not say so.
        let says_enough =
            |backup: &Backup| !backup.is_at_ebs() || !backup.field("State").is_empty();
        backups.into_iter().find(|backup| this(backup) && says_enough(backup))
    }
}

/// Asks the daemon for the backup. Owns what it needs, because it goes on after a cancellation.
async fn ask(
    daemon: Arc<dyn Daemon>,
    source: Source,
    destination: Destination,
) -> Result<BackupUrl> {
    match source.taken {
        Some(_) => daemon.create_backup(&source.snapshot, &destination).await,
        None => daemon.back_up(&source.volume, &source.snapshot, &destination).await,
    }
}

fn not_good(url: &BackupUrl, why: &str) -> Error {
    Error::guard(format!("the daemon said that \"{url}\" is done, but {why}"))
        .with_hint("nothing older was deleted; look into the daemon's log and back up again")
}

/// Whether the daemon said neither yes nor no.
fn gave_no_answer(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::Timeout
            | ErrorKind::Unreachable
            | ErrorKind::Protocol
            | ErrorKind::Cancelled
            | ErrorKind::DeadlineExceeded
    )
}
