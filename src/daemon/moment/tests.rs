//! Moments are of one time, and nothing is left of them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::*;
use crate::{
    clock::SystemClock,
    error::{Error, ErrorKind},
    support::disk::{Disk, run, subvolume},
};

/// A root in `folder`, as the start of a daemon makes it.
fn moments(folder: &Path, commands: Option<MomentCommands>) -> Moments {
    let root = Root::make(&folder.join("root")).unwrap();
    root.make_folders().unwrap();
    Moments::new(&root, commands, Arc::new(SystemClock))
}

/// A folder with one file.
fn place(folder: PathBuf) -> Place {
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("a"), "before").unwrap();
    Place {
        volume: "vol1".into(),
        folder,
        beside: None,
        is_of_the_host: false,
        is_of_the_engine: false,
        is_for_containers_only: false,
    }
}

fn notes(folder: &Path) -> usize {
    fs::read_dir(folder.join("root/moments")).map_or(0, Iterator::count)
}

fn take<'a>(moments: &'a Moments, place: &'a Place) -> Result<Moment<'a>> {
    moments.begin(place).take(None)
}

#[test]
fn elsewhere_the_files_are_read_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let moments = moments(folder.path(), None);
    let place = place(folder.path().join("volume"));
    let moment = take(&moments, &place).unwrap();
    assert_eq!((moment.kind(), moment.files().folder), (Kind::Live, place.folder.as_path()));
    assert_eq!(notes(folder.path()), 0);
    moment.end().unwrap();
    assert!(place.folder.join("a").exists());
}

/// A btrfs with a root and a volume that is a subvolume.
fn on_btrfs() -> Option<(Disk, Moments, Place)> {
    let disk = Disk::new("btrfs", &[])?;
    let moments = moments(&disk.path(), None);
    subvolume(&disk.path().join("volume"));
    let place = place(disk.path().join("volume"));
    Some((disk, moments, place))
}

fn snapshots(disk: &Disk) -> usize {
    fs::read_dir(disk.path().join("root/volumes/.staging")).unwrap().count()
}

#[test]
fn a_subvolume_of_btrfs_is_read_as_it_was_at_the_moment() {
    let Some((disk, moments, place)) = on_btrfs() else { return };
    assert_eq!(moments.offered(&place).kind, Kind::Btrfs);
    let moment = take(&moments, &place).unwrap();
    fs::write(place.folder.join("a"), "after").unwrap();
    fs::write(place.folder.join("b"), "new").unwrap();
    assert_eq!(fs::read_to_string(moment.files().folder.join("a")).unwrap(), "before");
    assert!(!moment.files().folder.join("b").exists());
    assert!(moment.took() >= jiff::SignedDuration::ZERO);
    assert_eq!((snapshots(&disk), notes(&disk.path())), (1, 1));
    moment.end().unwrap();
    assert_eq!((snapshots(&disk), notes(&disk.path())), (0, 0));
    drop(take(&moments, &place).unwrap());
    assert_eq!((snapshots(&disk), notes(&disk.path())), (0, 0));
}

#[test]
fn a_subvolume_that_came_inside_after_the_look_is_read_too() {
    let Some((disk, moments, place)) = on_btrfs() else { return };
    let beginning = moments.begin(&place);
    assert_eq!(beginning.kind(), Kind::Btrfs);
    subvolume(&place.folder.join("inside"));
    fs::write(place.folder.join("inside/b"), "b").unwrap();
    let moment = beginning.take(None).unwrap();
    assert_eq!(moment.kind(), Kind::Reflink);
    assert!(moment.files().folder.join("inside/b").exists());
    assert_eq!((snapshots(&disk), notes(&disk.path())), (0, 0));
}

#[test]
fn a_snapshot_that_a_crash_left_is_removed_by_the_next_start_and_said() {
    let Some((disk, moments, place)) = on_btrfs() else { return };
    std::mem::forget(take(&moments, &place).unwrap());
    assert_eq!((snapshots(&disk), notes(&disk.path())), (1, 1));
    let said = moments.undo_left();
    assert!(said.len() == 1 && said[0].contains("volume \"vol1\""), "{said:?}");
    assert_eq!((snapshots(&disk), notes(&disk.path())), (0, 0));
    assert!(moments.undo_left().is_empty());
}

