//! Deleting a backup (guards 2, 5 and 8). The volume's newest good backup stays, and so do the
//! backups of other volumes.

use std::sync::Arc;

use super::{
    group::{Protection, Whose},
    listed::{Found, Listed, Order, Siblings, Trusted},
    observations::Observation,
    overlap::{finish_even_if_cancelled, has_ended},
    past::refuse_past,
    pending::Operation,
    run::{Deletable, Guards},
};
use crate::{
    convoy::{BackupUrl, Destination},
    error::{Error, ErrorKind, Result},
    locks::{Lock, Sharing},
};

const MAKE_A_NEWER: &str =
    "make a newer one first, or say that even the newest may go (remove --all)";
const VERIFY_A_NEWER: &str = "let this program read the destination, or restore a newer backup for a trial: that verifies it (docs/convoy.md)";
const HOLD_STILL: &str = "make a backup while the programs that write to the volume are stopped, or use a place that gives a moment (docs/moments.md)";
/// What a deletion may take although a guard would keep it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Even {
    /// The newest good backup of a volume.
    pub(crate) the_newest: bool,
    /// Backups that other hosts made, or may have made.
    pub(crate) of_any_host: bool,
}

/// A backup that is to be deleted.
struct Deletion<'a> {
    url: &'a BackupUrl,
    even: Even,
    destination: Destination,
    /// For people: `the backup "<url>"`.
    what: String,
}

/// What became of a deletion.
enum Outcome {
    Deleted,
    /// Nothing was deleted: what would have made it safe is not there any more.
    Unsafe(Error),
}

impl Guards {
    /// Deletes a backup.
    ///
    /// # Errors
    /// - [`ErrorKind::Guard`] if a guard refuses.
    /// - [`ErrorKind::NotFound`] if the destination lists no such backup.
    /// - Otherwise as [`crate::convoy::Daemon::delete_backup`].
    pub(crate) async fn delete_backup(&self, url: &BackupUrl, even: Even) -> Result<()> {
        self.may_delete_listed("delete a backup")?;
        refuse_past("delete a backup", &url.destination())?;
        self.declared(Deletable::Everything, "delete a backup")?;
        let (destination, what) = (url.destination(), format!("the backup \"{url}\""));
        let deletion = Deletion { url, even, destination, what };
        for anew in [false, true] {
            let lock = self.lock_destination(&deletion.destination, Sharing::Exclusive).await?;
            self.may_delete(&deletion.what, url.volume())?;
            let mut listed = self.list_to_delete_by(url, &deletion.destination, anew).await?;
            let done = self.delete_by(&deletion, &mut listed, lock).await;
            match done {
                Ok(Outcome::Deleted) => {
                    if let Some(listed) = listed.without(url) {
                        self.remember_list(listed);
                    }
                    return Ok(());
                }
                Ok(Outcome::Unsafe(why)) if listed.is_older => {
                    log::debug!("the backups are listed anew: {why}");
                }
                Ok(Outcome::Unsafe(why)) => return Err(why),
                Err(error) => {
                    // A refusal changed nothing.
                    if error.kind == ErrorKind::Guard {
                        self.remember_list(listed);
                    }
                    return Err(error);
                }
            }
        }
        Err(Error::internal("a new list counts as an older one"))
    }

    async fn delete_by(
        &self,
        deletion: &Deletion<'_>,
        listed: &mut Listed,
        lock: [Option<Lock>; 2],
    ) -> Result<Outcome> {
        let Deletion { url, even, destination, what } = deletion;
        let is_older = listed.is_older;
        let Found { this, siblings } = self
            .find_in(listed, url)
            .await?
            .ok_or_else(|| Error::internal("a backup is in no list"))?;
        // An EBS URL does not name the volume; the list does.
        let volume = this.volume().to_owned();
        let refusal = format!("{what} is not deleted");
        self.no_pending_operation(Operation::Backup, None, &volume, destination, &refusal).await?;
        self.may_delete(what, Some(&volume))?;
        is_this_hosts(siblings.whose, *even, what)?;
        if !even.the_newest {
            self.stays_safe(deletion, siblings).await?;
        }
        let staying = siblings.staying();
        // Others may be gone since an older list was read, unless some of them are known to be there.
        let are_certain = !is_older || !staying.is_empty();
        if self.last_goes_by_prefix(url, this.field("DriverName")).await?
            && !self.has_others(listed.others_of_the_name(url), are_certain).await
        {
            self.no_other_volume_by_prefix(url, what).await?;
        }
        if let Outcome::Unsafe(why) = self.ask_daemon(deletion, &volume, &staying, lock).await? {
            return Ok(Outcome::Unsafe(why));
        }
        let mut memory = self.memory();
        if this.is_at_ebs() {
            memory.removed_at_ebs.push(this.field("SnapshotName").to_owned());
        }
        memory.made.retain(|(_, made)| !made.same_backup(url));
        memory.good.remove(url);
        drop(memory);
        self.observe(Observation::BackupDeleted { volume, url: url.to_string() });
        Ok(Outcome::Deleted)
    }

