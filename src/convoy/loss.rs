//! Whether a volume has lost nearly all of its data at once. Its share may not be mounted then, so
//! a copy of what is left is no reason to delete the copies of what was there.
//!
//! Real volumes shrink, too: logs are rotated, caches emptied, sessions end, a database is
//! compacted. So a loss of a part is no doubt, and neither is that of a few small files while others
//! stay.

use super::extent::{ALL_FOLDERS, Extent, FOLDER, SourceMount};
use crate::{text::counted, units::format_size};

/// Nearly all is lost if less than a tenth is left.
const LEFT: u64 = 10;
/// A loss of both files and bytes counts from so many files on.
const FEW_FILES: u64 = 10;
/// A loss of files alone counts from so many files on, and only if half of the bytes are lost, too.
const MANY_FILES: u64 = 100;
/// A loss of bytes alone counts from so many bytes on.
const MANY_BYTES: u64 = 10 << 20;
/// Where the files stay and are as good as empty, a thousandth of the bytes is left, and the loss
/// counts from so many bytes on.
const EMPTIED: u64 = 1000;
const EMPTIED_BYTES: u64 = 1 << 20;
/// An archive of an empty folder is smaller. Counts where only the size of the archive is known.
const EMPTY_ARCHIVE: u64 = 1 << 10;

/// Why it is in doubt that the volume's data was there when the copy with the extent `now` was made,
/// by the last copy before it that counts as good. `accepted` is what a person said is enough: a
/// copy with as much is in doubt only for a lost mount. `None`: there is no doubt. A sentence for
/// people, without the volume's name.
pub(crate) fn lost_nearly_all(
    before: &Extent,
    now: &Extent,
    accepted: Option<&Extent>,
) -> Option<String> {
    let (had, has) = (amount(before), amount(now));
    let mount = lost_mount(before, now).map(|lost| (mount_sentence(lost), "is it mounted?"));
    let mount = mount.or_else(|| {
        let (lost, there) = replaced_mount(before, now)?;
        Some((replaced_sentence(lost, there), "is it the right one?"))
    });
    if let Some((sentence, question)) = mount {
        let (had, has) = (had.unwrap_or_default(), has.unwrap_or_default());
        let amounts = if had.is_empty() || has.is_empty() {
            String::new()
        } else {
            format!("; it had {had}, and has {has} now")
        };
        return Some(format!("{sentence}{amounts}: {question}"));
    }
    if accepted.is_some_and(|accepted| has_as_much(accepted, now)) {
        return None;
    }
    let (had, has) = (had?, has?);
    if has_none(before, now) {
        Some(format!("it had {had}, and has none now: is its share mounted?"))
    } else if is_nearly_all_lost(before, now) {
        Some(format!("it had {had}, and has {has} now: is all of it there?"))
    } else {
        None
    }
}

/// A mount that was there before and is not now.
fn lost_mount<'a>(before: &'a Extent, now: &Extent) -> Option<&'a SourceMount> {
    let now = now.mounts.as_ref()?;
    let is_mounted = |path: &str| now.iter().any(|mount| mount.path == path);
    let is_there = |mount: &&SourceMount| {
        // A volume whose own folder is mounted does not need the mount of all folders.
        is_mounted(&mount.path) || mount.path == ALL_FOLDERS && is_mounted(FOLDER)
    };
    before.mounts.as_ref()?.iter().find(|mount| !is_there(mount))
}

/// A mount in whose place another file system is mounted now, and that one.
fn replaced_mount<'a>(
    before: &'a Extent,
    now: &'a Extent,
) -> Option<(&'a SourceMount, &'a SourceMount)> {
    let (before, now) = before.mounts.as_ref().zip(now.mounts.as_ref())?;
    let pairs = before
        .iter()
        .filter_map(|mount| Some((mount, now.iter().find(|there| there.path == mount.path)?)));
    pairs.into_iter().find(|(mount, there)| mount.is_replaced_by(there))
}

