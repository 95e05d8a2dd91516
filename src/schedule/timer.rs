//! Waiting for a moment: the system's clock, or one that a test steps.

use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::clock::{Clock, SystemClock};

/// A clock that can be waited for.
#[async_trait]
pub trait Timer: Clock {
    /// Comes back at that moment by the clock on the wall; earlier, too, where that clock was put back meanwhile.
    async fn sleep_until(&self, time: Timestamp);
}

/// The longest stretch that is slept without a look at the clock on the wall: it may be set, and the machine may sleep, of which
/// the clock that sleeping goes by knows nothing.
const STRETCH: Duration = Duration::from_secs(5);

#[async_trait]
impl Timer for SystemClock {
    async fn sleep_until(&self, time: Timestamp) {
        let mut last = self.now();
        while last < time {
            let left = Duration::try_from(time.duration_since(last)).unwrap_or_default();
            tokio::time::sleep(left.min(STRETCH)).await;
            let now = self.now();
            if now < last - SignedDuration::from_secs(60) {
                return;
            }
            last = now;
        }
    }
}

/// The system's clock.
pub type SystemTimer = SystemClock;

/// A clock that a test moves; who waits for it goes on when it gets there.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct SteppedTimer {
    now: tokio::sync::watch::Sender<Timestamp>,
    zone: jiff::tz::TimeZone,
    waiting: std::sync::Mutex<Vec<Timestamp>>,
}

#[cfg(test)]
impl SteppedTimer {
    pub(crate) fn new(now: Timestamp, zone: jiff::tz::TimeZone) -> Self {
        Self { now: tokio::sync::watch::Sender::new(now), zone, waiting: std::sync::Mutex::default() }
    }

    /// Lets everyone do what there is to do.
    pub(crate) async fn settle(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    /// Moves the clock at once, as when the machine slept or the clock was set.
    pub(crate) async fn jump(&self, time: Timestamp) {
        self.settle().await;
        self.now.send_replace(time);
        self.settle().await;
    }

    /// Moves the clock from moment to moment that someone waits for.
    pub(crate) async fn go_on_until(&self, time: Timestamp) {
        self.settle().await;
        loop {
            let next = self.waiting.lock().unwrap().iter().copied().filter(|at| *at <= time).min();
            match next {
                Some(next) if next > self.now() => self.jump(next).await,
                _ => return self.jump(time).await,
            }
        }
    }
}

#[cfg(test)]
impl Clock for SteppedTimer {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn time_zone(&self) -> jiff::tz::TimeZone {
        self.zone.clone()
    }
}

#[cfg(test)]
#[async_trait]
impl Timer for SteppedTimer {
    async fn sleep_until(&self, time: Timestamp) {
        struct Waits<'a>(&'a SteppedTimer, Timestamp);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                let mut waiting = self.0.waiting.lock().unwrap();
                if let Some(at) = waiting.iter().position(|time| *time == self.1) {
                    waiting.swap_remove(at);
                }
            }
        }
        self.waiting.lock().unwrap().push(time);
        let _waits = Waits(self, time);
        let mut now = self.now.subscribe();
        let start = *now.borrow_and_update();
        let _ = now.wait_for(|now| *now >= time || *now < start).await;
    }
}
