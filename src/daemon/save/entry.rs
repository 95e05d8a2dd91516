//! Reads the entries of a folder.

use std::{
    ffi::CStr,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    thread,
};

use jiff::Timestamp;
use rustic_core::repofile::{Metadata, NodeType};
use rustix::{
    fs::{AtFlags, FileType, Stat},
    io::Errno,
};

use super::{
    content::{Content, Unread},
    listing::TRIES,
    node::{self, Refers},
    parent::ParentEntry,
    run::Run,
    unfinished_folder::UnfinishedFolder,
};
use crate::{
    daemon::{
        moment::{CopiedFile, TICK, changed_at},
        repository::{Coder, Hash},
        tree::{
            open::open_file,
            read::{MetadataReader, kind_of},
        },
    },
    error::Result,
};

const TRIES_OF_LARGE: u32 = 2;
const LARGE: u64 = 1 << 30;

/// The tree of a folder in the parent, if that knows the folder.
pub(super) type ParentTree = Option<Hash>;

/// Reads entries of one folder.
pub(super) struct Entries<'a> {
    run: &'a Run<'a>,
    unfinished: &'a UnfinishedFolder,
    folder: &'a OwnedFd,
}

impl<'a> Entries<'a> {
    pub(super) fn new(
        run: &'a Run<'a>,
        unfinished: &'a UnfinishedFolder,
        folder: &'a OwnedFd,
    ) -> Self {
        Self { run, unfinished, folder }
    }

    /// Adds an entry to `text`, unless it is a folder: then its tree in the parent comes back. Left
    /// out are what can't be read, which makes what is saved partial; what is gone, which is counted or told, and
    /// what was replaced each time that it was read, which is told.
    ///
    /// # Errors
    /// If the run can't go on.
    pub(super) fn read(
        &mut self,
        coder: &mut Coder,
        metadata: &mut MetadataReader,
        name: &CStr,
        text: &mut Vec<u8>,
    ) -> Result<Option<ParentTree>> {
        self.run.content.goes_on(&self.run.queue)?;
        let known = self.unfinished.known.as_ref().and_then(|known| known.find(name.to_bytes()));
        let (mut tried, mut seen) = (0, None);
        let read = loop {
            tried += 1;
            match self.try_read(coder, metadata, (name, known), (text, &mut seen)) {
                Err(Unread::Replaced(_)) if tried < TRIES => seen = None,
                read => break read,
            }
        };
        self.run.counts.note(metadata.take_notes());
        match read {
            Ok(folder) => Ok(folder),
            Err(Unread::Run(error)) => Err(error),
            Err(Unread::File(error)) => {
                self.run.unread(&self.unfinished.folder, name, &error);
                Ok(None)
            }
            Err(Unread::Replaced(error)) => {
                self.unread_or_replaced(name, seen.as_ref(), &error);
                Ok(None)
            }
        }
    }

    /// Tells what is another file by now. What is still the one that was `seen`, or can't be looked at,
    /// as on a share whose server has forgotten it, can't be read.
    fn unread_or_replaced(&self, name: &CStr, seen: Option<&Stat>, error: &io::Error) {
        let path = self.unfinished.folder.path_of(name);
        let which = |stat: &Stat| (stat.st_dev, stat.st_ino, FileType::from_raw_mode(stat.st_mode));
        match (seen, rustix::fs::statat(self.folder, name, AtFlags::SYMLINK_NOFOLLOW)) {
            (Some(seen), Ok(now)) if which(seen) != which(&now) => self.run.counts.changed(path),
            (Some(_), Err(gone @ Errno::NOENT)) => {
                self.run.unread(&self.unfinished.folder, name, &gone.into());
            }
            _ => self.run.failures.fail(&path, error),
        }
    }

