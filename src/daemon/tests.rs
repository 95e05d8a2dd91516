//! Tests of the daemon as a whole: what goes in comes out, and what goes wrong leaves nothing that
//! looks right.

mod volumes;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustic_core::{CheckOptions, FileType as RepositoryFile, Id};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use tempfile::TempDir;

use super::{
    BuiltinDaemon, BuiltinOptions, S3Options,
    repository::{Backend, OpenRepository},
};
use crate::{
    clock::SystemClock,
    convoy::{BackupUrl, Daemon as _, Destination, Name, NewVolume, Volume},
    error::{Error, ErrorKind, Result},
    progress,
};

fn options(root: &Path) -> BuiltinOptions {
    BuiltinOptions {
        root: root.to_owned(),
        password: Some("secret".into()),
        s3: S3Options::default(),
        host: "host1".into(),
        progress: progress::none(),
        clock: Arc::new(SystemClock),
    }
}

fn name(text: &str) -> Name {
    Name::volume(text).unwrap()
}

/// A root and a destination, in a folder that goes when the test ends.
struct Scene {
    folder: TempDir,
    daemon: Option<BuiltinDaemon>,
    destination: Destination,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("backups")).unwrap();
        let destination =
            Destination::parse(&format!("vfs://{}/backups", folder.path().display())).unwrap();
        let daemon = Some(BuiltinDaemon::open(options(&folder.path().join("root"))).unwrap());
        Self { folder, daemon, destination }
    }

    fn daemon(&self) -> &BuiltinDaemon {
        self.daemon.as_ref().unwrap()
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Ends the daemon, does something behind its back, and starts it again.
    fn restart(&mut self, between: impl FnOnce(&Path)) {
        self.daemon = None;
        between(&self.path("root"));
        self.daemon = Some(BuiltinDaemon::open(options(&self.path("root"))).unwrap());
    }

    async fn volume(&self, volume: &str) -> PathBuf {
        self.daemon().create_volume(&NewVolume::named(name(volume))).await.unwrap();
        self.path("root/volumes").join(volume)
    }

    async fn snapshot(&self, volume: &str, snapshot: &str) {
        self.daemon().create_snapshot(&name(volume), &name(snapshot)).await.unwrap();
    }

    async fn backup(&self, snapshot: &str) -> BackupUrl {
        self.daemon().create_backup(&name(snapshot), &self.destination).await.unwrap()
    }

    async fn restore(&self, volume: &str, url: &BackupUrl) -> Result<Volume> {
        self.daemon().create_volume(&NewVolume::from_backup(name(volume), url.clone())).await
    }

    /// A volume with some files, snapshotted as `snap1` and backed up.
    async fn with_backup() -> (Self, BackupUrl) {
        let scene = Self::new();
        let files = scene.volume("vol1").await;
        fs::write(files.join("a"), noise(3_000_000)).unwrap();
        fs::create_dir(files.join("dir")).unwrap();
        fs::write(files.join("dir/b"), "b").unwrap();
        scene.snapshot("vol1", "snap1").await;
        let url = scene.backup("snap1").await;
        (scene, url)
    }

    fn packs(&self, repository: &str) -> Vec<PathBuf> {
        let mut packs = Vec::new();
        for folder in fs::read_dir(self.path(repository).join("data")).unwrap() {
            packs.extend(
                fs::read_dir(folder.unwrap().path()).unwrap().map(|pack| pack.unwrap().path()),
            );
        }
        packs
    }

    fn bytes(&self, repository: &str) -> u64 {
        self.packs(repository).iter().map(|pack| fs::metadata(pack).unwrap().len()).sum()
    }

    /// Opens a repository anew, with nothing but the password, and reads all of it.
    fn check(&self, repository: &str) {
        let backend = Backend::in_folder(&self.path(repository), "host9");
        let opened = OpenRepository::open(backend, "secret").unwrap();
        let mut options = CheckOptions::default();
        options.read_data = true;
        let found = opened.plain().unwrap().check(options).unwrap();
        assert!(found.is_ok().is_ok(), "{found:?}");
    }
}

/// Bytes that neither compress nor repeat.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ length as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

fn refusal(error: &Error) -> (Option<u16>, &str) {
    (error.status, &error.message)
}

/// Everything that can be told of what is in a folder, but access times (looking changes them).
fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
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

/// A fingerprint in 64 hex digits.
fn hash(content: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:064x}", hasher.finish())
}

