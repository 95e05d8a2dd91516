//! A check of `doctor`, and its result.

use serde::Serialize;

use crate::error::Error;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    Warning,
    Failed,
}

/// A check: its subject, its result, what was found, and what to do.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) what: &'static str,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    pub(super) hint: Option<String>,
}

pub(super) fn ok(what: &'static str, found: impl Into<String>) -> Check {
    Check { what, verdict: Verdict::Ok, found: found.into(), hint: None }
}

pub(super) fn warning(
    what: &'static str,
    found: impl Into<String>,
    hint: impl Into<String>,
) -> Check {
    Check { what, verdict: Verdict::Warning, found: found.into(), hint: Some(hint.into()) }
}

pub(super) fn failed(
    what: &'static str,
    found: impl Into<String>,
    hint: impl Into<String>,
) -> Check {
    Check { what, verdict: Verdict::Failed, found: found.into(), hint: Some(hint.into()) }
}

pub(super) fn failed_with(what: &'static str, error: &Error) -> Check {
    Check { what, verdict: Verdict::Failed, found: error.to_string(), hint: error.hint.clone() }
}
