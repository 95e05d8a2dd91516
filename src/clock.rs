//! Time as the program sees it: the system's clock, or one that a test sets.

use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};

mod uptime;

#[cfg(test)]
mod fixed;
#[cfg(test)]
pub(crate) use fixed::FixedClock;
pub(crate) use uptime::{Uptime, boot};

/// The source of the current time and of the local time zone.
pub(crate) trait Clock: Send + Sync + std::fmt::Debug {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// The time zone in which days, weeks and months are counted.
    fn time_zone(&self) -> TimeZone;

    /// How long the system has run, by which setting the clock changes nothing. `None` if that is
    /// not known.
    fn uptime(&self) -> Option<Uptime> {
        None
    }

    /// The current time in the local zone.
    fn now_local(&self) -> Zoned {
        self.now().to_zoned(self.time_zone())
    }
}

/// The system's clock and the system's zone (`TZ`, else `/etc/localtime`, else UTC).
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn time_zone(&self) -> TimeZone {
        TimeZone::system()
    }

    fn uptime(&self) -> Option<Uptime> {
        Uptime::now()
    }
}

/// The system's clock in another zone.
#[derive(Debug, Clone)]
pub(crate) struct ZonedClock(pub(crate) TimeZone);

impl Clock for ZonedClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn time_zone(&self) -> TimeZone {
        self.0.clone()
    }

    fn uptime(&self) -> Option<Uptime> {
        Uptime::now()
    }
}

/// How far ahead of the clock a time may be and still count: two hosts' clocks differ a little.
pub(crate) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_hours(1);

/// Whether this time is still to come: a clock was wrong when it was written, or is wrong now. A
/// time in the future proves nothing, neither that something is new nor that something else is old.
pub(crate) fn is_in_future(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) > CLOCK_TOLERANCE
}

/// The value of `TZ` if it names no known time zone. The program then uses UTC.
pub(crate) fn unknown_zone() -> Option<String> {
    let name = std::env::var("TZ").ok().filter(|name| !name.is_empty())?;
    let name = name.strip_prefix(':').unwrap_or(&name);
    let is_file = std::path::Path::new(name).is_absolute();
    let is_known = is_file || TimeZone::get(name).is_ok() || TimeZone::posix(name).is_ok();
    (!is_known).then(|| name.to_owned())
}

/// This program did not exist before this time. A clock that shows an earlier one was never set.
const MADE_AFTER: &str = "2026-01-01T00:00:00Z";

/// The warning for a clock that can't be right, and its hint; `None` if the clock may be right.
///
/// A wrong clock loses no data: retention never goes by the clock alone, and snapshot names only go
/// up. But nothing is due at the right time, and TLS fails.
pub(crate) fn unset(now: Timestamp) -> Option<(String, &'static str)> {
    let made: Timestamp = MADE_AFTER.parse().ok()?;
    (now < made).then(|| {
        (
            format!("the machine's clock says {}, which can't be", now.strftime("%Y-%m-%d %H:%M UTC")),
            "set it with \"timedatectl set-ntp true\", for a container on its host: the crontab goes by it, and TLS takes no certificate before its time",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_future_if_no_difference_of_clocks_explains_it() {
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        for (time, future) in [
            ("2026-11-22T00:00:00Z", false),
            ("2026-11-23T01:00:00Z", false),
            ("2026-11-23T01:00:01Z", true),
            ("2036-01-01T00:00:00Z", true),
        ] {
            assert_eq!(is_in_future(time.parse().unwrap(), now), future, "{time}");
        }
    }

    #[test]
    fn a_clock_that_was_never_set_is_told_from_one_that_may_be_right() {
        let (what, hint) = unset(Timestamp::from_second(300).unwrap()).unwrap();
        assert_eq!(what, "the machine's clock says 1970-01-01 00:05 UTC, which can't be");
        // The hint is shown in parentheses after the warning.
        assert!(!hint.contains('('), "{hint}");
        assert!(unset("2026-11-23T00:00:00Z".parse().unwrap()).is_none());
    }
}
