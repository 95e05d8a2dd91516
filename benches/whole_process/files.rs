//! Whole backups and restores of a volume, beside other programs.

use std::{
    fs,
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Measured, measure, median, mib, program, room::most_beside, seconds};

const LARGE_SIZE: usize = 128 << 20;

/// The files of a volume.
#[derive(Clone, Copy)]
struct Files {
    small: usize,
    small_size: usize,
    folders: usize,
    large: usize,
}

impl Files {
    fn chosen() -> Self {
        let gigabyte = Self { small: 20_000, small_size: 25 << 10, folders: 200, large: 4 };
        match std::env::var("SIZE").as_deref() {
            Ok("10g") => Self { small: 200_000, folders: 2_000, large: 40, ..gigabyte },
            Ok("million") => Self { small: 1_000_000, small_size: 0, folders: 1_000, large: 0 },
            Ok("onefolder") => Self { small: 1_000_000, small_size: 0, folders: 1, large: 0 },
            Ok("1g") | Err(_) => gigabyte,
            Ok(other) => panic!("SIZE is 1g, 10g, million or onefolder, and not {other}"),
        }
    }

    fn path(self, folder: &Path, index: usize) -> PathBuf {
        folder.join(format!("{:04}/{index:07}", index % self.folders))
    }

    /// Half of every block is text, half is noise.
    fn fill(self, folder: &Path) {
        let mut noise = Noise(1);
        for index in 0..self.folders {
            fs::create_dir_all(folder.join(format!("{index:04}"))).expect("a folder");
        }
        for index in 0..self.small {
            fs::write(self.path(folder, index), noise.block(self.small_size)).expect("a file");
        }
        for index in 0..self.large {
            let mut file = fs::File::create(folder.join(format!("large-{index}"))).expect("a file");
            for _ in 0..LARGE_SIZE >> 20 {
                file.write_all(&noise.block(1 << 20)).expect("room");
            }
        }
    }

    /// One in a hundred small files is written anew, and one megabyte in the middle of a large one.
    fn change(self, folder: &Path) {
        let mut noise = Noise(2);
        for index in (0..self.small).step_by(100) {
            let content = noise.block(self.small_size.max(1));
            fs::write(self.path(folder, index), content).expect("a file");
        }
        if self.large > 0 {
            let large = fs::OpenOptions::new().write(true).open(folder.join("large-0"));
            let (content, at) = (noise.block(1 << 20), (LARGE_SIZE / 2) as u64);
            FileExt::write_all_at(&large.expect("a file"), &content, at).expect("room");
        }
    }
}

/// What is done to the files, each with its own column of figures.
const WORK: [&str; 4] = ["first backup", "nothing changed", "1 % of files changed", "restore"];

/// One of the programs that back up the same files.
struct Rival {
    name: &'static str,
    repository: PathBuf,
    /// The commands for [`WORK`]: the first three are one, the last one restores into `restored`.
    back_up: Box<dyn Fn() -> Command>,
    restore: Box<dyn Fn() -> Command>,
    restored: PathBuf,
}

/// Whole backups and restores, beside restic, borg, and what Convoy does.
pub(super) fn files(folder: &Path, runs: usize) {
    let size = Files::chosen();
    let mut all: Vec<(&str, [Vec<Measured>; 4], u64)> = Vec::new();
    let (mut tars, mut beside) = (Vec::new(), 0);
    for run in 0..runs {
        let here = folder.join(format!("run-{run}"));
        fs::create_dir_all(here.join("backups")).expect("a folder");
        measure(program(&here).args(["create", "--volume", "vol1", "--size", "20G"]));
        let volume = here.join("daemon/volumes/vol1");
        size.fill(&volume);
        // The same files for each, warm and on disk: none pays for what was written before it.
        let warm = "tar -cf - . | cat > /dev/null; sync";
        let warm = || measure(Command::new("sh").arg("-c").arg(warm).current_dir(&volume));
        warm();
        let rivals = rivals(&here, &volume);
        all.resize_with(rivals.len(), || ("", Default::default(), 0));
        for step in 0..3 {
            if step == 2 {
                size.change(&volume);
            }
            for (rival, figures) in rivals.iter().zip(&mut all) {
                sync();
                let (measured, room) =
                    most_beside(&here.join("daemon"), || measure(&mut (rival.back_up)()));
                figures.1[step].push(measured);
                beside = beside.max(room);
            }
        }
        // In turns: what is second finds more to be written to the disk.
        for turn in 0..rivals.len() {
            let at = (turn + run) % rivals.len();
            let (rival, figures) = (&rivals[at], &mut all[at]);
            // Others restore into the folder that they are in.
            if at > 0 {
                fs::create_dir(&rival.restored).expect("a folder");
            }
            sync();
            let mut restored = measure((rival.restore)().current_dir(restored_in(rival, &here)));
            // A restore is done when it is on the disk. Ours waits for that by itself.
            let mut to_disk = Command::new("sync");
            restored.took += measure(to_disk.arg("-f").arg(&rival.restored)).took;
            figures.1[3].push(restored);
            (figures.0, figures.2) = (rival.name, on_disk(&rival.repository));
            let mut diff = Command::new("diff");
            measure(diff.arg("-r").arg("--no-dereference").arg(&volume).arg(&rival.restored));
            // What was made stays to the end where there is room: ext4 is slow in making files for
            // minutes after many were removed.
            if size.small > 20_000 {
                fs::remove_dir_all(&rival.restored).expect("it can be removed");
            }
        }
        if run == 0 && size.small <= 20_000 {
            let archive = here.join("convoy.tar.gz");
            let mut tar = Command::new("tar");
            tars.push(measure(tar.arg("-czf").arg(archive).arg("-C").arg(&volume).arg(".")));
        }
    }
    print_files(all);
    println!(
        "| room beside the volume, at most, while it was backed up | {:.1} MB |",
        beside as f64 / 1e6
    );
    if !tars.is_empty() {
        println!(
            "| each time: `tar` and `gzip` (Convoy's vfs driver) | {} |",
            seconds(median(tars))
        );
    }
}

