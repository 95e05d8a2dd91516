//! The rule of freshness, over times.

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

fn allowed(due_after: &(dyn Fn(Timestamp) -> Option<Timestamp> + Sync)) -> Allowed<'_> {
    Allowed {
        max_age: None,
        due_after,
        run_time: 5 * HOUR,
        usual_distance: None,
        has_lines: true,
        is_restored: false,
    }
}

fn even(distance: Duration) -> UsualDistance {
    UsualDistance { median: distance, longest: distance }
}

fn by_schedule(newest: Option<(&str, &str)>, now: &str) -> (State, Timestamp) {
    let newest = newest.map(|(taken, made)| Newest { snapshot_time: at(taken), made: at(made) });
    let verdict = judge(newest, Some(at("2026-11-20T12:00:00Z")), &allowed(&daily), at(now));
    (verdict.state, verdict.limit)
}

#[test]
fn a_daily_backup_is_overdue_when_the_next_one_had_its_time() {
    let newest = Some(("2026-11-22T02:30:01Z", "2026-11-22T02:40:00Z"));
    let limit = at("2026-11-23T07:30:00Z");
    assert_eq!(by_schedule(newest, "2026-11-22T23:00:00Z"), (State::Fresh, limit));
    assert_eq!(by_schedule(newest, "2026-11-23T07:30:00Z"), (State::Fresh, limit));
    assert_eq!(by_schedule(newest, "2026-11-23T07:30:01Z"), (State::Overdue, limit));
}

#[test]
fn a_backup_of_an_older_snapshot_counts_from_when_it_was_made() {
    let newest = Some(("2026-11-22T02:00:00Z", "2026-11-22T02:31:00Z"));
    assert_eq!(
        by_schedule(newest, "2026-11-22T12:00:00Z"),
        (State::Fresh, at("2026-11-23T07:30:00Z"))
    );
}

#[test]
fn a_new_volume_has_until_its_first_backup_had_its_time() {
    assert_eq!(
        by_schedule(None, "2026-11-20T13:00:00Z"),
        (State::Awaited, at("2026-11-21T07:30:00Z"))
    );
    assert_eq!(
        by_schedule(None, "2026-11-22T00:00:00Z"),
        (State::Overdue, at("2026-11-21T07:30:00Z"))
    );
}

#[test]
fn a_limit_that_was_said_counts_the_age_of_the_data_whatever_the_schedule() {
    let newest =
        Newest { snapshot_time: at("2026-11-22T02:00:00Z"), made: at("2026-11-22T09:00:00Z") };
    for due_after in [&daily as &(dyn Fn(Timestamp) -> Option<Timestamp> + Sync), &|_| None] {
        let allowed = Allowed { max_age: Some(26 * HOUR), ..allowed(due_after) };
        let judged = |now| {
            let known_since = Some(at("2026-01-01T00:00:00Z"));
            let verdict = judge(Some(newest), known_since, &allowed, at(now));
            assert_eq!(verdict.counted_from, Some(newest.snapshot_time));
            (verdict.state, verdict.limit)
        };
        assert_eq!(judged("2026-11-23T04:00:00Z"), (State::Fresh, at("2026-11-23T04:00:00Z")));
        assert_eq!(judged("2026-11-23T04:00:01Z"), (State::Overdue, at("2026-11-23T04:00:00Z")));
    }
}

#[test]
fn without_a_line_the_usual_distance_of_the_backups_says_how_old_one_may_be_else_seven_days() {
    let made = at("2026-11-01T00:00:00Z");
    let newest = Some(Newest { snapshot_time: made, made });
    for (distance, limit, source, words) in [
        (
            Some(24 * HOUR),
            "2026-11-03T00:00:00Z",
            LimitSource::Distance,
            "2d old, by the usual distance of its backups",
        ),
        (Some(HOUR), "2026-11-02T00:00:00Z", LimitSource::Distance, "1d old, by the usual"),
        (
            None,
            "2026-11-08T00:00:00Z",
            LimitSource::Default,
            "7d old (no line of the crontab backs it up)",
        ),
    ] {
        let allowed = Allowed { usual_distance: distance.map(even), ..allowed(&|_| None) };
        let judged = |now: Timestamp| judge(newest, Some(made), &allowed, now);
        let fresh = judged(at(limit));
        assert_eq!((fresh.state, fresh.limit), (State::Fresh, at(limit)));
        assert_eq!(fresh.limit_source, source);
        assert!(fresh.sentence.contains(words), "{}", fresh.sentence);
        let overdue = judged(at(limit) + Duration::from_secs(1));
        assert_eq!((overdue.state, overdue.overdue_since()), (State::Overdue, Some(at(limit))));
    }
    // A line of the crontab, or a limit that was set, wins.
    let distance = Some(even(100 * 24 * HOUR));
    let by_line = Allowed { usual_distance: distance, ..allowed(&daily) };
    assert_eq!(judge(newest, None, &by_line, made).limit_source, LimitSource::Crontab);
    let by_setting = Allowed { max_age: Some(HOUR), usual_distance: distance, ..allowed(&daily) };
    assert_eq!(judge(newest, None, &by_setting, made).limit_source, LimitSource::Setting);
}

