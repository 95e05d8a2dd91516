//! What was changed in a folder, by the times of its files.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};

/// By how much the time of a change can be earlier than the change. File systems whose times have
/// no fractions are coarser.
const TICK: SignedDuration = SignedDuration::from_millis(20);
const COARSEST_TICK: SignedDuration = SignedDuration::from_secs(2);

/// The first file or folder that was changed at this time or later, or may have been; `None` if there
/// is none. The names in a folder and the modes of a file count as well as its content.
///
/// # Errors
/// If the folder or anything in it can't be read, or was changed in the future by the clock: then
/// its times tell nothing.
pub(crate) fn first_changed(folder: &Path, since: Timestamp) -> io::Result<Option<PathBuf>> {
    let now = Timestamp::now();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        // Programs set modification times to what they like; this one is the system's.
        let (seconds, fraction) = (metadata.ctime(), metadata.ctime_nsec());
        if seconds > now.as_second() {
            let why = format!("\"{}\" was changed at a time in the future", path.display());
            return Err(io::Error::other(why));
        }
        if is_since(seconds, fraction, since) {
            return Ok(Some(path));
        }
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        }
    }
    Ok(None)
}

fn is_since(seconds: i64, fraction: i64, since: Timestamp) -> bool {
    let Ok(time) = Timestamp::new(seconds, i32::try_from(fraction).unwrap_or(0)) else {
        // A time that is out of all bounds tells nothing.
        return true;
    };
    let tick = if fraction == 0 { COARSEST_TICK } else { TICK };
    time.saturating_add(tick).is_ok_and(|latest| latest >= since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_by_its_time_as_coarse_as_that_is() {
        let since: Timestamp = "2026-11-23T07:00:10.5Z".parse().unwrap();
        let second = since.as_second();
        assert!(is_since(second, 600_000_000, since) && is_since(second, 490_000_000, since));
        assert!(!is_since(second, 400_000_000, since));
        assert!(is_since(second, 0, since) && is_since(second - 1, 0, since));
        assert!(!is_since(second - 2, 0, since));
        assert!(is_since(i64::MAX, 0, since));
    }

    #[test]
    fn what_the_system_says_was_changed_counts() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        let later = Timestamp::now() + SignedDuration::from_secs(60);
        assert_eq!(first_changed(folder.path(), later).unwrap(), None);
        let file = folder.path().join("a/b/file");
        fs::write(&file, "x").unwrap();
        // A modification time that a program has set is no change.
        let future = std::time::SystemTime::now() + std::time::Duration::from_secs(120);
        fs::File::options().write(true).open(&file).unwrap().set_modified(future).unwrap();
        assert_eq!(first_changed(folder.path(), later).unwrap(), None);
        let earlier = Timestamp::now() - SignedDuration::from_secs(60);
        assert!(first_changed(folder.path(), earlier).unwrap().is_some());
        assert!(first_changed(&folder.path().join("missing"), later).is_err());
    }
}
