//! How far a volume's backups usually come apart: the pure rule, by the times at which they were
//! made.
//!
//! The rule is for volumes that something else than the crontab backs up: cron(8), or people. People
//! back up a few times in a row, by hand, and that says nothing of how often the volume is backed up.
//! So backups of a few hours count as one, and the last fortnight is believed alone only if it has as
//! many as a daily backup makes. Else the last ten count, however long ago they were.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The times of this long before the latest one count: a weekly pattern, such as backups on working
/// days only, shows twice in it.
const RECENT: SignedDuration = SignedDuration::from_hours(15 * 24);
/// They count alone if they span this long, and have so many distances: daily ones do.
const SHORTEST_RECENT: SignedDuration = SignedDuration::from_hours(7 * 24);
const FEWEST_RECENT_DISTANCES: usize = 7;
/// If those say too little, this many of the latest times count.
const RECENT_TIMES: usize = 10;
/// Backups that are closer to each other are one: a backup that was repeated says nothing of how
/// often a volume is backed up. Twice this is less than a day, which is always allowed.
const SHORTEST_DISTANCE: Duration = Duration::from_hours(6);
/// From fewer distances than this, nothing is usual.
const FEWEST_DISTANCES: usize = 2;
/// Of so many distances that span at least this long, one may be an exception: a host may have been
/// down once.
const DISTANCES_WITH_EXCEPTION: usize = 8;
const FORTNIGHT: SignedDuration = SignedDuration::from_hours(14 * 24);

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
    pub(super) fn of(times: Vec<Timestamp>) -> Option<Self> {
        let times = far_apart(times);
        let latest = *times.first()?;
        let recent = times.partition_point(|time| latest.duration_since(*time) <= RECENT);
        let recent = &times[..recent];
        let are_enough = recent.len() > FEWEST_RECENT_DISTANCES && span(recent) >= SHORTEST_RECENT;
        let counted = if are_enough { recent } else { times.get(..RECENT_TIMES).unwrap_or(&times) };
        Self::of_these(counted, &distances(&times))
    }

    /// By when the backups were made that are left: nobody knows how many others were deleted, so
    /// the longest distance says nothing.
    pub(super) fn of_left(times: Vec<Timestamp>) -> Option<Self> {
        Self::of(times).map(|Self { median, .. }| Self { median, longest: median })
    }

    /// By these times, the latest first. `all` has the distances of all times.
    fn of_these(times: &[Timestamp], all: &[Duration]) -> Option<Self> {
        let mut distances = distances(times);
        if distances.len() < FEWEST_DISTANCES {
            return None;
        }
        distances.sort_unstable();
        let longest = distances[distances.len() - 1];
        // About as long is four fifths: months differ, and so do the hours at which people work.
        let about_as_long = all.iter().filter(|distance| **distance * 5 >= longest * 4).count();
        let is_exception = about_as_long < 2
            && distances.len() >= DISTANCES_WITH_EXCEPTION
            && span(times) >= FORTNIGHT;
        let usual = distances.len() - if is_exception { 2 } else { 1 };
        Some(Self { median: distances[(distances.len() - 1) / 2], longest: distances[usual] })
    }
}

/// The latest first. Of times that are close to each other, the latest stands for all.
fn far_apart(mut times: Vec<Timestamp>) -> Vec<Timestamp> {
    times.sort_unstable_by(|one, other| other.cmp(one));
    let mut kept: Vec<Timestamp> = Vec::new();
    for time in times {
        if kept.last().is_none_or(|last| between(*last, time) >= SHORTEST_DISTANCE) {
            kept.push(time);
        }
    }
    kept
}

fn between(later: Timestamp, earlier: Timestamp) -> Duration {
    later.duration_since(earlier).unsigned_abs()
}

fn distances(times: &[Timestamp]) -> Vec<Duration> {
    times.windows(2).map(|pair| between(pair[0], pair[1])).collect()
}

