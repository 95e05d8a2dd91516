//! The error of a run that was to save every volume and found none, where volumes are known.

use super::record::VolumeRecord;
use crate::{
    engine::is_anonymous_name,
    error::{Error, ErrorKind},
};

/// The most volumes that the error names.
const VOLUMES_NAMED: usize = 5;

/// The error; `None` if no volume is known that a run at this daemon should have found: one of the
/// daemon's own, or one of another daemon that has a good backup.
pub(super) fn error(records: &[VolumeRecord], daemon: &str) -> Option<Error> {
    let known: Vec<&VolumeRecord> = records
        .iter()
        .filter(|record| record.removed.is_none() && !is_anonymous_name(&record.name))
        .filter(|record| record.daemon == daemon || !record.good_backups.is_empty())
        .collect();
    let first = known.first()?;
    let named = known.iter().take(VOLUMES_NAMED).map(|record| match record.daemon == daemon {
        true => format!("\"{}\"", record.name),
        false => format!("\"{}\" at {}", record.name, record.daemon),
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match known.len().saturating_sub(VOLUMES_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message =
        format!("nothing was saved: {daemon} lists no volume, and known are {named}{more}");
    Some(Error::new(ErrorKind::Protocol, message).with_hint(format!(
        "is it the right daemon, and does it see its volumes? \"convoy-backups doctor\"; a volume that was meant to go: \"convoy-backups status --forget {}\"",
        first.name
    )))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::runs::record::GoodBackup;

    fn record(daemon: &str, name: &str) -> VolumeRecord {
        VolumeRecord {
            name: name.into(),
            daemon: daemon.into(),
            created: None,
            restored_from: None,
            first_seen: Timestamp::UNIX_EPOCH,
            last_seen: Timestamp::UNIX_EPOCH,
            removed: None,
            snapshot: None,
            snapshot_time: None,
            good_backups: Vec::new(),
            bad_backups: Vec::new(),
            made: Vec::new(),
            doubt: None,
        }
    }

    #[test]
    fn volumes_that_nobody_removed_are_missed_and_those_of_another_daemon_if_they_were_saved() {
        assert!(error(&[], "here").is_none());
        let removed = VolumeRecord { removed: Some(Timestamp::UNIX_EPOCH), ..record("here", "a") };
        assert!(error(&[removed, record("there", "seen once")], "here").is_none());
        let missed = error(&[record("here", "a")], "here").unwrap();
        assert!(missed.message.contains("known are \"a\""), "{missed}");
        let good = GoodBackup {
            url: "vfs:///b?backup=x".into(),
            snapshot_time: None,
            proven: Timestamp::UNIX_EPOCH,
            run: String::new(),
            bytes: None,
            changed_files: None,
        };
        let saved = VolumeRecord { good_backups: vec![good], ..record("there", "b") };
        let missed = error(&[saved], "here").unwrap();
        assert!(missed.message.contains("\"b\" at there"), "{missed}");
    }
}
