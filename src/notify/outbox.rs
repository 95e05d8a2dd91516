//! The messages that wait to be sent: one file for each message and channel, kept across restarts.
//!
//! The process that sends a message holds a `flock` on its file, so that no two processes send it.
//! The kernel releases the lock when the process ends. If the folder can't be written, messages
//! wait in memory until the process ends.

use std::{
    fs::{self, File},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    channel::ChannelKind,
    message::{Event, Message, timestamp},
};
use crate::{
    clock::is_in_future,
    error::{Error, Result},
    files::write_whole,
    sync::lock,
};

/// The age from which an unsent message is given up, after a further attempt that fails.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// No message is given up after fewer attempts, however old it is: the clock may have jumped, and a
/// crontab without `serve` makes one attempt a day.
const FEWEST_ATTEMPTS: u32 = 5;
/// A message for which no attempt has ended for so long is late.
const FIRST_ATTEMPT_WITHIN: Duration = Duration::from_secs(5 * 60);
/// The pause after the first failed attempt; it doubles each time.
const FIRST_RETRY_DELAY: Duration = Duration::from_secs(60);
/// The longest pause between two attempts.
const LONGEST_RETRY_DELAY: Duration = Duration::from_secs(3_600);
/// The most messages that may wait. Only a runaway script makes more.
const MOST_MESSAGES: usize = 1_000;
/// The largest file that is read as a message, in bytes.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;

/// How an id contains its time.
const ID_TIME: &str = "%Y%m%dT%H%M%S.%6f";
/// The least difference between the times of two ids.
const TICK: Duration = Duration::from_micros(1);

static SERIAL: AtomicU32 = AtomicU32::new(0);

/// A message that waits for one channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// Ids sort by the time of queueing.
    pub(crate) id: String,
    pub(crate) channel: ChannelKind,
    /// The number of failed attempts.
    pub(crate) attempts: u32,
    #[serde(with = "timestamp")]
    pub(crate) next_attempt: Timestamp,
    pub(crate) last_error: Option<String>,
    pub(crate) message: Message,
}

impl Waiting {
    pub(super) fn new(channel: ChannelKind, message: Message) -> Self {
        let time = message.time;
        let id = id(time, channel);
        Self { id, channel, attempts: 0, next_attempt: time, last_error: None, message }
    }

    /// Whether the next attempt is due. An attempt that is too far ahead was planned before the
    /// clock was set back, and is due too.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let left = self.next_attempt.duration_since(now);
        left.is_negative() || left.is_zero() || left.unsigned_abs() > LONGEST_RETRY_DELAY
    }

    /// Whether the message should have been sent by now: an attempt failed, or none was made for
    /// long. A message whose first attempt is under way is not late.
    pub(crate) fn is_late(&self, now: Timestamp) -> bool {
        let waited = now.duration_since(self.message.time).unsigned_abs();
        self.last_error.is_some() || waited > FIRST_ATTEMPT_WITHIN
    }

    /// Whether the message would mislead if it came late; it is tried once.
    pub(super) fn is_momentary(&self) -> bool {
        self.message.event == Event::Started
    }

    /// Whether the message is older than [`GIVE_UP_AFTER`].
    pub(super) fn is_too_old(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.message.time);
        let limit = if self.is_momentary() { FIRST_RETRY_DELAY } else { GIVE_UP_AFTER };
        !age.is_negative() && age.unsigned_abs() >= limit
    }

    /// Whether enough was tried to give the message up.
    pub(super) fn is_hopeless(&self, now: Timestamp) -> bool {
        self.attempts >= FEWEST_ATTEMPTS && self.is_too_old(now)
    }

    /// Plans the next attempt after a failed one.
    pub(super) fn put_off(&mut self, now: Timestamp, error: &Error) {
        if is_in_future(self.message.time, now) {
            // A clock was wrong. The message would be tried until that time has come.
            self.message.time = now;
        }
        let delay =
            FIRST_RETRY_DELAY.saturating_mul(1 << self.attempts.min(16)).min(LONGEST_RETRY_DELAY);
        self.attempts = self.attempts.saturating_add(1);
        self.next_attempt = now.saturating_add(delay).unwrap_or(now);
        self.last_error = Some(error.to_string());
    }

    /// Plans the next attempt for this time: the attempt with a message before it failed, and this
    /// one would have failed, too.
    pub(super) fn put_off_until(&mut self, next_attempt: Timestamp, why: &str) {
        self.attempts = self.attempts.saturating_add(1);
        (self.next_attempt, self.last_error) = (next_attempt, Some(why.to_owned()));
    }
}

