//! Carries out what the collector has decided. Whenever it is broken off, the repository is whole:
//!
//! 1. What is needed of half empty packs is packed anew, and named by index files of its own.
//! 2. New index files say what the old ones will not. As long as both are there, what one of them names
//!    counts, though another marks it.
//! 3. The snapshots are listed again. If there is a new one, the files of 2 are removed: it may need what
//!    they mark.
//! 4. The packs that were marked a day ago are removed, and then the old index files, their marks among them.
//!    Where no other process uses the repository, all that nothing needs goes after that.
//!
//! Where there is no room for 2, packs that go are removed before it.

use std::collections::HashSet;

use jiff::Timestamp;
use rustic_core::{FileType, Id};

use super::{
    index_file::{IndexFile, IndexPack},
    plan::{Facts, Fate, Plan},
    remove::remove_all,
    seen::{Seen, Snapshots, index_file},
};
use crate::{
    daemon::{
        repository::{Coder, HexHash, Location, OpenRepository, hash},
        save::{HalfEmpty, repack},
    },
    error::{Error, ErrorKind, Result},
    scope,
};

/// So many blobs are in an index file.
const MOST_BLOBS: usize = 50_000;

/// A plan that is carried out.
pub(super) struct Work<'a> {
    pub(super) repository: &'a OpenRepository,
    pub(super) snapshots: &'a Snapshots,
    pub(super) seen: &'a Seen,
    pub(super) facts: &'a Facts,
    pub(super) plan: Plan,
    /// The packs that were removed.
    pub(super) removed: Vec<usize>,
    /// Packs that could not be packed anew, because a part of them can't be read.
    pub(super) damaged: Vec<Id>,
}

