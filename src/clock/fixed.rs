//! A clock for tests.

use std::sync::Mutex;

use jiff::{Timestamp, tz::TimeZone};

use super::Clock;
use crate::sync::lock;

/// A clock that shows the time it was set to until it is set again.
#[derive(Debug)]
pub(crate) struct FixedClock {
    now: Mutex<Timestamp>,
    time_zone: TimeZone,
}

impl FixedClock {
    pub(crate) fn new(now: Timestamp, time_zone: TimeZone) -> Self {
        Self { now: Mutex::new(now), time_zone }
    }

    /// Sets the clock, forward or back.
    pub(crate) fn set(&self, now: Timestamp) {
        *lock(&self.now) = now;
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        *lock(&self.now)
    }

    fn time_zone(&self) -> TimeZone {
        self.time_zone.clone()
    }
}
