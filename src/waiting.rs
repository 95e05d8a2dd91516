//! Waiting for a lock that another thread of this process may hold for long.

use std::{
    sync::{Mutex, MutexGuard, TryLockError},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    error::{Error, ErrorKind, Result},
    scope,
    units::format_duration,
};

/// The pause between two attempts.
const LOOK: Duration = Duration::from_millis(20);

/// Locks `mutex`, which stands for `what` ("volume \"wiki\"").
///
/// # Errors
/// [`ErrorKind::Busy`] if another holds it for longer than `wait`; [`ErrorKind::Cancelled`] if the run
/// is to end.
pub(crate) fn lock<'a, T>(
    mutex: &'a Mutex<T>,
    what: &str,
    wait: Duration,
) -> Result<MutexGuard<'a, T>> {
    let start = Instant::now();
    let mut is_told = false;
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {}
        }
        if start.elapsed() >= wait {
            let message =
                format!("{what} is in use by another run (waited {})", format_duration(wait));
            return Err(Error::new(ErrorKind::Busy, message)
                .with_hint("try again when it has ended, or wait longer with BKUP_LOCK_WAIT"));
        }
        if !is_told {
            log::info!("waiting for {what}, which is in use by another run");
            is_told = true;
        }
        scope::goes_on("it waited for another run")?;
        sleep(LOOK.min(wait));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync;

    #[test]
    fn a_lock_that_another_holds_is_waited_for_as_long_as_the_run_goes_on() {
        let mutex = Mutex::new(());
        let held = sync::lock(&mutex);
        let busy = lock(&mutex, "volume \"wiki\"", Duration::ZERO).unwrap_err();
        assert_eq!(busy.kind, ErrorKind::Busy);
        assert_eq!(busy.message, "volume \"wiki\" is in use by another run (waited 0s)");
        let run = scope::Scope::of("run-1");
        run.ended.cancel();
        let wait = Duration::from_mins(60);
        let ended = scope::within(Some(run), || lock(&mutex, "it", wait).map(drop).unwrap_err());
        assert_eq!(ended.kind, ErrorKind::Cancelled);
        drop(held);
        assert!(lock(&mutex, "it", Duration::ZERO).is_ok());
    }
}
