//! The text of a folder's tree, put together in the order of the names while its parts become known
//! in any order.

use std::{collections::BTreeMap, ops::Range};

/// The entries of a folder in restic's JSON.
pub(super) struct Assembly {
    text: Vec<u8>,
    /// The entry whose text comes next, and the number of entries.
    next: u32,
    all: u32,
    /// Text of later entries: the number of its first one, the one after its last one.
    later: BTreeMap<u32, (u32, Vec<u8>)>,
}

const START: &[u8] = b"{\"nodes\":[";
/// restic ends a tree with a line feed.
const END: &[u8] = b"]}\n";

impl Assembly {
    /// A folder with so many entries.
    pub(super) fn new(all: u32) -> Self {
        Self { text: START.to_vec(), next: 0, all, later: BTreeMap::new() }
    }

    /// Adds the text of some entries, separated by commas; it is empty if all of them vanished.
    /// Returns whether nothing is missing any more.
    pub(super) fn put(&mut self, entries: Range<u32>, text: Vec<u8>) -> bool {
        if entries.start == self.next {
            self.append(entries.end, &text);
        } else {
            self.later.insert(entries.start, (entries.end, text));
        }
        while let Some((end, text)) = self.later.remove(&self.next) {
            self.append(end, &text);
        }
        self.is_complete()
    }

    fn append(&mut self, end: u32, text: &[u8]) {
        if !text.is_empty() && self.text.len() > START.len() {
            self.text.push(b',');
        }
        self.text.extend_from_slice(text);
        self.next = end;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.next == self.all
    }

    /// The tree. Nothing is left.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.text);
        text.extend_from_slice(END);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_in_their_order_in_whichever_they_came() {
        let mut assembly = Assembly::new(7);
        assert!(!assembly.put(2..3, b"c".to_vec()));
        assert!(!assembly.put(0..1, Vec::new()));
        assert!(!assembly.put(4..7, b"e,f".to_vec()));
        assert!(!assembly.put(1..2, b"b".to_vec()));
        assert!(assembly.put(3..4, Vec::new()));
        assert_eq!(assembly.take(), b"{\"nodes\":[b,c,e,f]}\n");
        let mut empty = Assembly::new(0);
        assert!(empty.is_complete());
        assert_eq!(empty.take(), b"{\"nodes\":[]}\n");
    }
}