fn mount_sentence(mount: &SourceMount) -> String {
    format!("{} was a mount point of {} and is none now", folder(mount), words(mount))
}

fn replaced_sentence(mount: &SourceMount, there: &SourceMount) -> String {
    let now = if words(mount) == words(there) {
        "another file system there".to_owned()
    } else {
        words(there)
    };
    format!("{} was a mount point of {}, and is one of {now} now", folder(mount), words(mount))
}

fn folder(mount: &SourceMount) -> String {
    match mount.path.as_str() {
        FOLDER => "its folder".to_owned(),
        ALL_FOLDERS => "a folder above it".to_owned(),
        path => format!("its folder \"{path}\""),
    }
}

fn words(mount: &SourceMount) -> String {
    format!("\"{}\" ({})", mount.source, mount.file_system)
}

/// Whether there is at least what was accepted.
fn has_as_much(accepted: &Extent, now: &Extent) -> bool {
    let files = accepted.files.zip(now.files);
    let bytes = accepted.bytes.zip(now.bytes);
    if files == Some((0, 0)) {
        return true;
    }
    let is_enough = |(accepted, now): (u64, u64)| now >= accepted;
    // Archives of the same empty folder differ by some bytes.
    let is_empty = files.is_none() && bytes.is_some_and(|(a, b)| a.max(b) < EMPTY_ARCHIVE);
    let is_known = files.is_some() || bytes.is_some();
    is_empty || is_known && files.is_none_or(is_enough) && bytes.is_none_or(is_enough)
}

fn has_none(before: &Extent, now: &Extent) -> bool {
    before.files.or(before.bytes).is_some_and(|had| had > 0) && now.files == Some(0)
}

fn is_nearly_all_lost(before: &Extent, now: &Extent) -> bool {
    let pair = |before: Option<u64>, now: Option<u64>| before.zip(now);
    let is_most = |(before, now): (u64, u64)| now.saturating_mul(LEFT) < before;
    let lost = |(before, now): (u64, u64)| before.saturating_sub(now);
    let (files, bytes) = (pair(before.files, now.files), pair(before.bytes, now.bytes));
    let most_files = files.is_some_and(is_most);
    let most_bytes = bytes.is_some_and(is_most);
    let lost_files = files.map_or(0, lost);
    let lost_bytes = bytes.map_or(0, lost);
    let is_emptied = bytes.is_some_and(|(before, now)| now.saturating_mul(EMPTIED) < before);
    let half_of_bytes = bytes.is_none_or(|(before, now)| now < before / 2);
    most_files && most_bytes && lost_files >= FEW_FILES
        || most_files && half_of_bytes && lost_files >= MANY_FILES
        || most_bytes && lost_bytes >= MANY_BYTES
        || is_emptied && lost_bytes >= EMPTIED_BYTES
        || most_bytes && files.is_none() && bytes.is_some_and(|(_, now)| now < EMPTY_ARCHIVE)
}