    fn try_read(
        &mut self,
        coder: &mut Coder,
        metadata: &mut MetadataReader,
        (name, known): (&CStr, Option<ParentEntry<'_>>),
        (text, seen): (&mut Vec<u8>, &mut Option<Stat>),
    ) -> Result<Option<ParentTree>, Unread> {
        let copied =
            self.run.copies.and_then(|copies| copies.file(&self.unfinished.folder.path_of(name)));
        let stat = match copied {
            Some(copied) => copied.stat,
            None => *seen.insert(rustix::fs::statat(self.folder, name, AtFlags::SYMLINK_NOFOLLOW)?),
        };
        let kind = kind_of(&stat, self.folder, name).map_err(unread)?;
        if kind == NodeType::Dir {
            return Ok(Some(known.and_then(ParentEntry::subtree)));
        }
        let plain = metadata.without_attributes(&stat);
        let meta = match copied {
            Some(copied) => metadata.with_attributes(&stat, &copied.attributes),
            None if self.has_no_attributes(&stat, &plain, known) => Ok(plain),
            None => metadata.read(&stat, self.folder, name),
        };
        let mut meta = meta.map_err(unread)?;
        let is_later = self.run.copies.is_some_and(|copies| copies.is_later(&stat));
        if kind != NodeType::File && is_later {
            self.run.counts.changed(self.unfinished.folder.path_of(name));
        }
        let unchanged = known
            .zip(self.run.settled_before)
            .and_then(|(known, settled_before)| known.unchanged(&meta, settled_before))
            .filter(|chunks| self.run.blobs.has_all(chunks));
        let files = &self.run.counts.files;
        let counter = match (known, unchanged) {
            (None, _) => &files.new,
            (_, None) => &files.changed,
            (_, Some(_)) => &files.unchanged,
        };
        let content;
        let refers = match unchanged {
            _ if kind != NodeType::File => {
                self.saw(&stat);
                Refers::Nothing
            }
            Some(chunks) => {
                self.saw(&stat);
                self.run.counts.bytes.add(meta.size);
                self.run.piece.advance(meta.size);
                Refers::Chunks(chunks)
            }
            None => {
                content = match copied {
                    Some(copied) => self.copied(coder, copied, &mut meta)?,
                    None => self.content(coder, metadata, (name, &stat), &mut meta)?,
                };
                Refers::Chunks(&content.chunks)
            }
        };
        if !text.is_empty() {
            text.push(b',');
        }
        node::write(text, name.to_bytes(), &kind, &meta, &refers)?;
        counter.add(1);
        Ok(None)
    }

    /// Whether a file has no extended attributes, because it is as it was and had none.
    fn has_no_attributes(
        &self,
        stat: &Stat,
        now: &Metadata,
        known: Option<ParentEntry<'_>>,
    ) -> bool {
        let known = known.filter(|known| !known.has_attributes());
        let unchanged = known
            .zip(self.run.settled_before)
            .and_then(|(known, settled_before)| known.unchanged(now, settled_before));
        unchanged.is_some() && self.unfinished.telling_device == Some(stat.st_dev)
    }

    /// Remembers what is saved as it is now, for the second look.
    fn saw(&self, stat: &Stat) {
        if let Some(look) = &self.run.second_look {
            look.saw(stat, Some(self.unfinished.folder.id()));
        }
    }

    /// Reads a copy of a file, which can't change.
    fn copied(
        &self,
        coder: &mut Coder,
        copied: &CopiedFile,
        meta: &mut Metadata,
    ) -> Result<Content, Unread> {
        let file = (&copied.copy, &copied.stat);
        let content = self.run.content.read(&self.run.queue, coder, file, true)?;
        self.run.counts.bytes_read.add(content.bytes);
        self.run.counts.bytes.add(content.bytes);
        meta.size = content.bytes;
        Ok(content)
    }

    /// Reads a file until it does not change meanwhile, a few times at most. `meta` becomes that of
    /// the moment before it was read, so that a change since then is seen the next time.
    fn content(
        &self,
        coder: &mut Coder,
        metadata: &mut MetadataReader,
        (name, listed): (&CStr, &Stat),
        meta: &mut Metadata,
    ) -> Result<Content, Unread> {
        let mut tried = 0;
        loop {
            let file = self.open(name)?;
            let (before, is_sure) = look(&file)?;
            if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
                return Err(Unread::Replaced(io::Error::other("it is no file any more")));
            }
            let read = &self.run.content;
            let content = read.read(&self.run.queue, coder, (&file, &before), tried == 0)?;
            self.run.counts.bytes_read.add(content.bytes);
            (self.run.after_reading)(name)?;
            let after = rustix::fs::fstat(&file)?;
            tried += 1;
            let still = is_sure && same(&before, &after);
            let tries = if content.bytes < LARGE { TRIES } else { TRIES_OF_LARGE };
            if !still && tried < tries {
                continue;
            }
            let is_later = self.run.copies.is_some_and(|copies| copies.is_later(&before));
            if !still || is_later {
                self.run.counts.changed(self.unfinished.folder.path_of(name));
            }
            self.saw(&before);
            if !same(listed, &before) {
                *meta = self.metadata_again(metadata, name, &before, meta);
            }
            meta.size = content.bytes;
            self.run.counts.bytes.add(content.bytes);
            return Ok(content);
        }
    }

