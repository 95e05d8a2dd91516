//! How much a volume had when it was copied: its files, their size, and where it was mounted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The field with the number of files, of a backup and of a snapshot's `DriverInfo`.
pub(crate) const FILE_COUNT: &str = "FileCount";
/// The field with the bytes in a backup's files.
pub(crate) const BACKUP_SIZE: &str = "BackupSize";
/// The field with the bytes that a backup added to its destination, compressed.
pub(crate) const ADDED_SIZE: &str = "AddedSize";
/// The field with the bytes in a snapshot's files, of its `DriverInfo`.
pub(crate) const SNAPSHOT_SIZE: &str = "SnapshotSize";
/// The field with the mounts in the volume's folder, of a backup and of a snapshot's `DriverInfo`.
pub(crate) const SOURCE_MOUNTS: &str = "SourceMounts";

/// The field that guard 10 adds to a backup or a snapshot whose source is in doubt: why.
pub(crate) const DOUBT: &str = "Doubt";

/// The volume's folder itself, as the path of a mount.
pub(crate) const FOLDER: &str = ".";
/// The folder that holds the folders of all volumes, or one above a folder of the host, as the path
/// of a mount.
pub(crate) const ALL_FOLDERS: &str = "..";

/// How much a volume had when a snapshot or a backup was made of it. What the daemon does not tell
/// is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    pub(crate) files: Option<u64>,
    /// The bytes in the files. With Convoy, the bytes of the backup.
    pub(crate) bytes: Option<u64>,
    /// The mounts in the volume's folder.
    pub(crate) mounts: Option<Vec<SourceMount>>,
}

/// Something that was mounted in a volume's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SourceMount {
    /// Relative to the volume's folder: [`FOLDER`], [`ALL_FOLDERS`], or a folder in the volume.
    pub(crate) path: String,
    /// The type, such as `nfs4`.
    pub(crate) file_system: String,
    /// The device or share, such as `server:/data`.
    pub(crate) source: String,
    /// Tells the file system from others, whatever device it is on; `None` if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
}

impl SourceMount {
    /// Whether surely another file system is mounted in this one's place. The name of a device may
    /// be another one after each start of the system; that of a share is chosen by people.
    pub(crate) fn is_replaced_by(&self, now: &Self) -> bool {
        // Nothing is mounted there until it is needed.
        if [self, now].iter().any(|mount| mount.file_system == "autofs") {
            return false;
        }
        let kind = |id: &str| id.split_once(':').map(|(kind, _)| kind.to_owned());
        if let Some((id, there)) = self.id.as_deref().zip(now.id.as_deref())
            && kind(id) == kind(there)
        {
            return id != there;
        }
        let (family, there) = (family(&self.file_system), family(&now.file_system));
        let share = |mount: &Self| mount.source.trim_end_matches('/').to_owned();
        family != there || is_network(&self.file_system) && share(self) != share(now)
    }
}

/// Whether file systems of this type are shares, whose sources are names that people choose.
pub(crate) fn is_network(file_system: &str) -> bool {
    let family = family(file_system);
    matches!(family, "nfs" | "smb" | "9p" | "virtiofs" | "glusterfs" | "fuse.sshfs")
}

/// One word for the types by which one file system may be mounted.
fn family(file_system: &str) -> &str {
    match file_system {
        "ext2" | "ext3" | "ext4" => "ext",
        "nfs" | "nfs4" => "nfs",
        "cifs" | "smb3" | "smbfs" => "smb",
        "ntfs" | "ntfs3" | "fuseblk" => "ntfs",
        "glusterfs" | "fuse.glusterfs" => "glusterfs",
        other => other,
    }
}

impl Extent {
    /// Reads the fields of a backup, or of a snapshot's `DriverInfo`. `size` is the name of the
    /// field with the bytes.
    pub(crate) fn of(fields: &BTreeMap<String, String>, size: &str) -> Self {
        let number = |name: &str| fields.get(name).and_then(|value| value.parse().ok());
        let mounts = fields.get(SOURCE_MOUNTS);
        Self {
            files: number(FILE_COUNT),
            bytes: number(size),
            mounts: mounts.and_then(|mounts| serde_json::from_str(mounts).ok()),
        }
    }

