//! What [`super::Daemon::inspect_backups`] found, as our server writes it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Backup;
use crate::error::{Error, ErrorKind, Result};

/// After this time, [`super::Daemon::inspect_backups`] answers with what it has. A caller takes a
/// daemon that is silent for longer than a minute for one that hangs.
pub(crate) const INSPECTION_TIME: Duration = Duration::from_secs(20);

/// What was found of one backup.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Inspected {
    Backup(Backup),
    Error(InspectionError),
}

/// Why a backup can't be inspected.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InspectionError {
    message: String,
    /// As [`ErrorKind::code`] spells it.
    kind: String,
    hint: Option<String>,
    status: Option<u16>,
}

impl From<Result<Backup>> for Inspected {
    fn from(inspected: Result<Backup>) -> Self {
        match inspected {
            Ok(backup) => Self::Backup(backup),
            Err(error) => Self::Error(InspectionError {
                message: error.message,
                kind: error.kind.code().to_owned(),
                hint: error.hint,
                status: error.status,
            }),
        }
    }
}

impl From<Inspected> for Result<Backup> {
    fn from(inspected: Inspected) -> Self {
        match inspected {
            Inspected::Backup(backup) => Ok(backup),
            Inspected::Error(InspectionError { message, kind, hint, status }) => {
                let kind = ErrorKind::of_code(&kind).unwrap_or(ErrorKind::Daemon);
                Err(Error { hint, status, ..Error::new(kind, message) })
            }
        }
    }
}