fn set_times(path: &Path, second: i64, nanosecond: i64) {
    let time = Timespec { tv_sec: second, tv_nsec: nanosecond };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[tokio::test]
async fn everything_about_files_comes_back() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    let file = |below: &str| files.join(below);
    fs::write(file("plain"), "text").unwrap();
    fs::write(file("empty"), "").unwrap();
    fs::write(file("large"), noise(12_345_678)).unwrap();
    fs::write(file("with \\ and \" and \n"), "odd").unwrap();
    fs::write(files.join(OsStr::from_bytes(b"latin1-\xe9\xff")), "not UTF-8").unwrap();
    fs::create_dir_all(file("dir/deep/deeper")).unwrap();
    fs::write(file("dir/deep/deeper/f"), "f").unwrap();
    fs::hard_link(file("plain"), file("dir/zz-linked")).unwrap();
    symlink("/etc/passwd", file("link")).unwrap();
    symlink(OsStr::from_bytes(b"nowhere-\xe9"), file("dir/dangling")).unwrap();
    for (path, kind) in [("fifo", FileType::Fifo), ("socket", FileType::Socket)] {
        rustix::fs::mknodat(CWD, file(path), kind, Mode::from_raw_mode(0o640), 0).unwrap();
    }
    rustix::fs::setxattr(file("plain"), "user.note", b"\0\x01\xff", XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(file("dir"), "user.empty", b"", XattrFlags::empty()).unwrap();
    let sparse = File::create(file("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"island", (32 << 20) + 5).unwrap();
    fs::set_permissions(file("empty"), fs::Permissions::from_mode(0o4751)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(file("plain"), Some(12345), Some(54321)).unwrap();
        std::os::unix::fs::lchown(file("link"), Some(7), Some(8)).unwrap();
        rustix::fs::mknodat(
            CWD,
            file("null"),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            0x103,
        )
        .unwrap();
        rustix::fs::setxattr(
            file("large"),
            "security.capability",
            &CAPABILITY,
            XattrFlags::empty(),
        )
        .unwrap();
        std::os::unix::fs::lchown(file("dir"), Some(99), Some(98)).unwrap();
    }
    fs::set_permissions(file("dir"), fs::Permissions::from_mode(0o1577)).unwrap();
    fs::set_permissions(&files, fs::Permissions::from_mode(0o2750)).unwrap();
    for (path, second) in [
        ("plain", 1),
        ("link", -5),
        ("fifo", 1_000_000_000),
        ("dir/deep", 86_400),
        ("dir", 9),
        ("", 5),
    ] {
        set_times(&file(path), second, 123_456_789);
    }

    scene.snapshot("vol1", "snap1").await;
    let url = scene.backup("snap1").await;
    scene.restore("vol2", &url).await.unwrap();
    let restored = scene.path("root/volumes/vol2");
    let (before, after) = (describe(&files), describe(&restored));
    assert_eq!(before, after);
    assert!(fs::metadata(restored.join("sparse")).unwrap().blocks() < 64, "the holes are dug");
    assert_eq!(fs::symlink_metadata(restored.join("fifo")).unwrap().atime_nsec(), 123_456_789);
    scene.check("root/repository");
    scene.check("backups/repository");
}

/// The folder 30 names of 200 bytes below this one: longer than the 4096 bytes that the system
/// takes as a path. Where `make`, it is made.
fn far_below(top: &Path, make: bool) -> rustix::fd::OwnedFd {
    let name = "n".repeat(200);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let mut folder = rustix::fs::open(top, flags, Mode::empty()).unwrap();
    for _ in 0..30 {
        if make {
            rustix::fs::mkdirat(&folder, &name, Mode::RWXU).unwrap();
        }
        folder = rustix::fs::openat(&folder, &name, flags, Mode::empty()).unwrap();
    }
    folder
}

#[tokio::test]
async fn folders_and_hard_links_far_below_come_back_whatever_their_paths_length() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    let deep = far_below(&files, true);
    let made =
        rustix::fs::openat(&deep, "a", OFlags::WRONLY | OFlags::CREATE, Mode::RUSR | Mode::WUSR)
            .unwrap();
    rustix::io::write(&made, b"content").unwrap();
    // The name far below comes first, and the other ones are made from it.
    rustix::fs::linkat(&deep, "a", &deep, "b", AtFlags::empty()).unwrap();
    rustix::fs::linkat(&deep, "a", CWD, files.join("zz"), AtFlags::empty()).unwrap();
    rustix::fs::fchmod(&deep, Mode::from_raw_mode(0o751)).unwrap();
    let time = Timespec { tv_sec: 7, tv_nsec: 8 };
    rustix::fs::futimens(&deep, &Timestamps { last_access: time, last_modification: time })
        .unwrap();

    scene.snapshot("vol1", "snap1").await;
    let url = scene.backup("snap1").await;
    scene.restore("vol2", &url).await.unwrap();
    let restored = scene.path("root/volumes/vol2");
    let deep = far_below(&restored, false);
    let folder = rustix::fs::fstat(&deep).unwrap();
    assert_eq!((folder.st_mode & 0o7777, folder.st_mtime, folder.st_mtime_nsec), (0o751, 7, 8));
    let inode = |name: &str| rustix::fs::statat(&deep, name, AtFlags::empty()).unwrap().st_ino;
    let top = fs::metadata(restored.join("zz")).unwrap();
    assert_eq!((inode("a"), inode("b"), top.nlink()), (top.ino(), top.ino(), 3));
    assert_eq!(fs::read_to_string(restored.join("zz")).unwrap(), "content");
    scene.daemon().delete_volume(&name("vol2"), false).await.unwrap();
    assert!(!restored.exists());
}

/// `cap_net_raw+ep`, as the kernel stores it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[tokio::test]
async fn refusals_are_in_convoys_words() {
    let scene = Scene::new();
    let daemon = scene.daemon();
    scene.volume("vol1").await;
    let new = |text: &str| NewVolume::named(name(text));
    let nowhere = Destination::parse("vfs:///nowhere/at/all").unwrap();
    let lost = BackupUrl::stored(&scene.destination, "backup-0000000000000000", "vol1");
    scene.snapshot("vol1", "snap1").await;

    let told = [
        (daemon.create_volume(&new("vol1")).await.unwrap_err(), 400, "Volume vol1 already exists "),
        (
            daemon
                .create_volume(&NewVolume { driver: Some("nosuch".into()), ..new("vol3") })
                .await
                .unwrap_err(),
            400,
            "Cannot find driver nosuch",
        ),
        (daemon.volume(&name("nope")).await.unwrap_err(), 404, "Volume not found."),
        (daemon.delete_volume(&name("nope"), false).await.unwrap_err(), 404, "Volume not found."),
        (
            daemon.mount_volume(&name("nope"), None).await.unwrap_err(),
            400,
            "volume nope doesn't exist",
        ),
        (daemon.unmount_volume(&name("nope")).await.unwrap_err(), 400, "volume nope doesn't exist"),
        (
            daemon.create_snapshot(&name("nope"), &name("snapx")).await.unwrap_err(),
            400,
            "volume nope doesn't exist",
        ),
        (
            daemon.create_snapshot(&name("vol1"), &name("snap1")).await.unwrap_err(),
            400,
            "Snapshot name snap1 already exists",
        ),
        (
            daemon.create_snapshot(&name("vol1"), &name("vol1")).await.unwrap_err(),
            400,
            "Snapshot name vol1 already exists",
        ),
        (
            daemon.snapshot(&name("nope")).await.unwrap_err(),
            400,
            "cannot find volume for snapshot nope",
        ),
        (
            daemon.delete_snapshot(&name("nope")).await.unwrap_err(),
            400,
            "cannot find volume for snapshot nope",
        ),
        (
            daemon.create_backup(&name("nope"), &scene.destination).await.unwrap_err(),
            400,
            "Cannot find volume of snapshot nope",
        ),
        (
            daemon.create_backup(&name("snap1"), &nowhere).await.unwrap_err(),
            400,
            "VFS path /nowhere/at/all doesn't exist or is not a directory",
        ),
        (
            daemon.backups(&scene.destination, Some(&name("vol2"))).await.unwrap_err(),
            400,
            "cannot find convoy-objectstore/volumes/vo/l2/vol2/volume.cfg in objectstore",
        ),
        (
            daemon.backup(&lost).await.unwrap_err(),
            400,
            "cannot find convoy-objectstore/volumes/vo/l1/vol1/backups/backup_backup-0000000000000000.cfg in objectstore",
        ),
        (
            daemon.backups(&Destination::parse("ebs://r/").unwrap(), None).await.unwrap_err(),
            400,
            "Driver ebs is not supported!",
        ),
    ];
    for (error, status, words) in &told {
        assert_eq!(refusal(error), (Some(*status), *words));
    }
    assert!(
        daemon.backups(&scene.destination, None).await.unwrap().is_empty(),
        "never used lists as empty"
    );
}

#[tokio::test]
async fn answers_have_the_recorded_fields() {
    let (scene, url) = Scene::with_backup().await;
    let keys = |value: &serde_json::Value| {
        value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
    };
    let volume = serde_json::to_value(scene.daemon().volume(&name("vol1")).await.unwrap()).unwrap();
    assert_eq!(keys(&volume), "Name Driver MountPoint CreatedTime DriverInfo Snapshots");
    assert_eq!(
        keys(&volume["DriverInfo"]),
        "Driver MountPoint Path PrepareForVM Size VolumeCreatedAt VolumeID VolumeName"
    );
    assert_eq!(
        (volume["DriverInfo"]["Size"].as_str(), volume["Driver"].as_str()),
        (Some("0"), Some("vfs"))
    );
    let snapshot =
        serde_json::to_value(scene.daemon().snapshot(&name("snap1")).await.unwrap()).unwrap();
    assert_eq!(keys(&snapshot), "Name VolumeName VolumeCreatedAt CreatedTime DriverInfo");
    assert_eq!(
        keys(&snapshot["DriverInfo"]),
        "Driver FilePath SnapshotCreatedAt SnapshotName VolumeUUID"
    );
    assert!(Path::new(snapshot["DriverInfo"]["FilePath"].as_str().unwrap()).is_file());
    let backup = scene.daemon().backup(&url).await.unwrap();
    assert_eq!(
        backup.fields().keys().cloned().collect::<Vec<_>>().join(" "),
        "BackupName BackupSize BackupURL CreatedTime DriverName SnapshotCreatedAt SnapshotName VolumeCreatedAt VolumeID VolumeName VolumeSize"
    );
    assert_eq!(backup.url().unwrap(), url);
    assert_eq!(
        scene.daemon().backups(&scene.destination, Some(&name("vol1"))).await.unwrap(),
        [backup]
    );
    let info = scene.daemon().info().await.unwrap();
    assert_eq!(info.default_driver(), Some("vfs"));
    assert!(info.vfs_path().is_some_and(|path| path.ends_with("/root/volumes")));
}

#[tokio::test]
async fn a_mounted_volume_is_not_deleted_even_after_a_restart() {
    let mut scene = Scene::new();
    let files = scene.volume("vol1").await;
    let mount = scene.daemon().mount_volume(&name("vol1"), None).await.unwrap();
    assert_eq!(Path::new(&mount.mount_point), files.canonicalize().unwrap());
    scene.restart(|_| ());
    assert!(scene.daemon().recovered().is_empty());
    let error = scene.daemon().delete_volume(&name("vol1"), false).await.unwrap_err();
    assert_eq!(refusal(&error), (Some(400), "Cannot delete volume vol1. It is still mounted"));
    scene.daemon().unmount_volume(&name("vol1")).await.unwrap();
    scene.daemon().delete_volume(&name("vol1"), false).await.unwrap();
    assert!(!files.exists());
}

#[tokio::test]
async fn a_forgotten_volume_leaves_its_folder_which_a_restore_does_not_touch() {
    let (scene, url) = Scene::with_backup().await;
    let files = scene.path("root/volumes/vol1");
    fs::write(files.join("new"), "precious").unwrap();
    scene.daemon().delete_volume(&name("vol1"), true).await.unwrap();
    let error = scene.restore("vol1", &url).await.unwrap_err();
    assert!(error.status == Some(400) && error.message.contains("exists already"), "{error}");
    assert_eq!(fs::read_to_string(files.join("new")).unwrap(), "precious");
    scene.volume("vol1").await;
    assert_eq!(fs::read_to_string(files.join("new")).unwrap(), "precious");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_fails_the_snapshot_by_name() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    fs::create_dir(files.join("dir")).unwrap();
    fs::write(files.join("dir/bad"), "x").unwrap();
    if rustix::process::geteuid().is_root() {
        // Root can read everything; what it can't keep is an attribute with a name that is no text.
        let path = files.join("dir/bad");
        rustix::fs::setxattr(&path, OsStr::from_bytes(b"user.\xff"), b"v", XattrFlags::empty())
            .unwrap();
    } else {
        fs::set_permissions(files.join("dir/bad"), fs::Permissions::from_mode(0o0)).unwrap();
    }
    let error = scene.daemon().create_snapshot(&name("vol1"), &name("snap1")).await.unwrap_err();
    assert!(error.message.contains("\"dir/bad\": "), "{error}");
    assert!(scene.daemon().snapshot(&name("snap1")).await.is_err());
    assert_eq!(fs::read_dir(scene.path("root/repository/snapshots")).unwrap().count(), 0);
    fs::remove_file(files.join("dir/bad")).unwrap();
    scene.snapshot("vol1", "snap1").await;
}

#[tokio::test]
async fn a_file_changed_behind_the_back_of_its_times_is_read_again() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    fs::write(files.join("a"), "one").unwrap();
    set_times(&files.join("a"), 1_000, 0);
    scene.snapshot("vol1", "snap1").await;
    fs::write(files.join("other"), "two").unwrap();
    set_times(&files.join("other"), 1_000, 0);
    fs::rename(files.join("other"), files.join("a")).unwrap();
    scene.snapshot("vol1", "snap2").await;
    let url = scene.backup("snap2").await;
    scene.restore("vol2", &url).await.unwrap();
    assert_eq!(fs::read_to_string(scene.path("root/volumes/vol2/a")).unwrap(), "two");
}

#[tokio::test]
async fn the_second_backup_of_unchanged_data_adds_little() {
    let (scene, _) = Scene::with_backup().await;
    let (local, remote) = (scene.bytes("root/repository"), scene.bytes("backups/repository"));
    assert!(local > 3_000_000 && remote > 3_000_000);
    fs::write(scene.path("root/volumes/vol1/small"), "new").unwrap();
    scene.snapshot("vol1", "snap2").await;
    scene.backup("snap2").await;
    assert!(scene.bytes("root/repository") - local < 10_000);
    assert!(scene.bytes("backups/repository") - remote < 10_000);
}

#[tokio::test]
async fn hosts_share_a_destination_and_see_each_others_backups() {
    let (scene, first) = Scene::with_backup().await;
    let other = BuiltinOptions { host: "host2".into(), ..options(&scene.path("root2")) };
    let other = BuiltinDaemon::open(other).unwrap();
    other.create_volume(&NewVolume::named(name("vol1"))).await.unwrap();
    fs::write(scene.path("root2/volumes/vol1/a"), noise(3_000_000)).unwrap();
    other.create_snapshot(&name("vol1"), &name("snap1")).await.unwrap();
    let before = scene.bytes("backups/repository");
    let second = other.create_backup(&name("snap1"), &scene.destination).await.unwrap();
    assert!(
        scene.bytes("backups/repository") - before < 10_000,
        "hosts deduplicate against each other"
    );
    for daemon in [scene.daemon(), &other] {
        let listed = daemon.backups(&scene.destination, Some(&name("vol1"))).await.unwrap();
        assert_eq!(listed.len(), 2);
        daemon.backup(&first).await.unwrap();
        daemon.backup(&second).await.unwrap();
    }
    scene.daemon().delete_backup(&second).await.unwrap();
    scene.check("backups/repository");
    scene.restore("vol2", &first).await.unwrap();
    assert!(other.backup(&second).await.is_err());
}

#[tokio::test]
async fn a_full_disk_during_a_snapshot_leaves_nothing_and_says_so() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    fs::write(files.join("a"), noise(40_000_000)).unwrap();
    let repository = scene.daemon().local().open().unwrap();
    *repository.backend().room.lock().unwrap() = Some(20_000_000);
    let error = scene.daemon().create_snapshot(&name("vol1"), &name("snap1")).await.unwrap_err();
    assert!(error.message.contains("No space left on device") && error.hint.is_some(), "{error}");
    assert!(scene.daemon().volume(&name("vol1")).await.unwrap().snapshots.unwrap().is_empty());
    *repository.backend().room.lock().unwrap() = None;
    scene.snapshot("vol1", "snap1").await;
    scene.check("root/repository");
}

