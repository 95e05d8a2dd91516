//! Commands that are killed at random moments.

use std::process::Stdio;

use super::{COMMANDS, Random, faults, world::World};
use crate::support::site::{Ran, Site};

#[test]
fn nothing_is_lost_and_nothing_half_done_is_seen_where_commands_are_killed() {
    let site = Site::builtin().with("BKUP_REPOSITORY_PASSWORD", "secret");
    let mut world = World::new(site, "vol1", Random::new(1));
    world.first_backup();
    for _ in 0..faults(30) {
        let line = world.begin(&COMMANDS);
        let after = world.moment();
        let mut child =
            world.command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The moment is the fault.
        std::thread::sleep(after);
        _ = child.kill();
        let ran = Ran::of(line.clone(), child.wait_with_output().unwrap());
        world.counts.add(if ran.code == -1 { "killed" } else { "came to its end" });
        world.ended(&line, &ran);
        world.records_are_right();
    }
    world.end();
}
