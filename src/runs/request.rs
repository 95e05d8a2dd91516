//! A request to run a script.

use std::time::Duration;

use super::record::Entry;
use crate::{
    run_words::Trigger,
    script::{Arguments, Script},
};

/// Which script to run, with which arguments and limits, and what asked for it.
pub(crate) struct RunRequest {
    pub(crate) script: Script,
    /// The arguments, checked against the script's parameters.
    pub(crate) arguments: Arguments,
    pub(crate) trigger: Trigger,
    /// The entry of the crontab that the run is due by.
    pub(crate) entry: Option<Entry>,
    /// The run reads for real and writes nothing.
    pub(crate) dry_run: bool,
    /// The longest time that the run may take.
    pub(crate) timeout: Duration,
}
