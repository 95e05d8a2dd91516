//! What is mounted in a volume's folder. A later snapshot shows by it that a share is missing.

use std::path::Path;

use crate::{
    convoy::{ALL_FOLDERS, FOLDER, SourceMount},
    files::real_path,
    mount_table::{MountPoint, at_or_below, mounts},
};

/// A volume with more mounts is not described: its mounts come and go.
const MOST_MOUNTS: usize = 20;

/// The mounts of a volume's folder, below it, and of the folder that holds all volumes. `None` if
/// they can't be told.
pub(in crate::daemon) fn of_folder(folder: &Path) -> Option<Vec<SourceMount>> {
    described(&mounts().ok()?, &real_path(folder))
}

fn described(all: &[MountPoint], folder: &Path) -> Option<Vec<SourceMount>> {
    let describe = |path: &str, mount: &MountPoint| SourceMount {
        path: path.to_owned(),
        file_system: mount.file_system.clone(),
        source: mount.source.clone(),
    };
    let below = at_or_below(all, folder).map(|mount| {
        let path = mount.path.strip_prefix(folder).unwrap_or(&mount.path).to_string_lossy();
        describe(if path.is_empty() { FOLDER } else { &path }, mount)
    });
    let mut found: Vec<SourceMount> = below.take(MOST_MOUNTS + 1).collect();
    if found.len() > MOST_MOUNTS {
        return None;
    }
    let parent = all.iter().find(|mount| Some(mount.path.as_path()) == folder.parent());
    found.extend(parent.map(|mount| describe(ALL_FOLDERS, mount)));
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mounts_of_a_volume_are_told_by_their_place_in_it() {
        let mount = |path: &str| MountPoint {
            path: path.into(),
            file_system: "ext4".into(),
            source: "/dev/sdb".into(),
        };
        let told = |mounts: &[MountPoint]| -> Option<Vec<String>> {
            let found = described(mounts, Path::new("/root/volumes/vol1"))?;
            Some(found.into_iter().map(|mount| mount.path).collect())
        };
        let elsewhere = ["/", "/root", "/root/volumes/vol10", "/root/volumes/vol2/deep"].map(mount);
        assert_eq!(told(&elsewhere).unwrap(), Vec::<String>::new());
        let here = ["/root/volumes/vol1/a/b", "/root/volumes/vol1", "/root/volumes"].map(mount);
        assert_eq!(told(&here).unwrap(), [".", "..", "a/b"]);
        let many: Vec<_> =
            (0..21).map(|number| mount(&format!("/root/volumes/vol1/{number}"))).collect();
        assert_eq!(told(&many), None);
    }
}
