//! What a run of a script came to.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::run_words::RunStatus;

/// What a script's run came to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    /// What the script's `main` returned.
    pub(crate) result: Value,
    /// What went wrong on the way without ending the run.
    pub(crate) failures: Vec<Failure>,
}

/// One thing that went wrong in a run that went on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The volume it was about.
    pub(crate) volume: String,
    /// The [`ErrorKind`]'s code.
    pub(crate) code: String,
    /// What was wrong.
    pub(crate) message: String,
    /// What to do about it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl Outcome {
    /// Done without failures; failed where there are failures and the result is an array without
    /// one good element; else partial. What failed has an `Error`. In a plan (its elements have
    /// `Keep`), nothing of a volume that failed went well but what was deleted: to keep the rest
    /// was no work.
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
