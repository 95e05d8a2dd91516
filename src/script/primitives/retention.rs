//! `retention::`: what to keep, and why.

use std::time::Duration;

use rhai::plugin::*;
use rhai::{Array, Map};

use super::{
    call::{Returned, call, string},
    options::Options,
    time,
};
use crate::{
    error::{Error, ErrorKind, Result},
    retention::{Item, Policy, plan as decide},
    script::run::Run,
};

/// The policy's words.
const KEYS: [&str; 8] = [
    "keep_last",
    "keep_hourly",
    "keep_daily",
    "keep_weekly",
    "keep_monthly",
    "keep_yearly",
    "keep_within",
    "keep_at_least",
];

/// How far ahead of this host's clock another one may be.
const FUTURE: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

#[export_module]
pub(crate) mod functions {
    /// Decides which items to keep. Items are backups, snapshots, or maps with `id` and `time`. The
    /// policy has `keep_last`, `keep_hourly`, `keep_daily`, `keep_weekly`, `keep_monthly`,
    /// `keep_yearly`, `keep_at_least` (numbers) and `keep_within` (seconds); what is `()` does not
    /// count. Nothing is deleted. The result, newest first, has for each item `id`, `keep`,
    /// `reasons` and the `item` itself. Of equal times, the first in the list is the newest. An
    /// item whose time is not known, or lies in the future, is kept and counts for nothing.
    ///
    /// ```rhai
    /// for decision in retention::plan(convoy::backups("vol1"), #{ keep_daily: 7, keep_at_least: 1 }) {
    ///     log::info(`${decision.id}: keep ${decision.keep}, ${decision.reasons}`);
    /// }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn plan(ctx: NativeCallContext, items: Array, policy: Map) -> Returned<Array> {
        call(&ctx, |run| plan_items(run, &items, &policy))
    }
}

fn plan_items(run: &Run, items: &[Dynamic], policy: &Map) -> Result<Array> {
    let policy = read_policy(policy)?;
    let mut ids = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut known = Vec::new();
    let mut untimely = Vec::new();
    let now = run.host.clock.now();
    for (index, original) in items.iter().enumerate() {
        let (id, time) = read_item(original)?;
        if !seen.insert(id.clone()) {
            return Err(Error::new(
                ErrorKind::Script,
                format!("the item \"{id}\" is in the list twice"),
            ));
        }
        match time {
            // One from the future would make all the others look old, and be the newest for years.
            Some(time) if time.duration_since(now) > FUTURE => {
                untimely.push((index, "dated in the future: some clock was wrong"))
            }
            // Of equal times the first in the list is the newest, as in the daemon's lists; the
            // plan goes by the greatest id.
            Some(time) => known.push(Item { id: format!("{:012}", items.len() - index), time }),
            None => untimely.push((index, "its time is not known")),
        }
        ids.push(id);
    }
    let decisions = decide(&known, &policy, &run.host.clock.time_zone())?;
    let index = |rank: &str| rank.parse::<usize>().map_or(0, |rank| items.len() - rank);
    let planned = decisions
        .into_iter()
        .map(|decision| (index(&decision.id), decision.keep, decision.reasons));
    let kept = untimely.into_iter().map(|(index, reason)| (index, true, vec![reason.to_owned()]));
    Ok(planned
        .chain(kept)
        .map(|(index, keep, reasons)| {
            let reasons: Array = reasons.into_iter().map(Dynamic::from).collect();
            Map::from_iter([
                ("id".into(), ids[index].clone().into()),
                ("keep".into(), keep.into()),
                ("reasons".into(), reasons.into()),
                ("item".into(), items[index].clone()),
            ])
            .into()
        })
        .collect())
}

/// An item's id and time, under our names or the daemon's; no time where the daemon gave none.
fn read_item(item: &Dynamic) -> Result<(String, Option<jiff::Timestamp>)> {
    let wrong = |what: &str| {
        Error::new(ErrorKind::Script, format!("an item has no {what}"))
            .with_hint("give backups, snapshots, or maps such as #{ id: \"a\", time: time::now() }")
    };
    let map = item.as_map_ref().map_err(|_| wrong("id: it is no map"))?;
    let first = |keys: [&str; 3]| keys.into_iter().find_map(|key| map.get(key));
    let id =
        string(first(["id", "BackupURL", "Name"]).ok_or_else(|| wrong("id"))?, "id of an item")?;
    let time = first(["time", "CreatedTime", "StartTime"]).ok_or_else(|| wrong("time"))?;
    let time =
        if time.is_unit() || time.to_string().is_empty() { None } else { Some(time::point(time)?) };
    Ok((id, time))
}

fn read_policy(map: &Map) -> Result<Policy> {
    let options = Options::new(map, "a retention policy", &KEYS)?;
    let count = |name: &str| -> Result<Option<u32>> {
        Ok(options.number(name)?.map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
    };
    Ok(Policy {
        keep_last: count("keep_last")?,
        keep_hourly: count("keep_hourly")?,
        keep_daily: count("keep_daily")?,
        keep_weekly: count("keep_weekly")?,
        keep_monthly: count("keep_monthly")?,
        keep_yearly: count("keep_yearly")?,
        keep_within: options.number("keep_within")?.map(Duration::from_secs),
        keep_at_least: count("keep_at_least")?,
    })
}
