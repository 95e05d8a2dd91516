//! Healing a destination. What it has lost does not count as there, so that a backup stores again what
//! its volume still has: then older backups with the same content are whole again. After that, the index
//! forgets what is gone, and what no backup has is told.
//!
//! - A pack that is cut, or in which a piece is damaged, is evidence at once: what is whole in it is
//!   copied, and the pack is marked for deletion.
//! - A pack that is missing may come back. The index forgets it once it was missing for a day
//!   ([`super::looks`]).
//! - Packs that no index names, as where an index file was lost, are named by what they say of
//!   themselves. Then an index file that is damaged is removed.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use jiff::Timestamp;
use rustic_core::{
    FileType, Id,
    repofile::{BlobType, IndexPack, PackId},
};

use super::{destination::DestinationRepository, prove::prove_all};
use crate::{
    clock::{Clock as _, SystemClock},
    daemon::{
        repository::{Hash, HexHash, Index, OpenRepository, Seen, UnreadFile, guarded, hash},
        save,
    },
    error::{ErrorKind, Result},
    text::counted,
};

/// A younger pack may be of a backup that another host is making.
const YOUNG: Duration = Duration::from_hours(1);
/// So many damaged packs are healed after a backup at most, and the others after the next ones.
const MOST_PACKS: usize = 256;
/// So many backups that lack something are named.
const MOST_TOLD: usize = 10;

impl DestinationRepository {
    /// Looks before a backup at what was lost before, and once a day at all packs.
    pub(super) fn look_before(&self, repository: &OpenRepository) {
        let now = SystemClock.now();
        let looked = guarded("looking for what is lost", || {
            let index = repository.look_again()?;
            self.damage.look_again(repository)?;
            let lacks_something = self.lacks_something(&index);
            if lacks_something || self.looks.is_due(now) || index.unread().iter().any(is_damaged) {
                self.look(repository, lacks_something, now)?;
            } else {
                repository.hand_on(index);
            }
            Ok(())
        });
        repository.backend().take_failure();
        if let Err(error) = looked {
            log::debug!("what the destination has lost is unknown: {error}");
        }
    }

    /// Before a restore: of two packs with one piece, the one counts that is there.
    pub(super) fn prefer_what_is_there(&self, repository: &OpenRepository) {
        let looked = guarded("looking for what is lost", || {
            repository.look_again()?;
            self.damage.look_again(repository)
        });
        repository.backend().take_failure();
        if let Err(error) = looked {
            log::debug!("what the destination has lost is unknown: {error}");
        }
    }

    /// Whether the folder of a backup is in no index file, and was in one before: an index file is lost.
    fn lacks_something(&self, index: &Index) -> bool {
        let backups = self.catalogue.listed_last();
        let trees = backups.iter().map(|backup| HexHash::of(&backup.tree));
        let is_unindexed = |tree: &Hash| index.find(BlobType::Tree, tree).is_none();
        let unindexed: BTreeSet<Hash> = trees.filter(is_unindexed).collect();
        let digest = match unindexed.is_empty() {
            true => String::new(),
            false => HexHash(hash(&Vec::from_iter(unindexed).concat())).to_string(),
        };
        self.looks.lack_anew(&digest) && !digest.is_empty()
    }

    /// Looks at all packs because something is not there that should be.
    pub(super) fn look_after_failure(&self, repository: &OpenRepository) {
        let looked =
            guarded("looking for what is lost", || self.look(repository, true, SystemClock.now()));
        repository.backend().take_failure();
        if let Err(error) = looked {
            log::debug!("what the destination has lost is unknown: {error}");
        }
    }

    /// Looks at all packs, and puts those into the index that are in none: of any age, if the index is
    /// known to lack something. Returns what it saw, and which packs are gone.
    fn look(
        &self,
        repository: &OpenRepository,
        lacks_something: bool,
        now: Timestamp,
    ) -> Result<(Seen, HashSet<Id>)> {
        let mut seen = repository.look_at_all()?;
        let gone = self.looks.note(&seen, now);
        let lacks_something = lacks_something || repository.has_damaged_index();
        let mut unnamed = std::mem::take(&mut seen.unnamed);
        if !lacks_something {
            let backend = repository.backend();
            let mut old = Vec::new();
            for pack in unnamed {
                if backend.age(FileType::Pack, &pack.0)?.is_some_and(|age| age >= YOUNG) {
                    old.push(pack);
                }
            }
            unnamed = old;
        }
        if !unnamed.is_empty() {
            let named = repository.name_packs(&unnamed, now)?;
            if named > 0 {
                let packs = counted(named, "pack that was", "packs that were");
                let place = repository.backend().location();
                log::warn!("the index at \"{place}\" names {packs} in no index file");
            }
        }
        Ok((seen, gone))
    }