#[test]
fn a_snapshot_whose_disk_is_not_mounted_is_not_taken_for_gone() {
    let Some(disk) = Disk::new("btrfs", &[]) else { return };
    let home = tempfile::tempdir().unwrap();
    let moments = moments(home.path(), None);
    subvolume(&disk.path().join("volume"));
    let place = Place { beside: Some(disk.path()), ..place(disk.path().join("volume")) };
    std::mem::forget(take(&moments, &place).unwrap());
    run(Command::new("umount").arg(disk.path())).unwrap();
    let said = moments.undo_left();
    let image = disk.path().with_file_name("image");
    run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(disk.path())).unwrap();
    assert!(said.len() == 1 && said[0].contains("is not mounted"), "{said:?}");
    assert_eq!((notes(home.path()), fs::read_dir(disk.path()).unwrap().count()), (1, 2));
    moments.undo_left();
    assert_eq!((notes(home.path()), fs::read_dir(disk.path()).unwrap().count()), (0, 1));
    // One that a person removed is gone.
    let moment = take(&moments, &place).unwrap();
    run(Command::new("btrfs").args(["subvolume", "delete"]).arg(moment.files().folder)).unwrap();
    moment.end().unwrap();
    assert_eq!(notes(home.path()), 0);
}

#[test]
fn a_link_in_the_place_of_the_folder_is_not_followed() {
    let Some((disk, moments, place)) = on_btrfs() else { return };
    subvolume(&disk.path().join("secret"));
    let beginning = moments.begin(&place);
    fs::rename(&place.folder, disk.path().join("away")).unwrap();
    std::os::unix::fs::symlink(disk.path().join("secret"), &place.folder).unwrap();
    let moment = beginning.take(None).unwrap();
    assert_eq!((moment.kind(), snapshots(&disk), notes(&disk.path())), (Kind::Live, 0, 0));
}

#[test]
fn a_moment_of_a_kind_that_only_a_newer_version_knows_is_left_alone() {
    let commanded = Commanded::new();
    std::mem::forget(take(&commanded.moments(COPY), &commanded.place).unwrap());
    let folder = commanded.folder.path().join("root/moments");
    let note = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&note).unwrap().replace("\"command\"", "\"lvm\"");
    fs::write(&note, text).unwrap();
    let said = commanded.moments(COPY).undo_left();
    assert!(said.len() == 1 && said[0].contains("knows no moment \"lvm\""), "{said:?}");
    assert_eq!((commanded.log(), notes(commanded.folder.path())), (String::new(), 1));
}

#[test]
fn what_a_btrfs_snapshot_would_lack_is_read_with_the_rest_and_said() {
    let Some((_disk, moments, place)) = on_btrfs() else { return };
    fs::create_dir(place.folder.join("dir")).unwrap();
    subvolume(&place.folder.join("dir/inside"));
    fs::write(place.folder.join("dir/inside/f"), "f").unwrap();
    let offer = moments.offered(&place);
    assert!(offer.kind == Kind::Reflink && offer.why.unwrap().contains("\"dir/inside\""));
    let moment = take(&moments, &place).unwrap();
    assert!(moment.files().folder.join("dir/inside/f").exists());
}

#[test]
fn a_folder_with_a_mount_inside_is_not_snapshotted() {
    let Some((disk, moments, place)) = on_btrfs() else { return };
    let (share, at) = (disk.path().join("share"), place.folder.join("share"));
    fs::create_dir_all(&share).unwrap();
    fs::create_dir_all(&at).unwrap();
    run(Command::new("mount").arg("--bind").args([&share, &at])).unwrap();
    let offer = moments.offered(&place);
    run(Command::new("umount").arg(&at)).unwrap();
    assert!(offer.kind != Kind::Btrfs && offer.why.unwrap().contains("mounted inside"));
    assert_eq!(moments.offered(&place).kind, Kind::Btrfs);
}

/// A volume whose moments are copies, and a log of the commands.
struct Commanded {
    folder: TempDir,
    place: Place,
}

