//! What to keep, and why: a pure function from items and a policy to a decision on each item.
//!
//! A rule keeps some items, and one rule is enough to keep an item. A period (hour, day, ISO week,
//! month, year) is a calendar period in the caller's time zone. The newest item of a period stands
//! for that period. Only periods that have items count, so a week without backups ages nothing out.
//! The current time plays no part, and neither does a long time without items: a host that was off
//! for a month, or whose clock is wrong, loses nothing.
//!
//! The tests check what is true of every policy:
//! - The newest item is kept.
//! - Planning again over the kept items keeps all of them.
//! - The order of the input does not matter.
//! - A removed item is never wanted again, however many newer items arrive
//!   ([`Policy::keep_at_least`] is the exception).

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
    /// Unique among the items of a plan.
    pub(crate) id: String,
    pub(crate) time: Timestamp,
    /// Orders items of the same time. The greatest rank is the newest; among equal ranks, the
    /// greatest id is the newest.
    pub(crate) rank: usize,
}

impl Item {
    fn order(&self) -> impl Ord + '_ {
        (self.time, self.rank, &self.id)
    }
}

/// What to keep. A rule that is `None` or zero keeps nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The newest N items.
    pub(crate) keep_last: Option<u32>,
    /// The newest item of each of the last N hours that have one.
    pub(crate) keep_hourly: Option<u32>,
    /// The newest item of each of the last N days that have one.
    pub(crate) keep_daily: Option<u32>,
    /// The newest item of each of the last N ISO weeks (from Monday) that have one.
    pub(crate) keep_weekly: Option<u32>,
    /// The newest item of each of the last N months that have one.
    pub(crate) keep_monthly: Option<u32>,
    /// The newest item of each of the last N years that have one.
    pub(crate) keep_yearly: Option<u32>,
    /// All items that are at most this much older than the newest item. The current time plays no
    /// part, and the latest time without items does not count if it is longer than
    /// [`LONG_WITHOUT`].
    pub(crate) keep_within: Option<Duration>,
    /// The minimum number of items to keep. If the other rules keep fewer than N items, the newest
    /// of the remaining ones stay too. This rule alone is not a policy.
    pub(crate) keep_at_least: Option<u32>,
}

/// From when on a time without items does not count for [`Policy::keep_within`]: the host was off,
/// or the clock was set far ahead, and all that is older would look old at one stroke. It counts as
/// the longest distance of the items after it. Items a week apart are usual.
const LONG_WITHOUT: SignedDuration = SignedDuration::from_hours(8 * 24);

/// The names of the rules, as scripts and their arguments spell them.
pub(crate) const RULES: [&str; 8] = [
    "keep_last",
    "keep_hourly",
    "keep_daily",
    "keep_weekly",
    "keep_monthly",
    "keep_yearly",
    "keep_within",
    "keep_at_least",
];

/// What a policy says about one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) id: String,
    pub(crate) time: Timestamp,
    pub(crate) keep: bool,
    /// Sentences for people, at least one. A kept item has one for each rule that keeps it. A
    /// removed item has one: which newer item stands for its period, or how many newer items stay.
    pub(crate) reasons: Vec<String>,
}

