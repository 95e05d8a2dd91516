//! What a look at the volumes and destinations found.

use super::volume::VolumeStatus;
use crate::{convoy::NotBackedUp, error::Error};

/// A destination, and whether the backups that should be there can be looked at.
#[derive(Debug)]
pub(crate) struct DestinationLook {
    /// A URL.
    pub(crate) destination: String,
    /// The number of volumes whose newest backup there was looked at.
    pub(crate) volumes: usize,
    /// Those of the volumes whose newest backup can't be restored.
    pub(crate) broken: Vec<String>,
    /// Those of the volumes whose newest backup is in doubt.
    pub(crate) doubtful: Vec<String>,
    /// Those of the volumes whose newest backup could not be looked at, though others could.
    pub(crate) unclear: Vec<String>,
    pub(crate) verdict: DestinationVerdict,
}

#[derive(Debug)]
pub(crate) enum DestinationVerdict {
    /// The destination can be looked at. A volume's own backup may be missing or broken.
    Well,
    /// The destination lacks every newest backup, or can't be looked at.
    Wrong(Error),
    /// A run goes on, and the daemon did not answer in time.
    Busy,
}

impl DestinationLook {
    /// What is wrong with the destination.
    pub(crate) fn problem(&self) -> Option<&Error> {
        if let DestinationVerdict::Wrong(error) = &self.verdict { Some(error) } else { None }
    }

    /// The subject of an alert. It stays the same as long as the problem does, so that the alert is
    /// sent once.
    pub(crate) fn subject(&self) -> String {
        format!("the backups at {} are not as they should be", self.destination)
    }
}

/// The volumes and destinations that were found.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Sorted by name within a daemon.
    pub(crate) volumes: Vec<VolumeStatus>,
    /// Each destination once.
    pub(crate) destinations: Vec<DestinationLook>,
    /// Why a daemon did not answer; its volumes are then those that the store knows.
    pub(crate) unreachable: Option<Error>,
    /// Why the store could not be read.
    pub(crate) store_error: Option<Error>,
    pub(crate) docker: DockerHost,
}

/// What is known of the Docker host of a daemon, beside its volumes.
#[derive(Debug, Default)]
pub(crate) struct DockerHost {
    /// What is there and not backed up.
    pub(crate) not_backed_up: Vec<NotBackedUp>,
    /// Why Docker could not be asked for its volumes.
    pub(crate) problem: Option<String>,
}

impl Known {
    /// Labels the volumes with a daemon that is not the first.
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
        self.store_error = other.store_error.or(self.store_error.take());
        self.docker.not_backed_up.extend(other.docker.not_backed_up);
        self.docker.problem = self.docker.problem.take().or(other.docker.problem);
    }
}
