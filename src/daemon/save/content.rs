//! The content of files: read, cut into chunks and kept. One worker reads a file. Of a large file
//! it hands out chunks, as long as not too many wait; the others it keeps itself.

use std::{
    fs::File,
    io, mem,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustic_core::repofile::BlobType;
use rustix::{fs::Stat, io::Errno};

use super::{
    blob_writer::BlobWriter,
    chunks::Chunks,
    holes::Holes,
    queue::{Next, Queue},
};
use crate::{
    daemon::repository::{Coder, Hash},
    error::{Error, Result},
    progress::Piece,
    scope,
    sync::lock,
    units::format_size,
};

/// So much is read ahead of the point up to which a cut was looked for.
const STEP: usize = 256 << 10;
/// How many buffers are kept for the next chunks.
const BUFFERS: usize = 8;
/// A hole that is longer than this is cut into chunks of `LARGE_ZEROS`, so that a file of many
/// terabytes without content has no millions of chunks. All are in bytes.
const LARGE_HOLE: u64 = 64 << 20;
const LARGE_ZEROS: usize = 16 << 20;
/// The most chunks of holes that a file may have. Each takes a hundred bytes of memory here, and more in
/// a restore.
const MOST_OF_HOLES: u64 = 1 << 20;

/// Why a file has no content.
pub(super) enum Unread {
    /// The file can't be read; the run goes on.
    File(io::Error),
    /// Something else may have the file's name by now. If not, this is why it can't be read.
    Replaced(io::Error),
    /// The run can't go on.
    Run(Error),
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::Run(error)
    }
}

impl From<Errno> for Unread {
    fn from(error: Errno) -> Self {
        let why = error.into();
        if error == Errno::STALE { Self::Replaced(why) } else { Self::File(why) }
    }
}

/// What was read of a file.
pub(super) struct Content {
    pub(super) chunks: Vec<Hash>,
    pub(super) bytes: u64,
}

/// Bytes that were read, in memory that is used again.
#[derive(Default)]
struct Buffer {
    space: Vec<u8>,
    filled: usize,
}

impl Buffer {
    fn content(&self) -> &[u8] {
        &self.space[..self.filled]
    }

    fn reserve(&mut self, bytes: usize) {
        if self.space.len() < bytes {
            self.space.resize(bytes, 0);
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        let end = self.filled + bytes.len();
        self.reserve(end);
        self.space[self.filled..end].copy_from_slice(bytes);
        self.filled = end;
    }

    /// Reads until there are `wanted` bytes, or the file ends. The first byte is at `start` in the
    /// file.
    fn fill(&mut self, file: &File, wanted: usize, start: u64) -> Result<(), Errno> {
        self.reserve(wanted);
        while self.filled < wanted {
            let at = start + self.filled as u64;
            match rustix::io::pread(file, &mut self.space[self.filled..wanted], at) {
                Err(Errno::INTR) => {}
                Ok(0) => break,
                read => self.filled += read?,
            }
        }
        Ok(())
    }
}

/// A chunk of a large file, for any worker.
pub(super) struct ChunkWork {
    file: Arc<LargeFile>,
    number: usize,
    data: Buffer,
}

/// The chunks of a file that is being read.
#[derive(Default)]
struct LargeFile {
    chunks: Mutex<Vec<Hash>>,
    /// How many of them are not kept yet.
    left: AtomicUsize,
}

impl LargeFile {
    fn add(&self, id: Hash) -> usize {
        let mut chunks = lock(&self.chunks);
        chunks.push(id);
        chunks.len() - 1
    }
}

/// Reads the content of files.
pub(super) struct ContentReader<'a> {
    blobs: &'a BlobWriter<'a>,
    chunks: Chunks,
    piece: &'a dyn Piece,
    cancelled: &'a (dyn Fn() -> bool + Sync),
    /// The name of the longest chunk of zeros, and of one for a large hole.
    zeros: OnceLock<Hash>,
    large_zeros: OnceLock<Hash>,
    buffers: Mutex<Vec<Buffer>>,
}