fn print_files(all: Vec<(&str, [Vec<Measured>; 4], u64)>) {
    let names: Vec<_> = all.iter().map(|(name, ..)| *name).collect();
    println!("| what | {} | ratio to restic | memory ({}) |", names.join(" | "), names.join(", "));
    println!("|---|{}---|---|", "---|".repeat(names.len()));
    for (at, what) in WORK.iter().enumerate() {
        let medians: Vec<_> =
            all.iter().map(|(_, figures, _)| median(figures[at].clone())).collect();
        let each =
            |show: fn(Measured) -> String| medians.iter().copied().map(show).collect::<Vec<_>>();
        let ratio = medians[0].took.as_secs_f64() / medians[1].took.as_secs_f64();
        println!(
            "| {what} | {} | {ratio:.2} | {} |",
            each(seconds).join(" | "),
            each(mib).join(", ")
        );
    }
    let sizes: Vec<_> =
        all.iter().map(|(.., size)| format!("{:.1} MB", *size as f64 / 1e6)).collect();
    let ratio = all[0].2 as f64 / all[1].2 as f64;
    println!("| repository, after three backups | {} | {ratio:.2} | |", sizes.join(" | "));
}

/// This program first, restic second.
fn rivals(here: &Path, volume: &Path) -> Vec<Rival> {
    let (owned, volume) = (here.to_owned(), volume.to_owned());
    let at = owned.clone();
    let back_up = move || {
        let mut command = program(&at);
        command.args(["backup", "--volume", "vol1", "--create-snapshot"]);
        command
    };
    let at = owned.clone();
    let restore = move || {
        let url = backup_url(&at);
        let mut command = program(&at);
        command.args(["restore", "--volume", "vol2", "--backupurl", &url]);
        command
    };
    let ours = Rival {
        name: "convoy-backups",
        repository: owned.join("backups/repository"),
        back_up: Box::new(back_up),
        restore: Box::new(restore),
        restored: owned.join("daemon/volumes/vol2"),
    };
    let mut all = vec![ours];
    let restic =
        other("restic", &owned, &volume, restic, ["backup .", "restore latest --target ."]);
    all.push(restic);
    if Command::new("borg").arg("--version").output().is_ok() {
        let words = ["create --compression zstd ::{now} .", "extract ::"];
        all.push(other("borg", &owned, &volume, borg, words));
    }
    all
}

/// A program of somebody else, with a new repository, and what it is asked for.
fn other(
    name: &'static str,
    here: &Path,
    volume: &Path,
    program: fn(&Path) -> Command,
    [back_up, restore]: [&'static str; 2],
) -> Rival {
    let repository = here.join(name);
    let init = if name == "borg" { "init --encryption repokey" } else { "init" };
    measure(program(&repository).args(init.split(' ')));
    let (volume, to, from) = (volume.to_owned(), repository.clone(), repository.clone());
    let back_up = move || {
        let mut command = program(&to);
        command.args(back_up.split(' ')).current_dir(&volume);
        command
    };
    let restore = move || {
        let mut command = program(&from);
        let newest = if name == "borg" { newest_archive(&from) } else { String::new() };
        command.args(restore.split(' ').map(|word| match word {
            "::" => format!("::{newest}"),
            word => word.to_owned(),
        }));
        command
    };
    let restored = here.join(format!("restored-{name}"));
    Rival { name, repository, back_up: Box::new(back_up), restore: Box::new(restore), restored }
}

fn restic(repository: &Path) -> Command {
    let mut command = Command::new("restic");
    command.args(["--no-cache", "-q", "-r"]).arg(repository).env("RESTIC_PASSWORD", "benchmark");
    command
}

fn borg(repository: &Path) -> Command {
    let mut command = Command::new("borg");
    command
        .env("BORG_REPO", repository)
        .env("BORG_PASSPHRASE", "benchmark")
        .env("BORG_BASE_DIR", repository.with_extension("base"));
    command
}

fn newest_archive(repository: &Path) -> String {
    let mut list = borg(repository);
    let output = list.args(["list", "--short", "--last", "1"]).output().expect("it runs");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Where a restore is started: others restore into the folder that they are in.
fn restored_in<'a>(rival: &'a Rival, here: &'a Path) -> &'a Path {
    if rival.restored.is_dir() { &rival.restored } else { here }
}

fn sync() {
    measure(&mut Command::new("sync"));
}

/// The bytes in the files of a folder.
fn on_disk(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let size = |entry: fs::DirEntry| match entry.metadata().expect("metadata") {
        folder if folder.is_dir() => on_disk(&entry.path()),
        file => file.len(),
    };
    entries.map(size).sum()
}

pub(super) fn backup_url(folder: &Path) -> String {
    let output = program(folder).args(["backups", "--json"]).output().expect("it runs");
    let backups: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let newest = backups.as_array().and_then(|all| all.first()).expect("a backup");
    newest["BackupURL"].as_str().expect("a URL").to_owned()
}

/// The same numbers each time (xorshift).
struct Noise(u64);

impl Noise {
    fn block(&mut self, size: usize) -> Vec<u8> {
        let mut block = Vec::with_capacity(size + 8);
        while block.len() < size {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            block.extend_from_slice(&self.0.to_le_bytes());
            block.extend_from_slice(b"the text");
        }
        block.truncate(size);
        block
    }
}
