//! `retention::`: what to keep, and why.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use rhai::plugin::*;
use rhai::{Array, EvalAltResult, FnPtr, Map};

use super::{
    call::{Returned, call, call_surely, string},
    options::Options,
    run, time,
};
use crate::{
    clock::is_in_future,
    convoy::{DOUBT, snapshot_time},
    error::{Error, ErrorKind, Result},
    retention::{self, Decision, Item, Policy, RULES},
    script::{
        running::RunningScript,
        thrown::{of_thrown, raise},
    },
};

#[export_module]
pub(crate) mod functions {
    /// Decides which items to keep, and deletes nothing. Items are backups, snapshots, or maps with
    /// `id` and `time`. The policy has `keep_last`, `keep_hourly`, `keep_daily`, `keep_weekly`,
    /// `keep_monthly`, `keep_yearly`, `keep_at_least` (numbers) and `keep_within` (seconds); a rule
    /// that is `()` does not count. For `keep_within`, the latest time of more than a week without
    /// items does not count. The result, newest first, has for each item `id`, `keep`, `reasons` and
    /// the `item` itself. Of items with equal times, the first in the list is the
    /// newest. An item whose time is unknown or in the future is kept, and no rule counts it. Where
    /// names of snapshots are in the future, the newest by its name is kept. An item with `Doubt` is
    /// kept while none without it is newer, and else the rules count such items apart. Fails with
    /// `usage` where the policy keeps nothing, and with `script` where an item has no `id` or
    /// `time`, or two have the same `id`.
    ///
    /// ```rhai
    /// for decision in retention::plan(convoy::backups("vol1"), #{ keep_daily: 7, keep_at_least: 1 }) {
    ///     log::info(`${decision.id}: keep ${decision.keep}, ${decision.reasons}`);
    /// }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn plan(ctx: NativeCallContext, items: Array, policy: Map) -> Returned<Array> {
        call(&ctx, |run| decisions(run, &items, &policy))
    }

    /// The policy for `retention::plan` from a script's arguments. Arguments that are not rules of
    /// a policy are left out. Fails with `usage` where a rule is negative, and where no rule keeps
    /// anything.
    ///
    /// ```rhai
    /// let policy = retention::policy(#{ volume: "vol1", keep_daily: 7, keep_within: 24 * 3600 });
    /// let plan = retention::plan(convoy::backups("vol1"), policy);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn policy(ctx: NativeCallContext, arguments: Map) -> Returned<Map> {
        call(&ctx, |run| policy_of(run, arguments))
    }

    /// Carries out a plan of `retention::plan` for a volume: calls a function with the `id` of each
    /// item that is not kept, the oldest first. After the first call that fails, no further call is
    /// made; the failure is recorded as by `run::failed`, and the run goes on. The result describes
    /// each item, newest first: `VolumeName`, `BackupURL` (of a snapshot `SnapshotName`, of other
    /// items `Id`), `CreatedTime`, `Keep`, `Reasons`, and of an item that is not kept what became of
    /// it: `Deleted: true`, the message as `Error`, or `NotTried: true` after another one failed. An
    /// item that is gone already (`not_found`) counts as deleted: another run may have been faster.
    /// Fails with `script` where the plan is not one of `retention::plan`.
    ///
    /// ```rhai
    /// let plan = retention::plan(convoy::backups("vol1"), #{ keep_daily: 7 });
    /// retention::carry_out("vol1", plan, |url| convoy::delete_backup(url));
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn carry_out(
        ctx: NativeCallContext,
        volume: &str,
        plan: Array,
        delete: FnPtr,
    ) -> Returned<Array> {
        carry_out_plan(&ctx, volume, &plan, &delete)
    }
}

