//! What a look at volumes and destinations found.

use super::volume::VolumeStatus;
use crate::error::Error;

/// A destination, and whether it holds what was put there last.
#[derive(Debug)]
pub(crate) struct DestinationLook {
    /// Its address.
    pub(crate) destination: String,
    pub(crate) verdict: DestinationVerdict,
}

#[derive(Debug)]
pub(crate) enum DestinationVerdict {
    /// The newest backup that should be there is there.
    Well,
    /// The newest backup is not there, or can't be looked at.
    Wrong(Error),
    /// A run is at work there, so that the destination could not be looked at now.
    Busy,
}

impl DestinationLook {
    /// What is wrong with the destination.
    pub(crate) fn problem(&self) -> Option<&Error> {
        if let DestinationVerdict::Wrong(error) = &self.verdict { Some(error) } else { None }
    }

    /// The subject of an alert; it stays the same while the trouble does.
    pub(crate) fn in_short(&self) -> String {
        format!("the backups at {} are not as they should be", self.destination)
    }
}

/// What is known of the volumes.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Sorted by name within a daemon.
    pub(crate) volumes: Vec<VolumeStatus>,
    /// The destinations that backups go to, each once.
    pub(crate) destinations: Vec<DestinationLook>,
    /// Why a daemon can't be asked; then its volumes are those that runs have seen.
    pub(crate) unreachable: Option<Error>,
    /// Why what runs saw is not known.
    pub(crate) forgotten: Option<Error>,
}

impl Known {
    /// The same, of a daemon that is not the first.
    #[must_use]
    pub(super) fn at(mut self, daemon: &str) -> Self {
        self.volumes.iter_mut().for_each(|volume| volume.daemon = Some(daemon.to_owned()));
        self
    }

    /// Adds what is known of another daemon's volumes.
    pub(super) fn add(&mut self, other: Self) {
        self.volumes.extend(other.volumes);
        self.destinations.extend(other.destinations);
        self.unreachable = other.unreachable.or(self.unreachable.take());
        self.forgotten = other.forgotten.or(self.forgotten.take());
    }
}
