//! Which blobs the snapshots of a repository need: one bit a blob.
//!
//! Folders are read wave by wave, those of one pack one after the other. A folder that can't be read is
//! passed over: what is below it may be needed by others, and is then reached through them.

use std::{
    fmt, mem,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use rustic_core::Id;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess},
};

use super::seen::{Entry, Seen, Snapshots};
use crate::{
    daemon::{
        repository::{Coder, Hash, HexHash, OpenRepository},
        threads::spawn,
    },
    error::{Error, ErrorKind, Result},
    scope,
    sync::lock,
};

/// So many folders are read at a time.
const READERS: usize = 4;
/// Fewer folders of a disk are not worth threads.
const FEW: usize = 16;
/// So many snapshots that lack something are named.
const MOST_BROKEN: usize = 100;

/// What the snapshots need.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// One bit for the first entry of each blob.
    bits: Vec<AtomicU64>,
    /// Snapshots with folders that can't be read, or with folders or pieces of files that are not in the
    /// index. One that only has what another has may not be among them.
    pub(super) broken: Vec<Id>,
}

impl Reached {
    pub(super) fn nothing(seen: &Seen) -> Self {
        let bits = (0..seen.entries.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { bits, ..Self::default() }
    }

    /// Whether the blob with this first entry is needed.
    pub(super) fn has(&self, entry: usize) -> bool {
        let bits = self.bits.get(entry / 64).map_or(0, |bits| bits.load(Ordering::Relaxed));
        bits & (1 << (entry % 64)) != 0
    }

    /// Notes that a blob is needed. Returns whether that is new.
    pub(super) fn add(&self, entry: usize) -> bool {
        let bit = 1 << (entry % 64);
        let bits = self.bits.get(entry / 64);
        bits.is_some_and(|bits| bits.fetch_or(bit, Ordering::Relaxed) & bit == 0)
    }

    /// What these snapshots need.
    ///
    /// # Errors
    /// If the storage fails, or the run is to end. What is damaged or missing is no error.
    pub(super) fn by(
        snapshots: &Snapshots,
        seen: &Seen,
        repository: &OpenRepository,
    ) -> Result<Self> {
        let walk = Walk {
            repository,
            seen,
            snapshots,
            reached: Self::nothing(seen),
            next: Mutex::default(),
            broken: Mutex::default(),
        };
        let roots = Folder { pieces: Vec::new(), trees: Vec::new() };
        for (number, (_, tree)) in snapshots.trees.iter().enumerate() {
            walk.take(number, Folder { trees: vec![HexHash::of(tree)], ..roots.clone() });
        }
        let mut coders =
            (0..READERS).map(|_| repository.coder()).collect::<Result<Vec<Coder>>>()?;
        loop {
            scope::goes_on("space was given back")?;
            let mut wave = mem::take(&mut *lock(&walk.next));
            if wave.is_empty() {
                break;
            }
            let place = |(entry, _): &(usize, usize)| {
                let entry = &seen.entries[*entry];
                (entry.pack(), entry.offset)
            };
            wave.sort_unstable_by_key(place);
            walk.read_all(&wave, &mut coders)?;
        }
        repository.backend().take_failure();
        Ok(Self { broken: walk.broken.into_inner().unwrap_or_default(), ..walk.reached })
    }
}

struct Walk<'a> {
    repository: &'a OpenRepository,
    seen: &'a Seen,
    snapshots: &'a Snapshots,
    reached: Reached,
    /// The first entries of trees that are still to be read, each with the number of the snapshot in which it
    /// was found.
    next: Mutex<Vec<(usize, usize)>>,
    broken: Mutex<Vec<Id>>,
}

