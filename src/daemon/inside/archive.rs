//! A file or a folder of a backup as a tar archive (pax), with owners, modes, times, links and attributes.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use jiff::Timestamp;
use rustic_core::repofile::{Metadata, Node, NodeType};
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc::Sender;

use super::{
    content::{Source, ToRead, send_one},
    entry::permissions_of,
    view::{below, shown},
};
use crate::error::{Error, ErrorKind, Result};

/// So much is sent at a time.
const PIECE: usize = 256 << 10;

/// Sends the archive. The names in it begin with the name of what was asked for; of the volume's own folder,
/// they are as in the volume.
///
/// # Errors
/// If something can't be read; if nobody takes it; if the run ends.
pub(super) fn send(
    source: &mut Source<'_>,
    to_read: &ToRead,
    pieces: &Sender<Result<Bytes>>,
) -> Result<()> {
    let output = Output { pieces, buffer: Vec::with_capacity(PIECE) };
    let mut archive = Archive { tar: Builder::new(output), firsts: HashMap::new() };
    archive.all(source, to_read.node(), &to_read.entry.path)?;
    let ended = archive.tar.into_inner().and_then(|mut output| output.flush());
    ended.map_err(|error| Error::io("cannot end the archive", &error))
}

/// Where the archive goes.
struct Output<'a> {
    pieces: &'a Sender<Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        send_one(self.pieces, piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A file that has several names: it is written once.
struct First {
    path: PathBuf,
    content: Option<Vec<rustic_core::DataId>>,
    modified: Option<Timestamp>,
}

struct Archive<'a> {
    tar: Builder<Output<'a>>,
    /// By device and inode.
    firsts: HashMap<(u64, u64), First>,
}

