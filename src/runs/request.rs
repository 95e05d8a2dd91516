//! What a run is asked to do.

use std::time::Duration;

use super::record::Entry;
use crate::{
    run_words::Trigger,
    script::{Arguments, Script},
};

/// What to run, and for whom.
pub(crate) struct RunRequest {
    pub(crate) script: Script,
    /// The arguments, checked against the script's parameters.
    pub(crate) arguments: Arguments,
    pub(crate) trigger: Trigger,
    /// The line of the crontab that the run is due by.
    pub(crate) entry: Option<Entry>,
    /// Read for real, write nothing.
    pub(crate) dry_run: bool,
    /// How long the run may take.
    pub(crate) timeout: Duration,
}
