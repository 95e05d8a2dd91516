//! Making a backup. A snapshot is copied and proven whole. Only then the backup becomes visible.

use jiff::Timestamp;
use rustic_core::Id;

use super::{
    adopt::name_again, back_up::Written, destination::DestinationRepository, record::Record,
};
use crate::{
    convoy::{Extent, MomentRecord, Name},
    daemon::{
        save::{self, Changed},
        snapshots::LocalRepository,
        state::{SnapshotState, VolumeState},
    },
    error::Result,
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
        // A failure of an earlier call is not this one's.
        repository.backend().take_failure();
        let _reading = local.reading();
        let made_anew = local.made_anew();
        let (source, mut file) = local.source(state)?;
        let extent = Extent { mounts: state.mounts.clone(), ..Extent::default() };
        let record = self.record(volume, (snapshot, state.created), now, extent)?;
        let record = Record { moment: state.moment(), ..record };
        (file.parent, file.parents, file.tags) = (None, Vec::new(), record.tags());

        let written = self.write_whole(repository, |_| {
            let piece = self.access.progress.begin(&format!("backup {}", volume.name), None);
            let mut file = file.clone();
            let summary = file.summary.as_mut();
            let needs = save::copy((&source, file.tree), (repository, summary), &*piece)?;
            let (changed, dumps) = (Changed::default(), Vec::new());
            Ok(Written { file, changed, needs, dumps })
        });
        let written = written.inspect_err(|error| {
            // The volume can still be backed up as it is, and the next snapshot is to be whole.
            if !source.take_unread().is_empty()
                && let Err(error) = local.make_anew(error, made_anew)
            {
                log::warn!("{error}");
            }
        })?;
        let Written { file, needs, .. } = written;
        repository.save_snapshot(&file)?;
        name_again(repository, &needs);
        self.written_here.add(&volume.id(), file.tree, state.created);
        self.proven(record.backup.clone(), file.tree, needs);
        self.heal(repository);
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
            added: None,
            moment: MomentRecord::default(),
            driver: volume.driver.clone(),
            labels: volume.labels.clone(),
        })
    }
}
