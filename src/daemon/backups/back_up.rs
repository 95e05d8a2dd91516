//! Backing up a volume as it is now: its files are read once and written straight to the
//! destination. Files that have not changed since the newest backup that this daemon wrote there are
//! not read.

use std::path::Path;

use jiff::{Timestamp, tz::TimeZone};
use rustic_core::repofile::SnapshotFile;

use super::{
    destination::DestinationRepository,
    prove::prove,
    record::{Record, StoredUrl},
};
use crate::{
    clock::is_in_future,
    convoy::{Changes, DumpRecord, Extent, MomentRecord, Name},
    daemon::{
        dump::Dumps,
        moment::{Files, Stood},
        reading::{Reader, VolumeReading},
        repository::{OpenRepository, guarded},
        save::{self, Changed, Needs, Parent, Source},
        state::VolumeState,
        tree::read,
        unheld::save_held,
    },
    error::{ErrorKind, Result},
};

/// A volume's files that were written, and no backup yet.
pub(super) struct Written {
    pub(super) file: SnapshotFile,
    pub(super) changed: Changed,
    pub(super) needs: Needs,
    pub(super) dumps: Vec<DumpRecord>,
}

impl DestinationRepository {
    /// Takes a moment of the volume and writes it to the destination, as a backup of the snapshot
    /// `snapshot`, which does not stay. Returns the backup's name. The backup becomes visible once
    /// it is proven whole.
    ///
    /// # Errors
    /// As [`Reader::read`], or if the repository can't be read or written. There is then no backup.
    pub(in crate::daemon) fn back_up(
        &self,
        volume: &VolumeState,
        snapshot: &Name,
        reader: Reader<'_>,
        now: impl Fn() -> Timestamp,
    ) -> Result<Name> {
        let writing = self.begin_backup()?;
        let repository = &writing.repository;
        // A failure of an earlier call is not this one's.
        repository.backend().take_failure();
        let parent = self.newest_of(repository, volume, now())?;
        let dumps = reader.dump(volume, repository, &now)?;
        let begun = now();
        let write = |reading: &VolumeReading<'_>| {
            let files = reading.files();
            let written = self.write_whole(repository, |is_again| {
                let parent = if is_again { None } else { parent };
                // What was not there may be of a dump.
                let again = is_again.then(|| reader.dump(volume, repository, &now)).transpose()?;
                self.write(repository, volume, (files, again.as_ref().unwrap_or(&dumps)), parent)
            })?;
            let extent = Extent { mounts: reading.mounts.clone(), ..Extent::default() };
            Ok((written, extent, reading.kind(), reading.stood()))
        };
        // What is written names nothing yet, so there is nothing to undo.
        let (written, extent, kind, stood) = reader.read(volume, dumps.are_all, write, |_| ())?;
        let Written { file, changed, needs, dumps } = written;
        let snapshot = (snapshot.as_str(), begun);
        let (stood, containers) = Stood::told(stood);
        let moment = MomentRecord { stood, containers, dumps, ..changed.moment(kind) };
        let record = Record { moment, ..self.record(volume, snapshot, now(), extent)? };
        let time = begun.to_zoned(TimeZone::UTC);
        let file = SnapshotFile { tags: record.tags(), time, ..file };
        let tree = file.tree;
        repository.save_snapshot(&file)?;
        self.written_here.add(&volume.id(), tree, begun);
        self.proven(record.backup.clone(), tree, needs);
        Ok(record.backup)
    }

    /// Writes what a backup has, and proves that all of it is there. `write` is told whether it is
    /// called again, because something was not there.
    pub(super) fn write_whole(
        &self,
        repository: &OpenRepository,
        write: impl Fn(bool) -> Result<Written>,
    ) -> Result<Written> {
        let prove = |written: Written| {
            let is_whole = || {
                self.has_all(repository, &written.needs)
                    && written.needs.are_written(repository).unwrap_or_default()
            };
            guarded("checking the backup", || match is_whole() {
                true => Ok(()),
                false => prove(repository, &self.damage, written.file.tree),
            })
            .map(|()| written)
        };
        match write(false).and_then(prove) {
            Err(error) if error.kind == ErrorKind::Repository => {
                // What the parent has is not all there, or another host has marked as unused what was
                // relied on. Everything is read, and what is missing is written again.
                log::warn!("the backup is not whole yet, so everything is read again: {error}");
                prove(write(true)?)
            }
            written => written,
        }
    }

    /// The newest backup of this volume that this daemon wrote and that is still there, unless it is
    /// dated in the future: such a one would be the parent for years.
    fn newest_of(
        &self,
        repository: &OpenRepository,
        volume: &VolumeState,
        now: Timestamp,
    ) -> Result<Option<Parent>> {
        let written = self.written_here.of(&volume.id());
        let all = self.catalogue.readable(repository)?;
        let known = all.iter().filter_map(|backup| {
            let begun = *written.get(&backup.tree)?;
            Some(Parent { tree: backup.tree, begun })
        });
        let known = known.filter(|parent| !is_in_future(parent.begun, now));
        Ok(known.max_by_key(|parent| parent.begun))
    }

    /// Whether a volume's files are still those of a backup; unknown if the backup is of another
    /// volume.
    ///
    /// # Errors
    /// If the volume or the backup can't be read.
    pub(in crate::daemon) fn changes_since(
        &self,
        url: &StoredUrl<'_>,
        volume: &VolumeState,
        folder: &Path,
    ) -> Result<Changes> {
        let Some(repository) = self.existing()? else { return Ok(Changes::Unknown) };
        let found = self.catalogue.find_readable(&repository, url)?;
        if found.record.volume_id != volume.id() {
            return Ok(Changes::Unknown);
        }
        let _gate = self.without_deletes();
        let _lock = self.reading_lock()?;
        // What another member of the repository may have written says nothing of when: then the
        // content of all files is compared.
        let written = self.written_here.of(&volume.id());
        let begun = written.get(&found.tree).copied().unwrap_or(Timestamp::MIN);
        repository.forget_index();
        let difference = guarded("the comparison", || {
            let of = (folder, volume.name.as_str());
            let has_dumps = !found.record.moment.dumps.is_empty();
            let left_out = |path: &Path| has_dumps && save::is_extra_path(path);
            read::first_difference(&repository, (found.tree, &left_out), of, begun)
        });
        Ok(match difference? {
            None => Changes::Unchanged,
            Some(path) => Changes::Changed { path: path.display().to_string() },
        })
    }

    fn write(
        &self,
        repository: &OpenRepository,
        volume: &VolumeState,
        (files, dumps): (Files<'_>, &Dumps),
        parent: Option<Parent>,
    ) -> Result<Written> {
        let name = volume.name.as_str();
        let before = parent.and_then(|parent| self.catalogue.bytes(parent.tree));
        let piece = self.access.progress.begin(&format!("backup {name}"), before);
        let source = Source { files, volume: name, parent, extras: dumps.extras() };
        let saved = save_held(repository, source, &*piece, Some(&self.spool))?;
        piece.set_total(saved.bytes);
        saved.log(&format!("backup of volume {name}"));
        let mut file = SnapshotFile {
            hostname: self.access.host.clone(),
            tree: saved.tree,
            summary: Some(*saved.summary),
            ..SnapshotFile::default()
        };
        file.program_version = concat!("convoy-backups ", env!("CARGO_PKG_VERSION")).into();
        file.paths.add(format!("/{name}"));
        let dumps = dumps.records.clone();
        Ok(Written { file, changed: saved.changed, needs: saved.needs, dumps })
    }
}
