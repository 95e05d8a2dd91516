//! `log::`: the run's log.

use rhai::plugin::*;

use super::call::call_surely;

fn say(ctx: &NativeCallContext<'_>, level: log::Level, message: &Dynamic) {
    call_surely(ctx, |run| run.log(level, &message.to_string()));
}

#[export_module]
pub(crate) mod functions {
    /// Logs what helps only to find a fault.
    ///
    /// ```rhai
    /// log::debug("the list had 3 volumes");
    /// ```
    #[rhai_fn(volatile)]
    pub(crate) fn debug(ctx: NativeCallContext, message: Dynamic) {
        say(&ctx, log::Level::Debug, &message);
    }

    /// Logs what was done.
    ///
    /// ```rhai
    /// log::info("vol1 is backed up");
    /// ```
    #[rhai_fn(volatile)]
    pub(crate) fn info(ctx: NativeCallContext, message: Dynamic) {
        say(&ctx, log::Level::Info, &message);
    }

    /// Logs what an administrator should look at some day.
    ///
    /// ```rhai
    /// log::warn("there are no volumes");
    /// ```
    #[rhai_fn(volatile)]
    pub(crate) fn warn(ctx: NativeCallContext, message: Dynamic) {
        say(&ctx, log::Level::Warn, &message);
    }

    /// Logs what went wrong. The run goes on; `run::failed` also makes it count.
    ///
    /// ```rhai
    /// log::error("vol1 has no backup");
    /// ```
    #[rhai_fn(volatile)]
    pub(crate) fn error(ctx: NativeCallContext, message: Dynamic) {
        say(&ctx, log::Level::Error, &message);
    }
}
