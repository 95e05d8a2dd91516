//! Pieces of files, and folders, that could not be read, although the index has them. Only reading shows such
//! damage, so the root remembers it ([`Damage`]): every backup that needs such a piece is broken,
//! and a new one does not build on it but stores it again. A piece that can be read again is forgotten.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustic_core::{DataId, Id, repofile::BlobType};

use crate::{
    daemon::repository::{BlobReader, HexHash, OpenRepository},
    error::Result,
    files::write_whole,
};

/// How many pieces one look finds damaged before the others count as damaged unread.
const MOST_FAILED: usize = 32;
/// After how long the pieces that one look has not read again count as damaged unread.
const READING_TIME: Duration = Duration::from_secs(10);

/// So many packs are looked at because a folder in each can't be read.
const MOST_PACKS: usize = 16;

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
        let packs = || -> Result<HashSet<Id>> {
            let index = repository.index()?;
            let of = |piece: &DataId| index.find(BlobType::Data, &HexHash::of(piece));
            Ok(pieces.iter().filter_map(of).map(|at| at.pack).collect())
        };
        let beside = packs().and_then(|packs| damaged_in(repository, &packs));
        self.add(pieces.iter().map(|piece| **piece).chain(beside.unwrap_or_default()));
    }

    /// Looks at all that is in these packs, and remembers what can't be read. Returns whether it found
    /// anything new.
    ///
    /// # Errors
    /// If the storage fails.
    pub(super) fn found_in(
        &self,
        repository: &OpenRepository,
        packs: &HashSet<Id>,
    ) -> Result<bool> {
        let lost = repository.lost_now();
        let packs = packs.iter().filter(|pack| !lost.packs.contains_key(*pack));
        let packs: HashSet<_> = packs.take(MOST_PACKS).copied().collect();
        let damaged = damaged_in(repository, &packs)?;
        if damaged.is_empty() {
            return Ok(false);
        }
        self.add(damaged.into_iter());
        self.look_again(repository)
    }

    fn add(&self, pieces: impl Iterator<Item = Id>) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.read();
        all.extend(pieces);
        self.write(&all);
    }

    /// Whether no piece is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// Lets the remembered pieces count as lost that still can't be read. The others are forgotten.
    /// Returns whether that changes what is lost.
    ///
    /// # Errors
    /// If there are some, and the storage fails or the index can't be read.
    pub(super) fn look_again(&self, repository: &OpenRepository) -> Result<bool> {
        let remembered = self.read();
        if remembered.is_empty() {
            return Ok(repository.lose_pieces(HashSet::new()));
        }
        let index = repository.index()?;
        let places = |piece: &Id| {
            let id = HexHash::of(piece);
            [BlobType::Data, BlobType::Tree].map(|kind| index.find_all(kind, &id)).concat()
        };
        // A pack that is missing may come back; what is in it is not damaged.
        let packs: HashSet<Id> = remembered.iter().flat_map(places).map(|at| at.pack).collect();
        let packs = index.packs().iter().filter(|(pack, _)| packs.contains(pack));
        let is_new = repository.look_at_packs(&packs.copied().collect())?;
        let lost = repository.lost_now();
        let mut reader = BlobReader::new(repository)?;
        let (mut damaged, mut still) = (HashSet::new(), BTreeSet::new());
        let end = Instant::now() + READING_TIME;
        for piece in &remembered {
            let id = HexHash::of(piece);
            // What is in no index is missing, which every look sees.
            for at in places(piece) {
                if lost.packs.contains_key(&at.pack) {
                    continue;
                }
                let is_unread = damaged.len() >= MOST_FAILED || Instant::now() > end;
                if is_unread || !reader.is_whole(&id, &at)? {
                    damaged.insert((at.pack, at.offset));
                    still.insert(*piece);
                }
            }
        }
        if still.len() < remembered.len() {
            let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut all = self.read();
            all.retain(|piece| still.contains(piece) || !remembered.contains(piece));
            self.write(&all);
        }
        Ok(repository.lose_pieces(damaged) || is_new)
    }

    fn read(&self) -> BTreeSet<Id> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    log::warn!("cannot read \"{}\": {error}", self.file.display());
                }
                return BTreeSet::new();
            }
        };
        text.lines().filter_map(|line| line.parse::<Id>().ok()).collect()
    }

    fn write(&self, pieces: &BTreeSet<Id>) {
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

/// The pieces in these packs that can't be read.
///
/// # Errors
/// If the storage fails, or the index can't be read.
fn damaged_in(repository: &OpenRepository, packs: &HashSet<Id>) -> Result<Vec<Id>> {
    if packs.is_empty() {
        return Ok(Vec::new());
    }
    let (index, mut reader) = (repository.index()?, BlobReader::new(repository)?);
    let mut damaged = Vec::new();
    for pack in packs {
        let found = reader.damaged_in(&index, pack)?;
        damaged.extend(found.into_iter().map(|(_, id, _)| Id::new(id)));
    }
    Ok(damaged)
}
