//! Taking a snapshot. A volume's folder is read and compared with what the repository kept. Only
//! then the snapshot becomes visible.

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, RwLockReadGuard},
};

use jiff::Zoned;
use rustic_core::repofile::{SnapshotFile, SnapshotId};

use super::LocalRepository;
use crate::{
    daemon::{
        moment::Files,
        repository::{OpenRepository, guarded, tags},
        save::{Extras, Parent, Source},
        state::SnapshotState,
        unheld::save_held,
    },
    error::Result,
};

/// The turn of one snapshot: no other one is taken, and nothing is pruned, until it is dropped.
pub(in crate::daemon) struct Turn<'a> {
    local: &'a LocalRepository,
    repository: Arc<OpenRepository>,
    _writing: MutexGuard<'a, ()>,
    _reading: RwLockReadGuard<'a, ()>,
}

impl LocalRepository {
    /// Waits until a snapshot can be taken. A moment of the volume is taken after that: it holds
    /// descriptors, and many snapshots may wait.
    ///
    /// # Errors
    /// If the repository can't be opened or created.
    pub(in crate::daemon) fn turn(&self) -> Result<Turn<'_>> {
        let repository = self.open()?;
        let (writing, reading) = (self.one_snapshot(), self.reading());
        Ok(Turn { local: self, repository, _writing: writing, _reading: reading })
    }
}

impl Turn<'_> {
    /// The repository, for what is kept before the snapshot is taken.
    pub(in crate::daemon) fn repository(&self) -> &OpenRepository {
        &self.repository
    }

    /// Takes a snapshot of a volume's `files`, with the `extras`. The snapshot becomes visible only if the
    /// whole folder was read and written. The caller knows what is mounted in the volume.
    ///
    /// # Errors
    /// If a file can't be read (the error names it), or the repository can't be written.
    pub(in crate::daemon) fn take(
        &self,
        (files, extras): (Files<'_>, Extras<'_>),
        volume: &str,
        snapshot: &str,
        parent: Option<&SnapshotState>,
        time: &Zoned,
    ) -> Result<SnapshotState> {
        let (local, repository) = (self.local, &*self.repository);
        let known = parent.and_then(|parent| local.parent(repository, parent));
        let piece = local
            .access
            .progress
            .begin(&format!("snapshot {volume}"), parent.map(|parent| parent.bytes));
        let parent = known.as_ref().map(|(_, parent)| *parent);
        let source = Source { files, volume, parent, extras };
        let saved = save_held(repository, source, &*piece, None)?;
        saved.log(&format!("snapshot {snapshot} of volume {volume}"));
        let mut file = local.new_file(volume, snapshot, time);
        (file.tree, file.summary) = (saved.tree, Some(*saved.summary));
        file.parent = known.map(|(id, _)| id);
        file.parents = file.parent.into_iter().collect();
        let id = repository.save_snapshot(&file)?;
        Ok(SnapshotState {
            created: time.timestamp(),
            id: id.to_hex().as_str().to_owned(),
            bytes: saved.bytes,
            files: Some(saved.files),
            mounts: None,
            moment: None,
            stood: None,
            containers: BTreeMap::new(),
            dumps: Vec::new(),
            changed_files: saved.changed.count,
            changed_paths: saved.changed.moment("").changed_paths,
        })
    }
}

impl LocalRepository {
    /// The parent, by which unchanged files are told. One that can't be read is none.
    fn parent(
        &self,
        repository: &OpenRepository,
        parent: &SnapshotState,
    ) -> Option<(SnapshotId, Parent)> {
        let id = parent.id.parse::<SnapshotId>().ok()?;
        let read = guarded("reading the last snapshot", || {
            let file = repository.plain()?.get_file::<SnapshotFile>(&id);
            file.map_err(|error| repository.failure("cannot read the last snapshot", &error))
        });
        let file = read.inspect_err(|error| log::warn!("all files are read: {error}")).ok()?;
        Some((id, Parent { tree: file.tree, begun: parent.created }))
    }

    /// The snapshot's file as it is before the folder is read.
    fn new_file(&self, volume: &str, snapshot: &str, time: &Zoned) -> SnapshotFile {
        let mut file = SnapshotFile {
            time: time.clone(),
            hostname: self.access.host.clone(),
            ..SnapshotFile::default()
        };
        file.program_version = concat!("convoy-backups ", env!("CARGO_PKG_VERSION")).into();
        file.tags = tags(&[("volume", volume), ("snapshot", snapshot)]);
        file.paths.add(format!("/{volume}"));
        file
    }
}
