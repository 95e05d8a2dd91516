//! What to keep, and why: a pure function from items and a policy to a decision on each item.
//!
//! Every rule keeps some items, and an item is kept as soon as one rule wants it. A period (hour,
//! day, ISO week, month, year) is a calendar period in the caller's time zone; it is represented by
//! its newest item, and only periods that have items count: a week without backups ages nothing
//! out. Nothing here looks at the current time, so a host that was off for a month, or whose clock
//! is wrong, loses nothing by it.
//!
//! What holds for every policy, and is tested: the newest item is kept; planning again over what
//! was kept keeps all of it; the order of the input does not matter. Without
//! [`Policy::keep_at_least`] it holds as well that an item once removed would never have been
//! wanted again, however many newer items come.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};

use crate::{
    error::{Error, Result},
    units::format_duration,
};

#[cfg(test)]
mod tests;

/// Something that can be kept or removed: a backup, a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// What names it; items of the same time are ordered by it, the greatest counting as the
    /// newest.
    pub(crate) id: String,
    /// When it was made.
    pub(crate) time: Timestamp,
}

/// What to keep; each rule that is left out, or zero, keeps nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The newest so many.
    pub(crate) keep_last: Option<u32>,
    /// The newest of each of the last so many hours that have any.
    pub(crate) keep_hourly: Option<u32>,
    /// The newest of each of the last so many days that have any.
    pub(crate) keep_daily: Option<u32>,
    /// The newest of each of the last so many ISO weeks (from Monday) that have any.
    pub(crate) keep_weekly: Option<u32>,
    /// The newest of each of the last so many months that have any.
    pub(crate) keep_monthly: Option<u32>,
    /// The newest of each of the last so many years that have any.
    pub(crate) keep_yearly: Option<u32>,
    /// All that are at most so much older than the newest item (not than now).
    pub(crate) keep_within: Option<Duration>,
    /// A floor under the other rules, no rule by itself: where they keep fewer, the newest of the
    /// others are kept too.
    pub(crate) keep_at_least: Option<u32>,
}

/// What is to be done with one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The item's id.
    pub(crate) id: String,
    /// When it was made.
    pub(crate) time: Timestamp,
    /// Kept, or to be removed.
    pub(crate) keep: bool,
    /// Why, for people; never empty. Kept: each rule that wants it. Removed: which newer item
    /// stands for its period.
    pub(crate) reasons: Vec<String>,
}

impl Policy {
    /// Refuses a policy that would keep nothing.
    ///
    /// # Errors
    /// A usage error where no rule is given, or each is zero.
    pub(crate) fn check(&self) -> Result<()> {
        let counts = [
            self.keep_last,
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
        ];
        let given = counts.iter().any(|count| count.is_some_and(|count| count > 0))
            || self.keep_within.is_some_and(|within| !within.is_zero());
        if given {
            return Ok(());
        }
        let message = if self.keep_at_least.is_some_and(|least| least > 0) {
            "\"keep_at_least\" alone does not say what to keep"
        } else if counts.iter().any(Option::is_some)
            || self.keep_within.is_some()
            || self.keep_at_least.is_some()
        {
            "every rule of the policy is zero, so nothing would be kept"
        } else {
            "the policy is empty, so nothing would be kept"
        };
        Err(Error::usage(message).with_hint(
            "give at least one of keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly, keep_within",
        ))
    }

    /// The rules by period, finest first, those that keep nothing left out.
    fn periods(&self) -> impl Iterator<Item = (Period, usize)> {
        [
            (Period::Hour, self.keep_hourly),
            (Period::Day, self.keep_daily),
            (Period::Week, self.keep_weekly),
            (Period::Month, self.keep_monthly),
            (Period::Year, self.keep_yearly),
        ]
        .into_iter()
        .filter_map(|(period, count)| Some((period, count? as usize)))
        .filter(|(_, count)| *count > 0)
    }
}

