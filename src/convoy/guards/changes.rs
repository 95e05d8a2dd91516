//! Whether a volume may be deleted for the sake of a backup of it (guard 2): what has changed since
//! would be lost.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::run::Guards;
use crate::{
    blocking,
    convoy::{Backup, Changes, Name, Volume},
    error::{Error, ErrorKind, Result},
    files::first_changed,
    units::format_duration,
};

/// Where nothing tells whether a volume has changed, its newest good backup must be younger.
const YOUNG: SignedDuration = SignedDuration::from_hours(1);

impl Guards {
    /// Refuses to delete a volume that has changed since this backup of it, or may have: where the
    /// daemon can't tell, a backup that is older than an hour does not count.
    ///
    /// # Errors
    /// [`ErrorKind::Guard`] if so; otherwise as [`crate::convoy::Daemon::changes_since`].
    pub(crate) async fn changed_since(&self, volume: &Volume, kept: &Backup) -> Result<()> {
        let name = &volume.name;
        let taken = kept.order().0;
        let changes = match self.changes_told(volume, kept).await? {
            Changes::Unknown => self.changes_seen_from_here(volume, taken).await?,
            told => told,
        };
        let age = taken.map(|taken| self.clock.now().duration_since(taken));
        let url = kept.field("BackupURL").to_owned();
        let why = match changes {
            Changes::Unchanged => {
                self.memory().unchanged.push((name.clone(), url));
                return Ok(());
            }
            // The run may have deleted the snapshot that proved it.
            Changes::Unknown if self.memory().unchanged.contains(&(name.clone(), url)) => {
                return Ok(());
            }
            Changes::Unknown if age.is_some_and(|age| !age.is_negative() && age < YOUNG) => {
                return Ok(());
            }
            Changes::Unknown => "may have changed, which can't be seen,".to_owned(),
            Changes::Changed { path } if path.is_empty() => "has changed".to_owned(),
            Changes::Changed { path } => format!("has changed (\"{path}\")"),
        };
        let age = match age.map(|age| age.unsigned_abs()) {
            Some(age) if age.as_secs() > 0 => format!(", which is {} old", format_duration(age)),
            _ => String::new(),
        };
        Err(Error::guard(format!(
            "the volume \"{name}\" is not deleted: it {why} since its newest good backup{age}"
        ))
        .with_hint(
            "back it up first (remove --backup-first), or say that all may go for good (remove --all)",
        ))
    }

    /// What the daemon says. The backup's snapshot is the one to compare with.
    async fn changes_told(&self, volume: &Volume, kept: &Backup) -> Result<Changes> {
        match Name::snapshot(kept.field("SnapshotName")) {
            Ok(snapshot) => {
                self.daemon.changes_since(&Name::volume(&volume.name)?, &snapshot).await
            }
            Err(_) => Ok(Changes::Unknown),
        }
    }

    /// What the times of the files say, where a volume of Convoy's vfs driver can be seen from here.
    async fn changes_seen_from_here(
        &self,
        volume: &Volume,
        taken: Option<Timestamp>,
    ) -> Result<Changes> {
        let Some(taken) = taken.filter(|_| volume.driver == "vfs") else {
            return Ok(Changes::Unknown);
        };
        let info = self.daemon.info().await?;
        let Some(folder) = info.vfs_path().map(|path| Path::new(path).join(&volume.name)) else {
            return Ok(Changes::Unknown);
        };
        let look = {
            let folder = folder.clone();
            move || Ok(first_changed(&folder, taken))
        };
        Ok(match blocking::try_run("looking at the files", ErrorKind::Io, look).await? {
            Ok(None) => Changes::Unchanged,
            Ok(Some(path)) => Changes::Changed { path: below(&folder, path).display().to_string() },
            Err(error) => {
                log::debug!("\"{}\" can't be looked at: {error}", folder.display());
                Changes::Unknown
            }
        })
    }
}

fn below(folder: &Path, path: PathBuf) -> PathBuf {
    path.strip_prefix(folder).map(Path::to_owned).unwrap_or(path)
}
