//! What is told of an entry of a folder.

use rustic_core::repofile::{Metadata, Node, NodeType};

use crate::{
    convoy::inside::{EntryKind, FileEntry},
    daemon::tree::permissions,
};

/// An entry at this path in the volume.
pub(super) fn entry(path: String, node: &Node) -> FileEntry {
    let meta = &node.meta;
    let target = match &node.node_type {
        NodeType::Symlink { .. } => Some(node.node_type.to_link().to_string_lossy().into_owned()),
        _ => None,
    };
    let kind = kind(&node.node_type);
    FileEntry {
        path,
        kind,
        size: if kind == EntryKind::File { meta.size } else { 0 },
        modified: meta.mtime,
        mode: permissions_of(meta),
        uid: meta.uid.unwrap_or_default(),
        gid: meta.gid.unwrap_or_default(),
        user: meta.user.clone().filter(|name| !name.is_empty()),
        group: meta.group.clone().filter(|name| !name.is_empty()),
        target,
    }
}

/// The permissions, with set-user-id, set-group-id and sticky.
pub(super) fn permissions_of(meta: &Metadata) -> u32 {
    permissions(meta.mode.unwrap_or_default())
}

pub(super) fn kind(kind: &NodeType) -> EntryKind {
    match kind {
        NodeType::File => EntryKind::File,
        NodeType::Dir => EntryKind::Folder,
        NodeType::Symlink { .. } => EntryKind::Symlink,
        NodeType::Dev { .. } | NodeType::Chardev { .. } => EntryKind::Device,
        NodeType::Fifo => EntryKind::Fifo,
        NodeType::Socket => EntryKind::Socket,
    }
}
