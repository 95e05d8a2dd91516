//! The one sentence that says whether everything is safe, for `status` and the dashboard.

use jiff::{SignedDuration, Zoned};

use super::{
    freshness::{Level, State},
    known::Known,
    volume::VolumeStatus,
};
use crate::text::counted;

/// The sentence on these volumes, and how it is shown: [`Level::Good`] only if every volume has a
/// good backup that is new enough. `ok`: whether nothing is known to be wrong.
pub(super) fn headline(ok: bool, known: &Known, now: &Zoned) -> (Level, String) {
    let volumes = &known.volumes;
    let all = || counted(volumes.len(), "volume", "volumes");
    let wrong = volumes.iter().filter(|volume| !volume.problems.is_empty()).count();
    let without = without_backup(volumes);
    if wrong > 0 {
        let are = if wrong == 1 { "is" } else { "are" };
        (Level::Bad, format!("{wrong} of {} {are} not safe.", all()))
    } else if known.unreachable.is_some() {
        (Level::Bad, "The daemon does not answer.".to_owned())
    } else if !ok {
        (Level::Bad, "Something is wrong.".to_owned())
    } else if volumes.is_empty() {
        (Level::Unknown, "There are no volumes yet.".to_owned())
    } else if !without.is_empty() {
        let count = without.len();
        let of = if count == volumes.len() { all() } else { format!("{count} of {}", all()) };
        let have = if count == 1 { "has" } else { "have" };
        (Level::Unknown, format!("{of} {have} no backup yet{}.", first_due(&without, now)))
    } else if volumes.len() == 1 {
        (Level::Good, "The volume has a good backup that is new enough.".to_owned())
    } else {
        (Level::Good, "All volumes have a good backup that is new enough.".to_owned())
    }
}

/// The volumes that have no good backup yet, and nothing is wrong with them.
pub(super) fn without_backup(volumes: &[VolumeStatus]) -> Vec<&VolumeStatus> {
    let is_awaited = |volume: &&VolumeStatus| {
        volume.verdict.state == State::Awaited && volume.problems.is_empty()
    };
    volumes.iter().filter(is_awaited).collect()
}

/// When the crontab makes the first backup of one of these volumes, as the end of a sentence; empty
/// if it makes none.
fn first_due(volumes: &[&VolumeStatus], now: &Zoned) -> String {
    let Some(due) = volumes.iter().filter_map(|volume| volume.next_backup).min() else {
        return String::new();
    };
    let is_soon = due.duration_since(now.timestamp()) < SignedDuration::from_hours(24);
    let format = if is_soon { "%H:%M %Z" } else { "%Y-%m-%d %H:%M %Z" };
    let due = due.to_zoned(now.time_zone().clone());
    format!("; the first is due at {}", due.strftime(format))
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};

    use super::*;
    use crate::status::{
        freshness::{LimitSource, Verdict},
        volume::summary,
    };

    const NOW: &str = "2026-11-23T12:00:00Z";

    fn volume(state: State, next_backup: Option<&str>) -> VolumeStatus {
        let now: Timestamp = NOW.parse().unwrap();
        let problems = if state.is_wrong() { vec!["it is not safe".to_owned()] } else { vec![] };
        VolumeStatus {
            bad_backups: Vec::new(),
            name: "vol1".into(),
            project: None,
            daemon: None,
            last_snapshot: None,
            last_backup: None,
            next_snapshot: None,
            next_backup: next_backup.map(|time| time.parse().unwrap()),
            verdict: Verdict {
                state,
                limit: now,
                limit_source: LimitSource::Crontab,
                counted_from: None,
                sentence: String::new(),
            },
            scheduled: true,
            gone: false,
            restored_from: None,
            summary: summary(state, false, &problems),
            problems,
            untold: Vec::new(),
            notes: Vec::new(),
            sizes: Vec::new(),
        }
    }

    fn said(ok: bool, volumes: Vec<VolumeStatus>) -> (Level, String) {
        let now = NOW.parse::<Timestamp>().unwrap().to_zoned(TimeZone::UTC);
        headline(ok, &Known { volumes, ..Known::default() }, &now)
    }

    #[test]
    fn only_backups_of_all_volumes_are_good_and_none_yet_is_neither_good_nor_bad() {
        let fresh = || volume(State::Fresh, None);
        let (level, all_good) = said(true, vec![fresh(), fresh()]);
        assert_eq!((level, all_good.starts_with("All volumes have")), (Level::Good, true));
        let tonight = Some("2026-11-24T03:30:00Z");
        for (volumes, words) in [
            (vec![], "There are no volumes yet."),
            (
                vec![volume(State::Awaited, tonight)],
                "1 volume has no backup yet; the first is due at 03:30 UTC.",
            ),
            (
                vec![volume(State::Awaited, tonight), volume(State::Awaited, None)],
                "2 volumes have no backup yet; the first is due at 03:30 UTC.",
            ),
            (
                vec![fresh(), volume(State::Awaited, Some("2026-12-01T03:30:00Z"))],
                "1 of 2 volumes has no backup yet; the first is due at 2026-12-01 03:30 UTC.",
            ),
            (vec![fresh(), volume(State::Awaited, None)], "1 of 2 volumes has no backup yet."),
        ] {
            assert_eq!(said(true, volumes), (Level::Unknown, words.to_owned()));
        }
        for (volumes, words) in [
            (vec![fresh(), volume(State::Overdue, None)], "1 of 2 volumes is not safe."),
            (vec![fresh()], "Something is wrong."),
        ] {
            assert_eq!(said(false, volumes), (Level::Bad, words.to_owned()));
        }
    }
}