/// Decides on each item, the newest first; items of the same time are ordered by id, the greatest
/// first.
///
/// # Errors
/// A usage error for a policy that would keep nothing (see [`Policy::check`]), and for an id that
/// is given twice: it could be kept and removed at once.
pub(crate) fn plan(items: &[Item], policy: &Policy, zone: &TimeZone) -> Result<Vec<Decision>> {
    policy.check()?;
    let mut ids = HashSet::new();
    if let Some(twice) = items.iter().find(|item| !ids.insert(item.id.as_str())) {
        return Err(Error::usage(format!("\"{}\" is given twice to be kept or removed", twice.id)));
    }
    let mut newest_first: Vec<&Item> = items.iter().collect();
    newest_first.sort_unstable_by(|a, b| (b.time, &b.id).cmp(&(a.time, &a.id)));
    let local: Vec<Zoned> =
        newest_first.iter().map(|item| item.time.to_zoned(zone.clone())).collect();

    let mut reasons = vec![Vec::new(); newest_first.len()];
    if let Some(newest) = reasons.first_mut() {
        newest.push("newest".to_owned());
    }
    keep_last(policy, &mut reasons);
    keep_within(policy, &newest_first, &mut reasons);
    let stand_ins = keep_by_period(policy, &local, &mut reasons);
    keep_at_least(policy, &mut reasons);

    let mut kept = 0;
    let mut decisions = Vec::with_capacity(newest_first.len());
    for ((item, mut reasons), stand_in) in newest_first.into_iter().zip(reasons).zip(stand_ins) {
        let keep = !reasons.is_empty();
        if keep {
            kept += 1;
        } else {
            reasons.push(match stand_in {
                Some((period, by)) => format!(
                    "not kept by any rule: the one of {} {} stands for its {}",
                    local[by].date(),
                    local[by].strftime("%H:%M:%S"),
                    period.noun()
                ),
                None if kept == 1 => "not kept by any rule: 1 newer one is kept".to_owned(),
                None => format!("not kept by any rule: {kept} newer ones are kept"),
            });
        }
        decisions.push(Decision { id: item.id.clone(), time: item.time, keep, reasons });
    }
    Ok(decisions)
}

fn keep_last(policy: &Policy, reasons: &mut [Vec<String>]) {
    let last = policy.keep_last.unwrap_or(0);
    for (number, reasons) in (1..=last).zip(reasons) {
        reasons.push(format!("last {number} of {last}"));
    }
}

fn keep_within(policy: &Policy, newest_first: &[&Item], reasons: &mut [Vec<String>]) {
    let Some((within, newest)) =
        policy.keep_within.filter(|within| !within.is_zero()).zip(newest_first.first())
    else {
        return;
    };
    // A duration too long for jiff reaches further back than any two times lie apart.
    let reach = SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX);
    for (item, reasons) in newest_first.iter().zip(reasons) {
        if newest.time.duration_since(item.time) <= reach {
            reasons.push(format!("within {} of the newest", format_duration(within)));
        }
    }
}

/// Notes what the rules by period keep. For each item it gives the finest period in which a newer
/// one was kept in its place, and that one's position.
fn keep_by_period(
    policy: &Policy,
    local: &[Zoned],
    reasons: &mut [Vec<String>],
) -> Vec<Option<(Period, usize)>> {
    let mut stand_ins = vec![None; local.len()];
    for (period, count) in policy.periods() {
        // By key and not only by neighbour: where clocks go back over midnight, a day is
        // interrupted by the day before.
        let mut kept: HashMap<[i64; 3], usize> = HashMap::new();
        for (position, time) in local.iter().enumerate() {
            let key = period.key(time);
            if let Some(newer) = kept.get(&key) {
                stand_ins[position].get_or_insert((period, *newer));
            } else if kept.len() < count {
                kept.insert(key, position);
                reasons[position].push(format!(
                    "{} {} of {count} ({})",
                    period.rule(),
                    kept.len(),
                    period.label(time)
                ));
            }
        }
    }
    stand_ins
}

fn keep_at_least(policy: &Policy, reasons: &mut [Vec<String>]) {
    let least = policy.keep_at_least.unwrap_or(0) as usize;
    let kept = reasons.iter().filter(|reasons| !reasons.is_empty()).count();
    for reasons in
        reasons.iter_mut().filter(|reasons| reasons.is_empty()).take(least.saturating_sub(kept))
    {
        reasons.push(format!("at least {least}"));
    }
}

/// A calendar period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Period {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    /// What two times share exactly where they lie in the same period. An hour that occurs twice,
    /// because the clocks go back, is two hours: they differ in their offset.
    fn key(self, time: &Zoned) -> [i64; 3] {
        let date = time.date();
        let day =
            (i64::from(date.year()) * 100 + i64::from(date.month())) * 100 + i64::from(date.day());
        match self {
            Self::Hour => [day, i64::from(time.hour()), i64::from(time.offset().seconds())],
            Self::Day => [day, 0, 0],
            Self::Week => {
                let week = date.iso_week_date();
                [i64::from(week.year()), i64::from(week.week()), 0]
            }
            Self::Month => [i64::from(date.year()), i64::from(date.month()), 0],
            Self::Year => [i64::from(date.year()), 0, 0],
        }
    }

    /// The rule's name in a reason.
    fn rule(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// The period that this time lies in, as people write it.
    fn label(self, time: &Zoned) -> String {
        let date = time.date();
        match self {
            Self::Hour => {
                let occurs_twice =
                    time.time_zone().to_ambiguous_zoned(time.datetime()).is_ambiguous();
                let offset =
                    if occurs_twice { format!(" {}", time.offset()) } else { String::new() };
                format!("{date} {:02}:00{offset}", time.hour())
            }
            Self::Day => date.to_string(),
            Self::Week => {
                let week = date.iso_week_date();
                format!("{:04}-W{:02}", week.year(), week.week())
            }
            Self::Month => format!("{:04}-{:02}", date.year(), date.month()),
            Self::Year => format!("{:04}", date.year()),
        }
    }
}