impl Commanded {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path().join("volume"));
        Self { folder, place }
    }

    /// Commands in a folder with the volume: `log` has what they were given.
    fn moments(&self, take: &str) -> Moments {
        let cd = format!("cd '{}' || exit", self.folder.path().display());
        let drop = format!("{cd}; echo drop $VOLUME $FOLDER ${{MOMENT:-none}} >> log; rm -rf copy");
        let commands = MomentCommands::new(format!("{cd}; {take}"), drop);
        moments(self.folder.path(), Some(commands.within(Duration::from_secs(5))))
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.replace(&self.folder.path().display().to_string(), "")
    }

    fn fails(&self, take: &str) -> Error {
        let moments = self.moments(take);
        let error = moments.begin(&self.place).take(None).unwrap_err();
        assert_eq!(notes(self.folder.path()), 0, "nothing is left to be undone");
        error
    }
}

const COPY: &str = "echo some words; cp -a $FOLDER copy; echo $PWD/copy";

#[test]
fn the_operators_commands_take_a_moment_and_drop_it() {
    let commanded = Commanded::new();
    let moments = commanded.moments(COPY);
    assert_eq!(moments.offered(&commanded.place).kind, Kind::Command);
    let moment = take(&moments, &commanded.place).unwrap();
    assert_eq!(moment.files().folder, commanded.folder.path().join("copy"));
    moment.end().unwrap();
    assert_eq!(commanded.log(), "drop vol1 /volume /copy\n");
    drop(take(&moments, &commanded.place).unwrap());
    assert!(!commanded.folder.path().join("copy").exists());
}

#[test]
fn what_a_command_made_is_dropped_by_the_next_start() {
    let commanded = Commanded::new();
    std::mem::forget(take(&commanded.moments(COPY), &commanded.place).unwrap());
    let said = commanded.moments(COPY).undo_left();
    assert!(said.len() == 1 && said[0].contains("was left by a run"), "{said:?}");
    assert_eq!(commanded.log(), "drop vol1 /volume /copy\n");
}

#[test]
fn a_command_that_fails_fails_the_backup_and_what_it_made_is_dropped() {
    let commanded = Commanded::new();
    let error = commanded.fails("mkdir copy; echo no room >&2; exit 5");
    assert!(error.message.contains("(exit status: 5): no room"), "{error}");
    assert_eq!(commanded.log(), "drop vol1 /volume none\n");
    assert!(!commanded.folder.path().join("copy").exists());
}

#[test]
fn a_command_that_hangs_is_stopped_with_all_that_it_started() {
    let commanded = Commanded::new();
    let moments = commanded.moments("echo begun >&2; sleep 600 & wait");
    let commands = moments.commands.clone().unwrap().within(Duration::from_millis(300));
    let moments = Moments { commands: Some(commands), ..moments };
    let error = moments.begin(&commanded.place).take(None).unwrap_err();
    assert!(error.kind == ErrorKind::Timeout && error.message.contains("300ms"), "{error}");
    assert!(error.message.ends_with("was stopped: begun"), "{error}");
}

#[test]
fn a_command_that_names_no_folder_of_a_moment_is_told_why() {
    let commanded = Commanded::new();
    for (take, why) in [
        ("true", "printed nothing"),
        ("echo copy", "no absolute path"),
        ("echo /nothing/there", "No such file"),
        ("echo $FOLDER/a", "no folder"),
        ("echo $FOLDER", "the volume's own folder"),
        ("mkdir copy; echo $PWD/copy", "is empty, and the volume is not"),
    ] {
        let error = commanded.fails(take);
        assert!(error.message.contains(why) && error.hint.is_some(), "{take}: {error}");
    }
}

#[test]
fn commands_do_not_get_the_passwords_of_the_settings() {
    let commanded = Commanded::new();
    let moments = commanded.moments("set | grep -c ^BKUP_ >&2; exit 1");
    let error = moments.begin(&commanded.place).take(None).unwrap_err();
    assert!(error.message.ends_with(": 0"), "{error}");
}

/// A place on a file system whose copies share blocks.
fn on_xfs() -> Option<(Disk, Moments, Place)> {
    let disk = Disk::new("xfs", &[])?;
    let moments = moments(&disk.path(), None);
    let place = place(disk.path().join("volume"));
    Some((disk, moments, place))
}

