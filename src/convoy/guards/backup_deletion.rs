//! Deleting a backup (guards 2, 5 and 8). The volume's newest good backup stays, and so do the
//! backups of other volumes.

use std::sync::Arc;

use super::{
    belonging::{Group, Whose},
    good_backups::Protection,
    observations::Observation,
    overlap::finish_even_if_cancelled,
    pending::Operation,
    run::{Deletable, Guards},
};
use crate::{
    convoy::{Backup, BackupUrl, Destination, Name},
    error::{Error, ErrorKind, Result},
    locks::{Lock, Sharing},
};

const MAKE_A_NEWER: &str =
    "make a newer one first, or say that even the newest may go (remove --all)";
const VERIFY_A_NEWER: &str = "let this program read the destination, or restore a newer backup for a trial: that verifies it (docs/convoy.md)";
/// What a deletion may take although a guard would keep it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Even {
    /// The newest good backup of a volume.
    pub(crate) the_newest: bool,
    /// Backups that other hosts made, or may have made.
    pub(crate) of_any_host: bool,
}

impl Guards {
    /// Deletes a backup.
    ///
    /// # Errors
    /// - [`ErrorKind::Guard`] if a guard refuses.
    /// - [`ErrorKind::NotFound`] if the destination lists no such backup.
    /// - Otherwise as [`crate::convoy::Daemon::delete_backup`].
    pub(crate) async fn delete_backup(&self, url: &BackupUrl, even: Even) -> Result<()> {
        self.may_write("delete a backup")?;
        self.declared(Deletable::Everything, "delete a backup")?;
        let what = format!("the backup \"{url}\"");
        let destination = url.destination();
        let lock = self.lock_destination(&destination, Sharing::Exclusive).await?;
        self.may_delete(&what, url.volume())?;
        let (group, of_the_name) = self.siblings(url, &destination).await?;
        let siblings = &group.backups;
        // An EBS URL does not name the volume; the list does.
        let volume = siblings.first().map(|backup| backup.volume().to_owned()).unwrap_or_default();
        let refusal = format!("{what} is not deleted");
        self.no_pending_operation(Operation::Backup, None, &volume, &destination, &refusal).await?;
        self.may_delete(&what, Some(&volume))?;
        is_this_hosts(group.whose, even, &what)?;
        if !even.the_newest {
            for newest_first in self.orders(siblings) {
                let siblings = (&newest_first[..], group.whose);
                self.not_the_newest_good(url, siblings, &destination, &what).await?;
                let trusted = self.trusted_of(siblings.0, group.whose, even.of_any_host)?;
                if let Some(trusted) = trusted {
                    self.not_the_newest_trusted(url, siblings, &trusted, &what).await?;
                }
            }
        }
        let this = |backup: &&Backup| backup.url().is_ok_and(|there| there.same_backup(url));
        let this = siblings.iter().find(this);
        let driver = this.map_or("", |backup| backup.field("DriverName"));
        self.no_other_volume_by_prefix(url, driver, of_the_name, &what).await?;
        self.delete_at_the_daemon(url, &volume, &destination, lock).await?;
        let mut memory = self.memory();
        let at_ebs = this.filter(|backup| backup.is_at_ebs());
        memory.removed_at_ebs.extend(at_ebs.map(|backup| backup.field("SnapshotName").to_owned()));
        memory.made.retain(|(_, made)| !made.same_backup(url));
        memory.good.remove(url);
        drop(memory);
        self.observe(Observation::BackupDeleted { volume, url: url.to_string() });
        Ok(())
    }

    /// Guard 2: only backups that are older than the volume's newest good one may be deleted. A newer backup may only look broken, as
    /// every backup on S3 does while the network is down.
    async fn not_the_newest_good(
        &self,
        url: &BackupUrl,
        (siblings, whose): (&[Backup], Whose),
        destination: &Destination,
        what: &str,
    ) -> Result<()> {
        let protected = self.protected(siblings, whose).await?;
        let Some(newest_good) = protected.first() else {
            let why = format!("no good backup of the volume was found at {destination}");
            self.stop(why.clone());
            return Err(Error::guard(format!("{what} is not deleted: {why}")));
        };
        let is_protected = protected.iter().find(|stays| stays.url.same_backup(url));
        let (why, hint) = match is_protected.map(|stays| stays.why) {
            Some(Protection::NewestGood) => ("it is the volume's newest good backup", MAKE_A_NEWER),
            Some(Protection::NewestVerified) => (
                "it is the volume's newest verified backup: the data of newer ones could not be looked at",
                VERIFY_A_NEWER,
            ),
            Some(Protection::SecondNewest) => (
                "it is one of the volume's newest two backups, and the data of none could be looked at",
                VERIFY_A_NEWER,
            ),
            None if is_older(url, &newest_good.url, siblings) => return Ok(()),
            None => ("it is newer than the newest one that can be inspected", MAKE_A_NEWER),
        };
        Err(Error::guard(format!("{what} is not deleted: {why}")).with_hint(hint))
    }

