//! Whether the files of a volume are still those of a snapshot.

use std::{
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    vec,
};

use jiff::Timestamp;
use rustic_core::{
    BlobId, Id, TreeId,
    repofile::{BlobType, Metadata, Node, Tree},
};

use super::{failures::ReadFailures, file::ListedFile, walk::Walk};
use crate::{
    daemon::{
        repository::{Indexed, OpenRepository, hash},
        tree::{left_out::is_left_out, open::path_in_volume, settled::settled_before},
    },
    error::{Error, ErrorKind, Result},
    exclude::VolumeExcludes,
};

/// The first path in the volume that is not as in the snapshot; `None` if all are. Access times
/// don't count, and neither do paths in the volume that are `left_out` or excluded. `begun` is when the snapshot was
/// begun.
///
/// # Errors
/// If a file or the repository can't be read.
pub(in crate::daemon) fn first_difference(
    repository: &OpenRepository,
    (tree, left_out): (TreeId, &dyn Fn(&Path) -> bool),
    (folder, volume, excludes): (&Path, &str, Option<&VolumeExcludes>),
    begun: Timestamp,
) -> Result<Option<PathBuf>> {
    let indexed = repository.indexed()?;
    let failures = Arc::new(ReadFailures::default());
    let shown = Path::new("/").join(volume);
    let walk = Walk::new(folder, &shown, failures.clone(), excludes);
    let emptied = walk.emptied();
    // The walk is never behind the snapshot's, so it knows of each folder first.
    let is_out = |path: &Path| {
        let is_emptied = || {
            let emptied = emptied.borrow();
            let stays = path.parent().and_then(|folder| emptied.get(folder));
            stays.zip(path.file_name()).is_some_and(|(stays, name)| {
                !stays.iter().any(|it| it.to_bytes() == name.as_bytes())
            })
        };
        let path_in_volume = path_in_volume(path);
        left_out(path_in_volume)
            || excludes.is_some_and(|excludes| is_left_out(excludes, path_in_volume))
            || is_emptied()
    };
    let (levels, at) = (Vec::new(), PathBuf::from("/"));
    let mut there = SnapshotWalk { repository, indexed: &indexed, levels, at, left_out: &is_out };
    there.enter(&tree)?;
    let settled_before = settled_before(begun, folder);
    for entry in walk {
        if left_out(path_in_volume(&entry.path)) {
            continue;
        }
        let differs = || Ok(Some(path_in_volume(&entry.path).to_owned()));
        let Some((path, node)) = there.next()? else { return differs() };
        if path != entry.path
            || node.node_type != entry.node.node_type
            || essential(&node.meta) != essential(&entry.node.meta)
        {
            return differs();
        }
        let Some(file) = entry.open else { continue };
        let changed = node.meta.mtime.max(node.meta.ctime);
        if changed.is_none_or(|changed| changed >= settled_before)
            && !there.has_content(&node, file)?
        {
            return differs();
        }
    }
    // Of what can't be read, nobody knows whether it has changed.
    failures.error(volume).map_or(Ok(()), Err)?;
    Ok(there.next()?.map(|(path, _)| path_in_volume(&path).to_owned()))
}

/// Metadata without what reading a file or starting the host changes.
fn essential(meta: &Metadata) -> Metadata {
    Metadata { atime: None, device_id: 0, ..meta.clone() }
}

/// The snapshot's files, in the order in which a volume is walked.
struct SnapshotWalk<'a> {
    repository: &'a OpenRepository,
    indexed: &'a Indexed,
    levels: Vec<vec::IntoIter<Node>>,
    /// The path of the folder that is walked.
    at: PathBuf,
    left_out: &'a dyn Fn(&Path) -> bool,
}

impl SnapshotWalk<'_> {
    /// Enters the folder of the path.
    fn enter(&mut self, tree: &TreeId) -> Result<()> {
        let what = format!("cannot read the folder \"{}\" of the snapshot", self.at.display());
        let read = self.indexed.get_blob_cached(&BlobId::from(**tree), BlobType::Tree);
        let text = read.map_err(|error| self.repository.failure(&what, &error))?;
        let wrong = |why: String| Error::new(ErrorKind::Repository, format!("{what}: {why}"));
        // Any member of the repository can write an index that says otherwise.
        if Id::new(hash(&text)) != **tree {
            return Err(wrong("it is not what was backed up".to_owned()));
        }
        let tree: Tree = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("it is no folder: {error}")))?;
        self.levels.push(tree.nodes.into_iter());
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(PathBuf, Node)>> {
        loop {
            let Some(nodes) = self.levels.last_mut() else { return Ok(None) };
            let Some(node) = nodes.next() else {
                self.levels.pop();
                self.at.pop();
                continue;
            };
            let path = self.at.join(node.name());
            if (self.left_out)(&path) {
                continue;
            }
            if let Some(tree) = node.subtree {
                self.at.clone_from(&path);
                self.enter(&tree)?;
            }
            return Ok(Some((path, node)));
        }
    }

    /// Whether the file has the snapshot's content.
    fn has_content(&self, node: &Node, file: ListedFile) -> Result<bool> {
        let Some(mut reader) = file.open() else { return Ok(false) };
        for piece in node.content.iter().flatten() {
            let kept = self.repository.piece(self.indexed, piece, "cannot read the snapshot")?;
            let mut there = vec![0; kept.len()];
            if reader.read_exact(&mut there).is_err() || there != kept {
                return Ok(false);
            }
        }
        Ok(matches!(reader.read(&mut [0]), Ok(0)))
    }
}
