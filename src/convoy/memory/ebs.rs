//! The daemon in memory with Convoy's EBS driver. A test compares it with what was recorded from the
//! real one.

use std::collections::BTreeMap;

use crate::{
    convoy::{Backup, BackupUrl, DriverInfo, Snapshot, Volume, ebs},
    error::{Error, ErrorKind, Result},
};

const REGION: &str = "us-east-1";
/// The size of each volume in bytes, as the driver writes it.
const SIZE: &str = "1073741824";

/// What the driver and Amazon know.
#[derive(Debug)]
pub(super) struct Ebs {
    /// Whether Convoy lists the backups, as it does since 0.5.1.
    lists: bool,
    /// The snapshots that Amazon has, by id: the answers when they are inspected.
    at_amazon: BTreeMap<String, DriverInfo>,
    taken: u32,
    /// How often the next look at a snapshot is refused by Amazon, which Convoy hides.
    refusals: u32,
}

fn info(fields: &[(&str, &str)]) -> DriverInfo {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl Ebs {
    pub(super) fn new(lists: bool) -> Self {
        Self { lists, at_amazon: BTreeMap::new(), taken: 0, refusals: 0 }
    }

    /// The ids of the snapshots that Amazon has.
    pub(super) fn ids(&self) -> Vec<String> {
        self.at_amazon.keys().cloned().collect()
    }

    /// Makes Amazon refuse so many looks at a snapshot.
    pub(super) fn refuse_looks(&mut self, times: u32) {
        self.refusals = times;
    }

    /// Sets the state that Amazon tells of a snapshot.
    pub(super) fn set_state(
        &mut self,
        volumes: &mut BTreeMap<String, Volume>,
        id: &str,
        becomes: &str,
    ) {
        self.at_amazon.get_mut(id).unwrap().insert("State".into(), becomes.into());
        let snapshots = volumes.values_mut().filter_map(|volume| volume.snapshots.as_mut());
        for info in snapshots.flatten().filter_map(|(_, snapshot)| snapshot.driver_info.as_mut()) {
            if info.get("EBSSnapshotID").is_some_and(|there| there == id) {
                info.insert("State".into(), becomes.into());
            }
        }
    }

    /// Takes a snapshot, which is a backup.
    pub(super) fn take(&mut self, volume: &str, snapshot: &mut Snapshot) {
        self.taken += 1;
        let (id, time) = (format!("snap-{}", self.taken), snapshot.created_time.to_string());
        let volume_id = format!("vol-of-{volume}");
        let shared = [
            ("EBSSnapshotID", id.as_str()),
            ("EBSVolumeID", &volume_id),
            ("KmsKeyId", ""),
            ("Size", SIZE),
            ("State", "completed"),
        ];
        let of_snapshot = [
            ("Driver", ebs::DRIVER),
            ("SnapshotCreatedAt", &time),
            ("SnapshotName", &snapshot.name),
            ("VolumeName", volume),
        ];
        snapshot.driver_info = Some(info(&[&shared[..], &of_snapshot].concat()));
        let inspected = [("Region", REGION), ("StartTime", &time)];
        self.at_amazon.insert(id.clone(), info(&[&shared[..], &inspected].concat()));
    }

    pub(super) fn list(
        &self,
        volumes: &BTreeMap<String, Volume>,
        only: Option<&str>,
    ) -> Result<Vec<Backup>> {
        if !self.lists {
            return Ok(Vec::new());
        }
        if only.is_some_and(|only| !volumes.contains_key(only)) {
            return Err(Error::new(ErrorKind::NotFound, "No such volume").with_status(400));
        }
        let asked = volumes.values().filter(|volume| only.is_none_or(|only| volume.name == only));
        let snapshots = asked.flat_map(Volume::snapshots_by_time);
        let backup_of = |snapshot: &Snapshot| {
            let field = |name: &str| snapshot.driver_info.as_ref()?.get(name).map(String::as_str);
            let id = ebs::id_at_amazon(snapshot)?;
            Some(Backup::new(info(&[
                ("BackupName", id),
                ("BackupURL", &format!("ebs://{REGION}/{id}")),
                ("CreatedTime", field("SnapshotCreatedAt")?),
                ("DriverName", ebs::DRIVER),
                ("SnapshotCreatedAt", field("SnapshotCreatedAt")?),
                ("SnapshotName", &snapshot.name),
                ("VolumeCreatedAt", ""),
                ("VolumeName", field("VolumeName")?),
                ("VolumeSize", field("Size")?),
            ])))
        };
        Ok(snapshots.filter_map(backup_of).collect())
    }

    /// What Convoy makes of a snapshot when it is asked for it.
    pub(super) fn look_at(&mut self, snapshot: &mut Snapshot) {
        if self.refusals > 0 {
            self.refusals -= 1;
            ebs::remove(snapshot);
        }
    }

    pub(super) fn inspect(&self, url: &BackupUrl) -> Result<Backup> {
        let found = self.at_amazon.get(url.backup()).cloned().map(Backup::new);
        found.ok_or_else(|| {
            let words = "AWS Error: InvalidSnapshot.NotFound <nil> 400";
            Error::new(ErrorKind::NotFound, words).with_status(400)
        })
    }

    pub(super) fn delete(
        &mut self,
        volumes: &mut BTreeMap<String, Volume>,
        url: &BackupUrl,
    ) -> Result<()> {
        self.inspect(url)?;
        self.at_amazon.remove(url.backup());
        let snapshots = volumes.values_mut().filter_map(|volume| volume.snapshots.as_mut());
        let mut snapshots = snapshots.flat_map(BTreeMap::values_mut);
        if let Some(note) = snapshots.find(|it| ebs::id_at_amazon(it) == Some(url.backup())) {
            ebs::remove(note);
        }
        Ok(())
    }
}
