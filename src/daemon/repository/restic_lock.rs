//! restic's own locks, so that restic and this program do not work against each other: `restic prune`
//! would remove what a backup has written and no snapshot names yet.
//!
//! A lock is a small sealed file in `locks/`, as restic writes it (`internal/restic/lock.go`). Who wants one writes
//! it first, and then looks for others: of two that come at the same time, at least one sees the other.
//! Locks of this program are for restic only: its own processes have other means.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{Builder, JoinHandle, sleep},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use rustic_core::Id;

use super::{
    cipher::hash,
    lock_content::Lock,
    open::OpenRepository,
    storage::{Listed, Storage},
};
use crate::{
    clock::{Clock as _, SystemClock},
    error::{Error, ErrorKind, Result},
    scope,
    sync::lock,
    units::format_duration,
};

/// A lock that was not renewed for so long is of a process that has ended: restic's own limit.
const STALE: Duration = Duration::from_mins(30);
/// So often is a lock renewed, as by restic.
const RENEW: Duration = Duration::from_mins(5);
/// A lock that any host of this program left is removed after so long.
const LEFT: Duration = Duration::from_hours(24);
/// So many locks that were left are looked at, each time; and so many that may be left.
const MOST_LEFT: usize = 20;
/// The same where they can be removed: a host whose key may not leaves hundreds a day.
const MOST_REMOVED: usize = 500;
/// So often is a lock renewed for a run that is over and hangs.
const MOST_AFTER_END: u32 = 6;
/// So often is looked again whether restic has ended.
const LOOK: Duration = Duration::from_secs(1);
/// So often who waits looks whether its run goes on.
const STEP: Duration = Duration::from_millis(200);
const PROGRAM: &str = "convoy-backups";
const READING: &str = "it read the locks of restic";

/// What is to be done that restic must not disturb, or be disturbed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Beside all of restic but what wants to be alone: `prune`, `check`, `forget`, `rebuild-index`.
    Others,
    /// While restic does nothing at all.
    Nothing,
}

/// A lock of restic's, renewed until it is dropped.
#[derive(Debug)]
pub(crate) struct ResticLock {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    repository: Arc<OpenRepository>,
    host: String,
    began: Timestamp,
    beside: Beside,
    /// The lock's name; `None` if it could not be written.
    name: Mutex<Option<Id>>,
    is_over: Mutex<bool>,
    over: Condvar,
}

impl ResticLock {
    /// Takes a lock in the name of `host`. If restic works on the repository against that, it is waited
    /// for. A lock that can't be written is a warning: the storage may give no right to.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if restic goes on for longer than `wait`; another kind if the locks can't be
    /// read, or the run is to end.
    pub(crate) fn take(
        repository: &Arc<OpenRepository>,
        host: &str,
        beside: Beside,
        wait: Duration,
    ) -> Result<Self> {
        let shared = Shared {
            repository: Arc::clone(repository),
            host: host.to_owned(),
            began: SystemClock.now(),
            beside,
            name: Mutex::default(),
            is_over: Mutex::new(false),
            over: Condvar::new(),
        };
        shared.write();
        let until = Instant::now() + wait;
        while let Some(other) = shared.other().inspect_err(|_| shared.remove())? {
            // Two that wait for each other would do so for ever.
            shared.remove();
            if Instant::now() >= until {
                return Err(busy(repository, &other));
            }
            log::info!("waiting for restic, {}", told(&other));
            while shared.other()?.is_some() && Instant::now() < until {
                pause(LOOK.min(until.saturating_duration_since(Instant::now())))?;
            }
            shared.write();
        }
        let shared = Arc::new(shared);
        let (renewing, run) = (Arc::clone(&shared), scope::current());
        let renew = move || scope::within(run, || renewing.renew());
        let thread = Builder::new().name("restic lock".into()).spawn(renew);
        let thread = thread.inspect_err(|error| {
            log::warn!("restic's lock is not renewed, and counts for 30 minutes only: {error}");
        });
        Ok(Self { shared, thread: thread.ok() })
    }
}

impl ResticLock {
    /// Waits while restic wants to be alone.
    ///
    /// # Errors
    /// As [`ResticLock::take`].
    pub(crate) fn wait(repository: &OpenRepository, wait: Duration) -> Result<()> {
        let until = Instant::now() + wait;
        while let Some(other) = other(repository, ("", None), Beside::Others)? {
            if Instant::now() >= until {
                return Err(busy(repository, &other));
            }
            pause(LOOK.min(until.saturating_duration_since(Instant::now())))?;
        }
        Ok(())
    }
}

