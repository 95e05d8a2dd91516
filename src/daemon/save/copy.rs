//! Copies what a snapshot has into another repository. What that has already is not read.
//!
//! One thread walks over the folders and keeps their trees. Then several copy the pieces of files, in the
//! order in which they lie in the packs.

use std::{
    collections::HashSet,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustic_core::{
    TreeId,
    repofile::{BlobType, SnapshotSummary},
};

use super::{
    blob_writer::BlobWriter,
    needs::Needs,
    pack_writer::{EndOfWriters, PackWriter},
    queue::workers,
    summary,
};
use crate::{
    daemon::{
        repository::{BlobReader, Coder, Hash, HexHash, Index, Location, OpenRepository, guarded},
        threads,
    },
    error::{Error, ErrorKind, Result},
    progress::Piece,
    scope,
};

/// So many pieces a thread copies at a time.
const BATCH: usize = 32;

const COPYING: &str = "a snapshot was copied";

/// Copies the snapshot with this tree. When this returns, all packs and the index of them are on disk;
/// the snapshot's file is for the caller to write, and `told` says what is new there. The bytes that are
/// new there are progress of `piece`.
///
/// # Errors
/// [`ErrorKind::Cancelled`] if the run ends, or why one of the repositories can't be read or written.
pub(in crate::daemon) fn copy(
    (from, tree): (&OpenRepository, TreeId),
    (into, told): (&OpenRepository, Option<&mut SnapshotSummary>),
    piece: &dyn Piece,
) -> Result<Needs> {
    let (source, index) = (from.index()?, into.index()?);
    let writer = PackWriter::new(into.backend());
    let blobs = BlobWriter::new(&index, into.config(), &writer);
    let run = Copy { from, source: &source, blobs: &blobs, piece, failed: OnceLock::new() };
    let coders = (0..workers() + writer.threads()).map(|_| into.coder());
    let coders = coders.collect::<Result<Vec<_>>>()?;
    let copied = run.all(tree, &writer, coders);
    // What is there is for the next run, also after a failure.
    let finished = writer.finish(&mut into.coder()?);
    into.forget_index();
    copied.and(finished)?;
    into.backend().flush()?;
    if let Some(told) = told {
        summary::set_added(told, &blobs);
    }
    Ok(Needs::of(&index, &blobs, &writer))
}

/// A piece of a file, and where the snapshot's repository has it.
type Chunk = (Hash, Location);

struct Copy<'a> {
    from: &'a OpenRepository,
    source: &'a Index,
    blobs: &'a BlobWriter<'a>,
    piece: &'a dyn Piece,
    failed: OnceLock<Error>,
}

impl Copy<'_> {
    fn reader(&self) -> Result<BlobReader<'_>> {
        BlobReader::new(self.from)
    }

    /// Copies trees and chunks, and waits until all packs are written. The last coders are the
    /// writers'.
    fn all(&self, tree: TreeId, writer: &PackWriter<'_>, mut coders: Vec<Coder>) -> Result<()> {
        let mut writing = coders.split_off(coders.len() - writer.threads());
        thread::scope(|threads| {
            // The scope waits for the writers, however this ends.
            let end = EndOfWriters(writer);
            for coder in &mut writing {
                threads::spawn(threads, "writer", || writer.run(coder))?;
            }
            let copied = guarded("copying the snapshot", || {
                let coder = coders.first_mut().ok_or_else(|| Error::internal("no coder"))?;
                let chunks = self.trees(tree, coder)?;
                self.chunks(&chunks, &mut coders)
            });
            let finished = self.blobs.finish();
            drop(end);
            copied.and(finished)
        })
    }

    /// Keeps the trees of all folders. Returns the pieces that are to be copied, as they lie in the
    /// packs.
    fn trees(&self, top: TreeId, coder: &mut Coder) -> Result<Vec<Chunk>> {
        let mut reader = self.reader()?;
        let (mut left, mut chunks) = (vec![HexHash::of(&top)], Vec::new());
        let (mut known, mut seen) = (HashSet::from([HexHash::of(&top)]), HashSet::new());
        let mut bytes = 0;
        while let Some(tree) = left.pop() {
            scope::goes_on(COPYING)?;
            let what = || "cannot read a folder of the snapshot".to_owned();
            let (text, nodes) = reader.tree_with_text(self.source, &tree, &what)?;
            self.blobs.keep_tree(coder, &text, None)?;
            for node in nodes.nodes {
                let below = node.subtree.as_ref().map(|tree| HexHash::of(tree));
                left.extend(below.filter(|tree| known.insert(*tree)));
                for chunk in node.content.iter().flatten() {
                    let chunk = HexHash::of(chunk);
                    if !seen.insert(chunk) || self.blobs.has_all(&[chunk]) {
                        continue;
                    }
                    let at = self.source.find(BlobType::Data, &chunk).ok_or_else(missing)?;
                    bytes += u64::from(at.content_length());
                    chunks.push((chunk, at));
                }
            }
        }
        chunks.sort_unstable_by_key(|(_, at)| (at.pack, at.offset));
        self.piece.set_total(bytes);
        Ok(chunks)
    }

    /// Copies pieces, on a thread for each coder.
    fn chunks(&self, chunks: &[Chunk], coders: &mut [Coder]) -> Result<()> {
        let next = AtomicUsize::new(0);
        thread::scope(|threads| {
            for coder in coders {
                let copy = || {
                    let copied =
                        guarded("copying the snapshot", || self.batches(chunks, &next, coder));
                    if let Err(error) = copied {
                        // Only the first failure counts.
                        _ = self.failed.set(error);
                    }
                };
                let started = threads::spawn(threads, "worker", copy);
                started.inspect_err(|error| _ = self.failed.set(error.clone()))?;
            }
            Ok(())
        })?;
        self.failed.get().cloned().map_or(Ok(()), Err)
    }

    fn batches(&self, chunks: &[Chunk], next: &AtomicUsize, coder: &mut Coder) -> Result<()> {
        let mut reader = self.reader()?;
        let what = || "cannot read a piece of the snapshot".to_owned();
        loop {
            let start = next.fetch_add(BATCH, Ordering::Relaxed).min(chunks.len());
            let batch = &chunks[start..(start + BATCH).min(chunks.len())];
            if batch.is_empty() || self.failed.get().is_some() {
                return Ok(());
            }
            for (id, at) in batch {
                scope::goes_on(COPYING)?;
                let mut sealed = reader.stretch(&at.pack, at.offset, at.length)?;
                let content = reader.piece(&mut sealed, (id, at), &what)?;
                self.blobs.keep(coder, BlobType::Data, content)?;
                self.piece.advance(content.len() as u64);
            }
        }
    }
}

fn missing() -> Error {
    let message = "cannot read a piece of the snapshot: it is missing in the index";
    Error::new(ErrorKind::Repository, message)
}
