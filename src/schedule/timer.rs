//! Waiting for a moment: the system's clock, or one that a test steps.

use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::clock::{Clock, SystemClock};

/// A clock that can be waited for.
#[async_trait]
pub(crate) trait Timer: Clock {
    /// Comes back at that moment by the clock on the wall; earlier, too, where that clock was put
    /// back meanwhile.
    async fn sleep_until(&self, time: Timestamp);
}

/// The longest sleep without a check of the wall clock: the wall clock may be set, and the machine
/// may sleep, and the monotonic clock that sleeping goes by notices neither.
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
