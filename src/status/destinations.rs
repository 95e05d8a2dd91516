//! Whether the destinations hold what was put there last.

use std::{collections::BTreeMap, time::Duration};

use super::{
    coverage::Expected,
    failures::running,
    known::{DestinationLook, LookVerdict},
};
use crate::{
    convoy::{BackupUrl, guards::Guards},
    error::{Error, ErrorKind},
    runs::{Store, record::VolumeRecord},
};

/// A destination that does not answer for so long hangs.
const DESTINATION_PATIENCE: Duration = Duration::from_secs(60);

/// Looks at each destination once, whether the newest good backup that the store knows there is
/// there: a share that is not mounted, or was emptied, is noticed before the next backup.
pub(crate) async fn destinations(
    guards: &Guards,
    store: &Store,
    expected: &Expected,
) -> Vec<DestinationLook> {
    let records = store.volumes().unwrap_or_default();
    let identity = guards.identity();
    let records = records.into_iter().filter(|record| record.daemon == identity);
    let records = records.map(|record| (record.name.clone(), record)).collect();
    look_at_destinations(guards, store, &records, expected).await
}

pub(super) async fn look_at_destinations(
    guards: &Guards,
    store: &Store,
    records: &BTreeMap<String, VolumeRecord>,
    expected: &Expected,
) -> Vec<DestinationLook> {
    let mut looks = Vec::new();
    for destination in expected.destinations() {
        let is_there = |url: &BackupUrl| url.destination().key() == destination.key();
        let good = records
            .values()
            .flat_map(|record| record.good_backups.iter().map(|good| (&record.name, good)));
        let newest = good
            .filter_map(|(volume, good)| {
                Some((volume, BackupUrl::parse(&good.url).ok().filter(is_there)?, good.proven))
            })
            .max_by_key(|(_, _, proven)| *proven);
        let Some((volume, url, _)) = newest else { continue };
        let mounted = if destination.folder().is_some() {
            "is the share mounted?"
        } else {
            "can the daemon reach it?"
        };
        let verdict = match tokio::time::timeout(DESTINATION_PATIENCE, guards.backup(&url)).await {
            Ok(Ok(_)) => LookVerdict::Well,
            Ok(Err(error)) if error.kind == ErrorKind::Busy => LookVerdict::Busy,
            Ok(Err(error)) if error.kind == ErrorKind::NotFound => {
                log::debug!("the daemon's words: {error}");
                let what = format!(
                    "the destination {destination} lacks the newest backup of \"{volume}\""
                );
                LookVerdict::Wrong(Error::guard(what).with_hint(mounted))
            }
            Ok(Err(error)) => {
                let hint = error.hint.clone().unwrap_or_else(|| mounted.into());
                let what = format!(
                    "the newest backup of \"{volume}\" at {destination} can't be looked at"
                );
                LookVerdict::Wrong(error.context(what).with_hint(hint))
            }
            // Convoy lets nobody look while it writes.
            Err(_) if running(store).iter().any(|run| !run.dry_run) => LookVerdict::Busy,
            Err(_) => {
                let seconds = DESTINATION_PATIENCE.as_secs();
                let what =
                    format!("the destination {destination} does not answer within {seconds} s");
                LookVerdict::Wrong(
                    Error::new(ErrorKind::Timeout, what).with_hint("does a network folder hang?"),
                )
            }
        };
        looks.push(DestinationLook { destination: destination.to_string(), verdict });
    }
    looks
}
