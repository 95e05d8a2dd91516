//! Commands that are killed at random moments.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use super::{Random, faults, world::World};
use crate::support::site::{Ran, Site};

const COMMANDS: [&str; 5] = [
    "backup --create-snapshot",
    "backup --create-snapshot",
    "snapshot",
    "backup",
    "prune --keep-last 3",
];

#[test]
fn nothing_is_lost_and_nothing_half_done_is_seen_where_commands_are_killed() {
    let site = Site::builtin().with("BKUP_REPOSITORY_PASSWORD", "secret");
    let mut world = World::new(site, "vol1", Random::new(1));
    let begun = Instant::now();
    let first = world.site.run("backup --create-snapshot").ok();
    world.acknowledged(&first);
    // A little longer than a command takes, so that some of them come to their end.
    let longest = begun.elapsed().mul_f32(1.2);
    for _ in 0..faults(30) {
        world.change();
        let line = *world.random.one_of(&COMMANDS);
        let micros = u64::try_from(longest.as_micros()).unwrap();
        let after = Duration::from_micros(world.random.below(micros));
        let mut child =
            world.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The moment is the fault.
        std::thread::sleep(after);
        _ = child.kill();
        let ran = Ran::of(line.to_owned(), child.wait_with_output().unwrap());
        world.counts.add(if ran.code == -1 { "killed" } else { "came to its end" });
        world.ended(line, &ran);
    }
    let last = world.site.run("backup --create-snapshot").ok();
    world.acknowledged(&last);
    world.check_all();
}
