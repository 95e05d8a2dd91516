//! The proof that a backup is whole, without reading the content of its files. The proof reads the
//! backup's folders, finds every piece in the index, and checks that the packs with these pieces
//! exist and have the right sizes.

use std::{collections::HashSet, path::PathBuf};

use rustic_core::{
    RusticError, TreeId,
    repofile::{IndexFile, NodeType, PackId},
};

use crate::{
    daemon::repository::OpenRepository,
    error::{Error, ErrorKind, Result},
};

/// Proves that everything in a tree is there.
///
/// # Errors
/// [`ErrorKind::Repository`] if something is missing; another kind if that can't be determined.
pub(super) fn prove(repository: &OpenRepository, tree: TreeId) -> Result<()> {
    let packs = packs_of(repository, tree)?;
    prove_packs(repository, packs)
}

/// The packs that hold the content of a tree.
fn packs_of(repository: &OpenRepository, tree: TreeId) -> Result<HashSet<PackId>> {
    let indexed = repository.indexed()?;
    let (mut visited, mut packs) = (HashSet::new(), HashSet::new());
    let mut waiting = vec![(tree, PathBuf::new())];
    while let Some((tree, path)) = waiting.pop() {
        if !visited.insert(tree) {
            continue;
        }
        let missing =
            |_| broken(format!("the folder \"{}\" is missing in the index", path.display()));
        packs.insert(indexed.get_index_entry(&tree).map_err(missing)?.pack);
        let folder = indexed.get_tree(&tree).map_err(|error| {
            repository.failure(&format!("cannot read the folder \"{}\"", path.display()), &error)
        })?;
        for node in folder.nodes {
            let path = path.join(node.name());
            for piece in node.content.iter().flatten() {
                let missing = |_| {
                    broken(format!("a piece of \"{}\" is missing in the index", path.display()))
                };
                packs.insert(indexed.get_index_entry(piece).map_err(missing)?.pack);
            }
            match (node.node_type, node.subtree) {
                (NodeType::Dir, Some(subtree)) => waiting.push((subtree, path)),
                (NodeType::Dir, None) => {
                    let message = format!("the folder \"{}\" has no content", path.display());
                    return Err(broken(message));
                }
                _ => {}
            }
        }
    }
    Ok(packs)
}

/// Proves that these packs exist, with the sizes in the index.
fn prove_packs(repository: &OpenRepository, mut packs: HashSet<PackId>) -> Result<()> {
    let unreadable = |error: &RusticError| repository.failure("cannot read the index", error);
    let sizes = repository.backend().pack_sizes(&packs.iter().map(|pack| **pack).collect())?;
    let plain = repository.plain()?;
    for index in plain.stream_files::<IndexFile>().map_err(|error| unreadable(&error))? {
        let (_, index) = index.map_err(|error| unreadable(&error))?;
        for pack in index.packs.iter().filter(|pack| packs.remove(&pack.id)) {
            let wanted = u64::from(pack.pack_size());
            let name = pack.id.to_hex();
            let name = name.as_str();
            match sizes.get(&*pack.id) {
                Some(size) if *size == wanted => {}
                Some(size) => {
                    let message = format!("the pack {name} has {size} bytes instead of {wanted}");
                    return Err(broken(message));
                }
                None => return Err(broken(format!("the pack {name} is missing"))),
            }
        }
    }
    match packs.iter().next() {
        Some(pack) => Err(broken(format!("the pack {} is in no index", pack.to_hex().as_str()))),
        None => Ok(()),
    }
}

fn broken(what: String) -> Error {
    Error::new(ErrorKind::Repository, what).with_hint(
        "\"restic check\" tells how far the damage goes; \"restic rebuild-index\" (from 0.17 on: \"repair index\") forgets what is lost, and the next backup writes it anew",
    )
}
