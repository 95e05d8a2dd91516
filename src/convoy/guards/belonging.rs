//! Which backup belongs to which volume. Several hosts can share a destination, and each can have a
//! volume of the same name.

use super::run::Guards;
use crate::{
    convoy::{Backup, Belonging, Destination, Name, Volume},
    error::{Error, ErrorKind, Result},
};

impl Guards {
    /// The backups of this volume, newest first. Backups of a volume that had the name before, or
    /// that has it on another host, are left out.
    ///
    /// # Errors
    /// As [`Guards::backups`].
    pub(crate) async fn own_backups(
        &self,
        destination: &Destination,
        volume: &Volume,
    ) -> Result<Vec<Backup>> {
        let mut backups = self.backups(destination, Some(&Name::volume(&volume.name)?)).await?;
        backups.retain(|backup| self.belonging(backup, volume) == Belonging::Own);
        Ok(backups)
    }

    /// The backups that may be this volume's or that of a volume of the same name on another host,
    /// newest first. They exist only with Convoy, when no remaining snapshot tells which volume
    /// they belong to.
    ///
    /// # Errors
    /// As [`Guards::backups`].
    pub(crate) async fn unclear_backups(
        &self,
        destination: &Destination,
        volume: &Volume,
    ) -> Result<Vec<Backup>> {
        let mut backups = self.backups(destination, Some(&Name::volume(&volume.name)?)).await?;
        backups.retain(|backup| self.belonging(backup, volume) == Belonging::Unclear);
        Ok(backups)
    }

    /// The backups of all volumes that have or had this name, on any host. Each inner list has the
    /// backups of one volume, newest first.
    ///
    /// # Errors
    /// As [`Guards::backups`]. If the volume can't be read, the run deletes nothing more.
    pub(crate) async fn backups_by_volume(
        &self,
        destination: &Destination,
        name: &Name,
    ) -> Result<Vec<Vec<Backup>>> {
        let backups = self.backups(destination, Some(name)).await?;
        self.by_volume(name, backups).await
    }

    /// Groups backups of one name by the volume that they belong to.
    pub(super) async fn by_volume(
        &self,
        name: &Name,
        backups: Vec<Backup>,
    ) -> Result<Vec<Vec<Backup>>> {
        let living = match self.daemon.volume(name).await {
            Ok(volume) => Some(volume),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(self.stop_on(error, "a look at a volume failed")),
        };
        let own = |backup: &Backup| {
            living.as_ref().is_some_and(|volume| self.belonging(backup, volume) == Belonging::Own)
        };
        let mut groups: Vec<(bool, Vec<Backup>)> = Vec::new();
        for backup in backups {
            let own = own(&backup);
            // The living volume's backups are one group, including those made before the volume had
            // a mark.
            let same = |(theirs, group): &&mut (bool, Vec<Backup>)| {
                own == *theirs && (own || group[0].volume_key() == backup.volume_key())
            };
            match groups.iter_mut().find(same) {
                Some((_, group)) => group.push(backup),
                None => groups.push((own, vec![backup])),
            }
        }
        Ok(groups.into_iter().map(|(_, group)| group).collect())
    }

    /// The backup that makes it safe to delete this volume: the newest good one that belongs to it.
    ///
    /// # Errors
    /// [`ErrorKind::Guard`] if there is no good backup, or if the volume has a snapshot that is
    /// older than the volume and would be deleted with it; otherwise as [`Guards::backups`].
    pub(crate) async fn safe_copy(
        &self,
        destination: Option<&Destination>,
        volume: &Volume,
    ) -> Result<Backup> {
        let name = &volume.name;
        let refuse = |why: String, hint: String| {
            Err(Error::guard(format!("the volume \"{name}\" is not deleted: {why}"))
                .with_hint(hint))
        };
        let back_up =
            || "back it up first, or say that it may go for good (remove --all)".to_owned();
        let Some(destination) = destination else {
            return refuse(
                "no backup destination is set, so no backup of it is known".into(),
                back_up(),
            );
        };
        if let Some(older) = volume.older_snapshot() {
            return refuse(
                format!(
                    "its snapshot \"{}\" is older than it, of a volume that had the name before, and would go with it",
                    older.name
                ),
                "delete that snapshot first, or say that all may go for good (remove --all)".into(),
            );
        }
        let own = self.own_backups(destination, volume).await?;
        if let Some(good) = self.newest_good(&own).await?
            && let Some(good) =
                own.into_iter().find(|backup| backup.url().is_ok_and(|url| url.same_backup(&good)))
        {
            return Ok(good);
        }
        let why = format!("there is no good backup of it at {destination}");
        match self.unclear_backups(destination, volume).await?.len() {
            0 => refuse(why, back_up()),
            unclear => refuse(
                format!("{why} that is surely its own"),
                format!(
                    "{}; {unclear} under its name may be its own or another host's: see \"convoy-backups backups --volume {name}\"",
                    back_up()
                ),
            ),
        }
    }

    /// As [`Backup::belonging`]. A backup that this run has seen to be the volume's own stays so,
    /// even after the run deletes the snapshot that proved it.
    fn belonging(&self, backup: &Backup, volume: &Volume) -> Belonging {
        let Ok(url) = backup.url() else { return Belonging::Unclear };
        let belonging = backup.belonging(volume);
        let mut memory = self.memory();
        let known = memory.own.iter().any(|own| own.same_backup(&url));
        match belonging {
            Belonging::Own if !known => memory.own.push(url),
            Belonging::Unclear if known => return Belonging::Own,
            _ => {}
        }
        belonging
    }
}