    fn open(&self, name: &CStr) -> Result<File, Unread> {
        match open_file(self.folder, name) {
            // It is no file by now.
            Err(error @ (Errno::LOOP | Errno::NXIO)) => Err(Unread::Replaced(error.into())),
            opened => Ok(opened?.into()),
        }
    }

    /// The metadata of a file that changed after it was listed. If its name is gone by now, its
    /// attributes are those of the listing.
    fn metadata_again(
        &self,
        metadata: &mut MetadataReader,
        name: &CStr,
        stat: &Stat,
        listed: &Metadata,
    ) -> Metadata {
        metadata.read(stat, self.folder, name).unwrap_or_else(|_| Metadata {
            extended_attributes: listed.extended_attributes.clone(),
            ..metadata.without_attributes(stat)
        })
    }
}

/// Why an entry can't be read. What was a link and is none by now is invalid, and what a server has
/// replaced is stale; so may be what can't be read at all.
fn unread(error: io::Error) -> Unread {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::INVAL | Errno::STALE) => Unread::Replaced(error),
        _ => Unread::File(error),
    }
}

/// Looks at a file or a folder, and says whether each later change can be seen: a change within the same
/// tick of the file system's clock leaves the time as it is. So what changed just now is looked at
/// again when the tick is over.
pub(super) fn look(file: impl AsFd) -> Result<(Stat, bool), Errno> {
    let is_sure = |stat: &Stat| is_before(changed_at(stat), Timestamp::now());
    let file = file.as_fd();
    let stat = rustix::fs::fstat(file)?;
    if is_sure(&stat) {
        return Ok((stat, true));
    }
    thread::sleep(TICK.unsigned_abs());
    let stat = rustix::fs::fstat(file)?;
    let is_sure = is_sure(&stat);
    Ok((stat, is_sure))
}

/// Whether a change is so long ago that a change now has another time. A time in the future is one of
/// another clock, which tells nothing.
fn is_before(changed: Timestamp, now: Timestamp) -> bool {
    let passed = now.duration_since(changed);
    passed >= TICK || passed <= -TICK
}

/// Whether a file did not change between two looks.
fn same(one: &Stat, other: &Stat) -> bool {
    let key = |stat: &Stat| {
        let times = (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
        (stat.st_size, times, stat.st_ino, stat.st_dev)
    };
    key(one) == key(other)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_change_within_the_tick_of_an_earlier_one_can_not_be_seen() {
        let changed = Timestamp::from_second(1_000).unwrap();
        for (passed, sure) in [(0, false), (9, false), (10, true), (-9, false), (-5_000, true)] {
            let now = changed + SignedDuration::from_millis(passed);
            assert_eq!(is_before(changed, now), sure, "{passed} ms later");
        }
    }
}
