//! Campaigns: the real program, and faults at random moments. Nothing that was acknowledged may be lost,
//! nothing half done may be seen, and what is listed as a backup comes back as it was.
//!
//! A short form of each runs with the other tests. `./dev campaign NAME FAULTS [SEED]` runs a long one;
//! docs/reliability.md has what was run. A failure names the seed, which gives the same faults again (but not
//! the same moments: those depend on the machine).

mod errors;
mod hosts;
mod kill;
mod rot;
mod s3;
mod world;

use std::collections::BTreeMap;

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
}
