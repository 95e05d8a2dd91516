//! Writes packs, beside the workers, so that waiting for the disk or the network overlaps with
//! computing. A pack is on disk before an index file names it, and index files are written while
//! the run goes on: the next run uses what an interrupted one has written.

use std::{
    mem,
    sync::{
        Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustic_core::{FileType, Id};

use super::open_pack::{IndexedPack, OpenPack};
use crate::{
    daemon::repository::{Backend, Coder, guarded, hash},
    error::{Error, Result},
    sync::lock,
};

/// How many threads write to a disk, and to a bucket. One more pack of each kind is being filled. At
/// a disk, one thread waits until its pack is on it, and the other is about to.
const WRITERS: usize = 2;
const WRITERS_FAR: usize = 3;
/// An index file is written after so many packs (1 GiB of data), blobs, or so much time.
const PACKS: usize = 64;
const BLOBS: usize = 50_000;
const INTERVAL: Duration = Duration::from_mins(1);

/// Writes packs and the index of them.
pub(super) struct PackWriter<'a> {
    backend: &'a Backend,
    packs: Mutex<Option<SyncSender<OpenPack>>>,
    queue: Mutex<Receiver<OpenPack>>,
    /// Buffers of packs that were written.
    buffers: Mutex<Vec<Vec<u8>>>,
    index: Mutex<Pending>,
    done: Mutex<Written>,
    failure: Mutex<Option<Error>>,
}

/// Ends the writers when it is dropped.
pub(super) struct EndOfWriters<'a>(pub(super) &'a PackWriter<'a>);

impl Drop for EndOfWriters<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What is on disk.
#[derive(Default)]
pub(super) struct Written {
    /// With their sizes in bytes.
    pub(super) packs: Vec<(Id, u64)>,
    /// With their sizes in bytes.
    pub(super) index_files: Vec<(Id, u32)>,
}

/// What is on disk and in no index file yet.
struct Pending {
    packs: Vec<IndexedPack>,
    since: Instant,
}

impl Pending {
    fn is_due(&self) -> bool {
        let blobs = || self.packs.iter().map(|pack| pack.blobs).sum::<usize>();
        self.packs.len() >= PACKS || blobs() >= BLOBS || self.since.elapsed() >= INTERVAL
    }
}

impl<'a> PackWriter<'a> {
    pub(super) fn new(backend: &'a Backend) -> Self {
        // Without room in the channel, what waits is what the threads have taken.
        let (packs, queue) = sync_channel(0);
        Self {
            backend,
            packs: Mutex::new(Some(packs)),
            queue: Mutex::new(queue),
            buffers: Mutex::default(),
            index: Mutex::new(Pending { packs: Vec::new(), since: Instant::now() }),
            done: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    /// How many threads are to write.
    pub(super) fn threads(&self) -> usize {
        if self.backend.is_far() { WRITERS_FAR } else { WRITERS }
    }

    /// A buffer for a pack of this size: the largest that is not much larger, so that small packs
    /// don't take the memory of large ones.
    pub(super) fn buffer(&self, size: usize) -> Vec<u8> {
        let mut buffers = lock(&self.buffers);
        let fitting = buffers.iter().enumerate().filter(|(_, it)| it.capacity() <= 3 * size);
        let largest = fitting.max_by_key(|(_, it)| it.capacity()).map(|(at, _)| at);
        // What is not written to takes no memory; growing would copy.
        largest
            .map(|at| buffers.swap_remove(at))
            .unwrap_or_else(|| Vec::with_capacity(size + size / 4))
    }

    /// Hands over a pack; waits until a thread takes it.
    ///
    /// # Errors
    /// If an earlier pack could not be written.
    pub(super) fn write(&self, pack: OpenPack) -> Result<()> {
        if let Some(error) = &*lock(&self.failure) {
            return Err(error.clone());
        }
        let packs = lock(&self.packs).clone();
        let sent = packs.map(|packs| packs.send(pack));
        if matches!(sent, Some(Ok(()))) {
            return Ok(());
        }
        Err(Error::internal("a pack was made after the last one"))
    }

    /// Writes packs until [`PackWriter::end`].
    pub(super) fn run(&self, coder: &mut Coder) {
        loop {
            let pack = lock(&self.queue).recv();
            let Ok(pack) = pack else { return };
            // What comes after a failure is taken, so that nobody waits for ever, and dropped.
            if lock(&self.failure).is_some() {
                continue;
            }
            if let Err(error) = guarded("writing a pack", || self.write_pack(pack, coder)) {
                lock(&self.failure).get_or_insert(error);
            }
        }
    }

    fn write_pack(&self, pack: OpenPack, coder: &mut Coder) -> Result<()> {
        let (id, content, indexed) = pack.finish(coder)?;
        let content = Bytes::from(content);
        let length = content.len() as u64;
        self.backend.write_file(FileType::Pack, &id, content.clone())?;
        lock(&self.done).packs.push((id, length));
        // Not copied, if somebody else still has it.
        if let Ok(buffer) = content.try_into_mut() {
            let mut buffers = lock(&self.buffers);
            // Packs of many small pieces are small, and so are their buffers: no more are kept than used.
            if buffers.len() < 2 * self.threads() {
                buffers.push(buffer.into());
            }
        }
        let due = {
            let mut index = lock(&self.index);
            index.packs.push(indexed);
            if index.is_due() { self.take(&mut index) } else { Vec::new() }
        };
        let written = self.write_index(&due, coder);
        if written.is_err() {
            // Perhaps the end of the run can.
            lock(&self.index).packs.extend(due);
        }
        written
    }

    fn take(&self, index: &mut Pending) -> Vec<IndexedPack> {
        index.since = Instant::now();
        mem::take(&mut index.packs)
    }

    fn write_index(&self, packs: &[IndexedPack], coder: &mut Coder) -> Result<()> {
        if packs.is_empty() {
            return Ok(());
        }
        let packs: Vec<_> = packs.iter().map(|pack| pack.json.as_str()).collect();
        let sealed = coder.seal_file(format!("{{\"packs\":[{}]}}", packs.join(",")).as_bytes())?;
        let id = Id::new(hash(&sealed));
        let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        self.backend.write_file(FileType::Index, &id, sealed.into())?;
        lock(&self.done).index_files.push((id, length));
        Ok(())
    }

    /// Lets the threads end after what was handed over.
    pub(super) fn end(&self) {
        lock(&self.packs).take();
    }

    /// Writes what is still missing in the index. After a failure, also one of the storage, what is on
    /// disk is still put into the index where that can be done: the next run uses it.
    ///
    /// # Errors
    /// If anything could not be written.
    pub(super) fn finish(&self, coder: &mut Coder) -> Result<()> {
        let failure = lock(&self.failure).clone();
        let packs = self.take(&mut lock(&self.index));
        let indexed = self.write_index(&packs, coder);
        failure.map_or(Ok(()), Err)?;
        indexed
    }

    /// What was written.
    pub(super) fn take_written(&self) -> Written {
        mem::take(&mut *lock(&self.done))
    }
}