/// `20261123T074200.123456-1a2b-000000-email`: a time, the process, and a serial number within it.
fn id(time: Timestamp, channel: ChannelKind) -> String {
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let (time, process) = (time.strftime(ID_TIME), std::process::id());
    format!("{time}-{process:x}-{serial:06x}-{}", channel.word())
}

/// The time in an id.
fn id_time(id: &str) -> Option<Timestamp> {
    let (time, _) = id.split_once('-')?;
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S%.f", time).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// The outbox's folder, and the messages that could not be written to it.
#[derive(Debug)]
pub(super) struct Outbox {
    folder: PathBuf,
    memory: Mutex<Vec<Waiting>>,
}

/// A message that this process is about to send. If the claim is dropped, the message waits
/// unchanged.
pub(super) struct Claim<'a> {
    outbox: &'a Outbox,
    /// `None` once the claim is settled.
    waiting: Option<Waiting>,
    /// The locked file; `None` for a message in memory.
    file: Option<(PathBuf, File)>,
}

impl Outbox {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.join("outbox"), memory: Mutex::default() }
    }

    /// Queues a message behind all others, also where the clock was set back since they were queued.
    ///
    /// # Errors
    /// If too many messages wait already; this one is dropped.
    pub(crate) fn put(&self, mut waiting: Waiting) -> Result<()> {
        let files = self.files();
        let last = files.iter().filter_map(|path| path.file_stem()?.to_str()).max();
        if let Some(last) = last.filter(|last| *last > waiting.id.as_str()).and_then(id_time) {
            waiting.id = id(last.saturating_add(TICK).unwrap_or(last), waiting.channel);
        }
        if files.len() + self.in_memory().len() >= MOST_MESSAGES {
            return Err(Error::internal(format!(
                "{MOST_MESSAGES} messages wait to be sent already"
            ))
            .with_hint("see \"convoy-backups notify list\""));
        }
        if let Err(error) = self.store(&waiting) {
            log::warn!("{error}; the message is sent by this process, or not at all");
            self.in_memory().push(waiting);
        }
        Ok(())
    }

    /// Queues a message in memory only.
    pub(crate) fn put_into_memory(&self, waiting: Waiting) {
        self.in_memory().push(waiting);
    }

    /// The messages that wait, in the order in which they were queued.
    pub(crate) fn list(&self) -> Vec<Waiting> {
        let mut all: Vec<Waiting> =
            self.files().iter().filter_map(|path| self.read(path)).collect();
        all.extend(self.in_memory().iter().cloned());
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// The number of messages that should be on disk and are only in memory.
    pub(crate) fn unsafe_count(&self) -> usize {
        self.in_memory().iter().filter(|waiting| !waiting.is_momentary()).count()
    }

    /// Claims a message to send it; `None` if another process has it, or sent it already.
    pub(crate) fn claim(&self, id: &str) -> Option<Claim<'_>> {
        let mut memory = self.in_memory();
        if let Some(at) = memory.iter().position(|waiting| waiting.id == id) {
            return Some(Claim { outbox: self, waiting: Some(memory.remove(at)), file: None });
        }
        drop(memory);
        let path = self.path(id);
        let file = File::open(&path).ok()?;
        file.try_lock().ok()?;
        // The previous holder of the lock may have removed or replaced the file.
        let same = fs::metadata(&path).ok()?.ino() == file.metadata().ok()?.ino();
        let waiting = same.then(|| self.read(&path)).flatten()?;
        Some(Claim { outbox: self, waiting: Some(waiting), file: Some((path, file)) })
    }

    fn in_memory(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        lock(&self.memory)
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect()
    }

    fn store(&self, waiting: &Waiting) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(waiting)
            .map_err(|error| Error::internal(error.to_string()))?;
        let path = self.path(&waiting.id);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .and_then(|()| write_whole(&path, &bytes))
            .map_err(|error| Error::io(format_args!("cannot write \"{}\"", path.display()), &error))
    }

    /// Reads a message from its file. A file that can't be read is moved aside, so that it is not
    /// tried again and again.
    fn read(&self, path: &Path) -> Option<Waiting> {
        let wrong = match fs::metadata(path) {
            Err(_) => return None,
            Ok(metadata) if metadata.len() > LARGEST_FILE => "it is too large".to_owned(),
            Ok(_) => match serde_json::from_slice::<Waiting>(&fs::read(path).ok()?) {
                Ok(waiting) if self.path(&waiting.id) == path => return Some(waiting),
                Ok(_) => "it has another message's name".to_owned(),
                Err(error) => error.to_string(),
            },
        };
        log::error!("the message in \"{}\" can't be sent: {wrong}", path.display());
        _ = fs::rename(path, path.with_extension("unreadable"));
        None
    }
}

