//! Whether a volume may be deleted for the sake of a backup of it (guard 2): what has changed since
//! would be lost.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::run::Guards;
use crate::{
    blocking,
    convoy::{ApiTime, Backup, Changes, Name, Volume, names},
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
        let now = self.clock.now();
        let this = (name.clone(), kept.field("BackupURL").to_owned());
        let changes = match self.changes_told(volume, kept).await? {
            // The run may have deleted the snapshot that proved it.
            Changes::Unknown if self.memory().unchanged.contains(&this) => return Ok(()),
            Changes::Unknown => self.changes_seen_from_here(volume, begun(kept, now)).await?,
            told => told,
        };
        let age = kept.taken().map(|taken| now.duration_since(taken));
        let is_made_now = kept
            .url()
            .is_ok_and(|kept| self.memory().made.iter().any(|(_, made)| made.same_backup(&kept)));
        let is_young = age.is_some_and(|age| !age.is_negative() && age < YOUNG);
        let why = match changes {
            Changes::Unchanged => {
                self.memory().unchanged.push(this);
                return Ok(());
            }
            // What follows may take longer than the hour.
            Changes::Unknown if is_young || is_made_now => {
                self.memory().unchanged.push(this);
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

    /// What the daemon says.
    async fn changes_told(&self, volume: &Volume, kept: &Backup) -> Result<Changes> {
        self.daemon.changes_since(&Name::volume(&volume.name)?, &kept.url()?).await
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

/// When the snapshot of this backup began, if that is sure. A name tells it, unless the clock was
/// ahead once: then names stay ahead of it. The daemon's own time is that of the snapshot's end.
fn begun(kept: &Backup, now: Timestamp) -> Option<Timestamp> {
    let ended = ApiTime::parse(kept.field("SnapshotCreatedAt")).timestamp()?;
    // The daemon's time has whole seconds.
    let ended = ended.checked_add(SignedDuration::from_secs(1)).ok()?;
    let begun = names::snapshot_time(kept.field("SnapshotName"))?;
    (begun <= ended && begun <= now).then_some(begun)
}

fn below(folder: &Path, path: PathBuf) -> PathBuf {
    path.strip_prefix(folder).map(Path::to_owned).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn begun_of(snapshot: &str, ended: &str) -> Option<String> {
        let fields = [("SnapshotName", snapshot), ("SnapshotCreatedAt", ended)];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let now = "2026-11-26T12:00:00Z".parse().unwrap();
        begun(&Backup::new(BTreeMap::from(fields)), now).map(|time| time.to_string())
    }

    #[test]
    fn when_a_snapshot_began_is_told_by_its_name_alone_and_only_if_its_end_agrees() {
        let ended = "Mon Nov 23 01:00:00 +0000 2026";
        let name = "vol1-20261123T005900.000000Z";
        assert_eq!(begun_of(name, ended).as_deref(), Some("2026-11-23T00:59:00Z"));
        // The clock was ahead once, and names go on from there.
        assert_eq!(begun_of("vol1-20261123T020000.000000Z", ended), None);
        assert_eq!(
            begun_of("vol1-20361123T005900.000000Z", "Sun Nov 23 01:00:00 +0000 2036"),
            None
        );
        // The name of another program's snapshot tells no time.
        assert_eq!(begun_of("nightly", ended), None);
        assert_eq!(begun_of(name, ""), None);
    }
}
