//! Whether a volume's newest good backup is new enough: the pure rule, and the sentence for people.
//!
//! `BKUP_MAX_BACKUP_AGE` limits the age of the data in the newest good backup. Without that
//! setting, a backup is overdue once the next scheduled one should exist. Its limit is the first
//! due time, after the newest good backup, of the lines that back the volume up, plus the time that
//! a run may take. The rule does not ask why the backup is missing: the script never ran, a lock
//! was never released, the daemon is gone, the list is empty.
//!
//! A new verdict is a variant of [`State`]; the compiler then asks for the rest of this file and
//! for the places that draw a state (`cli/status.rs`) or end an alert (`status/alerts.rs`).

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::units::format_duration;

/// The two times of a volume's newest good backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    /// When its snapshot was taken: how old the data in it is.
    pub(crate) snapshot_time: Timestamp,
    pub(crate) made: Timestamp,
}

/// The limits against which a volume's newest good backup is judged.
pub(crate) struct Allowed<'a> {
    /// The greatest age of the data in the newest good backup; `None` if the configuration sets no
    /// limit.
    pub(crate) max_age: Option<Duration>,
    /// When the first backup after this time is due by the crontab; `None` if no line backs the
    /// volume up.
    pub(crate) due_after: &'a (dyn Fn(Timestamp) -> Option<Timestamp> + Sync),
    /// How long a run may take.
    pub(crate) run_time: Duration,
}

/// The state of a volume's newest good backup. JSON has three words for the five states, because it
/// also says whether there is a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// The newest good backup is new enough.
    Fresh,
    /// The volume has no good backup, and the first one is not overdue yet.
    #[serde(rename = "fresh")]
    Awaited,
    /// A newer good backup should exist by now.
    Overdue,
    /// The volume has a good backup, and no setting or line says how old it may be.
    Unscheduled,
    /// The volume has no good backup, and no line of the crontab makes one.
    #[serde(rename = "unscheduled")]
    Missing,
}

/// How urgent a state is; the dashboard has a colour and an icon for each level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Good,
    Unknown,
    Warning,
    Bad,
}

/// How a volume is shown in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) level: Level,
    pub(crate) word: &'static str,
    /// The position in lists: the lowest number comes first.
    pub(crate) order: u8,
}

impl State {
    /// Whether a volume in this state is not safe.
    pub(crate) fn is_wrong(self) -> bool {
        match self {
            Self::Overdue | Self::Missing => true,
            Self::Fresh | Self::Awaited | Self::Unscheduled => false,
        }
    }

    /// How a volume in this state is shown if it has no other problem.
    pub(crate) fn summary(self) -> Summary {
        let (level, word, order) = match self {
            Self::Overdue => (Level::Bad, "overdue", 0),
            // 1 is for other problems.
            Self::Awaited | Self::Missing => (Level::Unknown, "no backup yet", 2),
            Self::Unscheduled => (Level::Unknown, "not scheduled", 3),
            Self::Fresh => (Level::Good, "safe", 4),
        };
        Summary { level, word, order }
    }

    fn sentence(
        self,
        counted_from: Option<Timestamp>,
        limit: Option<Timestamp>,
        now: Timestamp,
    ) -> String {
        match self {
            Self::Fresh => "its newest good backup is new enough".to_owned(),
            Self::Awaited => "it has no good backup yet, and none is overdue".to_owned(),
            Self::Overdue => overdue(counted_from, limit.unwrap_or(now), now),
            Self::Unscheduled => "nothing says how old its newest good backup may be".to_owned(),
            Self::Missing => {
                "it has no good backup, and no line of the crontab makes one".to_owned()
            }
        }
    }
}

/// The rule's verdict on a volume. Times are in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    #[serde(rename = "backup")]
    pub(crate) state: State,
    /// When the newest good backup becomes, or became, too old; `None` if there is no limit.
    #[serde(rename = "backup_due_by")]
    pub(crate) limit: Option<Timestamp>,
    /// The moment from which the newest good backup ages: when its snapshot was taken if the age of
    /// the data is limited, else when it was made. `None` if there is no backup.
    #[serde(rename = "backup_counted_from")]
    pub(crate) counted_from: Option<Timestamp>,
    /// The verdict for people, without the volume's name.
    #[serde(rename = "backup_sentence")]
    pub(crate) sentence: String,
}

impl Verdict {
    /// By when a good backup should have been made, if it is overdue.
    pub(crate) fn overdue_since(&self) -> Option<Timestamp> {
        self.limit.filter(|_| self.state == State::Overdue)
    }
}

