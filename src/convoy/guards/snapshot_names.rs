//! Names of new snapshots (guard 7): `vol1-20261123T074200.123456Z`, which never repeat and sort by time.
//!
//! Convoy wants them unique in the whole daemon: a reused name can create a snapshot that can't be deleted any more.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::super::{
    Name, Volume,
    names::{SNAPSHOT_TIME, snapshot_time},
};

/// The longest part of a volume's name in its snapshots' names: Convoy makes file names of both together.
const VOLUME_PART: usize = 64;
/// The time of the newest name made in this process, in microseconds since 1970.
static LAST: Mutex<i64> = Mutex::new(i64::MIN);

/// A name for a snapshot of `volume` taken `now`: later than any made by this process and than any the volume has, also
/// where the clock was set back.
pub(super) fn next(name: &Name, volume: &Volume, now: Timestamp) -> Name {
    let volume_part: String = name.as_str().chars().take(VOLUME_PART).collect();
    let existing = volume
        .snapshots
        .iter()
        .flatten()
        .filter_map(|(name, _)| snapshot_time(name))
        .max()
        .map(Timestamp::as_microsecond)
        .unwrap_or(i64::MIN);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    *last = now.as_microsecond().max(last.max(existing).saturating_add(1));
    let time = Timestamp::from_microsecond(*last).unwrap_or(now);
    Name::snapshot(&format!("{volume_part}-{}", time.strftime(SNAPSHOT_TIME)))
        .expect("a volume's name and a time make a name: both hold only what a name may")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convoy::Snapshot;

    fn vol1() -> Name {
        Name::volume("vol1").unwrap()
    }

    #[test]
    fn names_sort_by_time_and_never_repeat_even_when_the_clock_stands_or_goes_back() {
        let volume = Volume { name: "vol1".into(), ..Volume::default() };
        let now: Timestamp = "2026-11-23T07:42:00.5Z".parse().unwrap();
        let back: Timestamp = "2026-11-22T07:42:00Z".parse().unwrap();
        let mut names: Vec<_> = [now, now, back, now].iter().map(|time| next(&vol1(), &volume, *time)).collect();
        assert!(names[0].as_str().starts_with("vol1-2"), "{}", names[0]);
        let made = names.clone();
        names.sort();
        names.dedup();
        assert_eq!(names, made);
    }

    #[test]
    fn a_name_is_later_than_those_the_volume_has() {
        let taken = "vol1-20991231T235959.999999Z";
        let snapshot = Snapshot { name: taken.into(), ..Snapshot::default() };
        let snapshots = Some([(taken.to_owned(), snapshot)].into());
        let volume = Volume { name: "vol1".into(), snapshots, ..Volume::default() };
        let name = next(&vol1(), &volume, "2026-11-23T07:42:00Z".parse().unwrap());
        assert!(name.as_str() > taken, "{name}");
        assert_eq!(name.as_str().len(), taken.len());
    }

    #[test]
    fn the_longest_volume_name_still_makes_a_name() {
        let name = Name::volume(&"a".repeat(Name::MAX)).unwrap();
        assert!(next(&name, &Volume::default(), Timestamp::UNIX_EPOCH).as_str().len() <= Name::MAX);
    }
}
