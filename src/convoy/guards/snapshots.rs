//! Taking and deleting snapshots (guards 7 and 8).

use super::{
    observations::Observation,
    run::{Deletable, Guards},
    snapshot_names,
};
use crate::{
    convoy::{Name, Snapshot},
    error::{Error, ErrorKind, Result},
    locks::Sharing,
};

impl Guards {
    /// Takes a snapshot under a new name (guard 7).
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::create_snapshot`]. After a timeout, the guard looks for the
    /// snapshot first, and fails only if it is missing (guard 8).
    pub(crate) async fn create_snapshot(&self, volume: &Name) -> Result<Snapshot> {
        self.may_write("take a snapshot")?;
        let _volume = self.lock_volume(volume.as_str(), Sharing::Shared).await?;
        let source = self.volume(volume).await?;
        let name = snapshot_names::next(volume, &source, self.clock.now());
        let snapshot = match self.daemon.create_snapshot(volume, &name).await {
            Err(error) if error.kind == ErrorKind::Timeout => {
                self.daemon.snapshot(&name).await.map_err(|_| {
                    error.with_hint(format!(
                        "the daemon may still be at it: look for \"{name}\" before you repeat it"
                    ))
                })
            }
            Ok(snapshot) if snapshot.name != name.as_str() => {
                let what = format!(
                    "the daemon answered with the snapshot \"{}\" instead of \"{name}\"",
                    snapshot.name
                );
                Err(Error::new(ErrorKind::Protocol, what))
            }
            snapshot => snapshot,
        }?;
        let (snapshot, seen_here) = self.with_extent_seen(&source, snapshot).await;
        let taken = snapshot.taken().unwrap_or_else(|| self.clock.now());
        if let Some(excluded) = snapshot.moment().excluded() {
            log::info!("\"{volume}\": {excluded}");
        }
        if let Some(warning) = snapshot.moment().warning() {
            log::warn!("\"{volume}\": {warning}");
        }
        self.memory().observations.add_snapshot(volume.as_str(), &snapshot, taken, seen_here);
        self.doubt_snapshot(volume, &snapshot).await;
        Ok(snapshot)
    }

    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::snapshot`].
    pub(crate) async fn snapshot(&self, name: &Name) -> Result<Snapshot> {
        self.daemon.snapshot(name).await
    }

    /// Refuses to delete the newest good snapshot of a volume while newer ones are in doubt.
    async fn not_the_last_with_data(&self, snapshot: &Snapshot) -> Result<()> {
        if self.with_extent_known(snapshot.clone()).extent().is_unknown() {
            return Ok(());
        }
        let volume = self.volume(&Name::volume(&snapshot.volume_name)?).await?;
        let newest_first: Vec<&Snapshot> = volume.own_snapshots().collect();
        let Some(newest_good) = newest_first.iter().position(|other| other.doubt().is_none())
        else {
            return Ok(());
        };
        let newest = newest_first.first().and_then(|newest| newest.doubt());
        let Some(why) = newest.filter(|_| newest_first[newest_good].name == snapshot.name) else {
            return Ok(());
        };
        let is_partial = newest_first.first().is_some_and(|it| it.moment().lacks().is_some());
        let hint = match is_partial {
            true => "take one that is whole first".to_owned(),
            false => {
                format!("where the loss was meant: convoy-backups status --accept {}", volume.name)
            }
        };
        Err(Error::guard(format!(
            "the snapshot \"{}\" is not deleted: newer ones are in doubt, and it is the last before them: {why}",
            snapshot.name
        ))
        .with_hint(hint))
    }

    /// Deletes a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::Guard`] if a backup of the snapshot's volume failed in this run, or if the run
    /// stopped deleting; otherwise as [`crate::convoy::Daemon::delete_snapshot`].
    pub(crate) async fn delete_snapshot(&self, name: &Name) -> Result<()> {
        self.may_delete_listed("delete a snapshot")?;
        self.declared(Deletable::Snapshots, "delete a snapshot")?;
        let snapshot = self.daemon.snapshot(name).await?;
        let volume = snapshot.volume_name.clone();
        let _volume = self.lock_volume(&volume, Sharing::Exclusive).await?;
        self.may_delete(&format!("the snapshot \"{name}\""), Some(&volume))?;
        self.is_no_backup(&snapshot, name).await?;
        self.not_the_last_with_data(&snapshot).await?;
        match self.daemon.delete_snapshot(name).await {
            Err(error) if error.kind == ErrorKind::Timeout => {
                match self.daemon.snapshot(name).await {
                    Err(gone) if gone.kind == ErrorKind::NotFound => Ok(()),
                    _ => Err(error.with_hint(
                        "the daemon may still be at it: look again before you repeat it",
                    )),
                }
            }
            deleted => deleted,
        }?;
        self.observe(Observation::SnapshotDeleted { volume, snapshot: name.to_string() });
        Ok(())
    }
}
