//! Backing up a volume as it is now: its files are read once and written straight to the
//! destination. Files that have not changed since the newest backup that this daemon wrote there are
//! not read.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use rustic_core::repofile::SnapshotFile;

use super::{
    adopt::name_again,
    destination::DestinationRepository,
    prove::prove,
    record::{Record, StoredUrl},
};
use crate::{
    clock::is_in_future,
    convoy::{Changes, DumpRecord, Extent, MomentRecord, Name},
    daemon::{
        dump::Dumps,
        moment::Stood,
        reading::{Reader, ToRead, VolumeReading, Work, unread},
        repository::{Gathering, OpenRepository, guarded},
        save::{self, Changed, Needs, Parent, Source},
        state::VolumeState,
        tree::read,
        unheld::{Target, Unheld},
    },
    error::{Error, ErrorKind, Result},
    exclude::VolumeExcludes,
    progress::Piece,
};

/// A volume's files that were written, and no backup yet.
pub(super) struct Written {
    pub(super) file: SnapshotFile,
    pub(super) changed: Changed,
    pub(super) needs: Needs,
    pub(super) dumps: Vec<DumpRecord>,
}

/// A backup that is to be made of a volume as it is now.
pub(in crate::daemon) struct ToBackUp {
    pub(in crate::daemon) volume: VolumeState,
    /// The name of the snapshot that the backup is of, and that does not stay.
    pub(in crate::daemon) snapshot: Name,
}

/// A backup that was made.
pub(in crate::daemon) struct BackedUp {
    pub(in crate::daemon) backup: Name,
    /// The size of the volume's files.
    pub(in crate::daemon) bytes: u64,
}

/// What was read of a volume.
struct WasRead {
    written: Written,
    extent: Extent,
    kind: &'static str,
    begun: Timestamp,
    stood: Option<Stood>,
}

impl DestinationRepository {
    /// Takes a moment of the volumes, one for all of them, and writes each to the destination as a
    /// backup of its own, which becomes visible once it is proven whole. The results are in the order
    /// of `volumes`; one that fails does not stop the others.
    ///
    /// # Errors
    /// If the repository can't be written. There is then no backup.
    pub(in crate::daemon) fn back_up(
        &self,
        volumes: &[ToBackUp],
        reader: Reader<'_>,
        now: impl Fn() -> Timestamp,
    ) -> Result<Vec<Result<BackedUp>>> {
        let writing = self.begin_backup()?;
        let repository = &writing.repository;
        // A failure of an earlier call is not this one's.
        repository.backend().take_failure();
        let is_alone = |of: &&ToBackUp| reader.is_read_alone(&of.volume);
        let (alone, together): (Vec<_>, Vec<_>) = volumes.iter().partition(is_alone);
        let mut made: HashMap<&Name, Result<BackedUp>> = HashMap::new();
        // Each is there as soon as it can be.
        for group in alone.chunks(1).chain([&*together]) {
            let read = self.read(repository, group, false, reader, &now);
            for (of, read) in group.iter().zip(read) {
                let is_alone = group.len() == 1;
                let whole = self.whole((repository, reader, &now), of, (read, is_alone));
                let backed_up = whole.and_then(|read| self.complete(repository, of, read, now()));
                made.insert(&of.snapshot, backed_up);
            }
        }
        self.heal(repository);
        Ok(volumes.iter().map(|of| made.remove(&of.snapshot).unwrap_or_else(unread)).collect())
    }