impl Claim<'_> {
    pub(crate) fn waiting(&mut self) -> Option<&mut Waiting> {
        self.waiting.as_mut()
    }

    /// Removes the message, which was sent or given up.
    pub(crate) fn done(mut self) {
        self.waiting = None;
        if let Some((path, _)) = &self.file
            && let Err(error) = fs::remove_file(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::error!(
                "cannot remove \"{}\", so that message is sent again: {error}",
                path.display()
            );
        }
    }

    /// Puts the message back as it is now.
    pub(crate) fn put_back(mut self) {
        let Some(waiting) = self.waiting.take() else { return };
        if self.file.is_none() {
            self.outbox.in_memory().push(waiting);
        } else if let Err(error) = self.outbox.store(&waiting) {
            log::warn!("{error}");
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let (Some(waiting), None) = (self.waiting.take(), &self.file) {
            self.outbox.in_memory().push(waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: &str = "2026-11-23T07:42:00Z";

    pub(crate) fn waiting(subject: &str) -> Waiting {
        let message = Message {
            event: Event::Problem,
            subject: subject.into(),
            text: String::new(),
            html: String::new(),
            host: "db1".into(),
            time: NOW.parse().unwrap(),
            run: None,
            run_id: None,
            body: None,
            to: None,
            problem: None,
        };
        Waiting::new(ChannelKind::Email, message)
    }

    fn subjects(outbox: &Outbox) -> Vec<String> {
        outbox.list().into_iter().map(|waiting| waiting.message.subject).collect()
    }

    #[test]
    fn messages_wait_in_files_of_their_owner_across_processes_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        for subject in ["one", "two", "three"] {
            Outbox::new(folder.path()).put(waiting(subject)).unwrap();
        }
        let outbox = Outbox::new(folder.path());
        assert_eq!(subjects(&outbox), ["one", "two", "three"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&outbox.folder), 0o700);
        assert!(outbox.files().iter().all(|path| mode(path) == 0o600));
    }

    #[test]
    fn messages_keep_their_order_when_the_clock_is_set_back() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::new(folder.path());
        for (subject, time) in [
            ("one", "2036-01-01T00:00:00Z"),
            ("two", "2026-11-23T07:42:00Z"),
            ("three", "2026-11-23T07:43:00Z"),
        ] {
            let mut message = waiting(subject).message;
            message.time = time.parse().unwrap();
            outbox.put(Waiting::new(ChannelKind::Email, message)).unwrap();
        }
        assert_eq!(subjects(&outbox), ["one", "two", "three"]);
    }

    #[test]
    fn one_message_is_claimed_by_one_process_until_it_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (Outbox::new(folder.path()), Outbox::new(folder.path()));
        one.put(waiting("x")).unwrap();
        let id = one.list()[0].id.clone();
        let mut claim = one.claim(&id).unwrap();
        assert!(two.claim(&id).is_none());
        claim.waiting().unwrap().put_off(NOW.parse().unwrap(), &Error::guard("down"));
        claim.put_back();
        let mut claim = two.claim(&id).unwrap();
        assert_eq!(claim.waiting().unwrap().attempts, 1);
        claim.done();
        assert!(one.claim(&id).is_none() && one.list().is_empty());
    }

    #[test]
    fn attempts_come_rarer_and_end_after_a_day() {
        let mut waiting = waiting("x");
        let mut now: Timestamp = NOW.parse().unwrap();
        let mut minutes = Vec::new();
        while !waiting.is_too_old(now) {
            assert!(waiting.is_due(now));
            waiting.put_off(now, &Error::guard("down"));
            assert!(!waiting.is_due(now));
            minutes.push(waiting.next_attempt.duration_since(now).as_secs() / 60);
            now = waiting.next_attempt;
        }
        assert_eq!(minutes[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(minutes.len() < 35, "{minutes:?}");
        assert!(waiting.is_hopeless(now));
        waiting.next_attempt = "2036-01-01T00:00:00Z".parse().unwrap();
        assert!(waiting.is_due(NOW.parse().unwrap()), "the clock was set back");
    }

    #[test]
    fn a_clock_that_jumps_gives_no_message_up_and_keeps_none_for_ever() {
        let mut one = waiting("x");
        let future: Timestamp = "2036-01-01T00:00:00Z".parse().unwrap();
        for _ in 0..4 {
            one.put_off(future, &Error::guard("down"));
            assert!(!one.is_hopeless(future), "after {} attempts", one.attempts);
        }
        let mut one = waiting("x");
        one.message.time = future;
        let now: Timestamp = NOW.parse().unwrap();
        one.put_off(now, &Error::guard("down"));
        assert_eq!(one.message.time, now);
    }

    #[test]
    fn a_message_is_late_after_a_failed_attempt_or_where_none_was_made_for_long() {
        let mut waiting = waiting("x");
        let now: Timestamp = NOW.parse().unwrap();
        assert!(!waiting.is_late(now + Duration::from_secs(60)), "its first attempt is under way");
        assert!(waiting.is_late(now + Duration::from_secs(301)));
        assert!(waiting.is_late("2020-01-01T00:00:00Z".parse().unwrap()), "a clock was wrong");
        waiting.put_off(now, &Error::guard("down"));
        assert!(waiting.is_late(now));
    }

    #[test]
    fn where_nothing_can_be_written_messages_wait_in_memory_and_a_claim_that_is_dropped_puts_them_back()
     {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let outbox = Outbox::new(&file);
        outbox.put(waiting("x")).unwrap();
        assert_eq!((subjects(&outbox), outbox.unsafe_count()), (vec!["x".to_owned()], 1));
        let id = outbox.list()[0].id.clone();
        drop(outbox.claim(&id).unwrap());
        assert_eq!(outbox.unsafe_count(), 1);
        outbox.claim(&id).unwrap().done();
        assert_eq!(outbox.unsafe_count(), 0);
    }

    #[test]
    fn junk_in_the_outbox_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::new(folder.path());
        outbox.put(waiting("x")).unwrap();
        let junk = outbox.folder.join("junk.json");
        fs::write(&junk, "{").unwrap();
        assert_eq!(subjects(&outbox), ["x"]);
        assert!(!junk.exists() && junk.with_extension("unreadable").exists());
    }
}
