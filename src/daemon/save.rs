//! Saves a folder: reads it once, and writes what is new of it into a repository.
//!
//! ```text
//! workers (one a core)                              writers (three threads)
//!   folders: names, metadata        [`worker`]
//!   files: chunks, hashes           [`content`]
//!   new blobs: zstd, cipher, check  [`blob_writer`]  ──►  packs: hash, write, sync   [`pack_writer`]
//!   complete folders: trees         [`worker`]      index files, as packs are on disk
//! ```
//!
//! - What a repository has already is copied into another one blob by blob ([`copy`]), with the same writers.
//! - Any worker does what is next ([`queue`]): the chunks of a large file first, then the entries of
//!   a folder, then the folders in it. So all cores work on one large file, and one folder is
//!   finished before the next is begun.
//! - The memory does not depend on the size of files and hardly on their number: each worker has
//!   one chunk in hand, a few more wait, and a worker whose pack is full waits for a writer. Folders
//!   that are not finished are kept as the text of their trees.
//! - A file that is as it was in the parent is not read. A file that changed while it was read is
//!   read again, a few times; what changed each time is told ([`Changed`]).
//! - A file or folder that can't be read is left out and told: what is saved is partial. Where the
//!   volume as a whole can't be read, or nothing of it, the run fails when all was tried. Files that
//!   vanish between listing and reading are normal for a volume in use; they are counted. What a
//!   moment had and is gone is told.
//! - Mounts inside the folder are crossed, as `tar` does. Sockets are kept as empty names, as restic
//!   does. Owners are numbers; their names are not looked up.
//! - A failed or interrupted run leaves whole packs, in the index as far as possible. The next run
//!   uses them.
//!
//! - Dumps are kept while they are made ([`stream`]), and put beside the files, or in their place ([`extra`]).
//!
//! Nothing here knows volumes' states, snapshots or destinations.

mod assembly;
mod blob_writer;
mod change_times;
mod chunks;
mod content;
mod copy;
mod counts;
mod entry;
mod extra;
mod extra_entry;
mod holes;
mod listed_names;
mod listing;
mod needs;
mod node;
mod open_pack;
mod pack_filler;
mod pack_writer;
mod parent;
mod queue;
mod repack;
mod rescue;
mod run;
mod second_look;
mod shelf;
mod stream;
mod summary;
#[cfg(test)]
mod tests;
mod unfinished_folder;
mod work;
mod worker;

#[cfg(test)]
use std::thread;
use std::{
    path::Path,
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};

use jiff::Zoned;
use rustic_core::{Id, TreeId, repofile::SnapshotSummary};

use self::{
    blob_writer::BlobWriter,
    chunks::Chunks,
    content::ContentReader,
    counts::Counts,
    listing::Listing,
    pack_writer::PackWriter,
    parent::{ParentEntry, ParentFolder},
    queue::{Queue, workers},
    run::{AfterReading, Run},
    second_look::SecondLook,
    work::work,
};
use super::{
    moment::{Copies, Files, Still},
    repository::{Hash, HexHash, Index, OpenRepository},
    tree::{folder_handles::FolderHandles, read::ReadFailures, settled::settled_before},
};
use crate::{
    error::{Error, Result},
    progress::Piece,
    sync::lock,
    text::counted,
};
pub(in crate::daemon) use copy::copy;
pub(in crate::daemon) use counts::Changed;
pub(in crate::daemon) use extra::{ExtraFile, Extras, is_extra_path};
pub(in crate::daemon) use needs::Needs;
pub(in crate::daemon) use parent::Parent;
pub(in crate::daemon) use repack::{HalfEmpty, repack};
pub(in crate::daemon) use rescue::rescue;
pub(in crate::daemon) use shelf::Shelf;
pub(in crate::daemon) use stream::stream;

/// What is saved.
#[derive(Clone, Copy)]
pub(in crate::daemon) struct Source<'a> {
    pub(in crate::daemon) files: Files<'a>,
    /// The name of the folder in the snapshot: `/<volume>`.
    pub(in crate::daemon) volume: &'a str,
    /// The newest snapshot of this volume in the same repository.
    pub(in crate::daemon) parent: Option<Parent>,
    pub(in crate::daemon) extras: Extras<'a>,
}

/// One of several readings of a volume, of which the last counts.
#[derive(Debug, Clone, Copy)]
pub(in crate::daemon) struct Reading<'a> {
    /// Trees of an earlier one, and for a later one.
    pub(in crate::daemon) shelf: Option<&'a Shelf>,
    /// Whether it may be the last, so that it is told what changed meanwhile.
    pub(in crate::daemon) may_count: bool,
}

impl Reading<'_> {
    /// The only one.
    const ONLY: Self = Self { shelf: None, may_count: true };
}

