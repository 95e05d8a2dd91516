//! What is mounted in a volume's folder. A later snapshot shows by it that a share is missing, or
//! that another one is in its place.

use std::{fs, path::Path};

use super::extent::{ALL_FOLDERS, FOLDER, SourceMount, is_network};
use crate::{
    files::real_path,
    mount_table::{MountPoint, at_or_below, mounts},
};

/// A volume with more mounts is not described: its mounts come and go.
const MOST_MOUNTS: usize = 20;

/// The mounts of a volume's folder, below it, and of the folder that holds all volumes: also the
/// share that this one is a folder of, and for a folder of the host any mount that holds it. `None`
/// if they can't be told.
pub(crate) fn source_mounts(folder: &Path, is_of_the_host: bool) -> Option<Vec<SourceMount>> {
    let folder = real_path(folder);
    // What is mounted on demand is mounted by this.
    let _ = fs::read_dir(&folder).map(|mut entries| entries.next());
    described(&mounts().ok()?, (&folder, is_of_the_host), &id)
}

fn described(
    all: &[MountPoint],
    (folder, is_of_the_host): (&Path, bool),
    id: &dyn Fn(&MountPoint) -> Option<String>,
) -> Option<Vec<SourceMount>> {
    let describe = |path: &str, mount: &MountPoint| SourceMount {
        path: path.to_owned(),
        file_system: mount.file_system.clone(),
        source: mount.source.clone(),
        id: id(mount),
    };
    let below = at_or_below(all, folder).map(|mount| {
        let path = mount.path.strip_prefix(folder).unwrap_or(&mount.path).to_string_lossy();
        describe(if path.is_empty() { FOLDER } else { &path }, mount)
    });
    let mut found: Vec<SourceMount> = below.take(MOST_MOUNTS + 1).collect();
    if found.len() > MOST_MOUNTS {
        return None;
    }
    let parent = folder.parent()?;
    let above = all.iter().filter(|mount| parent.starts_with(&mount.path));
    let above = above.max_by_key(|mount| mount.path.as_os_str().len());
    let is_below_root = |mount: &MountPoint| mount.path != Path::new("/");
    let holds_all = |mount: &&MountPoint| {
        let is_next = mount.path == parent || is_network(&mount.file_system);
        is_next || is_of_the_host && is_below_root(mount)
    };
    found.extend(above.filter(holds_all).map(|mount| describe(ALL_FOLDERS, mount)));
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Some(found)
}

/// What tells a file system from others, also after it was mounted again; `None` where nothing does
/// at little cost. Numbers of devices change with each start of the system.
fn id(mount: &MountPoint) -> Option<String> {
    // Only the ids of these come from the file system itself. A server that hangs is not asked.
    if matches!(mount.file_system.as_str(), "ext2" | "ext3" | "ext4" | "btrfs") {
        let id = rustix::fs::statvfs(&mount.path).ok()?.f_fsid;
        return (id != 0).then(|| format!("fsid:{id:016x}"));
    }
    let device = Some(&mount.source).filter(|source| source.starts_with("/dev/"))?;
    let device = fs::canonicalize(device).ok()?;
    let named = fs::read_dir("/dev/disk/by-uuid").ok()?.flatten();
    let this = |entry: &fs::DirEntry| fs::canonicalize(entry.path()).is_ok_and(|it| it == device);
    let uuid = named.into_iter().find(this)?.file_name();
    Some(format!("uuid:{}", uuid.to_string_lossy()))
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
        let described = |mounts: &[MountPoint], folder: &Path, of_the_host| {
            described(mounts, (folder, of_the_host), &|_| None)
        };
        let told = |mounts: &[MountPoint]| -> Option<Vec<String>> {
            let found = described(mounts, Path::new("/root/volumes/vol1"), false)?;
            Some(found.into_iter().map(|mount| mount.path).collect())
        };
        let elsewhere = ["/", "/root", "/root/volumes/vol10", "/root/volumes/vol2/deep"].map(mount);
        assert_eq!(told(&elsewhere).unwrap(), Vec::<String>::new());
        let here = ["/root/volumes/vol1/a/b", "/root/volumes/vol1", "/root/volumes"].map(mount);
        assert_eq!(told(&here).unwrap(), [".", "..", "a/b"]);
        let many: Vec<_> =
            (0..21).map(|number| mount(&format!("/root/volumes/vol1/{number}"))).collect();
        assert_eq!(told(&many), None);
        // The volumes are in a folder of a share.
        let share = MountPoint { file_system: "nfs4".into(), ..mount("/root") };
        assert_eq!(told(&[mount("/"), share]).unwrap(), [".."]);
        assert_eq!(told(&[mount("/root")]).unwrap(), Vec::<String>::new());
        let of_the_host = |mounts: &[MountPoint]| {
            described(mounts, Path::new("/srv/sites/website"), true).unwrap()
        };
        assert_eq!(of_the_host(&["/", "/srv"].map(mount))[0].path, ALL_FOLDERS);
        assert!(of_the_host(&[mount("/")]).is_empty());
    }

    #[test]
    fn a_file_system_has_the_same_id_at_every_look() {
        let all = mounts().unwrap();
        let ids = || all.iter().map(id).collect::<Vec<_>>();
        assert_eq!(ids(), ids());
        let is_virtual = |mount: &&MountPoint| matches!(&*mount.file_system, "proc" | "tmpfs");
        assert!(all.iter().filter(is_virtual).all(|mount| id(mount).is_none()));
    }
}
