//! Names of the same file. An inode's number can be used again while a volume is read, so it alone
//! does not tell that two names are one file.

use std::{collections::HashMap, ffi::CString, fmt::Write as _, sync::Arc};

use rustic_core::repofile::Node;

use crate::daemon::{
    repository::{Hash, hash},
    tree::folder_handles::TreeFolder,
};

/// What two entries have in common if they are names of one file: `None` for an entry with one
/// name. It is a hash of the device, the inode, the kind, the size, the times, the owner, the mode, the
/// attributes and the content.
pub(super) fn identity(node: &Node) -> Option<Hash> {
    if node.meta.links < 2 || node.is_dir() {
        return None;
    }
    let meta = &node.meta;
    let mut text = format!(
        "{} {} {:?} {} {:?} {:?} {:?} {:?} {:?} {:?}",
        meta.device_id,
        meta.inode,
        node.node_type,
        meta.size,
        meta.mtime,
        meta.ctime,
        meta.uid,
        meta.gid,
        meta.mode,
        meta.extended_attributes
    );
    for piece in node.content.iter().flatten() {
        // Writing to memory does not fail.
        _ = write!(text, " {}", piece.to_hex().as_str());
    }
    Some(hash(text.as_bytes()))
}

/// The first name of each file with several names.
#[derive(Default)]
pub(super) struct FirstNames(HashMap<Hash, (Arc<TreeFolder>, CString)>);

impl FirstNames {
    pub(super) fn find(&self, identity: &Hash) -> Option<&(Arc<TreeFolder>, CString)> {
        self.0.get(identity)
    }

    pub(super) fn add(&mut self, identity: Hash, folder: Arc<TreeFolder>, name: CString) {
        self.0.insert(identity, (folder, name));
    }
}

#[cfg(test)]
mod tests {
    use rustic_core::{
        DataId, Id, TreeId,
        jiff::Timestamp,
        repofile::{Metadata, NodeType},
    };

    use super::*;

    fn node(change: impl FnOnce(&mut Node)) -> Option<Hash> {
        let meta = Metadata {
            inode: 5,
            device_id: 1,
            size: 3,
            links: 2,
            mtime: Timestamp::from_second(7).ok(),
            ctime: Timestamp::from_second(8).ok(),
            ..Metadata::default()
        };
        let mut node = Node::new_node("a".as_ref(), NodeType::File, meta);
        node.content = Some(vec![DataId::from(Id::new([1; 32]))]);
        change(&mut node);
        identity(&node)
    }

    #[test]
    fn two_names_are_one_file_only_if_all_that_is_known_of_it_agrees() {
        let one = node(|_| {});
        assert!(one.is_some());
        assert_eq!(node(|node| node.name = "b".into()), one);
        let later = Timestamp::from_second(9).ok();
        for other in [
            node(|node| node.meta.inode = 6),
            node(|node| node.meta.device_id = 2),
            node(|node| node.meta.size = 4),
            node(|node| node.meta.mtime = later),
            node(|node| node.meta.ctime = later),
            node(|node| node.meta.uid = Some(1)),
            node(|node| node.meta.gid = Some(1)),
            node(|node| node.meta.mode = Some(0o600)),
            node(|node| {
                let attributes = serde_json::json!([{ "name": "user.a", "value": "YQ==" }]);
                node.meta.extended_attributes = serde_json::from_value(attributes).unwrap();
            }),
            node(|node| node.node_type = NodeType::Fifo),
            node(|node| node.content = Some(vec![DataId::from(Id::new([2; 32]))])),
        ] {
            assert!(other.is_some() && other != one);
        }
        assert_eq!(node(|node| node.meta.links = 1), None);
        let folder = |node: &mut Node| {
            node.node_type = NodeType::Dir;
            node.subtree = Some(TreeId::default());
        };
        assert_eq!(node(folder), None);
    }
}
