//! Packing anew what is needed of packs that are half empty: the sealed pieces are copied as they are,
//! once it was seen that they can be opened.

use std::thread;

use rustic_core::{Id, repofile::BlobType};

use super::{
    pack_filler::PackFiller,
    pack_writer::{EndOfWriters, PackWriter},
};
use crate::{
    daemon::{
        repository::{BlobReader, Hash, Location, OpenRepository, SealedBlob},
        threads::spawn,
    },
    error::{Error, ErrorKind, Result},
    scope,
};

/// What lies at most so many bytes apart is read at once.
const GAP: u32 = 256 << 10;

/// A pack of which some pieces, or trees, are needed.
pub(in crate::daemon) struct HalfEmpty {
    pub(in crate::daemon) pack: Id,
    pub(in crate::daemon) is_tree: bool,
    /// What is needed of it, in the order in which it lies there.
    pub(in crate::daemon) blobs: Vec<(Hash, Location)>,
}

/// What was packed anew.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Repacked {
    /// The new packs, with their sizes in bytes. The index names them.
    pub(in crate::daemon) packs: Vec<(Id, u64)>,
    pub(in crate::daemon) index_files: Vec<Id>,
    /// The packs with pieces that can't be read.
    pub(in crate::daemon) damaged: Vec<Id>,
    /// Why not all was written.
    pub(in crate::daemon) failure: Option<Error>,
}

/// Copies what is needed of these packs into new ones.
pub(in crate::daemon) fn repack(
    repository: &OpenRepository,
    packs: impl Iterator<Item = HalfEmpty>,
) -> Repacked {
    let writer = PackWriter::new(repository.backend());
    let mut repacked = Repacked::default();
    let copied = thread::scope(|threads| {
        // Whatever happens, the threads end: the scope waits for them.
        let _end = EndOfWriters(&writer);
        (0..writer.threads())
            .try_for_each(|_| {
                let (mut coder, writer) = (repository.coder()?, &writer);
                spawn(threads, "writer", move || writer.run(&mut coder)).map(drop)
            })
            .and_then(|()| copy_all(repository, &writer, packs, &mut repacked.damaged))
    });
    let indexed = repository.coder().and_then(|mut coder| writer.finish(&mut coder));
    let written = writer.take_written();
    repacked.packs = written.packs;
    repacked.index_files = written.index_files.into_iter().map(|(id, _)| id).collect();
    // What the writer failed with is why the rest did.
    repacked.failure = indexed.and(copied).err();
    repacked
}

fn copy_all(
    repository: &OpenRepository,
    writer: &PackWriter<'_>,
    packs: impl Iterator<Item = HalfEmpty>,
    damaged: &mut Vec<Id>,
) -> Result<()> {
    let config = repository.config();
    let filler = |kind| PackFiller::new(kind, config.packsize(kind).0 as usize, writer);
    let (pieces, trees) = (filler(BlobType::Data), filler(BlobType::Tree));
    let mut reader = BlobReader::new(repository)?;
    for half_empty in packs {
        scope::goes_on("space was given back")?;
        let blobs = match read(&mut reader, &half_empty) {
            Err(error) if error.kind == ErrorKind::Repository => {
                log::debug!("a pack can't be packed anew: {error}");
                damaged.push(half_empty.pack);
                continue;
            }
            blobs => blobs?,
        };
        let filler = if half_empty.is_tree { &trees } else { &pieces };
        for (id, at, sealed) in &blobs {
            filler.add(*id, &SealedBlob { sealed, raw_length: at.raw_length })?;
        }
    }
    pieces.finish()?;
    trees.finish()
}

/// What is needed of a pack.
///
/// # Errors
/// [`ErrorKind::Repository`] if a part of it is not what its name says.
fn read(reader: &mut BlobReader<'_>, of: &HalfEmpty) -> Result<Vec<(Hash, Location, Vec<u8>)>> {
    let mut blobs = Vec::with_capacity(of.blobs.len());
    let end = |at: &Location| at.offset.saturating_add(at.length);
    let is_near = |(_, one): &(Hash, Location), (_, next): &(Hash, Location)| {
        next.offset.saturating_sub(end(one)) <= GAP
    };
    for near in of.blobs.chunk_by(is_near) {
        let (Some((_, first)), Some((_, last))) = (near.first(), near.last()) else { continue };
        let stretch = reader.stretch(&of.pack, first.offset, end(last) - first.offset)?;
        for (id, at) in near {
            let from = (at.offset - first.offset) as usize;
            let sealed = stretch.get(from..from + at.length as usize);
            let whole = sealed.filter(|sealed| reader.is_blob(&mut sealed.to_vec(), id, at));
            let damaged = || Error::new(ErrorKind::Repository, "a piece is not what it should be");
            blobs.push((*id, *at, whole.ok_or_else(damaged)?.to_vec()));
        }
    }
    Ok(blobs)
}
