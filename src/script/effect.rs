//! What a script says that it does: `const DOES = ["backup"];`. The schedule, the status, the
//! messages to people and the dashboard go by these words, never by a script's name.

use serde::{Deserialize, Serialize};

/// Something that a script does to volumes: to the one that its argument `volume` names, or to
/// every volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Effect {
    /// Makes volumes, new ones or out of a backup.
    Create,
    /// Takes snapshots.
    Snapshot,
    /// Makes backups.
    Backup,
    /// Deletes backups and snapshots that a retention policy does not keep.
    Prune,
    /// Deletes volumes, backups or snapshots that nobody may have thought of.
    Delete,
}

impl Effect {
    /// All of them, with their words.
    pub(crate) const WORDS: [(&str, Self); 5] = [
        ("create", Self::Create),
        ("snapshot", Self::Snapshot),
        ("backup", Self::Backup),
        ("prune", Self::Prune),
        ("delete", Self::Delete),
    ];

    /// What this word is for.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(known, _)| *known == word).map(|(_, does)| does)
    }
}
