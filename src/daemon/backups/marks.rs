//! The marks of data that waits for its deletion, and how long it waits.
//!
//! rustic dates a mark by the clock and deletes the data a day later. Data that was marked while a
//! clock was ahead would stay until that time has come. So marks from the future are noted in a
//! file of the destination, whose age tells when a day has passed since they were seen.

use std::time::Duration;

use jiff::{SignedDuration, Span, Timestamp};
use rustic_core::repofile::IndexFile;
use sha2::{Digest as _, Sha256};

use crate::{
    clock::{CLOCK_TOLERANCE, is_in_future},
    daemon::repository::OpenRepository,
    error::Result,
};

/// How long marked data waits. Space is freed once a day, so this is a little less.
const WAIT: SignedDuration = SignedDuration::from_hours(23);
/// The prefix of the name of the file that notes marks from the future.
const NOTE: &str = "convoy-backups.marked-ahead-";

/// How long data that is marked waits for its deletion, as rustic is told: less than nothing if all
/// marks from the future may go now.
///
/// # Errors
/// If the repository can't be read, or the note can't be written.
pub(super) fn wait(repository: &OpenRepository, now: Timestamp) -> Result<Span> {
    let marks = read(repository)?;
    let usual = Span::new().hours(WAIT.as_hours());
    let Some(latest) = marks.latest_ahead(now) else { return Ok(usual) };
    let (backend, name) = (repository.backend(), marks.name_of_note(now));
    let Some(noted) = backend.marked(&name)? else {
        log::warn!("a clock was wrong when data was marked for deletion: it goes a day from now");
        backend.mark(&name)?;
        return Ok(usual);
    };
    if marks.may_go(now, noted) {
        let ahead = latest.duration_since(now).saturating_add(CLOCK_TOLERANCE);
        return Ok(Span::new().hours(-ahead.as_hours() - 1));
    }
    Ok(usual)
}

fn read(repository: &OpenRepository) -> Result<Marks> {
    let what = "cannot read the marks of deleted data";
    let plain = repository.plain()?;
    let mut marks = Vec::new();
    for file in
        plain.stream_files::<IndexFile>().map_err(|error| repository.failure(what, &error))?
    {
        let (_, index) = file.map_err(|error| repository.failure(what, &error))?;
        let marked = index.packs_to_delete.into_iter();
        marks.extend(marked.filter_map(|pack| Some((pack.id.to_string(), pack.time?))));
    }
    marks.sort_unstable();
    Ok(Marks(marks))
}

/// The packs that are marked, each with the date of its mark, in the order of their ids.
#[derive(Debug)]
struct Marks(Vec<(String, Timestamp)>);

impl Marks {
    fn ahead(&self, now: Timestamp) -> impl Iterator<Item = &(String, Timestamp)> {
        self.0.iter().filter(move |(_, time)| is_in_future(*time, now))
    }

    /// The latest mark from the future.
    fn latest_ahead(&self, now: Timestamp) -> Option<Timestamp> {
        self.ahead(now).map(|(_, time)| *time).max()
    }

    /// The name of the note on these marks from the future. Where another host adds some, it is
    /// another note, whose day begins anew.
    fn name_of_note(&self, now: Timestamp) -> String {
        let mut digest = Sha256::new();
        self.ahead(now).for_each(|(pack, _)| digest.update(pack.as_bytes()));
        let digest = digest.finalize();
        let hex: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{NOTE}{hex}")
    }

    /// Whether all marked data may go: the marks from the future were noted so long ago, and the
    /// others are older than that.
    fn may_go(&self, now: Timestamp, noted: Duration) -> bool {
        let is_old = |time: Timestamp| now.duration_since(time) >= WAIT;
        let waited = SignedDuration::try_from(noted).is_ok_and(|noted| noted >= WAIT);
        waited && self.0.iter().all(|(_, time)| is_in_future(*time, now) || is_old(*time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_marked_while_a_clock_was_ahead_goes_a_day_after_that_was_seen() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let marks = |times: &[&str]| {
            let mark = |(index, time): (usize, &&str)| (format!("{index}"), time.parse().unwrap());
            Marks(times.iter().enumerate().map(mark).collect())
        };
        let day = Duration::from_hours(24);
        let (future, old, young) =
            ("2036-01-01T00:00:00Z", "2026-11-22T12:00:00Z", "2026-11-23T11:00:00Z");
        assert_eq!(marks(&[old, young]).latest_ahead(now), None);
        let ahead = marks(&[old, future]);
        assert_eq!(ahead.latest_ahead(now), Some(future.parse().unwrap()));
        assert!(ahead.may_go(now, day) && !ahead.may_go(now, Duration::from_hours(1)));
        // Another host may rely on what was marked an hour ago.
        assert!(!marks(&[young, future]).may_go(now, day));
        let more = marks(&[old, future, future]);
        assert_ne!(more.name_of_note(now), ahead.name_of_note(now));
    }
}
