//! The host and the boot that this process runs on, for the records of runs.

use std::sync::OnceLock;

pub(super) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The boot id of the running system; empty where the system has none.
pub(super) fn boot() -> String {
    static BOOT: OnceLock<String> = OnceLock::new();
    let read = || {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    BOOT.get_or_init(read).clone()
}
