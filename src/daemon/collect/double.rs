//! Blobs that the index names in several packs. A pack goes only where what is needed of it was read in
//! another one, in this run: an index file is the word of whoever wrote it, and every host that backs up can
//! write one, and a pack that is not what it should be.

use std::collections::{BTreeMap, BTreeSet};

use super::{plan::Plan, reach::Reached, seen::Seen};
use crate::{
    daemon::repository::{BlobReader, Location, OpenRepository},
    error::Result,
    scope,
};

/// So many bytes are read for that in one run at most. Packs for which that is not enough stay until another.
pub(super) const MOST_READ: u64 = 1 << 30;
/// So many blobs are read at most: each is a request to a bucket.
const MOST_BLOBS: usize = 10_000;

/// Keeps each pack that the plan gives up, unless what is needed of it can be read in the packs that the plan
/// prefers. `most`: so many bytes are read at most.
///
/// # Errors
/// If the storage fails, or the run is to end.
pub(super) fn keep_unproven(
    repository: &OpenRepository,
    (seen, reached): (&Seen, &Reached),
    plan: &mut Plan,
    most: u64,
) -> Result<()> {
    let mut packs: Vec<_> = relied_on(seen, reached, plan).into_iter().collect();
    if packs.is_empty() {
        return Ok(());
    }
    let length = |entry: &usize| u64::from(seen.entries[*entry].length);
    // What costs least for what it gives back comes first.
    packs.sort_by_key(|(place, entries)| {
        let bytes: u64 = entries.iter().map(length).sum();
        (bytes.saturating_mul(1000) / seen.packs[*place].bytes().max(1), *place)
    });
    let mut reader = BlobReader::new(repository)?;
    let (mut read, mut left, mut known) = (0, most, BTreeMap::new());
    for (place, entries) in packs {
        let new: Vec<usize> =
            entries.iter().copied().filter(|entry| !known.contains_key(entry)).collect();
        let bytes: u64 = new.iter().map(length).sum();
        let is_hopeless = entries.iter().any(|entry| known.get(entry) == Some(&false));
        if is_hopeless || bytes > left || read + new.len() > MOST_BLOBS {
            log::debug!("a pack stays: what is needed of it was not read elsewhere");
            plan.stays(place);
            continue;
        }
        for entry in new {
            scope::goes_on("space was given back")?;
            let of = &seen.entries[entry];
            let pack = seen.packs[of.pack()].id;
            let raw_length = of.raw_length.try_into().ok();
            let at = Location { pack, offset: of.offset, length: of.length, raw_length };
            let is_whole = reader.is_whole(&of.id, &at)?;
            (read, left) = (read + 1, left.saturating_sub(u64::from(of.length)));
            known.insert(entry, is_whole);
            if !is_whole {
                log::warn!("the pack {pack} does not have what the index says: others stay for it");
                plan.stays(place);
                break;
            }
        }
    }
    Ok(())
}

/// For each pack that the plan gives up: the entries of other packs that are to have what is needed of it.
fn relied_on(seen: &Seen, reached: &Reached, plan: &Plan) -> BTreeMap<usize, BTreeSet<usize>> {
    let mut relied: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let mut first = 0;
    while first < seen.entries.len() {
        let same = seen.same(first);
        let chosen = (first..first + same.len()).find(|entry| plan.is_chosen(*entry));
        if let Some(chosen) = chosen.filter(|_| same.len() > 1 && reached.has(first)) {
            let kept = seen.entries[chosen].pack();
            let others = same.iter().map(super::seen::Entry::pack).filter(|pack| *pack != kept);
            for pack in others.filter(|pack| plan.gives_up(seen, *pack)) {
                relied.entry(pack).or_default().insert(chosen);
            }
        }
        first += same.len();
    }
    relied
}