impl Work<'_> {
    /// # Errors
    /// [`ErrorKind::Busy`] if a snapshot was made meanwhile: it is to be begun anew. Another kind if the
    /// storage fails, or has no room for the index.
    pub(super) fn carry_out(&mut self) -> Result<()> {
        scope::goes_on("space was given back")?;
        self.nothing_is_new()?;
        self.repack()?;
        let replaced = self.plan.replaced(self.seen, self.facts);
        let written = match self.write_index(&replaced) {
            // Perhaps there is no room, and it is here.
            Err(error) if error.kind == ErrorKind::Io && self.makes_room()? => {
                log::info!("what nothing needs is removed before the index is written: {error}");
                self.write_index(&replaced)?
            }
            written => written?,
        };
        if let Err(error) =
            scope::goes_on("space was given back").and_then(|()| self.nothing_is_new())
        {
            self.take_back(&written);
            return Err(error);
        }
        // A pack without its mark would look like one that the index has lost, to be named again.
        let marked =
            |place: &usize| self.seen.packs[*place].is_marked && !self.seen.packs[*place].is_named;
        let marked: Vec<usize> = self.plan.with(Fate::Goes).filter(marked).collect();
        self.remove(marked)?;
        let old = self.seen.files.iter().zip(&replaced).filter(|(_, it)| **it);
        let old: Vec<Id> = old.map(|(file, _)| file.id).collect();
        remove_all(self.repository, FileType::Index, &old)?;
        self.remove(self.plan.with(Fate::Goes).collect())
    }

    /// # Errors
    /// [`ErrorKind::Busy`] if there is a snapshot that was not listed first.
    fn nothing_is_new(&self) -> Result<()> {
        if !self.snapshots.has_new_ones(self.repository)? {
            return Ok(());
        }
        let place = self.repository.backend().location();
        let message = format!("a backup was made at \"{place}\" while space was to be given back");
        Err(Error::new(ErrorKind::Busy, message).with_hint("it is tried again the next time"))
    }

    /// Removes these packs.
    fn remove(&mut self, places: Vec<usize>) -> Result<()> {
        let is_there = |place: &usize| self.seen.packs[*place].listed.is_some();
        let gone: HashSet<usize> = self.removed.iter().copied().collect();
        let places = places.into_iter().filter(is_there);
        let places: Vec<usize> = places.filter(|place| !gone.contains(place)).collect();
        let ids: Vec<Id> = places.iter().map(|place| self.seen.packs[*place].id).collect();
        remove_all(self.repository, FileType::Pack, &ids)?;
        self.removed.extend(places);
        Ok(())
    }

    /// Removes what goes, though the index still says that it is there: no snapshot needs it. Where no
    /// other process writes, that is all that nothing needs. Returns whether there was anything.
    fn makes_room(&mut self) -> Result<bool> {
        self.nothing_is_new()?;
        let goes_too = self.facts.sharing.is_locked;
        for fate in self.plan.fates.iter_mut().filter(|fate| goes_too && **fate == Fate::Marked) {
            *fate = Fate::Goes;
        }
        let before = self.removed.len();
        self.remove(self.plan.with(Fate::Goes).collect())?;
        Ok(self.removed.len() > before)
    }

    /// Packs anew what is needed of half empty packs. What could not be stays where it is.
    fn repack(&mut self) -> Result<()> {
        let fates = &self.plan.fates;
        let is_needed = |entry: &usize| {
            let place = self.seen.entries[*entry].pack();
            fates[place] == Fate::Repacked && self.plan.is_chosen(*entry)
        };
        let mut entries: Vec<usize> = (0..self.seen.entries.len()).filter(is_needed).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let of = |entry: &usize| &self.seen.entries[*entry];
        entries.sort_unstable_by_key(|entry| {
            (of(entry).pack(), of(entry).is_tree(), of(entry).offset)
        });
        let is_same = |one: &usize, other: &usize| {
            (of(one).pack(), of(one).is_tree()) == (of(other).pack(), of(other).is_tree())
        };
        let packs = entries.chunk_by(is_same).map(|entries| self.half_empty(entries));
        let done = repack(self.repository, packs);
        let damaged = done.damaged.iter().filter_map(|id| self.seen.place(id));
        damaged.for_each(|place| self.plan.stays(place));
        self.damaged.extend(done.damaged);
        let Some(failure) = done.failure else { return Ok(()) };
        if failure.kind != ErrorKind::Io {
            return Err(failure);
        }
        log::info!("half empty packs stay, because they can't be packed anew: {failure}");
        for place in self.plan.with(Fate::Repacked).collect::<Vec<_>>() {
            self.plan.stays(place);
        }
        // What was written may take the room that the index needs.
        if self.facts.sharing.is_locked {
            remove_all(self.repository, FileType::Index, &done.index_files)?;
            let packs: Vec<Id> = done.packs.into_iter().map(|(id, _)| id).collect();
            remove_all(self.repository, FileType::Pack, &packs)?;
        }
        Ok(())
    }

    fn half_empty(&self, entries: &[usize]) -> HalfEmpty {
        let first = &self.seen.entries[entries[0]];
        let pack = self.seen.packs[first.pack()].id;
        let blob = |entry: &usize| {
            let of = &self.seen.entries[*entry];
            let raw_length = of.raw_length.try_into().ok();
            (of.id, Location { pack, offset: of.offset, length: of.length, raw_length })
        };
        HalfEmpty { pack, is_tree: first.is_tree(), blobs: entries.iter().map(blob).collect() }
    }

    /// Writes the index files that take the place of those that are replaced. Returns their names.
    fn write_index(&self, replaced: &[bool]) -> Result<Vec<Id>> {
        let mut writer = IndexWriter::new(self.repository)?;
        let done = self.write_all(replaced, &mut writer).and_then(|()| writer.finish());
        if let Err(error) = done {
            self.take_back(&writer.written);
            return Err(error);
        }
        Ok(writer.written)
    }

    fn write_all(&self, replaced: &[bool], writer: &mut IndexWriter<'_>) -> Result<()> {
        let mut is_read = replaced.to_vec();
        for mention in &self.seen.mentions {
            is_read[mention.file] |= self.plan.fates[mention.pack] == Fate::Named;
        }
        let mut said = vec![false; self.seen.packs.len()];
        for (number, file) in self.seen.files.iter().enumerate().filter(|(it, _)| is_read[*it]) {
            scope::goes_on("space was given back")?;
            let content = index_file(self.repository, &writer.coder, &file.id)?.unwrap_or_default();
            let IndexFile { packs, packs_to_delete } = content;
            let marks = packs_to_delete.into_iter().map(|pack| (pack, true));
            for (pack, is_mark) in packs.into_iter().map(|pack| (pack, false)).chain(marks) {
                let Some(place) = self.seen.place(&Id::new(pack.id.0)) else { continue };
                let fate = self.plan.fates[place];
                let is_said = said[place] && !self.seen.packs[place].is_disputed;
                if is_said || !(replaced[number] || fate == Fate::Named) {
                    continue;
                }
                match fate {
                    // Another index file names it, or this one does.
                    Fate::Stays if is_mark => continue,
                    Fate::Stays | Fate::Named => writer.name(pack)?,
                    Fate::Marked | Fate::Repacked => writer.mark(pack, Some(self.facts.now))?,
                    Fate::Waits => writer.mark(pack, None)?,
                    Fate::Goes => {}
                }
                said[place] = true;
            }
        }
        for place in self.plan.with(Fate::Marked).filter(|place| !said[*place]) {
            let (id, size) = (self.seen.packs[place].id, self.seen.packs[place].bytes());
            let id = HexHash(HexHash::of(&id));
            let pack = IndexPack { id, blobs: Vec::new(), time: None, size: size.try_into().ok() };
            writer.mark(pack, Some(self.facts.now))?;
        }
        Ok(())
    }

    /// Removes index files that were written, before an old one is removed. What can't be removed is
    /// harmless: what the old ones name stays.
    fn take_back(&self, written: &[Id]) {
        if let Err(error) = remove_all(self.repository, FileType::Index, written) {
            log::warn!("an index file that is not needed stays: {error}");
        }
    }
}

