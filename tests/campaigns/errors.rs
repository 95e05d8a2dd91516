//! System calls that fail at random moments, as strace has them fail.

use std::process::Command;

use super::{Random, faults, world::World};
use crate::support::site::{Ran, Site};

const CALLS: [&str; 10] = [
    "write",
    "pwrite64",
    "fsync",
    "rename",
    "renameat",
    "renameat2",
    "openat",
    "mkdirat",
    "read",
    "unlinkat",
];
const ERRORS: [&str; 2] = ["EIO", "ENOSPC"];
const COMMANDS: [&str; 4] =
    ["backup --create-snapshot", "backup --create-snapshot", "snapshot", "prune --keep-last 3"];

#[test]
fn nothing_is_lost_and_nothing_half_done_is_seen_where_the_system_fails() {
    if Command::new("strace").arg("--version").output().is_err() {
        eprintln!("SKIPPED: strace is not installed");
        return;
    }
    let site = Site::builtin().with("BKUP_REPOSITORY_PASSWORD", "secret");
    let mut world = World::new(site, "vol1", Random::new(2));
    world.first_backup();
    for _ in 0..faults(12) {
        world.change();
        let line = *world.random.one_of(&COMMANDS);
        let (call, error) = (*world.random.one_of(&CALLS), *world.random.one_of(&ERRORS));
        let nth = 1 + world.random.below(60);
        let plain = world.command(line);
        let mut traced = Command::new("strace");
        traced
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:error={error}:when={nth}")])
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(plain.get_current_dir().unwrap());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => traced.env(name, value),
                None => traced.env_remove(name),
            };
        }
        let what = format!("{line}: {call} {nth} fails with {error}");
        let ran = Ran::of(what.clone(), traced.output().unwrap());
        println!("{what}: {}", ran.code);
        world.counts.add(if ran.code == 0 { "got by" } else { "failed" });
        world.ended(line, &ran);
    }
    world.end();
}
