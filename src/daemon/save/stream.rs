//! What is kept while it is made, and is no file: a dump. It is cut into chunks and kept as a file is,
//! and never whole in memory.

use std::{mem, thread};

use rustic_core::repofile::BlobType;

use super::{
    blob_writer::BlobWriter,
    chunks::Chunks,
    pack_writer::{EndOfWriters, PackWriter},
};
use crate::{
    daemon::{
        repository::{Coder, Hash, OpenRepository, guarded},
        threads,
    },
    error::{Error, Result},
};

/// What was kept. It is in the repository, and in no snapshot yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) struct Streamed {
    pub(super) chunks: Vec<Hash>,
    pub(in crate::daemon) bytes: u64,
}

/// Takes the next bytes.
pub(in crate::daemon) type Take<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// Keeps what `make` gives, in the order in which it gives it. When this returns, it is on disk, with the
/// index of it.
///
/// # Errors
/// If `make` fails, or the repository can't be read or written.
pub(in crate::daemon) fn stream(
    repository: &OpenRepository,
    make: impl FnOnce(Take<'_>) -> Result<()>,
) -> Result<Streamed> {
    let index = repository.index()?;
    let writer = PackWriter::new(repository.backend());
    let blobs = BlobWriter::new(&index, repository.config(), &writer);
    let mut coders = (0..=writer.threads()).map(|_| repository.coder());
    let own = coders.next().ok_or_else(|| Error::internal("there is no coder"))??;
    let coders = coders.collect::<Result<Vec<_>>>()?;
    let mut cutter = Cutter::new(&blobs, Chunks::new(repository.config())?, own);
    let kept = thread::scope(|threads| {
        // Whatever happens, the threads end: the scope waits for them.
        let _end = EndOfWriters(&writer);
        let mut writing = Vec::new();
        for mut coder in coders {
            let writer = &writer;
            writing.push(threads::spawn(threads, "writer", move || writer.run(&mut coder))?);
        }
        let made = guarded("writing a dump", || make(&mut |bytes| cutter.take(bytes)));
        let made = made.and_then(|()| cutter.finish());
        // Also after a failure: the next one uses what is there.
        let finished = blobs.finish();
        writer.end();
        for writing in writing {
            _ = writing.join();
        }
        made.and_then(|streamed| finished.map(|()| streamed))
    });
    let written = writer.finish(&mut repository.coder()?);
    let flushed = repository.backend().flush();
    repository.forget_index();
    let kept = kept?;
    written.and(flushed)?;
    Ok(kept)
}

/// Cuts what comes into chunks.
struct Cutter<'a> {
    blobs: &'a BlobWriter<'a>,
    chunks: Chunks,
    coder: Coder,
    /// What belongs to no chunk yet, and how much of it was looked at.
    data: Vec<u8>,
    seen: usize,
    streamed: Streamed,
}

impl<'a> Cutter<'a> {
    fn new(blobs: &'a BlobWriter<'a>, chunks: Chunks, coder: Coder) -> Self {
        let streamed = Streamed { chunks: Vec::new(), bytes: 0 };
        Self { blobs, chunks, coder, data: Vec::new(), seen: 0, streamed }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.data.extend_from_slice(bytes);
        // Not after each small piece: what is left after a chunk is moved.
        if self.data.len() < self.chunks.longest() {
            return Ok(());
        }
        while let Some(length) = self.chunks.cut(&self.data, self.seen) {
            self.keep(length)?;
        }
        self.seen = self.data.len();
        Ok(())
    }

    fn keep(&mut self, length: usize) -> Result<()> {
        let rest = self.data.split_off(length);
        let chunk = mem::replace(&mut self.data, rest);
        self.seen = 0;
        self.streamed.chunks.push(self.blobs.keep(&mut self.coder, BlobType::Data, &chunk)?);
        self.streamed.bytes += length as u64;
        Ok(())
    }

    fn finish(&mut self) -> Result<Streamed> {
        while !self.data.is_empty() {
            let length = self.chunks.cut(&self.data, self.seen).unwrap_or(self.data.len());
            self.keep(length)?;
        }
        Ok(self.streamed.clone())
    }
}