/// Judges a volume by its newest good backup. A volume without one (`None`) ages from
/// `known_since`.
pub(crate) fn judge(
    newest: Option<Newest>,
    known_since: Timestamp,
    allowed: &Allowed<'_>,
    now: Timestamp,
) -> Verdict {
    let counted_from = newest
        .map(|newest| if allowed.max_age.is_some() { newest.snapshot_time } else { newest.made });
    let start = counted_from.unwrap_or(known_since);
    let limit = match allowed.max_age {
        Some(age) => Some((start, age)),
        None => (allowed.due_after)(start).map(|due| (due, allowed.run_time)),
    };
    // A limit so far away that it has no date is never reached.
    let limit = limit.map(|(from, time)| from.checked_add(time).unwrap_or(Timestamp::MAX));
    let state = match (limit, counted_from) {
        (Some(limit), _) if limit < now => State::Overdue,
        (Some(_), Some(_)) => State::Fresh,
        (Some(_), None) => State::Awaited,
        (None, Some(_)) => State::Unscheduled,
        (None, None) => State::Missing,
    };
    let sentence = state.sentence(counted_from, limit, now);
    Verdict { state, limit, counted_from, sentence }
}

/// The sentence for a volume whose newest good backup ages from `counted_from` (`None`: it has
/// none) and became too old at `limit`.
fn overdue(counted_from: Option<Timestamp>, limit: Timestamp, now: Timestamp) -> String {
    let since = |from: Timestamp, until: Timestamp| {
        format_duration(until.duration_since(from).unsigned_abs())
    };
    match counted_from {
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

    fn by_schedule(newest: Option<(&str, &str)>, now: &str) -> (State, Option<Timestamp>) {
        let newest =
            newest.map(|(taken, made)| Newest { snapshot_time: at(taken), made: at(made) });
        let allowed = Allowed { max_age: None, due_after: &daily, run_time: 5 * HOUR };
        let verdict = judge(newest, at("2026-11-20T12:00:00Z"), &allowed, at(now));
        (verdict.state, verdict.limit)
    }

    #[test]
    fn a_daily_backup_is_overdue_when_the_next_one_had_its_time() {
        let newest = Some(("2026-11-22T02:30:01Z", "2026-11-22T02:40:00Z"));
        let limit = at("2026-11-23T07:30:00Z");
        assert_eq!(by_schedule(newest, "2026-11-22T23:00:00Z"), (State::Fresh, Some(limit)));
        assert_eq!(by_schedule(newest, "2026-11-23T07:30:00Z"), (State::Fresh, Some(limit)));
        assert_eq!(by_schedule(newest, "2026-11-23T07:30:01Z"), (State::Overdue, Some(limit)));
    }

    #[test]
    fn a_backup_of_an_older_snapshot_counts_from_when_it_was_made() {
        let newest = Some(("2026-11-22T02:00:00Z", "2026-11-22T02:31:00Z"));
        assert_eq!(
            by_schedule(newest, "2026-11-22T12:00:00Z"),
            (State::Fresh, Some(at("2026-11-23T07:30:00Z")))
        );
    }

    #[test]
    fn a_new_volume_has_until_its_first_backup_had_its_time() {
        assert_eq!(
            by_schedule(None, "2026-11-20T13:00:00Z"),
            (State::Awaited, Some(at("2026-11-21T07:30:00Z")))
        );
        assert_eq!(
            by_schedule(None, "2026-11-22T00:00:00Z"),
            (State::Overdue, Some(at("2026-11-21T07:30:00Z")))
        );
    }

    #[test]
    fn a_limit_that_was_said_counts_the_age_of_the_data_whatever_the_schedule() {
        let newest =
            Newest { snapshot_time: at("2026-11-22T02:00:00Z"), made: at("2026-11-22T09:00:00Z") };
        for due_after in [&daily as &(dyn Fn(Timestamp) -> Option<Timestamp> + Sync), &|_| None] {
            let allowed = Allowed { max_age: Some(26 * HOUR), due_after, run_time: 5 * HOUR };
            let judged = |now| {
                let verdict = judge(Some(newest), at("2026-01-01T00:00:00Z"), &allowed, at(now));
                assert_eq!(verdict.counted_from, Some(newest.snapshot_time));
                (verdict.state, verdict.limit)
            };
            assert_eq!(
                judged("2026-11-23T04:00:00Z"),
                (State::Fresh, Some(at("2026-11-23T04:00:00Z")))
            );
            assert_eq!(
                judged("2026-11-23T04:00:01Z"),
                (State::Overdue, Some(at("2026-11-23T04:00:00Z")))
            );
        }
    }

    #[test]
    fn without_a_schedule_and_a_limit_nothing_is_overdue() {
        let allowed = Allowed { max_age: None, due_after: &|_| None, run_time: HOUR };
        assert_eq!(
            judge(None, at("2020-01-01T00:00:00Z"), &allowed, at("2026-11-23T00:00:00Z")).state,
            State::Missing
        );
    }

    #[test]
    fn a_backup_from_the_future_and_a_limit_without_end_are_no_alarm() {
        assert!(matches!(
            by_schedule(
                Some(("2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z")),
                "2026-11-23T00:00:00Z"
            ),
            (State::Fresh, _)
        ));
        let allowed = Allowed { max_age: Some(Duration::MAX), due_after: &daily, run_time: HOUR };
        let now = at("2026-11-23T00:00:00Z");
        let verdict = judge(None, now, &allowed, now);
        assert_eq!((verdict.state, verdict.limit), (State::Awaited, Some(Timestamp::MAX)));
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
