//! Replacements for functions of Rhai that ignore cancellation or a limit.

use std::time::Duration;

use rhai::plugin::*;
use rhai::{FLOAT, INT, ImmutableString};

use super::{
    call::{Returned, call},
    time::duration,
};
use crate::error::{Error, ErrorKind};

#[export_module]
#[expect(
    clippy::unwrap_used,
    reason = "what the macro makes of a `&mut` parameter, whose type it has checked"
)]
pub(crate) mod functions {
    /// Waits for a number of seconds, or until the run is cancelled. It is the same as
    /// `time::sleep`, and replaces Rhai's own function, which can't be cancelled. Fails with
    /// `cancelled` or `deadline_exceeded` where the run ends during the wait; a script can't catch
    /// that.
    ///
    /// ```rhai
    /// sleep(0);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn sleep(ctx: NativeCallContext, seconds: INT) -> Returned<()> {
        call(&ctx, |run| run.sleep(duration(seconds)))
    }

    /// Waits for a number of seconds with fractions, or until the run is cancelled. Fails with
    /// `cancelled` or `deadline_exceeded` where the run ends during the wait; a script can't catch
    /// that.
    ///
    /// ```rhai
    /// sleep(0.01);
    /// ```
    #[rhai_fn(name = "sleep", volatile, return_raw)]
    pub(crate) fn sleep_parts(ctx: NativeCallContext, seconds: FLOAT) -> Returned<()> {
        let whole = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        call(&ctx, |run| run.sleep(whole))
    }

    /// Replaces a text within a text. It replaces Rhai's own function, which checks the size only
    /// afterwards. Fails with `limit` where the result would be too large.
    ///
    /// ```rhai
    /// let name = "vol1-old";
    /// name.replace("-old", "-new");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn replace(
        ctx: NativeCallContext,
        string: &mut ImmutableString,
        find_string: &str,
        substitute_string: &str,
    ) -> Returned<()> {
        let limit = ctx.engine().max_string_size();
        let replaced = call(&ctx, |_| {
            let places = string.matches(find_string).count();
            let size = string.len().saturating_add(places.saturating_mul(substitute_string.len()));
            if size > limit.saturating_add(places.saturating_mul(find_string.len())) {
                return Err(Error::new(
                    ErrorKind::Limit,
                    "a value grew too large: length of string",
                ));
            }
            Ok(string.replace(find_string, substitute_string))
        })?;
        *string = replaced.into();
        Ok(())
    }
}