    /// Guard 2: of this host's backups, the newest good one that it made or restored stays as well,
    /// because the others may only look like its own.
    async fn not_the_newest_trusted(
        &self,
        url: &BackupUrl,
        (siblings, whose): (&[Backup], Whose),
        trusted: &[Backup],
        what: &str,
    ) -> Result<()> {
        let hint = match whose {
            Whose::Own => "back the volume up once more, or restore its newest backup once",
            _ if trusted.is_empty() => {
                "restore its newest backup once, or say that any host's may go (prune --all-hosts; in scripts #{ of_any_host: true })"
            }
            _ => "restore the volume's newest backup once",
        };
        let refuse = |why: String| {
            Err(Error::guard(format!("{what} is not deleted: {why}")).with_hint(hint))
        };
        let protected = self.protected(trusted, whose).await?;
        let Some(newest) = protected.first() else {
            return refuse("no run of this host is known to have made a good backup".into());
        };
        let is_protected = protected.iter().any(|stays| stays.url.same_backup(url));
        if newest.url.same_backup(url) {
            refuse("it is the newest good one that a run of this host is known to have made".into())
        } else if is_protected {
            refuse(
                "the data of the newer ones that runs of this host made could not be looked at"
                    .into(),
            )
        } else if is_older(url, &newest.url, siblings) {
            Ok(())
        } else {
            refuse(format!(
                "it is newer than \"{}\", the newest good one that a run of this host is known to have made",
                newest.url
            ))
        }
    }

    /// These backups of one volume, newest first: by the names of their snapshots, as they are
    /// listed, and by their dates. The two differ once names or dates were in the future, and the
    /// newest of each stays.
    fn orders(&self, listed: &[Backup]) -> Vec<Vec<Backup>> {
        let mut orders = vec![listed.to_vec(), self.by_date(listed)];
        orders.dedup();
        orders
    }

    /// Guard 8: after a timeout, a backup that can't be found any more counts as deleted.
    async fn delete_at_the_daemon(
        &self,
        url: &BackupUrl,
        volume: &str,
        destination: &Destination,
        lock: [Option<Lock>; 2],
    ) -> Result<()> {
        let pending =
            self.record_operation(Operation::Delete, url.backup(), volume, destination).await?;
        let (daemon, asked_url) = (Arc::clone(&self.daemon), url.clone());
        let asked = async move { daemon.delete_backup(&asked_url).await };
        let (deleted, _lock) = finish_even_if_cancelled(asked, pending, lock).await?;
        match deleted {
            Err(error) if error.kind == ErrorKind::Timeout => match self.daemon.backup(url).await {
                // Convoy removes a backup from its list first, and its blocks after that. It may
                // still be removing blocks, so the operation stays pending.
                Err(gone) if gone.kind == ErrorKind::NotFound => Ok(()),
                _ => Err(error
                    .with_hint("the daemon may still be at it: look again before you repeat it")),
            },
            deleted => deleted,
        }
    }

    /// The backups of the same volume, including this one, and the number of backups under the
    /// volume's name.
    async fn siblings(&self, url: &BackupUrl, destination: &Destination) -> Result<(Group, usize)> {
        let volume = self.memory().volume_of(url).map(Name::volume).transpose()?;
        let mut backups = self.backups(destination, volume.as_ref()).await?;
        self.list_is_whole(destination, &backups, &format!("the backup \"{url}\"")).await?;
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
            "" => {
                backups.retain(|backup| backup.volume_key() == this.volume_key());
                vec![Group { whose: Whose::Former, backups }]
            }
            name => self.by_volume(&Name::volume(name)?, backups).await?,
        };
        let group = groups.into_iter().find(|group| group.backups.iter().any(same));
        let group = group.ok_or_else(|| Error::internal("a backup is in no group"))?;
        Ok((group, of_the_name))
    }
}

/// Refuses to delete what may be another host's, unless the call says so. Where nothing tells how
/// many volumes the backups are of, each may be the newest of one.
fn is_this_hosts(whose: Whose, even: Even, what: &str) -> Result<()> {
    if whose.is_this_hosts() || (even.of_any_host && (whose.is_one_volume() || even.the_newest)) {
        return Ok(());
    }
    let hint = match whose.is_one_volume() {
        true => {
            "delete it on the host that made it, or say that any host's may go (prune --all-hosts; in scripts #{ of_any_host: true })"
        }
        false => {
            "nothing tells which volume it is of, and it may be the only one of it: look into it first (restore it), or delete it by a script with #{ of_any_host: true, even_the_newest: true }"
        }
    };
    Err(Error::guard(format!("{what} is not deleted: it may be another host's")).with_hint(hint))
}

/// Whether `url` comes after `than` in a list that begins with the newest backup.
fn is_older(url: &BackupUrl, than: &BackupUrl, newest_first: &[Backup]) -> bool {
    let index_of = |url: &BackupUrl| {
        newest_first.iter().position(|backup| backup.url().is_ok_and(|it| it.same_backup(url)))
    };
    index_of(url) > index_of(than)
}