fn carry_out_plan(
    ctx: &NativeCallContext<'_>,
    volume: &str,
    plan: &[Dynamic],
    delete: &FnPtr,
) -> Returned<Array> {
    let rows: Result<Vec<Row>> = plan.iter().map(|decision| Row::new(volume, decision)).collect();
    let mut rows = raise(rows, ctx.call_position())?;
    for row in rows.iter_mut().rev().filter(|row| !row.keep) {
        let result = delete.call_within_context::<Dynamic>(ctx, (row.id.clone(),));
        match result {
            Ok(_) => row.shown.insert("Deleted".into(), true.into()),
            Err(error) if error.is_catchable() => {
                let error = caught(*error);
                if error.kind == ErrorKind::NotFound {
                    let gone = format!("\"{}\" was gone already: {}", row.id, error.message);
                    call_surely(ctx, |run| run.log(log::Level::Info, &gone));
                    row.shown.insert("Deleted".into(), true.into());
                    continue;
                }
                row.shown.insert("Error".into(), error.message.clone().into());
                call_surely(ctx, |run| run::record_failure(run, volume, error));
                break;
            }
            Err(end) => return Err(end),
        };
    }
    for row in rows.iter_mut().filter(|row| !row.keep) {
        if !["Deleted", "Error"].iter().any(|done| row.shown.contains_key(*done)) {
            row.shown.insert("NotTried".into(), true.into());
        }
    }
    Ok(rows.into_iter().map(|row| row.shown.into()).collect())
}

/// The error that the script's own `catch` would have got.
fn caught(mut error: EvalAltResult) -> Error {
    match error.unwrap_inner() {
        EvalAltResult::ErrorRuntime(value, _) => of_thrown(value),
        _ => {
            error.clear_position();
            Error::new(ErrorKind::Script, error.to_string())
        }
    }
}

/// One decision in the result of a run.
struct Row {
    id: Dynamic,
    keep: bool,
    shown: Map,
}

impl Row {
    fn new(volume: &str, decision: &Dynamic) -> Result<Self> {
        let wrong = || {
            Error::new(ErrorKind::Script, "this is not a plan of retention::plan")
                .with_hint("its elements are maps with \"id\", \"keep\", \"reasons\" and \"item\"")
        };
        let map = decision.as_map_ref().map_err(|_| wrong())?;
        let field = |name: &str| map.get(name).cloned().ok_or_else(wrong);
        let (id, reasons, item) = (field("id")?, field("reasons")?, field("item")?);
        let keep = field("keep")?.as_bool().map_err(|_| wrong())?;
        let item = item.as_map_ref().map_err(|_| wrong())?;
        let kind = match item {
            _ if item.contains_key("id") => "Id",
            _ if item.contains_key("BackupURL") => "BackupURL",
            _ => "SnapshotName",
        };
        let mut shown = Map::from_iter([
            ("VolumeName".into(), volume.into()),
            (kind.into(), id.clone()),
            ("Keep".into(), keep.into()),
            ("Reasons".into(), reasons),
        ]);
        if let Some(time) =
            ["StartTime", "CreatedTime", "time"].iter().find_map(|key| item.get(*key))
        {
            shown.insert("CreatedTime".into(), time.clone());
        }
        Ok(Self { id, keep, shown })
    }
}

fn policy_of(run: &RunningScript, mut arguments: Map) -> Result<Map> {
    arguments.retain(|name, value| RULES.contains(&name.as_str()) && !value.is_unit());
    let mut numbers = Vec::new();
    for (name, value) in &arguments {
        let number = value.as_int().map_err(|_| {
            Error::usage(format!("the rule \"{name}\" must be a number, 0 or more, not {value}"))
        })?;
        numbers.push((name.as_str(), number));
    }
    Policy::of_arguments(&run.script, numbers)?;
    Ok(arguments)
}

