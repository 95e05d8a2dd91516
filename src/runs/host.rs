//! The host and the boot that this process runs on, for the records of runs.

pub(super) use crate::clock::boot;

pub(super) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
