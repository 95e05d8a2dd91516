//! A backup in the daemon's words, and the volume that it belongs to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ApiTime, BackupUrl, Extent, MomentRecord, Origin, Snapshot, Volume,
    extensions::{ORIGIN, ROOT_ID, VOLUME_ID},
    extent::{BACKUP_SIZE, DOUBT},
    names,
};
use crate::{
    clock::is_in_future,
    error::{Error, ErrorKind, Result},
};

/// The field that says why a backup can't be restored.
const BROKEN: &str = "Broken";
/// The field that says whether a backup's data was looked at, and not only its description.
const VERIFIED: &str = "Verified";

/// A backup as the daemon lists or inspects it: strings by name. The names depend on the driver.
/// Convoy's backups have `BackupName`, `VolumeName`, `CreatedTime` and others; an inspected EBS backup
/// has `State`, `StartTime` and others instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub(crate) struct Backup {
    fields: BTreeMap<String, String>,
    created: ApiTime,
}

impl From<Backup> for BTreeMap<String, String> {
    fn from(backup: Backup) -> Self {
        backup.fields
    }
}

impl From<BTreeMap<String, String>> for Backup {
    fn from(fields: BTreeMap<String, String>) -> Self {
        Self::new(fields)
    }
}

impl Backup {
    pub(crate) fn new(fields: BTreeMap<String, String>) -> Self {
        let created = fields.get("CreatedTime").or_else(|| fields.get("StartTime"));
        let created = ApiTime::parse(created.map_or("", String::as_str));
        Self { fields, created }
    }

    /// All fields, as the daemon sent them.
    #[cfg(test)]
    pub(crate) fn fields(&self) -> &BTreeMap<String, String> {
        &self.fields
    }

    /// One field; empty if the daemon did not send it.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Adds the URL if the daemon's answer has none (EBS).
    #[must_use]
    pub(crate) fn with_url(mut self, url: &BackupUrl) -> Self {
        self.fields.entry("BackupURL".into()).or_insert_with(|| url.to_string());
        self
    }

    /// The backup, with the reason why it can't be restored in the field `Broken`. The daemons have
    /// no such field: it comes from what runs of this host learned.
    #[must_use]
    pub(crate) fn known_broken(mut self, why: &str) -> Self {
        self.fields.insert(BROKEN.to_owned(), why.to_owned());
        self
    }