impl Policy {
    /// The policy with these rules. The values are numbers of items, or seconds for `keep_within`.
    /// Unknown names are ignored.
    pub(crate) fn of_rules<'a>(rules: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let mut policy = Self::default();
        for (name, value) in rules {
            let count = Some(u32::try_from(value).unwrap_or(u32::MAX));
            match name {
                "keep_last" => policy.keep_last = count,
                "keep_hourly" => policy.keep_hourly = count,
                "keep_daily" => policy.keep_daily = count,
                "keep_weekly" => policy.keep_weekly = count,
                "keep_monthly" => policy.keep_monthly = count,
                "keep_yearly" => policy.keep_yearly = count,
                "keep_within" => policy.keep_within = Some(Duration::from_secs(value)),
                "keep_at_least" => policy.keep_at_least = count,
                _ => {}
            }
        }
        policy
    }

    /// The policy that a script's arguments ask for. Arguments that do not name a rule are ignored.
    ///
    /// # Errors
    /// A usage error if a rule is negative, or if no rule keeps anything.
    pub(crate) fn of_arguments<'a>(
        script: &str,
        arguments: impl IntoIterator<Item = (&'a str, i64)>,
    ) -> Result<Self> {
        let mut rules = Vec::new();
        for (name, value) in arguments.into_iter().filter(|(name, _)| RULES.contains(name)) {
            let count = u64::try_from(value).map_err(|_| {
                Error::usage(format!("{value} is not a number of items to keep"))
                    .with_hint("give 0 or more")
            })?;
            rules.push((name, count));
        }
        let policy = Self::of_rules(rules);
        if policy.keeps_nothing() {
            return Err(Error::usage(format!("\"{script}\" needs to know what to keep")).with_hint(
                "give at least one of --keep-last, --keep-hourly .. --keep-yearly, --keep-within, such as --keep-daily 7",
            ));
        }
        Ok(policy)
    }

    /// Refuses a policy that would keep nothing.
    ///
    /// # Errors
    /// A usage error if the policy has no rule, or if all its rules are zero.
    pub(crate) fn check(&self) -> Result<()> {
        if !self.keeps_nothing() {
            return Ok(());
        }
        let message = if self.keep_at_least.is_some_and(|least| least > 0) {
            "\"keep_at_least\" alone does not say what to keep"
        } else if *self == Self::default() {
            "the policy is empty, so nothing would be kept"
        } else {
            "every rule of the policy is zero, so nothing would be kept"
        };
        Err(Error::usage(message).with_hint(
            "give at least one of keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly, keep_within",
        ))
    }

    /// Whether no rule keeps an item. `keep_at_least` alone keeps none.
    fn keeps_nothing(&self) -> bool {
        self.keep_last.unwrap_or(0) == 0
            && self.periods().next().is_none()
            && self.keep_within.unwrap_or_default().is_zero()
    }

    /// The rules by period that keep something, from the finest period to the coarsest.
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

/// Decides on each item. The decisions are in the order of [`Item::order`], the newest first.
///
/// # Errors
/// A usage error if the policy would keep nothing (see [`Policy::check`]), or if an id occurs
/// twice: such an item could be both kept and removed.
pub(crate) fn plan(items: &[Item], policy: &Policy, zone: &TimeZone) -> Result<Vec<Decision>> {
    policy.check()?;
    let mut ids = HashSet::new();
    if let Some(twice) = items.iter().find(|item| !ids.insert(item.id.as_str())) {
        return Err(Error::usage(format!("\"{}\" is given twice to be kept or removed", twice.id)));
    }
    let mut newest_first: Vec<&Item> = items.iter().collect();
    newest_first.sort_unstable_by(|a, b| b.order().cmp(&a.order()));
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
    let Some(within) = policy.keep_within.filter(|within| !within.is_zero()) else { return };
    let mut age = SignedDuration::ZERO;
    let mut longest = SignedDuration::ZERO;
    let mut not_counted = None;
    let mut newer = None;
    // jiff can't represent a duration this long. The maximum reaches further back than any two
    // times lie apart.
    let reach = SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX);
    for (item, reasons) in newest_first.iter().zip(reasons) {
        let distance = newer
            .replace(item.time)
            .map_or(SignedDuration::ZERO, |it| it.duration_since(item.time));
        if not_counted.is_none() && distance > LONG_WITHOUT {
            age += longest;
            not_counted = Some(distance);
        } else {
            age += distance;
            longest = longest.max(distance);
        }
        if age > reach {
            return;
        }
        let mut reason = format!("within {} of the newest", format_duration(within));
        if let Some(not_counted) = not_counted {
            let days = Duration::from_hours(not_counted.as_hours().unsigned_abs() / 24 * 24);
            reason += &format!(", not counting {} without any", format_duration(days));
        }
        reasons.push(reason);
    }
}

/// Adds the reasons of the rules by period. For each item that a newer one stands for, the result
/// has the finest such period and the newer item's position.
fn keep_by_period(
    policy: &Policy,
    local: &[Zoned],
    reasons: &mut [Vec<String>],
) -> Vec<Option<(Period, usize)>> {
    let mut stand_ins = vec![None; local.len()];
    for (period, count) in policy.periods() {
        // Comparing neighbours is not enough: where clocks go back over midnight, the previous day
        // occurs in the middle of a day.
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
    /// Two times have equal keys exactly if they lie in the same period. When clocks go back, the
    /// repeated hour counts as two hours, because the offsets differ.
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

    /// The rule's adjective in a reason, such as "daily".
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

    /// The period that contains this time, as people write it.
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