fn decisions(run: &RunningScript, items: &[Dynamic], policy: &Map) -> Result<Array> {
    let policy = read_policy(policy)?;
    let now = run.host.clock.now();
    let mut originals = HashMap::new();
    let (mut planned, mut doubted) = (Vec::new(), Vec::new());
    let mut kept_untimely = Vec::new();
    for (index, original) in items.iter().enumerate() {
        let (id, time) = read_item(original)?;
        if originals.insert(id.clone(), original).is_some() {
            return Err(Error::new(
                ErrorKind::Script,
                format!("the item \"{id}\" is in the list twice"),
            ));
        }
        match time {
            // An item from the future would make all others look old, and would stay the newest for
            // years.
            Some(time) if is_in_future(time, now) => {
                kept_untimely.push((id, "dated in the future: some clock was wrong"));
            }
            // The daemon lists the newest item first, even among equal times.
            Some(time) => {
                let items_of_kind = if is_in_doubt(original) { &mut doubted } else { &mut planned };
                items_of_kind.push(Item { id, time, rank: items.len() - index });
            }
            None => kept_untimely.push((id, "its time is not known")),
        }
    }
    let decision = |id: String, keep: bool, reasons: Vec<String>| -> Dynamic {
        let reasons: Array = reasons.into_iter().map(Dynamic::from).collect();
        let item = originals.get(&id).map_or(Dynamic::UNIT, |item| (*item).clone());
        Map::from_iter([
            ("id".into(), id.into()),
            ("keep".into(), keep.into()),
            ("reasons".into(), reasons.into()),
            ("item".into(), item),
        ])
        .into()
    };
    let newest_by_name = newest_named_ahead(items, now)?;
    let planned = plan_with_doubted(&planned, doubted, &policy, &run.host.clock.time_zone())?
        .into_iter()
        .map(|planned| match planned.keep {
            false if newest_by_name.as_ref() == Some(&planned.id) => {
                let reason = "the newest by its snapshot's name, which is in the future: some clock was wrong";
                decision(planned.id, true, vec![reason.to_owned()])
            }
            keep => decision(planned.id, keep, planned.reasons),
        });
    let untimely =
        kept_untimely.into_iter().map(|(id, reason)| decision(id, true, vec![reason.to_owned()]));
    Ok(planned.chain(untimely).collect())
}

/// The id of the backup that is the newest by its snapshot's name, if that name is in the future:
/// whether it is the newest in truth is not known, so guard 2 protects it.
fn newest_named_ahead(items: &[Dynamic], now: jiff::Timestamp) -> Result<Option<String>> {
    let mut newest = None;
    for item in items {
        let Ok(map) = item.as_map_ref() else { continue };
        let name = map.get("SnapshotName").map(ToString::to_string).unwrap_or_default();
        newest =
            newest.max(snapshot_time(&name).map(|time| (time, name)).zip(Some(read_item(item)?.0)));
    }
    let newest = newest.filter(|((time, _), _)| is_in_future(*time, now));
    Ok(newest.map(|(_, id)| id))
}

/// Whether the guards doubt that the item has all of its volume's data.
fn is_in_doubt(item: &Dynamic) -> bool {
    item.as_map_ref().is_ok_and(|map| map.contains_key(DOUBT))
}

/// Plans the good items. Those in doubt take the place of no good one: they are kept while no good
/// one is newer, and are planned among themselves after that.
fn plan_with_doubted(
    good: &[Item],
    doubted: Vec<Item>,
    policy: &Policy,
    zone: &TimeZone,
) -> Result<Vec<Decision>> {
    let newest_good = good.iter().map(|item| (item.time, item.rank)).max();
    let is_newest = |item: &Item| newest_good.is_none_or(|good| (item.time, item.rank) > good);
    let (newest, older): (Vec<Item>, Vec<Item>) = doubted.into_iter().partition(is_newest);
    let mut decided = retention::plan(good, policy, zone)?;
    decided.extend(retention::plan(&older, policy, zone)?.into_iter().map(|mut decision| {
        decision.reasons.push("it is in doubt".to_owned());
        decision
    }));
    decided.extend(newest.into_iter().map(|item| Decision {
        id: item.id,
        time: item.time,
        keep: true,
        reasons: vec!["it is in doubt, and no good one is newer".to_owned()],
    }));
    decided.sort_by_key(|decision| std::cmp::Reverse(decision.time));
    Ok(decided)
}

/// An item's id and time, under the plan's names or the daemon's. The time is `None` if the daemon
/// gave none.
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
    let options = Options::new(map, "a retention policy", &RULES)?;
    let mut rules = Vec::new();
    for name in RULES {
        rules.extend(options.number(name)?.map(|value| (name, value)));
    }
    Ok(Policy::of_rules(rules))
}