#[tokio::test]
async fn a_destination_that_cannot_be_written_is_named() {
    let (scene, _) = Scene::with_backup().await;
    // A file where the repository's folder should be can't be written by anyone, root included.
    fs::create_dir(scene.path("other")).unwrap();
    fs::write(scene.path("other/repository"), "").unwrap();
    let other = Destination::parse(&format!("vfs://{}", scene.path("other").display())).unwrap();
    let error = scene.daemon().create_backup(&name("snap1"), &other).await.unwrap_err();
    assert!(error.kind == ErrorKind::Io && error.message.contains("/other/repository"), "{error}");
    let file =
        Destination::parse(&format!("vfs://{}", scene.path("other/repository").display())).unwrap();
    let error = scene.daemon().create_backup(&name("snap1"), &file).await.unwrap_err();
    assert!(error.message.ends_with("doesn't exist or is not a directory"), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_called_that() {
    let (scene, url) = Scene::with_backup().await;
    let other = BuiltinOptions { password: Some("wrong".into()), ..options(&scene.path("root2")) };
    let other = BuiltinDaemon::open(other).unwrap();
    let error = other.backups(&scene.destination, None).await.unwrap_err();
    assert!(error.message.contains("the password does not open the repository at"), "{error}");
    assert!(error.hint.unwrap().contains("BKUP_REPOSITORY_PASSWORD"));
    assert!(other.create_volume(&NewVolume::from_backup(name("vol2"), url)).await.is_err());
    assert!(other.volumes().await.unwrap().is_empty());
}

#[test]
fn the_password_is_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let daemon = BuiltinDaemon::open(options.clone()).unwrap();
    assert!(!format!("{options:?} {daemon:?}").contains("secret\""));
}

#[test]
fn a_root_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = BuiltinDaemon::open(options(folder.path())).unwrap();
    let error = BuiltinDaemon::open(options(folder.path())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy);
    assert!(error.message.contains(&format!("process {}", std::process::id())), "{error}");
    drop(daemon);
    BuiltinDaemon::open(options(folder.path())).unwrap();
}

