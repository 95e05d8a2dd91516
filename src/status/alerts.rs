//! The problems of volumes and destinations that `serve` reports and resolves after each look.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};

use super::{
    freshness::State,
    known::{DestinationLook, DestinationVerdict},
    volume::VolumeStatus,
};
use crate::{
    diagnostic::explained,
    error::{Error, ErrorKind},
    notify::{Notifier, Repeat},
};

/// The key of the problem of a volume without a fresh backup, without the volume's name.
const FRESHNESS_KEY: &str = "freshness ";
/// The key of the problem of a volume that the daemon no longer lists, without the volume's name.
const GONE_KEY: &str = "gone ";
/// The key of the problem of a destination, without its URL.
const DESTINATION_KEY: &str = "destination ";

/// The key of the problem of volumes whose newest backup can't be restored.
const BROKEN_KEY: &str = "broken backups";
/// The key of the problem of volumes that have another problem, which no other message tells.
const UNSAFE_KEY: &str = "unsafe volumes";
/// The key of the problem that the store of runs can't be read.
const STORE_KEY: &str = "store of runs";

/// The key of the problem that a look fails or does not end. A look does not decide on it: as long as
/// it is open, what looks found is old.
pub(crate) const LOOK_KEY: &str = "look at the volumes";

/// Whether each look decides on the problem with this key: `status` then shows its present state.
pub(crate) fn is_checked_by_look(key: &str) -> bool {
    let ours =
        [FRESHNESS_KEY, GONE_KEY, DESTINATION_KEY, BROKEN_KEY, UNSAFE_KEY, STORE_KEY, "daemon"];
    key.strip_prefix("problem ")
        .is_some_and(|key| ours.iter().any(|prefix| key.starts_with(prefix)))
}

/// Reports a volume whose newest good backup is too old, or that the daemon no longer lists.
/// `has_others`: whether the daemon lists other volumes. `zone`: the one of the times in the text.
pub(crate) fn report_volume(
    notifier: &Notifier,
    volume: &VolumeStatus,
    has_others: bool,
    zone: &TimeZone,
) {
    let name = &volume.label();
    let moment =
        |time: Timestamp| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
    let newest = volume.last_backup.as_ref().map_or_else(
        || "It has no good backup at all.".to_owned(),
        |backup| {
            format!("Its newest good backup was made {}:\n{}", moment(backup.made), backup.url)
        },
    );
    if volume.gone {
        // A daemon that lists no volume at all is an accident, so reminders follow the first alert.
        let repeat = if has_others { Repeat::Never } else { Repeat::AfterAWhile };
        let text = format!(
            "The daemon does not list the volume \"{name}\" any more, and no run of this program deleted it. Its backups are kept.\n\n{newest}\n\n\
             If that was meant, say so with: convoy-backups status --forget {}\nElse restore it with: convoy-backups restore",
            volume.name
        );
        notifier.problem_with(
            &format!("{GONE_KEY}{name}"),
            &format!("{name} is gone from the daemon"),
            &text,
            repeat,
        );
        return;
    }
    let Some(since) = volume.verdict.overdue_since() else { return };
    log::error!("no fresh backup of \"{name}\": one should have been there by {since}");
    let text = format!(
        "A good backup of the volume \"{name}\" should have been there by {}.\n\n{newest}\n\n{}\n\nLook closer with: convoy-backups status",
        moment(since),
        volume.problems.join("\n")
    );
    notifier.problem(
        &format!("{FRESHNESS_KEY}{name}"),
        &format!("no fresh backup of {name}"),
        &text,
    );
}

/// Reports, in one message, the volumes whose newest backup can't be restored, and resolves that
/// once each has a good one again.
pub(crate) fn report_broken(notifier: &Notifier, volumes: &BTreeMap<String, VolumeStatus>) {
    let broken = volumes.iter().filter(|(_, volume)| !volume.gone);
    let broken: Vec<(&String, &str)> =
        broken.filter_map(|(name, volume)| Some((name, volume.newest_is_broken()?))).collect();
    if broken.is_empty() {
        let text = "Each volume's newest backup can be restored, as far as that is known.";
        notifier.resolve(BROKEN_KEY, "the newest backups can be restored again", text);
        return;
    }
    let names: Vec<&str> = broken.iter().map(|(name, _)| name.as_str()).collect();
    let subject = match names.as_slice() {
        [name] => format!("the newest backup of {name} can't be restored"),
        names => format!("the newest backups of {} can't be restored", names.join(", ")),
    };
    log::error!("{subject}");
    let lines: Vec<_> = broken.iter().map(|(name, why)| format!("- {name}: {why}")).collect();
    let text = format!(
        "These volumes have no good backup of their newest data:\n\n{}\n\n\
         Make new backups with: convoy-backups backup --create-snapshot\n\
         They store again what the volumes still have. Where that fails, look at the destination's disk (docs/troubleshooting.md), or back up to another one.\n\
         Look closer with: convoy-backups status",
        lines.join("\n")
    );
    notifier.problem(BROKEN_KEY, &subject, &text);
}

