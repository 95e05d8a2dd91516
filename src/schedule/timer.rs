//! Waits for a moment, by the system's clock or by a clock that a test steps.

use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::clock::{Clock, SystemClock};

/// A clock that can wait for a moment.
#[async_trait]
pub(crate) trait Timer: Clock {
    /// Returns at this moment by the wall clock. May return earlier if the wall clock is put back
    /// during the wait.
    async fn sleep_until(&self, time: Timestamp);
}

/// The longest sleep without a check of the wall clock. Sleeping goes by the monotonic clock, which
/// notices neither that the wall clock was set nor that the machine slept.
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(5);

#[async_trait]
impl Timer for SystemClock {
    async fn sleep_until(&self, time: Timestamp) {
        let mut last = self.now();
        while last < time {
            let left = Duration::try_from(time.duration_since(last)).unwrap_or_default();
            tokio::time::sleep(left.min(CLOCK_CHECK_INTERVAL)).await;
            let now = self.now();
            if now < last - SignedDuration::from_secs(60) {
                return;
            }
            last = now;
        }
    }
}

#[cfg(test)]
mod stepped;
#[cfg(test)]
pub(crate) use stepped::SteppedTimer;
