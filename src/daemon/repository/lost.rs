//! What the index names and the repository does not have: packs that are missing or have another size,
//! and pieces that are damaged. It does not count as there, so that the next backup stores it again.
//!
//! This is what one process has seen. It changes no file of the repository, and what is there again
//! counts again.

use std::collections::{HashMap, HashSet};

use rustic_core::Id;

/// A pack that is not there as the index says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostPack {
    /// In bytes; `None` if the pack is missing.
    pub(crate) size: Option<u64>,
    /// What the index says, in bytes.
    pub(crate) wanted: u64,
}

/// What does not count as there.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Packs that are missing or have another size than in the index.
    pub(crate) packs: HashMap<Id, LostPack>,
    /// Damaged pieces in other packs: each by its pack and its offset there.
    pub(crate) pieces: HashSet<(Id, u32)>,
}

impl Lost {
    pub(crate) fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.pieces.is_empty()
    }

    /// Whether what lies there is lost.
    pub(crate) fn has(&self, pack: &Id, offset: u32) -> bool {
        self.packs.contains_key(pack) || self.pieces.contains(&(*pack, offset))
    }

    /// What is wrong with a pack; `None` if only pieces in it are damaged.
    pub(crate) fn what_is_wrong_with(&self, pack: &Id) -> Option<String> {
        let name = pack.to_hex();
        let name = name.as_str();
        Some(match self.packs.get(pack)? {
            LostPack { size: None, .. } => format!("the pack {name} is missing"),
            LostPack { size: Some(size), wanted } => {
                format!("the pack {name} has {size} bytes instead of {wanted}")
            }
        })
    }
}