impl ResticLock {
    /// For how long the oldest of this program's other processes has been writing that hold a lock, each by
    /// its own clock.
    ///
    /// # Errors
    /// If the locks can't be read, or the run is to end.
    pub(crate) fn longest_other(&self) -> Result<SignedDuration> {
        let repository = &self.shared.repository;
        let own = *lock(&self.shared.name);
        let locks = repository.backend().storage().locks()?;
        let now = now(repository, &locks, own);
        let mut longest = SignedDuration::ZERO;
        for there in &locks {
            // A process that has ended writes no more.
            if Some(there.id) == own || is_older(there, now, STALE) {
                continue;
            }
            scope::goes_on(READING)?;
            let Some(content) = read(repository, &there.id)? else { continue };
            let time = |text: &str| text.parse::<Timestamp>().ok();
            if let (Some(began), Some(renewed)) = (time(&content.began), time(&content.time)) {
                longest = longest.max(renewed.duration_since(began) + signed(STALE));
            }
        }
        Ok(longest)
    }
}

impl Drop for ResticLock {
    fn drop(&mut self) {
        *lock(&self.shared.is_over) = true;
        self.shared.over.notify_all();
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
        self.shared.remove();
    }
}

impl Shared {
    fn storage(&self) -> &dyn Storage {
        self.repository.backend().storage()
    }

    /// Writes a lock.
    fn write(&self) {
        match self.try_write() {
            Ok(id) => *lock(&self.name) = Some(id),
            Err(error) => log::warn!(
                "restic can't see that this program writes to its repository, so do not run \"restic prune\" now: {error}"
            ),
        }
    }