    /// Guard 2: in each order of the volume's backups, this one is none of those that stay, and older
    /// than they are.
    async fn stays_safe(&self, deletion: &Deletion<'_>, siblings: &mut Siblings) -> Result<()> {
        let whose = siblings.whose;
        for order in self.orders(siblings).await? {
            self.not_the_newest_good(deletion, order)?;
            let needs_none = deletion.even.of_any_host && whose != Whose::Own;
            match &order.trusted {
                Some(trusted) if !(needs_none && trusted.is_empty) => {
                    not_the_newest_trusted(deletion, order, trusted, whose)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Guard 2: only backups that are older than the volume's newest good one may be deleted. A newer backup may only look broken, as
    /// every backup on S3 does while the network is down.
    fn not_the_newest_good(&self, deletion: &Deletion<'_>, order: &Order) -> Result<()> {
        let Deletion { url, destination, what, .. } = deletion;
        let Some(newest_good) = order.protected.first() else {
            let why = format!("no good backup of the volume was found at {destination}");
            self.stop(why.clone());
            return Err(Error::guard(format!("{what} is not deleted: {why}")));
        };
        let is_protected = order.protected.iter().find(|stays| stays.url.same_backup(url));
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
            Some(Protection::NewestUntorn) => (
                "files changed while the newer ones were made, and a database in those may not open",
                HOLD_STILL,
            ),
            None if order.is_older(url, &newest_good.url) => return Ok(()),
            None => ("it is newer than the newest one that can be inspected", MAKE_A_NEWER),
        };
        Err(Error::guard(format!("{what} is not deleted: {why}")).with_hint(hint))
    }

    /// Asks the daemon to delete the backup as long as those that stay are there. Guard 8: after a
    /// timeout, a backup that can't be found any more counts as deleted.
    async fn ask_daemon(
        &self,
        deletion: &Deletion<'_>,
        volume: &str,
        staying: &[BackupUrl],
        lock: [Option<Lock>; 2],
    ) -> Result<Outcome> {
        let Deletion { url, destination, .. } = deletion;
        let pending =
            self.record_operation(Operation::Delete, url.backup(), volume, destination).await?;
        // Convoy does not look after them: our locks hold others off, and `list_to_delete_by` has looked.
        let looks_itself = self.capabilities().await?.keeps_required_backups;
        let staying = if looks_itself { staying.to_vec() } else { Vec::new() };
        let (daemon, asked_url) = (Arc::clone(&self.daemon), (*url).clone());
        let asked = async move {
            let deleted = daemon.delete_backup(&asked_url, &staying).await;
            has_ended(pending, &deleted);
            deleted
        };
        let (deleted, _lock) = finish_even_if_cancelled(asked, lock).await?;
        match deleted {
            Ok(()) => Ok(Outcome::Deleted),
            Err(error) if error.kind == ErrorKind::Guard => Ok(Outcome::Unsafe(error)),
            Err(error) if error.kind == ErrorKind::Timeout => match self.daemon.backup(url).await {
                // Convoy removes a backup from its list first, and its blocks after that. It may
                // still be removing blocks, so the operation stays pending.
                Err(gone) if gone.kind == ErrorKind::NotFound => Ok(Outcome::Deleted),
                _ => Err(error
                    .with_hint("the daemon may still be at it: look again before you repeat it")),
            },
            Err(error) => Err(error),
        }
    }
}

/// Guard 2: of this host's backups, the newest good one that it made or restored stays as well,
/// because the others may only look like its own.
fn not_the_newest_trusted(
    deletion: &Deletion<'_>,
    order: &Order,
    trusted: &Trusted,
    whose: Whose,
) -> Result<()> {
    let Deletion { url, what, .. } = deletion;
    let hint = match whose {
        Whose::Own => "back the volume up once more, or restore its newest backup once",
        _ if trusted.is_empty => {
            "restore its newest backup once, or say that any host's may go (prune --all-hosts; in scripts #{ of_any_host: true })"
        }
        _ => "restore the volume's newest backup once",
    };
    let refuse =
        |why: String| Err(Error::guard(format!("{what} is not deleted: {why}")).with_hint(hint));
    let Some(newest) = trusted.protected.first() else {
        return refuse("no run of this host is known to have made a good backup".into());
    };
    let is_protected = trusted.protected.iter().any(|stays| stays.url.same_backup(url));
    if newest.url.same_backup(url) {
        refuse("it is the newest good one that a run of this host is known to have made".into())
    } else if is_protected {
        refuse(
            "the data of the newer ones that runs of this host made could not be looked at".into(),
        )
    } else if order.is_older(url, &newest.url) {
        Ok(())
    } else {
        refuse(format!(
            "it is newer than \"{}\", the newest good one that a run of this host is known to have made",
            newest.url
        ))
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
