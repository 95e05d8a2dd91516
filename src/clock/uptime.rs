//! How long the system has run: a clock that nobody sets.

use std::{fs, sync::OnceLock, time::Duration};

use serde::{Deserialize, Serialize};

/// A moment of the running system, which tells how much time has passed even if the clock was set
/// in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Uptime {
    /// The id of the system's boot.
    boot: String,
    seconds: u64,
}

impl Uptime {
    /// This moment; `None` if the system does not tell.
    pub(super) fn now() -> Option<Self> {
        let read = |path: &str| fs::read_to_string(path).ok();
        let boot = read("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let uptime = read("/proc/uptime")?;
        let (seconds, _) = uptime.split_once('.')?;
        Some(Self { boot, seconds: seconds.parse().ok()? })
    }

    /// The time from `earlier` until this moment; `None` if the system was started anew in between.
    pub(crate) fn since(&self, earlier: &Self) -> Option<Duration> {
        let seconds = self.seconds.checked_sub(earlier.seconds)?;
        (self.boot == earlier.boot).then(|| Duration::from_secs(seconds))
    }
}

/// Linux's id of this boot of the machine; empty where the system does not tell it.
pub(crate) fn boot() -> String {
    static BOOT: OnceLock<String> = OnceLock::new();
    let read = || {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    };
    BOOT.get_or_init(read).clone()
}

#[cfg(test)]
impl Uptime {
    pub(crate) fn of(boot: &str, seconds: u64) -> Self {
        Self { boot: boot.into(), seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_within_one_boot_alone() {
        let at = Uptime::of;
        assert_eq!(at("a", 90).since(&at("a", 30)), Some(Duration::from_secs(60)));
        assert_eq!(at("a", 90).since(&at("b", 30)), None);
        // A container that was started anew may count from 0 again.
        assert_eq!(at("a", 30).since(&at("a", 90)), None);
        let now = Uptime::now().unwrap();
        assert!(Uptime::now().unwrap().since(&now).is_some());
    }
}