#[test]
fn the_longest_distance_that_is_usual_and_the_time_of_a_run_are_always_allowed() {
    let made = at("2026-11-20T03:00:00Z");
    let working_days = UsualDistance { median: 24 * HOUR, longest: 72 * HOUR };
    let allowed = Allowed { usual_distance: Some(working_days), ..allowed(&|_| None) };
    let verdict = judge(Some(Newest { snapshot_time: made, made }), None, &allowed, made);
    assert_eq!(verdict.limit, at("2026-11-23T08:00:00Z"));
}

#[test]
fn a_volume_without_a_backup_and_a_line_is_not_safe_and_is_overdue_after_seven_days() {
    let known_since = Some(at("2026-11-01T00:00:00Z"));
    let state = |allowed: &Allowed<'_>, now: &str| judge(None, known_since, allowed, at(now)).state;
    let allowed = allowed(&|_| None);
    assert_eq!(state(&allowed, "2026-11-01T00:00:00Z"), State::Missing);
    assert_eq!(state(&allowed, "2026-11-08T00:00:01Z"), State::Overdue);
    // Without lines, something else starts backups.
    let without_lines = Allowed { has_lines: false, ..allowed };
    assert_eq!(state(&without_lines, "2026-11-07T00:00:00Z"), State::Awaited);
    assert_eq!(state(&without_lines, "2026-11-08T00:00:01Z"), State::Overdue);
    // The first data of a restored volume is in the backup that it came from.
    let restored = Allowed { has_lines: true, is_restored: true, ..without_lines };
    assert_eq!(state(&restored, "2026-11-01T00:00:00Z"), State::Awaited);
    assert_eq!(state(&restored, "2026-11-08T00:00:01Z"), State::Overdue);
}

#[test]
fn a_limit_without_end_is_no_alarm_and_a_volume_of_no_credible_date_is_one() {
    let now = at("2026-11-23T00:00:00Z");
    let endless = Allowed { max_age: Some(Duration::MAX), ..allowed(&daily) };
    let verdict = judge(None, Some(now), &endless, now);
    assert_eq!((verdict.state, verdict.limit), (State::Awaited, Timestamp::MAX));
    let verdict = judge(None, None, &allowed(&daily), now);
    assert_eq!((verdict.state, verdict.overdue_since()), (State::Overdue, Some(now)));
    assert!(verdict.sentence.contains("some clock was wrong"), "{}", verdict.sentence);
}

#[test]
fn what_is_too_old_is_said_with_its_age_and_its_limit() {
    let at = |time: &str| -> Timestamp { time.parse().unwrap() };
    let (limit, now) = (at("2026-11-22T05:00:00Z"), at("2026-11-22T10:00:00Z"));
    assert_eq!(
        overdue(Some(at("2026-11-21T03:00:00Z")), LimitSource::Setting, limit, now),
        "its newest good backup is too old: 1d 7h old, should be under 1d 2h"
    );
    assert_eq!(
        overdue(None, LimitSource::Crontab, limit, now),
        "it has no good backup: one should have been there 5h ago"
    );
    assert_eq!(
        overdue(Some(at("2026-11-15T05:00:00Z")), LimitSource::Default, limit, now),
        "its newest good backup is too old: 7d 5h old, should be under 7d (no line of the crontab backs it up)"
    );
    assert_eq!(
        awaited(false, now, limit),
        "it has no good backup yet: the first should be there in 5h"
    );
}