    fn try_write(&self) -> Result<Id> {
        let content = Lock {
            time: SystemClock.now().to_string(),
            began: self.began.to_string(),
            exclusive: self.beside == Beside::Nothing,
            hostname: lock_host(&self.host),
            // restic tells its user who holds a lock.
            username: PROGRAM.to_owned(),
            pid: std::process::id(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            program: PROGRAM.to_owned(),
        };
        let text =
            serde_json::to_vec(&content).map_err(|error| Error::internal(error.to_string()))?;
        let sealed = self.repository.coder()?.seal_file(&text)?;
        let id = Id::new(hash(&sealed));
        self.storage().write_lock(&id, sealed.into())?;
        lock(&self.repository.locks.0).insert(id, Some(Arc::new(content)));
        Ok(id)
    }

    fn other(&self) -> Result<Option<Arc<Lock>>> {
        other(&self.repository, (&self.host, *lock(&self.name)), self.beside)
    }

    /// Removes the lock. Where that is not allowed, it counts for half an hour.
    fn remove(&self) {
        if let Some(id) = lock(&self.name).take() {
            remove(&self.repository, &id);
        }
    }

    /// Writes the lock anew. Who removed it, as by `restic unlock --remove-all`, may have removed more.
    fn renew_once(&self) {
        let before = *lock(&self.name);
        let listed = self.storage().locks().unwrap_or_default();
        if let Some(before) = before
            && !listed.iter().any(|there| there.id == before)
        {
            log::warn!(
                "somebody removed the lock that keeps \"restic prune\" away from this backup"
            );
        }
        self.write();
        if let Some(before) = before
            && *lock(&self.name) != Some(before)
        {
            remove(&self.repository, &before);
        }
    }

    /// Writes the lock anew now and then, until it is over.
    fn renew(&self) {
        let mut is_over = lock(&self.is_over);
        let mut renewals_after_end = 0;
        loop {
            let waited = self.over.wait_timeout_while(is_over, RENEW, |is_over| !*is_over);
            is_over = waited.unwrap_or_else(PoisonError::into_inner).0;
            if *is_over {
                return;
            }
            drop(is_over);
            // What hangs of a run that is over keeps restic away no longer than a crash would.
            renewals_after_end += u32::from(scope::is_ended());
            if renewals_after_end <= MOST_AFTER_END {
                self.renew_once();
            }
            is_over = lock(&self.is_over);
        }
    }
}

/// Removes a lock. Returns whether that was possible.
fn remove(repository: &OpenRepository, id: &Id) -> bool {
    let removed = repository.backend().storage().remove_lock(id);
    let removed = removed.inspect_err(|error| log::debug!("a lock for restic stays: {error}"));
    removed.is_ok()
}

/// The host in a lock of this program's: no system has such a name. `restic unlock` would ask a process of
/// its own host whether it lives, by a signal that ends a backup.
fn lock_host(host: &str) -> String {
    format!("{host} ({PROGRAM})")
}

/// A lock of restic's that is against what is to be done. What this program left is removed. `own`: this
/// host, and the lock that it has just written.
///
/// # Errors
/// If the locks can't be read, or the run is to end.
fn other(
    repository: &OpenRepository,
    (host, own): (&str, Option<Id>),
    beside: Beside,
) -> Result<Option<Arc<Lock>>> {
    let locks = repository.backend().storage().locks()?;
    lock(&repository.locks.0).retain(|id, _| locks.iter().any(|there| there.id == *id));
    let is_own = |there: &Listed| Some(there.id) == own;
    if locks.iter().all(is_own) {
        return Ok(None);
    }
    let now = now(repository, &locks, own);
    let (mut looked_at, mut stale, mut removes) = (0, 0, None);
    for there in locks.iter().filter(|there| !is_own(there)) {
        scope::goes_on(READING)?;
        let is_older = |limit| is_older(there, now, limit);
        // Where a host may not delete, many are left. Those that only this host may remove yet do not count
        // against those that any may.
        if is_older(STALE) {
            let (count, most) = match (is_older(LEFT), removes) {
                (_, Some(false)) => continue,
                (true, Some(true)) => (&mut looked_at, MOST_REMOVED),
                (true, None) => (&mut looked_at, MOST_LEFT),
                (false, _) => (&mut stale, MOST_LEFT),
            };
            *count += 1;
            if *count > most {
                continue;
            }
        }
        let Some(content) = read(repository, &there.id)? else { continue };
        if content.program == PROGRAM {
            let is_left = is_older(LEFT) || content.hostname == lock_host(host) && is_older(STALE);
            if is_left && removes != Some(false) {
                removes = Some(remove(repository, &there.id));
            }
            continue;
        }
        let is_against = content.exclusive || beside == Beside::Nothing;
        if is_against && !is_older(STALE) {
            return Ok(Some(content));
        }
    }
    Ok(None)
}

/// The time by the clock of the storage, which also tells when the locks in the list were written.
fn now(repository: &OpenRepository, locks: &[Listed], own: Option<Id>) -> Timestamp {
    let own = locks.iter().find(|there| Some(there.id) == own).and_then(|own| own.written);
    let now = own.map_or_else(|| repository.backend().storage().now(), Ok);
    now.unwrap_or_else(|_| SystemClock.now())
}

/// Whether a lock was written so long ago, as far as the storage tells.
fn is_older(there: &Listed, now: Timestamp, limit: Duration) -> bool {
    there.written.is_some_and(|written| now.duration_since(written) >= signed(limit))
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// How long ago a lock was written, by the clock of who wrote it.
fn since(lock: &Lock) -> Option<Duration> {
    let written: Timestamp = lock.time.parse().ok()?;
    Some(Duration::try_from(SystemClock.now().duration_since(written)).unwrap_or_default())
}

/// A lock; `None` if it is gone, or is none of this repository.
fn read(repository: &OpenRepository, id: &Id) -> Result<Option<Arc<Lock>>> {
    if let Some(known) = lock(&repository.locks.0).get(id) {
        return Ok(known.clone());
    }
    let Some(sealed) = repository.backend().storage().read_lock(id)? else { return Ok(None) };
    // What does not fit its name may be on its way.
    let is_whole = Id::new(hash(&sealed)) == *id;
    let opened = repository.coder()?.open_file(sealed.into());
    let content = opened.ok().and_then(|text| serde_json::from_slice(&text).ok()).map(Arc::new);
    if content.is_none() {
        log::debug!("locks/{} is no lock of this repository", id.to_hex().as_str());
    }
    if is_whole {
        lock(&repository.locks.0).insert(*id, content.clone());
    }
    Ok(content)
}

/// Waits, as long as the run goes on.
fn pause(time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        scope::goes_on("it waited for restic")?;
        sleep(STEP.min(until.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// Who holds a lock, for people.
fn told(lock: &Lock) -> String {
    let since = since(lock).map_or_else(String::new, |since| {
        format!(" {} ago", format_duration(Duration::from_secs(since.as_secs())))
    });
    let clean = |text: &str| text.chars().filter(|letter| !letter.is_control()).take(80).collect();
    let (user, host): (String, String) = (clean(&lock.username), clean(&lock.hostname));
    format!("process {} of {user} on {host} (its lock was written{since})", lock.pid)
}

fn busy(repository: &OpenRepository, other: &Lock) -> Error {
    let message = format!(
        "restic works on the repository at \"{}\": {}",
        repository.backend().location(),
        told(other)
    );
    Error::new(ErrorKind::Busy, message).with_hint(
        "try again when it has ended; if it was killed, \"restic unlock\" removes its lock, which counts for 30 minutes",
    )
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf, time::SystemTime};

    use rustic_core::repofile::Chunker;
    use tempfile::TempDir;

    use super::{super::backend::Backend, *};

    struct Scene {
        folder: TempDir,
        repository: Arc<OpenRepository>,
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let backend = Backend::in_folder(&folder.path().join("repository"), "host1");
            let made = OpenRepository::create(backend, "secret", true, Chunker::Rabin).unwrap();
            Self { folder, repository: Arc::new(made) }
        }

        fn take(&self, beside: Beside) -> Result<ResticLock> {
            ResticLock::take(&self.repository, "host1", beside, Duration::ZERO)
        }

        fn locks(&self) -> Vec<PathBuf> {
            let locks = fs::read_dir(self.folder.path().join("repository/locks")).unwrap();
            locks.map(|lock| lock.unwrap().path()).collect()
        }

        /// A lock as restic or another process of this program writes it.
        fn write(&self, exclusive: bool, hostname: &str, program: &str) -> PathBuf {
            let before = self.locks();
            let content = serde_json::json!({
                "time": "2026-11-27T15:00:00.123456789+01:00",
                "exclusive": exclusive,
                "hostname": hostname,
                "username": "root",
                "pid": 17,
            });
            let mut content = content;
            if !program.is_empty() {
                content["program"] = program.into();
            }
            let sealed = self.repository.coder().unwrap();
            let sealed = { sealed }.seal_file(content.to_string().as_bytes()).unwrap();
            let id = Id::new(hash(&sealed));
            self.repository.backend().storage().write_lock(&id, sealed.into()).unwrap();
            self.locks().into_iter().find(|lock| !before.contains(lock)).unwrap()
        }
    }

    fn make_older(lock: &PathBuf, by: Duration) {
        // The system's clock for files is a little behind.
        let time = SystemTime::now() - by - Duration::from_secs(1);
        fs::File::options().write(true).open(lock).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn a_backup_goes_on_beside_restics_backup_but_not_beside_its_prune() {
        let scene = Scene::new();
        let shared = scene.write(false, "laptop", "");
        let lock = scene.take(Beside::Others).unwrap();
        assert_eq!(scene.locks().len(), 2, "restic sees it");
        drop(lock);
        assert_eq!(scene.locks(), [shared]);
        let refused = scene.take(Beside::Nothing).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Busy);
        let prune = scene.write(true, "laptop", "");
        for beside in [Beside::Others, Beside::Nothing] {
            let refused = scene.take(beside).unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Busy);
            assert!(refused.message.contains("process 17 of root on laptop"), "{refused}");
        }
        ResticLock::wait(&scene.repository, Duration::ZERO).unwrap_err();
        assert_eq!(scene.locks().len(), 2, "what is refused leaves nothing");
        fs::remove_file(prune).unwrap();
        scene.take(Beside::Others).unwrap();
        ResticLock::wait(&scene.repository, Duration::ZERO).unwrap();
    }

    #[test]
    fn who_waits_for_restic_goes_on_when_that_has_ended() {
        let scene = Scene::new();
        let prune = scene.write(true, "laptop", "");
        let wait = Duration::from_mins(1);
        std::thread::scope(|threads| {
            let waits = threads
                .spawn(|| ResticLock::take(&scene.repository, "host1", Beside::Others, wait));
            fs::remove_file(&prune).unwrap();
            drop(waits.join().unwrap().unwrap());
        });
        assert!(scene.locks().is_empty());
    }

    #[test]
    fn locks_that_were_left_and_what_is_no_lock_stop_nobody() {
        let scene = Scene::new();
        let killed = scene.write(true, "laptop", "");
        make_older(&killed, STALE);
        let garbage = killed.with_file_name("0".repeat(64));
        fs::write(&garbage, "no lock").unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let (pipe, cwd) = (killed.with_file_name("1".repeat(64)), rustix::fs::CWD);
        rustix::fs::mknodat(cwd, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        scene.take(Beside::Nothing).unwrap();
        assert!(killed.exists() && garbage.exists(), "they are not ours to remove");
    }

    #[test]
    fn locks_of_this_program_stop_no_other_process_of_it_and_what_it_left_goes() {
        let scene = Scene::new();
        let (mine, others) =
            (scene.write(true, &lock_host("host1"), PROGRAM), scene.write(true, "host2", PROGRAM));
        scene.take(Beside::Nothing).unwrap();
        assert_eq!(scene.locks().len(), 2);
        make_older(&mine, STALE);
        make_older(&others, STALE);
        scene.take(Beside::Others).unwrap();
        assert_eq!(scene.locks(), std::slice::from_ref(&others));
        make_older(&others, LEFT);
        scene.take(Beside::Others).unwrap();
        assert!(scene.locks().is_empty());
    }

    #[test]
    fn a_lock_from_a_clock_that_is_ahead_counts_and_one_that_was_half_there_is_read_again() {
        let scene = Scene::new();
        let prune = scene.write(true, "laptop", "");
        let ahead = SystemTime::now() + LEFT;
        let open = || fs::File::options().write(true).open(&prune).unwrap();
        open().set_modified(ahead).unwrap();
        scene.take(Beside::Others).unwrap_err();
        ResticLock::wait(&scene.repository, Duration::ZERO).unwrap_err();
        let whole = fs::read(&prune).unwrap();
        lock(&scene.repository.locks.0).clear();
        fs::write(&prune, &whole[..40]).unwrap();
        scene.take(Beside::Others).unwrap();
        fs::write(&prune, whole).unwrap();
        scene.take(Beside::Others).unwrap_err();
    }

    #[test]
    fn how_long_others_have_been_writing_is_told_by_their_locks() {
        let scene = Scene::new();
        let mine = scene.take(Beside::Nothing).unwrap();
        assert_eq!(mine.longest_other().unwrap(), SignedDuration::ZERO);
        scene.write(false, "laptop", "");
        assert_eq!(mine.longest_other().unwrap(), SignedDuration::ZERO, "restic tells no begin");
        let _other = scene.take(Beside::Others).unwrap();
        assert!(mine.longest_other().unwrap() >= signed(STALE));
    }

    #[test]
    fn who_has_ended_is_not_writing_any_more() {
        let scene = Scene::new();
        let mine = scene.take(Beside::Others).unwrap();
        let before = scene.locks();
        let _other = scene.take(Beside::Others).unwrap();
        let other = scene.locks().into_iter().find(|lock| !before.contains(lock)).unwrap();
        make_older(&other, STALE);
        assert_eq!(mine.longest_other().unwrap(), SignedDuration::ZERO);
    }

    #[test]
    fn locks_that_only_their_host_may_remove_do_not_keep_older_ones() {
        let scene = Scene::new();
        for _ in 0..150 {
            make_older(&scene.write(false, "host2", PROGRAM), STALE);
        }
        let left = scene.write(false, "host2", PROGRAM);
        make_older(&left, LEFT);
        scene.take(Beside::Others).unwrap();
        assert!(!left.exists());
        assert_eq!(scene.locks().len(), 150);
    }

    #[test]
    fn no_locks_are_read_for_a_run_that_is_over() {
        let scene = Scene::new();
        scene.write(false, "host2", PROGRAM);
        let run = scope::Scope::of("run");
        run.ended.cancel();
        let refused = scope::within(Some(run), || scene.take(Beside::Others)).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Cancelled);
        assert_eq!(scene.locks().len(), 1, "its own lock is gone");
    }

    #[test]
    fn restic_itself_sees_the_lock() {
        let scene = Scene::new();
        let restic = |command: &str| {
            std::process::Command::new("restic")
                .args(["--no-cache", "--repo", "repository", command])
                .env("RESTIC_PASSWORD", "secret")
                .current_dir(scene.folder.path())
                .output()
        };
        if restic("snapshots").is_err() {
            eprintln!("restic is not installed");
            return;
        }
        let lock = scene.take(Beside::Others).unwrap();
        let refused = restic("prune").unwrap();
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && told.contains("by convoy-backups"), "{told}");
        assert!(restic("snapshots").unwrap().status.success());
        assert!(restic("unlock").unwrap().status.success());
        assert_eq!(scene.locks().len(), 1, "only its age tells that it is left");
        drop(lock);
        let pruned = restic("prune").unwrap();
        assert!(pruned.status.success(), "{}", String::from_utf8_lossy(&pruned.stderr));
    }
}
