//! What a volume's good backups prove at a moment. A backup that is dated in the future proves
//! nothing: a clock was wrong.

use jiff::Timestamp;

use super::{distance::UsualDistance, volume::GoodBackup};
use crate::clock::is_in_future;

/// What a volume's good backups prove at a moment.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// The newest of those whose dates can be right.
    pub(super) newest: Option<GoodBackup>,
    /// The usual distance of the last ones; `None` if too few are known.
    pub(super) usual_distance: Option<UsualDistance>,
    /// Those that are dated in the future.
    from_future: Vec<(Timestamp, String)>,
}

impl Evidence {
    /// Judges the dates of these backups at this moment. `made`: when runs of this host made the last
    /// ones, also those that were deleted since. `by_data`: the age of the data counts, so the time
    /// of the snapshot must be credible, too.
    pub(super) fn of(
        backups: Vec<GoodBackup>,
        made: &[Timestamp],
        by_data: bool,
        now: Timestamp,
    ) -> Self {
        let dated = |backup: &GoodBackup| {
            if by_data { backup.made.max(backup.snapshot_time) } else { backup.made }
        };
        let (from_future, credible): (Vec<_>, Vec<_>) =
            backups.into_iter().partition(|backup| is_in_future(dated(backup), now));
        let made = made.iter().copied().filter(|time| !is_in_future(*time, now)).collect();
        let left = || UsualDistance::of_left(credible.iter().map(|backup| backup.made).collect());
        let usual_distance = UsualDistance::of(made).or_else(left);
        let from_future =
            from_future.into_iter().map(|backup| (dated(&backup), backup.url)).collect();
        // A snapshot was taken before its backup was made, whatever its name says.
        let age_of_data =
            |backup: &GoodBackup| (backup.snapshot_time.min(backup.made), backup.made);
        let newest = credible.into_iter().max_by_key(age_of_data);
        Self { newest, usual_distance, from_future }
    }

    /// Says of which backups a clock was wrong; `None` if there are none.
    pub(super) fn wrong_clock(&self) -> Option<String> {
        let (time, url) = self.from_future.iter().max()?;
        let date = time.strftime("%Y-%m-%d %H:%M UTC");
        Some(match self.from_future.len() {
            1 => format!(
                "a clock was wrong: its backup {url} is dated {date}, which is in the future, so it does not count"
            ),
            count => format!(
                "a clock was wrong: {count} of its backups are dated in the future and do not count, the last {date}: {url}"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-23T00:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn backup(url: &str, snapshot_time: &str, made: &str) -> GoodBackup {
        GoodBackup {
            url: url.to_owned(),
            snapshot_time: at(snapshot_time),
            made: at(made),
            bytes: None,
            verified: None,
            changed_files: None,
        }
    }

    fn newest(backups: &[GoodBackup], by_data: bool) -> (Option<String>, Option<String>) {
        let evidence = Evidence::of(backups.to_vec(), &[], by_data, at(NOW));
        let wrong_clock = evidence.wrong_clock();
        (evidence.newest.map(|backup| backup.url), wrong_clock)
    }

    #[test]
    fn a_backup_that_is_dated_in_the_future_is_not_the_newest_and_is_said() {
        let backups = [
            backup("old", "2026-11-20T00:00:00Z", "2026-11-20T00:00:00Z"),
            backup("new", "2026-11-22T00:00:00Z", "2026-11-22T00:00:00Z"),
            backup("future", "2036-01-01T00:00:00Z", "2036-01-01T00:05:00Z"),
        ];
        for by_data in [false, true] {
            let (url, said) = newest(&backups, by_data);
            assert_eq!(url.as_deref(), Some("new"));
            let said = said.unwrap();
            assert!(said.contains("future") && said.contains("2036-01-01 00:05 UTC"), "{said}");
        }
        assert_eq!(newest(&backups[2..], false).0, None);
        assert_eq!(newest(&backups[..2], false).1, None);
    }

    #[test]
    fn a_snapshot_whose_name_is_ahead_of_its_backup_is_no_newer_than_that() {
        // After the clock was set back, the names of snapshots go on from where they were.
        let backups = [
            backup("named ahead", "2036-01-01T00:00:01Z", "2026-11-20T00:00:00Z"),
            backup("new", "2026-11-22T00:00:00Z", "2026-11-22T00:00:00Z"),
        ];
        assert_eq!(newest(&backups, false), (Some("new".into()), None));
        // How old its data is, is not known.
        assert_eq!(newest(&backups[..1], true).0, None);
    }
}
