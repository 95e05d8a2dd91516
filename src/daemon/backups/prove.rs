//! The proof that backups are whole, without reading the content of their files. The proof reads
//! the backups' folders, finds every piece in the index, and checks that the packs with these
//! pieces exist and have the right sizes. A piece that a restore could not read ([`damage`]) is
//! not whole either.
//!
//! Backups have most of their folders and packs in common, so many are proven at once: each folder
//! is read once, and what is wrong with it is wrong with every backup that has it.
//!
//! [`damage`]: super::damage

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    time::Instant,
};

use rustic_core::{
    DataId, TreeId,
    repofile::{BlobType, NodeType},
};

use super::damage::Damage;
use crate::{
    convoy::INSPECTION_TIME,
    daemon::repository::{BlobReader, HexHash, Index, OpenRepository, guarded},
    error::{Error, ErrorKind, Result},
    scope,
};

/// The most folders that are remembered as whole while many backups are proven. Beyond that, some
/// are read again.
const FOLDERS_REMEMBERED: usize = 1_000_000;

/// Proves that everything in a tree is there.
///
/// # Errors
/// [`ErrorKind::Repository`] if something is missing; another kind if that can't be determined.
pub(super) fn prove(repository: &OpenRepository, damage: &Damage, tree: TreeId) -> Result<()> {
    prove_all(repository, damage, &[tree])?.pop().unwrap_or(Ok(()))
}

/// Proves that everything in these trees is there. The verdicts are those on the first trees, at
/// least on one: after [`INSPECTION_TIME`], the rest is left out.
///
/// # Errors
/// If the index can't be read, or if it can't be determined whether something is missing.
pub(super) fn prove_all(
    repository: &OpenRepository,
    damage: &Damage,
    trees: &[TreeId],
) -> Result<Vec<Result<()>>> {
    let index = repository.index()?;
    let mut prover = Prover {
        index: &index,
        reader: BlobReader::new(repository)?,
        damaged: HashSet::new(),
        bad_packs: HashMap::new(),
        packs: HashSet::new(),
        whole: HashSet::new(),
        bad: HashMap::new(),
    };
    let end = Instant::now() + INSPECTION_TIME;
    let mut verdicts = Vec::new();
    for tree in trees {
        if !verdicts.is_empty() && Instant::now() > end {
            break;
        }
        verdicts.push(prover.verdict(*tree)?);
    }
    let bad_packs = bad_packs(repository, &index, &prover.packs)?;
    let damaged = damage.still_there(repository)?;
    if bad_packs.is_empty() && damaged.is_empty() {
        return Ok(verdicts);
    }
    // Which of the backups need them shows only a second look.
    let (whole, bad) = (HashSet::new(), HashMap::new());
    let mut prover = Prover { bad_packs, damaged, whole, bad, ..prover };
    trees[..verdicts.len()].iter().map(|tree| prover.verdict(*tree)).collect()
}

/// What is known of the folders and packs of one repository while its backups are proven.
struct Prover<'a> {
    index: &'a Index,
    reader: BlobReader<'a>,
    /// Pieces that can't be read, although the index has them.
    damaged: HashSet<DataId>,
    /// What is wrong with packs.
    bad_packs: HashMap<usize, String>,
    /// The packs that the folders need, by their places in the index.
    packs: HashSet<usize>,
    /// Folders that are whole, with everything in them.
    whole: HashSet<TreeId>,
    /// Why folders are not whole.
    bad: HashMap<TreeId, Error>,
}

/// A folder on the way down, and the folders in it that are still to be looked at.
struct Level {
    tree: TreeId,
    below: Vec<(TreeId, PathBuf)>,
}

