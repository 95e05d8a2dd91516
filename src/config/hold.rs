//! Settings of holding what writes to volumes still.

use std::time::Duration;

use super::{
    settings::{BKUP_HOLD, BKUP_HOLD_MAX, BKUP_HOLD_VOLUMES, BKUP_RELEASE},
    values::Values,
};
use crate::error::{Error, Result};

/// How what writes to volumes is held still, by commands of the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) hold: String,
    pub(crate) release: String,
    /// The names of the volumes; `None`: all.
    pub(crate) volumes: Option<Vec<String>>,
    /// How long it may stand still.
    pub(crate) limit: Duration,
}

impl Hold {
    /// # Errors
    /// If a value is wrong, or one of the commands is missing.
    pub(super) fn read(values: &Values) -> Result<Option<Self>> {
        let hint = "set both: what one holds still, the other lets go on";
        let commands = values.pair(&BKUP_HOLD, &BKUP_RELEASE, hint)?;
        let volumes = values.read(&BKUP_HOLD_VOLUMES)?;
        let limit = values.require(&BKUP_HOLD_MAX)?;
        if commands.is_none() && volumes.is_some() {
            let message = "BKUP_HOLD_VOLUMES is set, but BKUP_HOLD is not";
            return Err(Error::configuration(message).with_hint(
                "set BKUP_HOLD and BKUP_RELEASE to commands that hold these volumes still and let them go on",
            ));
        }
        Ok(commands.map(|(hold, release)| Self { hold, release, volumes, limit }))
    }
}