fn content(mut copy: &fs::File) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut copy, &mut text).unwrap();
    text
}

#[test]
fn on_xfs_what_was_changed_lately_is_kept_as_it_was_and_leaves_no_traces() {
    let Some((disk, moments, place)) = on_xfs() else { return };
    fs::create_dir(place.folder.join("dir")).unwrap();
    fs::write(place.folder.join("dir/b"), "before").unwrap();
    assert_eq!(moments.offered(&place).kind, Kind::Reflink);
    let inside = || fs::read_dir(&place.folder).unwrap().count();
    let moment = take(&moments, &place).unwrap();
    let copies = moment.files().copies.unwrap();
    assert!(copies.moving().is_empty());
    fs::write(place.folder.join("a"), "after").unwrap();
    fs::remove_file(place.folder.join("dir/b")).unwrap();
    fs::write(place.folder.join("dir/c"), "new").unwrap();
    for path in ["a", "dir/b"] {
        let file = copies.file(Path::new(path)).unwrap();
        assert_eq!((content(&file.copy), file.stat.st_size), ("before".into(), 6), "{path}");
    }
    assert_eq!(copies.folder(Path::new("dir")).unwrap().names, [c"b".to_owned()]);
    let new = rustix::fs::stat(place.folder.join("dir/c")).unwrap();
    assert!(copies.is_later(&new) && copies.file(Path::new("dir/c")).is_none());
    assert_eq!((inside(), notes(&disk.path()), snapshots(&disk)), (2, 0, 0));
    moment.end().unwrap();
    assert_eq!(inside(), 2);
}

#[test]
fn what_was_not_changed_lately_is_not_copied() {
    let Some((_disk, _moments, place)) = on_xfs() else { return };
    let tomorrow = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let copies = reflink::copy_hot((&place.folder, None), || tomorrow).unwrap();
    assert!(copies.file(Path::new("a")).is_none() && copies.folder(Path::new(".")).is_none());
}

#[test]
fn what_lies_behind_a_symbolic_link_is_not_copied() {
    let Some((disk, _moments, place)) = on_xfs() else { return };
    let secret = disk.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "secret").unwrap();
    for (name, to) in [("link", secret.clone()), ("key", secret.join("key"))] {
        std::os::unix::fs::symlink(to, place.folder.join(name)).unwrap();
    }
    let copies = reflink::copy_hot((&place.folder, None), jiff::Timestamp::now).unwrap();
    for path in ["link/key", "key"] {
        assert!(copies.file(Path::new(path)).is_none(), "{path}");
    }
    assert_eq!(copies.folder(Path::new(".")).unwrap().names.len(), 3);
    assert!(copies.folder(Path::new("link")).is_none());
    // A folder that becomes a link while the tree is looked at.
    fs::create_dir(place.folder.join("dir")).unwrap();
    fs::write(place.folder.join("dir/key"), "own").unwrap();
    let looks = std::cell::Cell::new(0);
    let copies = reflink::copy_hot((&place.folder, None), || {
        looks.set(looks.get() + 1);
        if looks.get() == 3 {
            fs::remove_dir_all(place.folder.join("dir")).unwrap();
            std::os::unix::fs::symlink(&secret, place.folder.join("dir")).unwrap();
        }
        jiff::Timestamp::now()
    });
    let copies = copies.unwrap();
    let file = copies.file(Path::new("dir/key"));
    assert!(file.is_none_or(|file| content(&file.copy) == "own"), "{copies:?}");
}

#[test]
fn what_changes_at_every_look_is_told() {
    let Some((_disk, _moments, place)) = on_xfs() else { return };
    let number = std::cell::Cell::new(0);
    let copies = reflink::copy_hot((&place.folder, None), || {
        number.set(number.get() + 1);
        fs::write(place.folder.join("a"), number.get().to_string()).unwrap();
        jiff::Timestamp::now()
    });
    let copies = copies.unwrap();
    assert!(copies.moving().contains(Path::new("a")), "{copies:?}");
}