#[tokio::test]
async fn a_damaged_pack_fails_the_restore_and_leaves_no_volume() {
    let (scene, url) = Scene::with_backup().await;
    let packs = scene.packs("backups/repository");
    let largest = packs.iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let file = File::options().write(true).open(largest).unwrap();
    file.write_all_at(b"damage", 1_000_000).unwrap();
    let error = scene.restore("vol2", &url).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Repository, "{error}");
    assert!(error.message.contains("\"a\""), "{error}");
    assert!(!scene.path("root/volumes/vol2").exists());
    assert_eq!(scene.daemon().volumes().await.unwrap().len(), 1);
    assert_eq!(fs::read_dir(scene.path("root/volumes/.staging")).unwrap().count(), 0);

    scene.daemon().backup(&url).await.expect("content is not read by an inspection");
    file.set_len(1_000_000).unwrap();
    let error = scene.daemon().backup(&url).await.unwrap_err();
    assert!(error.message.contains("bytes instead of"), "{error}");
    fs::remove_file(largest).unwrap();
    let error = scene.daemon().backup(&url).await.unwrap_err();
    assert!(error.message.contains("is missing"), "{error}");
}

#[tokio::test]
async fn a_damaged_index_fails_inspection_and_restore() {
    let (scene, url) = Scene::with_backup().await;
    for index in fs::read_dir(scene.path("backups/repository/index")).unwrap() {
        fs::write(index.unwrap().path(), "rubbish").unwrap();
    }
    assert_eq!(scene.daemon().backup(&url).await.unwrap_err().kind, ErrorKind::Repository);
    assert_eq!(scene.restore("vol2", &url).await.unwrap_err().kind, ErrorKind::Repository);
    assert!(!scene.path("root/volumes/vol2").exists());
}