impl Walk<'_> {
    fn read_all(&self, wave: &[(usize, usize)], coders: &mut [Coder]) -> Result<()> {
        let few = if self.repository.backend().is_far() { 1 } else { FEW };
        if wave.len() <= few {
            let Some(coder) = coders.first_mut() else { return Ok(()) };
            return wave
                .iter()
                .try_for_each(|(entry, snapshot)| self.read(*entry, *snapshot, coder));
        }
        let (next, step) = (AtomicUsize::new(0), few);
        let read = |coder: &mut Coder| -> Result<()> {
            loop {
                scope::goes_on("space was given back")?;
                let from = next.fetch_add(step, Ordering::Relaxed);
                let Some(rest) = wave.get(from..).filter(|rest| !rest.is_empty()) else {
                    return Ok(());
                };
                for (entry, snapshot) in &rest[..step.min(rest.len())] {
                    self.read(*entry, *snapshot, coder)?;
                }
            }
        };
        let read = &read;
        thread::scope(|threads| {
            let readers: Vec<_> = coders
                .iter_mut()
                .map(|coder| spawn(threads, "folders", move || read(coder)))
                .collect::<Result<_>>()?;
            readers.into_iter().try_for_each(|reader| {
                reader.join().unwrap_or_else(|_| Err(Error::internal("reading folders failed")))
            })
        })
    }

    /// Reads a folder, wherever it can be read.
    fn read(&self, first: usize, snapshot: usize, coder: &mut Coder) -> Result<()> {
        for at in self.seen.same(first) {
            match self.folder(at, coder) {
                Ok(folder) => {
                    self.take(snapshot, folder);
                    return Ok(());
                }
                Err(error) if error.kind == ErrorKind::Repository => {
                    log::debug!("the folder {} can't be read: {error}", HexHash(at.id));
                }
                Err(error) => return Err(error),
            }
        }
        self.is_broken(snapshot);
        Ok(())
    }

    fn folder(&self, at: &Entry, coder: &mut Coder) -> Result<Folder> {
        let pack = &self.seen.packs[at.pack()];
        let damaged = |what| Error::new(ErrorKind::Repository, what);
        if pack.listed.is_none() {
            return Err(damaged("its pack is missing"));
        }
        let mut sealed =
            Vec::from(self.repository.backend().read_tree(&pack.id, at.offset, at.length)?);
        let (hash, tree) = coder.parse_blob::<Tree>(&mut sealed, at.raw_length.try_into().ok())?;
        match tree {
            Ok(tree) if hash == at.id => Ok(tree.nodes),
            Ok(_) => Err(damaged("it is not what was backed up")),
            Err(error) => {
                log::debug!("{error}");
                Err(damaged("it is no folder"))
            }
        }
    }

    /// Notes what a folder has.
    fn take(&self, snapshot: usize, folder: Folder) {
        let mut is_lacking = false;
        for piece in &folder.pieces {
            match self.seen.find(false, &piece.0) {
                Some(entry) => _ = self.reached.add(entry),
                None => is_lacking = true,
            }
        }
        let mut new = Vec::new();
        for tree in &folder.trees {
            match self.seen.find(true, tree) {
                Some(entry) if self.reached.add(entry) => new.push((entry, snapshot)),
                Some(_) => {}
                None => is_lacking = true,
            }
        }
        lock(&self.next).extend(new);
        if is_lacking {
            self.is_broken(snapshot);
        }
    }

    fn is_broken(&self, snapshot: usize) {
        let Some((id, _)) = self.snapshots.trees.get(snapshot) else { return };
        let mut broken = lock(&self.broken);
        if !broken.contains(id) && broken.len() < MOST_BROKEN {
            broken.push(*id);
        }
    }
}

/// The tree of a folder, as far as it says what it needs.
#[derive(Deserialize)]
struct Tree {
    nodes: Folder,
}

/// What a folder needs.
#[derive(Debug, Clone, Default)]
struct Folder {
    pieces: Vec<HexHash>,
    trees: Vec<Hash>,
}

#[derive(Deserialize)]
struct Node {
    content: Option<Vec<HexHash>>,
    subtree: Option<HexHash>,
}

impl<'de> Deserialize<'de> for Folder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Folder;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of entries")
            }

            // One after the other: those of a huge folder are never in memory together.
            fn visit_seq<A: SeqAccess<'de>>(self, mut nodes: A) -> Result<Folder, A::Error> {
                let mut folder = Folder::default();
                while let Some(Node { content, subtree }) = nodes.next_element()? {
                    folder.pieces.extend(content.into_iter().flatten());
                    folder.trees.extend(subtree.map(|tree| tree.0));
                }
                Ok(folder)
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}