    /// What was read, proven whole. What is not is read again.
    fn whole(
        &self,
        (repository, reader, now): (&OpenRepository, Reader<'_>, &impl Fn() -> Timestamp),
        of: &ToBackUp,
        (read, is_alone): (Result<WasRead>, bool),
    ) -> Result<WasRead> {
        let prove = |read: WasRead| self.prove(repository, &read.written).map(|()| read);
        match read.and_then(prove) {
            Err(error) if is_not_whole(&error) => {
                if !is_alone {
                    log::warn!(
                        "the backup of volume \"{}\" is of a later moment than those that are made with it",
                        of.volume.name
                    );
                }
                self.look_after_failure(repository);
                let again = self.read(repository, &[of], true, reader, now).pop();
                again.unwrap_or_else(unread).and_then(prove)
            }
            whole => whole,
        }
    }

    /// Reads volumes at one moment, and writes what is new of them. `is_again`: whether nothing is
    /// taken from earlier backups.
    fn read(
        &self,
        repository: &OpenRepository,
        volumes: &[&ToBackUp],
        is_again: bool,
        reader: Reader<'_>,
        now: &impl Fn() -> Timestamp,
    ) -> Vec<Result<WasRead>> {
        let dumped: Vec<_> =
            volumes.iter().map(|of| reader.dump(&of.volume, repository, now)).collect();
        let (mut to_read, mut dumps) = (Vec::new(), Vec::new());
        for (of, dumped) in volumes.iter().zip(&dumped) {
            if let Ok(dumped) = dumped {
                to_read.push(ToRead { volume: &of.volume, is_dump_only: dumped.are_all });
                dumps.push(dumped);
            }
        }
        // Not later than the moments: what changes from now on is read again next time.
        let begun = now();
        let names = to_read.iter().map(|of| of.volume).collect();
        let work = Saving { at: self, repository, volumes: names, dumps, is_again, begun };
        let mut read = reader.read_together(&to_read, &work).into_iter();
        let result = |dumps: &Result<Dumps>| match dumps {
            Err(error) => Err(error.clone()),
            Ok(_) => {
                let read = read.next().unwrap_or_else(unread);
                read.map(|(read, stood): (WasRead, _)| WasRead { stood, ..read })
            }
        };
        dumped.iter().map(result).collect()
    }

    /// Makes what was written, and proved whole, a backup.
    fn complete(
        &self,
        repository: &OpenRepository,
        ToBackUp { volume, snapshot }: &ToBackUp,
        read: WasRead,
        now: Timestamp,
    ) -> Result<BackedUp> {
        let WasRead { written, extent, kind, begun, stood } = read;
        let Written { file, changed, needs, dumps } = written;
        let (stood, containers) = Stood::told(stood);
        let moment = MomentRecord { stood, containers, dumps, ..changed.moment(kind) };
        let record = self.record(volume, (snapshot.as_str(), begun), now, extent)?;
        let record = Record { moment, ..record };
        let time = begun.to_zoned(TimeZone::UTC);
        let file = SnapshotFile { tags: record.tags(), time, ..file };
        let tree = file.tree;
        repository.save_snapshot(&file)?;
        name_again(repository, &needs);
        self.written_here.add(&volume.id(), tree, begun);
        self.proven(record.backup.clone(), tree, needs);
        let bytes = file.summary.map(|summary| summary.total_bytes_processed);
        Ok(BackedUp { backup: record.backup, bytes: bytes.unwrap_or_default() })
    }

    /// Writes what a backup has, and proves that all of it is there. `write` is told whether it is
    /// called again, because something was not there.
    pub(super) fn write_whole(
        &self,
        repository: &OpenRepository,
        write: impl Fn(bool) -> Result<Written>,
    ) -> Result<Written> {
        let prove = |written: Written| self.prove(repository, &written).map(|()| written);
        match write(false).and_then(prove) {
            Err(error) if is_not_whole(&error) => {
                self.look_after_failure(repository);
                prove(write(true)?)
            }
            written => written,
        }
    }

    /// Proves that all that was written is there.
    fn prove(&self, repository: &OpenRepository, written: &Written) -> Result<()> {
        let is_whole = || {
            self.has_all(repository, &written.needs)
                && written.needs.are_written(repository).unwrap_or_default()
        };
        guarded("checking the backup", || match is_whole() {
            true => Ok(()),
            false => prove(repository, &self.damage, written.file.tree),
        })
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

    /// Whether a volume's files are still those of a backup, but for those that are left out; unknown if
    /// the backup is of another volume.
    ///
    /// # Errors
    /// If the volume or the backup can't be read.
    pub(in crate::daemon) fn changes_since(
        &self,
        url: &StoredUrl<'_>,
        volume: &VolumeState,
        (folder, excludes): (&Path, Option<&VolumeExcludes>),
    ) -> Result<Changes> {
        let Some(repository) = self.existing()? else { return Ok(Changes::Unknown) };
        let found = self.catalogue.find_readable(&repository, url)?;
        if found.record.volume_id != volume.id() {
            return Ok(Changes::Unknown);
        }
        let _lock = self.reading_lock()?;
        // What another member of the repository may have written says nothing of when: then the
        // content of all files is compared.
        let written = self.written_here.of(&volume.id());
        let begun = written.get(&found.tree).copied().unwrap_or(Timestamp::MIN);
        repository.forget_index();
        let difference = guarded("the comparison", || {
            let of = (folder, volume.name.as_str(), excludes);
            let has_dumps = !found.record.moment.dumps.is_empty();
            let left_out = |path: &Path| has_dumps && save::is_extra_path(path);
            read::first_difference(&repository, (found.tree, &left_out), of, begun)
        });
        Ok(match difference? {
            None => Changes::Unchanged,
            Some(path) => Changes::Changed { path: path.display().to_string() },
        })
    }

    /// The progress of a backup, by what its parent had.
    fn piece(&self, volume: &VolumeState, parent: Option<Parent>) -> Arc<dyn Piece> {
        let before = parent.and_then(|parent| self.catalogue.bytes(parent.tree));
        self.access.progress.begin(&format!("backup {}", volume.name), before)
    }
}

/// Volumes of which backups are made.
struct Saving<'a> {
    at: &'a DestinationRepository,
    repository: &'a OpenRepository,
    volumes: Vec<&'a VolumeState>,
    dumps: Vec<&'a Dumps>,
    /// Whether nothing is taken from earlier backups.
    is_again: bool,
    begun: Timestamp,
}

impl Saving<'_> {
    fn target(&self) -> Target<'_> {
        Target { repository: self.repository, spool: Some(&self.at.spool) }
    }

    fn source<'a>(&'a self, index: usize, reading: &'a VolumeReading<'_>) -> Source<'a> {
        let (volume, extras) = (&self.volumes[index].name, self.dumps[index].extras());
        Source { files: reading.files(), volume, parent: None, extras }
    }
}