#[test]
fn a_copy_that_can_not_be_made_again_does_not_stay_as_it_was() {
    let Some((_disk, _moments, place)) = on_xfs() else { return };
    let path = place.folder.join("a");
    // What another file system has can't be copied.
    let elsewhere = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    fs::write(elsewhere.path(), "after").unwrap();
    let number = std::cell::Cell::new(0);
    let copies = reflink::copy_hot((&place.folder, None), || {
        number.set(number.get() + 1);
        // The first look has copied it, and the second one begins.
        if number.get() == 4 {
            let bind = Command::new("mount").arg("--bind").args([elsewhere.path(), &path]).status();
            assert!(bind.unwrap().success());
        }
        jiff::Timestamp::now()
    });
    run(Command::new("umount").arg(&path)).unwrap();
    assert!(number.get() > 4);
    assert!(copies.unwrap().file(Path::new("a")).is_none());
}

#[test]
fn files_that_are_written_together_are_kept_together() {
    let Some((_disk, moments, place)) = on_xfs() else { return };
    let write = |number: u32| {
        for name in ["a", "b"] {
            fs::write(place.folder.join(name), format!("{number:09}")).unwrap();
        }
    };
    write(0);
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1.. {
                write(number);
                if ended.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                // A database is not at work all the time.
                std::thread::park_timeout(Duration::from_millis(30));
            }
        });
        let mut settled = 0;
        for _ in 0..20 {
            let moment = take(&moments, &place).unwrap();
            let copies = moment.files().copies.unwrap();
            if copies.moving().is_empty() {
                settled += 1;
                let [a, b] =
                    ["a", "b"].map(|name| content(&copies.file(Path::new(name)).unwrap().copy));
                // The file "b" is written after "a", and may be empty while it is.
                let (a, b): (i64, i64) = (a.parse().unwrap_or(-1), b.parse().unwrap_or(-1));
                assert!(a == b || a == b + 1 || a == -1 || b == -1, "{a} {b}");
            }
        }
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(settled > 0);
    });
}

#[test]
fn on_a_full_disk_the_files_are_read_as_they_are() {
    let Some((disk, moments, place)) = on_xfs() else { return };
    fs::write(place.folder.join("a"), vec![7; 1 << 20]).unwrap();
    let full = fs::File::create(disk.path().join("full")).unwrap();
    let mut size = 300 << 20;
    while size > 4096 {
        // XFS keeps some blocks for itself.
        let end = full.metadata().unwrap().len();
        if rustix::fs::fallocate(&full, rustix::fs::FallocateFlags::empty(), end, size).is_err() {
            size /= 2;
        }
    }
    let moment = take(&moments, &place).unwrap();
    assert!(matches!(moment.kind(), Kind::Live | Kind::Reflink));
    assert_eq!(fs::read(moment.files().folder.join("a")).unwrap().len(), 1 << 20);
}

/// Writes to a file through a memory map now, and each time that a line comes.
const MAPS: &str = "import mmap, os, sys
map = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 4096)
for number in range(1, 99):
    map[0] = number
    print(number, flush=True)
    if not sys.stdin.readline(): break";

#[test]
fn a_write_through_a_memory_map_after_files_began_to_be_read_live_changes_the_files_time() {
    let Some(disk) = Disk::new("ext4", &[]) else { return };
    let moments = moments(&disk.path(), None);
    let place = place(disk.path().join("volume"));
    let path = place.folder.join("a");
    fs::write(&path, vec![0; 4096]).unwrap();
    let mut python = Command::new("python3");
    let python = python.args(["-c", MAPS]).arg(&path);
    let Ok(mut python) = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        eprintln!("python3 is not installed");
        return;
    };
    let mut said = BufReader::new(python.stdout.take().unwrap()).lines();
    let mut ask = python.stdin.take().unwrap();
    assert_eq!(said.next().unwrap().unwrap(), "1");
    let before = rustix::fs::stat(&path).unwrap();
    let moment = take(&moments, &place).unwrap();
    assert_eq!(moment.kind(), Kind::Live);
    writeln!(ask).unwrap();
    assert_eq!(said.next().unwrap().unwrap(), "2");
    let after = rustix::fs::stat(&path).unwrap();
    drop(ask);
    python.wait().unwrap();
    assert!(changed_at(&after) > changed_at(&before));
}
