//! What a folder in a backup has.

use rustic_core::TreeId;

use super::{
    entry::entry,
    view::{View, below, names, shown},
};
use crate::{
    convoy::inside::{ListFiles, ListedFiles, MOST_BYTES, MOST_ENTRIES},
    daemon::repository::{FolderEntries, OpenRepository},
    error::{Error, Result},
};

/// A folder that is listed, and its path.
struct Level {
    entries: FolderEntries,
    path: String,
}

/// The entries of the folder at the path, or what the file there is.
///
/// # Errors
/// If nothing is there, or if a folder can't be read.
pub(in crate::daemon) fn list(
    repository: &OpenRepository,
    tree: TreeId,
    what: &ListFiles,
) -> Result<ListedFiles> {
    let mut view = View::new(repository)?;
    let node = view.at(&tree, &what.path)?;
    let path = names(&what.path).collect::<Vec<_>>().join("/");
    let mut listed =
        ListedFiles { entry: entry(path.clone(), &node), entries: Vec::new(), has_more: false };
    let Some(subtree) = node.subtree else { return Ok(listed) };
    let mut levels = vec![Level { entries: view.entries(&subtree, &path)?, path }];
    if let Some(after) = &what.after {
        go_to(&mut view, &mut levels, after, what.below)?;
    }
    let most = what.most.clamp(1, MOST_ENTRIES);
    let mut bytes = 0;
    while let Some(level) = levels.last_mut() {
        let Some(node) = level.entries.next()? else {
            levels.pop();
            continue;
        };
        if listed.entries.len() == most || bytes > MOST_BYTES {
            listed.has_more = true;
            break;
        }
        let path = below(&level.path, &shown(&node.name()));
        let entry = entry(path.clone(), &node);
        bytes += path.len() + entry.target.as_ref().map_or(0, String::len);
        listed.entries.push(entry);
        if let Some(subtree) = node.subtree.as_ref().filter(|_| what.below) {
            levels.push(Level { entries: view.entries(subtree, &path)?, path });
        }
    }
    Ok(listed)
}

/// Goes on behind the entry with this path.
fn go_to(view: &mut View<'_>, levels: &mut Vec<Level>, after: &str, has_below: bool) -> Result<()> {
    let gone = || {
        Error::usage(format!("\"{after}\" is not in that folder of the backup"))
            .with_hint("\"After\" is the last path of the answer before")
    };
    let top = levels.first().map(|level| level.path.clone()).unwrap_or_default();
    let rest = match top.is_empty() {
        true => Some(after),
        false => after.strip_prefix(&top).and_then(|rest| rest.strip_prefix('/')),
    };
    let mut rest: Vec<_> = names(rest.ok_or_else(gone)?).collect();
    rest.reverse();
    while let Some(name) = rest.pop() {
        let level = levels.last_mut().ok_or_else(gone)?;
        let node = loop {
            let node = level.entries.next()?.ok_or_else(gone)?;
            if shown(&node.name()) == name {
                break node;
            }
        };
        let path = below(&level.path, name);
        match &node.subtree {
            Some(subtree) if has_below => {
                levels.push(Level { entries: view.entries(subtree, &path)?, path });
            }
            _ if rest.is_empty() => {}
            _ => return Err(gone()),
        }
    }
    Ok(())
}
