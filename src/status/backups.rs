//! The backups of a volume, as `status` shows and judges them: from the store's record, and from the
//! destination's list.

use super::volume::{BackupSize, BadBackup, GoodBackup};
use crate::{
    config::Config,
    convoy::{Backup, Name, Volume, guards::Guards},
    error::{Error, ErrorKind, Result},
    runs::record::{self, BadReason, VolumeRecord},
};

/// The most sizes of a volume's backups that are shown.
const SIZES_SHOWN: usize = 30;
/// How many listed backups of a volume are inspected until one is good.
const MOST_LISTED_INSPECTED: usize = 5;

/// The good backups in the store's record.
pub(super) fn recorded(record: &VolumeRecord) -> Vec<GoodBackup> {
    let backup = |good: &record::GoodBackup| GoodBackup {
        url: good.url.clone(),
        snapshot_time: good.snapshot_time.unwrap_or(good.proven),
        made: good.proven,
        bytes: good.bytes,
        verified: None,
        changed_files: good.changed_files,
    };
    record.good_backups.iter().map(backup).collect()
}

/// The bad backups in the store's record.
pub(super) fn bad_backups(record: &VolumeRecord) -> Vec<BadBackup> {
    let newest = record.newest_broken().map(|bad| &bad.backup.url);
    let bad = record.bad_backups.iter().map(|bad| BadBackup {
        url: bad.backup.url.clone(),
        // The name of the backup says nothing to a reader who has its URL.
        why: bad.why.split_once(" is not good: ").map_or(&*bad.why, |(_, why)| why).to_owned(),
        broken: bad.reason.is_broken(),
        partial: bad.reason == BadReason::Partial,
        newest: newest == Some(&bad.backup.url),
    });
    bad.collect()
}

/// The complete backups of this volume that the daemon lists at the destination, newest first. The
/// first one can be inspected, or the store has it as good. Backups of a volume that had the name
/// before, or has it on another host, do not count.
pub(super) async fn listed_backups(
    config: &Config,
    guards: &Guards,
    volume: &Volume,
    record: Option<&VolumeRecord>,
) -> Result<Vec<GoodBackup>> {
    let Some(destination) = &config.backup_url else {
        return Err(Error::configuration("BKUP_BACKUP_URL is not set"));
    };
    Name::volume(&volume.name)?;
    let backups = guards.own_backups(destination, volume).await?;
    let is_bad = |backup: &Backup| {
        record.is_some_and(|record| {
            record.bad_backups.iter().any(|bad| bad.backup.url == backup.field("BackupURL"))
        })
    };
    let may_be_good =
        |backup: &&Backup| backup.is_complete() && backup.doubt().is_none() && !is_bad(backup);
    let mut may_be_good: Vec<_> = backups.iter().filter(may_be_good).collect();
    for _ in 0..MOST_LISTED_INSPECTED {
        let Some(newest) = may_be_good.first() else { break };
        let url = newest.url()?;
        let is_known = record.is_some_and(|record| {
            record.good_backups.iter().any(|good| good.url == newest.field("BackupURL"))
        });
        if is_known {
            break;
        }
        match guards.backup(&url).await {
            Ok(_) => break,
            Err(error) if matches!(error.kind, ErrorKind::Repository | ErrorKind::NotFound) => {
                log::warn!("the backup \"{url}\" is listed but not good: {error}");
                may_be_good.remove(0);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(may_be_good
        .into_iter()
        .filter_map(|backup| {
            let made = backup.created()?;
            Some(GoodBackup {
                url: backup.url().ok()?.to_string(),
                snapshot_time: backup.taken().unwrap_or(made),
                made,
                bytes: None,
                verified: None,
                changed_files: None,
            })
        })
        .collect())
}

/// The known sizes of a volume's good backups, oldest first.
pub(super) fn sizes(record: &VolumeRecord) -> Vec<BackupSize> {
    let sizes = record
        .good_backups
        .iter()
        .filter_map(|good| Some(BackupSize { time: good.proven, bytes: good.bytes? }));
    let mut sizes: Vec<_> = sizes.take(SIZES_SHOWN).collect();
    sizes.reverse();
    sizes
}
