//! Where the files of what containers mount really are: a container may mount a folder through a
//! symbolic link, or as a volume that the engine mounts from a folder of the host.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use super::{Container, EngineVolume, model::ContainerMount};
use crate::files::{look_at_each, real_path};

/// How long one of these folders may take to answer.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// Follows the links of what these containers mount. What can't be seen here stays as it is.
pub(super) fn follow_links(containers: &mut [Container], volumes: &[EngineVolume]) {
    let bound = volumes.iter().filter_map(|volume| Some((volume.name.as_str(), volume.bound()?)));
    let bound: BTreeMap<_, _> = bound.collect();
    let folder = |mount: &ContainerMount| {
        let of_volume = mount.name.as_ref().and_then(|name| bound.get(name.as_str()));
        let is_bind = mount.kind == "bind" && mount.source.has_root();
        let of_host = || is_bind.then(|| mount.source.clone());
        of_volume.map(|device| device.to_path_buf()).or_else(of_host)
    };
    let all: BTreeSet<PathBuf> =
        containers.iter().flat_map(|container| &container.mounts).filter_map(folder).collect();
    let places: Vec<_> = all.iter().map(|path| (path.clone(), path.clone())).collect();
    let seen = look_at_each(&places, SEEN_WITHIN, |path: PathBuf| real_path(&path));
    let real = |(path, seen): (PathBuf, Result<PathBuf, _>)| {
        let real = seen.unwrap_or_else(|_| path.clone());
        (path, real)
    };
    let real: BTreeMap<PathBuf, PathBuf> = all.into_iter().zip(seen).map(real).collect();
    for mount in containers.iter_mut().flat_map(|container| &mut container.mounts) {
        mount.real = folder(mount).and_then(|folder| real.get(&folder).cloned());
    }
}
