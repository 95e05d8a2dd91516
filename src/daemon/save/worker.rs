//! What one worker does: it lists folders, reads files, and writes the trees of folders that are
//! complete.

use std::{
    io,
    ops::Range,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex},
};

use rustic_core::repofile::NodeType;

use super::{
    assembly::Assembly,
    entry::Entries,
    level::Level,
    listing::Listing,
    node::{self, Refers},
    parent::ParentFolder,
    queue::Next,
    run::{Run, Subfolder, Task},
};
use crate::{
    daemon::{
        repository::{Coder, Hash, guarded},
        tree::{
            places::{Opened, Place},
            read::MetadataReader,
        },
    },
    error::Result,
    sync::lock,
};

/// One worker, with what it uses again and again.
pub(super) struct Worker<'a> {
    run: &'a Run<'a>,
    coder: Coder,
    metadata: MetadataReader,
}

impl<'a> Worker<'a> {
    pub(super) fn new(run: &'a Run<'a>, coder: Coder) -> Self {
        Self { run, coder, metadata: MetadataReader::new() }
    }

    /// Works until everything is done, or the run has failed.
    pub(super) fn work(mut self) {
        let run = self.run;
        loop {
            let next = run.queue.next();
            if matches!(next, Next::Closed) {
                return;
            }
            let done = guarded("reading the volume", || match next {
                Next::Chunk(work) => run.content.keep(&run.queue, &mut self.coder, work),
                Next::Task(Task::Folder(folder)) => self.subfolder(folder),
                Next::Task(Task::Entries(level, listing)) => self.entries(&level, &listing),
                Next::Done | Next::Closed => Ok(()),
            });
            if let Err(error) = done {
                return run.fail(error);
            }
        }
    }

    /// Lists the volume's folder.
    ///
    /// # Errors
    /// If the repository can't be written.
    pub(super) fn root(&mut self, folder: &Path, known: Option<Hash>) -> Result<()> {
        // A missing volume is not an empty one: the volume's folder never counts as vanished.
        let listed = self.run.places.root(folder).and_then(|opened| self.list(&opened, known));
        match listed {
            Ok(listed) => self.begin(None, listed),
            Err(error) => {
                self.run.failures.fail(Path::new("."), &error);
                self.run.queue.close();
                Ok(())
            }
        }
    }

    fn subfolder(&mut self, folder: Subfolder) -> Result<()> {
        let Subfolder { above, number, name, known } = folder;
        self.run.content.goes_on(&self.run.queue)?;
        let opened = self.run.places.enter(&above.place, &name);
        match opened.and_then(|opened| self.list(&opened, known)) {
            Ok(listed) => self.begin(Some((above, number)), listed),
            Err(error) => {
                self.run.failures.record(&above.place.path_of(&name), &error);
                self.put(&above, number..number + 1, Vec::new())
            }
        }
    }

    /// Reads a folder's metadata, its names, and what the parent knows of it.
    fn list(&mut self, opened: &Opened, known: Option<Hash>) -> io::Result<(Level, Listing)> {
        let metadata = self.metadata.read(&opened.stat, &opened.handle, c".")?;
        let kept = self.run.kept.and_then(|kept| kept.names(&opened.place.path()));
        let listing = match kept {
            Some(names) => Listing::of(names)?,
            None => Listing::read(&opened.handle)?,
        };
        let level = Level {
            above: None,
            place: Arc::clone(&opened.place),
            metadata,
            assembly: Mutex::new(Assembly::new(listing.len())),
            known: known.and_then(|tree| self.known(&opened.place, &tree)),
            known_tree: known,
            folders: Mutex::default(),
        };
        Ok((level, listing))
    }

    /// What the parent knows of a folder. If its tree can't be read, the folder is read as a new
    /// one.
    fn known(&mut self, place: &Place, tree: &Hash) -> Option<ParentFolder> {
        let (index, backend) = (self.run.index, self.run.backend);
        let known = ParentFolder::read(tree, index, backend, &mut self.coder);
        known
            .inspect_err(|error| {
                log::warn!(
                    "volume \"{}\": all files in \"{}\" are read, because the last snapshot of this folder can't be: {error}",
                    self.run.volume,
                    place.path().display()
                );
            })
            .ok()
    }

