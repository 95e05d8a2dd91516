//! EBS, where a snapshot is the backup: lists of backups, and the snapshots that may be forgotten.

use super::run::{Guards, Memory};
use crate::{
    convoy::{Backup, BackupUrl, Name, Snapshot, Volume, ebs},
    error::{Error, ErrorKind, Result},
};

impl Memory {
    /// The volume of a backup, as far as this run knows it.
    pub(super) fn volume_of<'a>(&'a self, url: &'a BackupUrl) -> Option<&'a str> {
        url.volume().or_else(|| self.volumes_at_ebs.get(url).map(String::as_str))
    }
}

impl Guards {
    /// Completes a list of backups if the daemon has Convoy's EBS driver: with the backups where
    /// Convoy lists none (0.5.0), and with their states where it does.
    pub(super) async fn with_ebs(
        &self,
        mut listed: Vec<Backup>,
        volume: Option<&Name>,
    ) -> Result<Vec<Backup>> {
        if !listed.iter().any(Backup::is_at_ebs) {
            listed.extend(self.backups_of_ebs_snapshots(volume).await?);
        }
        let mut backups = Vec::new();
        for backup in listed {
            backups.extend(self.with_state(backup).await?);
        }
        Ok(backups)
    }

    /// Remembers of which volumes these backups are: a deletion then asks for one volume's list.
    /// Convoy takes seconds for each snapshot that it lists.
    pub(super) fn remember_volumes_at_ebs(&self, listed: &[Backup]) {
        let at_ebs = listed.iter().filter(|it| it.is_at_ebs() && !it.volume().is_empty());
        let mut memory = self.memory();
        for backup in at_ebs {
            if let Ok(url) = backup.url() {
                memory.volumes_at_ebs.add_if_new(url, backup.volume().to_owned());
            }
        }
    }

    /// The backups that the volumes' snapshots on EBS are.
    async fn backups_of_ebs_snapshots(&self, volume: Option<&Name>) -> Result<Vec<Backup>> {
        let Some(region) = self.ebs_region().await? else { return Ok(Vec::new()) };
        let mut volumes = match volume {
            Some(name) => match self.daemon.volume(name).await {
                Ok(volume) => vec![volume],
                Err(error) if error.kind == ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(self.stop_on(error, "a look at a volume failed")),
            },
            None => self.volumes().await?.into_values().collect(),
        };
        volumes.retain(|volume| volume.driver == ebs::DRIVER);
        let backups: Vec<_> =
            volumes.iter().flat_map(|volume| ebs::backups(volume, &region)).collect();
        if backups.is_empty() {
            volumes.iter().for_each(warn_of_removed_snapshots);
        }
        Ok(backups)
    }

    /// The region of the daemon's EBS driver; `None` if the daemon has no EBS driver.
    async fn ebs_region(&self) -> Result<Option<String>> {
        if let Some(known) = self.memory().ebs_region.clone() {
            return Ok(known);
        }
        let info = self.daemon.info().await;
        let info = info.map_err(|error| self.stop_on(error, "the daemon's settings failed"))?;
        Ok(self.memory().ebs_region.insert(info.ebs_region().map(str::to_owned)).clone())
    }

    /// Adds the state of an EBS backup: Convoy also lists what is not complete. A backup that was
    /// deleted meanwhile is left out.
    async fn with_state(&self, backup: Backup) -> Result<Option<Backup>> {
        if !backup.is_at_ebs() || !backup.field("State").is_empty() {
            return Ok(Some(backup));
        }
        match self.daemon.backup(&backup.url()?).await {
            Ok(inspected) => Ok(Some(backup.with_fields_of(&inspected))),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) if error.ends_the_run() => Err(error),
            Err(error) => {
                log::warn!("the state of \"{}\" is not known: {error}", backup.field("BackupURL"));
                let unknown = [("State".to_owned(), "unknown".to_owned())];
                Ok(Some(backup.with_fields_of(&Backup::new(unknown.into()))))
            }
        }
    }

    /// Refuses to delete a snapshot that is a backup. Convoy would only forget it, and it would cost
    /// money without appearing in any list.
    pub(super) async fn is_no_backup(&self, snapshot: &Snapshot, name: &Name) -> Result<()> {
        let mut is_there = ebs::id_at_amazon(snapshot).is_some();
        if ebs::is_removed(snapshot) && !self.memory().removed_at_ebs.contains(&snapshot.name) {
            // Convoy says so as well while Amazon refuses to answer. A second look may tell.
            is_there = ebs::id_at_amazon(&self.daemon.snapshot(name).await?).is_some();
        }
        if !is_there {
            return Ok(());
        }
        Err(Error::guard(format!(
            "the snapshot \"{name}\" is not deleted: at EBS it is a backup, which is still there"
        ))
        .with_hint("delete the backup first (\"prune\", or \"remove --all\"), then the snapshot"))
    }
}

/// An empty list may mean that Amazon refused to answer.
fn warn_of_removed_snapshots(volume: &Volume) {
    let removed = volume.snapshots_by_time().into_iter().filter(|it| ebs::is_removed(it)).count();
    if removed > 0 {
        log::warn!(
            "Convoy finds none of the {removed} snapshots of \"{}\" at Amazon; it says the same while Amazon refuses to answer it",
            volume.name
        );
    }
}

/// Whether Convoy's EBS driver refuses to list the backups of a volume, because it has no volume of
/// that name. Another driver may have one.
pub(super) fn is_unknown_volume(error: &Error) -> bool {
    error.status == Some(400) && error.message == "No such volume"
}
