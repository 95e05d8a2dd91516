//! The content of a file in a backup, or a part of it, piece by piece.

use std::{
    collections::VecDeque,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustic_core::{
    DataId, Id, TreeId,
    repofile::{BlobType, Node},
};
use tokio::sync::mpsc::{Sender, error::TrySendError};

use super::{
    entry::entry,
    view::{View, names},
};
use crate::{
    convoy::inside::{EntryKind, FileEntry, Form, ReadFile},
    daemon::repository::{BlobReader, Hash, HexHash, Index, Location, OpenRepository},
    error::{Error, ErrorKind, Result},
    scope,
};

/// So much of a pack is read at a time where neighbours are read at once, in bytes; and so many such parts
/// are kept.
const WINDOW: u32 = 4 << 20;
const MOST_WINDOWS: usize = 8;

const READING: &str = "a file of a backup was read";

/// What is to be read, once it was found.
pub(in crate::daemon) struct ToRead {
    repository: Arc<OpenRepository>,
    node: Node,
    what: ReadFile,
    pub(in crate::daemon) entry: FileEntry,
    /// How many bytes there will be; `None` if that is not known before.
    pub(in crate::daemon) length: Option<u64>,
}

impl ToRead {
    /// Finds what is to be read.
    ///
    /// # Errors
    /// If it is not there, or is no file and its content is wanted; if a folder can't be read.
    pub(in crate::daemon) fn find(
        repository: Arc<OpenRepository>,
        tree: TreeId,
        what: ReadFile,
    ) -> Result<Self> {
        let node = View::new(&repository)?.at(&tree, &what.path)?;
        let path = names(&what.path).collect::<Vec<_>>().join("/");
        let entry = entry(path, &node);
        let length = match (what.form, entry.kind) {
            (Form::Tar, _) => None,
            (Form::Content, EntryKind::File) => {
                let left = entry.size.saturating_sub(what.offset);
                Some(what.length.map_or(left, |most| left.min(most)))
            }
            (Form::Content, _) => {
                let kind = if entry.kind == EntryKind::Folder { "a folder" } else { "no file" };
                let message = format!("\"/{}\" in the backup is {kind}", entry.path);
                return Err(Error::usage(message).with_hint("\"dump\" writes it as a tar archive"));
            }
        };
        Ok(Self { repository, node, what, entry, length })
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    pub(super) fn form(&self) -> Form {
        self.what.form
    }

    /// The first byte that is wanted, and the one behind the last.
    pub(super) fn range(&self) -> (u64, u64) {
        let end = self.length.map(|length| self.what.offset.saturating_add(length));
        (self.what.offset, end.unwrap_or(u64::MAX))
    }

    pub(super) fn source(&self) -> Result<Source<'_>> {
        let mut source = Source::new(&self.repository)?;
        if self.what.form == Form::Tar {
            source.reads_all_of(&self.repository);
        }
        Ok(source)
    }
}

/// So long is somebody waited for who takes no piece: others wait for the destination meanwhile.
const PATIENCE: Duration = Duration::from_mins(10);
/// How often it is looked whether there is room for a piece.
const LOOK: Duration = Duration::from_millis(2);

/// # Errors
/// [`ErrorKind::Cancelled`] if nobody takes the piece.
pub(super) fn send_one(pieces: &Sender<Result<Bytes>>, piece: Vec<u8>) -> Result<()> {
    let gone = |why: &str| Err(Error::new(ErrorKind::Cancelled, why));
    let (mut piece, begun) = (Ok(Bytes::from(piece)), Instant::now());
    loop {
        piece = match pieces.try_send(piece) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return gone("nobody reads any more"),
            Err(TrySendError::Full(_)) if begun.elapsed() > PATIENCE => {
                return gone("nobody has read for ten minutes");
            }
            Err(TrySendError::Full(piece)) => piece,
        };
        scope::goes_on(READING)?;
        thread::sleep(LOOK);
    }
}

/// What content is read with.
pub(super) struct Source<'a> {
    pub(super) view: View<'a>,
    index: Arc<Index>,
    reader: BlobReader<'a>,
    /// So much of a pack is read at a time; 0: a piece alone.
    window: u32,
    /// What was read of packs lately, the oldest first.
    windows: VecDeque<Window>,
}

