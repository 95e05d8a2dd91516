//! A clock that a test moves.

use std::sync::Mutex;

use async_trait::async_trait;
use jiff::{Timestamp, tz::TimeZone};
use tokio::sync::watch::Sender;

use super::Timer;
use crate::clock::Clock;

/// A clock that a test moves. A task that waits for a moment goes on when the clock gets there.
#[derive(Debug)]
pub(crate) struct SteppedTimer {
    now: Sender<Timestamp>,
    zone: TimeZone,
    waiting: Mutex<Vec<Timestamp>>,
}

impl SteppedTimer {
    pub(crate) fn new(now: Timestamp, zone: TimeZone) -> Self {
        Self { now: Sender::new(now), zone, waiting: Mutex::default() }
    }

    /// Lets all other tasks run until they wait again.
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

    /// Moves the clock through each moment that a task waits for, up to this time.
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

impl Clock for SteppedTimer {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn time_zone(&self) -> TimeZone {
        self.zone.clone()
    }
}

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
