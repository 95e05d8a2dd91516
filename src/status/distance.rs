//! How far a volume's backups usually come apart: the pure rule, by the times at which they were
//! made.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The times of this long before the latest one count: a weekly pattern, such as backups on working
/// days only, shows twice in it.
const RECENT: SignedDuration = SignedDuration::from_hours(15 * 24);
/// If those say too little, this many of the latest times count.
const RECENT_TIMES: usize = 10;
/// From times of at least this long, the longest distance counts only if it is not the only one of
/// its length: a host may have been down once.
const FORTNIGHT: SignedDuration = SignedDuration::from_hours(14 * 24);
/// Backups that are closer to each other are one: a backup that was repeated says nothing of how
/// often a volume is backed up.
const SHORTEST_DISTANCE: Duration = Duration::from_hours(1);
/// From fewer distances than this, nothing is usual.
const FEWEST_DISTANCES: usize = 2;

/// How far a volume's last backups came apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UsualDistance {
    /// Half of the distances are no longer.
    pub(super) median: Duration,
    /// The longest of them that is usual.
    pub(super) longest: Duration,
}

impl UsualDistance {
    /// By when backups were made; `None` if there are too few.
    pub(super) fn of(mut times: Vec<Timestamp>) -> Option<Self> {
        times.sort_unstable_by(|one, other| other.cmp(one));
        let latest = *times.first()?;
        let recent = times.partition_point(|time| latest.duration_since(*time) <= RECENT);
        Self::of_all(&times[..recent])
            .or_else(|| Self::of_all(times.get(..RECENT_TIMES).unwrap_or(&times)))
    }

    /// By when the backups were made that are left: nobody knows how many others were deleted, so
    /// the longest distance says nothing.
    pub(super) fn of_left(times: Vec<Timestamp>) -> Option<Self> {
        Self::of(times).map(|Self { median, .. }| Self { median, longest: median })
    }

    /// By these times, the latest first.
    fn of_all(times: &[Timestamp]) -> Option<Self> {
        // Of times that are closer to each other, the latest stands for all.
        let (mut distances, mut kept) = (Vec::<Duration>::new(), times[0]);
        for time in times {
            let distance = kept.duration_since(*time).unsigned_abs();
            if distance >= SHORTEST_DISTANCE {
                distances.push(distance);
                kept = *time;
            }
        }
        if distances.len() < FEWEST_DISTANCES {
            return None;
        }
        distances.sort_unstable();
        let is_long = times[0].duration_since(times[times.len() - 1]) >= FORTNIGHT;
        let longest = distances.len() - if is_long { 2 } else { 1 };
        Some(Self { median: distances[(distances.len() - 1) / 2], longest: distances[longest] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The median and the longest distance, in hours, of backups that were made so many hours ago.
    fn usual(hours: &[i64]) -> Option<(u64, u64)> {
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let times = hours.iter().map(|hours| now - SignedDuration::from_hours(*hours)).collect();
        UsualDistance::of(times)
            .map(|usual| (usual.median.as_secs() / 3_600, usual.longest.as_secs() / 3_600))
    }

    #[test]
    fn the_usual_distance_is_the_median_of_the_last_ones() {
        assert_eq!(usual(&[0, 24, 48, 72]), Some((24, 24)));
        // One that was left out, one by hand beside the others, and much older ones.
        assert_eq!(usual(&[0, 24, 72, 96, 120]), Some((24, 48)));
        assert_eq!(usual(&[0, 0, 168, 336, 336, 504]), Some((168, 168)));
        let thinned: Vec<i64> = (0..8).map(|day| day * 24).chain([1_000, 2_000, 4_000]).collect();
        assert_eq!(usual(&thinned), Some((24, 24)));
        // Every half an hour: an hour apart, as far as it matters.
        let often: Vec<i64> = vec![0, 1, 2, 3, 4];
        assert_eq!(usual(&often), Some((1, 1)));
        // Two backups say nothing of what is usual.
        assert_eq!(usual(&[0, 7_200]), None);
        assert_eq!(usual(&[]), None);
        assert_eq!(usual(&[0, 720, 1_440]), Some((720, 720)));
    }

    #[test]
    fn a_weekend_without_backups_is_usual_and_one_long_outage_is_not() {
        // The days since the first Monday, in hours: each working day of these weeks.
        let working_days =
            |weeks: i64| (0..weeks * 7).filter(|day| day % 7 < 5).map(|day| day * 24);
        for weeks in 2..5 {
            let latest = working_days(weeks).max().unwrap();
            let ago: Vec<i64> = working_days(weeks).map(|hours| latest - hours).collect();
            assert_eq!(usual(&ago), Some((24, 72)), "{weeks}");
            // From the next Monday on, too.
            let mut ago: Vec<i64> = ago.iter().map(|hours| hours + 72).collect();
            ago.push(0);
            assert_eq!(usual(&ago), Some((24, 72)), "{weeks}");
        }
        let outage: Vec<i64> = (0..7).chain(17..30).map(|day| day * 24).collect();
        assert_eq!(usual(&outage), Some((24, 24)));
    }
}
