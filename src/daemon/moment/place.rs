//! What a moment is taken of, and the kinds of moments.

use std::path::PathBuf;

/// How a moment is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::daemon) enum Kind {
    /// A read-only snapshot of a btrfs subvolume.
    Btrfs,
    /// Copies that share their blocks with the files (XFS, btrfs), of what was changed lately.
    Reflink,
    /// By the operator's own commands.
    Command,
    /// Not at all: files are read as they are.
    Live,
}

impl Kind {
    pub(in crate::daemon) const fn as_str(self) -> &'static str {
        match self {
            Self::Btrfs => "btrfs",
            Self::Reflink => "reflink",
            Self::Command => "command",
            Self::Live => "live",
        }
    }
}

/// A folder of which a moment can be taken.
#[derive(Debug, Clone)]
pub(in crate::daemon) struct Place {
    /// The volume's name.
    pub(in crate::daemon) volume: String,
    pub(in crate::daemon) folder: PathBuf,
    /// A folder outside of the volume in which a snapshot may lie, besides the staging folder.
    pub(in crate::daemon) beside: Option<PathBuf>,
    /// Whether it is a folder of the host, and none of the daemon's own.
    pub(in crate::daemon) is_of_the_host: bool,
    /// Whether Docker told of it: a volume of its own, or a folder that containers mount.
    pub(in crate::daemon) is_of_the_engine: bool,
    /// Whether nothing but containers writes there: it is in Docker's own folder.
    pub(in crate::daemon) is_for_containers_only: bool,
}

/// The names of the places' volumes, for a text that puts `"` around them.
pub(super) fn names(places: &[&Place]) -> String {
    let names: Vec<_> = places.iter().map(|place| place.volume.as_str()).collect();
    names.join("\", \"")
}