/// Writes index files. Those with marks name no packs, so that such a file is as old as its marks.
struct IndexWriter<'a> {
    repository: &'a OpenRepository,
    coder: Coder,
    named: Pending,
    marked: Pending,
    written: Vec<Id>,
}

/// What the next index file has.
#[derive(Default)]
struct Pending {
    packs: Vec<IndexPack>,
    blobs: usize,
}

impl Pending {
    /// Returns what makes a whole index file.
    fn add(&mut self, pack: IndexPack) -> Vec<IndexPack> {
        self.blobs += pack.blobs.len().max(1);
        self.packs.push(pack);
        if self.blobs < MOST_BLOBS { Vec::new() } else { std::mem::take(self).packs }
    }
}

impl<'a> IndexWriter<'a> {
    fn new(repository: &'a OpenRepository) -> Result<Self> {
        let (named, marked) = (Pending::default(), Pending::default());
        Ok(Self { repository, coder: repository.coder()?, named, marked, written: Vec::new() })
    }

    fn name(&mut self, pack: IndexPack) -> Result<()> {
        let packs = self.named.add(pack);
        self.write(&IndexFile { packs, ..IndexFile::default() })
    }

    /// Marks a pack, at this time if it was not marked before.
    fn mark(&mut self, pack: IndexPack, now: Option<Timestamp>) -> Result<()> {
        let time = now.map(|now| now.to_string()).or(pack.time);
        let packs_to_delete = self.marked.add(IndexPack { time, ..pack });
        self.write(&IndexFile { packs_to_delete, ..IndexFile::default() })
    }

    fn finish(&mut self) -> Result<()> {
        let packs = std::mem::take(&mut self.named).packs;
        self.write(&IndexFile { packs, ..IndexFile::default() })?;
        let packs_to_delete = std::mem::take(&mut self.marked).packs;
        self.write(&IndexFile { packs_to_delete, ..IndexFile::default() })
    }

    fn write(&mut self, index: &IndexFile) -> Result<()> {
        if index.is_empty() {
            return Ok(());
        }
        let sealed = self.coder.seal_file(&index.text()?)?;
        let id = Id::new(hash(&sealed));
        self.repository.backend().write_file(FileType::Index, &id, sealed.into())?;
        self.written.push(id);
        Ok(())
    }
}
