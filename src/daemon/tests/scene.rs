//! A root and a destination for tests, and the values that tests compare.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustic_core::{CheckOptions, TreeId, repofile::SnapshotFile};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use tempfile::TempDir;

use crate::{
    clock::SystemClock,
    convoy::{AsItIs, BackupUrl, Daemon as _, Destination, Name, NewVolume, Volume},
    daemon::{
        BuiltinDaemon, BuiltinOptions, DockerOptions, HoldOptions,
        repository::{Backend, OpenRepository},
        save::keep_trees,
    },
    error::{Error, ErrorKind, Result},
    exclude::Excludes,
    progress,
    s3::S3Options,
};

pub(super) fn options(root: &Path) -> BuiltinOptions {
    BuiltinOptions {
        root: root.to_owned(),
        password: Some("secret".into()),
        s3: S3Options::default(),
        moment: None,
        hold: HoldOptions::default(),
        excludes: Excludes::default(),
        spool_most: 0,
        lock_wait: std::time::Duration::from_secs(60),
        folders: Vec::new(),
        docker: DockerOptions::default(),
        host: "host1".into(),
        progress: progress::none(),
        clock: Arc::new(SystemClock),
    }
}

pub(super) fn name(text: &str) -> Name {
    Name::volume(text).unwrap()
}

/// A root and a destination in a folder that is removed at the end of the test.
pub(super) struct Scene {
    folder: TempDir,
    pub(super) daemon: Option<BuiltinDaemon>,
    pub(super) destination: Destination,
}

