//! Answers of our server that are about many backups: each is one, or an error.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// After this time, [`super::Daemon::inspect_backups`] answers with what it has. A caller takes a
/// daemon that is silent for longer than a minute for one that hangs.
pub(crate) const INSPECTION_TIME: Duration = Duration::from_secs(20);

/// What became of one backup of many: what [`super::Daemon::inspect_backups`] found, or the URL that
/// [`super::Daemon::back_up`] made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answered<T> {
    Backup(T),
    Error(AnsweredError),
}

/// Why that failed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AnsweredError {
    message: String,
    /// As [`ErrorKind::code`] spells it.
    kind: String,
    hint: Option<String>,
    status: Option<u16>,
}

impl<T> From<Result<T>> for Answered<T> {
    fn from(answer: Result<T>) -> Self {
        match answer {
            Ok(backup) => Self::Backup(backup),
            Err(error) => Self::Error(AnsweredError {
                message: error.message,
                kind: error.kind.code().to_owned(),
                hint: error.hint,
                status: error.status,
            }),
        }
    }
}

impl<T> From<Answered<T>> for Result<T> {
    fn from(answer: Answered<T>) -> Self {
        match answer {
            Answered::Backup(backup) => Ok(backup),
            Answered::Error(AnsweredError { message, kind, hint, status }) => {
                let kind = ErrorKind::of_code(&kind).unwrap_or(ErrorKind::Daemon);
                Err(Error { hint, status, ..Error::new(kind, message) })
            }
        }
    }
}
