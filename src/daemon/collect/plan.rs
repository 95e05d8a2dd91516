//! The collector's decision, by what it has seen: what becomes of each pack.
//!
//! Ages are by the storage's clock alone. The dates in index files are by the clocks of the hosts that wrote
//! them, which may be years ahead or behind: they decide nothing.

use jiff::{SignedDuration, Timestamp};

use super::{reach::Reached, seen::Seen};
use crate::{
    clock::{CLOCK_TOLERANCE, is_in_future},
    error::{Error, ErrorKind, Result},
};

/// A younger pack stays as it is: it may be of a backup that is being made and is not to be seen yet.
const YOUNG: SignedDuration = SignedDuration::from_hours(24);
/// How long a pack that is marked waits until it goes. Space is given back once a day, so this is a little
/// less.
pub(super) const WAIT: SignedDuration = SignedDuration::from_hours(23);
/// Packs are packed anew until at most so many of a hundred bytes in them are unused.
const UNUSED_PIECES: u64 = 5;
const UNUSED_TREES: u64 = 20;
/// A pack of fewer hundredths of a full one is small: small ones are packed together where that makes a full
/// one.
const SMALL: u64 = 30;
/// Nothing is decided where more than one of so many packs is missing: the storage is not all there.
const MISSING: usize = 10;
/// From so many index files with few blobs on, they are put together.
const MANY_FILES: usize = 32;
const FEW_BLOBS: usize = 10_000;

/// What becomes of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays as it is.
    Stays,
    /// It was marked, and is needed: the index names it again.
    Named,
    /// Nothing needs it: it is marked for deletion.
    Marked,
    /// What is needed of it is packed anew; then it is marked.
    Repacked,
    /// It was marked, and its time has not come.
    Waits,
    /// It goes now.
    Goes,
}

/// Who else may use the repository.
#[derive(Debug, Clone, Copy)]
pub(in crate::daemon) struct Sharing {
    /// Whether other processes may write to it, or have begun to: then what is young stays, and what is
    /// unused goes a day after it was marked.
    pub(in crate::daemon) is_shared: bool,
    /// Whether none of them can at the moment.
    pub(in crate::daemon) is_locked: bool,
    /// For how long one of them has been writing at most: what it wrote is in no snapshot yet.
    pub(in crate::daemon) writes_since: SignedDuration,
}

impl Sharing {
    /// No other process writes to it.
    pub(in crate::daemon) const ALONE: Self =
        Self { is_shared: false, is_locked: true, writes_since: SignedDuration::ZERO };
}

/// What is known beside the packs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// The time by the storage's clock.
    pub(super) now: Timestamp,
    pub(super) sharing: Sharing,
    /// How large full packs are, in bytes.
    pub(super) piece_pack: u64,
    pub(super) tree_pack: u64,
    /// When the newest of the snapshots was written that can't be read; `Some(None)` if that is not known.
    /// What was there before it stays: it may need that.
    pub(super) unread: Option<Option<Timestamp>>,
    /// Whether a snapshot lacks something. A pack that no index names may have it, and stays: the next
    /// backup names it.
    pub(super) is_lacking: bool,
}

impl Facts {
    fn age(&self, written: Option<Timestamp>) -> Option<SignedDuration> {
        written.filter(|it| !is_in_future(*it, self.now)).map(|it| self.now.duration_since(it))
    }

    /// Whether something that was written then is to stay as it is. What is dated in the future may be
    /// old: a day passes anyway before it goes.
    fn keeps(&self, written: Option<Timestamp>) -> bool {
        let young = YOUNG.max(self.sharing.writes_since);
        let is_young = self.sharing.is_shared && self.age(written).is_some_and(|age| age < young);
        is_young || self.may_be_needed(written)
    }

    /// Whether a snapshot that can't be read may need something that was written then.
    fn may_be_needed(&self, written: Option<Timestamp>) -> bool {
        self.unread.is_some_and(|unread| match (unread, written) {
            (Some(unread), Some(written)) => written.duration_since(unread) <= CLOCK_TOLERANCE,
            _ => true,
        })
    }

    /// Whether a mark in an index file that was written then has waited long enough. One that is dated
    /// in the future is written anew, and its day begins then.
    fn is_due(&self, marked: Option<Timestamp>) -> bool {
        !self.sharing.is_shared || self.age(marked).is_some_and(|age| age >= WAIT)
    }
}

/// How much of a pack is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Use {
    blobs: usize,
    /// In bytes.
    used: u64,
    unused: u64,
}