    /// Why the backup can't be restored, if that is known.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.fields.get(BROKEN).map(String::as_str)
    }

    /// Adds whether the backup's data was looked at. Convoy has no such field.
    #[must_use]
    pub(crate) fn with_verified(mut self, verified: bool) -> Self {
        self.fields.insert(VERIFIED.into(), verified.to_string());
        self
    }

    /// Whether the backup's data was looked at; `None` if that is not said.
    pub(crate) fn is_verified(&self) -> Option<bool> {
        self.fields.get(VERIFIED).map(|verified| verified == "true")
    }

    /// Adds the size of the backup's data in bytes, unless the daemon told it. Convoy has no such
    /// field.
    #[must_use]
    pub(crate) fn with_size(mut self, bytes: Option<u64>) -> Self {
        if let Some(bytes) = bytes {
            self.fields.entry(BACKUP_SIZE.into()).or_insert_with(|| bytes.to_string());
        }
        self
    }

    /// Adds how much the volume had, as far as the daemon did not tell it.
    #[must_use]
    pub(crate) fn with_extent(mut self, extent: &Extent) -> Self {
        for (name, value) in extent.fields(BACKUP_SIZE) {
            self.fields.entry(name.to_owned()).or_insert(value);
        }
        self
    }

    /// Adds the fields that this backup lacks and the other has. Convoy lists an EBS backup without
    /// its state, and inspects it without its volume and snapshot.
    #[must_use]
    pub(crate) fn with_fields_of(mut self, other: &Self) -> Self {
        for (name, value) in &other.fields {
            self.fields.entry(name.clone()).or_insert_with(|| value.clone());
        }
        Self::new(self.fields)
    }

    /// The backup's URL.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if the daemon sent no URL, or one that can't be parsed.
    pub(crate) fn url(&self) -> Result<BackupUrl> {
        BackupUrl::parse(self.field("BackupURL")).map_err(|error| {
            Error::new(
                ErrorKind::Protocol,
                format!("the daemon listed a backup whose URL can't be read: {}", error.message),
            )
        })
    }

    /// Whether the backup is an EBS snapshot.
    pub(crate) fn is_at_ebs(&self) -> bool {
        self.field("BackupURL").starts_with("ebs://")
    }

    /// The name of the backup's volume; empty if the daemon did not say (EBS).
    pub(crate) fn volume(&self) -> &str {
        self.field("VolumeName")
    }

    /// How much the volume had.
    pub(crate) fn extent(&self) -> Extent {
        Extent::of(&self.fields, BACKUP_SIZE)
    }

    /// How the volume's files were held while they were read.
    pub(crate) fn moment(&self) -> MomentRecord {
        MomentRecord::of(&self.fields)
    }

    /// Why the backup's source is in doubt, if the guards found it so.
    pub(crate) fn doubt(&self) -> Option<&str> {
        self.fields.get(DOUBT).map(String::as_str)
    }

    pub(super) fn set_doubt(&mut self, why: &str) {
        self.fields.insert(DOUBT.into(), why.to_owned());
    }

    /// When the backup was made, in whole seconds.
    pub(crate) fn created(&self) -> Option<Timestamp> {
        self.created.timestamp()
    }

    /// When the backup's snapshot was taken, by the clock of its daemon: how old the data is. The
    /// order of backups is another matter ([`Backup::order`]).
    pub(crate) fn taken(&self) -> Option<Timestamp> {
        let created = ApiTime::parse(self.field("SnapshotCreatedAt")).timestamp();
        names::time_taken(self.field("SnapshotName"), created)
    }

    /// The latest time at which the backup's snapshot can have been taken, by those of its dates
    /// that can be right at this moment. `None` if all of them are in the future: a clock was wrong.
    pub(crate) fn taken_by(&self, now: Timestamp) -> Option<Timestamp> {
        let is_credible = |time: &Timestamp| !is_in_future(*time, now);
        if let Some(order) = self.order().0.filter(is_credible) {
            return Some(order);
        }
        let taken = ApiTime::parse(self.field("SnapshotCreatedAt")).timestamp();
        taken.into_iter().chain(self.created()).filter(is_credible).min()
    }

    /// Whether the daemon says that the backup is complete. EBS reports the state `completed`; the
    /// other drivers report no state.
    pub(crate) fn is_complete(&self) -> bool {
        self.fields.get("State").is_none_or(|state| state == "completed")
    }

    /// The sort key of backups. The time of the snapshot comes first (as [`Snapshot::order`]),
    /// because the newest data is the newest backup. Then come the time of the backup, and the
    /// names.
    pub(crate) fn order(&self) -> (Option<Timestamp>, Option<Timestamp>, &str, &str) {
        let taken = names::snapshot_time(self.field("SnapshotName"))
            .or_else(|| ApiTime::parse(self.field("SnapshotCreatedAt")).timestamp())
            .or(self.created());
        (taken, self.created(), self.field("SnapshotName"), self.field("BackupName"))
    }

    /// Whose the backup is, as far as the daemon, the volume and its snapshots tell; `living` is the
    /// volume of this daemon that has the backup's name, if there is one.
    ///
    /// The built-in daemon gives volumes and backups ids, and says of a backup whether it made it
    /// ([`Origin`]). With Convoy, a backup belongs to the volume if its snapshot is still among the
    /// volume's (a backup leaves it there), or if the names of both have the same mark. Convoy's
    /// `VolumeCreatedAt` can't tell: it is the time of the first volume of that name that was ever
    /// backed up to the destination.
    pub(crate) fn belonging(&self, living: Option<&Volume>) -> Belonging {
        let living = living.filter(|volume| volume.name == self.volume());
        let ids = living.and_then(Volume::id).zip(self.fields.get(VOLUME_ID));
        let is_its_own = ids.map(|(id, there)| id == there);
        match self.origin() {
            Some(Origin::Here) if is_its_own == Some(true) => return Belonging::Own,
            Some(Origin::Here) => return Belonging::Former,
            Some(Origin::Elsewhere) => return Belonging::Other,
            Some(Origin::Unsettled) => return Belonging::Unclear,
            None => {}
        }
        let Some(volume) = living else { return Belonging::Unclear };
        if let Some(is_its_own) = is_its_own {
            return if is_its_own { Belonging::Own } else { Belonging::Other };
        }
        let snapshots = || volume.snapshots.iter().flat_map(BTreeMap::values);
        if volume.own_snapshots().any(|own| self.is_of(own)) {
            Belonging::Own
        } else if snapshots().any(|older| self.is_of(older)) {
            Belonging::Former
        } else if volume.was_there(&self.snapshot_created()) == Some(false) {
            Belonging::Other
        } else {
            Belonging::Unclear
        }
    }

    /// What tells the backup's volume apart from others of its name on one host, as far as the
    /// daemon and the name of the snapshot tell it.
    pub(crate) fn source(&self) -> String {
        let VolumeKey([_, ebs_volume, id, _]) = self.volume_key();
        [ebs_volume, id].concat()
    }

    /// Whether the backup was made from this snapshot, or from another one of the same volume.
    /// Snapshots without a mark may have the same name on several hosts: then their times decide.
    fn is_of(&self, snapshot: &Snapshot) -> bool {
        let name = self.field("SnapshotName");
        match names::snapshot_mark(name) {
            Some(mark) => names::snapshot_mark(&snapshot.name) == Some(mark),
            None if snapshot.name == name => {
                let taken = self.snapshot_created().timestamp();
                let times = taken.zip(snapshot.created_time.timestamp());
                times.is_none_or(|(taken, there)| taken == there)
            }
            None => false,
        }
    }

    /// When the backup's snapshot was taken, in the daemon's words.
    fn snapshot_created(&self) -> ApiTime {
        ApiTime::parse(self.field("SnapshotCreatedAt"))
    }

    /// Whether the backup was surely made since this volume exists.
    pub(crate) fn is_younger_than(&self, volume: &Volume) -> bool {
        volume.was_there(&self.snapshot_created()) == Some(true)
    }

    /// A key that tells apart the backups of different volumes of the same name. The backups of one
    /// volume share it, as far as the daemon and the names of the snapshots tell.
    pub(crate) fn volume_key(&self) -> VolumeKey<'_> {
        let id = self.fields.get(VOLUME_ID).map(String::as_str);
        let id = id.or_else(|| names::snapshot_mark(self.field("SnapshotName")));
        let root = self.field(ROOT_ID);
        VolumeKey([self.volume(), self.field("EBSVolumeID"), id.unwrap_or_default(), root])
    }

    /// Whether all backups with this backup's key are of one volume, as far as anything tells.
    pub(crate) fn tells_its_volume(&self) -> bool {
        let VolumeKey([_, ebs_volume, id, root]) = self.volume_key();
        // The backups that two daemons with a copied id made before they had ids of their own.
        let is_mixed = self.origin() == Some(Origin::Unsettled) && root.is_empty();
        !(is_mixed || ebs_volume.is_empty() && id.is_empty())
    }

    /// Where the backup was made, if the daemon tells.
    pub(crate) fn origin(&self) -> Option<Origin> {
        Origin::parse(self.fields.get(ORIGIN)?)
    }
}

/// Tells apart the volumes that have or had one name, on any host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VolumeKey<'a>([&'a str; 4]);

impl VolumeKey<'_> {
    pub(crate) fn owned(self) -> [String; 4] {
        self.0.map(str::to_owned)
    }

    pub(crate) fn is(self, other: &[String; 4]) -> bool {
        self.0 == *other
    }
}

/// Whose a backup is, seen from this host and from its volume of the backup's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belonging {
    /// It belongs to this volume.
    Own,
    /// It belongs to another volume of this host, which had the name before.
    Former,
    /// It has the volume's name and was made since the volume exists, on this host or on another
    /// one. Nothing tells on which.
    Unclear,
    /// It belongs to another volume: one of another name, one that had the name before, or one that
    /// has it on another host.
    Other,
}
