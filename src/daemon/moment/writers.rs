//! What writes to a volume, and how it is held still: by a pair of the operator's commands. Another
//! way to hold, such as pausing containers, is another [`Writers`].

use std::{fmt, time::Duration};

use super::{
    place::Place,
    processes::end_marked,
    shell::{LIMIT, Task, run},
};
use crate::error::{Error, Result};

const HOLD: &str = "BKUP_HOLD";
const RELEASE: &str = "BKUP_RELEASE";

/// Holds and releases what writes to volumes.
pub(super) trait Writers: fmt::Debug + Send + Sync {
    /// Whether what writes to this volume is to be held.
    fn are_to_be_held(&self, volume: &str) -> bool;

    /// Holds what writes to this place. A failure may come half way: the release follows all the
    /// same. Ends soon after `stopped` returns true. The id is that of the hold's note.
    fn hold(
        &self,
        place: &Place,
        id: &str,
        limit: Duration,
        stopped: &dyn Fn() -> bool,
    ) -> Result<()>;

    /// Ends what the hold with this id still does, if it was stopped or killed half way: it would
    /// hold after the release.
    ///
    /// # Errors
    /// If it goes on.
    fn end(&self, id: &str) -> Result<()>;

    /// Releases what writes to this place; also what is held half way, or not at all.
    ///
    /// # Errors
    /// If it may still stand still. The hint says what to do by hand.
    fn release(&self, place: &Place) -> Result<()>;
}

/// The commands of the configuration, which `sh` runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HoldCommands {
    pub(crate) hold: String,
    pub(crate) release: String,
    /// The names of the volumes that are held; `None`: all.
    pub(crate) volumes: Option<Vec<String>>,
}

impl HoldCommands {
    fn run(
        (name, command, mark): (&str, &str, Option<&str>),
        place: &Place,
        limit: Duration,
        stopped: &dyn Fn() -> bool,
    ) -> Result<()> {
        let variables = [("VOLUME", place.volume.as_ref()), ("FOLDER", place.folder.as_os_str())];
        run(Task { name, command, variables: &variables, limit, mark }, stopped).map(drop).map_err(
            |error| Error {
                message: format!("volume \"{}\": {}", place.volume, error.message),
                ..error
            },
        )
    }
}

impl Writers for HoldCommands {
    fn are_to_be_held(&self, volume: &str) -> bool {
        self.volumes.as_ref().is_none_or(|volumes| volumes.iter().any(|name| name == volume))
    }

    fn hold(
        &self,
        place: &Place,
        id: &str,
        limit: Duration,
        stopped: &dyn Fn() -> bool,
    ) -> Result<()> {
        Self::run((HOLD, &self.hold, Some(id)), place, limit, stopped)
    }

    fn end(&self, id: &str) -> Result<()> {
        end_marked(id)
    }

    fn release(&self, place: &Place) -> Result<()> {
        Self::run((RELEASE, &self.release, None), place, LIMIT, &|| false).map_err(|error| {
            error.with_hint(format!(
                "what writes to volume \"{volume}\" may stand still: run by hand what {RELEASE} says, with VOLUME={volume} and FOLDER={folder}",
                volume = place.volume,
                folder = place.folder.display()
            ))
        })
    }
}
