//! Proving a backup good that the daemon says it has made (guards 1 and 8).

use jiff::Timestamp;

use super::{data_look::Seen, pending::is_made_from, run::Guards};
use crate::{
    convoy::{Backup, BackupUrl, Destination, Name},
    error::{Error, ErrorKind, Result},
};

impl Guards {
    /// Guard 8: after a timeout, looks for the backup of this snapshot in the list. If there are
    /// several, the newest counts.
    pub(super) async fn look_for_backup(
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
    pub(super) async fn prove(
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
    pub(super) async fn verify(
        &self,
        url: &BackupUrl,
        volume: &str,
    ) -> Result<(bool, Option<u64>)> {
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
