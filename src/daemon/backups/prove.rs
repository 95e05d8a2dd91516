//! The proof that backups are whole, without reading the content of their files. The proof reads
//! the backups' folders, finds every piece in the index, and checks that the packs with these
//! pieces exist and have the right sizes. A piece or a folder that could not be read ([`damage`]) is
//! not whole either. What is found lost does not count as there from then on, so that the next backup
//! stores it again.
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
    Id, TreeId,
    repofile::{BlobType, NodeType},
};

use super::damage::Damage;
use crate::{
    convoy::INSPECTION_TIME,
    daemon::repository::{BlobReader, Hash, HexHash, Index, OpenRepository, guarded},
    error::{Error, ErrorKind, Result},
    scope,
};

/// The most folders that are remembered as whole while many backups are proven. Beyond that, some
/// are read again.
const FOLDERS_REMEMBERED: usize = 1_000_000;
/// So often are backups looked at, each time without what the look before found lost.
const LOOKS: usize = 4;

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
    let mut index = repository.look_again()?;
    if damage.look_again(repository)? {
        index = repository.index()?;
    }
    let (end, mut trees, mut looks) = (Instant::now() + INSPECTION_TIME, trees, 0);
    loop {
        let mut prover = Prover::new(repository, &index)?;
        let mut verdicts = Vec::new();
        for tree in trees {
            if looks == 0 && !verdicts.is_empty() && Instant::now() > end {
                break;
            }
            verdicts.push(prover.verdict(*tree)?);
        }
        trees = &trees[..verdicts.len()];
        looks += 1;
        let packs = prover.packs.iter().filter_map(|place| index.packs().get(*place));
        let is_new = repository.look_at_packs(&packs.copied().collect())?;
        let is_damaged = damage.found_in(repository, &prover.suspects)?;
        // Which of the backups need what is lost shows only another look; and what another pack has
        // as well may be there.
        if !is_new && !is_damaged || looks == LOOKS {
            return Ok(verdicts);
        }
        index = repository.index()?;
    }
}

/// The packs that these trees need, as far as their folders can be read.
///
/// # Errors
/// If that can't be determined.
pub(super) fn packs_of(
    repository: &OpenRepository,
    index: &Index,
    trees: &[TreeId],
) -> Result<HashSet<Id>> {
    let mut prover = Prover::new(repository, index)?;
    for tree in trees {
        _ = prover.verdict(*tree)?;
    }
    let packs = prover.packs.iter().filter_map(|place| index.packs().get(*place));
    Ok(packs.map(|(pack, _)| *pack).collect())
}

/// What is known of the folders and packs of one repository while its backups are proven.
struct Prover<'a> {
    index: &'a Index,
    reader: BlobReader<'a>,
    /// The packs that the folders need, by their places in the index.
    packs: HashSet<usize>,
    /// Packs in which a folder can't be read.
    suspects: HashSet<Id>,
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

impl<'a> Prover<'a> {
    fn new(repository: &'a OpenRepository, index: &'a Index) -> Result<Self> {
        Ok(Self {
            index,
            reader: BlobReader::new(repository)?,
            packs: HashSet::new(),
            suspects: HashSet::new(),
            whole: HashSet::new(),
            bad: HashMap::new(),
        })
    }

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
        let folder = || format!("the folder \"{}\"", path.display());
        let tree = HexHash::of(&tree);
        let pack = self.needs((BlobType::Tree, &tree), &folder)?;
        let what = || format!("cannot read {}", folder());
        let read = self.reader.tree(self.index, &tree, &what);
        let mut entries = read.map_err(|error| self.suspect(pack, error))?;
        let mut below = Vec::new();
        while let Some(node) = entries.next().map_err(with_hint)? {
            let path = path.join(node.name());
            for piece in node.content.iter().flatten() {
                let what = || format!("a piece of \"{}\"", path.display());
                self.needs((BlobType::Data, &HexHash::of(piece)), &what)?;
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

    /// Notes that a blob is needed, and returns the place of its pack.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] if it is not there.
    fn needs(&mut self, (kind, id): (BlobType, &Hash), what: &dyn Fn() -> String) -> Result<usize> {
        if let Some(place) = self.index.place(kind, id) {
            self.packs.insert(place);
            return Ok(place);
        }
        let Some(at) = self.index.find(kind, id) else {
            return Err(broken(format!("{} is missing in the index", what())));
        };
        Err(broken(match self.index.lost().what_is_wrong_with(&at.pack) {
            Some(wrong) => format!("{wrong}, with {}", what()),
            None => format!("{} is damaged in the pack {}", what(), at.pack.to_hex().as_str()),
        }))
    }

    /// Notes that a folder in this pack can't be read.
    fn suspect(&mut self, place: usize, error: Error) -> Error {
        if error.kind == ErrorKind::Repository {
            self.suspects.extend(self.index.packs().get(place).map(|(pack, _)| *pack));
        }
        with_hint(error)
    }
}

fn broken(what: String) -> Error {
    with_hint(Error::new(ErrorKind::Repository, what))
}

/// The error with what to do, unless it already says that.
fn with_hint(error: Error) -> Error {
    if error.hint.is_some() {
        return error;
    }
    error.with_hint(
        "back up again: the next backup stores what its volume still has, which mends older backups with the same content",
    )
}