impl Prover<'_> {
    /// Whether this tree is whole. The outer error says why that can't be determined.
    fn verdict(&mut self, tree: TreeId) -> Result<Result<()>> {
        if self.whole.len() > FOLDERS_REMEMBERED {
            self.whole.clear();
        }
        let what = "checking the backup";
        match guarded(what, || self.look_at(tree)) {
            Err(error) if error.kind == ErrorKind::Repository => Ok(Err(error)),
            other => other.map(Ok),
        }
    }

    fn look_at(&mut self, tree: TreeId) -> Result<()> {
        let mut levels: Vec<Level> = Vec::new();
        let mut next = Some((tree, PathBuf::new()));
        loop {
            scope::goes_on("a backup was checked")?;
            if let Some((tree, path)) = next.take()
                && !self.whole.contains(&tree)
            {
                let below = match self.bad.get(&tree) {
                    Some(known) => Err(known.clone()),
                    None => self.folders_in(tree, &path),
                };
                match below {
                    Ok(below) => levels.push(Level { tree, below }),
                    Err(error) => {
                        let above = levels.iter().map(|level| level.tree).chain([tree]);
                        self.bad.extend(above.map(|tree| (tree, error.clone())));
                        return Err(error);
                    }
                }
            }
            let Some(level) = levels.last_mut() else { return Ok(()) };
            next = level.below.pop();
            if next.is_none() {
                self.whole.insert(level.tree);
                levels.pop();
            }
        }
    }

    /// The folders in a folder whose files are all there.
    fn folders_in(&mut self, tree: TreeId, path: &Path) -> Result<Vec<(TreeId, PathBuf)>> {
        let missing =
            || broken(format!("the folder \"{}\" is missing in the index", path.display()));
        let tree = HexHash::of(&tree);
        let pack = self.index.place(BlobType::Tree, &tree).ok_or_else(missing)?;
        self.needs(pack)?;
        let what = || format!("cannot read the folder \"{}\"", path.display());
        let mut entries = self.reader.tree(self.index, &tree, &what).map_err(with_repair)?;
        let mut below = Vec::new();
        while let Some(node) = entries.next().map_err(with_repair)? {
            let path = path.join(node.name());
            for piece in node.content.iter().flatten() {
                let missing =
                    || broken(format!("a piece of \"{}\" is missing in the index", path.display()));
                let found = self.index.place(BlobType::Data, &HexHash::of(piece));
                let pack = found.ok_or_else(missing)?;
                self.needs(pack)?;
                if self.damaged.contains(piece) {
                    return Err(damaged(format!(
                        "a piece of \"{}\" is damaged in the pack {}",
                        path.display(),
                        self.index.packs()[pack].0.to_hex().as_str()
                    )));
                }
            }
            match (node.node_type, node.subtree) {
                (NodeType::Dir, Some(subtree)) => below.push((subtree, path)),
                (NodeType::Dir, None) => {
                    let message = format!("the folder \"{}\" has no content", path.display());
                    return Err(broken(message));
                }
                _ => {}
            }
        }
        Ok(below)
    }

    fn needs(&mut self, pack: usize) -> Result<()> {
        if let Some(wrong) = self.bad_packs.get(&pack) {
            return Err(broken(wrong.clone()));
        }
        self.packs.insert(pack);
        Ok(())
    }
}

/// What is wrong with those of these packs that do not exist with the sizes in the index.
///
/// # Errors
/// If the packs can't be read.
fn bad_packs(
    repository: &OpenRepository,
    index: &Index,
    packs: &HashSet<usize>,
) -> Result<HashMap<usize, String>> {
    let needed = || packs.iter().filter_map(|place| Some((*place, *index.packs().get(*place)?)));
    let sizes = repository.backend().pack_sizes(&needed().map(|(_, (id, _))| id).collect())?;
    let mut bad = HashMap::new();
    for (place, (id, wanted)) in needed() {
        let name = id.to_hex();
        let name = name.as_str();
        let wrong = match sizes.get(&id) {
            Some(size) if *size == wanted => continue,
            Some(size) => format!("the pack {name} has {size} bytes instead of {wanted}"),
            None => format!("the pack {name} is missing"),
        };
        bad.insert(place, wrong);
    }
    Ok(bad)
}

fn broken(what: String) -> Error {
    Error::new(ErrorKind::Repository, what).with_hint(
        "\"restic check\" tells how far the damage goes; \"restic rebuild-index\" (from 0.17 on: \"repair index\") forgets what is lost, and the next backup writes it anew",
    )
}

fn damaged(what: String) -> Error {
    with_repair(Error::new(ErrorKind::Repository, what))
}

/// The error with what to do about a damaged pack, unless it already says what to do.
fn with_repair(error: Error) -> Error {
    if error.hint.is_some() {
        return error;
    }
    error.with_hint(
        "\"restic repair packs\" (from 0.17 on) with the pack's name keeps what is whole in it and forgets the rest, and the next backup writes that anew; until then, back up to another destination",
    )
}
