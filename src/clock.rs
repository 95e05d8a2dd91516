//! Time as the program sees it: the system's clock, or one that a test sets.

use std::sync::Mutex;

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// Where the current time and the local time zone come from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// The time zone in which days, weeks and months are counted.
    fn time_zone(&self) -> TimeZone;

    /// The current time in the local zone.
    fn now_local(&self) -> Zoned {
        self.now().to_zoned(self.time_zone())
    }
}

/// The system's clock and the system's zone (`TZ`, else `/etc/localtime`, else UTC).
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn time_zone(&self) -> TimeZone {
        TimeZone::system()
    }
}

/// The system's clock in another zone.
#[derive(Debug, Clone)]
pub struct ZonedClock(pub TimeZone);

impl Clock for ZonedClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn time_zone(&self) -> TimeZone {
        self.0.clone()
    }
}

/// The value of `TZ` where it names no zone that is known: times are in UTC then.
pub fn unknown_zone() -> Option<String> {
    let name = std::env::var("TZ").ok().filter(|name| !name.is_empty())?;
    let name = name.strip_prefix(':').unwrap_or(&name);
    let is_file = std::path::Path::new(name).is_absolute();
    let is_known = is_file || TimeZone::get(name).is_ok() || TimeZone::posix(name).is_ok();
    (!is_known).then(|| name.to_owned())
}

/// A clock that stands where it was set.
#[derive(Debug)]
pub struct FixedClock {
    now: Mutex<Timestamp>,
    time_zone: TimeZone,
}

impl FixedClock {
    /// A clock that stands at `now` in `time_zone`.
    pub fn new(now: Timestamp, time_zone: TimeZone) -> Self {
        Self { now: Mutex::new(now), time_zone }
    }

    /// Moves the clock, forward or back.
    pub fn set(&self, now: Timestamp) {
        *self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = now;
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn time_zone(&self) -> TimeZone {
        self.time_zone.clone()
    }
}
