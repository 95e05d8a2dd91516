//! Ids of runs: they sort by time and never repeat on a host.

use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;

static SERIAL: AtomicU32 = AtomicU32::new(0);

/// `20261123T074200.123456-1a2b-0`: the time in UTC, the process, and a serial number within it.
pub(super) fn next(now: Timestamp) -> String {
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    format!("{}-{:x}-{serial:x}", now.strftime("%Y%m%dT%H%M%S.%6f"), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_do_not_repeat() {
        let early: Timestamp = "2026-11-23T07:42:00.1Z".parse().unwrap();
        let late: Timestamp = "2026-11-23T07:42:00.2Z".parse().unwrap();
        let (first, again, last) = (next(early), next(early), next(late));
        assert!(first < last && again < last && first != again, "{first} {again} {last}");
    }
}
