//! The entries of trees, in the JSON that restic and rustic write: the same file has the same text.

use std::{ffi::OsStr, io::Write as _, os::unix::ffi::OsStrExt as _};

use jiff::{Timestamp, tz::TimeZone};
use rustic_core::repofile::{Metadata, Node, NodeType};

use crate::{
    daemon::repository::{Hash, HexHash},
    error::{Error, Result},
};

/// What an entry refers to.
pub(super) enum Refers<'a> {
    Nothing,
    /// The chunks of a file, in their order.
    Chunks(&'a [Hash]),
    /// The tree of a folder.
    Tree(&'a Hash),
}

/// Adds an entry to the text of a tree.
///
/// # Errors
/// Only from a defect: writing to memory does not fail.
pub(super) fn write(
    text: &mut Vec<u8>,
    name: &[u8],
    kind: &NodeType,
    meta: &Metadata,
    refers: &Refers<'_>,
) -> Result<()> {
    try_write(text, name, kind, meta, refers)
        .map_err(|error| Error::internal(format!("an entry can't be written: {error}")))
}

fn try_write(
    text: &mut Vec<u8>,
    name: &[u8],
    kind: &NodeType,
    meta: &Metadata,
    refers: &Refers<'_>,
) -> std::io::Result<()> {
    text.extend_from_slice(b"{\"name\":");
    match std::str::from_utf8(name) {
        Ok(plain) if !plain.contains(|c: char| c.is_control() || c == '"' || c == '\\') => {
            serde_json::to_writer(&mut *text, plain)?;
        }
        _ => {
            let name = OsStr::from_bytes(name);
            let quoted = Node::new_node(name, NodeType::File, Metadata::default()).name;
            serde_json::to_writer(&mut *text, &quoted)?;
        }
    }
    text.push(b',');
    match kind {
        NodeType::File => text.extend_from_slice(b"\"type\":\"file\""),
        NodeType::Dir => text.extend_from_slice(b"\"type\":\"dir\""),
        other => {
            let other = serde_json::to_vec(other)?;
            text.extend_from_slice(&other[1..other.len() - 1]);
        }
    }
    write_metadata(text, meta)?;
    text.extend_from_slice(b",\"content\":");
    match refers {
        Refers::Chunks(chunks) => {
            text.push(b'[');
            for (at, chunk) in chunks.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                write!(text, "{comma}\"{}\"", HexHash(*chunk))?;
            }
            text.push(b']');
        }
        Refers::Nothing | Refers::Tree(_) => text.extend_from_slice(b"null"),
    }
    if let Refers::Tree(tree) = refers {
        write!(text, ",\"subtree\":\"{}\"", HexHash(**tree))?;
    }
    text.push(b'}');
    Ok(())
}

fn write_metadata(text: &mut Vec<u8>, meta: &Metadata) -> std::io::Result<()> {
    if let Some(mode) = meta.mode {
        write!(text, ",\"mode\":{mode}")?;
    }
    let zone = TimeZone::system();
    for (name, time) in [("mtime", meta.mtime), ("atime", meta.atime), ("ctime", meta.ctime)] {
        if let Some(time) = time {
            write!(text, ",\"{name}\":\"{}\"", in_zone(time, &zone))?;
        }
    }
    for (name, id) in [("uid", meta.uid), ("gid", meta.gid)] {
        if let Some(id) = id {
            write!(text, ",\"{name}\":{id}")?;
        }
    }
    for (name, number) in [
        ("inode", meta.inode),
        ("device_id", meta.device_id),
        ("size", meta.size),
        ("links", meta.links),
    ] {
        if number != 0 {
            write!(text, ",\"{name}\":{number}")?;
        }
    }
    if !meta.extended_attributes.is_empty() {
        text.extend_from_slice(b",\"extended_attributes\":");
        serde_json::to_writer(&mut *text, &meta.extended_attributes)?;
    }
    Ok(())
}

/// A time as rustic writes it, with the offset of the system's time zone.
fn in_zone(time: Timestamp, zone: &TimeZone) -> jiff::TimestampDisplayWithOffset {
    time.display_with_offset(zone.to_offset(time))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustic_core::{DataId, Id, TreeId};

    use super::*;

    #[test]
    fn an_entry_is_the_text_that_rustic_writes() {
        let time = |second| Timestamp::new(second, 123_456_000).ok();
        let attributes = serde_json::json!([
            { "name": "user.a", "value": "AQI=" }, { "name": "user.b", "value": "" }
        ]);
        let meta = Metadata {
            mode: Some(0o644),
            mtime: time(1_700_000_000),
            atime: time(-5),
            ctime: None,
            uid: Some(0),
            gid: Some(7),
            inode: 9,
            size: 1_000_000,
            extended_attributes: serde_json::from_value(attributes).unwrap(),
            ..Metadata::default()
        };
        let (chunks, tree) = ([[1; 32], [0xab; 32]], [7; 32]);
        let names: [&[u8]; 5] = [
            b"plain",
            "\u{e4}\u{2028}".as_bytes(),
            b"q\"\\\n\t\x01\x7f",
            b"latin1-\xe9\xff",
            b"<&>",
        ];
        for name in names {
            for (kind, refers) in [
                (NodeType::File, Refers::Chunks(&chunks)),
                (NodeType::File, Refers::Chunks(&[])),
                (NodeType::Dir, Refers::Tree(&tree)),
                (NodeType::Fifo, Refers::Nothing),
                (NodeType::Chardev { device: 259 }, Refers::Nothing),
                (NodeType::from_link(Path::new("/a \"b\"")), Refers::Nothing),
                (NodeType::from_link(Path::new(OsStr::from_bytes(b"\xe9"))), Refers::Nothing),
            ] {
                for meta in [&meta, &Metadata::default()] {
                    let mut node =
                        Node::new_node(OsStr::from_bytes(name), kind.clone(), meta.clone());
                    match refers {
                        Refers::Chunks(chunks) => {
                            let id = |chunk: &Hash| DataId::from(Id::new(*chunk));
                            node.content = Some(chunks.iter().map(id).collect());
                        }
                        Refers::Tree(tree) => node.subtree = Some(TreeId::from(Id::new(*tree))),
                        Refers::Nothing => {}
                    }
                    let mut text = Vec::new();
                    write(&mut text, name, &kind, meta, &refers).unwrap();
                    let wanted = serde_json::to_string(&node).unwrap();
                    assert_eq!(String::from_utf8(text).unwrap(), wanted);
                }
            }
        }
    }
}
