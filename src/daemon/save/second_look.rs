//! A second look at a volume that was read live: whether what was saved is of one moment.
//!
//! What was saved is the volume at one moment if nothing that was saved is newer than the first
//! change of anything after it was read. So each file and folder that changed since the run began is
//! remembered with the time when it was read. If there is none, the beginning of the run is that
//! moment, and there is no second look. Else all are looked at again at the end, and told are
//!
//! - files that changed after they were read, and before another one that was saved did: a database
//!   beside its log, or a file that was moved from a folder that was not read into one that was;
//! - folders whose names changed after they were listed, if something in them changed before it was
//!   read: a database whose journal is not among the names.
//!
//! New files are not told: they came later.

use std::{
    collections::HashMap,
    ffi::CString,
    path::Path,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Stat, StatxFlags};

use super::{listing::Listing, run::Run};
use crate::{
    daemon::{
        moment::{TICK, changed_at},
        tree::folder_handles::{FolderId, TreeFolder},
    },
    sync::lock,
};

/// So many files are remembered. Beyond, each that changed since the run began is told.
const MOST: usize = 100_000;

/// What changed since the run began, and was read then.
pub(super) struct SecondLook {
    begun: Timestamp,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    read: HashMap<FolderId, Read>,
    /// When the newest of what was saved changed.
    newest: Option<Timestamp>,
    /// The same of what is in a folder.
    newest_in: HashMap<FolderId, Timestamp>,
}

/// A file or a folder that was read.
struct Read {
    changed: Timestamp,
    read: Timestamp,
}

impl SecondLook {
    /// For a run that begins now.
    pub(super) fn new() -> Self {
        Self { begun: a_tick_ago(), seen: Mutex::default() }
    }

    /// Remembers what is saved as it is now, in this folder.
    pub(super) fn saw(&self, stat: &Stat, folder: Option<FolderId>) {
        let changed = changed_at(stat);
        if changed < self.begun {
            return;
        }
        let mut seen = lock(&self.seen);
        seen.newest = seen.newest.max(Some(changed));
        if let Some(folder) = folder {
            let newest = seen.newest_in.entry(folder).or_insert(changed);
            *newest = changed.max(*newest);
        }
        if seen.read.len() < MOST {
            let read = Read { changed, read: a_tick_ago() };
            seen.read.insert((stat.st_dev, stat.st_ino), read);
        }
    }

    /// Something vanished before it was read: what is saved is as if that were gone already.
    pub(super) fn vanished(&self) {
        lock(&self.seen).newest = Some(Timestamp::now());
    }

    /// Looks at the whole volume again, if anything changed since the run began.
    pub(super) fn look(&self, run: &Run<'_>, folder: &Path, cancelled: &dyn Fn() -> bool) {
        let seen = std::mem::take(&mut *lock(&self.seen));
        let Some(newest) = seen.newest.filter(|newest| *newest >= self.begun) else { return };
        let look = Look { run, begun: self.begun, seen, newest };
        let mut left: Vec<(Arc<TreeFolder>, CString)> = Vec::new();
        let mut next = run.folders.root(folder);
        while !cancelled() {
            // What can't be read any more is nothing that was saved wrongly.
            if let Ok(opened) = next {
                look.folder(&opened.folder, &opened.stat);
                let listing = Listing::read(&opened.handle);
                for name in listing.iter().flat_map(Listing::names) {
                    let stat = rustix::fs::statat(&*opened.handle, name, AtFlags::SYMLINK_NOFOLLOW);
                    match stat {
                        Ok(stat)
                            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory =>
                        {
                            left.push((Arc::clone(&opened.folder), name.to_owned()));
                        }
                        Ok(stat) if look.is_late(&stat) && !look.is_new(&opened.handle, name) => {
                            run.counts.changed(opened.folder.path_of(name));
                        }
                        _ => {}
                    }
                }
            }
            let Some((above, name)) = left.pop() else { return };
            next = run.folders.enter(&above, &name);
        }
    }
}

/// A change just now may have the time of the last tick.
fn a_tick_ago() -> Timestamp {
    Timestamp::now().saturating_sub(TICK).unwrap_or(Timestamp::MIN)
}

struct Look<'a> {
    run: &'a Run<'a>,
    begun: Timestamp,
    seen: Seen,
    newest: Timestamp,
}

impl Look<'_> {
    /// When this was read, if it changed after that.
    fn changed_after(&self, stat: &Stat) -> Option<Timestamp> {
        let changed = changed_at(stat);
        match self.seen.read.get(&(stat.st_dev, stat.st_ino)) {
            _ if changed < self.begun => None,
            Some(seen) if seen.changed == changed => None,
            Some(seen) => Some(seen.read),
            None => Some(self.begun),
        }
    }

    /// Whether a file changed after it was read, and before another one that was saved did.
    fn is_late(&self, stat: &Stat) -> bool {
        self.changed_after(stat).is_some_and(|read| read < self.newest)
    }

    /// Whether a file was made after the run began. A file system that does not tell knows none.
    fn is_new(&self, folder: &std::os::fd::OwnedFd, name: &std::ffi::CStr) -> bool {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let Ok(made) = rustix::fs::statx(folder, name, flags, StatxFlags::BTIME) else {
            return true;
        };
        let knows = StatxFlags::from_bits_retain(made.stx_mask).contains(StatxFlags::BTIME);
        let nanoseconds = i32::try_from(made.stx_btime.tv_nsec).unwrap_or(0);
        let made = Timestamp::new(made.stx_btime.tv_sec, nanoseconds);
        knows && made.is_ok_and(|made| made >= self.begun)
    }

    fn folder(&self, folder: &TreeFolder, stat: &Stat) {
        let Some(listed) = self.changed_after(stat) else { return };
        let newest = self.seen.newest_in.get(&folder.id());
        if newest.is_some_and(|newest| *newest > listed) {
            self.run.counts.changed(folder.path());
        }
    }
}
