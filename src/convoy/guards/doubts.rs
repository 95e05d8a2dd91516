//! The rule by which copies of a volume are in doubt (guard 10). A copy is a snapshot or a backup.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::convoy::{Extent, lost_nearly_all};

/// A loss of data that a person said was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AcceptedLoss {
    pub(crate) volume: String,
    /// Tells volumes of one name apart (see [`crate::convoy::Backup::source`]).
    pub(crate) source: String,
    /// Copies that were taken until then are as they were meant.
    pub(crate) until: Timestamp,
    /// What the volume had then. Later copies with as much are not in doubt by their size.
    pub(crate) extent: Extent,
}

/// What earlier runs know of the sources of backups.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownSources {
    pub(crate) accepted: Vec<AcceptedLoss>,
    /// The URLs of the backups in doubt, and why.
    pub(crate) doubts: Vec<(String, String)>,
    /// By the name of a snapshot: what its volume had, where a run saw it and the daemon does not
    /// tell.
    pub(crate) extents: BTreeMap<String, Extent>,
}

impl KnownSources {
    pub(super) fn accepted(&self, volume: &str, source: &str) -> Option<&AcceptedLoss> {
        self.accepted.iter().find(|loss| loss.volume == volume && loss.source == source)
    }

    pub(super) fn doubt(&self, url: &str) -> Option<String> {
        self.doubts.iter().find(|(known, _)| known == url).map(|(_, why)| why.clone())
    }
}

/// A copy of a volume's data.
#[derive(Debug, Default)]
pub(super) struct Copy {
    pub(super) taken: Option<Timestamp>,
    pub(super) extent: Extent,
    /// What it lacks, if it is partial.
    pub(super) lacks: Option<String>,
    /// Why an earlier run found it in doubt.
    pub(super) known_doubt: Option<String>,
}

/// Why each copy is in doubt, by the last good one before it. `copies` are of one volume, the oldest
/// first.
pub(super) fn doubts(
    copies: impl IntoIterator<Item = Copy>,
    accepted: Option<&AcceptedLoss>,
) -> Vec<Option<String>> {
    let mut last_good: Option<Extent> = None;
    let mut accepted_base = accepted.map(|accepted| accepted.extent.clone());
    let mut judge = |copy: Copy| {
        // A person can't accept what is there and was not read.
        if copy.lacks.is_some() {
            return copy.lacks;
        }
        let is_accepted = accepted
            .is_some_and(|accepted| copy.taken.is_some_and(|taken| taken <= accepted.until));
        if !is_accepted {
            // What was accepted counts, also where its own copies were deleted since.
            last_good = accepted_base.take().or(last_good.take());
            let enough = accepted.map(|accepted| &accepted.extent);
            let found =
                last_good.as_ref().and_then(|before| lost_nearly_all(before, &copy.extent, enough));
            if let Some(why) = copy.known_doubt.or(found) {
                return Some(why);
            }
        }
        last_good = Some(copy.extent.or(last_good.take()));
        None
    };
    copies.into_iter().map(&mut judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_DAY: [i8; 0] = [];

    fn copy(day: i8, files: u64) -> Copy {
        Copy { taken: Some(at(day)), extent: extent(files), ..Copy::default() }
    }

    fn at(day: i8) -> Timestamp {
        format!("2026-01-{day:02}T00:00:00Z").parse().unwrap()
    }

    fn extent(files: u64) -> Extent {
        Extent { files: Some(files), bytes: Some(files * 5_000), mounts: None }
    }

    fn accepted(day: i8, files: u64) -> AcceptedLoss {
        AcceptedLoss {
            volume: "vol1".into(),
            source: "id".into(),
            until: at(day),
            extent: extent(files),
        }
    }

    /// The days of the copies that are in doubt.
    fn doubted(copies: &[(i8, u64)], accepted: Option<&AcceptedLoss>) -> Vec<i8> {
        let found = doubts(copies.iter().map(|(day, files)| copy(*day, *files)), accepted);
        let days = copies.iter().zip(found).filter(|(_, doubt)| doubt.is_some());
        days.map(|((day, _), _)| *day).collect()
    }

    #[test]
    fn copies_of_a_volume_that_stays_empty_are_compared_with_the_last_good_one() {
        let copies = [(1, 0), (2, 100), (3, 100), (4, 0), (5, 0), (6, 2), (7, 90), (8, 0)];
        assert_eq!(doubted(&copies, None), [4, 5, 6, 8]);
    }

    #[test]
    fn what_a_person_accepted_is_the_new_base_also_where_its_copies_are_gone() {
        let meant = accepted(5, 0);
        let copies = [(2, 100), (4, 0), (5, 0), (6, 0), (7, 80), (8, 0)];
        assert_eq!(doubted(&copies, Some(&meant)), NO_DAY);
        assert_eq!(doubted(&[(2, 100), (6, 0)], Some(&meant)), NO_DAY);
        assert_eq!(doubted(&[(6, 0)], Some(&accepted(5, 50))), [6]);
    }

    #[test]
    fn a_volume_that_is_empty_off_and_on_is_not_in_doubt_once_that_was_accepted() {
        let copies = [(4, 0), (6, 80), (7, 0), (8, 90), (9, 2), (10, 100), (11, 0)];
        assert_eq!(doubted(&copies, Some(&accepted(5, 0))), NO_DAY);
        // What was accepted is enough, less is not.
        let copies = [(4, 20), (6, 900), (7, 20), (8, 900), (9, 19), (10, 0)];
        assert_eq!(doubted(&copies, Some(&accepted(5, 20))), [9, 10]);
    }

    #[test]
    fn a_partial_copy_stays_so_whatever_is_accepted_and_is_no_base_for_others() {
        let partial = Copy { lacks: Some("it lacks 1".into()), ..copy(3, 1) };
        let judged = doubts([copy(2, 100), partial, copy(4, 2)], Some(&accepted(3, 100)));
        assert_eq!(judged[..2], [None, Some("it lacks 1".to_owned())]);
        assert!(judged[2].is_some());
    }

    #[test]
    fn what_an_earlier_run_found_in_doubt_stays_so_until_it_is_accepted() {
        let found = || Copy { known_doubt: Some("why".into()), ..copy(3, 100) };
        assert_eq!(doubts([found()], None), [Some("why".to_owned())]);
        assert_eq!(doubts([found()], Some(&accepted(3, 100))), [None]);
        // And it is no base for others.
        let judged = doubts([found(), copy(4, 0)], None);
        assert_eq!(judged, [Some("why".to_owned()), None]);
    }
}
