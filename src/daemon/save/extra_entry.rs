//! Writes the entries of files that a snapshot has and the volume's folder has not.

use rustic_core::repofile::{Metadata, NodeType};

use super::{
    extra::ExtraFile,
    node::{self, Refers},
    run::Run,
};
use crate::error::{Error, ErrorKind, Result};

/// A file is for its owner alone, who is that of the volume's folder: it may have passwords.
const MODE: u32 = 0o600;

impl ExtraFile {
    /// Adds the file's entry to the text of the volume's folder, which has this metadata.
    ///
    /// # Errors
    /// If the content is not in the repository any more.
    pub(super) fn write(&self, run: &Run<'_>, volume: &Metadata, text: &mut Vec<u8>) -> Result<()> {
        let path = self.path();
        if !run.blobs.has_all(&self.content.chunks) {
            let message = format!("the dump \"{path}\" is not whole in the repository");
            return Err(Error::new(ErrorKind::Repository, message));
        }
        let time = Some(self.modified);
        let meta = Metadata {
            mode: Some(MODE),
            mtime: time,
            atime: time,
            ctime: time,
            uid: volume.uid,
            gid: volume.gid,
            size: self.content.bytes,
            links: 1,
            ..Metadata::default()
        };
        if !text.is_empty() {
            text.push(b',');
        }
        let refers = Refers::Chunks(&self.content.chunks);
        node::write(text, path.as_bytes(), &NodeType::File, &meta, &refers)?;
        run.counts.files.new.add(1);
        run.counts.bytes.add(self.content.bytes);
        Ok(())
    }
}
