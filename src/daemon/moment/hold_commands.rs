//! What writes is held still by a pair of the operator's commands.

use std::time::Duration;

use super::{
    notes::Note,
    place::Place,
    processes::end_marked,
    shell::{LIMIT, Task, run},
    writers::{Standing, Writers},
};
use crate::error::{Error, Result};

const HOLD: &str = "BKUP_HOLD";
const RELEASE: &str = "BKUP_RELEASE";

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
        note: &Note,
        limit: Duration,
        stopped: &dyn Fn() -> bool,
    ) -> Result<()> {
        let variables = [("VOLUME", note.volume.as_ref()), ("FOLDER", note.folder.as_os_str())];
        run(Task { name, command, variables: &variables, limit, mark }, stopped).map(drop).map_err(
            |error| Error {
                message: format!("volume \"{}\": {}", note.volume, error.message),
                ..error
            },
        )
    }
}

impl Writers for HoldCommands {
    fn may_hold(&self, place: &Place) -> bool {
        let is_it = |name: &String| *name == place.volume;
        self.volumes.as_ref().is_none_or(|volumes| volumes.iter().any(is_it))
    }

    fn note(&self, place: &Place) -> Result<Option<Note>> {
        Ok(Some(Note::hold(place)))
    }

    fn hold(
        &self,
        note: &mut Note,
        limit: Duration,
        stopped: &dyn Fn() -> bool,
        _: &Standing,
    ) -> Result<()> {
        Self::run((HOLD, &self.hold, Some(&note.id)), note, limit, stopped)
    }

    fn may_go_on(&self, _: &Error) -> bool {
        true
    }

    fn end(&self, note: &Note) -> Result<()> {
        end_marked(&note.id)
    }

    fn release(&self, note: &Note, _: &Standing) -> Result<()> {
        Self::run((RELEASE, &self.release, None), note, LIMIT, &|| false).map_err(|error| {
            error.with_hint(format!(
                "what writes to volume \"{volume}\" may stand still: run by hand what {RELEASE} says, with VOLUME={volume} and FOLDER={folder}",
                volume = note.volume,
                folder = note.folder.display()
            ))
        })
    }
}
