//! Settings of holding what writes to volumes still.

use std::time::Duration;

use super::{
    choice::Unheld,
    given::Source,
    settings::{
        BKUP_DOCKER_HOLD, BKUP_DOCKER_HOLD_MAX, BKUP_DOCKER_UNHELD, BKUP_HOLD, BKUP_HOLD_MAX,
        BKUP_HOLD_VOLUMES, BKUP_RELEASE,
    },
    values::Values,
};
use crate::{
    engine::HoldPolicy,
    error::{Error, Result},
};

/// How what writes to volumes is held still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    /// Commands of the operator that hold and release, and the names of the volumes for which they
    /// do; `None`: all.
    pub(crate) commands: Option<(String, String, Option<Vec<String>>)>,
    /// How containers are held where no label says so.
    pub(crate) containers: HoldPolicy,
    /// Whether that was set, and is not the default.
    pub(crate) is_chosen: bool,
    pub(crate) unheld: Unheld,
    /// How long containers may stand still.
    pub(crate) containers_limit: Duration,
    /// How long the commands may hold.
    pub(crate) limit: Duration,
}

impl Hold {
    /// # Errors
    /// If a value is wrong, or one of the commands is missing.
    pub(super) fn read(values: &Values) -> Result<Self> {
        let hint = "set both: what one holds still, the other lets go on";
        let commands = values.pair(&BKUP_HOLD, &BKUP_RELEASE, hint)?;
        let volumes = values.read(&BKUP_HOLD_VOLUMES)?;
        if commands.is_none() && volumes.is_some() {
            let message = "BKUP_HOLD_VOLUMES is set, but BKUP_HOLD is not";
            return Err(Error::configuration(message).with_hint(
                "set BKUP_HOLD and BKUP_RELEASE to commands that hold these volumes still and let them go on",
            ));
        }
        Ok(Self {
            commands: commands.map(|(hold, release)| (hold, release, volumes)),
            containers: values.require(&BKUP_DOCKER_HOLD)?,
            is_chosen: values.source(BKUP_DOCKER_HOLD.row.name) != Source::Default,
            containers_limit: values.require(&BKUP_DOCKER_HOLD_MAX)?,
            unheld: values.require(&BKUP_DOCKER_UNHELD)?,
            limit: values.require(&BKUP_HOLD_MAX)?,
        })
    }
}