/// How long these times span, the latest first.
fn span(times: &[Timestamp]) -> SignedDuration {
    let ends = times.first().zip(times.last());
    ends.map_or(SignedDuration::ZERO, |(latest, first)| latest.duration_since(*first))
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

    /// The same, of backups that were made so many days ago, in hours.
    fn usual_of_days(days: impl IntoIterator<Item = i64>) -> Option<(u64, u64)> {
        usual(&days.into_iter().map(|day| day * 24).collect::<Vec<_>>())
    }

    #[test]
    fn the_usual_distance_is_the_median_of_the_last_ones() {
        assert_eq!(usual(&[0, 24, 48, 72]), Some((24, 24)));
        // One that was left out, one by hand beside the others, and much older ones.
        assert_eq!(usual(&[0, 24, 72, 96, 120]), Some((24, 48)));
        assert_eq!(usual(&[0, 0, 168, 336, 336, 504]), Some((168, 168)));
        let thinned: Vec<i64> = (0..8).map(|day| day * 24).chain([1_000, 2_000, 4_000]).collect();
        assert_eq!(usual(&thinned), Some((24, 24)));
        // Each hour of a day: six hours apart, as far as it matters.
        assert_eq!(usual(&(0..24).collect::<Vec<_>>()), Some((6, 6)));
        // Two backups say nothing of what is usual, and neither does one afternoon.
        assert_eq!(usual(&[0, 7_200]), None);
        assert_eq!(usual(&[0, 1, 2, 3, 4]), None);
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
        for days_since_the_outage in 1..14 {
            let before = days_since_the_outage + 10..days_since_the_outage + 40;
            let outage = usual_of_days((0..=days_since_the_outage).chain(before));
            assert_eq!(outage, Some((24, 24)), "{days_since_the_outage}");
        }
        // A weekly backup that was left out once.
        let weeks = (0..12).filter(|week| *week != 2).map(|week| week * 7);
        assert_eq!(usual_of_days(weeks), Some((168, 168)));
    }

    #[test]
    fn hours_of_work_are_no_reason_for_an_alarm_at_night_or_at_a_weekend() {
        // Each hour from 8 to 18, on working days of four weeks, until a Friday evening.
        let days =
            (0..28).filter(|day| day % 7 < 5).map(|day| 25 - 1 - day).filter(|ago| *ago >= 0);
        let hours = days.flat_map(|ago| (0..=10).map(move |hour| ago * 24 + hour));
        let (median, longest) = usual(&hours.collect::<Vec<_>>()).unwrap();
        assert!(median <= 18 && (62..=72).contains(&longest), "{median} {longest}");
    }

    #[test]
    fn a_few_backups_by_hand_do_not_make_weekly_or_monthly_ones_overdue() {
        for distance in [7, 30] {
            let regular = |since: i64| (0..8).map(move |number| since + number * distance);
            let hours = |since: i64| regular(since).map(|day| day * 24);
            let longest = |ago: Vec<i64>| usual(&ago).unwrap().1;
            for since in 1..distance {
                // In one hour, in an afternoon, on a long day of work.
                for by_hand in [&[0, 0, 0][..], &[0, 1, 2, 3], &[0, 2, 4, 6, 8, 10]] {
                    let ago = hours(since).chain(by_hand.iter().copied()).collect();
                    assert!(longest(ago) >= distance as u64 * 24, "{distance} {since} {by_hand:?}");
                }
            }
            // On four days one after another, and for as long as that is not long ago.
            for ago in 0..3 * distance {
                let by_hand = [ago, ago + 1, ago + 2, ago + 3];
                let crons = (0..8).map(|number| ago % distance + number * distance);
                let last = by_hand[0].min(ago % distance);
                let days = crons.chain(by_hand).map(|day| (day - last) * 24);
                assert!(longest(days.collect()) >= distance as u64 * 24 - 24, "{distance} {ago}");
            }
        }
    }

    #[test]
    fn backups_by_hand_without_any_order_may_be_as_far_apart_as_they_were() {
        // Nobody is told before the longest pause so far is over.
        assert_eq!(usual_of_days([0, 2, 20, 21, 35, 50, 51]), Some((48, 18 * 24)));
        assert_eq!(usual_of_days([0, 30, 31]), Some((24, 30 * 24)));
    }

    #[test]
    fn a_volume_that_is_backed_up_daily_from_now_on_is_judged_so_after_a_week() {
        let weekly = |since: i64| (0..8).map(move |week| since + week * 7);
        let (_, longest) = usual_of_days((0..5).chain(weekly(5))).unwrap();
        assert_eq!(longest, 7 * 24);
        assert_eq!(usual_of_days((0..15).chain(weekly(15))), Some((24, 24)));
        // One that is backed up weekly from now on, after two weeks.
        assert_eq!(usual_of_days([0, 7, 14].into_iter().chain(15..40)).unwrap().1, 7 * 24);
    }
}
