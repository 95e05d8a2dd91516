//! The entries of a folder in a backup. Those of a huge folder are parsed one by one: all at once they
//! would take more memory than everything else.

use std::{
    io::{self, BufRead as _, BufReader, Cursor, Read as _},
    vec,
};

use rustic_core::repofile::{Node, Tree};
use serde::Deserialize as _;
use zstd::stream::read::Decoder;

use crate::error::{Error, ErrorKind, Result};

/// How a tree begins that can be parsed one by one, which is as restic and rustic write it.
const START: &[u8] = b"{\"nodes\":[";
/// So much is decompressed at a time.
const PIECE: usize = 128 << 10;

/// The entries of a folder, in the order of the tree.
pub(crate) enum FolderEntries {
    Few(vec::IntoIter<Node>),
    Many(Box<ManyEntries>),
}

impl FolderEntries {
    /// The next entry; `None` after the last one.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] if it is no entry.
    pub(crate) fn next(&mut self) -> Result<Option<Node>> {
        match self {
            Self::Few(nodes) => Ok(nodes.next()),
            Self::Many(many) => many.next().map_err(|error| {
                let message = format!("a folder of the backup has what is no entry: {error}");
                Error::new(ErrorKind::Repository, message)
            }),
        }
    }

    /// The entries that come next, as far as they are known.
    pub(crate) fn known(&self) -> &[Node] {
        match self {
            Self::Few(nodes) => nodes.as_slice(),
            Self::Many(_) => &[],
        }
    }
}

impl From<Tree> for FolderEntries {
    fn from(tree: Tree) -> Self {
        Self::Few(tree.nodes.into_iter())
    }
}

impl FolderEntries {
    /// The entries in what this holds from its position on, decompressed, which must be what was backed
    /// up.
    ///
    /// # Errors
    /// If it can't be decompressed, or parsed.
    pub(super) fn packed(mut packed: Cursor<Vec<u8>>) -> io::Result<Self> {
        let position = packed.position();
        let mut start = [0; START.len()];
        Decoder::with_buffer(&mut packed)?.read_exact(&mut start)?;
        packed.set_position(position);
        let mut text = BufReader::with_capacity(PIECE, Decoder::with_buffer(packed)?);
        if start != START {
            return Ok(serde_json::from_reader::<_, Tree>(text)?.into());
        }
        text.read_exact(&mut start)?;
        Ok(Self::Many(Box::new(ManyEntries { text, is_over: false })))
    }
}

/// The entries of a huge folder.
pub(crate) struct ManyEntries {
    text: BufReader<Decoder<'static, Cursor<Vec<u8>>>>,
    is_over: bool,
}

impl ManyEntries {
    fn next(&mut self) -> io::Result<Option<Node>> {
        loop {
            match self.text.fill_buf()?.first() {
                _ if self.is_over => return Ok(None),
                Some(b',' | b' ' | b'\n' | b'\r' | b'\t') => self.text.consume(1),
                Some(b']') => self.is_over = true,
                _ => break,
            }
        }
        // An object ends with its last byte, so nothing behind it is read.
        let mut parser = serde_json::Deserializer::from_reader(&mut self.text);
        Ok(Some(Node::deserialize(&mut parser)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names, and whether the entries were parsed one by one.
    fn names(text: &str) -> io::Result<(Vec<String>, bool)> {
        let packed = zstd::bulk::compress(text.as_bytes(), 3).unwrap();
        let mut entries = FolderEntries::packed(Cursor::new(packed))?;
        let mut names = Vec::new();
        while let Some(node) = entries.next().map_err(io::Error::other)? {
            names.push(node.name);
        }
        assert!(entries.next().unwrap().is_none());
        Ok((names, matches!(entries, FolderEntries::Many(_))))
    }

    #[test]
    fn entries_that_are_parsed_one_by_one_are_those_of_the_whole_tree() {
        let node = |name: &str| {
            format!(r#"{{"name":"{name}","type":"symlink","linktarget":"]}},{{","content":null}}"#)
        };
        let text =
            |between: &str| format!("{{\"nodes\":[{}{between}{}]}}\n", node("a"), node("b]"));
        for between in [",", " ,\n  "] {
            let whole: Tree = serde_json::from_str(&text(between)).unwrap();
            let wanted: Vec<_> = whole.nodes.into_iter().map(|node| node.name).collect();
            assert_eq!(names(&text(between)).unwrap(), (wanted, true));
        }
        assert_eq!(names("{\"nodes\":[]}").unwrap(), (Vec::new(), true));
        assert_eq!(names("{ \"nodes\": [] }").unwrap(), (Vec::new(), false));
        assert!(names("{\"nodes\":[7]}").is_err());
        assert!(names(&text(",")[..60]).is_err(), "the end is missing");
    }
}
