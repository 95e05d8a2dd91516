//! What a volume's good backups prove at a moment. A backup that is dated in the future proves
//! nothing: a clock was wrong.

use std::time::Duration;

use jiff::Timestamp;

use super::volume::GoodBackup;
use crate::clock::is_in_future;

/// From how many of the newest backups the usual distance is taken.
const RECENT: usize = 10;
/// Backups that are closer to each other are one: a backup that was repeated says nothing of how
/// often a volume is backed up.
const SHORTEST_DISTANCE: Duration = Duration::from_hours(1);
/// From fewer distances than this, nothing is usual.
const FEWEST_DISTANCES: usize = 2;

/// What a volume's good backups prove at a moment.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// The newest of those whose dates can be right.
    pub(super) newest: Option<GoodBackup>,
    /// The usual distance of the last ones; `None` if there are too few.
    pub(super) usual_distance: Option<Duration>,
    /// Those that are dated in the future.
    from_future: Vec<(Timestamp, String)>,
}

impl Evidence {
    /// Judges the dates of these backups at this moment. `by_data`: the age of the data counts, so
    /// the time of the snapshot must be credible, too.
    pub(super) fn of(backups: Vec<GoodBackup>, by_data: bool, now: Timestamp) -> Self {
        let dated = |backup: &GoodBackup| {
            if by_data { backup.made.max(backup.snapshot_time) } else { backup.made }
        };
        let (from_future, credible): (Vec<_>, Vec<_>) =
            backups.into_iter().partition(|backup| is_in_future(dated(backup), now));
        let usual_distance = usual_distance(credible.iter().map(|backup| backup.made).collect());
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

/// The median of the distances between the newest of these times; `None` if there are too few.
fn usual_distance(mut times: Vec<Timestamp>) -> Option<Duration> {
    times.sort_unstable_by(|one, other| other.cmp(one));
    times.truncate(RECENT);
    let distances = times.windows(2).map(|pair| pair[0].duration_since(pair[1]).unsigned_abs());
    let mut distances: Vec<Duration> =
        distances.filter(|distance| *distance >= SHORTEST_DISTANCE).collect();
    distances.sort_unstable();
    let middle = distances.len().saturating_sub(1) / 2;
    distances.get(middle).copied().filter(|_| distances.len() >= FEWEST_DISTANCES)
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
        }
    }

    fn newest(backups: &[GoodBackup], by_data: bool) -> (Option<String>, Option<String>) {
        let evidence = Evidence::of(backups.to_vec(), by_data, at(NOW));
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

    #[test]
    fn the_usual_distance_is_the_median_of_the_last_ones() {
        let distance = |hours: &[i64]| {
            let time = |hours: &i64| at(NOW) - jiff::SignedDuration::from_hours(*hours);
            let times = hours.iter().map(time).collect();
            usual_distance(times).map(|distance| distance.as_secs() / 3_600)
        };
        assert_eq!(distance(&[0, 24, 48, 72]), Some(24));
        // One that was left out, one by hand beside the others, and much older ones.
        assert_eq!(distance(&[0, 24, 72, 96, 120]), Some(24));
        assert_eq!(distance(&[0, 0, 168, 336, 336, 504]), Some(168));
        let thinned: Vec<i64> = (0..8).map(|day| day * 24).chain([1_000, 2_000, 4_000]).collect();
        assert_eq!(distance(&thinned), Some(24));
        // Two backups say nothing of what is usual.
        assert_eq!(distance(&[0, 7_200]), None);
        assert_eq!(distance(&[]), None);
    }
}
