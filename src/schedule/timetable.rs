//! Computes when a schedule is due: pure, and to the second.
//!
//! `croner` finds the wall-clock times that match. This module decides what happens to them when
//! clocks change, because croner's rule differs from cron(8)'s: it would lose `0,30 2 * * *` on the
//! day the clocks go forward. The rules:
//!
//! - A schedule with every hour in its hour field follows the wall clock: `*/30 * * * *` goes on
//!   every thirty minutes, also in the repeated hour, and is not due in the skipped one.
//! - Any other schedule is due once for each of its times: a skipped time is due at the moment of
//!   the change, a repeated time only the first time.

use std::sync::Arc;

use croner::{Cron, parser::CronParser};
use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

use super::crontab::field::Field;
use crate::error::{Error, Result};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The five fields of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) minutes: Field,
    pub(crate) hours: Field,
    pub(crate) days: Field,
    pub(crate) months: Field,
    pub(crate) weekdays: Field,
}

impl Fields {
    /// Whether a day must match both day fields. It must if one of them begins with `*`; else
    /// matching one is enough.
    fn both_days_must_match(&self) -> bool {
        self.days.starred || self.weekdays.starred
    }

    /// Whether a day can match at all: there is no 30th of February.
    pub(crate) fn can_be_due(&self) -> bool {
        const DAYS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let first = self.days.values().next().unwrap_or(1);
        !self.both_days_must_match()
            || self
                .months
                .values()
                .any(|month| DAYS.get(month as usize - 1).is_some_and(|days| first <= *days))
    }

    /// The schedule for croner. It gets plain lists of numbers, because it reads some names, steps
    /// and stars differently.
    fn cron(&self) -> Result<Cron> {
        let list = |field: Field, all: usize| {
            let values: Vec<String> = field.values().map(|value| value.to_string()).collect();
            if values.len() == all { "*".to_owned() } else { values.join(",") }
        };
        let starred = |field: Field, all| {
            if field.starred { list(field, all) } else { list(field, usize::MAX) }
        };
        let text = format!(
            "{} {} {} {} {}",
            list(self.minutes, 60),
            list(self.hours, 24),
            starred(self.days, 31),
            list(self.months, 12),
            starred(self.weekdays, 7)
        );
        let parser = CronParser::builder().dom_and_dow(self.both_days_must_match()).build();
        parser
            .parse(&text)
            .map_err(|error| Error::internal(format!("the schedule \"{text}\": {error}")))
    }
}

/// The part of a schedule that does not depend on a time zone. It is large, and many lines have the
/// same, so they share it.
#[derive(Debug)]
pub(crate) struct Pattern {
    cron: Cron,
    every_hour: bool,
}

impl Pattern {
    pub(crate) fn new(fields: &Fields) -> Result<Self> {
        Ok(Self { cron: fields.cron()?, every_hour: fields.hours.values().count() == 24 })
    }

    fn next(&self, time: DateTime, inclusive: bool) -> Option<DateTime> {
        self.cron.find_next_occurrence(&time, inclusive).ok()
    }

    fn previous(&self, time: DateTime) -> Option<DateTime> {
        self.cron.find_previous_occurrence(&time, false).ok()
    }
}

/// A schedule in a time zone.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    text: String,
    pattern: Arc<Pattern>,
    zone: TimeZone,
}

impl Schedule {
    pub(crate) fn new(text: String, pattern: Arc<Pattern>, zone: TimeZone) -> Self {
        Self { text, pattern, zone }
    }

    /// The schedule as it was written: `30 2 * * mon`, `@daily`.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The time zone of the schedule.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first due time after `time`. `None`: the calendar ends (beyond the year 5000).
    pub(crate) fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        if self.pattern.every_hour { self.next_by_the_wall(time) } else { self.next_once(time) }
    }

    /// The last due time before `time`. `None`: the calendar begins.
    pub(crate) fn previous_before(&self, time: Timestamp) -> Option<Timestamp> {
        // Due times are whole seconds, so "before 12:00:00.5" is the same as "before 12:00:01".
        let whole = Timestamp::from_second(time.as_second()).ok()?;
        let time = if whole < time { whole.checked_add(SECOND).ok()? } else { whole };
        if self.pattern.every_hour {
            self.previous_by_the_wall(time)
        } else {
            self.previous_once(time)
        }
    }

    /// The last due time up to `time`, or `time` itself.
    pub(crate) fn latest_until(&self, time: Timestamp) -> Option<Timestamp> {
        self.previous_before(time.checked_add(SignedDuration::from_nanos(1)).ok()?)
    }

    /// The moment at which a wall-clock time is due, for schedules whose times are due once.
    fn moment(&self, wall: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok(),
            AmbiguousOffset::Gap { before, .. } => {
                // By the offset before the change, this time lies behind the change. So the change
                // is the last one that precedes it.
                let behind = before.to_timestamp(wall).ok()?;
                self.zone
                    .preceding(behind.checked_add(SECOND).ok()?)
                    .next()
                    .map(|change| change.timestamp())
            }
        }
    }

    fn next_once(&self, time: Timestamp) -> Option<Timestamp> {
        let mut wall = self.zone.to_datetime(time);
        loop {
            wall = self.pattern.next(wall, false)?;
            let due = self.moment(wall)?;
            // In the second of two equal hours, the times were due in the first.
            if due > time {
                return Some(due);
            }
        }
    }

    fn previous_once(&self, time: Timestamp) -> Option<Timestamp> {
        let mut wall = self.zone.to_datetime(time);
        // After the clocks were put back, later wall-clock times have been due already.
        if let Some(change) = self.zone.preceding(time.checked_add(SECOND).ok()?).next()
            && time.duration_since(change.timestamp()) < SignedDuration::from_hours(24)
        {
            let before = self.zone.to_offset(change.timestamp().checked_sub(SECOND).ok()?);
            wall = wall.max(before.to_datetime(time));
        }
        loop {
            wall = self.pattern.previous(wall)?;
            let due = self.moment(wall)?;
            if due < time {
                return Some(due);
            }
        }
    }

    /// The first due time after `time` for a schedule that follows the wall clock. Between two
    /// changes of the clock, the offset is constant.
    fn next_by_the_wall(&self, time: Timestamp) -> Option<Timestamp> {
        let (mut from, mut inclusive) = (time, false);
        loop {
            let offset = self.zone.to_offset(from);
            let due = offset
                .to_timestamp(self.pattern.next(offset.to_datetime(from), inclusive)?)
                .ok()?;
            match self.zone.following(from).next() {
                Some(change) if change.timestamp() <= due => {
                    (from, inclusive) = (change.timestamp(), true)
                }
                _ => return Some(due),
            }
        }
    }

    fn previous_by_the_wall(&self, time: Timestamp) -> Option<Timestamp> {
        let mut until = time;
        loop {
            let offset = self.zone.to_offset(until.checked_sub(SECOND).ok()?);
            let due =
                offset.to_timestamp(self.pattern.previous(offset.to_datetime(until))?).ok()?;
            match self.zone.preceding(until).next() {
                Some(change) if due < change.timestamp() => until = change.timestamp(),
                _ => return Some(due),
            }
        }
    }
}

#[cfg(test)]
mod tests;