/// What is done.
#[derive(Debug)]
pub(super) struct Plan {
    /// For each pack.
    pub(super) fates: Vec<Fate>,
    /// For each pack that is marked: the latest time at which it was marked, if all are known.
    marked: Vec<Option<Timestamp>>,
    /// For each entry whether its blob is needed, and is needed from its pack.
    chosen: Vec<u64>,
    /// How many packs are missing that are needed.
    pub(super) missing: usize,
}

impl Plan {
    /// The decision.
    ///
    /// # Errors
    /// If so many packs are missing that the storage can't be all there.
    pub(super) fn of(seen: &Seen, reached: &Reached, facts: &Facts) -> Result<Self> {
        let (uses, chosen) = uses(seen, reached);
        let needed = || seen.packs.iter().zip(&uses).filter(|(_, of)| of.blobs > 0);
        let missing = needed().filter(|(pack, _)| pack.listed.is_none()).count();
        if missing > 1 && missing > needed().count() / MISSING {
            let message = format!("{missing} of the packs that backups need are not listed");
            return Err(Error::new(ErrorKind::Repository, message)
                .with_hint("nothing was removed: is the whole destination there, and mounted?"));
        }
        let fates = vec![Fate::Stays; seen.packs.len()];
        let mut plan = Self { fates, marked: latest_marks(seen), chosen, missing };
        let mut candidates = Vec::new();
        for (place, pack) in seen.packs.iter().enumerate() {
            let used = uses[place];
            let may_be_needed = |used: Use| {
                let written = pack.listed.and_then(|listed| listed.written);
                let has_no_list = used == Use::default();
                facts.may_be_needed(written) || facts.is_lacking && has_no_list
            };
            let keeps = || pack.listed.is_some_and(|listed| facts.keeps(listed.written));
            plan.fates[place] = match (pack.is_named, pack.is_marked) {
                (false, true) if used.blobs > 0 => Fate::Named,
                (false, true) if pack.is_disputed => Fate::Waits,
                _ if pack.is_disputed => Fate::Stays,
                // Only the index still knows it.
                _ if used.blobs == 0 && pack.listed.is_none() && !may_be_needed(used) => Fate::Goes,
                _ if used.blobs == 0 && pack.listed.is_none() => Fate::Stays,
                (false, true) if facts.is_due(plan.marked[place]) && !may_be_needed(used) => {
                    Fate::Goes
                }
                (false, true) => Fate::Waits,
                (false, false) if facts.is_lacking => Fate::Stays,
                _ if used.blobs == 0 && keeps() => Fate::Stays,
                _ if used.blobs == 0 && facts.sharing.is_shared => Fate::Marked,
                _ if used.blobs == 0 => Fate::Goes,
                _ => {
                    if pack.is_whole() && !keeps() {
                        candidates.push(place);
                    }
                    Fate::Stays
                }
            };
        }
        for is_tree in [false, true] {
            plan.repack(seen, &uses, &candidates, (is_tree, facts));
        }
        Ok(plan)
    }

    /// Decides which of these packs of one kind are packed anew: those with most that is unused first.
    fn repack(
        &mut self,
        seen: &Seen,
        uses: &[Use],
        places: &[usize],
        (is_tree, facts): (bool, &Facts),
    ) {
        let of_kind = |place: &usize| seen.packs[*place].is_tree == is_tree;
        let stays = |place: &usize| matches!(self.fates[*place], Fate::Stays | Fate::Named);
        let all = (0..seen.packs.len()).filter(|place| of_kind(place) && stays(place));
        let (used, mut unused) = all.fold((0, 0), |(used, unused), place| {
            (used + uses[place].used, unused + uses[place].unused)
        });
        let share = if is_tree { UNUSED_TREES } else { UNUSED_PIECES };
        let most_unused = used * share / (100 - share);
        let full = if is_tree { facts.tree_pack } else { facts.piece_pack };
        let mut places: Vec<usize> = places.iter().copied().filter(of_kind).collect();
        // By the share that is used.
        places.sort_unstable_by_key(|place| {
            let Use { used, unused, .. } = uses[*place];
            used.saturating_mul(1000) / (used + unused).max(1)
        });
        let (mut small, mut packed) = (Vec::new(), 0);
        for place in places {
            let of = uses[place];
            if of.unused > 0 && unused > most_unused {
                self.fates[place] = Fate::Repacked;
                unused -= of.unused;
                packed += of.used;
            } else if seen.packs[place].bytes() < full * SMALL / 100 {
                small.push(place);
            }
        }
        let of_small: u64 = small.iter().map(|place| uses[*place].used).sum();
        if packed + of_small >= full && small.len() > 1 {
            small.into_iter().for_each(|place| self.fates[place] = Fate::Repacked);
        }
    }

