//! The queue of runs: limits how many runs go on at a time. The rest wait in the order in which
//! they came, whatever started them.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::sync::lock;

/// Limits how many runs of this process go on at a time.
#[derive(Debug)]
pub(crate) struct RunQueue {
    permits: Arc<Semaphore>,
    /// Locked while a ticket is taken, so that ids and tickets have the same order.
    order: Mutex<()>,
}

/// Lets its holder run. Dropping the permit hands it to the next ticket.
#[derive(Debug)]
pub(super) struct Permit {
    _permit: OwnedSemaphorePermit,
}

/// A place in the queue. Dropping the ticket gives the place up.
pub(super) enum Ticket {
    /// The run may begin.
    Permit(Permit),
    /// Other runs are before this one.
    Waiting(Pin<Box<dyn Future<Output = Permit> + Send + Sync>>),
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permit(_) => "Permit",
            Self::Waiting(_) => "Waiting",
        })
    }
}

impl RunQueue {
    /// A queue that lets `most` runs go on at a time, and at least one.
    pub(crate) fn new(most: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(most.max(1))), order: Mutex::default() }
    }

    /// Takes a ticket, and calls `in_order` before any other ticket is taken.
    pub(super) fn ticket<T>(&self, in_order: impl FnOnce() -> T) -> (T, Ticket) {
        let _order = lock(&self.order);
        let value = in_order();
        let permits = self.permits.clone();
        let mut waiting: Pin<Box<dyn Future<Output = Permit> + Send + Sync>> =
            Box::pin(async move {
                match permits.acquire_owned().await {
                    Ok(permit) => Permit { _permit: permit },
                    // The semaphore is never closed.
                    Err(_) => std::future::pending().await,
                }
            });
        // The first poll enters the queue.
        match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => (value, Ticket::Permit(permit)),
            Poll::Pending => (value, Ticket::Waiting(waiting)),
        }
    }
}

impl Ticket {
    /// Waits until the run may begin.
    pub(super) async fn permit(self) -> Permit {
        match self {
            Self::Permit(permit) => permit,
            Self::Waiting(permit) => permit.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn permits_come_in_the_order_in_which_tickets_were_taken() {
        let queue = RunQueue::new(1);
        let (one, first) = queue.ticket(|| 1);
        let (two, second) = queue.ticket(|| 2);
        let (_, given_up) = queue.ticket(|| 3);
        let (_, last) = queue.ticket(|| 4);
        assert_eq!((one, two), (1, 2));
        assert!(matches!((&first, &second), (Ticket::Permit(_), Ticket::Waiting(_))));
        let (mut second, mut last) = (Box::pin(second.permit()), Box::pin(last.permit()));
        drop(given_up);
        drop(first);
        // The last ticket is polled first, and it is not the last one's turn.
        assert!(is_pending(&mut last), "the second is before it");
        let permit = second.as_mut().await;
        drop(permit);
        last.as_mut().await;
    }

    fn is_pending<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> bool {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}
