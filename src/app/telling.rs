//! A run that ended, as people are told of it.

use crate::{
    notify::RunReport,
    runs::{Finished, Status, Trigger},
};

/// The report of a run. `arguments` are the words of a command line that gives the same; `log_tail` the last lines of its log.
pub fn report(finished: &Finished, trigger: Trigger, arguments: &[String], log_tail: Vec<String>) -> RunReport {
    let status = serde_json::to_value(finished.status).ok();
    RunReport {
        run: finished.id.clone(),
        script: finished.script.clone(),
        arguments: arguments.to_vec(),
        trigger: trigger.as_str().to_owned(),
        status: status.as_ref().and_then(|status| status.as_str()).unwrap_or("failed").to_owned(),
        is_bad: !matches!(finished.status, Status::Done | Status::Cancelled),
        dry_run: finished.plan.is_some(),
        started: finished.started,
        took: finished.took,
        error: finished.result.as_ref().err().cloned(),
        failures: finished.failures.clone(),
        log_tail,
    }
}
