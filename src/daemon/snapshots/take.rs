//! Taking a snapshot. A volume's folder is read and compared with what the repository kept. Only
//! then the snapshot becomes visible.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Zoned;
use rustic_core::{BackupOptions, SnapshotGroupCriterion, repofile::SnapshotFile};

use super::LocalRepository;
use crate::{
    daemon::{
        repository::{Backend, OpenRepository, guarded, tags},
        state::SnapshotState,
        tree::read::{ReadFailures, VolumeSource},
    },
    error::Result,
    text::counted,
};

impl LocalRepository {
    /// Takes a snapshot of a `folder` with a volume's files. The snapshot becomes visible only if the
    /// whole folder was read and written. The caller knows what is mounted in the volume.
    ///
    /// # Errors
    /// If a file can't be read (the error names it), or the repository can't be written.
    pub(in crate::daemon) fn take(
        &self,
        folder: &Path,
        volume: &str,
        snapshot: &str,
        parent: Option<&SnapshotState>,
        time: &Zoned,
    ) -> Result<SnapshotState> {
        let repository = self.open()?;
        let _writing = self.one_snapshot();
        let _reading = self.reading();
        let backend = repository.backend();
        let failures = Arc::new(ReadFailures::default());
        let source = VolumeSource::new(folder, volume, failures.clone(), backend.clone());
        let file = self.new_file(volume, snapshot, time);
        let archived = self.archive(&repository, &source, volume, parent, file);
        let checked = archived.and_then(|file| check(file, volume, &failures, backend));
        let published = checked.and_then(|counted| Ok((counted, backend.publish()?)));
        backend.discard();
        // Why a file could not be read helps more than the error that followed from it.
        let ((files, bytes), id) = published.map_err(|error| {
            failures.stopped().or_else(|| failures.error(volume)).unwrap_or(error)
        })?;
        if failures.vanished() > 0 {
            log::info!(
                "snapshot {snapshot} of volume {volume}: {} before anything was read of it",
                counted(failures.vanished() as usize, "file vanished", "files vanished")
            );
        }
        Ok(SnapshotState {
            created: time.timestamp(),
            id: id.to_hex().as_str().to_owned(),
            bytes,
            files: Some(files),
            mounts: None,
            moment: None,
        })
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
        file
    }

    /// Reads the folder and writes what is new in it. The snapshot's file is held back.
    fn archive(
        &self,
        repository: &OpenRepository,
        source: &VolumeSource,
        volume: &str,
        parent: Option<&SnapshotState>,
        file: SnapshotFile,
    ) -> Result<SnapshotFile> {
        let bytes = parent.map(|parent| parent.bytes);
        let piece = self.access.progress.begin(&format!("snapshot {volume}"), bytes);
        let indexed = repository.indexed_for(&piece)?;
        repository.backend().hold_snapshots();
        let archived = guarded("the snapshot", || {
            indexed
                .archive(&options(parent), source, file, &[PathBuf::from("/").join(volume)])
                .map_err(|error| repository.failure("cannot write the snapshot", &error))
        });
        repository.forget_index();
        archived
    }
}

/// Skips the content of files that did not change since `parent`.
fn options(parent: Option<&SnapshotState>) -> BackupOptions {
    let mut options = BackupOptions::default();
    options.parent_opts.group_by =
        Some(SnapshotGroupCriterion::new().hostname(false).label(false).paths(false));
    // The option's name is misleading: inodes are compared only if it is set.
    options.parent_opts.ignore_inode = true;
    match parent {
        Some(parent) => options.parent_opts.parents = vec![parent.id.clone()],
        None => options.parent_opts.force = true,
    }
    options.no_scan = parent.is_some();
    options
}

/// The number of the snapshot's files, and the bytes in them. An error if something could not be read or kept.
fn check(
    file: SnapshotFile,
    volume: &str,
    failures: &ReadFailures,
    backend: &Backend,
) -> Result<(u64, u64)> {
    let failure =
        failures.stopped().or_else(|| failures.error(volume)).or_else(|| backend.take_failure());
    if let Some(error) = failure {
        return Err(error);
    }
    let summary = file.summary.unwrap_or_default();
    failures.check(summary.total_files_processed, summary.total_dirs_processed)?;
    Ok((summary.total_files_processed, summary.total_bytes_processed))
}
