//! Reading blobs by the compact index. A part of a pack is read at once, and what is in it opened
//! piece by piece.

use rustic_core::{
    Id,
    repofile::{BlobType, Tree},
};

use super::{
    cipher::{Coder, Hash, hash},
    folder_entries::FolderEntries,
    index::{Index, Location},
    open::OpenRepository,
};
use crate::error::{Error, ErrorKind, Result};

/// Reads blobs. Its buffers are used again, so each thread has its own.
pub(crate) struct BlobReader<'a> {
    repository: &'a OpenRepository,
    coder: Coder,
}

impl<'a> BlobReader<'a> {
    /// A reader for the repository.
    ///
    /// # Errors
    /// If its settings are not known, or memory is short.
    pub(crate) fn new(repository: &'a OpenRepository) -> Result<Self> {
        Ok(Self { repository, coder: repository.coder()? })
    }

    /// A part of a pack. Less may come if the pack is too short.
    ///
    /// # Errors
    /// If the storage can't read it. [`ErrorKind::Repository`] if the pack is missing.
    pub(crate) fn stretch(&self, pack: &Id, offset: u32, length: u32) -> Result<Vec<u8>> {
        self.repository.backend().read_stretch(pack, offset, length).map(Vec::from)
    }

    /// Opens a piece of a file, and checks that it is what was backed up. A damaged piece is
    /// remembered, as by [`OpenRepository::piece`].
    ///
    /// # Errors
    /// If the piece is damaged: what was tried (`what`), and why it failed.
    pub(crate) fn piece<'b>(
        &'b mut self,
        sealed: &'b mut [u8],
        (id, at): (&Hash, &Location),
        what: &dyn Fn() -> String,
    ) -> Result<&'b [u8]> {
        let repository = self.repository;
        let wrong = |error| repository.lost(id, error);
        match self.coder.open_blob_in_place(sealed, at.raw_length) {
            Ok(content) if hash(content) == *id => Ok(content),
            Ok(_) => Err(wrong(changed(&what()))),
            Err(error) => Err(wrong(damaged(&what(), &at.pack, &error))),
        }
    }

    /// Whether a sealed blob can be opened, and is what was backed up.
    pub(crate) fn is_blob(&mut self, sealed: &mut [u8], id: &Hash, at: &Location) -> bool {
        self.coder.hash_blob(sealed, at.raw_length).is_ok_and(|hash| hash == *id)
    }

    /// Whether a tree that lies there can be read, and is what was backed up.
    pub(crate) fn has_tree(&mut self, id: &Hash, at: &Location) -> bool {
        let sealed = self.repository.backend().read_tree(&at.pack, at.offset, at.length);
        sealed.is_ok_and(|sealed| self.is_blob(&mut Vec::from(sealed), id, at))
    }

    /// Whether a blob that lies there can be read, and is what was backed up.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) fn is_whole(&mut self, id: &Hash, at: &Location) -> Result<bool> {
        let sealed = self.stretch(&at.pack, at.offset, at.length);
        match sealed {
            Ok(mut sealed) => Ok(self.is_blob(&mut sealed, id, at)),
            Err(error) if error.kind == ErrorKind::Repository => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The blobs in a pack that can't be read, or are not what was backed up.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) fn damaged_in(
        &mut self,
        index: &Index,
        pack: &Id,
    ) -> Result<Vec<(BlobType, Hash, Location)>> {
        let blobs = index.blobs_in(pack);
        let end = blobs.last().map_or(0, |(_, _, at)| at.offset.saturating_add(at.length));
        let mut whole = match self.stretch(pack, 0, end) {
            Ok(whole) => Some(whole),
            // A disk may still give some of it.
            Err(error) if error.kind == ErrorKind::Repository => None,
            Err(error) => return Err(error),
        };
        let mut damaged = Vec::new();
        for (kind, id, at) in blobs {
            let is_whole = match &mut whole {
                Some(content) => {
                    let rest = content.get_mut(at.offset as usize..);
                    let sealed = rest.and_then(|rest| rest.get_mut(..at.length as usize));
                    sealed.is_some_and(|sealed| self.is_blob(sealed, &id, &at))
                }
                None => self.is_whole(&id, &at)?,
            };
            if !is_whole {
                damaged.push((kind, id, at));
            }
        }
        Ok(damaged)
    }

    /// Reads the tree of a folder, and checks that it is what was backed up.
    ///
    /// # Errors
    /// If the tree can't be read: what was tried (`what`), and why it failed.
    pub(crate) fn tree(
        &mut self,
        index: &Index,
        id: &Hash,
        what: &dyn Fn() -> String,
    ) -> Result<FolderEntries> {
        let (at, mut sealed) = self.sealed_tree(index, id, what)?;
        let failed = |error: Error| damaged(&what(), &at.pack, &error);
        if let Some((hash, packed)) =
            self.coder.open_large(&mut sealed, at.raw_length).map_err(failed)?
        {
            if hash != *id {
                return Err(changed(&what()));
            }
            return FolderEntries::packed(packed).map_err(|error| no_folder(&what(), &error));
        }
        let (hash, tree) = self.coder.parse_blob(&mut sealed, at.raw_length).map_err(failed)?;
        if hash != *id {
            return Err(changed(&what()));
        }
        tree.map(|tree: Tree| tree.into()).map_err(|error| no_folder(&what(), &error))
    }

    /// As [`BlobReader::tree`], with the text of which the tree was read.
    ///
    /// # Errors
    /// As [`BlobReader::tree`].
    pub(crate) fn tree_with_text(
        &mut self,
        index: &Index,
        id: &Hash,
        what: &dyn Fn() -> String,
    ) -> Result<(Vec<u8>, Tree)> {
        let (at, sealed) = self.sealed_tree(index, id, what)?;
        let opened = self.coder.open_blob(&sealed, at.raw_length);
        let text = opened.map_err(|error| damaged(&what(), &at.pack, &error))?;
        if hash(&text) != *id {
            return Err(changed(&what()));
        }
        let tree = serde_json::from_slice(&text).map_err(|error| no_folder(&what(), &error))?;
        Ok((text, tree))
    }

    fn sealed_tree(
        &self,
        index: &Index,
        id: &Hash,
        what: &dyn Fn() -> String,
    ) -> Result<(Location, Vec<u8>)> {
        let Some(at) = index.find(BlobType::Tree, id) else {
            let message = format!("{}: it is missing in the index", what());
            return Err(Error::new(ErrorKind::Repository, message));
        };
        let sealed = self.repository.backend().read_tree(&at.pack, at.offset, at.length)?;
        Ok((at, sealed.into()))
    }
}

fn no_folder(what: &str, error: &dyn std::error::Error) -> Error {
    Error::new(ErrorKind::Repository, format!("{what}: it is no folder: {error}"))
}

fn changed(what: &str) -> Error {
    Error::new(ErrorKind::Repository, format!("{what}: it is not what was backed up"))
}

fn damaged(what: &str, pack: &Id, error: &Error) -> Error {
    log::debug!("{what}: {error}");
    let pack = pack.to_hex();
    let message = format!("{what}: it is damaged in the pack {}", pack.as_str());
    Error::new(ErrorKind::Repository, message)
}
