//! `notify::`: messages to people.

use rhai::plugin::*;

use super::{Returned, call};
use crate::{error::Result, script::host::Run};

#[export_module]
pub(crate) mod functions {
    /// Tells people that something is wrong and somebody should look. A dry run only logs it.
    ///
    /// ```rhai
    /// notify::problem("vol1 is not backed up", "its newest backup is 9 days old");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub fn problem(ctx: NativeCallContext, subject: &str, text: &str) -> Returned<()> {
        call(&ctx, |run| match run.host.run.dry_run {
            true => would_tell(run, subject, text),
            false => run.wait(run.host.notifier.problem(subject, text)),
        })
    }

    /// Tells people something worth knowing. A dry run only logs it.
    ///
    /// ```rhai
    /// notify::info("weekly report", "12 volumes are backed up");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub fn info(ctx: NativeCallContext, subject: &str, text: &str) -> Returned<()> {
        call(&ctx, |run| match run.host.run.dry_run {
            true => would_tell(run, subject, text),
            false => run.wait(run.host.notifier.info(subject, text)),
        })
    }
}

fn would_tell(run: &Run, subject: &str, text: &str) -> Result<()> {
    run.log(log::Level::Info, &format!("would tell people: {subject}: {text}"));
    Ok(())
}
