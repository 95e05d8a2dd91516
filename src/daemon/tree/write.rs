//! Fills an empty folder with the content of a snapshot.
//!
//! The folder is private and new. Every file is created through the handle of its folder, and no
//! name is followed through a symlink. One thread walks ([`walk`]) and creates folders, links and
//! special files. A fixed number of threads reads the content of files, checks it (each piece is
//! named by its SHA-256) and writes it ([`content`]). A short queue feeds these threads, so the
//! memory is limited for any volume. Runs of zeros, aligned to 4 KiB, become holes. A file's size
//! is the sum of its content. The first failure ends the restore.

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

/// The most pieces of work that wait in the queue.
const QUEUE_LENGTH: usize = 16;
/// The most threads that write content.
const MOST_THREADS: usize = 4;

/// Restores the one folder in `tree` to `target`, an empty folder of this program, and syncs it.
///
/// # Errors
/// If something can't be read, written or set, or does not match its SHA-256. `target` is then in
/// an undefined state.
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
        // The walk owns the queue's sender, so the threads end when the walk ends.
        let walk = Walk::new(&writer, metadata, root.clone(), sender);
        walk.run(tree).inspect_err(|error| writer.fail(error.clone()))
    });
    if let Some(error) = writer.take_failure() {
        return Err(error);
    }
    // All names are in their folders, so the folders' times no longer change. The deepest folders
    // come first, while their parents can still be entered.
    for (path, meta) in walked? {
        metadata.set_open(&open_folder(&root, &path)?, &meta, &path)?;
    }
    rustix::fs::syncfs(&*root).map_err(|error| write_error(target, &io::Error::from(error)))
}
