//! Looks at the folders of many volumes. Each may be on a share that hangs.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    super::{LISTED_WITHIN, overlap::Identity},
    volume::{DockerVolume, mark},
};
use crate::files::{Look, Unanswered, look_at_each, real_path};

/// What is seen of the folder of a volume that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum See {
    /// This program's own files are in it.
    HasOurs,
    /// It is in this folder of this program's own.
    IsIn(PathBuf),
    /// Neither. Its mark, if it is there.
    Folder { mark: Option<String> },
}

/// A folder of this program's own.
#[derive(Debug, Clone)]
struct Own {
    path: PathBuf,
    /// `None` if it is not there.
    identity: Option<Identity>,
    /// Those above it, and itself.
    upwards: Vec<Identity>,
}

/// What is seen of these volumes' folders, by volume. One that does not answer is not in it.
pub(super) fn see<'a>(
    volumes: impl Iterator<Item = &'a DockerVolume>,
    own: &[PathBuf],
) -> HashMap<String, See> {
    let own: Vec<_> = own.iter().map(|path| (path, begin_own(path))).collect();
    // Of one that does not answer, its path alone tells.
    let silent = |path: &PathBuf| Own { path: path.clone(), identity: None, upwards: Vec::new() };
    let own = own.into_iter().map(|(path, look)| look.found().unwrap_or_else(|_| silent(path)));
    let own: Vec<_> = own.collect();
    let each = move |folder: &Path| see_one(folder, &own);
    look_at_all(volumes, LISTED_WITHIN, each)
        .into_iter()
        .filter_map(|(name, seen)| Some((name, seen.ok()?)))
        .collect()
}

fn begin_own(path: &Path) -> Look<Own> {
    let own = path.to_owned();
    Look::begin(path, LISTED_WITHIN, move || Own {
        identity: Identity::of(&own).ok(),
        upwards: upwards(&own),
        path: own,
    })
}

fn see_one(folder: &Path, own: &[Own]) -> See {
    if own.iter().any(|own| own.path.starts_with(folder)) {
        return See::HasOurs;
    }
    if let Some(own) = own.iter().find(|own| folder.starts_with(&own.path)) {
        return See::IsIn(own.path.clone());
    }
    if let Ok(identity) = Identity::of(folder) {
        if own.iter().any(|own| own.upwards.contains(&identity)) {
            return See::HasOurs;
        }
        let around = upwards(folder);
        let is_around = |own: &&Own| own.identity.is_some_and(|own| around.contains(&own));
        if let Some(own) = own.iter().find(is_around) {
            return See::IsIn(own.path.clone());
        }
    }
    See::Folder { mark: fs::symlink_metadata(folder).ok().as_ref().and_then(mark) }
}

fn upwards(folder: &Path) -> Vec<Identity> {
    real_path(folder).ancestors().filter_map(|above| Identity::of(above).ok()).collect()
}

/// What is found out about each volume's folder: an answer for each, by volume.
pub(super) fn look_at_all<'a, T: Send + 'static>(
    volumes: impl Iterator<Item = &'a DockerVolume>,
    within: Duration,
    find_out: impl Fn(&Path) -> T + Clone + Send + 'static,
) -> Vec<(String, Result<T, Unanswered>)> {
    let (names, places): (Vec<_>, Vec<_>) = volumes
        .map(|volume| (volume.name.clone(), (volume.folder.clone(), volume.folder.clone())))
        .unzip();
    let seen = look_at_each(&places, within, move |folder: PathBuf| find_out(&folder));
    names.into_iter().zip(seen).collect()
}
