//! Each volume's newest backup at one destination: which backups are inspected, and what came of
//! it. The newest good one is inspected; where it is not good any more, the next older one, until
//! one is good. Backups that an inspection found broken are inspected again, as somebody may have
//! mended them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::timeout;

use crate::{
    clock::is_in_future,
    convoy::{Backup, BackupUrl, Destination, guards::Guards},
    error::{Error, ErrorKind, Result},
    runs::record::{BadReason, VolumeRecord},
};

/// A destination that is silent for this time hangs.
const DESTINATION_TIMEOUT: Duration = Duration::from_secs(60);
/// How many backups of a volume are inspected until one is good. The next look goes on from there.
const MOST_OF_A_VOLUME: usize = 5;
/// How many broken backups of a volume are inspected again.
const MOST_BROKEN_AGAIN: usize = 10;

/// The look at the backups of one destination.
#[derive(Default)]
pub(super) struct Search {
    volumes: Vec<Volume>,
    /// Whether an answer showed that the destination is there.
    pub(super) is_there: bool,
    /// The volume and URL of each good backup that is broken now, and why.
    pub(super) broken: Vec<(String, String, String)>,
    /// The volume and URL of each broken backup that is whole again.
    pub(super) whole_again: Vec<(String, String)>,
    /// The volume and URL of each good backup that is not there.
    pub(super) absent: Vec<(String, String)>,
    /// By volume: why its newest backup can't be looked at.
    pub(super) unclear: BTreeMap<String, Error>,
}

/// The backups of one volume that are still to be inspected.
struct Volume {
    name: String,
    /// Those that the store has as good, the newest first.
    good: VecDeque<BackupUrl>,
    /// Those that the store has as broken.
    broken: Vec<BackupUrl>,
}

/// A backup to inspect.
struct Candidate {
    /// The index of its volume.
    volume: usize,
    url: BackupUrl,
    was_broken: bool,
}

impl Search {
    /// A look at the backups of these volumes at this destination.
    pub(super) fn new(
        destination: &Destination,
        records: &BTreeMap<String, VolumeRecord>,
        now: Timestamp,
    ) -> Self {
        let is_there = |url: &BackupUrl| url.destination().key() == destination.key();
        let parsed = |url: &String| BackupUrl::parse(url).ok().filter(is_there);
        let volumes = records.values().map(|record| {
            // A backup that is dated in the future proves nothing, so it comes last.
            let mut good: Vec<_> = record.good_backups.iter().collect();
            good.sort_by_key(|good| is_in_future(good.order().0.max(good.proven), now));
            let broken = record.bad_backups.iter().filter(|bad| bad.reason == BadReason::Broken);
            Volume {
                name: record.name.clone(),
                good: good.into_iter().filter_map(|good| parsed(&good.url)).collect(),
                broken: broken
                    .filter_map(|bad| parsed(&bad.backup.url))
                    .take(MOST_BROKEN_AGAIN)
                    .collect(),
            }
        });
        let volumes = volumes.filter(|it| !it.good.is_empty() || !it.broken.is_empty()).collect();
        Self { volumes, ..Self::default() }
    }

    /// The names of the volumes with backups that should be at the destination.
    pub(super) fn volumes(&self) -> impl Iterator<Item = &String> {
        self.volumes.iter().map(|volume| &volume.name)
    }

    /// Inspects the backups.
    ///
    /// # Errors
    /// If the destination can't be looked at, or does not answer for [`DESTINATION_TIMEOUT`].
    pub(super) async fn run(&mut self, guards: &Guards) -> Result<()> {
        for _ in 0..MOST_OF_A_VOLUME {
            let candidates = self.next_candidates();
            if candidates.is_empty() {
                break;
            }
            let urls: Vec<_> = candidates.iter().map(|candidate| candidate.url.clone()).collect();
            let answers = inspect(guards, &urls).await?;
            for (candidate, answer) in candidates.iter().zip(answers) {
                self.learn(candidate, answer)?;
            }
        }
        Ok(())
    }

    /// The next backup of each volume that has no good one yet. The first time, also the broken
    /// ones.
    fn next_candidates(&mut self) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for (index, volume) in self.volumes.iter_mut().enumerate() {
            let candidate = |url, was_broken| Candidate { volume: index, url, was_broken };
            candidates.extend(volume.good.pop_front().map(|url| candidate(url, false)));
            candidates.extend(volume.broken.drain(..).map(|url| candidate(url, true)));
        }
        candidates
    }

    fn learn(&mut self, candidate: &Candidate, answer: Result<Backup>) -> Result<()> {
        let Candidate { volume: index, url, was_broken } = candidate;
        let volume = &mut self.volumes[*index];
        let it = (volume.name.clone(), url.to_string());
        match answer {
            Ok(backup) => {
                self.is_there = true;
                if *was_broken {
                    self.whole_again.push(it);
                } else if backup.is_complete() {
                    volume.good.clear();
                }
            }
            Err(error) if matches!(error.kind, ErrorKind::Busy | ErrorKind::Timeout) => {
                return Err(error);
            }
            Err(error) if error.kind == ErrorKind::NotFound => {
                log::debug!("the daemon's words: {error}");
                if !was_broken {
                    self.absent.push(it);
                }
            }
            Err(error) if error.kind == ErrorKind::Repository => {
                self.is_there = true;
                if !was_broken {
                    self.broken.push((it.0, it.1, error.message));
                }
            }
            // Where the reason is not clear, an older backup would fail alike.
            Err(error) => {
                volume.good.clear();
                if !was_broken {
                    self.unclear.insert(it.0, error);
                }
            }
        }
        Ok(())
    }
}

/// Inspects these backups, of one destination.
async fn inspect(guards: &Guards, urls: &[BackupUrl]) -> Result<Vec<Result<Backup>>> {
    let mut answers = Vec::new();
    while let Some(rest) = urls.get(answers.len()..).filter(|rest| !rest.is_empty()) {
        let answer = timeout(DESTINATION_TIMEOUT, guards.inspect_backups(rest)).await;
        let silent = |_| {
            let seconds = DESTINATION_TIMEOUT.as_secs();
            let destination = rest[0].destination();
            let what = format!("the destination {destination} does not answer within {seconds} s");
            Error::new(ErrorKind::Timeout, what).with_hint("does a network folder hang?")
        };
        let inspected = answer.map_err(silent)??;
        if inspected.is_empty() {
            return Err(Error::internal("the daemon inspected no backup"));
        }
        answers.extend(inspected);
    }
    Ok(answers)
}
