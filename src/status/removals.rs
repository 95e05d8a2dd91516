//! Volumes that a run removes now, or has removed since a look began.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::failures::running;
use crate::{
    convoy::Volume,
    run_words::RunStatus,
    runs::{
        Store,
        record::{RunRecord, VolumeRecord},
    },
    script::Effect,
};

/// Whether a run goes on that may have removed those known volumes that are not listed. If none goes
/// on, the records of those that one has removed meanwhile are left out.
pub(super) fn go_on(
    store: &Store,
    daemon: &str,
    listed: &BTreeMap<String, Volume>,
    records: &mut BTreeMap<String, VolumeRecord>,
    now: Timestamp,
) -> bool {
    // What a run removed is in the store once the run has ended: so first the runs, then the store.
    let is_unlisted = |name: &String| !listed.contains_key(name);
    if running(store).iter().any(may_remove) {
        return records.keys().any(is_unlisted);
    }
    if let Err(error) = store.settle_removals(daemon, |name| listed.contains_key(name), now) {
        log::warn!("what runs have removed is not known: {error}");
    }
    if !records.keys().any(is_unlisted) {
        return false;
    }
    if let Ok(known) = store.volumes() {
        let is_known = |name: &String| {
            let mut known = known.iter().filter(|known| known.daemon == daemon);
            known.any(|known| known.name == *name && known.removed.is_none())
        };
        records.retain(|name, _| listed.contains_key(name) || is_known(name));
    }
    false
}

/// Whether a run may remove volumes now.
fn may_remove(run: &RunRecord) -> bool {
    run.status == RunStatus::Running && !run.dry_run && run.does.contains(&Effect::Delete)
}
