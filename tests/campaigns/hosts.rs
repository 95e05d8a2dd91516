//! Three hosts with one destination, which back up, prune and restore at the same time, with clocks two
//! days ahead and behind where libfaketime is installed.

use std::{path::Path, process::Stdio};

use super::{Random, faults, repository::has_cheap_key, world::World};
use crate::support::site::{Ran, Site};

const COMMANDS: [&str; 5] = [
    "backup --create-snapshot",
    "backup --create-snapshot",
    "prune --keep-last 2",
    "backups",
    "snapshot",
];
const CLOCKS: [&str; 3] = ["+0", "+49h", "-49h"];
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

#[test]
fn hosts_that_share_a_destination_lose_nothing_of_each_other() {
    let folder = tempfile::tempdir().unwrap();
    has_cheap_key(folder.path());
    let has_faketime = Path::new(FAKETIME).exists();
    if !has_faketime {
        eprintln!("SKIPPED in part: libfaketime is not installed, so all clocks are right");
    }
    let random = Random::new(3);
    let mut worlds: Vec<_> = CLOCKS
        .iter()
        .zip(["one", "two", "three"])
        .map(|(clock, volume)| {
            let mut site = Site::builtin()
                .with("BKUP_REPOSITORY_PASSWORD", "secret")
                .with("BKUP_HOST", volume)
                .with("BKUP_BACKUP_URL", format!("vfs://{}", folder.path().display()));
            if has_faketime && *clock != "+0" {
                site = site
                    .with("LD_PRELOAD", FAKETIME)
                    .with("FAKETIME", *clock)
                    .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                    .with("NO_FAKE_STAT", "1");
            }
            World::new(site, volume, random.clone())
        })
        .collect();
    for world in &mut worlds {
        world.first_backup();
    }
    let mut random = random;
    for _ in 0..faults(8) {
        let running: Vec<_> = worlds
            .iter_mut()
            .map(|world| {
                world.change();
                let line = *random.one_of(&COMMANDS);
                let child =
                    world.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
                (line, child.unwrap())
            })
            .collect();
        let ended: Vec<_> = running
            .into_iter()
            .map(|(line, child)| Ran::of(line.to_owned(), child.wait_with_output().unwrap()))
            .collect();
        for (world, ran) in worlds.iter_mut().zip(ended) {
            let ran = ran.ok();
            world.counts.add("at the same time");
            world.acknowledged(&ran);
            if ran.line.starts_with("prune") {
                world.pruned(2);
            }
        }
        for world in &mut worlds {
            world.check();
        }
    }
    for world in &mut worlds {
        for url in world.listed() {
            world.restored(&url).unwrap_or_else(|why| panic!("{url} can't be restored: {why}"));
        }
        println!("{}: {:?}", world.volume(), world.counts);
    }
}
