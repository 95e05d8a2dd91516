//! Index files, made anew without what is lost. The new one is there before the old one goes, so other
//! hosts find all that is there at any time.

use std::collections::HashSet;

use rustic_core::{
    FileType, Id, WriteBackend as _,
    repofile::{IndexFile, IndexPack},
};

use super::{
    cipher::{Coder, hash},
    index::UnreadFile,
    open::OpenRepository,
};
use crate::error::{Error, ErrorKind, Result};

impl OpenRepository {
    /// Writes an index file.
    ///
    /// # Errors
    /// If it can't be written.
    pub(crate) fn write_index(&self, index: &IndexFile) -> Result<Id> {
        let text = serde_json::to_vec(index).map_err(|error| Error::internal(error.to_string()))?;
        let sealed = self.coder()?.seal_file(&text)?;
        let id = Id::new(hash(&sealed));
        self.backend().write_file(FileType::Index, &id, sealed.into())?;
        Ok(id)
    }

    /// Takes packs out of all index files, and marks some for deletion.
    ///
    /// # Errors
    /// If an index file can't be read, written or removed. All that is there is still named then.
    pub(crate) fn forget_packs(
        &self,
        packs: &HashSet<Id>,
        mut marks: Vec<IndexPack>,
    ) -> Result<()> {
        let (index, coder) = (self.whole_index()?, self.coder()?);
        let mut old = Vec::new();
        for (id, _) in index.files() {
            let Some(mut file) = self.index_file(&coder, id)? else { continue };
            let before = file.packs.len();
            file.packs.retain(|pack| !packs.contains(&*pack.id));
            if file.packs.len() == before {
                continue;
            }
            file.packs_to_delete.append(&mut marks);
            if !file.packs.is_empty() || !file.packs_to_delete.is_empty() {
                self.write_index(&file)?;
            }
            old.push(*id);
        }
        self.forget_index();
        self.backend().flush()?;
        old.iter().try_for_each(|id| self.remove_index(id))
    }

    /// What is in an index file; `None` if it is gone, or can't be read.
    fn index_file(&self, coder: &Coder, id: &Id) -> Result<Option<IndexFile>> {
        let sealed = match self.backend().read_whole(FileType::Index, id) {
            Ok(sealed) => sealed,
            Err(error) if error.kind == ErrorKind::Repository => return Ok(None),
            Err(error) => return Err(error),
        };
        let opened = coder.open_file(sealed.into()).ok();
        Ok(opened.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// Removes index files that are damaged, once all packs are named by others. One that can be read by
    /// now, or never was of this repository, stays. Returns how many are removed.
    ///
    /// # Errors
    /// If one can't be removed.
    pub(crate) fn remove_damaged_index(&self, files: &[UnreadFile]) -> Result<usize> {
        let coder = self.coder()?;
        let mut removed = 0;
        for file in files.iter().filter(|file| !file.is_foreign) {
            if self.index_file(&coder, &file.id)?.is_none() {
                self.remove_index(&file.id)?;
                removed += 1;
            }
        }
        self.forget_index();
        Ok(removed)
    }

    fn remove_index(&self, id: &Id) -> Result<()> {
        let removed = self.backend().remove(FileType::Index, id, false);
        removed.map_err(|error| self.failure("cannot remove an index file", &error))
    }
}
