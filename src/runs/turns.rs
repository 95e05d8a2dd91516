//! Turns: so many runs that change something at a time, the rest in the order in which they came,
//! whoever started them.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::sync::lock;

/// How many runs of this process go on at a time.
#[derive(Debug)]
pub(crate) struct Turns {
    permits: Arc<Semaphore>,
    /// Held while a place in the line is taken, so that ids and places have the same order.
    order: Mutex<()>,
}

/// A run's turn; the next one has it when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// A place in the line; given up when it is dropped.
pub(super) enum Place {
    /// It is this run's turn.
    Turn(Turn),
    /// Others are before it.
    Waiting(Pin<Box<dyn Future<Output = Turn> + Send + Sync>>),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Turn(_) => "Turn",
            Self::Waiting(_) => "Waiting",
        })
    }
}

impl Turns {
    /// So many at a time, at least one.
    pub(crate) fn new(most: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(most.max(1))), order: Mutex::default() }
    }

    /// Takes a place in the line, and does what must happen in the line's order.
    pub(super) fn place<T>(&self, in_order: impl FnOnce() -> T) -> (T, Place) {
        let _order = lock(&self.order);
        let value = in_order();
        let permits = self.permits.clone();
        let mut waiting: Pin<Box<dyn Future<Output = Turn> + Send + Sync>> = Box::pin(async move {
            match permits.acquire_owned().await {
                Ok(permit) => Turn { _permit: permit },
                // Nobody closes it.
                Err(_) => std::future::pending().await,
            }
        });
        // The first poll takes the place.
        match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => (value, Place::Turn(turn)),
            Poll::Pending => (value, Place::Waiting(waiting)),
        }
    }
}

impl Place {
    /// Waits until it is this run's turn.
    pub(super) async fn turn(self) -> Turn {
        match self {
            Self::Turn(turn) => turn,
            Self::Waiting(turn) => turn.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_in_the_order_in_which_places_were_taken() {
        let turns = Turns::new(1);
        let (one, first) = turns.place(|| 1);
        let (two, second) = turns.place(|| 2);
        let (_, given_up) = turns.place(|| 3);
        let (_, last) = turns.place(|| 4);
        assert_eq!((one, two), (1, 2));
        assert!(matches!((&first, &second), (Place::Turn(_), Place::Waiting(_))));
        let (mut second, mut last) = (Box::pin(second.turn()), Box::pin(last.turn()));
        drop(given_up);
        drop(first);
        // The last is asked first, and it is not its turn.
        assert!(is_pending(&mut last), "the second is before it");
        let turn = second.as_mut().await;
        drop(turn);
        last.as_mut().await;
    }

    fn is_pending<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> bool {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}
