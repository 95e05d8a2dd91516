//! A destination with many backups.

use std::{fs, path::Path};

use super::{measure, median, mib, ms, program};

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
