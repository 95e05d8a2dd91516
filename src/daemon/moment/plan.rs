//! Which kind of moment a place offers, and why not a better one. Nothing is read or written here.

use std::path::PathBuf;

use super::{facts::Facts, place::Kind};

/// The moment that a place offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) struct Offer {
    pub(in crate::daemon) kind: Kind,
    /// What stands in the way of a better one, for people; `None` if nothing can be told.
    pub(in crate::daemon) why: Option<String>,
    /// The folder for a btrfs snapshot.
    pub(super) snapshot_place: Option<PathBuf>,
}

impl Offer {
    fn of(kind: Kind, why: Option<String>) -> Self {
        Self { kind, why, snapshot_place: None }
    }
}

/// The operator's own commands come first: they were given for a reason. A btrfs snapshot lacks what
/// is in other subvolumes and mounts below the folder, so it is no moment of such a folder.
pub(super) fn offered(facts: Facts, has_commands: bool) -> Offer {
    if has_commands {
        return Offer::of(Kind::Command, None);
    }
    let next = if facts.clones { Kind::Reflink } else { Kind::Live };
    let Some(btrfs) = facts.btrfs else { return Offer::of(next, None) };
    let why = if !btrfs.is_subvolume {
        Some("the folder is on btrfs, but no subvolume".to_owned())
    } else if let Some(inside) = btrfs.subvolumes.first() {
        Some(format!("the subvolume \"{inside}\" inside would not be in a btrfs snapshot"))
    } else if let Some(mount) = facts.mounts_below.first() {
        Some(format!("\"{mount}\" is mounted inside, and would not be in a btrfs snapshot"))
    } else if !btrfs.may_remove {
        Some("only root (with CAP_SYS_ADMIN) can remove a btrfs snapshot".to_owned())
    } else if btrfs.snapshot_place.is_none() {
        Some("there is no folder beside it for a btrfs snapshot".to_owned())
    } else {
        None
    };
    match why {
        None => Offer { kind: Kind::Btrfs, why: None, snapshot_place: btrfs.snapshot_place },
        why => Offer::of(next, why),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::facts::BtrfsFacts, *};

    fn subvolume() -> BtrfsFacts {
        BtrfsFacts {
            is_subvolume: true,
            subvolumes: Vec::new(),
            may_remove: true,
            snapshot_place: Some("/staging".into()),
        }
    }

    fn of(btrfs: BtrfsFacts) -> Facts {
        Facts { btrfs: Some(btrfs), clones: false, mounts_below: Vec::new() }
    }

    #[test]
    fn a_subvolume_is_snapshotted_unless_the_snapshot_would_lack_something() {
        let offer = offered(of(subvolume()), false);
        assert_eq!((offer.kind, offer.snapshot_place), (Kind::Btrfs, Some("/staging".into())));
        let lacks = [
            (BtrfsFacts { is_subvolume: false, ..subvolume() }, "no subvolume"),
            (BtrfsFacts { subvolumes: vec!["a/b".into()], ..subvolume() }, "\"a/b\""),
            (BtrfsFacts { may_remove: false, ..subvolume() }, "CAP_SYS_ADMIN"),
            (BtrfsFacts { snapshot_place: None, ..subvolume() }, "beside"),
        ];
        for (facts, why) in lacks {
            let offer = offered(of(facts.clone()), false);
            assert!(offer.kind == Kind::Live && offer.why.unwrap().contains(why));
            let offer = offered(Facts { clones: true, ..of(facts) }, false);
            assert!(offer.kind == Kind::Reflink && offer.why.unwrap().contains(why));
        }
        let mounted = Facts { mounts_below: vec!["/v/share".into()], ..of(subvolume()) };
        assert!(offered(mounted, false).why.unwrap().contains("\"/v/share\""));
    }

    #[test]
    fn the_operators_commands_come_first_and_other_file_systems_are_read_live() {
        assert_eq!(offered(of(subvolume()), true).kind, Kind::Command);
        let elsewhere = Facts { btrfs: None, clones: false, mounts_below: Vec::new() };
        assert_eq!(offered(elsewhere.clone(), false), Offer::of(Kind::Live, None));
        let xfs = Facts { clones: true, ..elsewhere };
        assert_eq!(offered(xfs, false), Offer::of(Kind::Reflink, None));
    }
}
