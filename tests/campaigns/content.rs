//! What a folder has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// Each path with its kind, and its content's length and SHA-256.
pub(super) type Content = BTreeMap<PathBuf, (char, u64, [u8; 32])>;

/// What a folder has.
pub(super) fn content(folder: &Path) -> Content {
    let (mut found, mut folders) = (Content::new(), vec![folder.to_owned()]);
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let (path, kind) =
                { entry.as_ref().map(|it| (it.path(), it.file_type().unwrap())) }.unwrap();
            let below = path.strip_prefix(folder).unwrap().to_owned();
            if kind.is_dir() {
                found.insert(below, ('d', 0, [0; 32]));
                folders.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                let sum = Sha256::digest(&content).into();
                found.insert(below, ('f', content.len() as u64, sum));
            }
        }
    }
    found
}

pub(super) fn difference(is: &Content, was: &Content) -> Vec<PathBuf> {
    let paths: BTreeSet<_> = is.keys().chain(was.keys()).collect();
    let differs = |path: &&&PathBuf| is.get(**path) != was.get(**path);
    paths.iter().filter(differs).map(|path| (*path).clone()).take(5).collect()
}