/// What was saved.
#[derive(Debug)]
pub(in crate::daemon) struct Saved {
    /// The snapshot's tree. It has one entry, the volume's folder.
    pub(in crate::daemon) tree: TreeId,
    /// Everything that is no folder.
    pub(in crate::daemon) files: u64,
    /// With the volume's own folder.
    pub(in crate::daemon) folders: u64,
    /// In files.
    pub(in crate::daemon) bytes: u64,
    /// What was really read, in bytes: not what the parent has.
    pub(in crate::daemon) bytes_read: u64,
    /// What the repository has grown by, in bytes, without index files.
    pub(in crate::daemon) bytes_added: u64,
    /// Files and folders that vanished before they could be read.
    pub(in crate::daemon) vanished: u64,
    pub(in crate::daemon) changed: Changed,
    /// Whether what writes to the files was held while they were read.
    pub(in crate::daemon) is_held: bool,
    /// How long the reading took, without the upload of what waits in the spool.
    pub(in crate::daemon) read_for: Duration,
    pub(in crate::daemon) needs: Needs,
    /// The same in restic's words.
    pub(in crate::daemon) summary: Box<SnapshotSummary>,
}

impl Saved {
    /// With what earlier readings of the same run wrote, and found new or changed.
    pub(in crate::daemon) fn after(mut self, earlier: &[Self]) -> Self {
        for one in earlier {
            self.bytes_read += one.bytes_read;
            self.bytes_added += one.bytes_added;
            self.vanished += one.vanished;
            summary::add(&mut self.summary, &one.summary);
            self.needs.also_written(&one.needs);
        }
        self
    }

    /// Logs what was done, and what was not as usual, of `what`. Which files changed is for the caller to tell.
    pub(in crate::daemon) fn log(&self, what: &str) {
        log::debug!(
            "{what}: {} folders and {} files; {} bytes were read and {} written",
            self.folders,
            self.files,
            self.bytes_read,
            self.bytes_added
        );
        if self.vanished > 0 {
            log::info!(
                "{what}: {} before anything was read of it",
                counted(self.vanished as usize, "file vanished", "files vanished")
            );
        }
    }
}

