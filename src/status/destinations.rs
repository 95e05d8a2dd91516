//! Whether each destination holds the newest backup that should be there.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::timeout;

use super::{
    coverage::Coverage,
    failures::running,
    known::{DestinationLook, DestinationVerdict},
};
use crate::{
    convoy::{BackupUrl, Destination, guards::Guards},
    error::{Error, ErrorKind},
    runs::{Store, record::VolumeRecord},
};

/// A destination that does not answer within this time hangs.
const DESTINATION_TIMEOUT: Duration = Duration::from_secs(60);

/// Looks for the newest good backup that the store knows at each destination. So a share that is
/// not mounted, or was emptied, is noticed before the next backup.
pub(super) async fn look_at_destinations(
    guards: &Guards,
    store: &Store,
    records: &BTreeMap<String, VolumeRecord>,
    coverage: &Coverage,
) -> Vec<DestinationLook> {
    let mut looks = Vec::new();
    for destination in coverage.destinations() {
        let Some((volume, url)) = newest_at(destination, records) else { continue };
        let verdict = match timeout(DESTINATION_TIMEOUT, guards.backup(&url)).await {
            Ok(Ok(_)) => DestinationVerdict::Well,
            Ok(Err(error)) => verdict(destination, volume, error),
            // Convoy answers no reads while it writes.
            Err(_) if running(store).iter().any(|run| !run.dry_run) => DestinationVerdict::Busy,
            Err(_) => {
                let seconds = DESTINATION_TIMEOUT.as_secs();
                let what =
                    format!("the destination {destination} does not answer within {seconds} s");
                let error = Error::new(ErrorKind::Timeout, what);
                DestinationVerdict::Wrong(error.with_hint("does a network folder hang?"))
            }
        };
        looks.push(DestinationLook { destination: destination.to_string(), verdict });
    }
    looks
}

/// The newest good backup at this destination that the store knows, with the name of its volume.
fn newest_at<'a>(
    destination: &Destination,
    records: &'a BTreeMap<String, VolumeRecord>,
) -> Option<(&'a str, BackupUrl)> {
    let backups = records
        .values()
        .flat_map(|record| record.good_backups.iter().map(|good| (record.name.as_str(), good)));
    let there = backups.filter_map(|(volume, good)| {
        let url = BackupUrl::parse(&good.url).ok()?;
        (url.destination().key() == destination.key()).then_some((volume, url, good.proven))
    });
    there.max_by_key(|(_, _, proven)| *proven).map(|(volume, url, _)| (volume, url))
}

/// What a failure to inspect its newest backup says of a destination.
fn verdict(destination: &Destination, volume: &str, error: Error) -> DestinationVerdict {
    let mounted = if destination.folder().is_some() {
        "is the share mounted?"
    } else {
        "can the daemon reach it?"
    };
    match error.kind {
        ErrorKind::Busy => DestinationVerdict::Busy,
        ErrorKind::NotFound => {
            log::debug!("the daemon's words: {error}");
            let what =
                format!("the destination {destination} lacks the newest backup of \"{volume}\"");
            DestinationVerdict::Wrong(Error::guard(what).with_hint(mounted))
        }
        _ => {
            let hint = error.hint.clone().unwrap_or_else(|| mounted.into());
            let what =
                format!("the newest backup of \"{volume}\" at {destination} can't be looked at");
            DestinationVerdict::Wrong(error.context(what).with_hint(hint))
        }
    }
}
