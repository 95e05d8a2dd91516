//! Where this process runs, as records of runs have it.

use std::sync::OnceLock;

/// The host's name.
pub(super) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The id of the running system's boot; empty where the system does not tell.
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