impl Archive<'_> {
    /// Writes something, and all below it. `path` is where it is in the volume.
    fn all(&mut self, source: &mut Source<'_>, node: &Node, path: &str) -> Result<()> {
        let top = if path.is_empty() {
            PathBuf::from(".")
        } else {
            PathBuf::from(node.name().into_owned())
        };
        self.one(source, node, &top, path)?;
        let Some(subtree) = &node.subtree else { return Ok(()) };
        let folder = if path.is_empty() { PathBuf::new() } else { top };
        let mut levels = vec![(source.view.entries(subtree, path)?, folder, path.to_owned())];
        while let Some((entries, folder, path)) = levels.last_mut() {
            let Some(node) = entries.next()? else {
                levels.pop();
                continue;
            };
            let path = below(path, &shown(&node.name()));
            is_name(&node, &path)?;
            let name = folder.join(node.name());
            self.one(source, &node, &name, &path)?;
            if let Some(subtree) = &node.subtree {
                levels.push((source.view.entries(subtree, &path)?, name, path));
            }
        }
        Ok(())
    }

    /// Writes one entry; `path` is for errors.
    fn one(&mut self, source: &mut Source<'_>, node: &Node, name: &Path, path: &str) -> Result<()> {
        let failed = |error: io::Error| {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()).cloned();
            match (error.kind(), cause) {
                (_, Some(cause)) => cause,
                (io::ErrorKind::BrokenPipe, _) => {
                    Error::new(ErrorKind::Cancelled, "nobody reads any more")
                }
                _ => Error::io(format!("cannot put \"/{path}\" into the archive"), &error),
            }
        };
        let mut header = header(&node.meta);
        let kind = match &node.node_type {
            NodeType::File => EntryType::Regular,
            NodeType::Dir => EntryType::Directory,
            NodeType::Symlink { .. } => EntryType::Symlink,
            NodeType::Fifo => EntryType::Fifo,
            NodeType::Dev { .. } => EntryType::Block,
            NodeType::Chardev { .. } => EntryType::Char,
            // A socket belongs to a program that runs.
            NodeType::Socket => return Ok(()),
        };
        header.set_entry_type(kind);
        if let NodeType::Dev { device } | NodeType::Chardev { device } = &node.node_type {
            let (major, minor) = (rustix::fs::major(*device), rustix::fs::minor(*device));
            header
                .set_device_major(major)
                .and_then(|()| header.set_device_minor(minor))
                .map_err(failed)?;
        }
        let first = (kind == EntryType::Regular).then(|| self.first(node, name)).flatten();
        if let Some(first) = first {
            header.set_entry_type(EntryType::Link);
            return self.tar.append_link(&mut header, name, first).map_err(failed);
        }
        self.extensions(&node.meta).map_err(failed)?;
        match kind {
            EntryType::Symlink => {
                let target = node.node_type.to_link();
                // As it is, where there is room for it.
                match header.set_link_name_literal(target.as_os_str().as_bytes()) {
                    Ok(()) => self.tar.append_data(&mut header, name, io::empty()).map_err(failed),
                    Err(_) => self.tar.append_link(&mut header, name, target).map_err(failed),
                }
            }
            EntryType::Regular => {
                header.set_size(source.length(node, path)?);
                let content = Reader { source, node, path, next: 0, piece: Vec::new(), at: 0 };
                self.tar.append_data(&mut header, name, content).map_err(failed)
            }
            _ => self.tar.append_data(&mut header, name, io::empty()).map_err(failed),
        }
    }

    /// What tar's own header has no place for.
    fn extensions(&mut self, meta: &Metadata) -> io::Result<()> {
        let needs_more = |time: &Timestamp| time.subsec_nanosecond() != 0 || time.as_second() < 0;
        let time = meta.mtime.filter(needs_more).map(|time| {
            let nanoseconds = time.as_nanosecond();
            let sign = if nanoseconds < 0 { "-" } else { "" };
            let (seconds, rest) =
                (nanoseconds.abs() / 1_000_000_000, nanoseconds.abs() % 1_000_000_000);
            format!("{sign}{seconds}.{rest:09}")
        });
        let names: Vec<_> = meta
            .extended_attributes
            .iter()
            .map(|attribute| format!("SCHILY.xattr.{}", attribute.name))
            .collect();
        let attributes = names.iter().zip(&meta.extended_attributes);
        let attributes = attributes.map(|(name, attribute)| {
            (name.as_str(), attribute.value.as_deref().unwrap_or_default())
        });
        let time = time.as_deref().map(|time| ("mtime", time.as_bytes()));
        self.tar.append_pax_extensions(time.into_iter().chain(attributes))
    }

    /// The path under which this file is in the archive already.
    fn first(&mut self, node: &Node, path: &Path) -> Option<PathBuf> {
        let meta = &node.meta;
        if meta.links < 2 || meta.inode == 0 {
            return None;
        }
        let id = (meta.device_id, meta.inode);
        let is_same = |first: &First| first.content == node.content && first.modified == meta.mtime;
        match self.firsts.get(&id) {
            Some(first) if is_same(first) => Some(first.path.clone()),
            Some(_) => None,
            None => {
                let (content, modified) = (node.content.clone(), meta.mtime);
                self.firsts.insert(id, First { path: path.to_owned(), content, modified });
                None
            }
        }
    }
}

/// Refuses what can't be a name: the repository may have been tampered with.
fn is_name(node: &Node, path: &str) -> Result<()> {
    let name = node.name();
    let name = name.as_bytes();
    if name.is_empty()
        || [&b"."[..], b".."].contains(&name)
        || name.contains(&b'/')
        || name.contains(&0)
    {
        let message = format!("\"/{path}\" in the backup is no name of a file");
        return Err(Error::new(ErrorKind::Repository, message)
            .with_hint("the repository is damaged, or was tampered with"));
    }
    Ok(())
}

fn header(meta: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(0);
    header.set_mode(permissions_of(meta));
    header.set_uid(meta.uid.unwrap_or_default().into());
    header.set_gid(meta.gid.unwrap_or_default().into());
    // Names that are too long for the field are left out: the numbers are there.
    _ = header.set_username(meta.user.as_deref().unwrap_or_default());
    _ = header.set_groupname(meta.group.as_deref().unwrap_or_default());
    let seconds = meta.mtime.map_or(0, |time| time.as_second());
    header.set_mtime(u64::try_from(seconds).unwrap_or_default());
    header
}

/// The content of a file, for the archive.
struct Reader<'a, 'b> {
    source: &'a mut Source<'b>,
    node: &'a Node,
    path: &'a str,
    /// The next piece.
    next: usize,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Reader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            let Some(id) = self.node.content.as_ref().and_then(|all| all.get(self.next)) else {
                return Ok(0);
            };
            self.piece = self.source.read(id, self.path).map_err(io::Error::other)?;
            (self.next, self.at) = (self.next + 1, 0);
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}
