//! Listing and inspecting backups (guard 3).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    data_look::Seen,
    ebs,
    known::{Known, by_backup},
    past::refuse_past,
    run::Guards,
};
use crate::{
    convoy::{Backup, BackupUrl, Destination, GivenBack, Name, ReadBack, WasReadBack},
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
        let destination = &self.as_it_was(destination)?;
        self.refuse_past(destination).await?;
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
        self.ignore_unreadable(&mut backups);
        backups.sort_by(|a, b| b.order().cmp(&a.order()));
        let backups = self.with_what_is_broken(self.with_doubts(backups));
        self.remember_volumes_at_ebs(&backups);
        let missing = {
            let memory = self.memory();
            let missing = memory.made.iter().find(|(made_at, made)| {
                let asked = made_at.key() == destination.key()
                    && volume.is_none_or(|volume| memory.volume_of(made) == Some(volume.as_str()));
                let this = |backup: &Backup| backup.url().is_ok_and(|url| url.same_backup(made));
                asked && !backups.iter().any(this)
            });
            missing.map(|(_, made)| made.to_string())
        };
        if let Some(missing) = missing {
            self.stop(format!(
                "the list of backups lacks \"{missing}\", which was made in this run"
            ));
        }
        Ok(backups)
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
        let url = &self.at_its_time(url)?;
        self.refuse_past(&url.destination()).await?;
        let found = self.daemon.backup(url).await;
        if found.as_ref().is_err_and(|error| error.kind == ErrorKind::NotFound) {
            self.still_there(&url.destination()).await?;
        }
        found
    }

    /// Gives back the space of what no backup at a destination needs: as
    /// [`crate::convoy::Daemon::give_back`]. The daemon itself keeps it apart from backups there.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn give_back(&self, destination: &Destination) -> Result<Option<GivenBack>> {
        self.may_write("give back space")?;
        refuse_past("give back space", destination)?;
        self.daemon.give_back(destination).await
    }

    /// Inspects many backups: as [`crate::convoy::Daemon::inspect_backups`]. A backup whose data a
    /// look finds broken is an error of the kind [`ErrorKind::Repository`].
    ///
    /// # Errors
    /// If none of them could be looked at.
    pub(crate) async fn inspect_backups(&self, urls: &[BackupUrl]) -> Result<Vec<Result<Backup>>> {
        let urls: Vec<_> = urls.iter().map(|url| self.at_its_time(url)).collect::<Result<_>>()?;
        let mut inspected = self.daemon.inspect_backups(&urls).await?;
        for (url, answer) in urls.iter().zip(&mut inspected).filter(|(_, answer)| answer.is_ok()) {
            // A look at many backups must not read them all.
            if let Seen::Broken(why) = self.glance(url).await? {
                *answer = Err(Error::new(ErrorKind::Repository, why));
            }
        }
        Ok(inspected)
    }

    /// Reads the data of backups back for a short time: as [`crate::convoy::Daemon::read_back`].
    ///
    /// # Errors
    /// As there. A usage error if the daemon can't.
    pub(crate) async fn read_back(
        &self,
        destination: &Destination,
        what: &ReadBack,
    ) -> Result<WasReadBack> {
        let read = self.daemon.read_back(&self.as_it_was(destination)?, what).await?;
        read.ok_or_else(|| {
            Error::usage("this daemon does not read backups back").with_hint(
                "the built-in daemon does; Convoy's backups are looked at when they are inspected",
            )
        })
    }

    /// These backups, each that is known to be broken with the reason. A memory that can't be read
    /// hides no backup.
    fn with_what_is_broken(&self, backups: Vec<Backup>) -> Vec<Backup> {
        let Some(memory) = &self.known else { return backups };
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        let daemon = self.identity();
        let told = backups.into_iter().map(|backup| {
            let of_volume = known.entry(backup.volume().to_owned()).or_insert_with(|| {
                memory.of_volume(&daemon, backup.volume()).map(by_backup).unwrap_or_else(|error| {
                    log::warn!("what is known of the backups can't be read: {error}");
                    Known::default()
                })
            });
            let this = backup.url().ok().and_then(|url| of_volume.get(&url));
            match this.and_then(|this| this.broken.as_ref()) {
                Some(broken) => backup.known_broken(&broken.why),
                None => backup,
            }
        });
        told.collect()
    }

    /// Leaves out each entry whose URL does not name one backup, and says so once in a run.
    fn ignore_unreadable(&self, backups: &mut Vec<Backup>) {
        let mut memory = self.memory();
        backups.retain(|backup| match unreadable(backup, &mut memory.ignored) {
            Some((error, is_new)) => {
                if is_new {
                    log::warn!("a listed backup is ignored: {error}");
                }
                false
            }
            None => true,
        });
    }
}

/// Why a listed backup has a URL that does not name one backup, and whether it is not in `said` yet.
/// A name that another program wrote at the destination may make a URL that names two; such an entry
/// hides no other.
fn unreadable(backup: &Backup, said: &mut BTreeSet<String>) -> Option<(Error, bool)> {
    let url = backup.field("BackupURL");
    let error = backup.url().err().filter(|_| !url.is_empty())?;
    Some((error, said.insert(url.to_owned())))
}

/// Whether Convoy's words say that a volume has no backup at a destination: `cannot find
/// .../volume.cfg in objectstore`.
fn is_never_backed_up(error: &Error) -> bool {
    error.status == Some(400) && error.message.contains("volume.cfg")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_is_ignored_is_told_once() {
        let listed = |url: &str| Backup::new([("BackupURL".to_owned(), url.to_owned())].into());
        let mut said = BTreeSet::new();
        let two = listed("vfs:///b?backup=backup-1&backup=backup-2&volume=vol1");
        assert!(unreadable(&two, &mut said).unwrap().1);
        assert!(!unreadable(&two, &mut said).unwrap().1);
        let one = listed("vfs:///b?backup=backup-1&volume=vol1");
        assert!(unreadable(&one, &mut said).is_none());
        assert!(unreadable(&listed(""), &mut said).is_none());
    }
}
