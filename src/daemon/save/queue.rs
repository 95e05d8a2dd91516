//! The work that is waiting, for several workers.
//!
//! Nothing here waits for room: a worker that finds no room for a chunk does the work itself. So
//! workers can't wait for each other in a circle.

use std::{
    collections::VecDeque,
    num::NonZero,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::sync::lock;

/// More workers need memory and gain little: the disk is the limit.
const MOST_WORKERS: usize = 8;

/// How many workers there are.
pub(super) fn workers() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(MOST_WORKERS)
}

/// What a worker does next.
pub(super) enum Next<C, T> {
    /// A chunk of a large file, which another worker reads.
    Chunk(C),
    Task(T),
    /// What the worker waited for is done.
    Done,
    /// Everything is done, or the run has failed.
    Closed,
}

/// The work that is waiting: `C` is a chunk, `T` any other task.
pub(super) struct Queue<C, T> {
    state: Mutex<State<C, T>>,
    changed: Condvar,
    workers: usize,
    most_chunks: usize,
}

struct State<C, T> {
    chunks: VecDeque<C>,
    /// The last one is done first, so that one folder is finished before the next is begun.
    tasks: Vec<T>,
    /// How many workers wait, and have not been told that something changed.
    waiting: usize,
    changes: u64,
    closed: bool,
}

impl<C, T> State<C, T> {
    fn change(&mut self) {
        self.changes += 1;
        self.waiting = 0;
    }
}

impl<C, T> Queue<C, T> {
    /// A queue for so many workers, and so many chunks that wait.
    pub(super) fn new(workers: usize, most_chunks: usize) -> Self {
        let (chunks, tasks) = (VecDeque::new(), Vec::new());
        let state = State { chunks, tasks, waiting: 0, changes: 0, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), workers, most_chunks }
    }

    /// Hands out a chunk, or gives it back if too many wait.
    pub(super) fn offer(&self, chunk: C) -> Result<(), C> {
        let mut state = lock(&self.state);
        if state.chunks.len() >= self.most_chunks || state.closed {
            return Err(chunk);
        }
        state.chunks.push_back(chunk);
        state.change();
        self.changed.notify_all();
        Ok(())
    }

    /// Adds tasks. The first of them is done first, and before those that are there.
    pub(super) fn push(&self, tasks: impl DoubleEndedIterator<Item = T>) {
        let mut state = lock(&self.state);
        state.tasks.extend(tasks.rev());
        state.change();
        self.changed.notify_all();
    }

    /// The next piece of work; waits until there is some.
    pub(super) fn next(&self) -> Next<C, T> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return Next::Closed;
            }
            if let Some(chunk) = state.chunks.pop_front() {
                return Next::Chunk(chunk);
            }
            if let Some(task) = state.tasks.pop() {
                return Next::Task(task);
            }
            state = self.wait(state);
        }
    }

    /// A chunk to do while waiting until `done`.
    pub(super) fn help(&self, done: impl Fn() -> bool) -> Next<C, T> {
        let mut state = lock(&self.state);
        loop {
            if done() {
                return Next::Done;
            }
            if state.closed {
                return Next::Closed;
            }
            if let Some(chunk) = state.chunks.pop_front() {
                return Next::Chunk(chunk);
            }
            state = self.wait(state);
        }
    }

    /// Waits until something changes.
    fn wait<'a>(&self, mut state: MutexGuard<'a, State<C, T>>) -> MutexGuard<'a, State<C, T>> {
        state.waiting += 1;
        // If all of them wait, nothing will ever come: better an error than a run without an end.
        if state.waiting == self.workers {
            state.closed = true;
            self.changed.notify_all();
            return state;
        }
        let seen = state.changes;
        let waits = |state: &mut State<C, T>| state.changes == seen && !state.closed;
        self.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets workers look again whether what they wait for is done.
    pub(super) fn wake(&self) {
        lock(&self.state).change();
        self.changed.notify_all();
    }

    /// Ends the work. What waits is dropped.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.change();
        state.chunks.clear();
        let tasks = std::mem::take(&mut state.tasks);
        drop(state);
        self.changed.notify_all();
        drop(tasks);
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_that_finds_no_room_is_given_back_and_chunks_come_first() {
        let queue: Queue<u32, u32> = Queue::new(2, 1);
        queue.push([1, 2].into_iter());
        queue.push([3].into_iter());
        assert_eq!((queue.offer(10), queue.offer(11)), (Ok(()), Err(11)));
        assert!(matches!(queue.next(), Next::Chunk(10)));
        for task in [3, 1, 2] {
            assert!(matches!(queue.next(), Next::Task(found) if found == task));
        }
        queue.close();
        assert!(matches!(queue.next(), Next::Closed));
        assert_eq!(queue.offer(12), Err(12));
    }

    #[test]
    fn a_worker_that_was_woken_does_not_count_as_waiting() {
        for _ in 0..200 {
            let queue: Queue<u32, u32> = Queue::new(2, 1);
            let done = std::sync::atomic::AtomicBool::new(false);
            let set = || done.store(true, std::sync::atomic::Ordering::Release);
            let is_set = || done.load(std::sync::atomic::Ordering::Acquire);
            std::thread::scope(|scope| {
                let waiter = scope.spawn(|| match queue.help(is_set) {
                    Next::Done => queue.close(),
                    _ => panic!("it was not done"),
                });
                set();
                queue.wake();
                assert!(matches!(queue.next(), Next::Closed));
                waiter.join().unwrap();
            });
        }
    }

    #[test]
    fn workers_that_all_wait_for_nothing_end() {
        let queue: Queue<u32, u32> = Queue::new(2, 1);
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(matches!(queue.next(), Next::Closed)));
            assert!(matches!(queue.help(|| false), Next::Closed));
        });
    }
}