impl<'a> ContentReader<'a> {
    pub(super) fn new(
        blobs: &'a BlobWriter<'a>,
        chunks: Chunks,
        piece: &'a dyn Piece,
        cancelled: &'a (dyn Fn() -> bool + Sync),
    ) -> Self {
        let (zeros, large_zeros) = (OnceLock::new(), OnceLock::new());
        Self { blobs, chunks, piece, cancelled, zeros, large_zeros, buffers: Mutex::default() }
    }

    /// Whether the run goes on.
    ///
    /// # Errors
    /// If it was cancelled, or has failed.
    pub(super) fn goes_on<T>(&self, queue: &Queue<ChunkWork, T>) -> Result<()> {
        self.is_wanted()?;
        if queue.is_closed() { Err(ended()) } else { Ok(()) }
    }

    /// Whether the run was not cancelled.
    ///
    /// # Errors
    /// If it was.
    pub(super) fn is_wanted(&self) -> Result<()> {
        if !(self.cancelled)() {
            return Ok(());
        }
        Err(scope::cancelled_while("the volume was read"))
    }

    /// Reads a file up to the size that it had when it was opened (`stat`), so that a file that
    /// grows all the time has an end. `first` tells that its bytes count as progress.
    pub(super) fn read<T>(
        &self,
        queue: &Queue<ChunkWork, T>,
        coder: &mut Coder,
        (file, stat): (&File, &Stat),
        first: bool,
    ) -> Result<Content, Unread> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size > self.chunks.shortest() as u64 {
            return LargeFileReader::new(self, queue, (file, stat), first).run(coder);
        }
        if size == 0 {
            return Ok(Content { chunks: Vec::new(), bytes: 0 });
        }
        let mut data = self.buffer();
        data.fill(file, size as usize, 0)?;
        let bytes = data.filled as u64;
        let mut chunks = Vec::new();
        if bytes > 0 {
            chunks.push(self.blobs.keep(coder, BlobType::Data, data.content())?);
        }
        self.recycle(data);
        if first {
            self.piece.advance(bytes);
        }
        Ok(Content { chunks, bytes })
    }

    /// Keeps a chunk of a large file.
    pub(super) fn keep<T>(
        &self,
        queue: &Queue<ChunkWork, T>,
        coder: &mut Coder,
        work: ChunkWork,
    ) -> Result<()> {
        let id = self.blobs.keep(coder, BlobType::Data, work.data.content())?;
        self.recycle(work.data);
        if let Some(chunk) = lock(&work.file.chunks).get_mut(work.number) {
            *chunk = id;
        }
        if work.file.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            queue.wake();
        }
        Ok(())
    }

    /// The name and the length of a chunk of zeros for the start of a hole that has so many bytes.
    fn zeros(&self, coder: &mut Coder, hole: u64) -> Result<(Hash, u64)> {
        let longest = self.chunks.longest();
        let (name, length) = match hole > LARGE_HOLE && longest < LARGE_ZEROS {
            true => (&self.large_zeros, LARGE_ZEROS),
            false => (&self.zeros, longest),
        };
        if let Some(id) = name.get() {
            return Ok((*id, length as u64));
        }
        let id = self.blobs.keep(coder, BlobType::Data, &vec![0; length])?;
        Ok((*name.get_or_init(|| id), length as u64))
    }

    fn buffer(&self) -> Buffer {
        lock(&self.buffers).pop().unwrap_or_default()
    }

    fn recycle(&self, mut buffer: Buffer) {
        buffer.filled = 0;
        let mut buffers = lock(&self.buffers);
        if buffers.len() < BUFFERS {
            buffers.push(buffer);
        }
    }
}

/// A large file that is being read.
struct LargeFileReader<'a, T> {
    reader: &'a ContentReader<'a>,
    queue: &'a Queue<ChunkWork, T>,
    file: &'a File,
    holes: Holes<'a>,
    size: u64,
    first: bool,
    /// Where the next chunk starts.
    start: u64,
    /// What was read from there on.
    data: Buffer,
    chunked: Arc<LargeFile>,
}

