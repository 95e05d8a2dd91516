//! Fills an empty folder with the content of a snapshot.
//!
//! The folder is private and new. Every file is created through the handle of its folder, and no
//! name is followed through a symlink. One thread walks ([`walk`]) and creates folders, links and
//! special files. What it passes on gathers in a window ([`window`]), so that the pieces of many
//! files are read in the order in which they lie in the packs, neighbours at once ([`plan`]). A
//! fixed number of threads reads these stretches, checks each piece (it is named by its SHA-256)
//! and writes it ([`content`]); what is written
//! goes to the disk meanwhile ([`flush`]). A window and a stretch are limited, so the memory is limited for
//! any volume. Runs of zeros, aligned to 4 KiB, become holes. A file's size is the sum of its
//! content. A restore ends before the disk is full ([`room`]). The first failure ends the restore, and so does the end of the run that it is for.

mod content;
mod file;
mod flush;
mod holes;
mod links;
mod metadata;
mod path;
mod plan;
mod room;
mod special;
mod trees;
mod walk;
mod warnings;
mod window;

use std::{
    io,
    num::NonZero,
    path::Path,
    sync::{Arc, Mutex, mpsc::sync_channel},
    thread,
};

use rustic_core::TreeId;

use self::{
    content::{ContentWriter, RESTORING},
    metadata::MetadataWriter,
    room::RoomWatch,
    trees::Trees,
    walk::{CompleteFolder, Source, Walk},
};
use super::folder_handles::{FolderHandles, OpenedFolder};
use crate::{
    daemon::{
        repository::{BlobReader, Index, OpenRepository},
        threads,
    },
    error::{Error, Result},
    files::write_error,
    progress::Piece,
    scope,
};
pub(in crate::daemon) use warnings::RestoreWarnings;

/// The most pieces of work that wait in the queue.
const QUEUE_LENGTH: usize = 16;
/// The most threads that read and write content. Each has a stretch in memory.
const MOST_THREADS: usize = 8;
/// How many threads read content where each read waits for the network. Each has a pack in memory.
const FAR_THREADS: usize = 3;
/// How many threads read trees ahead there.
const TREE_THREADS: usize = 4;

/// Restores the one folder in `tree` to `target`, an empty folder of this program, and syncs it. `bytes`:
/// what its files have by the backup's own word.
///
/// # Errors
/// If something can't be read, written or set, or does not match its SHA-256. If the disk has no room but
/// its reserve. If the run ends.
/// `target` is then in an undefined state.
pub(in crate::daemon) fn restore(
    repository: &OpenRepository,
    (tree, bytes): (TreeId, Option<u64>),
    target: &Path,
    piece: &dyn Piece,
    warnings: &RestoreWarnings,
) -> Result<()> {
    let index = repository.index()?;
    let is_far = repository.backend().is_far();
    let cores = thread::available_parallelism().map_or(2, NonZero::get);
    let writers = if is_far { FAR_THREADS } else { cores.clamp(2, MOST_THREADS) };
    let ahead = if is_far { TREE_THREADS } else { 0 };
    let readers = (0..=writers + ahead).map(|_| BlobReader::new(repository));
    let mut readers = readers.collect::<Result<Vec<_>>>()?;

    let folders = FolderHandles::default();
    let failed = |error: io::Error| write_error(target, &error);
    let root = folders.root(target).map_err(failed)?;
    let metadata = MetadataWriter::new(warnings);
    let room = RoomWatch::new(Arc::clone(&root.handle));
    if let Some(reader) = readers.first_mut() {
        room.can_take(bytes, (&index, tree), reader)?;
    }
    let writer = ContentWriter::new(repository, piece, (&folders, room), metadata);
    let walked = work(&writer, (&index, tree), &root, readers, writers);
    if let Some(error) = writer.into_failure() {
        return Err(error);
    }
    // All names are in their folders, so the folders' times no longer change. The deepest folders
    // come first, while their parents can still be entered.
    for (folder, meta) in walked? {
        scope::goes_on(RESTORING)?;
        let path = folder.path();
        let handle = folders.handle(&folder).map_err(|error| write_error(&path, &error))?;
        metadata.set_open(&*handle, &meta, &path)?;
    }
    rustix::fs::syncfs(&*root.handle).map_err(|error| failed(error.into()))
}

/// Runs the walk and the threads that write, until both have ended.
fn work<'a>(
    writer: &ContentWriter<'a>,
    (index, tree): (&Index, TreeId),
    root: &OpenedFolder,
    mut readers: Vec<BlobReader<'a>>,
    writers: usize,
) -> Result<Vec<CompleteFolder>> {
    let trees = Trees::new(index);
    let (sender, receiver) = sync_channel(QUEUE_LENGTH);
    let receiver = Mutex::new(receiver);
    let no_reader = || Error::internal("a restore has nothing to read with");
    thread::scope(|threads| {
        let (_reading, _flushing) = (trees.until_dropped(), writer.flush.until_dropped());
        threads::spawn(threads, "sync", || writer.bring_to_disk(&root.handle))?;
        let ahead = readers.split_off(writers + 1);
        let has_ahead = !ahead.is_empty();
        let reader = readers.pop().ok_or_else(no_reader)?;
        for reader in ahead {
            threads::spawn(threads, "reader", || trees.read_ahead(reader))?;
        }
        for reader in readers {
            threads::spawn(threads, "writer", || writer.work(&receiver, reader))?;
        }
        let source = Source { index, trees: &trees, reader, ahead: has_ahead };
        // The walk owns the queue's sender, so the threads end when the walk ends.
        let walk = Walk::new(writer, source, Arc::clone(&root.folder), sender);
        walk.run(tree).inspect_err(|error| writer.fail(error.clone()))
    })
}
