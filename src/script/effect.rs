//! What a script declares that it does: `const DOES = ["backup"];`. The schedule, the status, the
//! alerts and the dashboard decide by these words, never by a script's name.

use serde::{Deserialize, Serialize};

/// Something that a script does to a volume: the one that its argument `volume` names, or every
/// volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Effect {
    /// Creates volumes, empty or from a backup.
    Create,
    /// Takes snapshots.
    Snapshot,
    /// Makes backups.
    Backup,
    /// Deletes backups and snapshots that a retention policy does not keep.
    Prune,
    /// Deletes volumes, backups or snapshots, regardless of a retention policy.
    Delete,
    /// Unmounts volumes.
    Unmount,
}

impl Effect {
    /// All effects with their words.
    pub(crate) const WORDS: [(&str, Self); 6] = [
        ("create", Self::Create),
        ("snapshot", Self::Snapshot),
        ("backup", Self::Backup),
        ("prune", Self::Prune),
        ("delete", Self::Delete),
        ("unmount", Self::Unmount),
    ];

    /// The effect with this word.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(known, _)| *known == word).map(|(_, does)| does)
    }
}
