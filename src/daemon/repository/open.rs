//! One restic-format repository: creating and opening it, keeping its index up to date, and
//! converting errors and panics of rustic to this crate's errors.

use std::{
    collections::{BTreeSet, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustic_core::{
    BlobId, ConfigOptions, Credentials, DataId, FileType, Id, IndexedFullStatus, KeyOptions,
    OpenStatus, Repository, RepositoryBackends, RepositoryOptions, RusticError, WriteBackend,
    repofile::{BlobType, Chunker, ConfigFile, MasterKey, PackId, SnapshotFile, SnapshotId},
};

use super::{
    backend::{Backend, Spooling},
    cipher::{Coder, Hash, hash},
    index::Index,
    key_file::{key_file, master_key},
    lock_content::KnownLocks,
    lost::Lost,
    readable_index::ReadableIndex,
    spool::SpoolPlace,
};
use crate::{
    blocking,
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// How new repositories are created, as measured with 1 GB on two cores.
///
/// - Several packs are in flight at a time, so small packs limit the memory.
/// - Chunk sizes from 512 KiB to 4 MiB take the same time.
/// - Compression at level 3, restic's own, takes up to twice the processor time of level 1, and 8 %
///   less space for `/usr`; where it gains nothing, level 1 is used.
/// - All data is decrypted and unpacked again after it was written (`extra_verify`). That takes a
///   fifth of the processor time, but data that can't be read is no backup.
const PACK_BYTES: u64 = 16 * 1024 * 1024;
const TREE_PACK_BYTES: u64 = 4 * 1024 * 1024;
const CHUNK_BYTES: u64 = 1024 * 1024;
const COMPRESSION: i32 = 3;

/// The blobs of the largest index that stays in memory: 48 bytes each.
const MOST_KEPT: usize = 500_000;

/// So long does an index count that was read for who asks next.
const A_MOMENT: Duration = Duration::from_mins(1);

/// A repository whose index is loaded.
pub(crate) type Indexed = Repository<IndexedFullStatus>;

/// An open repository.
#[derive(Debug)]
pub(crate) struct OpenRepository {
    backend: Arc<Backend>,
    key: MasterKey,
    config: ConfigFile,
    indexed: Mutex<Option<Arc<Indexed>>>,
    /// What was there when the index was asked for last, if that is not too large to keep.
    index: Mutex<Arc<Index>>,
    /// The same, for as long as what is written is gathered.
    gathered_index: Mutex<Option<Arc<Index>>>,
    /// What does not count as there, although the index has it.
    pub(super) lost: Arc<Mutex<Arc<Lost>>>,
    /// What was read a moment ago, for who asks next.
    just_read: Mutex<Option<(Instant, Arc<Index>)>>,
    /// Whether the index that was read last has files that can't be read.
    is_index_damaged: AtomicBool,
    /// Index files that can't be read and were warned of.
    warned_of: Arc<Mutex<HashSet<Id>>>,
    /// Pieces of files that are damaged.
    unread: Mutex<BTreeSet<DataId>>,
    /// restic's locks, as they were read.
    pub(super) locks: Arc<KnownLocks>,
}

/// Gathers what is written, until it is dropped.
pub(crate) struct Gathering<'a> {
    repository: &'a OpenRepository,
    _spooling: Spooling<'a>,
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        *lock(&self.repository.gathered_index) = None;
    }
}

impl OpenRepository {
    /// Opens the repository of the backend with a password. The key derivation (scrypt) takes about
    /// 0.2 s of a processor.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] if the password is wrong, or if the repository is damaged.
    pub(crate) fn open(backend: Backend, password: &str) -> Result<Self> {
        // Where keys may not be removed, one may stay of a host that began to make the repository, too.
        let fits = |key: &MasterKey| {
            let config = backend.read_whole(FileType::Config, &Id::default());
            config.is_ok_and(|config| {
                Coder::new(key, None, false).is_ok_and(|it| it.open_file(config.into()).is_ok())
            })
        };
        let key = guarded("reading the key files", || master_key(&backend, password, &fits))?;
        Self::open_with_key(backend, key)
    }

    /// Opens the repository with its key, which costs nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] if the key belongs to another repository, or if the repository is
    /// damaged.
    pub(crate) fn open_with_key(backend: Backend, key: MasterKey) -> Result<Self> {
        let backend = Arc::new(backend);
        let config = guarded("opening the repository", || {
            library(&backend)?
                .open(&Credentials::Masterkey(key.clone()))
                .map(|open| open.config().clone())
                .map_err(|error| failure(&backend, "cannot open the repository", &error))
        })?;
        Ok(Self::with(backend, key, config))
    }

    /// Creates a repository in the backend. `alone` means that no other process can be doing the
    /// same. `chunker` is [`Chunker::Rabin`] for cuts that depend on the content and on a secret of
    /// the repository, or [`Chunker::FixedSize`] for chunks that other repositories have as well.
    ///
    /// # Errors
    /// If the storage can't be written, or if another process created a repository there at the
    /// same moment.
    pub(crate) fn create(
        backend: Backend,
        password: &str,
        alone: bool,
        chunker: Chunker,
    ) -> Result<Self> {
        let backend = Arc::new(backend);
        // Of several keys that the password opens, restic takes the first: that one has to fit.
        let stray = match backend.remove_stray_keys(alone)? {
            true => master_key(&backend, password, &|_| true).ok(),
            false => None,
        };
        let size = |bytes: u64| Some(rustic_size(bytes));
        let mut options = ConfigOptions::default().set_version(2u32).set_chunker(chunker);
        options.set_chunk_size = size(CHUNK_BYTES);
        options.set_compression = Some(COMPRESSION);
        options.set_datapack_size = size(PACK_BYTES);
        options.set_datapack_growfactor = Some(0);
        options.set_treepack_size = size(TREE_PACK_BYTES);
        options.set_treepack_growfactor = Some(0);
        options.set_extra_verify = Some(true);
        let (key, file) = match stray {
            Some(key) => (key, None),
            None => {
                let key = MasterKey::new();
                let file = key_file(&key, password)?;
                (key, Some(file))
            }
        };
        let config = guarded("making the repository", || {
            let failed =
                |error: &RusticError| failure(&backend, "cannot make the repository", error);
            backend.create().map_err(|error| failed(&error))?;
            // The config comes last: it makes the repository, which nothing could open without a key.
            if let Some((id, content)) = file {
                backend
                    .write_bytes(FileType::Key, &id, false, content.into())
                    .map_err(|error| failed(&error))?;
            }
            library(&backend)?
                .init(&Credentials::Masterkey(key.clone()), &KeyOptions::default(), &options)
                .map(|made| made.config().clone())
                .map_err(|error| failed(&error))
        })
        .inspect_err(|_| backend.remove_own_keys())?;
        Ok(Self::with(backend, key, config))
    }

    fn with(backend: Arc<Backend>, key: MasterKey, config: ConfigFile) -> Self {
        let (indexed, index, unread) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (gathered_index, lost, warned_of, locks) = Default::default();
        let just_read = Mutex::default();
        let is_index_damaged = AtomicBool::new(false);
        Self {
            backend,
            key,
            config,
            indexed,
            index,
            gathered_index,
            lost,
            just_read,
            is_index_damaged,
            warned_of,
            unread,
            locks,
        }
    }

    /// The same repository, opened again over another backend: what one of them does, its failures
    /// and what it gathers are nothing to the other. What is lost is so for both.
    pub(crate) fn again(&self, backend: Backend) -> Self {
        let again = Self::with(Arc::new(backend), self.key.clone(), self.config.clone());
        let index = Mutex::new(Arc::clone(&lock(&self.index)));
        let (lost, warned_of) = (Arc::clone(&self.lost), Arc::clone(&self.warned_of));
        Self { index, lost, warned_of, locks: Arc::clone(&self.locks), ..again }
    }

    /// The key that opens the repository without the password.
    pub(crate) fn key(&self) -> &MasterKey {
        &self.key
    }

    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// The repository without its index.
    ///
    /// # Errors
    /// If the repository can't be read.
    pub(crate) fn plain(&self) -> Result<Repository<OpenStatus>> {
        self.plain_over(self.backend.clone())
    }

    /// As [`OpenRepository::plain`], over files that are seen in another way.
    pub(super) fn plain_over(
        &self,
        files: Arc<dyn WriteBackend>,
    ) -> Result<Repository<OpenStatus>> {
        library_over(&self.backend, files)?
            .open(&Credentials::Masterkey(self.key.clone()))
            .map_err(|error| failure(&self.backend, "cannot open the repository", &error))
    }

    /// The repository's settings.
    pub(crate) fn config(&self) -> &ConfigFile {
        &self.config
    }

    /// What the repository has now, without what is lost ([`OpenRepository::lose`]). Index files that
    /// were read before are not read again. One that can't be read is passed over, and warned of once.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) fn index(&self) -> Result<Arc<Index>> {
        if let Some(index) = &*lock(&self.gathered_index) {
            return Ok(Arc::clone(index));
        }
        let just_read = lock(&self.just_read).take();
        let index = match just_read.filter(|(at, _)| at.elapsed() < A_MOMENT) {
            Some((_, index)) => index,
            None => self.whole_index()?,
        };
        let lost = lock(&self.lost).clone();
        let is_so = lost.is_empty() && index.lost().is_empty();
        Ok(if is_so { index } else { Arc::new(index.without(lost)) })
    }

    /// Whether the index that was read last has files that can't be read.
    pub(crate) fn has_damaged_index(&self) -> bool {
        self.is_index_damaged.load(Ordering::Relaxed)
    }

    /// Lets who asks next for the index have this one, which was read just now.
    pub(crate) fn hand_on(&self, index: Arc<Index>) {
        *lock(&self.just_read) = Some((Instant::now(), index));
    }

    /// All that index files name, whether it is lost or not.
    pub(super) fn whole_index(&self) -> Result<Arc<Index>> {
        let mut kept = lock(&self.index);
        let coder = || self.coder();
        let index = Index::renewed(std::mem::take(&mut *kept), &self.backend, &coder)?;
        if index.len() <= MOST_KEPT {
            *kept = Arc::clone(&index);
        }
        drop(kept);
        let is_damaged = index.unread().iter().any(|file| !file.is_foreign);
        self.is_index_damaged.store(is_damaged, Ordering::Relaxed);
        for file in index.unread() {
            if lock(&self.warned_of).insert(file.id) {
                let told = match file.is_foreign {
                    true => "it never was a file of this repository, and is ignored",
                    false => "it is passed over; the next backup makes it anew",
                };
                log::warn!("{}: {told}", file.error.message);
            }
        }
        Ok(index)
    }

    /// Lets what several runs write wait at this place ([`Backend::gather`]). They all go by the index as it
    /// is now, so that none of them asks a storage that may be far.
    pub(crate) fn gather(&self, place: &SpoolPlace) -> Option<Gathering<'_>> {
        let index = self.index().ok()?;
        let spooling = self.backend.gather(place)?;
        *lock(&self.gathered_index) = Some(index);
        Some(Gathering { repository: self, _spooling: spooling })
    }

    /// Writes the file of a snapshot, which makes it visible.
    ///
    /// # Errors
    /// If it can't be written; there is then no snapshot.
    pub(crate) fn save_snapshot(&self, file: &SnapshotFile) -> Result<SnapshotId> {
        let text = serde_json::to_vec(file).map_err(|error| Error::internal(error.to_string()))?;
        let sealed = self.coder()?.seal_file(&text)?;
        let id = Id::new(hash(&sealed));
        self.backend.write_file(FileType::Snapshot, &id, sealed.into())?;
        Ok(SnapshotId::from(id))
    }

    /// Makes and opens what is in the repository's files.
    ///
    /// # Errors
    /// If the settings are not known, or memory is short.
    pub(crate) fn coder(&self) -> Result<Coder> {
        let level = self
            .config
            .zstd()
            .map_err(|error| self.failure("cannot use the repository's settings", &error))?;
        Coder::new(&self.key, level, self.config.extra_verify())
    }

    /// The repository with an index of everything that this process has written so far.
    /// [`OpenRepository::forget_index`] makes the next call read the index again.
    ///
    /// # Errors
    /// If the index can't be read.
    pub(crate) fn indexed(&self) -> Result<Arc<Indexed>> {
        let mut indexed = self.lock();
        if let Some(indexed) = &*indexed {
            return Ok(indexed.clone());
        }
        let files = self.whole_index()?.files().iter().map(|(id, _)| *id).collect();
        let readable = ReadableIndex::new(Arc::clone(&self.backend), files);
        let read = self.plain_over(Arc::new(readable))?.to_indexed();
        let read = read.map_err(|error| self.failure("cannot read the index", &error));
        let fresh = Arc::new(read?);
        *indexed = Some(fresh.clone());
        Ok(fresh)
    }

    /// Call this after packs were written or removed: the index is then out of date.
    pub(crate) fn forget_index(&self) {
        *self.lock() = None;
    }

    /// This crate's error for rustic's. If the backend failed, its error comes first.
    pub(crate) fn failure(&self, what: &str, error: &RusticError) -> Error {
        failure(&self.backend, what, error)
    }

    /// The error for a piece or a folder that can't be read: it is damaged, unless the storage
    /// failed. The library's words are for its developers.
    pub(crate) fn damaged(&self, what: &str, pack: Option<PackId>, error: &RusticError) -> Error {
        if let Some(first) = self.backend.take_failure() {
            return first;
        }
        log::debug!("{what}: {}", error.display_log());
        let why = match pack {
            Some(pack) => format!("it is damaged in the pack {}", pack.to_hex().as_str()),
            None => "it is missing in the index".to_owned(),
        };
        Error::new(ErrorKind::Repository, format!("{what}: {why}"))
    }

    /// Reads a piece of a file, and checks that it is what was backed up. A damaged piece is
    /// remembered until [`OpenRepository::take_unread`]; one that the storage did not give may be
    /// whole.
    ///
    /// # Errors
    /// If the piece can't be read: what was tried (`what`), and why it failed.
    pub(crate) fn piece(&self, indexed: &Indexed, piece: &DataId, what: &str) -> Result<Bytes> {
        let read = indexed.get_blob_cached(&BlobId::from(**piece), BlobType::Data);
        let error = match read {
            Ok(content) if piece.blob_matches_reader(content.len() as u64, &mut &content[..]) => {
                return Ok(content);
            }
            Ok(_) => {
                let message = format!("{what}: it is not what was backed up");
                Error::new(ErrorKind::Repository, message)
            }
            Err(error) => {
                let pack = indexed.get_index_entry(piece).ok().map(|entry| entry.pack);
                self.damaged(what, pack, &error)
            }
        };
        if error.kind == ErrorKind::Repository {
            lock(&self.unread).insert(*piece);
        }
        Err(error)
    }

    /// The error for a piece that can't be read. A piece that is damaged is remembered until
    /// [`OpenRepository::take_unread`].
    pub(crate) fn lost(&self, piece: &Hash, error: Error) -> Error {
        if error.kind == ErrorKind::Repository {
            lock(&self.unread).insert(DataId::from(Id::new(*piece)));
        }
        error
    }

    /// The pieces that were found damaged since the last call.
    pub(crate) fn take_unread(&self) -> BTreeSet<DataId> {
        std::mem::take(&mut *lock(&self.unread))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Indexed>>> {
        lock(&self.indexed)
    }
}