/// A part of a pack.
struct Window {
    pack: Id,
    offset: u32,
    content: Vec<u8>,
}

impl Window {
    /// What lies there, if all of it is in this part.
    fn part(&self, place: &Location) -> Option<&[u8]> {
        let start = place.offset.checked_sub(self.offset).filter(|_| self.pack == place.pack)?;
        self.content.get(start as usize..)?.get(..place.length as usize)
    }
}

impl<'a> Source<'a> {
    fn new(repository: &'a OpenRepository) -> Result<Self> {
        let view = View::new(repository)?;
        let index = Arc::clone(&view.index);
        let reader = BlobReader::new(repository)?;
        Ok(Self { view, index, reader, window: 0, windows: VecDeque::new() })
    }

    /// Whole packs will be read, piece by piece: over a network, neighbours are read at once.
    pub(super) fn reads_all_of(&mut self, repository: &OpenRepository) {
        self.window = if repository.backend().is_far() { WINDOW } else { 0 };
    }

    /// Gives the bytes of a file from `start` to `end` to `take`. Pieces before and behind these are not
    /// read.
    ///
    /// # Errors
    /// If they can't be read, or are not what was backed up; what `take` returns; if the run ends.
    pub(super) fn file(
        &mut self,
        node: &Node,
        path: &str,
        (start, end): (u64, u64),
        take: &mut dyn FnMut(Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let mut at = 0_u64;
        for id in node.content.iter().flatten() {
            if at >= end {
                break;
            }
            scope::goes_on(READING)?;
            let id = HexHash::of(id);
            let place = self.place(&id, path)?;
            let next = at + u64::from(place.content_length());
            if next > start {
                let mut piece = self.piece(&id, &place, path)?;
                let part = |at_byte: u64| {
                    usize::try_from(at_byte.saturating_sub(at)).unwrap_or(usize::MAX)
                };
                piece.truncate(part(end).min(piece.len()));
                piece.drain(..part(start).min(piece.len()));
                take(piece)?;
            }
            at = next;
        }
        Ok(())
    }

    /// The bytes of a whole file, by the index.
    ///
    /// # Errors
    /// If a piece is missing.
    pub(super) fn length(&self, node: &Node, path: &str) -> Result<u64> {
        let mut length = 0;
        for id in node.content.iter().flatten() {
            length += u64::from(self.place(&HexHash::of(id), path)?.content_length());
        }
        Ok(length)
    }

    /// A piece of a file.
    ///
    /// # Errors
    /// If it can't be read, or is not what was backed up; if the run ends.
    pub(super) fn read(&mut self, id: &DataId, path: &str) -> Result<Vec<u8>> {
        scope::goes_on(READING)?;
        let id = HexHash::of(id);
        let place = self.place(&id, path)?;
        self.piece(&id, &place, path)
    }

    /// What lies there, as it was read before, or is read now.
    fn sealed(&mut self, place: &Location) -> Result<Vec<u8>> {
        if let Some(known) = self.windows.iter().find_map(|window| window.part(place)) {
            return Ok(known.to_vec());
        }
        if self.window <= place.length {
            return self.reader.stretch(&place.pack, place.offset, place.length);
        }
        // The pack may end before the window does.
        let content = self.reader.stretch(&place.pack, place.offset, self.window)?;
        let window = Window { pack: place.pack, offset: place.offset, content };
        let Some(sealed) = window.part(place).map(<[u8]>::to_vec) else {
            return self.reader.stretch(&place.pack, place.offset, place.length);
        };
        self.windows.push_back(window);
        if self.windows.len() > MOST_WINDOWS {
            self.windows.pop_front();
        }
        Ok(sealed)
    }

    fn place(&self, id: &Hash, path: &str) -> Result<Location> {
        self.index.find(BlobType::Data, id).ok_or_else(|| {
            let message = format!("a piece of \"/{path}\" is missing in the backup");
            Error::new(ErrorKind::Repository, message)
                .with_hint("an older or a newer backup may have it: \"find\" lists them")
        })
    }

    fn piece(&mut self, id: &Hash, place: &Location, path: &str) -> Result<Vec<u8>> {
        let what = || format!("cannot read \"/{path}\" in the backup");
        let mut sealed = self.sealed(place)?;
        let content = self.reader.piece(&mut sealed, (id, place), &what)?;
        Ok(content.to_vec())
    }
}
