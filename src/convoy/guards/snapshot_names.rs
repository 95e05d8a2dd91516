//! Names of new snapshots (guard 7), such as `vol1-20261123T074200.123456Z-k3f9q2`. They never
//! repeat, and sort by time.
//!
//! The last part is the volume's mark. Convoy gives volumes no id, and a backup does not record
//! where it was made, except in its snapshot's name. The mark tells the backups of this volume from
//! those of a volume of the same name on another host. A volume's first snapshot gets a random
//! mark. Each later snapshot takes the mark of the one before, which a backup leaves in place.
//!
//! Snapshot names must be unique in a whole Convoy daemon: reusing a name can create a snapshot
//! that can't be deleted any more.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    sync::Mutex,
};

use jiff::Timestamp;

use super::super::{
    Name, Volume,
    names::{MARK_LENGTH, SNAPSHOT_TIME, snapshot_time},
};

use crate::sync::lock;

/// How many characters of the volume's name go into its snapshots' names. Convoy puts both names
/// together into file names.
const VOLUME_PART: usize = 57;
/// The time of the newest name that this process made for a volume, in microseconds since 1970, by
/// what of the volume's name is in it. A clock that was ahead for a moment dates no other volume's.
static LAST: Mutex<BTreeMap<String, i64>> = Mutex::new(BTreeMap::new());

/// A name for a snapshot of `volume` taken `now`. Its time is later than that of every name that
/// this process made for the volume and of every snapshot of it, even if the clock was set back.
pub(super) fn next(name: &Name, volume: &Volume, now: Timestamp) -> Name {
    next_after(None, name, volume, now)
}

/// As [`next`], and also later than `newest`.
pub(super) fn next_after(
    newest: Option<Timestamp>,
    name: &Name,
    volume: &Volume,
    now: Timestamp,
) -> Name {
    let volume_part: String = name.as_str().chars().take(VOLUME_PART).collect();
    let existing = volume
        .snapshots
        .iter()
        .flatten()
        .filter_map(|(name, _)| snapshot_time(name))
        .chain(newest)
        .max()
        .map(Timestamp::as_microsecond)
        .unwrap_or(i64::MIN);
    let mut all = lock(&LAST);
    let last = all.entry(volume_part.clone()).or_insert(i64::MIN);
    *last = now.as_microsecond().max((*last).max(existing).saturating_add(1));
    let time = Timestamp::from_microsecond(*last).unwrap_or(now);
    let mark = match (volume.id(), volume.mark()) {
        (Some(_), _) => String::new(),
        (None, Some(mark)) => format!("-{mark}"),
        (None, None) => format!("-{}", new_mark()),
    };
    Name::snapshot(&format!("{volume_part}-{}{mark}", time.strftime(SNAPSHOT_TIME)))
        .expect("a volume's name, a time and a mark make a name: they hold only what a name may")
}

/// Random letters and digits. There are two billion marks, and only those of volumes of the same
/// name at the same destination can collide.
fn new_mark() -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    // Each `RandomState` has its own keys, from the system's random numbers.
    let mut chance = RandomState::new().hash_one(());
    let mut letter = || {
        let letter = LETTERS[(chance % 36) as usize];
        chance /= 36;
        char::from(letter)
    };
    (0..MARK_LENGTH).map(|_| letter()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convoy::{ApiTime, Snapshot, names::snapshot_mark};

    fn vol1() -> Name {
        Name::volume("vol1").unwrap()
    }

    #[test]
    fn names_sort_by_time_and_never_repeat_even_when_the_clock_stands_or_goes_back() {
        let volume = Volume { name: "vol1".into(), ..Volume::default() };
        let now: Timestamp = "2026-11-23T07:42:00.5Z".parse().unwrap();
        let back: Timestamp = "2026-11-22T07:42:00Z".parse().unwrap();
        let mut names: Vec<_> =
            [now, now, back, now].iter().map(|time| next(&vol1(), &volume, *time)).collect();
        assert!(names[0].as_str().starts_with("vol1-2"), "{}", names[0]);
        let made = names.clone();
        names.sort();
        names.dedup();
        assert_eq!(names, made);
    }

    #[test]
    fn a_clock_that_is_ahead_for_a_moment_does_not_date_the_names_of_other_volumes() {
        let (volume, now) = (Volume::default(), "2026-11-23T07:42:00Z".parse().unwrap());
        next(&Name::volume("one").unwrap(), &volume, "2036-01-01T00:00:00Z".parse().unwrap());
        let other = next(&Name::volume("another").unwrap(), &volume, now);
        assert!(other.as_str().starts_with("another-20261123T074200"), "{other}");
    }

    #[test]
    fn a_name_is_later_than_those_the_volume_has() {
        let taken = "vol1-20991231T235959.999999Z";
        let snapshot = Snapshot { name: taken.into(), ..Snapshot::default() };
        let snapshots = Some([(taken.to_owned(), snapshot)].into());
        let volume = Volume { name: "vol1".into(), snapshots, ..Volume::default() };
        let name = next(&vol1(), &volume, "2026-11-23T07:42:00Z".parse().unwrap());
        assert!(name.as_str() > taken, "{name}");
        assert_eq!(name.as_str().len(), taken.len() + 1 + MARK_LENGTH);
    }

    #[test]
    fn a_volume_hands_its_mark_on_and_another_one_of_its_name_has_another() {
        let created = ApiTime::parse("Mon Nov 23 07:00:48 +0000 2026");
        let snapshot = |name: &Name| Snapshot {
            name: name.to_string(),
            created_time: created.clone(),
            ..Snapshot::default()
        };
        let empty =
            Volume { name: "vol1".into(), created_time: created.clone(), ..Volume::default() };
        let first = next(&vol1(), &empty, Timestamp::UNIX_EPOCH);
        let with_first = Volume {
            snapshots: Some([(first.to_string(), snapshot(&first))].into()),
            ..empty.clone()
        };
        let second = next(&vol1(), &with_first, Timestamp::UNIX_EPOCH);
        let elsewhere = next(&vol1(), &empty, Timestamp::UNIX_EPOCH);
        let mark = |name: &Name| snapshot_mark(name.as_str()).unwrap().to_owned();
        assert_eq!(mark(&first), mark(&second));
        assert_ne!(mark(&first), mark(&elsewhere));

        // A snapshot of an earlier volume of this name does not belong to this volume.
        let later =
            Volume { created_time: ApiTime::parse("Mon Nov 23 08:00:00 +0000 2026"), ..with_first };
        assert_ne!(mark(&next(&vol1(), &later, Timestamp::UNIX_EPOCH)), mark(&first));
        // The built-in daemon gives volumes ids, so no mark is needed.
        let info = [(crate::convoy::VOLUME_ID.to_owned(), "1".to_owned())].into();
        let with_id = Volume { driver_info: Some(info), ..empty };
        assert_eq!(snapshot_mark(next(&vol1(), &with_id, Timestamp::UNIX_EPOCH).as_str()), None);
    }

    #[test]
    fn the_longest_volume_name_still_makes_a_name() {
        let name = Name::volume(&"a".repeat(Name::MAX)).unwrap();
        assert!(next(&name, &Volume::default(), Timestamp::UNIX_EPOCH).as_str().len() <= Name::MAX);
    }
}
