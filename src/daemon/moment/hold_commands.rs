//! What writes is held still by a pair of the operator's commands.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    notes::Note,
    place::Place,
    processes::end_marked,
    shell::{LIMIT, Task, run},
    writers::{Holding, Standing, Writers},
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

    fn note(&self, places: &[&Place]) -> Result<Option<Note>> {
        Ok(places.first().map(|place| Note::hold(place)))
    }

    fn reading_limit(&self, usual: Duration) -> Duration {
        usual
    }

    fn limit(&self, _: &Note, usual: Duration) -> Duration {
        usual
    }

    fn limit_setting(&self) -> &'static str {
        "BKUP_HOLD_MAX"
    }

    fn hold(&self, note: &mut Note, holding: &Holding<'_>) -> Result<()> {
        let command = (HOLD, self.hold.as_str(), Some(note.id.as_str()));
        Self::run(command, note, holding.limit, holding.stopped)
    }

    fn may_go_on(&self, _: &Error) -> bool {
        true
    }

    fn end(&self, note: &Note) -> Result<()> {
        end_marked(&note.id)
    }

    fn release(&self, note: &mut Note, _: &Standing) -> Result<()> {
        Self::run((RELEASE, &self.release, None), note, LIMIT, &|| false).map_err(|error| {
            error.with_hint(format!(
                "what writes to volume \"{volume}\" may stand still: run by hand what {RELEASE} says, with VOLUME={volume} and FOLDER={folder}",
                volume = note.volume,
                folder = note.folder.display()
            ))
        })
    }

    fn check(&self, _: &Note, _: &[&Place], _: (Timestamp, Timestamp), _: &Standing) {}
}
