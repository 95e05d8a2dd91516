//! Since when a change of a file may not show in its times.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use crate::{
    files::real_path,
    mount_table::{self, MountPoint},
};

/// The coarsest times of file systems. A file that was changed so shortly before a snapshot was begun, or
/// later, can have changed once more and look the same.
const COARSEST_TIME: SignedDuration = SignedDuration::from_secs(2);
/// The same where another host gives the times: so much may its clock be behind.
const LATE_CLOCK: SignedDuration = SignedDuration::from_mins(5);

/// What was changed in a volume's folder at this time or later is read again, if a snapshot of it was begun
/// then.
pub(in crate::daemon) fn settled_before(begun: Timestamp, folder: &Path) -> Timestamp {
    let mounts = mount_table::mounts().unwrap_or_default();
    before(begun, margin(&mounts, &real_path(folder)))
}

fn before(begun: Timestamp, margin: SignedDuration) -> Timestamp {
    begun.saturating_sub(margin).unwrap_or(Timestamp::MIN)
}

fn margin(mounts: &[MountPoint], folder: &Path) -> SignedDuration {
    let below = mount_table::at_or_below(mounts, folder);
    let is_remote = below.chain(mount_table::holding(mounts, folder)).any(MountPoint::is_remote);
    if is_remote { LATE_CLOCK } else { COARSEST_TIME }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_within_five_minutes_before_is_read_again_where_a_server_gives_the_times() {
        let mount = |path: &str, file_system: &str| MountPoint {
            path: path.into(),
            file_system: file_system.into(),
            source: String::new(),
        };
        let mounts =
            [mount("/", "ext4"), mount("/srv/share", "nfs4"), mount("/vol/remote/below", "cifs")];
        for (folder, margin_of) in [
            ("/srv", LATE_CLOCK),
            ("/srv/share", LATE_CLOCK),
            ("/srv/share/vol1", LATE_CLOCK),
            ("/vol/remote", LATE_CLOCK),
            ("/vol/local", COARSEST_TIME),
        ] {
            assert_eq!(margin(&mounts, Path::new(folder)), margin_of, "{folder}");
        }
        let begun = Timestamp::from_second(1_000).unwrap();
        assert_eq!(before(begun, LATE_CLOCK).as_second(), 700);
        assert_eq!(settled_before(begun, Path::new("/proc")).as_second(), 998);
    }
}
