//! The outcome of a script's run.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{error::Error, run_words::RunStatus};

/// The outcome of a script's run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    /// What the script's `main` returned.
    pub(crate) result: Value,
    /// The errors that did not end the run.
    pub(crate) failures: Vec<Failure>,
}

/// An error that did not end the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The volume that the error is about.
    pub(crate) volume: String,
    /// The [`ErrorKind`](crate::error::ErrorKind)'s code.
    pub(crate) code: String,
    /// What was wrong, as in [`Error`](crate::error::Error).
    pub(crate) message: String,
    /// What to do about the error, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(volume: &str, error: Error) -> Self {
        let (code, message) = (error.kind.code().into(), error.to_string());
        Self { volume: volume.to_owned(), code, message, hint: error.hint }
    }
}

impl Outcome {
    /// The status that the run ends with.
    ///
    /// - Done: there are no failures.
    /// - Failed: there are failures, and the result is an array without a good element.
    /// - Partial: everything else.
    ///
    /// An element with `Error` is bad. In a plan, whose elements have `Keep`, an element of a
    /// volume that failed is good only if it was deleted. Keeping an item is no work, so a kept
    /// item does not count as a success.
    pub(crate) fn status(&self) -> RunStatus {
        let failed: BTreeSet<&str> =
            self.failures.iter().map(|failure| failure.volume.as_str()).collect();
        let is_bad = |element: &Value| {
            let volume = element.get("VolumeName").and_then(Value::as_str);
            let undone = element.get("Keep").is_some() && element.get("Deleted").is_none();
            element.get("Error").is_some()
                || undone && volume.is_some_and(|volume| failed.contains(volume))
        };
        match &self.result {
            _ if self.failures.is_empty() => RunStatus::Done,
            Value::Array(elements) if elements.iter().all(is_bad) => RunStatus::Failed,
            _ => RunStatus::Partial,
        }
    }
}