fn rustic_size<T: std::str::FromStr + Default>(bytes: u64) -> T {
    bytes.to_string().parse().unwrap_or_default()
}

fn library(backend: &Arc<Backend>) -> Result<Repository<()>> {
    library_over(backend, backend.clone())
}

fn library_over(backend: &Backend, files: Arc<dyn WriteBackend>) -> Result<Repository<()>> {
    let options = RepositoryOptions::default().no_cache(true);
    let backends = RepositoryBackends::new(files, None);
    Repository::new(&options, &backends)
        .map_err(|error| failure(backend, "cannot open the repository", &error))
}

/// This crate's error for rustic's. If the backend failed, its error comes first.
pub(crate) fn failure(backend: &Backend, what: &str, error: &RusticError) -> Error {
    if let Some(first) = backend.take_failure() {
        return first;
    }
    let words = error.display_log();
    let words = words.strip_prefix("Error: ").unwrap_or(&words);
    // The rest of the text is for rustic's developers.
    let end =
        ["Some additional details", "Backtrace:"].iter().filter_map(|mark| words.find(mark)).min();
    let words = &words[..end.unwrap_or(words.len())];
    let words: Vec<_> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Error::new(
        ErrorKind::Repository,
        format!("{what} at \"{}\": {}", backend.location(), words.join(" ")),
    )
    .with_hint(
        "try again; if it stays so, back up again, which mends what it can and tells what it can't",
    )
}

/// Runs `act`, which calls rustic. rustic panics in some places: a panic becomes an error, and no
/// lock stays poisoned.
pub(crate) fn guarded<T>(what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        Err(blocking::panicked(what, ErrorKind::Repository, panic.as_ref()))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustic_core::ErrorKind as RusticKind;

    use super::*;

    #[test]
    fn the_librarys_words_end_before_its_backtrace() {
        let cause = RusticError::new(RusticKind::Internal, "the piece is too short");
        let error = RusticError::with_source(RusticKind::Backend, "no such piece", cause);
        let told =
            failure(&Backend::in_folder(Path::new("/r"), "host1"), "cannot read", &error).message;
        assert!(
            told.starts_with("cannot read at \"/r\": no such piece") && told.contains("too short"),
            "{told}"
        );
        assert!(!told.contains("Backtrace") && !told.contains("additional details"), "{told}");
    }
}
