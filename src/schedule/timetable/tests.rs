//! Compares due times with those that a walk through every minute finds.

use std::collections::BTreeSet;

use jiff::ToSpan;

use super::*;
use crate::schedule::crontab::field::testing::fields;

fn schedule(text: &str, zone: &str) -> Schedule {
    let pattern = Pattern::new(&fields(text)).unwrap();
    Schedule::new(text.to_owned(), Arc::new(pattern), TimeZone::get(zone).unwrap())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next due times after `from` as wall-clock times with their offset from UTC.
fn walls(text: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let schedule = schedule(text, zone);
    let mut time = at(from);
    let mut walls = Vec::new();
    for _ in 0..count {
        time = schedule.next_after(time).unwrap();
        walls.push(time.to_zoned(schedule.zone.clone()).strftime("%a %d %H:%M %:z").to_string());
    }
    walls
}

/// All due times in a period, minute by minute: slow and plain.
fn by_walking(text: &str, zone: &TimeZone, from: Timestamp, to: Timestamp) -> BTreeSet<Timestamp> {
    let fields = fields(text);
    let matches = |wall: DateTime| {
        let weekday = u32::try_from(wall.weekday().to_sunday_zero_offset()).unwrap();
        let (day, weekday) = (fields.days.has(wall.day() as u32), fields.weekdays.has(weekday));
        let starred = fields.days.starred || fields.weekdays.starred;
        fields.minutes.has(wall.minute() as u32)
            && fields.hours.has(wall.hour() as u32)
            && fields.months.has(wall.month() as u32)
            && if starred { day && weekday } else { day || weekday }
    };
    let minute = 1.minute();
    let mut due = BTreeSet::new();
    if fields.hours.values().count() == 24 {
        let mut time = from;
        while time < to {
            due.extend(matches(zone.to_datetime(time)).then_some(time));
            time += minute;
        }
    } else {
        let mut wall = zone.to_datetime(from).saturating_sub(1.day());
        let mut last = from;
        while last < to {
            // "Compatible" means the first of two equal times, and for a skipped time the time on
            // the other side of the gap.
            let moment = zone.to_ambiguous_timestamp(wall);
            last = moment.compatible().unwrap();
            if let jiff::tz::AmbiguousOffset::Gap { .. } = moment.offset() {
                let mut change = moment.earlier().unwrap();
                while zone.to_offset(change) == zone.to_offset(change - 1.second()) {
                    change += 1.second();
                }
                last = change;
            }
            if matches(wall) && last >= from && last < to {
                due.insert(last);
            }
            wall = wall.saturating_add(minute);
        }
    }
    due
}

#[test]
fn due_times_are_those_that_are_found_by_walking_through_every_minute() {
    // Both changes of the clocks in 2026, and days without a change. Lord Howe moves by half an
    // hour.
    for (zone, changes) in [
        ("Europe/Berlin", ["2026-03-29", "2026-10-25"]),
        ("America/New_York", ["2026-03-08", "2026-11-01"]),
        ("Australia/Lord_Howe", ["2026-04-05", "2026-10-04"]),
        ("UTC", ["2026-02-28", "2026-12-31"]),
        ("Africa/Cairo", ["2026-04-24", "2026-10-30"]),
    ] {
        for change in changes {
            let from = at(&format!("{change}T00:00:00Z")) - 30.hours();
            let to = from + 72.hours();
            for text in [
                "* * * * *",
                "*/30 * * * *",
                "0 * * * *",
                "15,45 * * * *",
                "30 2 * * *",
                "0,30 2 * * *",
                "*/20 1-3 * * *",
                "0 */2 * * *",
                "30 0,1,2,3 * * *",
                "0 0 * * *",
                "30 23 * * *",
                "15 2 * * 0",
                "15 2 1,29 * 0",
                "15 1 */2 * 0",
                "5 0-22 * * *",
            ] {
                let schedule = schedule(text, zone);
                let expected: Vec<_> =
                    by_walking(text, &schedule.zone, from, to).into_iter().collect();
                let mut forward = Vec::new();
                let mut time = from - 1.second();
                while let Some(next) = schedule.next_after(time).filter(|next| *next < to) {
                    forward.push(next);
                    time = next;
                }
                assert_eq!(forward, expected, "{text} in {zone}, {change}");
                let mut backward = Vec::new();
                time = to;
                while let Some(previous) =
                    schedule.previous_before(time).filter(|previous| *previous >= from)
                {
                    backward.push(previous);
                    time = previous;
                }
                backward.reverse();
                assert_eq!(backward, expected, "{text} in {zone}, {change}, backwards");
            }
        }
    }
}

#[test]
fn a_job_at_half_past_two_runs_once_on_both_days() {
    assert_eq!(
        walls("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
        ["Sun 29 03:00 +02:00", "Mon 30 02:30 +02:00"]
    );
    assert_eq!(
        walls("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["Sun 25 02:30 +02:00", "Mon 26 02:30 +01:00"]
    );
    assert_eq!(
        walls("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 2),
        ["Sun 04 02:30 +11:00", "Mon 05 02:15 +11:00"]
    );
}

#[test]
fn a_job_of_every_half_hour_goes_on_every_half_hour() {
    assert_eq!(
        walls("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:59:00Z", 6),
        [
            "Sun 25 02:00 +02:00",
            "Sun 25 02:30 +02:00",
            "Sun 25 02:00 +01:00",
            "Sun 25 02:30 +01:00",
            "Sun 25 03:00 +01:00",
            "Sun 25 03:30 +01:00"
        ]
    );
    assert_eq!(
        walls("*/30 * * * *", "America/New_York", "2026-03-08T06:29:00Z", 2),
        ["Sun 08 01:30 -05:00", "Sun 08 03:00 -04:00"]
    );
}

#[test]
fn either_day_field_will_do_unless_one_begins_with_a_star() {
    // November 2026 begins on a Sunday.
    let days = |text: &str, count| -> Vec<String> {
        walls(text, "UTC", "2026-10-31T23:59:00Z", count)
            .iter()
            .map(|wall| wall[..6].to_owned())
            .collect()
    };
    assert_eq!(days("0 0 3 * fri", 3), ["Tue 03", "Fri 06", "Fri 13"]);
    assert_eq!(days("0 0 * * 7", 2), ["Sun 01", "Sun 08"]);
    assert_eq!(days("0 0 * * 0", 2), ["Sun 01", "Sun 08"]);
    assert_eq!(
        days("0 0 */10 * sun", 2),
        ["Sun 01", "Sun 31"],
        "the next Sunday that is a 1st, 11th, 21st or 31st"
    );
    assert_eq!(days("0 0 1-31 * mon", 2), ["Sun 01", "Mon 02"], "no star: every day will do");
}

#[test]
fn rare_days_are_found() {
    let schedule = schedule("0 0 29 2 *", "UTC");
    assert_eq!(
        schedule.next_after(at("2026-01-01T00:00:00Z")).unwrap(),
        at("2028-02-29T00:00:00Z")
    );
    assert_eq!(
        schedule.previous_before(at("2026-01-01T00:00:00Z")).unwrap(),
        at("2024-02-29T00:00:00Z")
    );
    assert!(fields("0 0 29 2 *").can_be_due() && !fields("0 0 30 2 *").can_be_due());
    assert!(!fields("0 0 31 4,6,9,11 *").can_be_due() && fields("0 0 31 4,5 *").can_be_due());
    assert!(fields("0 0 30 2 mon").can_be_due(), "each Monday of February");
    assert!(!fields("0 0 30 2 */2").can_be_due());
}

#[test]
fn fractions_of_a_second_lie_between_due_times() {
    let schedule = schedule("0 12 * * *", "UTC");
    let noon = at("2026-11-23T12:00:00Z");
    for (time, previous, next) in [
        ("2026-11-23T11:59:59.9Z", noon - 24.hours(), noon),
        ("2026-11-23T12:00:00Z", noon - 24.hours(), noon + 24.hours()),
        ("2026-11-23T12:00:00.1Z", noon, noon + 24.hours()),
    ] {
        assert_eq!(
            (schedule.previous_before(at(time)), schedule.next_after(at(time))),
            (Some(previous), Some(next)),
            "{time}"
        );
    }
    assert_eq!(schedule.latest_until(noon), Some(noon));
    assert_eq!(schedule.latest_until(noon - 1.nanosecond()), Some(noon - 24.hours()));
}