/// How much there is, in words; `None` if the daemon does not tell.
fn amount(extent: &Extent) -> Option<String> {
    let files = extent
        .files
        .map(|files| counted(usize::try_from(files).unwrap_or(usize::MAX), "file", "files"));
    match (files, extent.bytes.map(format_size)) {
        (Some(files), Some(bytes)) => Some(format!("{files}, {bytes}")),
        (files, bytes) => files.or(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn extent(files: u64, bytes: u64) -> Extent {
        Extent { files: Some(files), bytes: Some(bytes), mounts: Some(Vec::new()) }
    }

    fn mounted(extent: Extent, paths: &[&str]) -> Extent {
        let mount = |path: &&str| SourceMount {
            path: (*path).into(),
            file_system: "nfs4".into(),
            source: "server:/data".into(),
            id: None,
        };
        Extent { mounts: Some(paths.iter().map(mount).collect()), ..extent }
    }

    #[test]
    fn files_that_stay_and_are_emptied_are_lost() {
        let emptied = lost_nearly_all(&extent(100, 5 * MIB), &extent(100, 0), None).unwrap();
        assert!(emptied.contains("it had 100 files, 5.0 MiB, and has 100 files"), "{emptied}");
        assert!(lost_nearly_all(&extent(21, 5 * MIB), &extent(20, 50), None).is_some());
        // A log that was rotated leaves a packed copy.
        assert_eq!(lost_nearly_all(&extent(1, 5 * MIB), &extent(2, MIB / 4), None), None);
    }

    fn lost_anew(before: &Extent, now: &Extent) -> Option<String> {
        lost_nearly_all(before, now, None)
    }

    fn is_doubted(before: (u64, u64), now: (u64, u64)) -> bool {
        lost_anew(&extent(before.0, before.1), &extent(now.0, now.1)).is_some()
    }

    #[test]
    fn a_volume_that_had_files_and_has_none_is_in_doubt_with_the_numbers() {
        assert_eq!(
            lost_anew(&extent(100, 500_000), &extent(0, 0)).unwrap(),
            "it had 100 files, 488 KiB, and has none now: is its share mounted?"
        );
        assert!(is_doubted((1, 10), (0, 0)));
        assert!(!is_doubted((0, 0), (0, 0)));
        assert!(!is_doubted((0, 0), (7, 10)));
    }

    #[test]
    fn a_volume_that_lost_nearly_all_is_in_doubt() {
        for (what, before, now) in [
            (
                "a share is not mounted, and its program began anew",
                (1_200, 100_000 * MIB),
                (1_000, 40 * MIB),
            ),
            ("a database was truncated", (40, 900 * MIB), (40, 20 * MIB)),
            ("a folder of settings lost all but one", (12, 50_000), (1, 1_000)),
            ("a folder of small files was deleted", (5_000, 8 * MIB), (60, 2 * MIB)),
        ] {
            assert!(is_doubted(before, now), "{what}");
        }
        assert_eq!(
            lost_anew(&extent(1_200, 300 * MIB), &extent(12, MIB)).unwrap(),
            "it had 1200 files, 300 MiB, and has 12 files, 1.0 MiB now: is all of it there?"
        );
    }

    #[test]
    fn what_shrinks_as_volumes_do_is_not_in_doubt() {
        for (what, before, now) in [
            ("a log was rotated and compressed", (14, 1_200 * MIB), (14, 250 * MIB)),
            ("old logs were deleted", (12, 9 * MIB), (1, 2 * MIB)),
            ("a journal was written back to its database", (3, 4 * MIB), (2, 300_000)),
            (
                "small temporary files beside a database are gone",
                (9_000, 5_000 * MIB),
                (40, 4_900 * MIB),
            ),
            ("a cache was halved", (40_000, 9_000 * MIB), (20_000, 4_000 * MIB)),
            ("a few files were deleted", (9, 9_000), (1, 100)),
            ("nothing changed", (9, 9_000), (9, 9_000)),
        ] {
            assert!(!is_doubted(before, now), "{what}");
        }
    }

    #[test]
    fn a_folder_that_is_no_mount_point_any_more_is_in_doubt_whatever_it_has() {
        let before = mounted(extent(100, 500_000), &[FOLDER, "deep"]);
        assert_eq!(
            lost_anew(&before, &mounted(extent(90, 500_000), &["deep"])).unwrap(),
            "its folder was a mount point of \"server:/data\" (nfs4) and is none now; it had 100 files, 488 KiB, \
             and has 90 files, 488 KiB now: is it mounted?"
        );
        let inner = lost_anew(&before, &mounted(extent(90, 500_000), &[FOLDER])).unwrap();
        assert!(inner.starts_with("its folder \"deep\" was a mount point"), "{inner}");
        let same = mounted(extent(100, 500_000), &["deep", FOLDER, "more"]);
        assert_eq!(lost_anew(&before, &same), None);
        // One share for all volumes was replaced by a share for each.
        let all = mounted(extent(5, 5), &[ALL_FOLDERS]);
        assert_eq!(lost_anew(&all, &mounted(extent(5, 5), &[FOLDER])), None);
        assert!(lost_anew(&all, &mounted(extent(5, 5), &[])).is_some());
        // Where it was mounted is not known.
        assert_eq!(
            lost_anew(&Extent { mounts: None, ..before.clone() }, &extent(90, 500_000)),
            None
        );
        assert_eq!(lost_anew(&before, &Extent { mounts: None, ..extent(90, 500_000) }), None);
    }

    #[test]
    fn another_file_system_in_the_place_of_the_right_one_is_in_doubt_whatever_it_has() {
        let before = mounted(extent(100, 500_000), &[FOLDER]);
        let other = |change: &dyn Fn(&mut SourceMount)| {
            let mut now = before.clone();
            now.mounts.iter_mut().flatten().for_each(change);
            now
        };
        let share = other(&|mount| mount.source = "server:/other".into());
        assert_eq!(
            lost_anew(&before, &share).unwrap(),
            "its folder was a mount point of \"server:/data\" (nfs4), and is one of \"server:/other\" (nfs4) now; \
             it had 100 files, 488 KiB, and has 100 files, 488 KiB now: is it the right one?"
        );
        // Once a person has accepted it, it is what later ones are compared with.
        assert!(lost_nearly_all(&before, &share, Some(&share)).is_some());
        assert_eq!(lost_nearly_all(&share, &share, Some(&share)), None);
        let id = |id: &'static str| other(&move |mount| mount.id = Some(id.into()));
        let found = lost_anew(&id("uuid:1"), &id("uuid:2")).unwrap();
        assert!(found.contains("and is one of another file system there now"), "{found}");
    }

    #[test]
    fn where_only_the_size_of_an_archive_is_known_an_empty_one_is_in_doubt() {
        let archive = |bytes| Extent { bytes: Some(bytes), ..Extent::default() };
        assert_eq!(
            lost_anew(&archive(40_000), &archive(130)).unwrap(),
            "it had 39 KiB, and has 130 B now: is all of it there?"
        );
        assert!(lost_anew(&archive(900 * MIB), &archive(2 * MIB)).is_some());
        assert_eq!(lost_anew(&archive(40_000), &archive(3_000)), None);
        assert_eq!(lost_anew(&archive(200), &archive(130)), None);
        assert_eq!(lost_anew(&Extent::default(), &archive(130)), None);
        assert_eq!(lost_anew(&archive(40_000), &Extent::default()), None);
    }

    #[test]
    fn what_was_accepted_is_enough_but_a_mount_that_is_lost_is_in_doubt() {
        let full = extent(100, 500 * MIB);
        let lost = |now: &Extent, accepted: &Extent| lost_nearly_all(&full, now, Some(accepted));
        let none = extent(0, 0);
        assert_eq!(lost(&none, &none), None);
        assert_eq!(lost(&extent(2, 10), &none), None);
        assert_eq!(lost(&extent(0, 0), &extent(0, 4096)), None);
        assert_eq!(lost(&extent(5, MIB), &extent(5, MIB)), None);
        assert!(lost(&extent(4, MIB), &extent(5, MIB)).is_some());
        assert!(lost(&extent(5, MIB - 1), &extent(5, MIB)).is_some());
        assert!(lost(&none, &Extent::default()).is_some());
        let archive = |bytes| Extent { bytes: Some(bytes), ..Extent::default() };
        let emptied = |now| lost_nearly_all(&archive(40_000), &archive(now), Some(&archive(130)));
        assert_eq!(emptied(128), None);
        let before = mounted(full.clone(), &[FOLDER]);
        assert!(lost_nearly_all(&before, &none, Some(&none)).is_some());
    }
}
