//! One restic-format repository: made, opened, its index kept as fresh as what was written, and the
//! library's errors and panics turned into this crate's errors.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use rustic_core::{
    ConfigOptions, Credentials, IndexedFullStatus, KeyOptions, OpenStatus, Progress as RusticBar,
    ProgressBars, ProgressType, Repository, RepositoryBackends, RepositoryOptions, RusticError,
    RusticProgress,
    repofile::{Chunker, MasterKey},
};

use super::backend::Backend;
use crate::{
    blocking,
    error::{Error, ErrorKind, Result},
    progress::{Piece, no_piece},
    sync::lock,
};

/// How new repositories are made, as measured on 1 GB (two cores): small packs bound the memory,
/// because several are in flight at a time. The size of the chunks makes no difference to the time
/// from 512 KiB to 4 MiB. Compression at level 3, restic's own, takes a fourth more of the
/// processor than level 1 and 7 % less room on `/usr`. What was written is decrypted and unpacked
/// again before it counts (`extra_verify`), for a fifth of the processor's time: what can't be read
/// is no backup.
const PACK_BYTES: u64 = 16 * 1024 * 1024;
const TREE_PACK_BYTES: u64 = 4 * 1024 * 1024;
const CHUNK_BYTES: u64 = 1024 * 1024;
const COMPRESSION: i32 = 3;

/// A repository whose index is loaded.
pub(crate) type Indexed = Repository<IndexedFullStatus>;

/// An open repository.
#[derive(Debug)]
pub(crate) struct OpenRepository {
    backend: Arc<Backend>,
    key: MasterKey,
    indexed: Mutex<Option<Arc<Indexed>>>,
}

impl OpenRepository {
    /// Opens the repository in the backend's folder with a password: about 0.4 s of scrypt.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] where the password does not open it, or it is damaged.
    pub(crate) fn open(backend: Backend, password: &str) -> Result<Self> {
        Self::open_as(backend, &Credentials::password(password))
    }

    /// Opens the repository with its key, which costs nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] where the key is another repository's, or it is damaged.
    pub(crate) fn open_with_key(backend: Backend, key: MasterKey) -> Result<Self> {
        Self::open_as(backend, &Credentials::Masterkey(key))
    }

    fn open_as(backend: Backend, credentials: &Credentials) -> Result<Self> {
        let backend = Arc::new(backend);
        let key = guarded("opening the repository", || {
            match library(&backend, no_piece())?.open(credentials) {
                Ok(open) => Ok(open.key()),
                Err(error) if error.is_incorrect_password() => {
                    Err(wrong_password(&backend.location()))
                }
                Err(error) => Err(failure(&backend, "cannot open the repository", &error)),
            }
        })?;
        Ok(Self { backend, key, indexed: Mutex::default() })
    }

