//! The lists by which backups are deleted (guards 2 and 3). A list is read once for many deletions,
//! because it costs as much as there are backups at the destination.
//!
//! A deletion by an older list is as safe as one by a new list, because before each one it is made
//! sure that the backups that stay, and so make it safe, are still there. What else may have
//! happened meanwhile only adds backups, which are not deleted by this list, or removes some, and
//! then their deletion finds nothing. A list is read anew after a minute, after any other write of
//! the run, and as soon as it lacks what is to be deleted.

use std::time::{Duration, Instant};

use super::{
    group::{Group, Whose},
    listed::{Found, Listed, OfVolume, Order, Siblings, Trusted},
    run::Guards,
};
use crate::{
    convoy::{Backup, BackupUrl, Destination, Name},
    error::{Error, ErrorKind, Result},
};

/// How long deletions go by one list.
const SERVES: Duration = Duration::from_mins(1);
/// Where a list takes long, as Convoy's on S3, deletions go by it this many times as long.
const SERVES_TIMES: u32 = 10;

impl Guards {
    /// The list by which this backup can be deleted: one that is remembered, or a new one. `anew`:
    /// no remembered one. The locks of the destination must be held.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the destination lists no such backup; otherwise as
    /// [`Guards::backups`].
    pub(super) async fn list_to_delete_by(
        &self,
        url: &BackupUrl,
        destination: &Destination,
        anew: bool,
    ) -> Result<Listed> {
        let volume = self.memory().volume_of(url).map(Name::volume).transpose()?;
        let of = (destination.key(), volume.as_ref().map(ToString::to_string));
        let remembered = {
            let mut memory = self.memory();
            // At EBS, the first list may have been one of all volumes.
            memory.lists.remove(&of).or_else(|| memory.lists.remove(&(destination.key(), None)))
        };
        if let Some(mut listed) = remembered.filter(|_| !anew)
            && listed.serves_still()
            && self.still_has(&mut listed, url).await?
        {
            listed.is_older = true;
            return Ok(listed);
        }
        let (begun, writes) = (Instant::now(), self.memory().writes);
        let backups = self.backups(destination, volume.as_ref()).await?;
        self.list_is_whole(destination, &backups, &format!("the backup \"{url}\"")).await?;
        let serves = SERVES.max(begun.elapsed() * SERVES_TIMES);
        let mut listed = Listed::new(of, backups, serves, writes);
        match self.find_in(&mut listed, url).await? {
            Some(_) => Ok(listed),
            None => Err(Error::new(ErrorKind::NotFound, format!("there is no backup \"{url}\""))
                .with_hint(format!(
                    "see \"convoy-backups backups{}\" for those there are",
                    volume.map(|volume| format!(" --volume {volume}")).unwrap_or_default()
                ))),
        }
    }

    /// Whether this older list has the backup, and what makes its deletion safe is still there. A
    /// daemon that keeps what a deletion requires looks after the latter under its lock.
    async fn still_has(&self, listed: &mut Listed, url: &BackupUrl) -> Result<bool> {
        let Some(found) = self.find_in(listed, url).await? else { return Ok(false) };
        if self.capabilities().await?.keeps_required_backups {
            return Ok(true);
        }
        for stays in found.siblings.staying() {
            if let Err(error) = self.daemon.backup(&stays).await {
                log::debug!("the backups are listed anew: \"{stays}\" can't be inspected: {error}");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Keeps a list for the next deletion, unless the run has written something since it was read.
    pub(super) fn remember_list(&self, listed: Listed) {
        let mut memory = self.memory();
        if memory.writes == listed.writes() {
            memory.lists.insert(listed.of(), listed);
        }
    }

    /// The backup in this list, with those beside it; `None` if it is not there.
    pub(super) async fn find_in<'a>(
        &self,
        listed: &'a mut Listed,
        url: &BackupUrl,
    ) -> Result<Option<Found<'a>>> {
        if !listed.is_grouped(url) {
            let backups = listed.take_volume_of(url);
            if backups.is_empty() {
                return Ok(None);
            }
            listed.add(self.of_volume(backups).await?);
        }
        Ok(listed.find(url))
    }

    /// Groups the backups under one name.
    async fn of_volume(&self, backups: Vec<Backup>) -> Result<OfVolume> {
        // An EBS URL does not name the volume, and the list may not do so either.
        let groups = match backups.first().map_or("", Backup::volume) {
            "" => vec![Group { whose: Whose::Former, backups }],
            name => self.by_volume(&Name::volume(name)?, backups).await?,
        };
        Ok(OfVolume::new(groups))
    }

    /// In which orders backups of one volume are looked at, and what stays in each: by the names of
    /// their snapshots, as they are listed, and by their dates. The two differ once names or dates
    /// were in the future, and the newest of each stays.
    pub(super) async fn orders<'a>(&self, siblings: &'a mut Siblings) -> Result<&'a [Order]> {
        if !siblings.are_ordered() {
            let listed = siblings.newest_first();
            let by_date = self.by_date(&listed);
            let mut orders = vec![listed, by_date];
            orders.dedup();
            let mut made = Vec::new();
            for order in orders {
                made.push(self.order(&order, siblings.whose).await?);
            }
            siblings.set_orders(made);
        }
        Ok(siblings.orders())
    }

    async fn order(&self, newest_first: &[Backup], whose: Whose) -> Result<Order> {
        let protected = self.protected(newest_first, whose).await?;
        let trusted = match self.trusted_of(newest_first, whose, false)? {
            Some(trusted) => Some(Trusted {
                is_empty: trusted.is_empty(),
                protected: self.protected(&trusted, whose).await?,
            }),
            None => None,
        };
        Ok(Order::new(newest_first, protected, trusted))
    }
}
