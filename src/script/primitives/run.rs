//! `run::`: the run itself.

use rhai::plugin::*;

use super::call::{Returned, call};
use crate::{
    diagnostic,
    script::{outcome::Failure, thrown::of_thrown},
};

#[export_module]
pub(crate) mod functions {
    /// The run's id, as the log and the list of runs show it.
    ///
    /// ```rhai
    /// log::info(`this is run ${run::id()}`);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn id(ctx: NativeCallContext) -> Returned<String> {
        call(&ctx, |run| Ok(run.host.run.id.clone()))
    }

    /// Who started the run: `cli`, `cron` or `http`.
    ///
    /// ```rhai
    /// if run::trigger() == "cron" { log::info("nobody is watching"); }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn trigger(ctx: NativeCallContext) -> Returned<String> {
        call(&ctx, |run| Ok(run.host.run.trigger.as_str().to_owned()))
    }

    /// Whether nothing is to be written. The daemon's part is taken care of: what would be written
    /// is only shown.
    ///
    /// ```rhai
    /// if !run::dry_run() { notify::info("backup", "done"); }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn dry_run(ctx: NativeCallContext) -> Returned<bool> {
        call(&ctx, |run| Ok(run.host.run.dry_run))
    }

    /// Shows what the script is about to do.
    ///
    /// ```rhai
    /// run::progress("volume 3 of 12: vol1");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn progress(ctx: NativeCallContext, text: &str) -> Returned<()> {
        call(&ctx, |run| {
            run.host.listener.progress(text);
            Ok(())
        })
    }

    /// Records that something went wrong with a volume, and goes on. The run ends `partial`, or
    /// `failed` where nothing went well. The error is what was caught, or a text.
    ///
    /// ```rhai
    /// try {
    ///     convoy::create_snapshot("vol9");
    /// } catch (error) {
    ///     run::failed("vol9", error);
    /// }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn failed(ctx: NativeCallContext, volume: &str, error: Dynamic) -> Returned<()> {
        call(&ctx, |run| {
            let error = of_thrown(&error);
            run.log(
                log::Level::Error,
                &format!("\"{volume}\": {}", diagnostic::in_one_line(&error)),
            );
            let (code, message) = (error.kind.code().into(), error.to_string());
            run.fail(Failure { volume: volume.to_owned(), code, message, hint: error.hint });
            Ok(())
        })
    }
}
