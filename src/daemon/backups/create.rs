//! Making a backup. A snapshot is copied and proven whole. Only then the backup becomes visible.

use jiff::Timestamp;
use rustic_core::{Id, RusticResult, repofile::SnapshotFile};

use super::{destination::DestinationRepository, prove::prove, record::Record};
use crate::{
    convoy::{Extent, MomentRecord, Name},
    daemon::{
        repository::{OpenRepository, guarded},
        snapshots::LocalRepository,
        state::{SnapshotState, VolumeState},
    },
    error::{ErrorKind, Result},
};

impl DestinationRepository {
    /// Copies a snapshot to the destination, and returns the backup's name.
    ///
    /// # Errors
    /// If anything can't be read or written. There is then no backup.
    pub(in crate::daemon) fn create(
        &self,
        local: &LocalRepository,
        volume: &VolumeState,
        (snapshot, state): (&str, &SnapshotState),
        now: Timestamp,
    ) -> Result<Name> {
        let writing = self.begin_backup()?;
        let repository = &writing.repository;
        let _reading = local.reading();
        let (source, mut file) = local.source(state)?;
        let extent = Extent { mounts: state.mounts.clone(), ..Extent::default() };
        let record = self.record(volume, (snapshot, state.created), now, extent)?;
        let record = Record { moment: state.moment(), ..record };
        (file.parent, file.parents, file.tags) = (None, Vec::new(), record.tags());

        let copy = || self.copy_and_prove(&source, &file, repository, &volume.name);
        // The first copy skips data that the destination already has. If some of that is missing in
        // the check, another host has marked it as unused or removed it. The second copy writes it
        // again.
        let copied = copy().or_else(|error| match error.kind {
            ErrorKind::Repository if source.backend().failure().is_none() => copy(),
            _ => Err(error),
        });
        let published = copied.and_then(|()| repository.backend().publish());
        repository.backend().discard();
        published?;
        self.written_here.add(&volume.id(), file.tree, state.created);
        Ok(record.backup)
    }

    /// The record of a new backup.
    pub(super) fn record(
        &self,
        volume: &VolumeState,
        (snapshot, snapshot_created): (&str, Timestamp),
        now: Timestamp,
        extent: Extent,
    ) -> Result<Record> {
        let drawn = &Id::random().to_hex().as_str()[..16].to_owned();
        Ok(Record {
            backup: Name::parse("backup", &format!("backup-{drawn}"))?,
            volume: Name::volume(&volume.name)?,
            volume_id: volume.id(),
            root: Some(self.catalogue.identity().id().to_owned()),
            copy_of: self.catalogue.identity().copy_of().map(str::to_owned),
            host: self.access.host.clone(),
            volume_created: volume.created,
            volume_size: volume.size,
            snapshot: Name::snapshot(snapshot)?,
            snapshot_created,
            created: now,
            extent,
            moment: MomentRecord::default(),
            driver: volume.driver.clone(),
            labels: volume.labels.clone(),
        })
    }

    /// Copies the data of the snapshot `file`. The file itself is held back.
    fn copy_and_prove(
        &self,
        source: &OpenRepository,
        file: &SnapshotFile,
        into: &OpenRepository,
        volume: &str,
    ) -> Result<()> {
        let piece = self.access.progress.begin(&format!("backup {volume}"), None);
        into.forget_index();
        into.backend().hold_snapshots();
        guarded("the backup", || {
            // The index includes what other hosts wrote in between, so that this is not copied
            // again.
            let indexed = into.indexed_for(&piece)?;
            let copied: RusticResult<()> = source.indexed()?.copy(&indexed, [file]);
            copied.map_err(|error| {
                source
                    .backend()
                    .failure()
                    .unwrap_or_else(|| into.failure("cannot copy the snapshot", &error))
            })
        })?;
        into.forget_index();
        guarded("checking the backup", || prove(into, &self.damage, file.tree))
    }
}
