//! In which backups there are files with such names. A folder that is the same in several backups is
//! looked through once.

use std::{
    collections::{BTreeMap, HashMap, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    sync::Arc,
};

use jiff::Timestamp;
use rustic_core::{TreeId, repofile::Node};

use super::{
    entry::entry,
    view::{View, below, names, shown},
};
use crate::{
    convoy::inside::{
        BackupOf, FileEntry, FindFiles, FoundFile, FoundFiles, MOST_BYTES, MOST_ENTRIES,
    },
    daemon::repository::{Hash, HexHash, OpenRepository},
    error::{ErrorKind, Result},
    exclude::Sought,
};

/// So many folders are remembered.
const MOST_KNOWN: usize = 200_000;

/// A backup that is looked through.
pub(in crate::daemon) struct InBackup {
    pub(in crate::daemon) volume: String,
    pub(in crate::daemon) url: String,
    pub(in crate::daemon) taken: Timestamp,
    /// Its name tells apart what was taken within a second.
    pub(in crate::daemon) snapshot: String,
    pub(in crate::daemon) tree: TreeId,
}

impl InBackup {
    fn order(&self) -> (&str, Timestamp, &str, &str) {
        (&self.volume, self.taken, &self.snapshot, &self.url)
    }
}

/// A file that was found in a folder, with a number that tells its content.
type Hit = (Arc<FileEntry>, u64);

/// Looks through these backups.
///
/// # Errors
/// If the pattern makes no sense, if the storage fails, or if the run ends. A backup with a folder that
/// can't be read is named in the answer.
pub(in crate::daemon) fn find(
    repository: &OpenRepository,
    mut backups: Vec<InBackup>,
    what: &FindFiles,
) -> Result<FoundFiles> {
    let sought = Sought::parse(&what.pattern, what.ignore_case)?;
    backups.sort_by(|a, b| a.order().cmp(&b.order()));
    let mut search = Search { view: View::new(repository)?, sought, known: HashMap::new() };
    // By volume and path: the same file in one backup after another.
    let mut found: BTreeMap<(&str, String), Vec<(FoundFile, u64)>> = BTreeMap::new();
    let mut failed = Vec::new();
    let most = what.most.clamp(1, MOST_ENTRIES);
    let (mut count, mut bytes, mut has_more) = (0, 0, false);
    for backup in &backups {
        let hits = match search.backup(&backup.tree) {
            Ok(hits) => hits,
            Err(error) if error.kind == ErrorKind::Repository => {
                failed.push(format!("{}: {error}", backup.url));
                continue;
            }
            Err(error) => return Err(error),
        };
        let this = BackupOf { url: backup.url.clone(), taken: backup.taken };
        for (entry, print) in hits {
            let runs = found.entry((&backup.volume, entry.path.clone())).or_default();
            match runs.last_mut() {
                Some((file, before)) if *before == print && file.entry == *entry => {
                    file.backups += 1;
                    file.last = this.clone();
                }
                _ if count == most || bytes > MOST_BYTES => has_more = true,
                _ => {
                    (count, bytes) = (count + 1, bytes + entry.path.len());
                    let (entry, volume) = ((*entry).clone(), backup.volume.clone());
                    let (first, last) = (this.clone(), this.clone());
                    runs.push((FoundFile { entry, volume, backups: 1, first, last }, print));
                }
            }
        }
    }
    let files = found.into_values().flatten().map(|(file, _)| file).collect();
    let looked_at = backups.len() - failed.len();
    Ok(FoundFiles { files, has_more, backups: looked_at, failed })
}

struct Search<'a> {
    view: View<'a>,
    sought: Sought,
    /// What is in a folder of this content at this path, and below.
    known: HashMap<(Hash, String), Arc<[Hit]>>,
}

/// A folder that is looked through.
struct Level {
    key: (Hash, String),
    entries: crate::daemon::repository::FolderEntries,
    hits: Vec<Hit>,
}

impl Search<'_> {
    fn backup(&mut self, tree: &TreeId) -> Result<Vec<Hit>> {
        let top = self.view.top(tree)?;
        match &top.subtree {
            Some(subtree) => Ok(self.folder(subtree)?.to_vec()),
            None => Ok(Vec::new()),
        }
    }

    /// What is in the volume's own folder, and below.
    fn folder(&mut self, tree: &TreeId) -> Result<Arc<[Hit]>> {
        let mut levels = Vec::new();
        if let Some(known) = self.enter(&mut levels, tree, String::new())? {
            return Ok(known);
        }
        loop {
            let Some(level) = levels.last_mut() else { return Ok(Arc::default()) };
            let Some(node) = level.entries.next()? else {
                let Some(Level { key, hits, .. }) = levels.pop() else { return Ok(Arc::default()) };
                let hits: Arc<[Hit]> = hits.into();
                if self.known.len() >= MOST_KNOWN {
                    self.known.clear();
                }
                self.known.insert(key, Arc::clone(&hits));
                match levels.last_mut() {
                    Some(above) => above.hits.extend(hits.iter().cloned()),
                    None => return Ok(hits),
                }
                continue;
            };
            let path = below(&level.key.1, &shown(&node.name()));
            if self.sought.is(&names(&path).collect::<Vec<_>>()) {
                level.hits.push((Arc::new(entry(path.clone(), &node)), print(&node)));
            }
            let Some(subtree) = &node.subtree else { continue };
            if let Some(known) = self.enter(&mut levels, subtree, path)?
                && let Some(level) = levels.last_mut()
            {
                level.hits.extend(known.iter().cloned());
            }
        }
    }

    /// Begins with a folder, unless it is known.
    fn enter(
        &mut self,
        levels: &mut Vec<Level>,
        tree: &TreeId,
        path: String,
    ) -> Result<Option<Arc<[Hit]>>> {
        let key = (HexHash::of(tree), path);
        if let Some(known) = self.known.get(&key) {
            return Ok(Some(Arc::clone(known)));
        }
        let entries = self.view.entries(tree, &key.1)?;
        levels.push(Level { key, entries, hits: Vec::new() });
        Ok(None)
    }
}

/// A number that tells one content from another.
fn print(node: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    for id in node.content.iter().flatten() {
        HexHash::of(id).hash(&mut hasher);
    }
    hasher.finish()
}
