//! Power cuts at random moments: the file system of the destination, of the daemon and its records, or of all, is
//! lost from memory, and goes on from what its disk had.

use std::{process::Stdio, time::Instant};

use super::{COMMANDS, Counts, Random, faults, world::World};
use crate::support::{
    powered::{KINDS, Powered},
    site::{Ran, Site},
};

/// What is on the disk, of a site.
const FOLDERS: [&[&str]; 4] =
    [&["backups"], &["daemon", "data"], &["backups", "daemon", "data"], &["backups", "data"]];
/// So many cuts has a site before the next one, on another file system.
const CUTS_OF_A_SITE: usize = 12;

struct Cut {
    // Unmounted before the site's files go.
    disk: Powered,
    world: World,
    has_volume: bool,
}

#[test]
fn what_was_acknowledged_is_there_after_a_power_cut_and_nothing_half_done() {
    let (mut random, mut counts) = (Random::new(6), Counts::default());
    let (mut left, mut turn) = (faults(16), random.below(32));
    while left > 0 {
        let cuts = left.min(CUTS_OF_A_SITE);
        left -= cuts;
        let kind = KINDS[usize::try_from(turn % 4).unwrap()];
        let folders = FOLDERS[usize::try_from(turn / 4 % 4).unwrap()];
        let has_cache = turn / 16 % 2 == 1;
        turn += 5;
        println!("{} ({}), cache: {has_cache}, {folders:?}", kind.0, kind.1);
        let Some(mut cut) = Cut::new(kind, has_cache, folders, Random(random.next())) else {
            return;
        };
        for _ in 0..cuts {
            cut.one();
        }
        cut.world.end();
        counts.add_all(&cut.world.counts);
    }
    println!("{counts:?}");
}

impl Cut {
    fn new(
        kind: crate::support::powered::Kind,
        has_cache: bool,
        folders: &[&'static str],
        random: Random,
    ) -> Option<Self> {
        let site = Site::builtin().with("BKUP_REPOSITORY_PASSWORD", "secret");
        let disk = Powered::new(kind, has_cache, &site.path(""), folders)?;
        let has_volume = folders.contains(&"daemon");
        let mut cut = Self { world: World::new(site, "vol1", random), disk, has_volume };
        cut.world.first_backup();
        Some(cut)
    }

    fn one(&mut self) {
        let world = &mut self.world;
        let line = world.begin(&COMMANDS);
        if self.has_volume {
            // What the volume's own programs did not sync may be lost, and is nothing of this program's.
            self.disk.sync();
        }
        let after = world.moment();
        let begun = Instant::now();
        let mut child =
            world.command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The moment is the fault.
        std::thread::sleep(after);
        let had_ended = child.try_wait().unwrap().is_some();
        self.disk.cut();
        _ = child.kill();
        let mut ran = Ran::of(line.clone(), child.wait_with_output().unwrap());
        println!("{line}: cut after {:?}; had ended: {had_ended}", begun.elapsed());
        if !had_ended {
            // What was acknowledged after the cut counts for nothing.
            ran.code = -1;
        }
        world.counts.add(if had_ended { "had come to its end" } else { "cut off" });
        self.disk.start_again();
        world.ended(&line, &ran);
        world.records_are_right();
    }
}
