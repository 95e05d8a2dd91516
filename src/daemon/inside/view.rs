//! A backup's folders, as they are walked.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, sync::Arc};

use rustic_core::{TreeId, repofile::Node};

use crate::{
    daemon::repository::{BlobReader, FolderEntries, HexHash, Index, OpenRepository},
    error::{Error, ErrorKind, Result},
    scope, suggest,
};

const LOOKING: &str = "a backup was looked into";
/// So many names of a folder are compared with one that is not in it.
const COMPARED: usize = 10_000;

/// What trees are read with.
pub(super) struct View<'a> {
    pub(super) index: Arc<Index>,
    reader: BlobReader<'a>,
}

impl<'a> View<'a> {
    /// # Errors
    /// If the repository can't be read.
    pub(super) fn new(repository: &'a OpenRepository) -> Result<Self> {
        Ok(Self { index: repository.index()?, reader: BlobReader::new(repository)? })
    }

    /// What is in a folder of the backup.
    ///
    /// # Errors
    /// If that can't be read, or if the run ends.
    pub(super) fn entries(&mut self, tree: &TreeId, path: &str) -> Result<FolderEntries> {
        scope::goes_on(LOOKING)?;
        let what = || format!("cannot read the folder \"/{path}\" of the backup");
        self.reader.tree(&self.index, &HexHash::of(tree), &what)
    }

    /// The volume's own folder.
    ///
    /// # Errors
    /// If it can't be read, or if the backup is not of one folder.
    pub(super) fn top(&mut self, tree: &TreeId) -> Result<Node> {
        let mut entries = self.entries(tree, "")?;
        match (entries.next()?, entries.next()?) {
            (Some(top), None) if top.subtree.is_some() => Ok(top),
            _ => Err(Error::new(
                ErrorKind::Repository,
                "the backup does not hold exactly one folder",
            )),
        }
    }

    /// What is at a path.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if nothing is, with names that are alike; if a folder can't be read.
    pub(super) fn at(&mut self, tree: &TreeId, path: &str) -> Result<Node> {
        let mut node = self.top(tree)?;
        let mut so_far = String::new();
        for name in names(path) {
            let Some(subtree) = &node.subtree else {
                let message = format!("\"/{so_far}\" in the backup is no folder");
                return Err(Error::new(ErrorKind::NotFound, message));
            };
            let entries = self.entries(subtree, &so_far)?;
            node = named(entries, name, &so_far)?;
            so_far = below(&so_far, name);
        }
        Ok(node)
    }
}

/// The entry of a folder that has this name, or that is shown so.
fn named(mut entries: FolderEntries, name: &str, folder: &str) -> Result<Node> {
    let mut shown_so = None;
    let mut others = Vec::new();
    while let Some(node) = entries.next()? {
        if node.name().as_bytes() == name.as_bytes() {
            return Ok(node);
        }
        let text = shown(&node.name());
        if text == name {
            shown_so.get_or_insert(node);
        } else if others.len() < COMPARED {
            others.push(text);
        }
    }
    shown_so.ok_or_else(|| {
        let message = format!("the backup has no \"/{}\"", below(folder, name));
        let folder = if folder.is_empty() { "it".to_owned() } else { format!("\"/{folder}\"") };
        let first = others.iter().take(5).map(|name| format!("\"{name}\"")).collect::<Vec<_>>();
        let more = if others.len() > first.len() { ", .." } else { "" };
        let has = match first.is_empty() {
            true => format!("{folder} is empty"),
            false => format!("{folder} has {}{more}", first.join(", ")),
        };
        let hint = suggest::did_you_mean_or(name, others.iter().map(String::as_str), &has);
        Error::new(ErrorKind::NotFound, message).with_hint(hint)
    })
}

/// The names in a path. Slashes at its ends, and `.`, count for nothing.
pub(super) fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}

/// The path of something in a folder.
pub(super) fn below(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// A name as it is shown.
pub(super) fn shown(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}