impl<'a, T> LargeFileReader<'a, T> {
    fn new(
        reader: &'a ContentReader<'a>,
        queue: &'a Queue<ChunkWork, T>,
        (file, stat): (&'a File, &Stat),
        first: bool,
    ) -> Self {
        let holes = Holes::new(file, stat);
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let (data, chunked) = (reader.buffer(), Arc::default());
        Self { reader, queue, file, holes, size, first, start: 0, data, chunked }
    }

    fn run(mut self, coder: &mut Coder) -> Result<Content, Unread> {
        let longest = self.reader.chunks.longest() as u64;
        let mut of_holes = 0;
        while self.start < self.size {
            self.reader.goes_on(self.queue)?;
            if self.holes.is_hole(self.start..self.start + longest) {
                of_holes += 1;
                if of_holes > MOST_OF_HOLES {
                    return Err(Unread::File(self.too_large()));
                }
                let (zeros, length) = self.reader.zeros(coder, self.holes.left(self.start))?;
                self.chunked.add(zeros);
                self.data.filled = 0;
                self.passed(length);
                continue;
            }
            let length = self.next_chunk()?;
            if length == 0 {
                // The file has become shorter.
                break;
            }
            self.hand_out(length, coder)?;
            self.passed(length as u64);
        }
        self.reader.recycle(mem::take(&mut self.data));
        self.wait(coder)?;
        Ok(Content { chunks: mem::take(&mut *lock(&self.chunked.chunks)), bytes: self.start })
    }

    fn too_large(&self) -> io::Error {
        io::Error::other(format!(
            "it has {}, and more of that are holes than a backup can keep ({MOST_OF_HOLES} pieces of up to {})",
            format_size(self.size),
            format_size(LARGE_ZEROS as u64)
        ))
    }

    fn passed(&mut self, bytes: u64) {
        self.start += bytes;
        if self.first {
            self.reader.piece.advance(bytes);
        }
    }

    /// Reads until the next chunk is there, and returns its length; 0 at the end of the file.
    fn next_chunk(&mut self) -> Result<usize, Unread> {
        let chunks = &self.reader.chunks;
        let rest = usize::try_from(self.size - self.start).unwrap_or(usize::MAX);
        let mut seen = 0;
        loop {
            if let Some(length) = chunks.cut(self.data.content(), seen) {
                return Ok(length);
            }
            seen = self.data.filled;
            let wanted = (seen + STEP).max(chunks.shortest()).min(chunks.longest()).min(rest);
            if seen < wanted {
                self.data.fill(self.file, wanted, self.start)?;
            }
            if self.data.filled < wanted || seen == wanted {
                return Ok(self.data.filled);
            }
        }
    }

    /// Hands out the first bytes of what was read as a chunk, or keeps it here.
    fn hand_out(&mut self, length: usize, coder: &mut Coder) -> Result<()> {
        let mut rest = self.reader.buffer();
        rest.add(&self.data.content()[length..]);
        let mut data = mem::replace(&mut self.data, rest);
        data.filled = length;
        let number = self.chunked.add(Hash::default());
        self.chunked.left.fetch_add(1, Ordering::AcqRel);
        let work = ChunkWork { file: Arc::clone(&self.chunked), number, data };
        match self.queue.offer(work) {
            Ok(()) => Ok(()),
            Err(work) => self.reader.keep(self.queue, coder, work),
        }
    }

    /// Waits until all chunks are kept, and keeps some meanwhile.
    fn wait(&self, coder: &mut Coder) -> Result<()> {
        loop {
            match self.queue.help(|| self.chunked.left.load(Ordering::Acquire) == 0) {
                Next::Done => return Ok(()),
                Next::Chunk(work) => self.reader.keep(self.queue, coder, work)?,
                Next::Closed | Next::Task(_) => return Err(ended()),
            }
        }
    }
}

/// Never told: the first failure of the run is.
fn ended() -> Error {
    Error::internal("the run has ended")
}
