//! Which backup of a volume is meant: the newest good one, that of a time, or one by its id.

use std::collections::BTreeSet;

use jiff::{Timestamp, tz::TimeZone};

use super::{Backup, Destination, Origin, ROOT_ID};
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

/// The error for a volume of which there is no backup. `listed`: what there is at the destination.
pub(crate) fn no_backup_of(volume: &str, listed: &[Backup], destination: &Destination) -> Error {
    let names: BTreeSet<_> = listed.iter().map(Backup::volume).collect();
    let hint = match names.is_empty() {
        true => format!("there are no backups at {destination}; \"doctor\" looks at it"),
        false => format!("there are backups of {}", some(names.into_iter().map(str::to_owned))),
    };
    not_found(format!("there is no backup of \"{volume}\"")).with_hint(hint)
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

/// Those that this daemon made, if it made any; else those of one other daemon, or of one volume where no
/// daemon tells. Where several made some, they are one after the other only if a host of the same name made
/// them one after the other.
fn of_one_host<'a>(volume: &str, all: &'a [Backup], zone: &TimeZone) -> Result<Vec<&'a Backup>> {
    let here = |backup: &&Backup| backup.origin() == Some(Origin::Here);
    let own: Vec<_> = all.iter().filter(here).collect();
    if !own.is_empty() {
        return Ok(own);
    }
    let mut sources: Vec<(String, Vec<&Backup>)> = Vec::new();
    for backup in all {
        let root = backup.field(ROOT_ID);
        let key = if root.is_empty() { backup.source() } else { root.to_owned() };
        match sources.iter_mut().find(|(of, _)| *of == key) {
            Some((_, backups)) => backups.push(backup),
            None => sources.push((key, vec![backup])),
        }
    }
    // Newest first, as the backups are.
    let are_one = sources.windows(2).all(|pair| {
        let (newer, older) = (&pair[0].1, &pair[1].1);
        let host =
            |backups: &[&Backup]| backups.first().map(|backup| backup.field("Host").to_owned());
        let is_named = host(newer).is_some_and(|host| !host.is_empty());
        let first_of_newer = newer.last().and_then(|backup| taken(backup));
        let last_of_older = older.first().and_then(|backup| taken(backup));
        is_named && host(newer) == host(older) && last_of_older < first_of_newer
    });
    if are_one {
        return Ok(all.iter().collect());
    }
    let of = |(_, backups): &(String, Vec<&Backup>)| {
        let newest = backups.first()?;
        let host = Some(newest.field("Host")).filter(|host| !host.is_empty());
        Some(format!("{} (the newest is {})", host.unwrap_or("one"), shown(newest, zone)))
    };
    let named = some(sources.iter().filter_map(of));
    let message = format!(
        "there are backups of several volumes \"{volume}\", of different hosts or times: {named}"
    );
    Err(Error::usage(message)
        .with_hint(format!("name one backup by its id; \"backups {volume}\" lists them")))
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
fn some(names: impl Iterator<Item = String>) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convoy::extensions::ORIGIN;

    /// A backup with this name, of that minute, made by a host and a daemon.
    fn backup(name: &str, minute: u32, (host, root): (&str, &str)) -> Backup {
        let fields = [
            ("BackupName", format!("backup-{name}")),
            ("BackupURL", format!("vfs:///b?backup=backup-{name}&volume=wiki")),
            ("VolumeName", "wiki".to_owned()),
            ("SnapshotName", "s1".to_owned()),
            ("SnapshotCreatedAt", format!("Mon Nov 23 07:{minute:02}:48 +0000 2026")),
            ("Host", host.to_owned()),
            (ROOT_ID, root.to_owned()),
        ];
        let told = fields.into_iter().filter(|(_, value)| !value.is_empty());
        Backup::new(told.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn chosen(all: &[Backup], wanted: &Wanted) -> Result<String> {
        let chosen = choose("wiki", all, wanted, &TimeZone::UTC)?;
        Ok(chosen.backup.field("BackupName").to_owned())
    }

    #[test]
    fn the_minute_that_a_list_shows_is_that_of_its_backup() {
        let all = [backup("b", 9, ("one", "r1")), backup("a", 5, ("one", "r1"))];
        let now: jiff::Zoned = "2026-11-23T12:00:00+00:00[UTC]".parse().unwrap();
        for (at, name) in [("07:05", "backup-a"), ("07:08", "backup-a"), ("07:09", "backup-b")] {
            let at = crate::time_words::parse(at, &now, crate::time_words::Day::End).unwrap();
            assert_eq!(chosen(&all, &Wanted { at: Some(at), id: None }).unwrap(), name);
        }
    }

    #[test]
    fn backups_of_several_hosts_are_not_taken_for_those_of_one() {
        let newest = Wanted::default();
        // The same daemon, whatever its host was called.
        let renamed = [backup("b", 9, ("two", "r1")), backup("a", 5, ("one", "r1"))];
        assert_eq!(chosen(&renamed, &newest).unwrap(), "backup-b");
        // One host, set up anew.
        let anew = [backup("b", 9, ("one", "r2")), backup("a", 5, ("one", "r1"))];
        assert_eq!(chosen(&anew, &newest).unwrap(), "backup-b");
        // Two hosts, of different names or of the same name at the same time.
        let others = [backup("b", 9, ("two", "r2")), backup("a", 5, ("one", "r1"))];
        let twins = [
            backup("c", 9, ("one", "r1")),
            backup("b", 7, ("one", "r2")),
            backup("a", 5, ("one", "r1")),
        ];
        for mixed in [&others[..], &twins] {
            let error = chosen(mixed, &newest).unwrap_err();
            assert!(error.message.contains("several volumes \"wiki\""), "{error}");
            let by_id = Wanted { at: None, id: Some("a".to_owned()) };
            assert_eq!(chosen(mixed, &by_id).unwrap(), "backup-a");
        }
        // This daemon's own count, if there are some.
        let mut with_own = twins.to_vec();
        with_own[1] = backup("b", 7, ("one", "r2"));
        let mut fields = std::collections::BTreeMap::from(with_own[1].clone());
        fields.insert(ORIGIN.to_owned(), Origin::Here.as_str().to_owned());
        with_own[1] = Backup::new(fields);
        assert_eq!(chosen(&with_own, &newest).unwrap(), "backup-b");
    }
}
