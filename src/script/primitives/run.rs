//! `run::`: the run itself.

use rhai::plugin::*;

use super::call::call_surely;
use crate::{
    diagnostic,
    error::Error,
    script::{outcome::Failure, running::RunningScript, thrown::of_thrown},
};

#[export_module]
pub(crate) mod functions {
    /// The run's id, as the log and the list of runs show it.
    ///
    /// ```rhai
    /// log::info(`this is run ${run::id()}`);
    /// ```
    #[rhai_fn(volatile)]
    pub(crate) fn id(ctx: NativeCallContext) -> String {
        call_surely(&ctx, |run| run.host.run.id.clone())
    }

    /// What started the run: `cli`, `cron` or `http`.
    ///
    /// ```rhai
    /// if run::trigger() == "cron" { log::info("the crontab started this run"); }
    /// ```
    #[rhai_fn(volatile)]
    pub(crate) fn trigger(ctx: NativeCallContext) -> String {
        call_surely(&ctx, |run| run.host.run.trigger.as_str().to_owned())
    }

    /// Whether this is a dry run, which writes nothing. Primitives that change something at the
    /// daemon only show what they would do.
    ///
    /// ```rhai
    /// if !run::dry_run() { notify::info("backup", "done"); }
    /// ```
    #[rhai_fn(volatile)]
    pub(crate) fn dry_run(ctx: NativeCallContext) -> bool {
        call_surely(&ctx, |run| run.host.run.dry_run)
    }

    /// Shows what the script is about to do.
    ///
    /// ```rhai
    /// run::progress("volume 3 of 12: vol1");
    /// ```
    #[rhai_fn(volatile)]
    pub(crate) fn progress(ctx: NativeCallContext, text: &str) {
        call_surely(&ctx, |run| run.host.listener.progress(text));
    }

    /// Records that something went wrong with a volume; the run goes on. The run ends `partial`, or
    /// `failed` where nothing went well. The error is a caught error or a text.
    ///
    /// ```rhai
    /// try {
    ///     convoy::create_snapshot("vol9");
    /// } catch (error) {
    ///     run::failed("vol9", error);
    /// }
    /// ```
    #[rhai_fn(volatile)]
    pub(crate) fn failed(ctx: NativeCallContext, volume: &str, error: Dynamic) {
        call_surely(&ctx, |run| record_failure(run, volume, of_thrown(&error)));
    }
}

/// Records an error of a volume in a run that goes on.
pub(super) fn record_failure(run: &RunningScript, volume: &str, error: Error) {
    run.log(log::Level::Error, &format!("\"{volume}\": {}", diagnostic::in_one_line(&error)));
    run.fail(Failure::new(volume, error));
}