/// Reads a folder, and writes what is new into the repository. When this returns, all packs and the
/// index of them are on disk; the snapshot's file is for the caller to write. Bytes that were read,
/// or need not be, are progress of `piece`. Soon after `cancelled` returns true, the run ends.
///
/// # Errors
/// [`crate::error::ErrorKind::Io`] if the volume can't be read, or nothing of it: the error names up to ten files.
/// [`crate::error::ErrorKind::Cancelled`], or why the repository can't be read or written.
pub(in crate::daemon) fn save(
    repository: &OpenRepository,
    source: Source<'_>,
    piece: &dyn Piece,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Saved> {
    save_watched(repository, source, (piece, cancelled), &|_| Ok(()))
}

/// [`save`], as one of several readings.
///
/// # Errors
/// As [`save`].
pub(in crate::daemon) fn save_again(
    repository: &OpenRepository,
    source: Source<'_>,
    (piece, cancelled): (&dyn Piece, &(dyn Fn() -> bool + Sync)),
    reading: Reading<'_>,
) -> Result<Saved> {
    save_as(repository, source, (piece, cancelled), (&|_| Ok(()), reading))
}

/// [`save`], with a call for each file between reading it and looking whether it changed.
fn save_watched(
    repository: &OpenRepository,
    source: Source<'_>,
    (piece, cancelled): (&dyn Piece, &(dyn Fn() -> bool + Sync)),
    after_reading: &AfterReading<'_>,
) -> Result<Saved> {
    save_as(repository, source, (piece, cancelled), (after_reading, Reading::ONLY))
}

fn save_as(
    repository: &OpenRepository,
    source: Source<'_>,
    (piece, cancelled): (&dyn Piece, &(dyn Fn() -> bool + Sync)),
    (after_reading, reading): (&AfterReading<'_>, Reading<'_>),
) -> Result<Saved> {
    let started = Zoned::now();
    let still = source.files.still;
    let cancelled = &|| cancelled() || still.is_some_and(Still::is_over);
    let coder = || repository.coder();
    let backend = repository.backend();
    let index = repository.index()?;
    let writer = PackWriter::new(backend);
    let blobs = BlobWriter::new(&index, repository.config(), &writer).with_shelf(reading.shelf);
    let workers = workers();
    let known = source.parent.and_then(|parent| {
        known_trees(&parent, (source.volume, reading.shelf), &index, repository)
    });
    let (parent_top, known) = known.map_or((None, None), |(top, root)| (Some(top), root));
    let is_held = still.map_or(Ok(false), Still::hold)?;
    let is_of_all = is_held && still.is_some_and(Still::is_of_all);
    let is_of_a_moment = is_of_all || source.files.copies.is_some() || source.extras.are_all;
    let run = Run {
        volume: source.volume,
        backend,
        index: &index,
        blobs: &blobs,
        shelf: reading.shelf,
        begun: Instant::now(),
        read_for: OnceLock::new(),
        content: ContentReader::new(&blobs, Chunks::new(repository.config())?, piece, cancelled),
        piece,
        folders: FolderHandles::default(),
        queue: Queue::new(workers, 2 * workers),
        counts: Counts::default(),
        second_look: (!is_of_a_moment).then(SecondLook::new),
        failures: ReadFailures::default(),
        copies: source.files.copies,
        still,
        extras: source.extras,
        excludes: source.files.excludes,
        settled_before: source
            .parent
            .map(|parent| settled_before(parent.begun, source.files.folder)),
        parent_top,
        after_reading,
        failure: Mutex::default(),
        tree: Mutex::default(),
    };
    for path in source.files.copies.into_iter().flat_map(Copies::moving) {
        run.counts.changed(path.clone());
    }
    let ended = work(&run, &writer, (source.files.folder, known), workers, &coder);
    repository.forget_index();
    ended?;
    if run.failures.lacking().count > 0 {
        // What was left out may be all that came after a disk or a share went away.
        let is_there = run.folders.root(source.files.folder);
        if let Err(error) = is_there.and_then(|volume| Listing::read(&volume.handle)) {
            run.failures.fail_all(Path::new("."), &error);
        }
    }
    if let Some(look) = run.second_look.as_ref().filter(|_| reading.may_count) {
        let volume = (&run.folders, source.files.folder);
        look.look(volume, (&run.counts, &run.failures, run.excludes), || run.content.is_wanted())?;
    }
    saved(&run, &writer, started).map(|saved| Saved { is_held, ..saved })
}

/// Keeps trees, for tests that forge some. The result has their ids.
#[cfg(test)]
pub(in crate::daemon) fn keep_trees(
    repository: &OpenRepository,
    trees: &[String],
) -> Result<Vec<TreeId>> {
    let index = repository.index()?;
    let writer = PackWriter::new(repository.backend());
    let blobs = BlobWriter::new(&index, repository.config(), &writer);
    let mut coders = [repository.coder()?, repository.coder()?];
    let kept = thread::scope(|threads| {
        let [own, writers] = &mut coders;
        let writing = threads.spawn(|| writer.run(writers));
        let keep =
            |tree: &String| blobs.keep(own, rustic_core::repofile::BlobType::Tree, tree.as_bytes());
        let kept: Result<Vec<_>> = trees.iter().map(keep).collect();
        let finished = blobs.finish();
        writer.end();
        _ = writing.join();
        finished.and(kept)
    })?;
    writer.finish(&mut coders[0])?;
    repository.forget_index();
    Ok(kept.into_iter().map(|id| TreeId::from(Id::new(id))).collect())
}

/// The tree of the parent, and that of the volume's folder in it. A parent that can't be read is
/// none.
fn known_trees(
    parent: &Parent,
    (volume, shelf): (&str, Option<&Shelf>),
    index: &Index,
    repository: &OpenRepository,
) -> Option<(Hash, Option<Hash>)> {
    let read = || {
        let tree = HexHash::parse(parent.tree.to_hex().as_str())?.0;
        let mut coder = repository.coder().ok()?;
        let from = (&**repository.backend(), shelf);
        let top = ParentFolder::read(&tree, index, from, &mut coder);
        let top = top.inspect_err(|error| {
            log::warn!("volume \"{volume}\": all files are read, because the last snapshot can't be: {error}");
        });
        let root = top.ok()?.find(volume.as_bytes()).and_then(ParentEntry::subtree);
        Some((tree, root))
    };
    read()
}

/// What the run has saved, if everything could be read.
fn saved(run: &Run<'_>, writer: &PackWriter<'_>, started: Zoned) -> Result<Saved> {
    if let Some(error) = run.failures.error_of_all(run.volume) {
        return Err(error);
    }
    let lacking = run.failures.lacking();
    if lacking.count > 0 && run.counts.files.all() == 0 {
        return run.failures.error(run.volume).map_or(Err(Error::internal("nothing failed")), Err);
    }
    let tree = lock(&run.tree).take();
    let tree = tree.ok_or_else(|| Error::internal("the volume was not read to its end"))?;
    let counts = &run.counts;
    if counts.capped.get() > 0 {
        log::warn!(
            "volume \"{}\": {} a time before the year 0 or after 9999; the nearest time that restic can read was kept",
            run.volume,
            counted(counts.capped.get() as usize, "file has", "files have")
        );
    }
    if counts.stripped.get() > 0 {
        log::warn!(
            "volume \"{}\": {} an extended attribute whose name is not UTF-8, which restic can't keep; it was left out",
            run.volume,
            counted(counts.stripped.get() as usize, "file has", "files have")
        );
    }
    let summary = Box::new(summary::of(run, started));
    Ok(Saved {
        tree: TreeId::from(Id::new(tree)),
        files: counts.files.all(),
        folders: counts.folders.all(),
        bytes: counts.bytes.get(),
        bytes_read: counts.bytes_read.get(),
        bytes_added: summary.data_added_packed,
        vanished: run.failures.vanished(),
        changed: Changed { lacking, excluded: counts.excluded.get(), ..counts.take_changed() },
        is_held: false,
        read_for: run.read_for.get().copied().unwrap_or_default(),
        needs: Needs::of(run.index, run.blobs, writer),
        summary,
    })
}
