//! Taking a snapshot. A volume's folder is read and compared with what the repository kept. Only
//! then the snapshot becomes visible.

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, RwLockReadGuard},
    time::Duration,
};

use jiff::Zoned;
use rustic_core::repofile::{SnapshotFile, SnapshotId};

use super::LocalRepository;
use crate::{
    daemon::{
        repository::{OpenRepository, guarded, tags},
        save::{Parent, Source},
        state::SnapshotState,
        unheld::{Target, Unheld},
    },
    error::{Error, ErrorKind, Result},
    progress::Piece,
};

/// The turn of one snapshot: no other one is taken, and nothing is pruned, until it is dropped.
pub(in crate::daemon) struct Turn<'a> {
    local: &'a LocalRepository,
    repository: Arc<OpenRepository>,
    _writing: MutexGuard<'a, ()>,
    _reading: RwLockReadGuard<'a, ()>,
}

/// What was read before what writes to the volume is held.
pub(in crate::daemon) struct Preparation {
    unheld: Unheld,
    piece: Arc<dyn Piece>,
    parent: Option<SnapshotId>,
}

impl Preparation {
    /// How long the files are read at most while what writes to them is held; `None` if they are to be
    /// read without that.
    pub(in crate::daemon) fn needs(&self) -> Option<Duration> {
        self.unheld.needs()
    }
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

    /// The repository is on the disk of the volumes, so nothing waits for it elsewhere.
    fn target(&self) -> Target<'_> {
        Target { repository: &self.repository, spool: None }
    }

    /// Reads what can be read before what writes to the volume is held.
    ///
    /// # Errors
    /// If a file can't be read (the error names it), or the repository can't be written.
    pub(in crate::daemon) fn prepare(
        &self,
        source: Source<'_>,
        parent: Option<&SnapshotState>,
    ) -> Result<Preparation> {
        let known = parent.and_then(|parent| self.local.parent(&self.repository, parent));
        let of = format!("snapshot {}", source.volume);
        let piece = self.local.access.progress.begin(&of, parent.map(|parent| parent.bytes));
        let source = Source { parent: known.as_ref().map(|(_, parent)| *parent), ..source };
        let unheld = Unheld::read(self.target(), source, &*piece)?;
        Ok(Preparation { unheld, piece, parent: known.map(|(id, _)| id) })
    }

    /// Reads once more what changed since.
    ///
    /// # Errors
    /// As [`Turn::prepare`].
    pub(in crate::daemon) fn prepare_again(
        &self,
        source: Source<'_>,
        prepared: Preparation,
    ) -> Result<Preparation> {
        let unheld = prepared.unheld.again(self.target(), source)?;
        Ok(Preparation { unheld, ..prepared })
    }

    /// Takes a snapshot of the source that was prepared. The snapshot becomes visible only if the whole
    /// folder was read and written. The result also says whether what writes to the volume was held
    /// meanwhile. The caller knows what is mounted in it.
    ///
    /// # Errors
    /// If a file can't be read (the error names it), or the repository can't be written.
    pub(in crate::daemon) fn take(
        &self,
        source: Source<'_>,
        Preparation { unheld, piece, parent }: Preparation,
        snapshot: &str,
        time: &Zoned,
    ) -> Result<(SnapshotState, bool)> {
        let (local, repository, volume) = (self.local, &*self.repository, source.volume);
        let saved = unheld.save(self.target(), source, &*piece)?;
        saved.log(&format!("snapshot {snapshot} of volume {volume}"));
        if !saved.needs.are_met(repository)? {
            let message = format!(
                "\"{}\" has lost what a snapshot needs that is in its index",
                repository.backend().location()
            );
            return Err(Error::new(ErrorKind::Repository, message));
        }
        let mut file = local.new_file(volume, snapshot, time);
        (file.tree, file.summary) = (saved.tree, Some(*saved.summary));
        (file.parent, file.parents) = (parent, parent.into_iter().collect());
        let id = repository.save_snapshot(&file)?;
        let state = SnapshotState {
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
            lacking_files: saved.changed.lacking.count,
            excluded_files: saved.changed.excluded,
            lacking: saved.changed.lacking.first,
        };
        Ok((state, saved.is_held))
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