    /// The fields of a backup, or of a snapshot's `DriverInfo`.
    pub(crate) fn fields(&self, size: &'static str) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        fields.extend(self.files.map(|files| (FILE_COUNT, files.to_string())));
        fields.extend(self.bytes.map(|bytes| (size, bytes.to_string())));
        fields.extend(self.mounts.as_deref().map(|mounts| (SOURCE_MOUNTS, mounts_text(mounts))));
        fields
    }

    /// Whether the daemon tells nothing.
    pub(crate) fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// This extent, with what it does not tell taken from an older one.
    #[must_use]
    pub(crate) fn or(self, older: Option<Self>) -> Self {
        let older = older.unwrap_or_default();
        Self {
            files: self.files.or(older.files),
            bytes: self.bytes.or(older.bytes),
            mounts: self.mounts.or(older.mounts),
        }
    }
}

/// Mounts as the text in a field or a tag.
pub(crate) fn mounts_text(mounts: &[SourceMount]) -> String {
    serde_json::to_string(mounts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_comes_back_from_its_fields() {
        let share = SourceMount {
            path: FOLDER.into(),
            file_system: "nfs4".into(),
            source: "server:/my, \"data\"".into(),
            id: None,
        };
        let disk = SourceMount { id: Some("uuid:1".into()), ..share.clone() };
        let extent = Extent { files: Some(3), bytes: Some(5), mounts: Some(vec![share, disk]) };
        for extent in [extent, Extent::default()] {
            let fields = extent.fields(BACKUP_SIZE).into_iter();
            let fields = fields.map(|(name, value)| (name.to_owned(), value)).collect();
            assert_eq!(Extent::of(&fields, BACKUP_SIZE), extent);
        }
    }

    fn mount(file_system: &str, source: &str, id: Option<&str>) -> SourceMount {
        let [path, file_system, source] = [FOLDER, file_system, source].map(str::to_owned);
        SourceMount { path, file_system, source, id: id.map(str::to_owned) }
    }

    #[test]
    fn another_share_or_file_system_in_the_place_of_the_right_one_is_seen() {
        let share = mount("nfs4", "server:/data", None);
        let disk = mount("ext4", "/dev/sdb1", Some("fsid:1"));
        for (before, now) in [
            (&share, mount("nfs4", "server:/other", None)),
            (&share, mount("ext4", "/dev/sda1", Some("fsid:1"))),
            (&share, mount("tmpfs", "tmpfs", None)),
            (&disk, mount("ext4", "/dev/sdb1", Some("fsid:2"))),
            (&disk, mount("xfs", "/dev/sdb1", Some("uuid:1"))),
            (&mount("xfs", "/dev/sdb1", Some("uuid:1")), mount("xfs", "/dev/sdb1", Some("uuid:2"))),
        ] {
            assert!(before.is_replaced_by(&now), "{before:?} {now:?}");
        }
    }

    #[test]
    fn the_same_file_system_is_no_other_one_after_a_start_of_the_system_or_a_container() {
        let share = mount("nfs4", "server:/data", None);
        let disk = mount("ext4", "/dev/sdb1", Some("fsid:1"));
        for (before, now) in [
            (&share, share.clone()),
            (&share, mount("nfs", "server:/data/", None)),
            (&share, mount("autofs", "systemd-1", None)),
            (&disk, mount("ext4", "/dev/sdc1", Some("fsid:1"))),
            (&disk, mount("ext3", "/dev/mapper/data", Some("fsid:1"))),
            // An older version knew no ids, and a container may not see them.
            (&disk, mount("ext4", "/dev/sdc1", None)),
            (&mount("xfs", "/dev/sdb1", None), mount("xfs", "/dev/sdc1", Some("uuid:1"))),
            (&mount("xfs", "/dev/sdb1", Some("uuid:1")), mount("xfs", "/dev/root", None)),
            (&mount("overlay", "overlay", None), mount("overlay", "overlay", None)),
            (&mount("tmpfs", "tmpfs", None), mount("tmpfs", "shm", None)),
        ] {
            assert!(!before.is_replaced_by(&now), "{before:?} {now:?}");
        }
    }
}
