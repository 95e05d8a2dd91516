//! Locks between this process's threads. A lock is taken also after a thread panicked while it held
//! it: every change under a lock in this program leaves the content whole.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

/// Locks `mutex`.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks `content` for reading, beside other readers.
pub(crate) fn read<T>(content: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    content.read().unwrap_or_else(PoisonError::into_inner)
}
