//! What is left out as configured is what restic leaves out.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{CStr, OsStr},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use rustic_core::TreeId;

use super::{Scene, settled};
use crate::{
    daemon::{
        moment::{Files, TICK},
        save::{Changed, Saved, Source, save_watched},
    },
    exclude::{Excludes, Marker, Patterns, VolumeExcludes},
    progress::NoProgress,
    support::disk::{Disk, run},
};

fn patterns(text: &str) -> Excludes {
    Excludes { patterns: Patterns::parse(text).unwrap(), ..Excludes::default() }
}

impl Scene {
    fn saved_without(
        &self,
        (volume, excludes): (&Path, &Excludes),
        parent: Option<&Saved>,
        after_reading: &(dyn Fn(&CStr) + Sync),
    ) -> Saved {
        let excludes = excludes.of_volume("vol1", &BTreeMap::new()).unwrap();
        let excludes: Option<&VolumeExcludes> = excludes.as_deref();
        let files = Files { excludes, ..Files::live(volume) };
        let parent = parent.and_then(settled);
        let source = Source { files, ..self.source(volume, parent) };
        let after_reading = |name: &CStr| {
            after_reading(name);
            Ok(())
        };
        save_watched(&self.repository, source, (&NoProgress, &|| false), &after_reading).unwrap()
    }

    fn without(&self, excludes: &Excludes, parent: Option<&Saved>) -> Saved {
        self.saved_without((&self.path(""), excludes), parent, &|_| {})
    }

    /// All paths in what was saved.
    fn paths(&self, tree: TreeId) -> BTreeSet<PathBuf> {
        let indexed = self.repository.indexed().unwrap();
        let mut left = vec![(self.node(tree, "").subtree.unwrap(), PathBuf::new())];
        let mut paths = BTreeSet::new();
        while let Some((tree, folder)) = left.pop() {
            for node in indexed.get_tree(&tree).unwrap().nodes {
                let path = folder.join(node.name());
                left.extend(node.subtree.map(|tree| (tree, path.clone())));
                paths.insert(path);
            }
        }
        paths
    }

    /// The same, of restic; `None` if it is not installed.
    fn paths_by_restic(&self, arguments: &[String]) -> Option<BTreeSet<PathBuf>> {
        let restic = |arguments: &[&OsStr]| {
            let mut command = Command::new("restic");
            command.args(["--no-cache", "--quiet", "--repo", "repository"]).args(arguments);
            command.env("RESTIC_PASSWORD", "secret").current_dir(self.folder.path());
            command.output()
        };
        let volume = self.path("");
        let volume = volume.parent().unwrap().join("volume");
        let mut all: Vec<&OsStr> = vec!["backup".as_ref(), volume.as_ref()];
        all.extend(arguments.iter().map(|argument| OsStr::new(argument.as_str())));
        let made = match restic(&all) {
            Ok(made) => made,
            Err(_) => {
                eprintln!("restic is not installed");
                return None;
            }
        };
        assert!(made.status.success(), "{arguments:?} {}", String::from_utf8_lossy(&made.stderr));
        let listed = restic(&["ls", "latest"].map(OsStr::new)).unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let below = |line| Path::new(line).strip_prefix(&volume).ok().map(Path::to_owned);
        Some(listed.lines().filter_map(below).filter(|path| path != Path::new("")).collect())
    }
}

const FILES: [&str; 22] = [
    "a.log",
    "b.LOG",
    "cache/one",
    "cache/deep/two",
    "dir/a.log",
    "dir/cache/three",
    "dir/important.log",
    "dir/keep/a.tmp",
    "dir/sub/x/y/z/file.c",
    "dir/sub/x/file.c",
    "dir/sub/file.h",
    "dir/[odd]",
    "dir/star*",
    "dir/ä",
    "empty.tmp",
    "file1",
    "file2",
    "file-x",
    "tmp/.hidden",
    "tmp/inside/a.log",
    "with space/and more",
    "z/a/b/c/a/b/d",
];