/// Reports, in one message, the volumes that are not safe for a reason that no other message tells, and
/// resolves that once there are none. So nobody needs to look at `status` to know that it is red.
pub(crate) fn report_unsafe(notifier: &Notifier, volumes: &BTreeMap<String, VolumeStatus>) {
    let is_so = |volume: &VolumeStatus| !volume.gone && !volume.untold.is_empty();
    let is_unsafe: Vec<_> = volumes.iter().filter(|(_, volume)| is_so(volume)).collect();
    let names: Vec<&str> = is_unsafe.iter().map(|(name, _)| name.as_str()).collect();
    let subject = match names.as_slice() {
        [] => {
            let text =
                "The last look at the volumes found none of the problems that this was about.";
            notifier.resolve(UNSAFE_KEY, "the volumes are well again", text);
            return;
        }
        [name] => format!("{name} is not known to be safe"),
        names => format!("{} are not known to be safe", names.join(", ")),
    };
    log::error!("{subject}");
    let lines =
        is_unsafe.iter().map(|(name, volume)| format!("- {name}: {}", volume.untold.join("; ")));
    let text = format!(
        "{}\n\nLook closer with: convoy-backups status",
        lines.collect::<Vec<_>>().join("\n")
    );
    notifier.problem(UNSAFE_KEY, &subject, &text);
}

/// Reports that the store of runs can't be read, and resolves that.
pub(crate) fn report_store(notifier: &Notifier, error: Option<&Error>) {
    match error {
        Some(error) if error.kind == ErrorKind::Busy => {}
        Some(error) => {
            let text = format!(
                "{}\n\nBackups go on. Look closer with: convoy-backups status",
                explained(error)
            );
            notifier.problem(STORE_KEY, "what ran before is not known", &text);
        }
        None => notifier.resolve(
            STORE_KEY,
            "what ran before is known again",
            "The store of runs can be read.",
        ),
    }
}

/// Reports destinations that lack their newest backup, and resolves those that have it again.
pub(crate) fn report_destinations(notifier: &Notifier, looks: &[DestinationLook]) {
    for look in looks {
        let key = format!("{DESTINATION_KEY}{}", look.destination);
        match &look.verdict {
            DestinationVerdict::Wrong(error) => {
                log::error!("{error}");
                let text =
                    format!("{}\n\nLook closer with: convoy-backups doctor", explained(error));
                notifier.problem(&key, &look.subject(), &text);
            }
            DestinationVerdict::Busy => {}
            DestinationVerdict::Well => notifier.resolve(
                &key,
                &format!("{} is well again", look.destination),
                "The newest backups that should be there are there.",
            ),
        }
    }
}

/// Resolves the problems of volumes and destinations that are over. A problem of a volume that is
/// gone, or of a destination that is no longer used, is dropped without a message.
pub(crate) fn resolve_ended(
    notifier: &Notifier,
    known: &BTreeMap<String, VolumeStatus>,
    looks: &[DestinationLook],
) {
    let reported = notifier.problems().unwrap_or_default();
    for key in reported.keys().filter_map(|key| key.strip_prefix("problem ")) {
        if let Some(name) = key.strip_prefix(GONE_KEY) {
            match known.get(name) {
                Some(volume) if volume.gone => {}
                Some(_) => notifier.resolve(
                    key,
                    &format!("{name} is there again"),
                    "The daemon lists it again.",
                ),
                // A person said that the volume was meant to go, or it never had a backup and has been
                // gone for long.
                None => notifier.drop_problem(key),
            }
        } else if let Some(destination) = key.strip_prefix(DESTINATION_KEY) {
            if !looks.iter().any(|look| look.destination == destination) {
                notifier.drop_problem(key);
            }
        } else if let Some(name) = key.strip_prefix(FRESHNESS_KEY) {
            match known.get(name) {
                None => notifier.drop_problem(key),
                Some(volume) if volume.gone => notifier.drop_problem(key),
                Some(volume) => resolve_overdue(notifier, key, volume),
            }
        }
    }
}

/// Resolves an overdue backup once the volume has a fresh one. A line of the crontab that is gone
/// resolves nothing: the volume is as unsafe as before.
fn resolve_overdue(notifier: &Notifier, key: &str, volume: &VolumeStatus) {
    let name = volume.label();
    match volume.verdict.state {
        State::Fresh => {
            let url = volume.last_backup.as_ref().map(|backup| backup.url.as_str());
            notifier.resolve(key, &format!("{name} is well again"), url.unwrap_or_default());
        }
        State::Awaited | State::Missing | State::Overdue => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_fails_does_not_decide_on_its_own_problem() {
        assert!(is_checked_by_look(&format!("problem {FRESHNESS_KEY}watch")));
        assert!(!is_checked_by_look(&format!("problem {LOOK_KEY}")));
    }
}
