//! `notify::`: messages to people.

use rhai::plugin::*;

use super::{Returned, call};

#[export_module]
pub(crate) mod functions {
    /// Tells people that something is wrong and somebody should look.
    ///
    /// ```rhai
    /// notify::problem("vol1 is not backed up", "its newest backup is 9 days old");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub fn problem(ctx: NativeCallContext, subject: &str, text: &str) -> Returned<()> {
        call(&ctx, |run| run.wait(run.host.notifier.problem(subject, text)))
    }

    /// Tells people something worth knowing.
    ///
    /// ```rhai
    /// notify::info("weekly report", "12 volumes are backed up");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub fn info(ctx: NativeCallContext, subject: &str, text: &str) -> Returned<()> {
        call(&ctx, |run| run.wait(run.host.notifier.info(subject, text)))
    }
}