    /// Makes a repository in the backend's folder; `alone` where no other process can be doing the
    /// same.
    ///
    /// # Errors
    /// Where the folder can't be written, or another process made one there at the same moment.
    pub(crate) fn create(backend: Backend, password: &str, alone: bool) -> Result<Self> {
        let backend = Arc::new(backend);
        backend.remove_stray_keys(alone)?;
        let size = |bytes: u64| Some(rustic_size(bytes));
        let options = ConfigOptions::default().set_version(2u32).set_chunker(Chunker::FixedSize);
        let mut options = options;
        options.set_chunk_size = size(CHUNK_BYTES);
        options.set_compression = Some(COMPRESSION);
        options.set_datapack_size = size(PACK_BYTES);
        options.set_datapack_growfactor = Some(0);
        options.set_treepack_size = size(TREE_PACK_BYTES);
        options.set_treepack_growfactor = Some(0);
        options.set_extra_verify = Some(true);
        let key = guarded("making the repository", || {
            library(&backend, no_piece())?
                .init(&Credentials::password(password), &KeyOptions::default(), &options)
                .map(|open| open.key())
                .map_err(|error| failure(&backend, "cannot make the repository", &error))
        })
        .inspect_err(|_| backend.remove_own_keys())?;
        Ok(Self { backend, key, indexed: Mutex::default() })
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
    /// Where the repository can't be read.
    pub(crate) fn plain(&self) -> Result<Repository<OpenStatus>> {
        self.plain_for(no_piece())
    }

    fn plain_for(&self, piece: Weak<dyn Piece>) -> Result<Repository<OpenStatus>> {
        library(&self.backend, piece)?
            .open(&Credentials::Masterkey(self.key.clone()))
            .map_err(|error| failure(&self.backend, "cannot open the repository", &error))
    }

    /// The repository with an index that knows everything written so far by this process.
    /// [`OpenRepository::forget_index`] makes it look again.
    ///
    /// # Errors
    /// Where the index can't be read.
    pub(crate) fn indexed(&self) -> Result<Arc<Indexed>> {
        let mut indexed = self.lock();
        if let Some(indexed) = &*indexed {
            return Ok(indexed.clone());
        }
        let fresh = Arc::new(self.read_index(no_piece())?);
        *indexed = Some(fresh.clone());
        Ok(fresh)
    }

    /// The repository with the index as it is on disk now, for one piece of work: the bytes that are
    /// written through it count for that piece.
    ///
    /// # Errors
    /// Where the index can't be read.
    pub(crate) fn indexed_for(&self, piece: &Arc<dyn Piece>) -> Result<Indexed> {
        self.read_index(Arc::downgrade(piece))
    }

    fn read_index(&self, piece: Weak<dyn Piece>) -> Result<Indexed> {
        let indexed = self.plain_for(piece)?.to_indexed();
        indexed.map_err(|error| failure(&self.backend, "cannot read the index", &error))
    }

    /// The index is out of date: packs were written or removed.
    pub(crate) fn forget_index(&self) {
        *self.lock() = None;
    }

    /// The crate's error for the library's; the backend's own words come first where it failed.
    pub(crate) fn failure(&self, what: &str, error: &RusticError) -> Error {
        failure(&self.backend, what, error)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Indexed>>> {
        lock(&self.indexed)
    }
}

fn rustic_size<T: std::str::FromStr + Default>(bytes: u64) -> T {
    bytes.to_string().parse().unwrap_or_default()
}

fn library(backend: &Arc<Backend>, piece: Weak<dyn Piece>) -> Result<Repository<()>> {
    let options = RepositoryOptions::default().no_cache(true);
    let backends = RepositoryBackends::new(backend.clone(), None);
    Repository::new_with_progress(&options, &backends, Bars(piece))
        .map_err(|error| failure(backend, "cannot open the repository", &error))
}

fn wrong_password(location: &str) -> Error {
    let message = format!("the password does not open the repository at \"{location}\"");
    Error::new(ErrorKind::Repository, message)
        .with_hint("set BKUP_REPOSITORY_PASSWORD to the password that the repository was made with")
}

/// The crate's error for the library's; the backend's own words come first where it failed.
pub(crate) fn failure(backend: &Backend, what: &str, error: &RusticError) -> Error {
    if let Some(first) = backend.take_failure() {
        return first;
    }
    let words = error.display_log();
    let words = words.strip_prefix("Error: ").unwrap_or(&words);
    // What follows is for the library's authors.
    let end =
        ["Some additional details", "Backtrace:"].iter().filter_map(|mark| words.find(mark)).min();
    let words = &words[..end.unwrap_or(words.len())];
    let words: Vec<_> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Error::new(
        ErrorKind::Repository,
        format!("{what} at \"{}\": {}", backend.location(), words.join(" ")),
    )
    .with_hint("if it happens again, look with \"restic check\" at the repository")
}

/// Runs `act`, which calls the library. The library panics in places: a panic becomes an error, and
/// nothing stays locked.
pub(crate) fn guarded<T>(what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        Err(blocking::panicked(what, ErrorKind::Repository, panic.as_ref()))
    })
}

/// The library's progress bars: bytes that the library counts, count for a piece of work. Threads of
/// the library may outlive the piece, so they do not keep it from being over.
#[derive(Debug)]
struct Bars(Weak<dyn Piece>);

impl ProgressBars for Bars {
    fn progress(&self, kind: ProgressType, what: &str) -> RusticBar {
        match kind {
            // A copy counts twice: the content of the files, then the few bytes of the folders. The
            // content is what takes time.
            ProgressType::Bytes if !what.contains("tree") => RusticBar::new(Bar(self.0.clone())),
            _ => RusticBar::hidden(),
        }
    }
}

#[derive(Debug)]
struct Bar(Weak<dyn Piece>);

impl RusticProgress for Bar {
    fn is_hidden(&self) -> bool {
        false
    }

    fn set_length(&self, length: u64) {
        if let Some(piece) = self.0.upgrade() {
            piece.set_total(length);
        }
    }

    fn set_title(&self, _: &str) {}

    fn inc(&self, bytes: u64) {
        if let Some(piece) = self.0.upgrade() {
            piece.advance(bytes);
        }
    }

    fn finish(&self) {}
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
