//! Convoy's EBS driver, where a snapshot is the backup. Since 0.5.1 Convoy lists these backups
//! itself; 0.5.0 lists none.

use super::{ApiTime, Backup, BackupUrl, DriverInfo, Snapshot, Volume};

/// The driver's name, in volumes and in backups.
pub(crate) const DRIVER: &str = "ebs";
/// The state of a snapshot that Convoy does not find at Amazon. It has no id and no time then.
/// Convoy says the same if Amazon refused to answer.
const REMOVED: &str = "removed";

/// The id at Amazon of this snapshot; `None` if it is not on EBS, or if Convoy does not find it
/// there.
pub(crate) fn id_at_amazon(snapshot: &Snapshot) -> Option<&str> {
    let info = snapshot.driver_info.as_ref()?;
    info.get("EBSSnapshotID").filter(|_| !is_removed(snapshot)).map(String::as_str)
}

/// Whether Convoy keeps a note of this snapshot and does not find it at Amazon.
pub(crate) fn is_removed(snapshot: &Snapshot) -> bool {
    let info = snapshot.driver_info.as_ref();
    info.and_then(|info| info.get("State")).is_some_and(|state| state == REMOVED)
}

/// Makes of a snapshot what Convoy says of it once its backup was deleted.
pub(crate) fn remove(snapshot: &mut Snapshot) {
    let Some(info) = &mut snapshot.driver_info else { return };
    info.retain(|name, _| ["Driver", "SnapshotName", "VolumeName"].contains(&name.as_str()));
    info.insert("State".into(), REMOVED.into());
    snapshot.created_time = ApiTime::default();
}

/// The backups that the snapshots of this volume are, as Convoy 0.5.1 and later list them, with
/// their state. `region` is the driver's.
pub(crate) fn backups(volume: &Volume, region: &str) -> Vec<Backup> {
    let snapshots = volume.snapshots_by_time().into_iter();
    snapshots.filter_map(|snapshot| backup_of(volume, snapshot, region)).collect()
}

fn backup_of(volume: &Volume, snapshot: &Snapshot, region: &str) -> Option<Backup> {
    let id = id_at_amazon(snapshot)?;
    let url = BackupUrl::Ebs { region: region.to_owned(), snapshot: id.to_owned() };
    let mut fields: DriverInfo = snapshot.driver_info.clone()?;
    fields.remove("Driver");
    fields.extend(
        [
            ("BackupName", id),
            ("BackupURL", &url.to_string()),
            ("CreatedTime", snapshot.created_time.as_str()),
            ("DriverName", DRIVER),
            ("SnapshotCreatedAt", snapshot.created_time.as_str()),
            ("SnapshotName", &snapshot.name),
            ("VolumeCreatedAt", ""),
            ("VolumeName", &volume.name),
            ("VolumeSize", fields.get("Size").map_or("", String::as_str)),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    Some(Backup::new(fields))
}
