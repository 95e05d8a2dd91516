//! Copies what is whole in damaged packs into new ones.

use std::{collections::HashSet, sync::Arc, thread};

use rustic_core::Id;

use super::{
    blob_writer::BlobWriter,
    pack_writer::{EndOfWriters, PackWriter},
};
use crate::{
    daemon::{
        repository::{BlobReader, Coder, Index, Lost, LostPack, OpenRepository, guarded, hash},
        threads,
    },
    error::{ErrorKind, Result},
    scope,
};

/// Copies the pieces of these packs that can be read, and that no other pack has. When this returns, they
/// are on disk, with the index of them. Returns how many were copied.
///
/// # Errors
/// [`ErrorKind::Cancelled`] if the run ends, or why the repository can't be read or written.
pub(in crate::daemon) fn rescue(repository: &OpenRepository, packs: &HashSet<Id>) -> Result<u64> {
    let index = repository.index()?;
    let mut lost = Lost::clone(index.lost());
    for (pack, wanted) in index.packs().iter().filter(|(pack, _)| packs.contains(pack)) {
        lost.packs.entry(*pack).or_insert(LostPack { size: Some(*wanted), wanted: *wanted });
    }
    let lost = Arc::new(lost);
    let without = index.without(Arc::clone(&lost));
    let writer = PackWriter::new(repository.backend());
    let blobs = BlobWriter::new(&without, repository.config(), &writer);
    let coders = (0..writer.threads()).map(|_| repository.coder());
    let coders = coders.collect::<Result<Vec<_>>>()?;
    let mut rescue =
        Rescue { reader: BlobReader::new(repository)?, coder: repository.coder()?, blobs: &blobs };
    let copied = thread::scope(|threads| {
        // Whatever happens, the threads end: the scope waits for them.
        let _end = EndOfWriters(&writer);
        for mut coder in coders {
            let writer = &writer;
            threads::spawn(threads, "writer", move || writer.run(&mut coder))?;
        }
        let copied = guarded("copying what is whole in damaged packs", || {
            packs.iter().try_fold(0, |copied, pack| {
                let left = lost.packs.get(pack).and_then(|lost| lost.size).unwrap_or_default();
                Ok(copied + rescue.pack(&index, pack, left)?)
            })
        });
        let finished = blobs.finish();
        copied.and_then(|copied| finished.map(|()| copied))
    });
    let written = writer.finish(&mut repository.coder()?);
    repository.forget_index();
    let copied = copied?;
    written?;
    repository.backend().flush()?;
    Ok(copied)
}

struct Rescue<'a> {
    reader: BlobReader<'a>,
    coder: Coder,
    blobs: &'a BlobWriter<'a>,
}

impl Rescue<'_> {
    /// Copies what can be read of a pack that has so many bytes left.
    fn pack(&mut self, index: &Index, pack: &Id, left: u64) -> Result<u64> {
        let mut copied = 0;
        for (kind, id, at) in index.blobs_in(pack) {
            scope::goes_on("what is whole in damaged packs was copied")?;
            if self.blobs.is_there(kind, &id) || u64::from(at.offset) + u64::from(at.length) > left
            {
                continue;
            }
            let sealed = match self.reader.stretch(pack, at.offset, at.length) {
                Ok(sealed) => sealed,
                Err(error) if error.kind == ErrorKind::Repository => continue,
                Err(error) => return Err(error),
            };
            let Ok(content) = self.coder.open_blob(&sealed, at.raw_length) else { continue };
            if hash(&content) == id {
                self.blobs.keep(&mut self.coder, kind, &content)?;
                copied += 1;
            }
        }
        Ok(copied)
    }
}
