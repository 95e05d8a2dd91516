//! What one worker does: it lists folders, reads files, and writes the trees of folders that are
//! complete.

use std::{
    ffi::CStr,
    io,
    ops::Range,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex},
};

use rustic_core::repofile::NodeType;
use rustix::{fs::Stat, io::Errno};

use super::{
    assembly::Assembly,
    change_times::telling_device,
    entry::{Entries, look},
    listing::{Listing, TRIES},
    node::{self, Refers},
    parent::ParentFolder,
    queue::Next,
    run::{LISTED, Run, Task, UnlistedFolder},
    unfinished_folder::UnfinishedFolder,
};
use crate::{
    daemon::{
        moment::{HotFolder, changed_at},
        repository::{Coder, Hash, guarded},
        tree::{
            folder_handles::{MOST_LEVELS, OpenedFolder, TreeFolder},
            left_out::LeftOut,
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
    pub(super) fn work(&mut self) {
        let run = self.run;
        loop {
            let next = run.queue.next();
            if matches!(next, Next::Closed) {
                return;
            }
            let done = guarded("reading the volume", || match next {
                Next::Chunk(work) => run.content.keep(&run.queue, &mut self.coder, work),
                Next::Task(Task::Folder(folder)) => self.subfolder(folder),
                Next::Task(Task::Entries(unfinished, listing)) => {
                    self.entries(&unfinished, &listing)
                }
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
        let listed = self.run.folders.root(folder).and_then(|opened| self.list(&opened, known));
        let listed = listed.and_then(|(mut folder, listing)| {
            let listing = self.run.extras.added_to(listing)?;
            folder.assembly = Mutex::new(Assembly::new(listing.len()));
            Ok((folder, listing))
        });
        match listed {
            Ok(listed) => self.begin(None, listed),
            Err(error) => {
                self.run.failures.fail_all(Path::new("."), &error);
                self.run.queue.close();
                Ok(())
            }
        }
    }

    fn subfolder(&mut self, folder: UnlistedFolder) -> Result<()> {
        let UnlistedFolder { above, number, name, known } = folder;
        self.run.content.goes_on(&self.run.queue)?;
        if above.folder.depth() >= MOST_LEVELS {
            // A restore would refuse it.
            let why = format!("it is in more than {MOST_LEVELS} folders");
            self.run.failures.leave_out(&above.folder.path_of(&name), why);
            return self.put(&above, number..number + 1, Vec::new());
        }
        let mut tried = 0;
        let text = loop {
            tried += 1;
            let opened = self.run.folders.enter(&above.folder, &name);
            match opened.and_then(|opened| self.list(&opened, known)) {
                Ok(listed) => return self.begin(Some((above, number)), listed),
                Err(error) if is_no_folder(&error) => match self.replaced(&above, &name)? {
                    Some(text) => break text,
                    None if tried < TRIES => {}
                    None => {
                        self.run.failures.fail(&above.folder.path_of(&name), &error);
                        break Vec::new();
                    }
                },
                Err(error) => {
                    self.run.unread(&above.folder, &name, &error);
                    break Vec::new();
                }
            }
        };
        self.put(&above, number..number + 1, text)
    }

    /// Reads what has the name of a folder now; `None` if that is a folder again.
    fn replaced(&mut self, above: &UnfinishedFolder, name: &CStr) -> Result<Option<Vec<u8>>> {
        let mut text = Vec::new();
        match self.run.folders.handle(&above.folder) {
            Ok(handle) => {
                let mut entries = Entries::new(self.run, above, &handle);
                let read = entries.read(&mut self.coder, &mut self.metadata, name, &mut text)?;
                return Ok(read.is_none().then_some(text));
            }
            Err(error) => self.run.lost(&above.folder.path_of(name), &error),
        }
        Ok(Some(text))
    }

    /// Reads a folder's metadata, its names, and what the parent knows of it.
    fn list(
        &mut self,
        opened: &OpenedFolder,
        known: Option<Hash>,
    ) -> io::Result<(UnfinishedFolder, Listing)> {
        let copied = self.run.copies.and_then(|copies| copies.folder(&opened.folder.path()));
        let mut listing = self.names(opened, copied)?;
        let left_out = self.run.excludes.map(|excludes| LeftOut::of(excludes, opened));
        let excluded = left_out.map_or(0, |left_out| listing.leave_out(|name| left_out.has(name)));
        let metadata = match copied {
            Some(folder) => self.metadata.with_attributes(&folder.stat, &folder.attributes),
            None => self.metadata.read(&opened.stat, &opened.handle, c"."),
        }?;
        let unfinished = UnfinishedFolder {
            above: None,
            folder: Arc::clone(&opened.folder),
            metadata,
            telling_device: telling_device(&opened.handle, &opened.stat),
            assembly: Mutex::new(Assembly::new(listing.len())),
            known: known.and_then(|tree| self.known(&opened.folder, &tree)),
            parent_tree: known,
            folders: Mutex::default(),
        };
        self.run.counts.excluded.add(excluded);
        Ok((unfinished, listing))
    }

    /// The names in a folder: at the moment, or now.
    fn names(&self, opened: &OpenedFolder, copied: Option<&HotFolder>) -> io::Result<Listing> {
        if let Some(folder) = copied {
            let id = |stat: &Stat| (stat.st_dev, stat.st_ino);
            if id(&folder.stat) != id(&opened.stat) {
                // Another folder was moved here since.
                self.run.counts.changed(opened.folder.path());
            }
            return Listing::of(&folder.names);
        }
        let listing = self.names_now(opened)?;
        if let Some(copies) = self.run.copies
            && copies.is_later(&rustix::fs::fstat(&*opened.handle)?)
        {
            self.run.counts.changed(opened.folder.path());
        }
        Ok(listing)
    }

    /// The names in a folder now. A list that another change overtook may lack what was renamed: so the
    /// folder is listed again, a few times, and what is doubtful then is looked at again.
    fn names_now(&self, opened: &OpenedFolder) -> io::Result<Listing> {
        let Some(again) = &self.run.second_look else { return Listing::read(&opened.handle) };
        let id = opened.folder.id();
        let mut tried = 0;
        loop {
            tried += 1;
            let (before, is_sure) = look(&opened.handle)?;
            again.saw(&before, None);
            let listing = Listing::read(&opened.handle)?;
            (self.run.after_reading)(LISTED)?;
            let after = rustix::fs::fstat(&opened.handle)?;
            let is_still = is_sure && changed_at(&after) == changed_at(&before);
            if is_still || tried == TRIES {
                if !is_still {
                    again.doubts(id);
                }
                again.listed(id, &listing);
                return Ok(listing);
            }
        }
    }

    /// What the parent knows of a folder. If its tree can't be read, the folder is read as a new
    /// one.
    fn known(&mut self, folder: &TreeFolder, tree: &Hash) -> Option<ParentFolder> {
        let (index, backend) = (self.run.index, self.run.backend);
        let from = (backend, self.run.shelf);
        let known = ParentFolder::read(tree, index, from, &mut self.coder);
        known
            .inspect_err(|error| {
                log::warn!(
                    "volume \"{}\": all files in \"{}\" are read, because the last snapshot of this folder can't be: {error}",
                    self.run.volume,
                    folder.path().display()
                );
            })
            .ok()
    }

    fn begin(
        &mut self,
        above: Option<(Arc<UnfinishedFolder>, u32)>,
        (mut unfinished, listing): (UnfinishedFolder, Listing),
    ) -> Result<()> {
        self.run.counts.note(self.metadata.take_notes());
        unfinished.above = above;
        let unfinished = Arc::new(unfinished);
        if listing.len() == 0 {
            return self.finish(unfinished);
        }
        self.run.queue.push(std::iter::once(Task::Entries(unfinished, Arc::new(listing))));
        Ok(())
    }

    /// Reads the next entries of a folder.
    fn entries(
        &mut self,
        unfinished: &Arc<UnfinishedFolder>,
        listing: &Arc<Listing>,
    ) -> Result<()> {
        let (range, more) = listing.take();
        if more {
            let rest = Task::Entries(Arc::clone(unfinished), Arc::clone(listing));
            self.run.queue.push(std::iter::once(rest));
        }
        match self.run.folders.handle(&unfinished.folder) {
            Ok(handle) => self.batch(unfinished, listing, &handle, range.clone())?,
            Err(error) => {
                self.run.lost(&unfinished.path(), &error);
                self.put(unfinished, range.clone(), Vec::new())?;
            }
        }
        if listing.done(range) {
            let mut folders = std::mem::take(&mut *lock(&unfinished.folders));
            folders.sort_unstable_by_key(|(number, ..)| *number);
            self.run.queue.push(folders.into_iter().map(|(number, name, known)| {
                Task::Folder(UnlistedFolder { above: Arc::clone(unfinished), number, name, known })
            }));
        }
        Ok(())
    }

    fn batch(
        &mut self,
        unfinished: &Arc<UnfinishedFolder>,
        listing: &Listing,
        handle: &OwnedFd,
        range: Range<u32>,
    ) -> Result<()> {
        let mut entries = Entries::new(self.run, unfinished, handle);
        let mut start = range.start;
        let mut text = Vec::new();
        for number in range.clone() {
            let name = listing.name(number);
            let extra = unfinished.above.is_none().then(|| self.run.extras.find(name)).flatten();
            if let Some(extra) = extra {
                extra.write(self.run, &unfinished.metadata, &mut text)?;
                continue;
            }
            let read = entries.read(&mut self.coder, &mut self.metadata, name, &mut text)?;
            if let Some(known) = read {
                lock(&unfinished.folders).push((number, name.to_owned(), known));
                self.put(unfinished, start..number, std::mem::take(&mut text))?;
                start = number + 1;
            }
        }
        self.put(unfinished, start..range.end, text)
    }

    /// Adds the text of entries to their folder's tree. The last one completes the tree.
    fn put(
        &mut self,
        unfinished: &Arc<UnfinishedFolder>,
        entries: Range<u32>,
        text: Vec<u8>,
    ) -> Result<()> {
        if entries.is_empty() || !lock(&unfinished.assembly).put(entries, text) {
            return Ok(());
        }
        self.finish(Arc::clone(unfinished))
    }

    /// Keeps the tree of a complete folder, and those above that are complete with it.
    fn finish(&mut self, unfinished: Arc<UnfinishedFolder>) -> Result<()> {
        let mut complete = unfinished;
        loop {
            let text = lock(&complete.assembly).take();
            let tree = self.tree(&text, &complete)?;
            let mut entry = Vec::new();
            let name = complete.folder.name().to_bytes();
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

    fn tree(&mut self, text: &[u8], folder: &UnfinishedFolder) -> Result<Hash> {
        let counts = &self.run.counts;
        counts.bytes_of_folders.add(text.len() as u64);
        let tree = self.run.blobs.keep_tree(&mut self.coder, text, folder.read_tree())?;
        let counter = match folder.parent_tree {
            None => &counts.folders.new,
            Some(known) if known == tree => &counts.folders.unchanged,
            Some(_) => &counts.folders.changed,
        };
        counter.add(1);
        Ok(tree)
    }

    /// The snapshot's tree has one entry, the volume's folder.
    fn finish_root(&mut self, root: &UnfinishedFolder, tree: &Hash) -> Result<()> {
        let mut entry = Vec::new();
        let (name, refers) = (self.run.volume.as_bytes(), Refers::Tree(tree));
        node::write(&mut entry, name, &NodeType::Dir, &root.metadata, &refers)?;
        let mut top = Assembly::new(1);
        top.put(0..1, entry);
        let known = self.run.parent_top;
        let top = self.run.blobs.keep_tree(&mut self.coder, &top.take(), known)?;
        *lock(&self.run.tree) = Some(top);
        self.run.queue.close();
        Ok(())
    }
}

/// Whether a name is no folder's any more.
fn is_no_folder(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotADirectory
        || error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}
