//! Pieces of files that could not be read, although the index has them. Only reading shows such
//! damage, so the root remembers it ([`Damage`]): every backup that needs such a piece is broken,
//! also a new one that would build on it. A piece that can be read again is forgotten.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustic_core::{
    DataId, Id,
    repofile::{BlobType, IndexFile},
};

use crate::{
    daemon::repository::OpenRepository,
    error::{ErrorKind, Result},
    files::write_whole,
};

/// How many pieces one look finds damaged before the others count as damaged unread.
const MOST_FAILED: usize = 32;
/// After how long the pieces that one look has not read again count as damaged unread.
const READING_TIME: Duration = Duration::from_secs(10);

/// What is tried with a piece, for an error that is not shown.
const WHAT: &str = "cannot read a piece";

/// The pieces at one destination that could not be read.
pub(super) struct Damage {
    /// One id a line.
    file: PathBuf,
    /// Held while the file is changed.
    changing: Mutex<()>,
}

impl Damage {
    /// What is remembered in this file, which need not exist.
    pub(super) fn in_file(file: PathBuf) -> Self {
        Self { file, changing: Mutex::default() }
    }

    /// Remembers pieces that could not be read, and the other pieces in their packs that can't be
    /// read either.
    pub(super) fn found(&self, repository: &OpenRepository, pieces: &BTreeSet<DataId>) {
        if pieces.is_empty() {
            return;
        }
        let beside = beside(repository, pieces).unwrap_or_default();
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.read();
        all.extend(pieces.iter().copied().chain(beside));
        self.write(&all);
    }

    /// Whether no piece is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// The remembered pieces that still can't be read. The others are forgotten.
    ///
    /// # Errors
    /// If there are some, and the index can't be read.
    pub(super) fn still_there(&self, repository: &OpenRepository) -> Result<HashSet<DataId>> {
        let remembered = self.read();
        if remembered.is_empty() {
            return Ok(HashSet::new());
        }
        repository.forget_index();
        let indexed = repository.indexed()?;
        let mut damaged = HashSet::new();
        let end = Instant::now() + READING_TIME;
        for piece in &remembered {
            // What is in no index is missing, which every look sees.
            if indexed.get_index_entry(piece).is_err() {
                continue;
            }
            let is_unread = damaged.len() >= MOST_FAILED || Instant::now() > end;
            if is_unread || repository.piece(&indexed, piece, WHAT).is_err() {
                damaged.insert(*piece);
            }
        }
        if damaged.len() < remembered.len() {
            let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut all = self.read();
            all.retain(|piece| damaged.contains(piece) || !remembered.contains(piece));
            self.write(&all);
        }
        Ok(damaged)
    }

    fn read(&self) -> BTreeSet<DataId> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    log::warn!("cannot read \"{}\": {error}", self.file.display());
                }
                return BTreeSet::new();
            }
        };
        text.lines().filter_map(|line| line.parse::<Id>().ok()).map(DataId::from).collect()
    }

    fn write(&self, pieces: &BTreeSet<DataId>) {
        // All of them: a backup that needs a piece that was left out would count as good. One
        // restore finds the pieces of a few packs, as it ends at the first that it can't read.
        let lines: Vec<_> =
            pieces.iter().map(|piece| piece.to_hex().as_str().to_owned() + "\n").collect();
        let written = if lines.is_empty() {
            fs::remove_file(&self.file)
        } else {
            let folder = self.file.parent().map_or(Ok(()), fs::create_dir_all);
            folder.and_then(|()| write_whole(&self.file, lines.concat().as_bytes()))
        };
        if let Err(error) = written {
            log::warn!(
                "that pieces of backups can't be read is not remembered: cannot write \"{}\": {error}",
                self.file.display()
            );
        }
    }
}

/// The pieces in the packs of these pieces that can't be read; `None` if the index can't be read.
fn beside(repository: &OpenRepository, pieces: &BTreeSet<DataId>) -> Option<Vec<DataId>> {
    let indexed = repository.indexed().ok()?;
    let pack = |piece: &DataId| Some(indexed.get_index_entry(piece).ok()?.pack);
    let packs: HashSet<_> = pieces.iter().filter_map(pack).collect();
    let mut beside = Vec::new();
    for index in repository.plain().ok()?.stream_files::<IndexFile>().ok()? {
        let packs = index.ok()?.1.packs.into_iter().filter(|pack| packs.contains(&pack.id));
        let blobs = packs.flat_map(|pack| pack.blobs).filter(|blob| blob.tpe == BlobType::Data);
        let others = blobs.map(|blob| DataId::from(*blob.id)).filter(|it| !pieces.contains(it));
        let is_damaged = |piece: &DataId| {
            let read = repository.piece(&indexed, piece, WHAT);
            read.is_err_and(|error| error.kind == ErrorKind::Repository)
        };
        beside.extend(others.filter(is_damaged));
    }
    Some(beside)
}
