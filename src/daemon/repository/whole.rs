//! Looks whether packs are there as the index says. What is not counts as lost in this process.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use rustic_core::{FileType, Id};

use super::{
    index::Index,
    lost::{Lost, LostPack},
    open::OpenRepository,
};
use crate::{error::Result, sync::lock};

impl OpenRepository {
    /// What does not count as there now.
    pub(crate) fn lost_now(&self) -> Arc<Lost> {
        lock(&self.lost).clone()
    }

    /// Looks at these packs of the index, and lets those that are not there with their sizes count as
    /// lost, and the others as there. Returns whether that changes anything.
    ///
    /// # Errors
    /// If the storage can't tell.
    pub(crate) fn look_at_packs(&self, packs: &HashMap<Id, u64>) -> Result<bool> {
        if packs.is_empty() {
            return Ok(false);
        }
        let sizes = self.backend().pack_sizes(&packs.keys().copied().collect())?;
        let is_wrong = |(pack, wanted): &(&Id, &u64)| sizes.get(pack) != Some(wanted);
        let wrong = packs.iter().filter(is_wrong);
        let wrong = wrong.map(|(pack, wanted)| {
            (*pack, LostPack { size: sizes.get(pack).copied(), wanted: *wanted })
        });
        let wrong: Vec<_> = wrong.collect();
        let mut lost = lock(&self.lost);
        let mut now = Lost::clone(&lost);
        now.packs.retain(|pack, _| !packs.contains_key(pack));
        now.packs.extend(wrong);
        let is_new = now != **lost;
        if is_new {
            *lost = Arc::new(now);
        }
        Ok(is_new)
    }

    /// Looks again at what counts as lost, and at packs that have what others have as well: of two packs
    /// with one piece, the one counts that is there. Returns the index as it is then.
    ///
    /// # Errors
    /// If the storage can't tell, or the index can't be read.
    pub(crate) fn look_again(&self) -> Result<Arc<Index>> {
        let index = self.whole_index()?;
        self.look_again_by(&index)?;
        let lost = self.lost_now();
        Ok(if lost.is_empty() { index } else { Arc::new(index.without(lost)) })
    }

    fn look_again_by(&self, index: &Index) -> Result<()> {
        let lost = self.lost_now();
        if lost.packs.is_empty() && index.twins().is_empty() {
            return Ok(());
        }
        let is_one = |pack: &Id| lost.packs.contains_key(pack) || index.twins().contains(pack);
        let packs = index.packs().iter().filter(|(pack, _)| is_one(pack)).copied().collect();
        self.look_at_packs(&packs)?;
        // What no index file names any more is not lost.
        let mut lost = lock(&self.lost);
        if lost.packs.keys().any(|pack| !packs.contains_key(pack)) {
            let mut now = Lost::clone(&lost);
            now.packs.retain(|pack, _| packs.contains_key(pack));
            *lost = Arc::new(now);
        }
        Ok(())
    }

    /// Lets exactly these pieces count as damaged, each by its pack and its offset there. Returns
    /// whether that changes anything.
    pub(crate) fn lose_pieces(&self, pieces: HashSet<(Id, u32)>) -> bool {
        let mut lost = lock(&self.lost);
        let is_new = lost.pieces != pieces;
        if is_new {
            *lost = Arc::new(Lost { pieces, ..Lost::clone(&lost) });
        }
        is_new
    }
}

/// What a look at all packs of a repository found.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How many packs the index names.
    pub(crate) named: usize,
    /// Packs that the index names and that are not there.
    pub(crate) missing: HashSet<Id>,
    /// Packs that have another size than in the index, each with its size in bytes.
    pub(crate) cut: Vec<(Id, u64)>,
    /// Packs that are in no index file, with their sizes in bytes.
    pub(crate) unnamed: Vec<(Id, u32)>,
}

impl OpenRepository {
    /// Looks at all packs, by one list. What is not there as the index says counts as lost.
    ///
    /// # Errors
    /// If the storage fails, or the index can't be read.
    pub(crate) fn look_at_all(&self) -> Result<Seen> {
        let index = self.whole_index()?;
        let listed: HashMap<Id, u32> = self.backend().files(FileType::Pack)?.into_iter().collect();
        let (mut seen, mut wrong) = (Seen::default(), HashMap::new());
        let named: HashMap<Id, u64> = index.packs().iter().copied().collect();
        seen.named = named.len();
        for (pack, wanted) in named {
            let size = listed.get(&pack).map(|size| u64::from(*size));
            match size {
                Some(size) if size == wanted => continue,
                Some(size) => seen.cut.push((pack, size)),
                None => _ = seen.missing.insert(pack),
            }
            wrong.insert(pack, LostPack { size, wanted });
        }
        let known = index.known_packs();
        seen.unnamed = listed.into_iter().filter(|(pack, _)| !known.contains(pack)).collect();
        let mut lost = lock(&self.lost);
        *lost = Arc::new(Lost { packs: wrong, ..Lost::clone(&lost) });
        Ok(seen)
    }
}
