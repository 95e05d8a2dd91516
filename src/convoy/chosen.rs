//! Which backup of a volume is meant: the newest good one, that of a time, or one by its id.

use std::collections::BTreeSet;

use jiff::{Timestamp, tz::TimeZone};

use super::{Backup, Origin};
use crate::error::{Error, ErrorKind, Result};

/// What the names of backups begin with, but for those at EBS.
const PREFIX: &str = "backup-";
/// So many digits of a name are enough for people.
const DIGITS: usize = 8;
/// So many backups or volumes are named in an error.
const NAMED: usize = 5;

/// What was asked for. Without a time and an id, the newest good backup is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The newest good backup of this time or before.
    pub(crate) at: Option<Timestamp>,
    /// The backup whose name begins so, with or without `backup-`, good or not. Its URL is an id, too.
    pub(crate) id: Option<String>,
}

/// The backup that is meant, and what is to be said of the choice.
#[derive(Debug)]
pub(crate) struct Chosen<'a> {
    pub(crate) backup: &'a Backup,
    pub(crate) warning: Option<String>,
}

/// What names a backup for people: `7ec99f88` for `backup-7ec99f8812345678`.
pub(crate) fn short_id(name: &str) -> &str {
    match name.strip_prefix(PREFIX) {
        Some(digits) => digits.get(..DIGITS).unwrap_or(digits),
        None => name,
    }
}

/// The backup of `volume` that is meant, among all of that name, newest first. Times in errors are in
/// this zone.
///
/// # Errors
/// A usage error where it is not clear which one is meant, [`ErrorKind::NotFound`] where there is none.
pub(crate) fn choose<'a>(
    volume: &str,
    all: &'a [Backup],
    wanted: &Wanted,
    zone: &TimeZone,
) -> Result<Chosen<'a>> {
    let list = format!("\"backups {volume}\" lists all");
    let (at, id) = match (wanted.at, &wanted.id) {
        (Some(_), Some(_)) => {
            let error = Error::usage("a time and a backup were given");
            return Err(error.with_hint("give one of them: --at or --backup"));
        }
        (at, id) => (at, id),
    };
    if let Some(id) = id {
        return by_id(volume, all, id, zone);
    }
    let candidates = of_one_host(volume, all, zone)?;
    let Some(first) = candidates.last() else {
        return Err(not_found(format!("there is no backup of \"{volume}\"")));
    };
    let is_old_enough =
        |backup: &&&Backup| at.is_none_or(|at| taken(backup).is_some_and(|taken| taken <= at));
    let old_enough: Vec<_> = candidates.iter().filter(is_old_enough).copied().collect();
    let Some(newest) = old_enough.first() else {
        let at = at.map(|at| time(at, zone)).unwrap_or_default();
        let first = shown(first, zone);
        return Err(not_found(format!(
            "there is no backup of \"{volume}\" of {at} or before; the first one is {first}"
        ))
        .with_hint(list));
    };
    let good = old_enough.iter().find(|backup| what_is_wrong(backup).is_none());
    let passed_over = what_is_wrong(newest).map(|why| format!("{} is {why}", shown(newest, zone)));
    let Some(good) = good else {
        let why = passed_over.unwrap_or_default();
        let count = old_enough.len();
        return Err(not_found(format!("no backup of \"{volume}\" is good, of {count}: {why}"))
            .with_hint(format!("{list}; --backup ID takes one all the same")));
    };
    let warning =
        passed_over.map(|why| format!("a newer backup of \"{volume}\" is passed over: {why}"));
    Ok(Chosen { backup: good, warning })
}

fn by_id<'a>(volume: &str, all: &'a [Backup], id: &str, zone: &TimeZone) -> Result<Chosen<'a>> {
    let begins = |backup: &&Backup| {
        let name = name(backup);
        let digits = name.strip_prefix(PREFIX).unwrap_or(name);
        name.starts_with(id) || digits.starts_with(id) || backup.field("BackupURL") == id
    };
    let found: Vec<_> = all.iter().filter(begins).collect();
    match found[..] {
        [backup] => {
            let warning =
                what_is_wrong(backup).map(|why| format!("{} is {why}", shown(backup, zone)));
            Ok(Chosen { backup, warning })
        }
        [] => {
            let newest =
                all.first().map(|newest| format!("; the newest is {}", shown(newest, zone)));
            let message = format!("no backup of \"{volume}\" has an id that begins with \"{id}\"");
            let newest = newest.unwrap_or_default();
            Err(not_found(message)
                .with_hint(format!("\"backups {volume}\" lists their ids{newest}")))
        }
        _ => {
            let named = some(found.iter().map(|backup| shown(backup, zone)));
            let count = found.len();
            Err(Error::usage(format!(
                "the ids of {count} backups of \"{volume}\" begin with \"{id}\": {named}"
            ))
            .with_hint("give more of the id"))
        }
    }
}

/// Those that this daemon made, if it made any; else those of the only host that did.
fn of_one_host<'a>(volume: &str, all: &'a [Backup], zone: &TimeZone) -> Result<Vec<&'a Backup>> {
    let here = |backup: &&Backup| backup.origin() == Some(Origin::Here);
    let own: Vec<_> = all.iter().filter(here).collect();
    if !own.is_empty() {
        return Ok(own);
    }
    let hosts: BTreeSet<_> = all.iter().map(|backup| backup.field("Host")).collect();
    if hosts.len() < 2 {
        return Ok(all.iter().collect());
    }
    let of = |host: &&str| {
        let newest = all.iter().find(|backup| backup.field("Host") == *host);
        newest.map(|newest| format!("{host} (the newest is {})", shown(newest, zone)))
    };
    let named = some(hosts.iter().filter_map(of));
    Err(Error::usage(format!("several hosts have backups of a volume \"{volume}\": {named}"))
        .with_hint(format!("name one by its id, --backup ID; \"backups {volume}\" lists them")))
}

/// Why a backup is taken only if it is named; `None` if it is good.
fn what_is_wrong(backup: &Backup) -> Option<String> {
    if !backup.is_complete() {
        return Some(format!("not complete: {}", backup.field("State")));
    }
    let broken = backup.broken().map(|why| format!("broken: {why}"));
    let partial = || Some(format!("partial: {}", backup.moment().lacks()?));
    let doubt = || backup.doubt().map(|why| format!("in doubt: {why}"));
    broken.or_else(partial).or_else(doubt)
}

/// When the volume was as it is in the backup.
fn taken(backup: &Backup) -> Option<Timestamp> {
    backup.taken().or_else(|| backup.created())
}

fn name(backup: &Backup) -> &str {
    let names = ["BackupName", "EBSSnapshotID", "BackupURL"];
    names.iter().map(|name| backup.field(name)).find(|name| !name.is_empty()).unwrap_or_default()
}

/// The backup for people: `7ec99f88 (2026-11-23 07:00)`.
fn shown(backup: &Backup, zone: &TimeZone) -> String {
    let at = taken(backup).map_or_else(|| "at no known time".to_owned(), |at| time(at, zone));
    format!("{} ({at})", short_id(name(backup)))
}

fn time(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// Some of these, separated by commas.
pub(crate) fn some(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<_> = names.take(NAMED + 1).collect();
    if names.len() > NAMED {
        names.truncate(NAMED);
        names.push("..".to_owned());
    }
    names.join(", ")
}

fn not_found(message: String) -> Error {
    Error::new(ErrorKind::NotFound, message)
}