impl Scene {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("backups")).unwrap();
        let destination =
            Destination::parse(&format!("vfs://{}/backups", folder.path().display())).unwrap();
        let daemon = Some(BuiltinDaemon::open(options(&folder.path().join("root"))).unwrap());
        Self { folder, daemon, destination }
    }

    pub(super) fn daemon(&self) -> &BuiltinDaemon {
        self.daemon.as_ref().unwrap()
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Stops the daemon, changes its files, and starts it again.
    pub(super) fn restart(&mut self, between: impl FnOnce(&Path)) {
        self.daemon = None;
        between(&self.path("root"));
        // A command that another test starts holds the lock for a moment.
        let reopened = loop {
            match BuiltinDaemon::open(options(&self.path("root"))) {
                Err(error) if error.kind == ErrorKind::Busy => std::thread::yield_now(),
                opened => break opened,
            }
        };
        self.daemon = Some(reopened.unwrap());
    }

    pub(super) async fn volume(&self, volume: &str) -> PathBuf {
        self.daemon().create_volume(&NewVolume::named(name(volume))).await.unwrap();
        self.path("root/volumes").join(volume)
    }

    pub(super) async fn snapshot(&self, volume: &str, snapshot: &str) {
        self.daemon().create_snapshot(&name(volume), &name(snapshot)).await.unwrap();
    }

    pub(super) async fn backup(&self, snapshot: &str) -> BackupUrl {
        self.daemon().create_backup(&name(snapshot), &self.destination).await.unwrap()
    }

    /// Backs up the volume as it is, as a snapshot of this name.
    pub(super) async fn back_up(&self, volume: &str, snapshot: &str) -> BackupUrl {
        self.try_back_up(volume, snapshot).await.unwrap()
    }

    pub(super) async fn try_back_up(&self, volume: &str, snapshot: &str) -> Result<BackupUrl> {
        let of = [AsItIs { volume: name(volume), snapshot: name(snapshot) }];
        self.daemon().back_up(&of, &self.destination).await?.remove(0)
    }

    pub(super) async fn restore(&self, volume: &str, url: &BackupUrl) -> Result<Volume> {
        self.daemon().create_volume(&NewVolume::from_backup(name(volume), url.clone())).await
    }

    /// A scene with a volume that has some files, a snapshot `snap1` and a backup.
    pub(super) async fn with_backup() -> (Self, BackupUrl) {
        let scene = Self::new();
        let files = scene.volume("vol1").await;
        fs::write(files.join("a"), noise(3_000_000)).unwrap();
        fs::create_dir(files.join("dir")).unwrap();
        fs::write(files.join("dir/b"), "b").unwrap();
        scene.snapshot("vol1", "snap1").await;
        let url = scene.backup("snap1").await;
        (scene, url)
    }

    /// Adds a backup with these tags to the destination, as another member of the repository can:
    /// otherwise it is like the newest one there. The name of its file is returned.
    pub(super) fn forge(&self, tags: &[&str]) -> String {
        let backend = Backend::in_folder(&self.path("backups/repository"), "evil");
        let opened = OpenRepository::open(backend, "secret").unwrap();
        let plain = opened.plain().unwrap();
        let like =
            plain.get_all_snapshots().unwrap().into_iter().max_by_key(|file| file.time.clone());
        let tags = tags.join(",").parse().unwrap();
        let mut file = SnapshotFile { tags, hostname: "evil".into(), ..like.unwrap() };
        file.time = file.time.saturating_add(jiff::SignedDuration::from_secs(1));
        let files = self.path("backups/repository/snapshots");
        let names = || fs::read_dir(&files).unwrap().map(|file| file.unwrap().file_name());
        let before: Vec<_> = names().collect();
        plain.save_snapshots(vec![file]).unwrap();
        let new = names().find(|name| !before.contains(name)).unwrap();
        new.into_string().unwrap()
    }

    /// Adds a backup that looks like the one with this URL, but newer, and in which the file `file`
    /// has the content of the file `other`.
    pub(super) fn forge_content(&self, url: &BackupUrl, file: &str, other: &str) -> BackupUrl {
        self.forge_entries(url, |nodes| {
            let at = |name: &str| nodes.iter().position(|node| node["name"] == name).unwrap();
            let (file, other) = (at(file), at(other));
            nodes[file]["content"] = nodes[other]["content"].clone();
        })
    }

    /// Adds a backup that looks like the one with this URL, but newer, and in which the entries of the
    /// volume's folder are changed.
    pub(super) fn forge_entries(
        &self,
        url: &BackupUrl,
        change: impl FnOnce(&mut Vec<serde_json::Value>),
    ) -> BackupUrl {
        let backend = Backend::in_folder(&self.path("backups/repository"), "host1");
        let opened = OpenRepository::open(backend, "secret").unwrap();
        let name = format!("backup={}", url.backup());
        let files = opened.plain().unwrap().get_all_snapshots().unwrap();
        let own = files.into_iter().find(|file| file.tags.iter().any(|tag| *tag == name)).unwrap();
        let indexed = opened.indexed().unwrap();
        let tree = |id: &TreeId| serde_json::to_value(indexed.get_tree(id).unwrap()).unwrap();
        let mut top = tree(&own.tree);
        let id = top["nodes"][0]["subtree"].as_str().unwrap().parse().unwrap();
        let mut volume = tree(&id);
        change(volume["nodes"].as_array_mut().unwrap());
        let kept = keep_trees(&opened, &[volume.to_string()]).unwrap();
        top["nodes"][0]["subtree"] = kept[0].to_hex().as_str().into();
        let kept = keep_trees(&opened, &[top.to_string()]).unwrap();
        let newer = own.time.saturating_add(jiff::SignedDuration::from_mins(10));
        let tags = own.tags.iter().map(ToString::to_string).map(|tag| match tag.split_once('=') {
            Some(("backup", _)) => "backup=backup-00000000000fa4e0".into(),
            Some(("snapshot-created", _)) => format!("snapshot-created={}", newer.timestamp()),
            _ => tag,
        });
        let tags = tags.collect::<Vec<_>>().join(",").parse().unwrap();
        let forged = SnapshotFile { tags, tree: kept[0], time: newer, ..own };
        opened.plain().unwrap().save_snapshots(vec![forged]).unwrap();
        let volume = Name::volume(url.volume().unwrap()).unwrap();
        BackupUrl::stored(
            &self.destination,
            &Name::parse("backup", "backup-00000000000fa4e0").unwrap(),
            &volume,
        )
    }

    /// The tags of the backup with this URL.
    pub(super) fn tags(&self, url: &BackupUrl) -> Vec<String> {
        let backend = Backend::in_folder(&self.path("backups/repository"), "evil");
        let opened = OpenRepository::open(backend, "secret").unwrap();
        let name = format!("backup={}", url.backup());
        let files = opened.plain().unwrap().get_all_snapshots().unwrap();
        let file = files.into_iter().find(|file| file.tags.iter().any(|tag| *tag == name)).unwrap();
        file.tags.iter().map(ToString::to_string).collect()
    }

    pub(super) fn packs(&self, repository: &str) -> Vec<PathBuf> {
        let mut packs = Vec::new();
        for folder in fs::read_dir(self.path(repository).join("data")).unwrap() {
            packs.extend(
                fs::read_dir(folder.unwrap().path()).unwrap().map(|pack| pack.unwrap().path()),
            );
        }
        packs
    }

    pub(super) fn bytes(&self, repository: &str) -> u64 {
        self.packs(repository).iter().map(|pack| fs::metadata(pack).unwrap().len()).sum()
    }

    /// Opens a repository again with the password only, and reads all of it.
    pub(super) fn check(&self, repository: &str) {
        let backend = Backend::in_folder(&self.path(repository), "host9");
        let opened = OpenRepository::open(backend, "secret").unwrap();
        let mut options = CheckOptions::default();
        options.read_data = true;
        let found = opened.plain().unwrap().check(options).unwrap();
        assert!(found.is_ok().is_ok(), "{found:?}");
    }
}

