//! The model test: random steps of hosts that share a destination, and after each step what must
//! hold whatever happened: no volume's newest good backup is gone, and `status` is right.
//!
//! Seeds are fixed. A failure names its seed, its step and the last steps. These variables change
//! that:
//!
//! ```text
//! MODEL_SEED=7 MODEL_STEPS=5000 cargo test --lib model_tests     # one seed, more steps
//! MODEL_SEEDS=100 cargo test --lib model_tests                   # the seeds from 0 on
//! ```
//!
//! - `share`: the destination. `shared_convoy`: a Convoy in memory over it.
//! - `hosts`: a host, with the program's parts put together as `serve` does.
//! - `model`: what the model knows. `world`: hosts, share, true time and model.
//! - `steps`: what can happen. `effects`, `past_the_program`: what that does. `invariants`: what must
//!   hold.

mod effects;
mod hosts;
mod invariants;
mod model;
mod past_the_program;
mod random;
mod share;
mod shared_convoy;
mod steps;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use hosts::Kind;
use steps::Step;
use world::World;

/// How many of the last steps a failure shows.
const STEPS_SHOWN: usize = 60;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The seeds to try: `MODEL_SEED`, or the first of `MODEL_SEEDS`, or those of every test run.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    match number("MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MODEL_SEEDS").unwrap_or(usual),
    }
}

/// Takes random steps, and checks after each what must hold.
fn walk(kind: Kind, hosts: usize, seed: u64, steps: usize) {
    let mut world = World::new(seed, kind, hosts);
    let mut history: Vec<String> = Vec::new();
    for number in 0..steps {
        let step = steps::choose(&mut world);
        history.push(format!("{number}: {step:?}"));
        let checked = catch_unwind(AssertUnwindSafe(|| take(&mut world, &step)));
        history.extend(world.outcomes.drain(..).map(|outcome| format!("        {outcome}")));
        if let Err(panic) = checked {
            let from = history.len().saturating_sub(STEPS_SHOWN);
            eprintln!("{}", world.model);
            eprintln!("{}", history[from..].join("\n"));
            eprintln!("MODEL_SEED={seed}, {kind:?}, step {number}, {}", world.now);
            resume_unwind(panic);
        }
    }
    if let Ok(path) = std::env::var("MODEL_TRACE") {
        std::fs::write(format!("{path}-{kind:?}-{seed}"), history.join("\n")).unwrap();
    }
}

/// Takes one step, and checks what must hold.
fn take(world: &mut World, step: &Step) {
    let before = invariants::Before::new(world, step);
    world.take(step);
    invariants::check_deletions(world, step, &before);
    let concerned = match step {
        Step::Wait(_)
        | Step::Put(_)
        | Step::PutRight
        | Step::Break { .. }
        | Step::ListShort { .. }
        | Step::BackUpWeekly { .. } => 0..world.hosts.len(),
        Step::Write { host, .. }
        | Step::Run { host, .. }
        | Step::SetClock { host, .. }
        | Step::LoseSource { host, .. }
        | Step::FindSource { host, .. }
        | Step::Accept { host, .. }
        | Step::FailToRemove { host, .. }
        | Step::Lose { host, .. }
        | Step::Appear { host, .. }
        | Step::FindAnotherDaemon { host, .. }
        | Step::BeSilent { host, .. } => *host..*host + 1,
    };
    for host in concerned {
        invariants::check_status(world, host);
    }
}

#[test]
fn hosts_with_convoy_keep_every_newest_good_backup_and_say_what_is_wrong() {
    let steps = number("MODEL_STEPS").unwrap_or(300) as usize;
    for seed in seeds(4) {
        walk(Kind::Convoy, 3, seed, steps);
    }
}

#[test]
fn hosts_with_the_built_in_daemon_keep_every_newest_good_backup_and_say_what_is_wrong() {
    let steps = number("MODEL_STEPS").unwrap_or(140) as usize;
    for seed in seeds(3) {
        walk(Kind::BuiltIn, 2, seed, steps);
    }
}
