//! What `doctor` says of the places where volumes are: whether their files can be read, of which
//! moment they are, and whether what writes to them is held still.

use std::collections::BTreeMap;

use super::check::{Check, Verdict, failed, warning};
use crate::convoy::{COMMANDS, HOLD, LIVE_DATABASE, MOMENT, MOMENT_NOTE, PROBLEM, Volume};

/// How many volumes one line names.
const NAMED: usize = 10;
/// How a volume's writers are held where the operator's commands do that.
const BY_COMMANDS: &str = "command";

/// A check for each kind of moment that volumes have, and for each volume whose files can't be read.
pub(super) fn checks(volumes: &BTreeMap<String, Volume>) -> Vec<Check> {
    let mut by_moment: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for volume in volumes.values() {
        if let Some(problem) = volume.told(PROBLEM) {
            wrong.push(failed("volume", problem, "until then its backups fail; the others go on"));
        } else if let Some(moment) = volume.told(MOMENT) {
            let note = volume.told(MOMENT_NOTE).unwrap_or_default();
            by_moment.entry((moment, note)).or_default().push(&volume.name);
        }
    }
    let moments = by_moment.into_iter().map(|(moment, names)| told(moment, &names));
    moments
        .chain(held(volumes))
        .chain(held_containers(volumes))
        .chain(in_containers(volumes))
        .chain(live_databases(volumes))
        .chain(wrong)
        .collect()
}

/// A check of each volume that containers write to now, with what is done to them.
fn held_containers(volumes: &BTreeMap<String, Volume>) -> impl Iterator<Item = Check> {
    let held = volumes.values().filter_map(|volume| Some((&volume.name, volume.told(HOLD)?)));
    held.filter(|(_, how)| *how != BY_COMMANDS).map(|(name, how)| Check {
        what: "hold",
        verdict: Verdict::Ok,
        found: format!("{name}: each backup will {how} for a moment"),
        hint: None,
    })
}

/// A check of each volume for which something is done in containers, with what.
fn in_containers(volumes: &BTreeMap<String, Volume>) -> impl Iterator<Item = Check> {
    let asked = volumes.values().filter_map(|volume| Some((&volume.name, volume.told(COMMANDS)?)));
    asked.map(|(name, told)| Check {
        what: "commands",
        verdict: Verdict::Ok,
        found: format!("{name}: each backup will {told}"),
        hint: None,
    })
}

/// A check for each kind of database that is saved while it writes.
fn live_databases(volumes: &BTreeMap<String, Volume>) -> impl Iterator<Item = Check> {
    let mut by_kind: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for volume in volumes.values() {
        if let Some(database) = volume.told(LIVE_DATABASE) {
            by_kind.entry(database).or_default().push(&volume.name);
        }
    }
    by_kind.into_iter().map(|(database, names)| {
        let value = if database == "sqlite" { "sqlite:/path/in/the/container" } else { database };
        warning(
            "database",
            format!("{}: {database} is saved while it writes, and may not open", listed(&names)),
            format!("give its container the label convoy-backups.dump={value}, or hold it still (docs/databases.md)"),
        )
    })
}

/// A check of the volumes whose writers are held still by commands, if there are any.
fn held(volumes: &BTreeMap<String, Volume>) -> Option<Check> {
    let held = volumes.values().filter(|volume| volume.told(HOLD) == Some(BY_COMMANDS));
    let names: Vec<_> = held.map(|volume| volume.name.as_str()).collect();
    let found = || format!("{}: what writes to them is held still, by BKUP_HOLD", listed(&names));
    (!names.is_empty()).then(|| Check {
        what: "hold",
        verdict: Verdict::Ok,
        found: found(),
        hint: None,
    })
}

fn listed(names: &[&str]) -> String {
    let mut listed = names[..names.len().min(NAMED)].join(", ");
    if names.len() > NAMED {
        listed.push_str(&format!(" and {} more", names.len() - NAMED));
    }
    listed
}

fn told((moment, note): (&str, &str), names: &[&str]) -> Check {
    let listed = listed(names);
    let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
    Check {
        what: "moment",
        verdict: Verdict::Ok,
        found: format!("{moment}: {listed}: {}{note}", meaning(moment)),
        hint: None,
    }
}

/// What a moment means for a backup.
fn meaning(moment: &str) -> &'static str {
    match moment {
        "live" => "files that change while they are read may be torn",
        "reflink" => "all files are of one moment, unless some change all the time",
        "command" => "all files are of one moment, by the commands of the configuration",
        _ => "all files are of one moment",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str, told: &[(&str, &str)]) -> (String, Volume) {
        let told = told.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned()));
        let volume =
            Volume { name: name.into(), driver_info: Some(told.collect()), ..Volume::default() };
        (name.to_owned(), volume)
    }

    #[test]
    fn volumes_with_one_moment_share_a_line_and_those_that_cannot_be_read_have_their_own() {
        let live = [(MOMENT, "live")];
        let mut volumes: BTreeMap<_, _> =
            (10..22).map(|number| volume(&format!("vol{number}"), &live)).collect();
        volumes.extend([
            volume("site", &[(MOMENT, "btrfs")]),
            volume("odd", &[(MOMENT, "live"), (MOMENT_NOTE, "no subvolume")]),
            volume("db", &[(MOMENT, "btrfs"), (LIVE_DATABASE, "postgres")]),
            volume("gone", &[(MOMENT, "live"), (PROBLEM, "it is not there")]),
            volume("convoys", &[]),
        ]);
        let found: Vec<_> = checks(&volumes).into_iter().map(|check| check.found).collect();
        assert_eq!(
            found,
            [
                "btrfs: db, site: all files are of one moment",
                "live: vol10, vol11, vol12, vol13, vol14, vol15, vol16, vol17, vol18, vol19 and 2 more: files that change while they are read may be torn",
                "live: odd: files that change while they are read may be torn (no subvolume)",
                "db: postgres is saved while it writes, and may not open",
                "it is not there",
            ]
        );
    }
}
