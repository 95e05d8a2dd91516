//! Disks that get full at random moments: the destination's, the daemon's, that of the records, or all on one, of
//! bytes or of files. The program gives room back by itself, and nothing grows for ever.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::{COMMANDS, Counts, Random, faults, files_in, world::World};
use crate::support::{
    mounted::{Mounted, format},
    site::Site,
};

/// What is on the disk, of a site.
const FOLDERS: [&[&str]; 4] =
    [&["backups"], &["daemon"], &["data"], &["backups", "daemon", "data"]];
/// The disks, with the options of `mkfs` and their sizes. The files that ext4 can have are counted.
const DISKS: [(&str, &[&str], u64); 2] =
    [("ext4", &["-m", "0", "-N", "1500"], 64 << 20), ("xfs", &[], 320 << 20)];
/// What a backup has that is to be given back, in bytes.
const BALLAST: u64 = 6 << 20;
/// So often has a site a full disk before the next one, with other disks.
const TIMES_OF_A_SITE: usize = 8;

struct Full {
    // Unmounted before the site's files go.
    _mounted: Mounted,
    world: World,
    folders: &'static [&'static str],
    counts_files: bool,
}

#[test]
fn a_full_disk_loses_nothing_and_gets_room_again_by_prune_alone() {
    let (mut random, mut counts) = (Random::new(7), Counts::default());
    let (mut left, mut turn) = (faults(8), random.below(8));
    while left > 0 {
        let times = left.min(TIMES_OF_A_SITE);
        left -= times;
        let folders = FOLDERS[usize::try_from(turn % 4).unwrap()];
        let disk = DISKS[usize::try_from(turn / 4 % 2).unwrap()];
        turn += 3;
        println!("{} with {folders:?}", disk.0);
        let Some(mut full) = Full::new(disk, folders, Random(random.next())) else { return };
        for _ in 0..times {
            full.one();
        }
        full.world.end();
        full.is_no_larger_than_needed();
        counts.add_all(&full.world.counts);
    }
    println!("{counts:?}");
}

impl Full {
    fn new(
        (kind, options, size): (&str, &[&str], u64),
        folders: &'static [&'static str],
        random: Random,
    ) -> Option<Self> {
        let site = Site::builtin().with("BKUP_REPOSITORY_PASSWORD", "secret");
        let (image, disk) = (site.path("image"), site.path("disk"));
        let mut mounted = Mounted::default();
        let made = format(kind, options, &image, size)
            .and_then(|()| mounted.at(&["-o", "loop", "-t", kind], &image, disk.clone()))
            .and_then(|()| mounted.folders(&disk, folders, &site.path("")));
        if let Err(why) = made {
            crate::support::disk::skipped(&format!("no {kind} here: {why}"));
            return None;
        }
        let mut world = World::new(site, "vol1", random);
        world.first_backup();
        Some(Self { _mounted: mounted, world, folders, counts_files: kind == "ext4" })
    }

    fn disk(&self) -> PathBuf {
        self.world.site.path("disk")
    }

    fn one(&mut self) {
        // What only this backup has is to be given back later.
        let ballast = self.world.random.bytes(BALLAST);
        self.world.keep("ballast", Some(&ballast));
        self.backs_up();
        self.world.keep("ballast", None);
        self.backs_up();
        let line = self.world.begin(&COMMANDS);
        let fills = self.fill();
        let ran = self.world.site.run(&line);
        println!("{line}: {fills}: {}", ran.code);
        if ran.code != 0 {
            let words = ["No space", "kept free", "room", "no more files"];
            assert!(words.iter().any(|words| ran.err.contains(words)), "{fills}: {ran:#?}");
        }
        self.world.counts.add(if ran.code == 0 { "got by" } else { "failed, and said so" });
        self.world.ended(&line, &ran);
        if self.folders.contains(&"backups") {
            self.gets_room_by_itself(&fills);
        }
        self.empty();
        self.world.records_are_right();
        self.backs_up();
    }

    fn backs_up(&mut self) {
        let ran = self.world.site.run(COMMANDS[0]).ok();
        self.world.acknowledged(&ran);
    }

    /// Leaves a few bytes, or a few files, of what is free; says how many.
    fn fill(&mut self) -> String {
        let filler = self.disk().join("filler");
        fs::create_dir(&filler).unwrap();
        let random = &mut self.world.random;
        if self.counts_files && random.below(2) == 0 {
            let left = random.below(14);
            let mut made = 0;
            while statvfs(&filler).unwrap().f_favail > left {
                File::create(filler.join(made.to_string())).unwrap();
                made += 1;
            }
            return format!("{left} files are left");
        }
        let most = *random.one_of(&[1, 64 << 10, 600 << 10]);
        let left = random.below(most);
        let file = File::create(filler.join("bytes")).unwrap();
        let mut at = 0;
        // A part of what is asked for goes to what describes it.
        let mut part = 1 << 26;
        while part >= 4096 {
            let free = statvfs(&filler).unwrap();
            let free = (free.f_bavail * free.f_frsize).saturating_sub(left);
            let length = free.min(part);
            if length == 0 || fallocate(&file, FallocateFlags::empty(), at, length).is_err() {
                part /= 2;
                continue;
            }
            at += length;
        }
        format!("{left} bytes are left")
    }

    fn empty(&self) {
        fs::remove_dir_all(self.disk().join("filler")).unwrap();
    }

    /// With the disk as full as it is: what nobody needs goes within three days, and then there is room. On the
    /// second, what is packed anew may take some.
    fn gets_room_by_itself(&mut self, fills: &str) {
        for _ in 0..3 {
            self.world.a_day_passes();
            self.world.listed();
            let pruned = self.world.site.run("prune --volume vol1 --keep-last 1");
            assert_eq!(pruned.code, 0, "{fills}: {pruned:#?}");
            self.world.pruned(1);
        }
        let disk = statvfs(self.disk()).unwrap();
        let free = disk.f_bavail * disk.f_frsize;
        let needs = size(&self.world.site.volume("vol1")) + (256 << 10);
        // Packs may need folders of their own.
        let has_room = free >= needs && disk.f_favail >= 20;
        let next = self.world.site.run(COMMANDS[0]);
        println!(
            "{free} bytes are free after prune, a backup needs {needs} at most: {}",
            next.code
        );
        assert!(free > BALLAST / 2, "{fills}: {free} bytes are free");
        assert!(next.code == 0 || !has_room, "{fills}, {free} bytes are free: {next:#?}");
        self.world.counts.add(if next.code == 0 {
            "got room by itself"
        } else {
            "not enough room"
        });
        if next.code == 0 {
            self.world.acknowledged(&next);
        }
        self.world.check();
    }

    /// After a `prune` and a day, the destination has little more than a new one with the same backup.
    fn is_no_larger_than_needed(&mut self) {
        let world = &mut self.world;
        for _ in 0..3 {
            world.site.run("prune --snapshots --keep-last 1").ok();
            world.pruned(1);
            world.a_day_passes();
        }
        let anew = world.site.path("anew");
        fs::create_dir(&anew).unwrap();
        let made = world
            .command("backup --create-snapshot --volume vol1")
            .env("BKUP_BACKUP_URL", format!("vfs://{}", anew.display()))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let (is, needs) = (size(&world.site.path("backups/repository")), size(&anew));
        println!("{is} bytes for backups that need {needs}");
        assert!(is <= needs * 3 / 2 + (64 << 10), "{is} bytes for backups that need {needs}");
    }
}

/// How many bytes the files in a folder have.
fn size(folder: &Path) -> u64 {
    files_in(folder).iter().map(|file| file.metadata().unwrap().len()).sum()
}
