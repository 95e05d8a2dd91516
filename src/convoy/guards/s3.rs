//! What Convoy does on S3: it deletes by prefix (guard 5), and its lists end too early (guard 3).

use std::collections::{BTreeMap, BTreeSet};

use super::run::Guards;
use crate::{
    convoy::{Backup, BackupUrl, Destination, object_store::volume_folder},
    error::{Error, Result},
};

/// How many objects S3 lists at once. Convoy does not ask for the rest.
const LISTED_AT_ONCE: usize = 1000;
/// Convoy's one driver whose deletion of a volume's last backup is known to touch nothing but that
/// backup's own files.
const DELETES_FILES: &str = "vfs";

impl Guards {
    /// Whether Convoy deletes the last backup of this one's volume by prefix: with devicemapper on S3,
    /// the backups of `vol10` would go with the last one of `vol1`.
    pub(super) async fn last_goes_by_prefix(&self, url: &BackupUrl, driver: &str) -> Result<bool> {
        Ok(url.destination().is_s3()
            && driver != DELETES_FILES
            && self.capabilities().await?.deletes_by_prefix)
    }

    /// Whether there are other backups under a volume's name, so that the one to be deleted is not the
    /// last. Unless it is certain, one of them must be found now.
    pub(super) async fn has_others(&self, others: Vec<BackupUrl>, are_certain: bool) -> bool {
        if are_certain {
            return !others.is_empty();
        }
        for url in &others {
            if self.daemon.backup(url).await.is_ok() {
                return true;
            }
        }
        false
    }

    /// Guard 5: refuses to delete the last backup of a volume by prefix while another volume's
    /// backups would go with it.
    pub(super) async fn no_other_volume_by_prefix(
        &self,
        url: &BackupUrl,
        what: &str,
    ) -> Result<()> {
        let Some(volume) = url.volume() else { return Ok(()) };
        let destination = url.destination();
        let all = self.backups(&destination, None).await?;
        self.may_delete(what, Some(volume))?;
        self.list_is_whole(&destination, &all, what).await?;
        let folder = volume_folder(volume);
        let other = all
            .iter()
            .map(Backup::volume)
            .find(|other| *other != volume && volume_folder(other).starts_with(&folder));
        match other {
            None => Ok(()),
            Some(other) => Err(Error::guard(format!(
                "{what} is not deleted: it is the last one of \"{volume}\", and Convoy would delete those of \"{other}\" with it"
            ))
            .with_hint("keep it until the other volume's backups are gone")),
        }
    }

    /// Guard 3: nothing is deleted by a list that Convoy has cut. The newest backup may be missing,
    /// and Convoy itself would take blocks for unused that a missing one needs.
    pub(super) async fn list_is_whole(
        &self,
        destination: &Destination,
        listed: &[Backup],
        what: &str,
    ) -> Result<()> {
        match self.cut_list(destination, listed).await? {
            None => Ok(()),
            Some(list) => Err(Error::guard(format!(
                "{what} is not deleted: the list of {list} has {LISTED_AT_ONCE} entries, where Convoy cuts lists on S3, so the newest may be missing"
            ))
            .with_hint("set BKUP_BACKUP_URL to a new path; docs/s3.md says what becomes of the old one")),
        }
    }

    /// Says once in a run that a list is cut.
    pub(super) async fn warn_of_a_cut_list(
        &self,
        destination: &Destination,
        listed: &[Backup],
    ) -> Result<()> {
        if let Some(list) = self.cut_list(destination, listed).await?
            && self.memory().cut_lists.insert(list.clone())
        {
            log::warn!(
                "the list of {list} at {destination} has {LISTED_AT_ONCE} entries, where Convoy cuts it: others may be missing, the newest too (docs/s3.md)"
            );
        }
        Ok(())
    }

    /// Which list at this destination is as long as the longest that Convoy gets from S3.
    async fn cut_list(
        &self,
        destination: &Destination,
        listed: &[Backup],
    ) -> Result<Option<String>> {
        if !destination.is_s3() {
            return Ok(None);
        }
        match full_list(listed.iter().map(Backup::volume)) {
            Some(list) if !self.capabilities().await?.lists_all => Ok(Some(list)),
            _ => Ok(None),
        }
    }
}

/// Which list has as many entries as S3 lists at once: a volume's backups, or the volumes. Convoy
/// keeps volumes in folders by the first and by the next two letters of their names, and lists each
/// folder. `volumes` has the volume of each backup.
fn full_list<'a>(volumes: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut backups: BTreeMap<&str, usize> = BTreeMap::new();
    volumes.for_each(|volume| *backups.entry(volume).or_default() += 1);
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for volume in backups.keys() {
        let mut folder = volume_folder(volume);
        for _ in 0..3 {
            let Some((parent, name)) = folder.rsplit_once('/') else { break };
            folders.entry(parent.to_owned()).or_default().insert(name.to_owned());
            folder = parent.to_owned();
        }
    }
    let full = backups.iter().find(|(_, count)| **count == LISTED_AT_ONCE);
    full.map(|(volume, _)| format!("backups of \"{volume}\"")).or_else(|| {
        folders.values().any(|names| names.len() == LISTED_AT_ONCE).then(|| "volumes".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(count: usize, name: impl Fn(usize) -> String) -> Option<String> {
        let volumes: Vec<String> = (0..count).map(name).collect();
        full_list(volumes.iter().map(String::as_str))
    }

    #[test]
    fn a_list_of_as_many_as_s3_lists_at_once_may_be_cut() {
        let backups = |_| "vol1".to_owned();
        assert_eq!(full(999, backups), None);
        assert_eq!(full(1000, backups).unwrap(), "backups of \"vol1\"");
        // This Convoy asked for the rest.
        assert_eq!(full(1001, backups), None);
        assert_eq!(full(1000, |number| format!("volume-{number}")).unwrap(), "volumes");
        // Here no folder has as many.
        assert_eq!(full(1000, |number| format!("{:04}", number * 10)), None);
        assert_eq!(full(0, backups), None);
    }
}