#[tokio::test]
async fn a_backup_is_found_by_its_own_volume_only() {
    let (scene, url) = Scene::with_backup().await;
    let of_another = BackupUrl::stored(&scene.destination, url.backup(), "vol9");
    assert!(scene.daemon().backup(&of_another).await.is_err());
    assert!(scene.restore("vol2", &of_another).await.is_err());
    assert!(scene.daemon().delete_backup(&of_another).await.is_err());
    scene.daemon().delete_backup(&url).await.unwrap();
    let error = scene.restore("vol2", &url).await.unwrap_err();
    assert!(error.message.starts_with("cannot find convoy-objectstore/"), "{error}");
    assert!(!scene.path("root/volumes/vol2").exists());
}

#[tokio::test]
async fn what_a_crash_leaves_is_cleaned_and_told() {
    let (mut scene, url) = Scene::with_backup().await;
    scene.snapshot("vol1", "snap2").await;
    scene.restore("vol2", &url).await.unwrap();
    scene.restore("vol3", &url).await.unwrap();
    scene.restart(|root| {
        // A restore that died before its folder was in place, and one that died right after.
        fs::create_dir(root.join("volumes/.staging/restore-vol9-00112233")).unwrap();
        let state = root.join("state/vol2.json");
        let inode = fs::metadata(root.join("volumes/vol2")).unwrap().ino();
        let text = fs::read_to_string(&state).unwrap().replacen(
            '{',
            &format!("{{\"restoring\": {inode},"),
            1,
        );
        fs::write(&state, text).unwrap();
        // A delete that died once the folder was out of the way.
        fs::rename(root.join("volumes/vol3"), root.join("volumes/.staging/deleted-vol3-00112233"))
            .unwrap();
        // A snapshot that was written, but not recorded; a pack that was half written.
        let state = root.join("state/vol1.json");
        let mut known: serde_json::Value =
            serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
        known["snapshots"].as_object_mut().unwrap().remove("snap2").unwrap();
        fs::write(&state, known.to_string()).unwrap();
        fs::write(root.join("repository/tmp/host1-1-1"), "x").unwrap();
    });
    let told = scene.daemon().recovered().join("\n");
    for part in [
        "restore of volume \"vol9\"",
        "restore of volume \"vol2\"",
        "removal of volume \"vol3\"",
        "1 unfinished snapshot was",
        "1 half",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert_eq!(scene.daemon().volumes().await.unwrap().into_keys().collect::<Vec<_>>(), ["vol1"]);
    assert!(!scene.path("root/volumes/vol2").exists());
    scene.restart(|_| ());
    assert!(scene.daemon().recovered().is_empty());
    scene.daemon().snapshot(&name("snap1")).await.unwrap();
    scene.restore("vol2", &url).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_is_not_the_restored_one_survives_the_cleaning() {
    let mut scene = Scene::new();
    scene.volume("vol1").await;
    scene.restart(|root| {
        fs::write(root.join("volumes/vol1/precious"), "x").unwrap();
        let state = root.join("state/vol1.json");
        let text = fs::read_to_string(&state).unwrap().replacen('{', "{\"restoring\": 1,", 1);
        fs::write(&state, text).unwrap();
    });
    assert!(scene.path("root/volumes/vol1/precious").exists());
}

#[tokio::test]
async fn space_of_deleted_snapshots_comes_back() {
    let (scene, url) = Scene::with_backup().await;
    let before = scene.bytes("root/repository");
    fs::write(scene.path("root/volumes/vol1/more"), noise(5_000_000)).unwrap();
    scene.snapshot("vol1", "snap2").await;
    assert!(scene.bytes("root/repository") > before + 5_000_000);
    scene.daemon().delete_snapshot(&name("snap2")).await.unwrap();
    assert!(scene.bytes("root/repository") < before + 10_000);
    scene.check("root/repository");
    scene.snapshot("vol1", "snap3").await;
    scene.daemon().delete_volume(&name("vol1"), false).await.unwrap();
    assert!(scene.bytes("root/repository") < 10_000);
    scene.restore("vol1", &url).await.unwrap();
}

#[tokio::test]
async fn the_root_opens_without_the_password_that_made_it() {
    let (mut scene, _) = Scene::with_backup().await;
    scene.daemon = None;
    let changed =
        BuiltinOptions { password: Some("another".into()), ..options(&scene.path("root")) };
    scene.daemon = Some(BuiltinDaemon::open(changed).unwrap());
    scene.snapshot("vol1", "snap2").await;
    let key = fs::metadata(scene.path("root/repository.key")).unwrap();
    assert_eq!(key.mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(scene.path("root")).unwrap().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn snapshots_of_several_volumes_at_the_same_time_are_all_good() {
    let scene = Scene::new();
    for number in 0..4 {
        let files = scene.volume(&format!("vol{number}")).await;
        fs::write(files.join("f"), noise(1_000_000 + number)).unwrap();
    }
    let daemon = scene.daemon();
    let names: Vec<_> = (0..4)
        .map(|number| (name(&format!("vol{number}")), name(&format!("snap{number}"))))
        .collect();
    let (a, b, c, d) = tokio::join!(
        daemon.create_snapshot(&names[0].0, &names[0].1),
        daemon.create_snapshot(&names[1].0, &names[1].1),
        daemon.create_snapshot(&names[2].0, &names[2].1),
        daemon.create_snapshot(&names[3].0, &names[3].1),
    );
    for snapshot in [a, b, c, d] {
        let url = scene.backup(&snapshot.unwrap().name).await;
        daemon.backup(&url).await.unwrap();
    }
    assert_eq!(daemon.backups(&scene.destination, None).await.unwrap().len(), 4);
    scene.check("root/repository");
    let files = rustic_core::ReadBackend::list(
        &**daemon.local().open().unwrap().backend(),
        RepositoryFile::Snapshot,
    );
    assert_eq!(files.unwrap().len(), 4);
}

#[tokio::test]
async fn a_destination_whose_first_use_was_interrupted_is_made_anew() {
    let scene = Scene::new();
    fs::write(scene.volume("vol1").await.join("f"), "f").unwrap();
    scene.snapshot("vol1", "snap1").await;
    // The key of another repository, with the same password: were it left there, it would be tried,
    // and fit nothing.
    let keys = scene.path("backups/repository/keys");
    fs::create_dir_all(&keys).unwrap();
    for key in fs::read_dir(scene.path("root/repository/keys")).unwrap() {
        let key = key.unwrap();
        fs::copy(key.path(), keys.join(key.file_name())).unwrap();
    }
    let url = scene.backup("snap1").await;
    assert_eq!(fs::read_dir(&keys).unwrap().count(), 1);
    scene.check("backups/repository");
    scene.restore("vol2", &url).await.unwrap();
}

#[tokio::test]
async fn a_failing_backup_leaves_the_failure_of_a_snapshot_alone() {
    let (scene, _) = Scene::with_backup().await;
    for pack in scene.packs("root/repository") {
        fs::remove_file(pack).unwrap();
    }
    // Another volume's snapshot fails at this moment, and has not looked yet.
    let local = scene.daemon().local().open().unwrap();
    assert!(
        rustic_core::ReadBackend::read_full(
            &**local.backend(),
            RepositoryFile::Index,
            &Id::default()
        )
        .is_err()
    );
    fs::create_dir(scene.path("other")).unwrap();
    let other = Destination::parse(&format!("vfs://{}", scene.path("other").display())).unwrap();
    let error = scene.daemon().create_backup(&name("snap1"), &other).await.unwrap_err();
    assert!(error.message.contains("/root/repository/data/"), "{error}");
    assert!(local.backend().failure().unwrap().message.contains("/root/repository/index/"));

    // And the other way round: nothing of the backup's failure is left for the snapshot to fail
    // with.
    local.backend().take_failure();
    assert!(scene.daemon().create_backup(&name("snap1"), &other).await.is_err());
    assert!(local.backend().failure().is_none());
}

#[tokio::test]
async fn a_daemons_own_folder_is_no_destination() {
    let scene = Scene::new();
    fs::write(scene.volume("vol1").await.join("a"), "precious").unwrap();
    scene.snapshot("vol1", "snap1").await;
    drop(BuiltinDaemon::open(options(&scene.path("root2"))).unwrap());
    symlink(scene.path("root"), scene.path("link")).unwrap();
    for below in ["root", "root/volumes/vol1", "link", "root2", "root2/repository"] {
        let destination =
            Destination::parse(&format!("vfs://{}", scene.path(below).display())).unwrap();
        let refused = scene.daemon().create_backup(&name("snap1"), &destination).await.unwrap_err();
        assert!(
            refused.status == Some(400) && refused.message.contains("is a daemon's own folder"),
            "{refused}"
        );
        // What an earlier version has put there can still be looked at, but not deleted from.
        scene.daemon().backups(&destination, None).await.unwrap();
        let url = BackupUrl::stored(&destination, "backup-0000000000000000", "vol1");
        let refused = scene.daemon().delete_backup(&url).await.unwrap_err();
        assert!(refused.message.contains("is a daemon's own folder"), "{refused}");
    }
    scene.backup("snap1").await;
}

#[tokio::test]
async fn a_lost_config_changes_nothing_until_it_is_put_back() {
    let (mut scene, url) = Scene::with_backup().await;
    for repository in ["backups/repository", "root/repository"] {
        let config = scene.path(repository).join("config");
        fs::rename(&config, scene.path("config")).unwrap();
        scene.restart(|_| ());
        let keys = || {
            fs::read_dir(config.with_file_name("keys")).unwrap().map(|key| key.unwrap().file_name())
        };
        let before: Vec<_> = keys().collect();
        let told = [
            scene.daemon().create_backup(&name("snap1"), &scene.destination).await.unwrap_err(),
            if repository.starts_with("root") {
                scene.daemon().create_snapshot(&name("vol1"), &name("snap2")).await.unwrap_err()
            } else {
                scene.daemon().backups(&scene.destination, None).await.unwrap_err()
            },
        ];
        for error in told {
            assert!(
                error.kind == ErrorKind::Repository
                    && error.message.contains("config\" is missing"),
                "{error}"
            );
        }
        assert_eq!(keys().collect::<Vec<_>>(), before);
        fs::rename(scene.path("config"), config).unwrap();
    }
    scene.restore("vol2", &url).await.unwrap();
    scene.snapshot("vol1", "snap2").await;
}

#[tokio::test]
async fn one_damaged_file_does_not_stand_in_the_way_of_intact_backups() {
    let (mut scene, url) = Scene::with_backup().await;
    let snapshots = scene.path("backups/repository/snapshots");
    let intact = fs::read_dir(&snapshots).unwrap().next().unwrap().unwrap().path();
    let lost = scene.backup("snap1").await;
    let damaged = fs::read_dir(&snapshots)
        .unwrap()
        .map(|it| it.unwrap().path())
        .find(|path| *path != intact)
        .unwrap();
    let content = fs::read(&damaged).unwrap();
    for rubbish in [&b""[..], &content[..content.len() - 1]] {
        fs::write(&damaged, rubbish).unwrap();
        scene.restart(|_| ());
        let strict = scene.daemon().backups(&scene.destination, None).await.unwrap_err();
        assert_eq!(strict.kind, ErrorKind::Repository, "{strict}");
        scene.daemon().delete_backup(&url).await.unwrap_err();
        scene.daemon().backup(&url).await.unwrap();
        scene.restore("vol2", &url).await.unwrap();
        scene.daemon().delete_volume(&name("vol2"), false).await.unwrap();
        let error = scene.restore("vol2", &lost).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Repository, "it may be in the damaged file: {error}");
        scene
            .daemon()
            .backups(&scene.destination, None)
            .await
            .expect_err("a look at a backup makes no listing whole");
    }
    assert!(intact.exists());
}

#[test]
fn a_panic_of_the_library_is_an_error() {
    let error = super::repository::guarded("the test", || -> Result<()> { panic!("went away") })
        .unwrap_err();
    assert!(error.kind == ErrorKind::Repository && error.message.contains("went away"), "{error}");
}