    fn begin(
        &mut self,
        above: Option<(Arc<Level>, u32)>,
        (mut level, listing): (Level, Listing),
    ) -> Result<()> {
        self.note_capped();
        level.above = above;
        let level = Arc::new(level);
        if listing.len() == 0 {
            return self.finish(level);
        }
        self.run.queue.push(std::iter::once(Task::Entries(level, Arc::new(listing))));
        Ok(())
    }

    /// Reads the next entries of a folder.
    fn entries(&mut self, level: &Arc<Level>, listing: &Arc<Listing>) -> Result<()> {
        let (range, more) = listing.take();
        if more {
            let rest = Task::Entries(Arc::clone(level), Arc::clone(listing));
            self.run.queue.push(std::iter::once(rest));
        }
        match self.run.places.handle(&level.place) {
            Ok(handle) => self.batch(level, listing, &handle, range.clone())?,
            Err(error) => {
                self.run.failures.record(&level.path(), &error);
                self.put(level, range.clone(), Vec::new())?;
            }
        }
        if listing.done(range) {
            let mut folders = std::mem::take(&mut *lock(&level.folders));
            folders.sort_unstable_by_key(|(number, ..)| *number);
            self.run.queue.push(folders.into_iter().map(|(number, name, known)| {
                Task::Folder(Subfolder { above: Arc::clone(level), number, name, known })
            }));
        }
        Ok(())
    }

    fn batch(
        &mut self,
        level: &Arc<Level>,
        listing: &Listing,
        handle: &OwnedFd,
        range: Range<u32>,
    ) -> Result<()> {
        let mut entries = Entries::new(self.run, level, handle);
        let mut start = range.start;
        let mut text = Vec::new();
        for number in range.clone() {
            let name = listing.name(number);
            let read = entries.read(&mut self.coder, &mut self.metadata, name, &mut text)?;
            if let Some(known) = read {
                lock(&level.folders).push((number, name.to_owned(), known));
                self.put(level, start..number, std::mem::take(&mut text))?;
                start = number + 1;
            }
        }
        self.put(level, start..range.end, text)
    }

    /// Adds the text of entries to their folder's tree. The last one completes the tree.
    fn put(&mut self, level: &Arc<Level>, entries: Range<u32>, text: Vec<u8>) -> Result<()> {
        if entries.is_empty() || !lock(&level.assembly).put(entries, text) {
            return Ok(());
        }
        self.finish(Arc::clone(level))
    }

    /// Keeps the tree of a complete folder, and those above that are complete with it.
    fn finish(&mut self, level: Arc<Level>) -> Result<()> {
        let mut complete = level;
        loop {
            let text = lock(&complete.assembly).take();
            let tree = self.tree(&text, &complete)?;
            let mut entry = Vec::new();
            let name = complete.place.name().to_bytes();
            let Some((above, number)) = &complete.above else {
                return self.finish_root(&complete, &tree);
            };
            let refers = Refers::Tree(&tree);
            node::write(&mut entry, name, &NodeType::Dir, &complete.metadata, &refers)?;
            if !lock(&above.assembly).put(*number..number + 1, entry) {
                return Ok(());
            }
            complete = Arc::clone(above);
        }
    }

    fn tree(&mut self, text: &[u8], level: &Level) -> Result<Hash> {
        let counts = &self.run.counts;
        counts.bytes_of_folders.add(text.len() as u64);
        let tree = self.run.store.keep_tree(&mut self.coder, text, level.read_tree())?;
        let counter = match level.known_tree {
            None => &counts.folders.new,
            Some(known) if known == tree => &counts.folders.unchanged,
            Some(_) => &counts.folders.changed,
        };
        counter.add(1);
        Ok(tree)
    }

    /// The snapshot's tree has one entry, the volume's folder.
    fn finish_root(&mut self, root: &Level, tree: &Hash) -> Result<()> {
        let mut entry = Vec::new();
        let (name, refers) = (self.run.volume.as_bytes(), Refers::Tree(tree));
        node::write(&mut entry, name, &NodeType::Dir, &root.metadata, &refers)?;
        let mut top = Assembly::new(1);
        top.put(0..1, entry);
        let known = self.run.known_top;
        let top = self.run.store.keep_tree(&mut self.coder, &top.take(), known)?;
        *lock(&self.run.tree) = Some(top);
        self.run.queue.close();
        Ok(())
    }

    fn note_capped(&mut self) {
        if std::mem::take(&mut self.metadata.capped) {
            self.run.counts.capped.add(1);
        }
    }
}
