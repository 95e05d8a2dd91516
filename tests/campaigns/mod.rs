//! Campaigns: the real program, and faults at random moments. Nothing that was acknowledged may be lost,
//! nothing half done may be seen, and what is listed as a backup comes back as it was.
//!
//! A short form of each runs with the other tests. `./dev campaign NAME FAULTS [SEED]` runs a long one;
//! docs/reliability.md has what was run. A failure names the seed, which gives the same faults again (but not
//! the same moments: those depend on the machine).

mod content;
mod errors;
mod full;
mod hosts;
mod kill;
mod other;
mod power;
mod repository;
mod rot;
mod s3;
mod serve;
mod world;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Commands that are disturbed. `restore` and `create` are about [a second volume](World::begin).
const COMMANDS: [&str; 8] = [
    "backup --create-snapshot --volume vol1",
    "backup --create-snapshot --volume vol1",
    "snapshot --volume vol1",
    "backup --volume vol1",
    "prune --volume vol1 --keep-last 3",
    "prune --volume vol1 --snapshots --keep-last 3",
    "restore",
    "create",
];

/// How many faults a campaign has: those that the environment asks for, else a few.
fn faults(few: usize) -> usize {
    let asked = std::env::var("CAMPAIGN_FAULTS").ok();
    asked.map_or(few, |asked| asked.parse().expect("CAMPAIGN_FAULTS is a number"))
}

/// Random numbers by a seed (splitmix64).
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    /// By the seed of the environment, else by one for this campaign.
    fn new(campaign: u64) -> Self {
        let asked = std::env::var("CAMPAIGN_SEED").ok();
        Self(asked.map_or(campaign, |asked| asked.parse().expect("CAMPAIGN_SEED is a number")))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A moment within this time.
    fn moment(&mut self, within: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(within.as_micros()).unwrap()))
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = self.below(all.len() as u64);
        &all[usize::try_from(at).unwrap()]
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(usize::try_from(length).unwrap());
        bytes
    }
}

/// How often something happened, told at the end.
#[derive(Debug, Default)]
struct Counts(BTreeMap<&'static str, usize>);

impl Counts {
    fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    fn add_all(&mut self, others: &Self) {
        for (what, count) in &others.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}

fn files_in(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    fs::read_dir(path).unwrap().flat_map(|entry| files_in(&entry.unwrap().path())).collect()
}
