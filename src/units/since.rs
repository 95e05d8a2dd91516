//! Reads the times in the past that people write.

use jiff::{Timestamp, Zoned, civil};

use super::parse_duration;
use crate::error::{Error, Result};

/// Reads a length of time before now (`7d`), a date or time in the zone of `now` (`2026-11-23`,
/// `2026-11-23T07:00`), or a time with an offset (`2026-11-23T07:00:00Z`).
///
/// # Errors
/// A usage error for any other text.
pub(crate) fn parse(text: &str, now: &Zoned) -> Result<Timestamp> {
    if let Ok(length) = parse_duration(text) {
        let length = jiff::SignedDuration::try_from(length).unwrap_or(jiff::SignedDuration::MAX);
        return Ok(now.timestamp().checked_sub(length).unwrap_or(Timestamp::MIN));
    }
    let local = || text.parse::<civil::DateTime>().ok()?.to_zoned(now.time_zone().clone()).ok();
    text.parse().ok().or_else(|| local().map(|zoned| zoned.timestamp())).ok_or_else(|| {
        Error::usage(format!("\"{text}\" is no time"))
            .with_hint("write how long ago, such as 7d or 36h, a day, such as 2026-11-23, or a time, such as 2026-11-23T07:00")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_how_long_ago_or_a_day_in_the_local_zone() {
        let now: Zoned = "2026-11-23T12:00:00+01:00[Europe/Berlin]".parse().unwrap();
        for (text, time) in [
            ("7d", "2026-11-16T11:00:00Z"),
            ("2026-11-20", "2026-11-19T23:00:00Z"),
            ("2026-11-20T07:30", "2026-11-20T06:30:00Z"),
            ("2026-11-20T07:30:00Z", "2026-11-20T07:30:00Z"),
        ] {
            assert_eq!(parse(text, &now).unwrap(), time.parse().unwrap(), "{text}");
        }
        for text in ["", "yesterday", "7", "2026-13-01"] {
            assert_eq!(parse(text, &now).unwrap_err().exit_code(), 2, "{text}");
        }
    }
}
