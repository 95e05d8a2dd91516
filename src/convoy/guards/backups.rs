//! Listing backups (guards 2 and 3), and finding the good ones among them.

use std::collections::BTreeMap;

use super::{
    belonging::Whose,
    ebs,
    known::{KnownBackup, find},
    observations::{Observation, snapshot_taken},
    run::Guards,
};
use crate::{
    convoy::{Backup, BackupUrl, Destination, Name},
    error::{Error, ErrorKind, Result},
};

impl Guards {
    /// The backups at a destination, newest first. The list is empty for a volume that was never
    /// backed up there.
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::backups`]. After an error, or if a backup that this run made is
    /// missing from the list, the run deletes nothing more.
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
                Some(_) if ebs::is_unknown_volume(&error) => self.all_backups(destination).await?,
                _ => return Err(self.stop_on(error, "a list of backups failed")),
            },
        };
        backups = self.with_ebs(backups, volume).await?;
        self.warn_of_a_cut_list(destination, &backups).await?;
        if let Some(volume) = volume {
            // On S3, Convoy lists by prefix, so a list for `vol1` can contain the backups of
            // `vol10`.
            backups
                .retain(|backup| backup.volume().is_empty() || backup.volume() == volume.as_str());
        }
        backups.sort_by(|a, b| b.order().cmp(&a.order()));
        let backups = self.with_what_is_known(backups);
        let missing = self.memory().made.iter().find_map(|(made_at, made)| {
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

    /// These backups, each that is known to be broken with the reason. A memory that can't be read
    /// hides no backup.
    fn with_what_is_known(&self, backups: Vec<Backup>) -> Vec<Backup> {
        let Some(memory) = &self.known else { return backups };
        let mut known: BTreeMap<String, Vec<KnownBackup>> = BTreeMap::new();
        let daemon = self.identity();
        let told = backups.into_iter().map(|backup| {
            let of_volume = known.entry(backup.volume().to_owned()).or_insert_with(|| {
                memory.of_volume(&daemon, backup.volume()).unwrap_or_else(|error| {
                    log::warn!("what is known of the backups can't be read: {error}");
                    Vec::new()
                })
            });
            let this = backup.url().ok().and_then(|url| find(of_volume, &url));
            match this.and_then(|this| this.broken.as_ref()) {
                Some(broken) => backup.known_broken(&broken.why),
                None => backup,
            }
        });
        told.collect()
    }

    /// Handles Convoy's refusal to list a volume that was never backed up. A denied S3 request has
    /// the same words. So the refusal counts only if the whole destination can be listed and has no
    /// backup of the volume.
    async fn without_backups(
        &self,
        destination: &Destination,
        volume: &Name,
        refusal: Error,
    ) -> Result<Vec<Backup>> {
        let all = self.all_backups(destination).await?;
        if all.iter().all(|backup| backup.volume() != volume.as_str()) {
            return Ok(Vec::new());
        }
        Err(self.stop_on(refusal, "a list of backups failed"))
    }

    async fn all_backups(&self, destination: &Destination) -> Result<Vec<Backup>> {
        let all = self.daemon.backups(destination, None).await;
        all.map_err(|error| self.stop_on(error, "a list of backups failed"))
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

    /// What earlier runs learned of this volume's backups. Without a memory, nothing.
    ///
    /// # Errors
    /// If the memory can't be read. The run then deletes nothing more.
    pub(super) fn known_backups(&self, volume: &str) -> Result<Vec<KnownBackup>> {
        let Some(known) = &self.known else { return Ok(Vec::new()) };
        known
            .of_volume(&self.identity(), volume)
            .map_err(|error| self.stop_on(error, "what is known of the backups can't be read"))
    }

    /// Remembers a backup as broken if this error says so surely. An error that a daemon puts in
    /// words of its own may have another reason. `listed`: what the daemon says of the backup.
    pub(super) fn observe_if_broken(
        &self,
        url: &BackupUrl,
        listed: Option<&Backup>,
        error: &Error,
        by_reading: bool,
    ) {
        if error.kind == ErrorKind::Repository {
            let volume = listed.map(Backup::volume).or(url.volume());
            self.observe(Observation::BackupBroken {
                volume: volume.unwrap_or_default().to_owned(),
                url: url.to_string(),
                snapshot_time: listed.and_then(snapshot_taken),
                why: error.message.clone(),
                by_reading,
            });
        }
    }

    /// Inspects many backups: as [`crate::convoy::Daemon::inspect_backups`].
    ///
    /// # Errors
    /// If none of them could be looked at.
    pub(crate) async fn inspect_backups(&self, urls: &[BackupUrl]) -> Result<Vec<Result<Backup>>> {
        self.daemon.inspect_backups(urls).await
    }

    /// The backup that guard 2 protects: the newest of `backups` (newest first) that is complete
    /// and can be inspected. What is found is remembered only of the volume that has the name now:
    /// the backups of others say nothing about it.
    pub(super) async fn newest_good(
        &self,
        backups: &[Backup],
        whose: Whose,
    ) -> Result<Option<BackupUrl>> {
        let Some(first) = backups.first() else { return Ok(None) };
        let known_backups = self.known_backups(first.volume())?;
        for backup in backups.iter().filter(|backup| backup.is_complete()) {
            let url = backup.url()?;
            if let Some(why) = find(&known_backups, &url).and_then(KnownBackup::is_bad) {
                log::debug!("the backup \"{url}\" counts for nothing: {why}");
                continue;
            }
            if self.memory().good.iter().any(|good| good.same_backup(&url)) {
                return Ok(Some(url));
            }
            match self.daemon.backup(&url).await {
                Ok(inspected) if inspected.is_complete() => {
                    let verified = self.capabilities().await?.inspects_data;
                    let mut memory = self.memory();
                    memory.good.push(url.clone());
                    if whose == Whose::Own {
                        let (volume, inspected) =
                            (backup.volume(), inspected.with_fields_of(backup));
                        memory.observations.add_backup(volume, &url, &inspected, (false, verified));
                    }
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
                    if whose == Whose::Own {
                        self.observe_if_broken(&url, Some(backup), &error, false);
                    }
                }
                Err(error) => return Err(self.stop_on(error, "a backup could not be inspected")),
            }
        }
        Ok(None)
    }
}

/// Whether Convoy's words say that a volume has no backup at a destination: `cannot find
/// .../volume.cfg in objectstore`.
fn is_never_backed_up(error: &Error) -> bool {
    error.status == Some(400) && error.message.contains("volume.cfg")
}
