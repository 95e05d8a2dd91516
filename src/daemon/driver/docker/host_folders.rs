//! The folders of the host that containers mount. Nobody gave them to the engine as volumes, and
//! often the data is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::super::LISTED_WITHIN;
use crate::{
    convoy::Name,
    engine::{Container, PROJECT_LABEL, Selection},
    files::look_at_each,
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

/// How long the name of such a folder is at most.
const LONGEST_NAME: usize = 100;

/// A folder of the host, with all containers that mount it or a folder in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) struct HostFolder {
    pub(in crate::daemon) path: PathBuf,
    /// The containers' names.
    pub(super) containers: BTreeSet<String>,
    /// The compose project of one of them.
    pub(super) project: Option<String>,
    /// The services of that project.
    pub(super) services: BTreeSet<String>,
    /// Whether it is to be backed up.
    pub(super) is_wanted: bool,
    /// A label of a container that says nothing: its value.
    pub(super) odd_label: Option<String>,
}

impl HostFolder {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            containers: BTreeSet::new(),
            project: None,
            services: BTreeSet::new(),
            is_wanted: false,
            odd_label: None,
        }
    }

    fn add(&mut self, user: &Container, selection: &Selection) {
        self.containers.insert(user.name().to_owned());
        if self.project.is_none() {
            self.project = user.project().map(str::to_owned);
        }
        if self.project.as_deref() == user.project() {
            self.services.extend(user.service().map(str::to_owned));
        }
        match selection.wants_binds(user) {
            Ok(is_wanted) => self.is_wanted |= is_wanted,
            Err(odd) => self.odd_label = Some(odd),
        }
    }

    /// What tells its project in the state of a volume, as the labels of a volume of Docker do.
    pub(in crate::daemon) fn project_labels(&self) -> BTreeMap<String, String> {
        let project = self.project.iter();
        project.map(|project| (PROJECT_LABEL.to_owned(), project.clone())).collect()
    }

    /// Its name as a volume: whose it is, and its path. It is the same as long as these are.
    pub(super) fn name(&self) -> String {
        let path = self.path.to_string_lossy();
        let is_plain =
            |letter: char| letter.is_ascii_alphanumeric() || letter == '.' || letter == '_';
        let words = path.trim_start_matches('/').replace(|letter| !is_plain(letter), "-");
        let mut name = String::from("bind.");
        name.extend(self.project.iter().flat_map(|project| [project.as_str(), "."]));
        name.push_str(&words);
        // Two paths may have the same words, and a name has a limit.
        let is_sure = path.chars().all(|letter| is_plain(letter) || letter == '/');
        if is_sure && Name::volume(&name).is_ok() {
            return name;
        }
        let digest = Sha256::digest(path.as_bytes());
        let hex: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        name.truncate(LONGEST_NAME - hex.len() - 1);
        format!("{name}-{hex}")
    }
}

/// The folders that these containers mount: each once, and none that lies in another one, in one of
/// `known`, or has one of `around` in it.
pub(super) fn host_folders<'a>(
    containers: impl Iterator<Item = &'a Container>,
    known: &[PathBuf],
    around: &[PathBuf],
    selection: &Selection,
) -> Vec<HostFolder> {
    let mut folders: BTreeMap<PathBuf, HostFolder> = BTreeMap::new();
    for container in containers {
        let binds = container.mounts.iter().filter(|mount| mount.kind == "bind");
        for mount in binds.filter(|mount| may_have_data(&mount.source)) {
            let path = mount.source.clone();
            let folder =
                folders.entry(path).or_insert_with_key(|path| HostFolder::new(path.clone()));
            folder.add(container, selection);
        }
    }
    let is_known = |path: &Path| known.iter().any(|known| path.starts_with(known));
    let is_around = |path: &Path| around.iter().any(|inside| inside.starts_with(path));
    folders.retain(|path, _| !is_known(path) && !is_around(path));
    let places: Vec<_> = folders.keys().map(|path| (path.clone(), path.clone())).collect();
    let is_folder = |path: PathBuf| fs::metadata(path).ok().map(|found| found.is_dir());
    let looks = look_at_each(&places, LISTED_WITHIN, is_folder);
    let mut found: Vec<HostFolder> = Vec::new();
    // A folder comes before those in it.
    for (seen, folder) in looks.into_iter().zip(folders.into_values()) {
        // What can't be seen here may be a folder.
        if seen.is_ok_and(|is_folder| is_folder == Some(false)) {
            continue;
        }
        let has_it = |outer: &&mut HostFolder| {
            folder.path.starts_with(&outer.path) && (outer.is_wanted || !folder.is_wanted)
        };
        match found.iter_mut().find(has_it) {
            Some(outer) => outer.containers.extend(folder.containers),
            None => found.push(folder),
        }
    }
    found
}

fn may_have_data(source: &Path) -> bool {
    let is_of_the_system = OF_THE_SYSTEM.iter().any(|of| source.starts_with(of));
    let is_socket = source.extension().is_some_and(|ends| ends == "sock");
    source.is_absolute() && source != Path::new("/") && !is_of_the_system && !is_socket
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::BINDS_LABEL;

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
        let found = host_folders(
            containers.iter(),
            &[path("known")],
            &[path("around/own")],
            &Selection::default(),
        );
        let shown: Vec<_> = found
            .iter()
            .map(|folder| (folder.path.clone(), folder.containers.iter().cloned().collect()))
            .collect::<Vec<(PathBuf, Vec<String>)>>();
        assert!(found.iter().all(|folder| !folder.is_wanted));
        let both = vec!["one".to_owned(), "two".to_owned()];
        assert_eq!(shown, [(path("other"), vec!["two".to_owned()]), (path("shop"), both)]);
    }

    #[test]
    fn a_folder_is_named_by_its_project_and_path_and_each_differently() {
        let name = |project: Option<&str>, path: &str| {
            let project = project.map(str::to_owned);
            HostFolder { project, ..HostFolder::new(path.into()) }.name()
        };
        assert_eq!(name(Some("shop"), "/srv/shop/conf"), "bind.shop.srv-shop-conf");
        assert_eq!(name(None, "/srv/site"), "bind.srv-site");
        let odd = ["/srv/a-b", "/srv/a/b", "/srv/a b", "/srv/ä"].map(|path| name(None, path));
        assert!(odd.iter().all(|name| Name::volume(name).is_ok()), "{odd:?}");
        assert_eq!(odd.iter().collect::<BTreeSet<_>>().len(), 4, "{odd:?}");
        assert!(Name::volume(&name(Some("shop"), &"/long".repeat(200))).is_ok());
    }

    #[test]
    fn a_wanted_folder_in_one_that_is_not_wanted_is_found_by_itself() {
        let container = |name: &str, source: &str, label: &str| -> Container {
            let mount = json!({ "Type": "bind", "Source": source });
            let labels = json!({ BINDS_LABEL: label });
            serde_json::from_value(json!({ "Id": name, "Mounts": [mount], "Labels": labels }))
                .unwrap()
        };
        let outer = |label| container("outer", "/nowhere/a", label);
        let inner = container("inner", "/nowhere/a/b", "true");
        let found = |outer| {
            let found =
                host_folders([outer, inner.clone()].iter(), &[], &[], &Selection::default());
            found.into_iter().map(|folder| (folder.path, folder.is_wanted)).collect::<Vec<_>>()
        };
        let (a, b) = (PathBuf::from("/nowhere/a"), PathBuf::from("/nowhere/a/b"));
        assert_eq!(found(outer("false")), [(a.clone(), false), (b, true)]);
        assert_eq!(found(outer("true")), [(a, true)]);
    }
}