impl Work for Saving<'_> {
    type Prepared = (Unheld, Arc<dyn Piece>);
    type Made = WasRead;

    fn prepare(&self, index: usize, reading: &VolumeReading<'_>) -> Result<Self::Prepared> {
        let volume = self.volumes[index];
        let parent = match self.is_again {
            true => None,
            false => self.at.newest_of(self.repository, volume, self.begun)?,
        };
        let piece = self.at.piece(volume, parent);
        let source = Source { parent, ..self.source(index, reading) };
        Ok((Unheld::read(self.target(), source, &*piece)?, piece))
    }

    fn prepare_again(
        &self,
        index: usize,
        reading: &VolumeReading<'_>,
        (unheld, piece): Self::Prepared,
    ) -> Result<Self::Prepared> {
        Ok((unheld.again(self.target(), self.source(index, reading))?, piece))
    }

    fn needs(&self, (unheld, _): &Self::Prepared) -> Option<Duration> {
        unheld.needs()
    }

    fn read(
        &self,
        index: usize,
        reading: &VolumeReading<'_>,
        (unheld, piece): Self::Prepared,
    ) -> Result<(WasRead, bool)> {
        let name = &self.volumes[index].name;
        let saved = unheld.save(self.target(), self.source(index, reading), &*piece)?;
        piece.set_total(saved.bytes);
        saved.log(&format!("backup of volume {name}"));
        let mut file = SnapshotFile {
            hostname: self.at.access.host.clone(),
            tree: saved.tree,
            summary: Some(*saved.summary),
            ..SnapshotFile::default()
        };
        file.program_version = concat!("convoy-backups ", env!("CARGO_PKG_VERSION")).into();
        file.paths.add(format!("/{name}"));
        let dumps = self.dumps[index].records.clone();
        let written = Written { file, changed: saved.changed, needs: saved.needs, dumps };
        let extent = Extent { mounts: reading.mounts.clone(), ..Extent::default() };
        let (kind, begun) = (reading.kind(), self.begun);
        Ok((WasRead { written, extent, kind, begun, stood: None }, saved.is_held))
    }

    fn gather(&self) -> Option<Gathering<'_>> {
        self.repository.gather(&self.at.spool)
    }

    fn upload(&self) -> Result<()> {
        self.repository.backend().flush_gathered()
    }

    /// What is written names nothing yet.
    fn undo(&self, _: &WasRead) {}
}

/// Whether what the parent has is not all there, or another host has marked as unused what was relied
/// on. Then everything is to be read, and what is missing written again.
fn is_not_whole(error: &Error) -> bool {
    let is = error.kind == ErrorKind::Repository;
    if is {
        log::warn!("the backup is not whole yet, so everything is read again: {error}");
    }
    is
}