/// Bytes that can neither be compressed nor deduplicated.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ length as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

pub(super) fn refusal(error: &Error) -> (Option<u16>, &str) {
    (error.status, &error.message)
}

/// Describes everything in a folder, except access times, which reading changes.
pub(super) fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    fn visit(
        root: &Path,
        path: &Path,
        inodes: &mut BTreeMap<u64, PathBuf>,
        told: &mut BTreeMap<PathBuf, String>,
    ) {
        let metadata = fs::symlink_metadata(path).unwrap();
        let below = path.strip_prefix(root).unwrap().to_owned();
        let kind = metadata.file_type();
        let content = if kind.is_symlink() {
            format!("-> {:?}", fs::read_link(path).unwrap())
        } else if kind.is_file() {
            let twin = inodes.entry(metadata.ino()).or_insert_with(|| below.clone());
            format!("{} same as {twin:?}", hash(&fs::read(path).unwrap()))
        } else {
            format!("{}{}", kind.is_fifo(), kind.is_socket())
        };
        let attributes: BTreeMap<_, _> = xattr::list(path)
            .unwrap()
            .map(|name| (name.clone(), xattr::get(path, name).unwrap()))
            .collect();
        let size = if kind.is_dir() { 0 } else { metadata.len() };
        let entry = format!(
            "{:o} {}:{} {size} {}.{} dev {} {attributes:?} {content}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.rdev()
        );
        told.insert(below, entry);
        if kind.is_dir() {
            let mut entries: Vec<_> =
                fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
            entries.sort();
            entries.iter().for_each(|entry| visit(root, entry, inodes, told));
        }
    }
    let mut told = BTreeMap::new();
    visit(root, root, &mut BTreeMap::new(), &mut told);
    told
}

/// A hash in 64 hexadecimal digits.
fn hash(content: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:064x}", hasher.finish())
}

pub(super) fn set_times(path: &Path, second: i64, nanosecond: i64) {
    let time = Timespec { tv_sec: second, tv_nsec: nanosecond };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Runs a test with the rights of an ordinary user, even if the test process is root. Everything
/// that the test starts has the same rights.
pub(super) fn without_privileges(test: impl Future<Output = ()> + Send) {
    let run = || {
        let mut capabilities = rustix::thread::capabilities(None).unwrap();
        capabilities.effective = rustix::thread::CapabilitySet::empty();
        rustix::thread::set_capabilities(None, capabilities).unwrap();
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap();
}

/// `cap_net_raw+ep`, as the kernel stores it.
pub(super) const CAPABILITY: [u8; 20] =
    [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
