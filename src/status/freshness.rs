//! Whether a volume's newest good backup is new enough: pure, so that `status`, `serve` and whoever
//! asks next say the same.
//!
//! Without a limit of its own (`BKUP_MAX_BACKUP_AGE`), a volume's backup is overdue once the next
//! scheduled one should have been there: from the newest good backup on, the first due time of the
//! lines that back the volume up, and the time that a run may take. It does not matter why it is
//! missing: the script never ran, a lock never got free, the daemon is gone, the list is empty.

use std::time::Duration;

use jiff::Timestamp;

use crate::units::format_duration;

/// A volume's newest good backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    /// When its snapshot was taken: how old the data in it is.
    pub(crate) taken: Timestamp,
    /// When it was made.
    pub(crate) made: Timestamp,
}

/// What backups of a volume are held against.
pub(crate) struct Allowed<'a> {
    /// How old the data in the newest good backup may be, where that was said.
    pub(crate) max_age: Option<Duration>,
    /// When the first backup after this time is due by the schedule; `None` where no line backs the
    /// volume up.
    pub(crate) due_after: &'a (dyn Fn(Timestamp) -> Option<Timestamp> + Sync),
    /// How long a run may take.
    pub(crate) run_time: Duration,
}

/// What is to be said of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// All is well until then.
    Until(Timestamp),
    /// A good backup should have been there by then.
    Overdue(Timestamp),
    /// Nobody said when there should be one.
    Unscheduled,
}

/// Judges a volume with this newest good backup (`None`: it has none, and has been known since
/// `known_since`).
pub(crate) fn judge(
    newest: Option<Newest>,
    known_since: Timestamp,
    allowed: &Allowed<'_>,
    now: Timestamp,
) -> Freshness {
    let limit = match allowed.max_age {
        Some(age) => Some((newest.map_or(known_since, |newest| newest.taken), age)),
        None => (allowed.due_after)(newest.map_or(known_since, |newest| newest.made))
            .map(|due| (due, allowed.run_time)),
    };
    let Some((from, time)) = limit else { return Freshness::Unscheduled };
    // So far away that it has no date is never.
    match from.checked_add(time) {
        Ok(limit) if limit < now => Freshness::Overdue(limit),
        Ok(limit) => Freshness::Until(limit),
        Err(_) => Freshness::Until(Timestamp::MAX),
    }
}

/// What is wrong with a volume whose newest good backup (of this time; `None`: there is none) had
/// its time until `limit`.
pub(super) fn overdue(backup: Option<Timestamp>, limit: Timestamp, now: Timestamp) -> String {
    let since = |from: Timestamp, until: Timestamp| {
        format_duration(until.duration_since(from).unsigned_abs())
    };
    match backup {
        Some(from) => format!(
            "its newest good backup is too old: {} old, should be under {}",
            since(from, now),
            since(from, limit)
        ),
        None => {
            format!("it has no good backup: one should have been there {} ago", since(limit, now))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    /// Each day at 02:30.
    fn daily(after: Timestamp) -> Option<Timestamp> {
        let day = Duration::from_hours(24).as_secs() as i64;
        let first = at("2026-01-01T02:30:00Z").as_second();
        let days = (after.as_second() - first).div_euclid(day) + 1;
        Timestamp::from_second(first + days * day).ok()
    }

    fn by_schedule(newest: Option<(&str, &str)>, now: &str) -> Freshness {
        let newest = newest.map(|(taken, made)| Newest { taken: at(taken), made: at(made) });
        let allowed = Allowed { max_age: None, due_after: &daily, run_time: 5 * HOUR };
        judge(newest, at("2026-11-20T12:00:00Z"), &allowed, at(now))
    }

    #[test]
    fn a_daily_backup_is_overdue_when_the_next_one_had_its_time() {
        let newest = Some(("2026-11-22T02:30:01Z", "2026-11-22T02:40:00Z"));
        let limit = at("2026-11-23T07:30:00Z");
        assert_eq!(by_schedule(newest, "2026-11-22T23:00:00Z"), Freshness::Until(limit));
        assert_eq!(by_schedule(newest, "2026-11-23T07:30:00Z"), Freshness::Until(limit));
        assert_eq!(by_schedule(newest, "2026-11-23T07:30:01Z"), Freshness::Overdue(limit));
    }

    #[test]
    fn a_backup_of_an_older_snapshot_counts_from_when_it_was_made() {
        let newest = Some(("2026-11-22T02:00:00Z", "2026-11-22T02:31:00Z"));
        assert_eq!(
            by_schedule(newest, "2026-11-22T12:00:00Z"),
            Freshness::Until(at("2026-11-23T07:30:00Z"))
        );
    }

    #[test]
    fn a_new_volume_has_until_its_first_backup_had_its_time() {
        assert_eq!(
            by_schedule(None, "2026-11-20T13:00:00Z"),
            Freshness::Until(at("2026-11-21T07:30:00Z"))
        );
        assert_eq!(
            by_schedule(None, "2026-11-22T00:00:00Z"),
            Freshness::Overdue(at("2026-11-21T07:30:00Z"))
        );
    }

    #[test]
    fn a_limit_that_was_said_counts_the_age_of_the_data_whatever_the_schedule() {
        let newest = Newest { taken: at("2026-11-22T02:00:00Z"), made: at("2026-11-22T09:00:00Z") };
        for due_after in [&daily as &(dyn Fn(Timestamp) -> Option<Timestamp> + Sync), &|_| None] {
            let allowed = Allowed { max_age: Some(26 * HOUR), due_after, run_time: 5 * HOUR };
            let judged = |now| judge(Some(newest), at("2026-01-01T00:00:00Z"), &allowed, at(now));
            assert_eq!(
                judged("2026-11-23T04:00:00Z"),
                Freshness::Until(at("2026-11-23T04:00:00Z"))
            );
            assert_eq!(
                judged("2026-11-23T04:00:01Z"),
                Freshness::Overdue(at("2026-11-23T04:00:00Z"))
            );
        }
    }

    #[test]
    fn without_a_schedule_and_a_limit_nothing_is_overdue() {
        let allowed = Allowed { max_age: None, due_after: &|_| None, run_time: HOUR };
        assert_eq!(
            judge(None, at("2020-01-01T00:00:00Z"), &allowed, at("2026-11-23T00:00:00Z")),
            Freshness::Unscheduled
        );
    }

    #[test]
    fn a_backup_from_the_future_and_a_limit_without_end_are_no_alarm() {
        assert!(matches!(
            by_schedule(
                Some(("2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z")),
                "2026-11-23T00:00:00Z"
            ),
            Freshness::Until(_)
        ));
        let allowed = Allowed { max_age: Some(Duration::MAX), due_after: &daily, run_time: HOUR };
        let now = at("2026-11-23T00:00:00Z");
        assert_eq!(judge(None, now, &allowed, now), Freshness::Until(Timestamp::MAX));
    }

    #[test]
    fn what_is_too_old_is_said_with_its_age_and_its_limit() {
        let at = |time: &str| -> Timestamp { time.parse().unwrap() };
        let (limit, now) = (at("2026-11-22T05:00:00Z"), at("2026-11-22T10:00:00Z"));
        assert_eq!(
            overdue(Some(at("2026-11-21T03:00:00Z")), limit, now),
            "its newest good backup is too old: 1d 7h old, should be under 1d 2h"
        );
        assert_eq!(
            overdue(None, limit, now),
            "it has no good backup: one should have been there 5h ago"
        );
    }
}
