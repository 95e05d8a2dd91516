//! Which parts of which packs are read at once, and for what. No file is touched here.

use std::collections::HashMap;

use rustic_core::Id;

use crate::daemon::repository::{Hash, Location};

/// How large a stretch may be. Each thread that reads has one in memory. A longer piece is a stretch
/// of its own.
#[derive(Clone, Copy)]
pub(super) struct Largest {
    /// In bytes.
    length: u64,
    /// How many pieces it may have, so that all threads have something to do.
    pieces: usize,
}

impl Largest {
    /// At a disk.
    pub(super) const NEAR: Self = Self { length: 4 << 20, pieces: 512 };
    /// Where each read waits for the network: a whole pack.
    pub(super) const FAR: Self = Self { length: 21 << 20, pieces: 10_000 };
}

/// So many bytes between two pieces are read with them rather than left out: they cost less than
/// one more read.
const GAP: u64 = 256 << 10;

/// A piece, and where it goes (`T`).
pub(super) struct Wanted<T> {
    pub(super) id: Hash,
    pub(super) at: Location,
    pub(super) to: T,
}

impl<T> Wanted<T> {
    fn end(&self) -> u64 {
        u64::from(self.at.offset) + u64::from(self.at.length)
    }
}

/// A part of a pack that is read at once, and the pieces in it by their offset. A piece that goes
/// to several places is there as often.
pub(super) struct Stretch<T> {
    pub(super) pack: Id,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) pieces: Vec<Wanted<T>>,
}

impl<T> Stretch<T> {
    fn of(first: Wanted<T>) -> Self {
        let (pack, offset, length) = (first.at.pack, first.at.offset, first.at.length);
        Self { pack, offset, length, pieces: vec![first] }
    }

    fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }

    /// Adds the next piece, or gives it back if it does not belong here.
    fn add(&mut self, next: Wanted<T>, largest: Largest) -> Result<(), Wanted<T>> {
        let length = next.end().max(self.end()) - u64::from(self.offset);
        let fits = next.at.pack == self.pack
            && u64::from(next.at.offset) <= self.end() + GAP
            && length <= largest.length
            && self.pieces.len() < largest.pieces;
        let (true, Ok(length)) = (fits, u32::try_from(length)) else { return Err(next) };
        self.length = length;
        self.pieces.push(next);
        Ok(())
    }

    /// The bytes of a piece among those of the stretch; none if these are too few.
    pub(super) fn part<'a>(&self, content: &'a mut [u8], piece: &Location) -> &'a mut [u8] {
        let from = piece.offset.saturating_sub(self.offset) as usize;
        content.get_mut(from..from.saturating_add(piece.length as usize)).unwrap_or_default()
    }
}

/// The stretches that have these pieces: pack after pack, in the order in which they are wanted first.
pub(super) fn stretches<T>(mut pieces: Vec<Wanted<T>>, largest: Largest) -> Vec<Stretch<T>> {
    let mut packs = HashMap::new();
    for piece in &pieces {
        let number = packs.len();
        packs.entry(piece.at.pack).or_insert(number);
    }
    pieces.sort_by_key(|piece| (packs.get(&piece.at.pack).copied(), piece.at.offset));
    let mut stretches: Vec<Stretch<T>> = Vec::new();
    for piece in pieces {
        let left = match stretches.last_mut() {
            Some(last) => last.add(piece, largest),
            None => Err(piece),
        };
        stretches.extend(left.err().map(Stretch::of));
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u32 = 1 << 20;

    fn wanted(pack: u8, offset: u32, length: u32) -> Wanted<()> {
        let at = Location { pack: Id::new([pack; 32]), offset, length, raw_length: None };
        Wanted { id: [7; 32], at, to: () }
    }

    /// The first byte of each stretch's pack, its offset, its length, and how many pieces it has.
    fn planned(pieces: Vec<Wanted<()>>) -> Vec<(u8, u32, u32, usize)> {
        let pack = |id: Id| u8::from_str_radix(&id.to_hex().as_str()[..2], 16).unwrap();
        let stretches = stretches(pieces, Largest::NEAR);
        stretches.iter().map(|it| (pack(it.pack), it.offset, it.length, it.pieces.len())).collect()
    }

    #[test]
    fn neighbours_are_read_at_once_and_packs_in_the_order_of_their_first_piece() {
        let pieces =
            vec![wanted(9, 500, 100), wanted(1, 0, 10), wanted(9, 0, 100), wanted(9, 100, 10)];
        assert_eq!(planned(pieces), [(9, 0, 600, 3), (1, 0, 10, 1)]);
        assert!(planned(Vec::new()).is_empty());
    }

    #[test]
    fn a_large_gap_and_a_full_stretch_begin_another_one() {
        assert_eq!(
            planned(vec![wanted(1, 0, 10), wanted(1, MB, 10), wanted(1, MB + 100, 10)]),
            [(1, 0, 10, 1), (1, MB, 110, 2)]
        );
        let whole = (0..6).map(|number| wanted(1, number * MB, MB)).collect();
        assert_eq!(planned(whole), [(1, 0, 4 * MB, 4), (1, 4 * MB, 2 * MB, 2)]);
        // One that is too long is read alone.
        assert_eq!(
            planned(vec![wanted(1, 0, 9 * MB), wanted(1, 9 * MB, 5)]),
            [(1, 0, 9 * MB, 1), (1, 9 * MB, 5, 1)]
        );
    }

    #[test]
    fn a_piece_that_goes_to_several_places_is_read_once_for_many_of_them() {
        let pieces = (0..Largest::NEAR.pieces + 1).map(|_| wanted(1, 7, 10)).collect();
        assert_eq!(planned(pieces), [(1, 7, 10, Largest::NEAR.pieces), (1, 7, 10, 1)]);
    }

    #[test]
    fn offsets_from_a_damaged_index_lead_nowhere() {
        let pieces = vec![wanted(1, u32::MAX, u32::MAX), wanted(1, u32::MAX - 5, 10)];
        let stretches = stretches(pieces, Largest::NEAR);
        assert_eq!(stretches.len(), 2);
        let last = &stretches[1];
        assert!(last.part(&mut [0; 4], &last.pieces[0].at).is_empty());
        let first = &stretches[0];
        assert!(first.part(&mut [0; 4], &last.pieces[0].at).is_empty());
    }
}
