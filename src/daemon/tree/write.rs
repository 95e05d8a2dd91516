//! Fills an empty folder with what a snapshot holds.
//!
//! The folder is private and new, every file is made through the handle of the folder it is in, and
//! no name is ever followed through a symlink. One thread walks ([`walk`]): it makes folders, links
//! and special files. A fixed number of threads reads, checks (against the name of each piece, its
//! SHA-256) and writes the content of files ([`content`]), fed through a short queue: the memory is
//! bounded for any volume. Runs of zeros, aligned to 4 KiB, become holes. A file's size is what its
//! content adds up to. The first failure ends the restore.

mod content;
mod holes;
mod metadata;
mod path;
mod special;
mod walk;
mod warnings;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, mpsc::sync_channel},
};

use rustic_core::TreeId;
use rustix::fs::Mode;

use self::{content::ContentWriter, metadata::MetadataWriter, path::open_folder, walk::Walk};
use super::folder::FOLDER;
use crate::{
    daemon::repository::OpenRepository, error::Result, files::write_error, progress::Piece,
};
pub(in crate::daemon) use warnings::RestoreWarnings;

/// Pieces of work that wait at most.
const QUEUE_LENGTH: usize = 16;
/// Threads that write content at most.
const MOST_THREADS: usize = 4;

/// Restores the one folder in `tree` to `target`, an empty folder of ours, and puts it on disk.
///
/// # Errors
/// Where something can't be read, does not match its name, or can't be written or set; `target` is
/// then in any state.
pub(in crate::daemon) fn restore(
    repository: &OpenRepository,
    tree: TreeId,
    target: &Path,
    piece: &dyn Piece,
    warnings: &RestoreWarnings,
) -> Result<()> {
    let indexed = repository.indexed()?;
    let metadata = MetadataWriter::new(warnings);
    let writer = ContentWriter::new(repository, &indexed, piece, metadata);
    let root = rustix::fs::open(target, FOLDER, Mode::empty())
        .map_err(|error| write_error(target, &io::Error::from(error)))?;
    let root = Arc::new(root);
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(MOST_THREADS);
    let (sender, receiver) = sync_channel(QUEUE_LENGTH);
    let receiver = Mutex::new(receiver);
    let walked = std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| writer.work(&receiver));
        }
        // The walk owns the queue's entrance: the threads end when it does.
        let walk = Walk::new(&writer, metadata, root.clone(), sender);
        walk.run(tree).inspect_err(|error| writer.fail(error.clone()))
    });
    if let Some(error) = writer.take_failure() {
        return Err(error);
    }
    // All names are in their folders, so times stay; the deepest first, as long as their parents
    // can be entered.
    for (path, meta) in walked? {
        metadata.set_open(&open_folder(&root, &path)?, &meta, &path)?;
    }
    rustix::fs::syncfs(&*root).map_err(|error| write_error(target, &io::Error::from(error)))
}