    /// Lets the index forget what is lost, and tells what no backup has any more. A failure fails no
    /// backup: what is lost does not count as there, whatever the index says.
    pub(super) fn heal(&self, repository: &OpenRepository) {
        let now = SystemClock.now();
        let healed = guarded("healing the destination", || self.try_heal(repository, now));
        repository.backend().take_failure();
        repository.forget_index();
        match healed {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::Cancelled => {}
            Err(error) => {
                self.looks.is_refused(now);
                log::warn!("the index of the destination still names what is lost: {error}");
            }
        }
    }

    fn try_heal(&self, repository: &OpenRepository, now: Timestamp) -> Result<()> {
        let is_whole = repository.lost_now().is_empty() && !repository.has_damaged_index();
        if is_whole || !self.looks.may_remove(now) {
            return Ok(());
        }
        if let Err(error) = repository.backend().may_remove() {
            // Index files that take the place of others would be there beside them.
            self.look(repository, false, now)?;
            self.tell(repository)?;
            return Err(error);
        }
        let (seen, mut gone) = self.look(repository, false, now)?;
        let index = repository.index()?;
        let lost = repository.lost_now();
        let of_pieces = lost.pieces.iter().map(|(pack, _)| *pack);
        let broken = seen.cut.iter().map(|(pack, _)| *pack).chain(of_pieces);
        let broken: HashSet<Id> = broken.take(MOST_PACKS).collect();
        if !broken.is_empty() {
            let copied = save::rescue(repository, &broken)?;
            log::debug!("{copied} pieces were copied out of damaged packs");
        }
        self.tell(repository)?;
        let marks = broken.iter().map(|pack| {
            let size = repository.backend().size(FileType::Pack, pack)?.unwrap_or_default();
            let size = Some(u32::try_from(size).unwrap_or(u32::MAX));
            // Without its pieces: nobody is to take it for whole.
            let (id, blobs, time) = (PackId::from(*pack), Vec::new(), Some(now));
            Ok(IndexPack { id, blobs, time, size })
        });
        let marks = marks.collect::<Result<Vec<_>>>()?;
        gone.extend(broken);
        if !gone.is_empty() {
            repository.forget_packs(&gone, marks)?;
            let packs = counted(gone.len(), "pack that is", "packs that are");
            log::warn!(
                "the index at \"{}\" has forgotten {packs} missing or damaged",
                repository.backend().location()
            );
        }
        let removed = repository.remove_damaged_index(index.unread())?;
        if removed > 0 {
            let files = counted(removed, "damaged index file was", "damaged index files were");
            log::warn!("{files} made anew at \"{}\"", repository.backend().location());
        }
        repository.look_again()?;
        self.damage.look_again(repository).map(drop)
    }

    /// Tells once which backups lack something that is lost.
    fn tell(&self, repository: &OpenRepository) -> Result<()> {
        let lost = repository.index()?.lost_blobs();
        let name = |kind: &BlobType, id| format!("{kind:?} {}\n", HexHash(id));
        let mut names: Vec<_> = lost.iter().map(|(kind, id, _)| name(kind, *id)).collect();
        names.sort_unstable();
        let loss = match names.is_empty() {
            true => String::new(),
            false => HexHash(hash(names.concat().as_bytes())).to_string(),
        };
        if !self.looks.is_news(&loss) {
            return Ok(());
        }
        if loss.is_empty() {
            // The same loss would be news again.
            self.looks.told(&loss);
            return Ok(());
        }
        let mut backups = self.catalogue.readable(repository)?.to_vec();
        backups.sort_by_key(|backup| std::cmp::Reverse(backup.record.created));
        let trees: Vec<_> = backups.iter().map(|backup| backup.tree).collect();
        let verdicts = if trees.is_empty() {
            Vec::new()
        } else {
            prove_all(repository, &self.damage, &trees)?
        };
        self.looks.told(&loss);
        let left = backups.len() - verdicts.len();
        let broken = backups.iter().zip(&verdicts);
        let broken: Vec<_> = broken
            .filter_map(|(backup, verdict)| Some((&backup.record, verdict.as_ref().err()?)))
            .collect();
        if broken.is_empty() && left == 0 {
            return Ok(());
        }
        let lacking = counted(broken.len(), "backup lacks", "backups lack");
        log::warn!(
            "data is lost at \"{}\", and {lacking} it; a backup of a volume that still has it mends them",
            repository.backend().location()
        );
        for (record, error) in broken.iter().take(MOST_TOLD) {
            log::warn!("backup \"{}\" of volume \"{}\": {error}", record.backup, record.volume);
        }
        if let Some(more) = broken.len().checked_sub(MOST_TOLD + 1) {
            log::warn!("and {} more", more + 1);
        }
        if left > 0 {
            log::warn!("{left} older backups were not looked at");
        }
        Ok(())
    }
}

fn is_damaged(file: &UnreadFile) -> bool {
    !file.is_foreign
}
