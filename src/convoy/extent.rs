//! How much a volume had when it was copied: its files, their size, and where it was mounted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The field with the number of files, of a backup and of a snapshot's `DriverInfo`.
pub(crate) const FILE_COUNT: &str = "FileCount";
/// The field with the bytes in a backup's files.
pub(crate) const BACKUP_SIZE: &str = "BackupSize";
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
        };
        let extent = Extent { files: Some(3), bytes: Some(5), mounts: Some(vec![share]) };
        for extent in [extent, Extent::default()] {
            let fields = extent.fields(BACKUP_SIZE).into_iter();
            let fields = fields.map(|(name, value)| (name.to_owned(), value)).collect();
            assert_eq!(Extent::of(&fields, BACKUP_SIZE), extent);
        }
    }
}
