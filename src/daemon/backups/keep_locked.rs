//! Locks of objects in a bucket (`BKUP_S3_OBJECT_LOCK`), extended in time: later backups share the packs of
//! earlier ones, so the lock of a pack must not end while a backup needs it.
//!
//! Everything that the index names is locked, and the files of backups, of the index and of keys: a little
//! more than what backups need, until the next pruning. This root remembers until when what is locked, so
//! that an object costs a request once in half the time. What it has forgotten is locked again.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use jiff::Timestamp;
use rustic_core::{FileType, Id};

use super::destination::{DestinationRepository, Location};
use crate::{
    clock::{Clock as _, SystemClock, is_in_future},
    daemon::{
        repository::{Bucket, OpenRepository},
        threads::spawn,
    },
    error::{Error, Result},
    s3::ObjectLock,
    scope,
    sync::lock,
    text::counted,
};

/// The locks are looked at once a day.
const DAY: Duration = Duration::from_hours(23);
/// So many are extended at a time.
const AT_A_TIME: usize = 8;
/// After so many, what is locked is written down: a run that is killed did not do it for nothing.
const NOTED_AFTER: usize = 4000;

impl DestinationRepository {
    /// Extends the locks of what backups need, where objects are to be locked and that was not looked at
    /// for a day.
    ///
    /// # Errors
    /// If a lock can't be extended, or the run is to end.
    pub(super) fn keep_locked(&self, repository: &OpenRepository) -> Result<()> {
        let Some((bucket, object_lock)) = self.locking_bucket() else { return Ok(()) };
        let _changing = lock(&self.object_locks.changing);
        let now = SystemClock.now();
        let mut content = self.object_locks.read();
        let length = object_lock.length.as_secs();
        // A lock can be made longer and stricter only, so what was so before is left as it is.
        let is_more =
            length > content.length || content.is_governance && !object_lock.is_governance;
        if is_more {
            content.until.clear();
        }
        content.until.extend(bucket.take_locked());
        let every = DAY.min(object_lock.length / 6);
        let is_fresh = |looked: Timestamp| {
            !is_in_future(looked, now) && now.duration_since(looked) < signed(every)
        };
        if !is_more && content.looked.is_some_and(is_fresh) {
            self.object_locks.write(&content);
            return Ok(());
        }
        (content.length, content.is_governance) = (length, object_lock.is_governance);
        let files = files_to_lock(repository)?;
        let half = now.checked_add(object_lock.length / 2).unwrap_or(now);
        let mut kept = BTreeMap::new();
        let mut due = Vec::new();
        // Whether locks can be extended at all shows at the first backup, not when they are about to end.
        let is_tried = content.looked.is_some();
        for (kind, id) in files {
            let name = Bucket::name(kind, &id);
            match content.until.get(&name) {
                Some(until) if *until >= half && (is_tried || kind != FileType::Config) => {
                    _ = kept.insert(name, *until)
                }
                _ => due.push((kind, id)),
            }
        }
        (content.until, content.looked) = (kept, None);
        let (mut count, mut failure) = (0, None);
        for some in due.chunks(NOTED_AFTER) {
            if count > 0 {
                self.object_locks.write(&content);
            }
            let (locked, failed) = lock_all(bucket, some);
            count += locked.len();
            content.until.extend(locked);
            failure = failed;
            if failure.is_some() {
                break;
            }
        }
        if count > 0 {
            let objects = counted(count, "object", "objects");
            log::debug!(
                "{objects} are locked for {object_lock} at \"{}\"",
                repository.backend().location()
            );
        }
        // A service that knows no locks takes the requests all the same.
        let failure =
            failure.or_else(|| bucket.check_locked(FileType::Config, &Id::default()).err());
        // Those of which it failed are not remembered, and tried again by the next backup.
        content.looked = failure.is_none().then_some(now);
        self.object_locks.write(&content);
        failure.map_or(Ok(()), Err)
    }

    /// Remembers what was written and locked.
    pub(super) fn note_locked(&self) {
        let Some((bucket, _)) = self.locking_bucket() else { return };
        let locked = bucket.take_locked();
        if locked.is_empty() {
            return;
        }
        let _changing = lock(&self.object_locks.changing);
        let mut content = self.object_locks.read();
        content.until.extend(locked);
        self.object_locks.write(&content);
    }

    fn locking_bucket(&self) -> Option<(&Bucket, ObjectLock)> {
        let Location::Bucket(bucket, _) = &self.location else { return None };
        Some((bucket, bucket.object_lock()?))
    }
}

/// What must not vanish.
fn files_to_lock(repository: &OpenRepository) -> Result<Vec<(FileType, Id)>> {
    let backend = repository.backend();
    // Backups first: what they need is in the index then.
    let mut files = vec![(FileType::Config, Id::default())];
    for kind in [FileType::Snapshot, FileType::Key] {
        files.extend(backend.files(kind)?.into_iter().map(|(id, _)| (kind, id)));
    }
    let index = repository.index()?;
    files.extend(index.files().iter().map(|(id, _)| (FileType::Index, *id)));
    files.extend(index.packs().iter().map(|(id, _)| (FileType::Pack, *id)));
    Ok(files)
}

/// Locks these files. Returns until when those are that could be, and the first failure.
fn lock_all(
    bucket: &Bucket,
    files: &[(FileType, Id)],
) -> (BTreeMap<String, Timestamp>, Option<Error>) {
    let next = AtomicUsize::new(0);
    let locked = Mutex::new(BTreeMap::new());
    let failure = Mutex::new(None);
    let lock_some = || {
        while let Some((kind, id)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            if lock(&failure).is_some() {
                return;
            }
            let goes_on = scope::goes_on("the locks of objects were extended");
            match goes_on.and_then(|()| bucket.lock_again(*kind, id)) {
                Ok(Some(until)) => _ = lock(&locked).insert(Bucket::name(*kind, id), until),
                // Another host has removed it.
                Ok(None) => {}
                Err(error) => _ = lock(&failure).get_or_insert(error),
            }
        }
    };
    thread::scope(|threads| {
        for _ in 1..AT_A_TIME.min(files.len()) {
            // The others do its part.
            if spawn(threads, "lock", lock_some).is_err() {
                break;
            }
        }
        lock_some();
    });
    let (locked, failure) = (std::mem::take(&mut *lock(&locked)), lock(&failure).take());
    (locked, failure)
}

fn signed(duration: Duration) -> jiff::SignedDuration {
    duration.try_into().unwrap_or(jiff::SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::ErrorKind, s3::S3Options, scope, scope::Scope};

    #[test]
    fn no_locks_are_extended_for_a_run_that_is_over() {
        // Nobody listens there.
        let options = S3Options {
            endpoint: Some("http://127.0.0.1:1".into()),
            key: Some(("id".into(), "key".into())),
            object_lock: Some(ObjectLock::parse("30d").unwrap()),
        };
        let bucket = Bucket::new(&options, "bucket", "us-east-1", "").unwrap();
        let files = [(FileType::Config, Id::default())];
        let run = Scope::of("run");
        run.ended.cancel();
        let (locked, failure) = scope::within(Some(run), || lock_all(&bucket, &files));
        assert!(locked.is_empty());
        assert_eq!(failure.unwrap().kind, ErrorKind::Cancelled);
    }
}
