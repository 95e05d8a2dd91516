//! Restores, and destinations with many backups.

use std::{fs, path::Path, process::Command};

use super::{backup_url, fill, measure, median, mib, ms, program, seconds};

/// Restores alone, in turns with restic, of the volume that `files` backs up.
pub(super) fn restores(folder: &Path, runs: usize) {
    fs::create_dir(folder.join("backups")).expect("a folder");
    measure(program(folder).args(["create", "--volume", "vol1", "--size", "2G"]));
    let volume = folder.join("daemon/volumes/vol1");
    fill(&volume);
    measure(program(folder).args(["backup", "--volume", "vol1", "--create-snapshot"]));
    let restic = |words: &[&str]| {
        let mut command = Command::new("restic");
        command.args(["--no-cache", "-q", "-r"]).arg(folder.join("restic")).args(words);
        command.env("RESTIC_PASSWORD", "benchmark").current_dir(&volume);
        command
    };
    measure(&mut restic(&["init"]));
    measure(&mut restic(&["backup", "."]));
    let url = backup_url(folder);
    let (mut ours, mut restics) = (Vec::new(), Vec::new());
    for run in 0..runs {
        // Neither pays for what the other left to be written.
        measure(&mut Command::new("sync"));
        let name = format!("restored{run}");
        ours.push(measure(program(folder).args([
            "restore",
            "--volume",
            &name,
            "--backupurl",
            &url,
        ])));
        measure(&mut Command::new("sync"));
        let target = folder.join(&name);
        restics.push(measure(restic(&["restore", "latest", "--target"]).arg(&target)));
    }
    let (ours, restic) = (median(ours), median(restics));
    let ratio = ours.took.as_secs_f64() / restic.took.as_secs_f64();
    println!(
        "| restore | {} | {} | {ratio:.2} | {}, {} |",
        seconds(ours),
        seconds(restic),
        mib(ours),
        mib(restic)
    );
}

/// Lists and prunings at a destination with 2,000 backups: a hundred of each of 20 volumes.
pub(super) fn many(folder: &Path, runs: usize) {
    const VOLUMES: usize = 20;
    const BACKUPS: usize = 100;
    fs::create_dir(folder.join("backups")).expect("a folder");
    let name = |volume: usize| format!("vol{volume:02}");
    for volume in 0..VOLUMES {
        measure(program(folder).args(["create", "--volume", &name(volume), "--size", "1G"]));
    }
    for backup in 0..BACKUPS {
        for volume in 0..VOLUMES {
            let file = folder.join("daemon/volumes").join(name(volume)).join("file");
            fs::write(file, format!("{volume} {backup}")).expect("a file");
        }
        measure(program(folder).args(["backup", "--create-snapshot"]));
    }
    for words in ["backups", "backups --json", "status", "prune --dry-run --keep-last 10"] {
        let all = (0..runs).map(|_| measure(program(folder).args(words.split(' ')))).collect();
        let measured = median(all);
        println!("| `{words}`, 2,000 backups | {} | {} |", ms(measured), mib(measured));
    }
    let pruned = measure(program(folder).args(["prune", "--keep-last", "10"]));
    println!("| `prune --keep-last 10`, 2,000 backups | {} | {} |", ms(pruned), mib(pruned));
}