    /// A pack stays, whatever was decided.
    pub(super) fn stays(&mut self, place: usize) {
        self.fates[place] = Fate::Stays;
    }

    /// Whether this run marks or removes a pack that has not waited for that.
    pub(super) fn gives_up(&self, seen: &Seen, place: usize) -> bool {
        let pack = &seen.packs[place];
        match self.fates[place] {
            Fate::Marked | Fate::Repacked => true,
            Fate::Goes => pack.listed.is_some() && (pack.is_named || !pack.is_marked),
            _ => false,
        }
    }

    /// Whether the blob of this entry is needed, and is needed from its pack.
    pub(super) fn is_chosen(&self, entry: usize) -> bool {
        self.chosen[entry / 64] & (1 << (entry % 64)) != 0
    }

    /// The places of the packs with this fate.
    pub(super) fn with(&self, fate: Fate) -> impl Iterator<Item = usize> {
        let fates = self.fates.iter().enumerate();
        fates.filter(move |(_, it)| **it == fate).map(|(place, _)| place)
    }

    /// When the first of the packs that wait was marked.
    pub(super) fn first_mark(&self) -> Option<Timestamp> {
        self.with(Fate::Waits).filter_map(|place| self.marked[place]).min()
    }

    /// For each index file whether it is replaced: what it says of a pack is no longer so, or it is one
    /// of many small ones.
    pub(super) fn replaced(&self, seen: &Seen, facts: &Facts) -> Vec<bool> {
        let mut replaced = vec![false; seen.files.len()];
        let mut has_marks = replaced.clone();
        for mention in &seen.mentions {
            let written = seen.files[mention.file].written;
            let is_old = || facts.is_due(written) || facts.age(written).is_none();
            has_marks[mention.file] |= mention.is_mark;
            replaced[mention.file] |= match self.fates[mention.pack] {
                Fate::Marked | Fate::Repacked | Fate::Goes => true,
                Fate::Waits => facts.age(written).is_none(),
                Fate::Stays | Fate::Named => mention.is_mark && is_old(),
            };
        }
        let is_small = |file: &usize| !has_marks[*file] && seen.files[*file].blobs < FEW_BLOBS;
        let small: Vec<usize> = (0..seen.files.len()).filter(is_small).collect();
        if small.len() >= MANY_FILES {
            small.into_iter().for_each(|file| replaced[file] = true);
        }
        replaced
    }
}

/// For each pack the latest time at which it was marked, if all are known.
fn latest_marks(seen: &Seen) -> Vec<Option<Timestamp>> {
    let mut latest: Vec<Option<Option<Timestamp>>> = vec![None; seen.packs.len()];
    for mention in seen.mentions.iter().filter(|mention| mention.is_mark) {
        let written = seen.files[mention.file].written;
        let known = &mut latest[mention.pack];
        *known = Some(match *known {
            None => written,
            Some(known) => known.zip(written).map(|(one, other)| one.max(other)),
        });
    }
    latest.into_iter().map(Option::flatten).collect()
}

/// How much of each pack is used, and which entries are. Of several packs that have a blob, one counts: the
/// one that is there, and has least that is unused.
fn uses(seen: &Seen, reached: &Reached) -> (Vec<Use>, Vec<u64>) {
    let mut uses = vec![Use::default(); seen.packs.len()];
    let mut chosen = vec![0; seen.entries.len().div_ceil(64)];
    let mut doubles = Vec::new();
    let mut take = |uses: &mut Vec<Use>, entry: usize| {
        let of = &mut uses[seen.entries[entry].pack()];
        of.blobs += 1;
        of.used += u64::from(seen.entries[entry].length);
        chosen[entry / 64] |= 1 << (entry % 64);
    };
    let mut first = 0;
    while first < seen.entries.len() {
        let same = seen.same(first);
        if !reached.has(first) {
            for entry in same {
                uses[entry.pack()].unused += u64::from(entry.length);
            }
        } else if same.len() == 1 {
            take(&mut uses, first);
        } else {
            doubles.push(first);
        }
        first += same.len();
    }
    for first in doubles {
        let same = seen.same(first);
        let worth = |number: &usize| {
            let place = same[*number].pack();
            let (pack, of) = (&seen.packs[place], uses[place]);
            let is_clear = !pack.is_disputed;
            (pack.is_whole(), is_clear, pack.is_named, std::cmp::Reverse((of.unused, place)))
        };
        let Some(best) = (0..same.len()).max_by_key(worth) else { continue };
        take(&mut uses, first + best);
        for (number, entry) in same.iter().enumerate() {
            if number != best {
                uses[entry.pack()].unused += u64::from(entry.length);
            }
        }
    }
    (uses, chosen)
}