#[test]
fn patterns_leave_out_what_they_leave_out_for_restic() {
    let scene = Scene::new();
    FILES.iter().for_each(|file| scene.write(file, file.as_bytes()));
    let all = scene.paths(scene.save(None).tree);
    let volume = scene.path("");
    let top = volume.parent().unwrap().join("volume").display().to_string();
    for text in [
        "*.log,!important.log",
        "/cache",
        "cache/",
        "dir/cache,file?",
        "/dir/*,!keep",
        "/*,!dir,!/dir/sub,!x",
        "/**/a.log,/tmp/.*",
        "/dir/**/*.c,with space",
        "dir/sub/**",
        "**/x,file[^12]",
        "a/**/d,file[12]",
        "/z/**/b/**/d,file[0-9],!file2",
        "dir/\\[odd\\],star\\*,?",
        "nothing-like-that",
        "*.tmp,*.h,!/dir/keep/*,/t*p/inside/",
    ] {
        let saved = scene.without(&patterns(text), None);
        let ours = scene.paths(saved.tree);
        let arguments = text.split(',').map(|pattern| {
            let (not, pattern) = pattern.strip_prefix('!').map_or(("", pattern), |it| ("!", it));
            let from_top = if pattern.starts_with('/') { top.as_str() } else { "" };
            format!("--exclude={not}{from_top}{pattern}")
        });
        let arguments: Vec<_> = arguments.collect();
        let Some(restics) = scene.paths_by_restic(&arguments) else { return };
        assert_eq!(ours, restics, "{text}");
        assert_eq!(saved.changed.excluded == 0, ours == all, "{text}");
    }
}

#[test]
fn marked_folders_are_empty_but_for_the_mark_as_with_restic() {
    let scene = Scene::new();
    let tag = "Signature: 8a477f597d28d172789f06886806bc55\nmore";
    for (file, content) in [
        ("cached/CACHEDIR.TAG", tag),
        ("cached/large/file", "x"),
        ("not-cached/CACHEDIR.TAG", "Signature: another"),
        ("not-cached/file", "x"),
        ("marked/.nobackup", ""),
        ("marked/file", "x"),
        ("marked/inside/.nobackup", ""),
        ("other/file", "x"),
    ] {
        scene.write(file, content.as_bytes());
    }
    let markers = vec![Marker::of_caches(), Marker::parse(".nobackup").unwrap()];
    let saved = scene.without(&Excludes { markers, ..Excludes::default() }, None);
    let ours = scene.paths(saved.tree);
    assert!(ours.contains(Path::new("cached/CACHEDIR.TAG")), "{ours:?}");
    assert!(!ours.contains(Path::new("marked/inside")), "{ours:?}");
    assert_eq!(saved.changed.excluded, 3);
    let arguments = ["--exclude-caches", "--exclude-if-present=.nobackup"].map(str::to_owned);
    let Some(restics) = scene.paths_by_restic(&arguments) else { return };
    assert_eq!(ours, restics);
}

#[test]
fn what_is_mounted_in_a_volume_is_an_empty_folder_where_one_file_system_is_saved() {
    let Some(disk) = Disk::new("ext4", &[]) else { return };
    let scene = Scene::new();
    scene.write("file", b"x");
    scene.write("mounted/below", b"below");
    fs::write(disk.path().join("inside"), "x").unwrap();
    let mut mount = Command::new("mount");
    run(mount.arg("--bind").arg(disk.path()).arg(scene.path("mounted"))).unwrap();
    let one_file_system = Excludes { one_file_system: true, ..Excludes::default() };
    let saved = scene.without(&one_file_system, None);
    let restics = scene.paths_by_restic(&["--one-file-system".to_owned()]);
    run(Command::new("umount").arg("--lazy").arg(scene.path("mounted"))).unwrap();
    let ours = scene.paths(saved.tree);
    assert_eq!(ours, ["file", "mounted"].map(PathBuf::from).into());
    assert!(restics.is_none_or(|restics| restics == ours));
}

#[test]
fn a_change_of_the_patterns_counts_at_the_next_backup() {
    let scene = Scene::new();
    scene.write("cache/file", b"file");
    scene.write("data", b"data");
    let without_cache = patterns("/cache");
    let all = scene.save(None);
    let less = scene.without(&without_cache, Some(&all));
    assert_eq!((less.files, less.bytes_read, less.changed.excluded), (1, 0, 1));
    let again = scene.without(&without_cache, Some(&less));
    assert_eq!(again.tree, less.tree);
    let back = scene.without(&Excludes::default(), Some(&again));
    assert_eq!((back.tree, back.bytes_read, back.changed.excluded), (all.tree, 4, 0));
}

#[test]
fn what_is_left_out_is_not_told_as_changed() {
    let scene = Scene::new();
    scene.write("cache/busy", b"1");
    scene.write("data", b"data");
    let (volume, busy, cache) = (scene.path(""), scene.path("cache/busy"), patterns("/cache"));
    // Once, a file changes that is not saved (any more), and then one that is saved.
    let changed_by = |excludes: &Excludes| {
        let is_over = AtomicBool::new(false);
        let changes = |name: &CStr| {
            if name == c"data" && !is_over.swap(true, Ordering::Relaxed) {
                fs::write(&busy, "22").unwrap();
                std::thread::sleep(3 * TICK.unsigned_abs());
                fs::write(scene.path("data"), "data2").unwrap();
            }
        };
        scene.saved_without((&volume, excludes), None, &changes).changed
    };
    assert_eq!(changed_by(&cache), Changed { excluded: 1, ..Changed::default() });
}
