//! `time::`: points in time as whole seconds since 1970-01-01 UTC, and durations in seconds.

use std::time::Duration;

use jiff::Timestamp;
use rhai::INT;
use rhai::plugin::*;

use super::call::{Returned, call, call_surely};
use crate::{
    convoy::ApiTime,
    error::{Error, ErrorKind, Result},
};

/// A point in time that a script gives, as seconds or as a text.
pub(super) fn point(value: &Dynamic) -> Result<Timestamp> {
    if let Ok(seconds) = value.as_int() {
        return Timestamp::from_second(seconds).map_err(|_| {
            Error::new(ErrorKind::Script, format!("{seconds} is no time: it is out of range"))
        });
    }
    let text = value.to_string();
    ApiTime::parse(&text).timestamp().or_else(|| text.parse().ok()).ok_or_else(|| {
        Error::new(ErrorKind::Script, format!("\"{text}\" is no time")).with_hint(
            "write 2026-11-23T06:19:31Z, or take the daemon's: \"Mon Nov 23 06:19:31 +0000 2026\"",
        )
    })
}

#[export_module]
pub(crate) mod functions {
    /// The current time, in seconds since 1970-01-01 UTC.
    ///
    /// ```rhai
    /// let an_hour_ago = time::now() - 3600;
    /// ```
    #[rhai_fn(volatile)]
    pub(crate) fn now(ctx: NativeCallContext) -> INT {
        call_surely(&ctx, |run| run.host.clock.now().as_second())
    }

    /// A time in the daemon's spelling or in RFC 3339, in seconds since 1970-01-01 UTC. Fails with
    /// `script` where the text is not a time.
    ///
    /// ```rhai
    /// let made = time::parse(convoy::volume("vol1").CreatedTime);
    /// let newer = made > time::parse("2020-01-01T00:00:00Z");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn parse(ctx: NativeCallContext, text: &str) -> Returned<INT> {
        call(&ctx, |_| Ok(point(&text.into())?.as_second()))
    }

    /// A time in the local zone, in RFC 3339. Fails with `script` where this is not a time.
    ///
    /// ```rhai
    /// log::info(`it is ${time::format(time::now())}`);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn format(ctx: NativeCallContext, time: Dynamic) -> Returned<String> {
        format_as(ctx, time, "%Y-%m-%dT%H:%M:%S%:z")
    }

    /// A time in the local zone, in a form of strftime's. Fails with `script` where this is not a
    /// time, or the form is not one.
    ///
    /// ```rhai
    /// let day = time::format(time::now(), "%Y-%m-%d");
    /// ```
    #[rhai_fn(name = "format", volatile, return_raw)]
    pub(crate) fn format_as(ctx: NativeCallContext, time: Dynamic, form: &str) -> Returned<String> {
        call(&ctx, |run| {
            let local = point(&time)?.to_zoned(run.host.clock.time_zone());
            jiff::fmt::strtime::format(form, &local).map_err(|error| {
                Error::new(ErrorKind::Script, format!("\"{form}\" is no form of a time: {error}"))
            })
        })
    }

    /// How many seconds ago a time is. Fails with `script` where this is not a time.
    ///
    /// ```rhai
    /// if time::age(convoy::volume("vol1").CreatedTime) > 7 * 24 * 3600 { log::info("older than a week"); }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn age(ctx: NativeCallContext, time: Dynamic) -> Returned<INT> {
        call(&ctx, |run| Ok(run.host.clock.now().as_second() - point(&time)?.as_second()))
    }

    /// Waits for a number of seconds, or until the run is cancelled. Fails with `cancelled` or
    /// `deadline_exceeded` where the run ends during the wait; a script can't catch that.
    ///
    /// ```rhai
    /// time::sleep(0);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn sleep(ctx: NativeCallContext, seconds: INT) -> Returned<()> {
        call(&ctx, |run| run.sleep(duration(seconds)))
    }
}

/// A duration. A negative number counts as zero.
pub(super) fn duration(seconds: INT) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
