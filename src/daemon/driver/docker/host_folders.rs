//! The folders of the host that containers mount. Nobody gave them to the engine as volumes, and
//! often the data is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::super::LISTED_WITHIN;
use crate::{
    engine::Container,
    files::{Look, Unanswered},
};

/// Where nothing is kept: the system's own, sockets, what is gone at the next start.
const OF_THE_SYSTEM: [&str; 10] = [
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
    "/boot",
    "/lib/modules",
    "/usr",
    "/etc/localtime",
    "/etc/timezone",
];

/// A folder of the host, with all containers that mount it or a folder in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostFolder {
    pub(super) path: PathBuf,
    /// In alphabetical order.
    pub(super) containers: BTreeSet<String>,
}

/// The folders that these containers mount: each once, and none that lies in another one, in one of
/// `known`, or has one of `around` in it.
pub(super) fn host_folders(
    containers: &[Container],
    known: &[PathBuf],
    around: &[PathBuf],
) -> Vec<HostFolder> {
    let mut users: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for container in containers {
        let binds = container.mounts.iter().filter(|mount| mount.kind == "bind");
        for mount in binds.filter(|mount| may_have_data(&mount.source)) {
            let users = users.entry(mount.source.clone()).or_default();
            users.insert(container.name().to_owned());
        }
    }
    let is_known = |path: &Path| known.iter().any(|known| path.starts_with(known));
    let is_around = |path: &Path| around.iter().any(|inside| inside.starts_with(path));
    users.retain(|path, _| !is_known(path) && !is_around(path));
    let looks: Vec<_> =
        users.into_iter().map(|(path, users)| (begin(&path), path, users)).collect();
    let mut found: Vec<HostFolder> = Vec::new();
    // A folder comes before those in it.
    for (look, path, containers) in looks {
        if is_no_folder(look.found()) {
            continue;
        }
        match found.iter_mut().find(|outer| path.starts_with(&outer.path)) {
            Some(outer) => outer.containers.extend(containers),
            None => found.push(HostFolder { path, containers }),
        }
    }
    found
}

fn may_have_data(source: &Path) -> bool {
    let is_of_the_system = OF_THE_SYSTEM.iter().any(|of| source.starts_with(of));
    let is_socket = source.extension().is_some_and(|ends| ends == "sock");
    source.is_absolute() && source != Path::new("/") && !is_of_the_system && !is_socket
}

fn begin(path: &Path) -> Look<Option<bool>> {
    let folder = path.to_owned();
    Look::begin(path, LISTED_WITHIN, move || fs::metadata(folder).ok().map(|found| found.is_dir()))
}

/// Whether it is surely a file. What can't be seen here may be a folder.
fn is_no_folder(found: Result<Option<bool>, Unanswered>) -> bool {
    found.is_ok_and(|is_folder| is_folder == Some(false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_folder_with_data_is_found_once_with_all_that_mount_it() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        for folder in ["shop/config", "known/deep", "around/own", "other"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        fs::write(path("shop.conf"), "").unwrap();
        let container = |name: &str, sources: &[PathBuf]| -> Container {
            let mount = |source| json!({ "Type": "bind", "Source": source, "RW": true });
            let mounts: Vec<_> = sources.iter().map(mount).collect();
            let container = json!({ "Id": "1", "Names": [format!("/{name}")], "Mounts": mounts });
            serde_json::from_value(container).unwrap()
        };
        let system =
            ["/", "/proc/1", "/var/run/docker.sock", "/etc/localtime", "/srv/x.sock", "srv"];
        let containers = [
            container("one", &[path("shop/config"), path("shop.conf"), path("known/deep")]),
            container("two", &[path("shop"), path("around"), path("other")]),
            container("three", &system.map(PathBuf::from)),
        ];
        let found = host_folders(&containers, &[path("known")], &[path("around/own")]);
        let shown: Vec<_> = found
            .iter()
            .map(|folder| (folder.path.clone(), folder.containers.iter().cloned().collect()))
            .collect::<Vec<(PathBuf, Vec<String>)>>();
        let both = vec!["one".to_owned(), "two".to_owned()];
        assert_eq!(shown, [(path("other"), vec!["two".to_owned()]), (path("shop"), both)]);
    }
}
