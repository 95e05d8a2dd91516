//! A second look at a volume that was read live: whether what was saved is of one moment.
//!
//! What was saved is the volume at one moment if nothing that was saved is newer than the first
//! change of anything after it was read. So each file and folder that changed since the run began is
//! remembered with the time when it was read. If there is none, the beginning of the run is that
//! moment, and there is no second look. Else all are looked at again at the end, and told are
//!
//! - files that changed after they were read, and before another one that was saved did: a database
//!   beside its log, a file that was replaced by another one of its name, or a file or a folder that
//!   was moved from a folder that was not read into one that was;
//! - folders whose names changed after they were listed, if something in them changed before it was
//!   read: a database whose journal is not among the names;
//! - what can't be looked at any more, although it is there, or is listed again and again;
//! - what is in a folder with a doubtful list, and was not in that list: a file that was renamed while
//!   the folder was listed may be in the list under neither name.
//!
//! New files with new names are not told: they came later.

use std::{
    collections::{HashMap, HashSet},
    ffi::{CStr, CString},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use rustix::{
    fs::{AtFlags, FileType, Stat, StatxFlags},
    io::Errno,
};

use super::{
    counts::Counts,
    listed_names::ListedNames,
    listing::{Listing, TRIES},
};
use crate::{
    daemon::{
        moment::{TICK, changed_at},
        tree::{
            folder_handles::{FolderHandles, FolderId, OpenedFolder, TreeFolder},
            left_out::LeftOut,
            read::ReadFailures,
        },
    },
    error::Result,
    exclude::VolumeExcludes,
    sync::lock,
};

/// So many files are remembered. Beyond, each that changed since the run began is told.
const MOST: usize = 100_000;

/// What changed since the run began, and was read then.
pub(super) struct SecondLook {
    begun: Timestamp,
    /// The names in the folders that were read, and those folders themselves, as the name "".
    listed: ListedNames,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    read: HashMap<FolderId, Read>,
    /// When the newest of what was saved changed.
    newest: Option<Timestamp>,
    /// The same of what is in a folder.
    newest_in: HashMap<FolderId, Timestamp>,
    /// Folders whose list may lack what was there all the time.
    doubtful: HashSet<FolderId>,
}

/// A file or a folder that was read.
struct Read {
    changed: Timestamp,
    read: Timestamp,
}

impl SecondLook {
    /// For a run that begins now.
    pub(super) fn new() -> Self {
        Self { begun: a_tick_ago(), listed: ListedNames::new(), seen: Mutex::default() }
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

    /// Remembers the names in a folder.
    pub(super) fn listed(&self, folder: FolderId, listing: &Listing) {
        self.listed.add(folder, c"");
        listing.names().for_each(|name| self.listed.add(folder, name));
    }

    /// Something in this folder vanished before it was read, or the folder changed while it was listed:
    /// what is saved may have been read after that change.
    pub(super) fn doubts(&self, folder: FolderId) {
        let mut seen = lock(&self.seen);
        seen.newest = Some(Timestamp::now());
        seen.doubtful.insert(folder);
    }

    /// Looks at the whole volume again, if anything changed since the run began. What changed is
    /// counted.
    ///
    /// # Errors
    /// If the run `is_wanted` no longer, which is asked at each folder.
    pub(super) fn look(
        &self,
        (folders, volume): (&FolderHandles, &Path),
        (counts, failures, excludes): (&Counts, &ReadFailures, Option<&VolumeExcludes>),
        is_wanted: impl Fn() -> Result<()>,
    ) -> Result<()> {
        let seen = std::mem::take(&mut *lock(&self.seen));
        let newest = seen.newest.filter(|newest| *newest >= self.begun);
        let Some(newest) = newest else { return Ok(()) };
        let begun = self.begun;
        let look = Look { counts, failures, excludes, begun, listed: &self.listed, seen, newest };
        let mut left = Vec::new();
        match folders.root(volume) {
            Ok(opened) => look.folder(&opened, &mut left),
            Err(_) => counts.changed(PathBuf::from(".")),
        }
        is_wanted()?;
        while let Some((above, name)) = left.pop() {
            match folders.enter(&above, &name) {
                Ok(opened) => look.folder(&opened, &mut left),
                Err(error) => look.unseen(above.path_of(&name), &error),
            }
            is_wanted()?;
        }
        Ok(())
    }
}

/// Of names that were listed and are not there, those that are listed again each time and never there:
/// such a file may be there all the time, as on a share whose names the system can't write.
fn still_listed(
    gone: Vec<&CStr>,
    list: impl Fn() -> io::Result<Listing>,
    is_there: impl Fn(&CStr) -> bool,
) -> Vec<CString> {
    let mut doubtful: Vec<CString> = gone.into_iter().map(CStr::to_owned).collect();
    for _ in 0..TRIES {
        if doubtful.is_empty() {
            break;
        }
        let Ok(listing) = list() else { break };
        let listed: HashSet<&CStr> = listing.names().collect();
        doubtful.retain(|name| listed.contains(name.as_c_str()) && !is_there(name));
    }
    doubtful
}

/// A change just now may have the time of the last tick.
fn a_tick_ago() -> Timestamp {
    Timestamp::now().saturating_sub(TICK).unwrap_or(Timestamp::MIN)
}

/// A folder in another one, to be looked at.
type Unseen = (Arc<TreeFolder>, CString);

struct Look<'a> {
    counts: &'a Counts,
    failures: &'a ReadFailures,
    excludes: Option<&'a VolumeExcludes>,
    begun: Timestamp,
    listed: &'a ListedNames,
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

    /// Whether something came after its folder was listed: it was made since the run began, and has a
    /// name that was not there. A file system that does not tell when it was made knows nothing old.
    fn is_new(&self, (folder, id): (&OwnedFd, FolderId), name: &CStr, stat: &Stat) -> bool {
        if self.listed.has(id, name) || self.seen.read.contains_key(&(stat.st_dev, stat.st_ino)) {
            return false;
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let Ok(made) = rustix::fs::statx(folder, name, flags, StatxFlags::BTIME) else {
            return true;
        };
        let knows = StatxFlags::from_bits_retain(made.stx_mask).contains(StatxFlags::BTIME);
        let nanoseconds = i32::try_from(made.stx_btime.tv_nsec).unwrap_or(0);
        let made = Timestamp::new(made.stx_btime.tv_sec, nanoseconds);
        knows && made.is_ok_and(|made| made >= self.begun)
    }

    /// Looks at a folder and what is in it. Folders in it are `left` to be looked at.
    fn folder(&self, opened: &OpenedFolder, left: &mut Vec<Unseen>) {
        let (folder, handle) = (&opened.folder, &*opened.handle);
        if let Some(listed) = self.changed_after(&opened.stat)
            && self.seen.newest_in.get(&folder.id()).is_some_and(|newest| *newest > listed)
        {
            self.counts.changed(folder.path());
        }
        let mut listing = match Listing::read(handle) {
            Ok(listing) => listing,
            Err(error) => return self.unseen(folder.path(), &error),
        };
        if let Some(left_out) = self.excludes.map(|excludes| LeftOut::of(excludes, opened)) {
            listing.leave_out(|name| left_out.has(name));
        }
        let stat_of = |name: &CStr| rustix::fs::statat(handle, name, AtFlags::SYMLINK_NOFOLLOW);
        let is_doubtful = self.seen.doubtful.contains(&folder.id());
        let mut gone = Vec::new();
        for name in listing.names() {
            let stat = match stat_of(name) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => {
                    gone.push(name);
                    continue;
                }
                Err(error) => {
                    self.unseen(folder.path_of(name), &error.into());
                    continue;
                }
            };
            let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if is_folder {
                left.push((Arc::clone(folder), name.to_owned()));
            }
            // What is in a folder that was read is looked at by itself.
            let was_read = is_folder && self.listed.has((stat.st_dev, stat.st_ino), c"");
            let is_missed = is_doubtful && !self.listed.has(folder.id(), name);
            if !was_read
                && (is_missed || self.is_late(&stat))
                && !self.is_new((handle, folder.id()), name, &stat)
                && !self.failures.has(&folder.path_of(name))
            {
                self.counts.changed(folder.path_of(name));
            }
        }
        for name in still_listed(gone, || Listing::read(handle), |name| stat_of(name).is_ok()) {
            self.counts.changed(folder.path_of(&name));
        }
    }

    /// Tells what can't be looked at. What is gone is nothing that was saved wrongly, and what could not
    /// be read before is told as that.
    fn unseen(&self, path: PathBuf, error: &io::Error) {
        let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].map(|gone| gone.kind());
        if !gone.contains(&error.kind()) && !self.failures.has(&path) {
            self.counts.changed(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn listing(names: &[&CStr]) -> io::Result<Listing> {
        Listing::of(&names.iter().copied().map(CStr::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_name_that_is_always_listed_and_never_there_is_no_vanished_one() {
        let gone = || vec![c"ghost", c"moved", c"vanished"];
        let none_is_there = |_: &CStr| false;
        let lists = Cell::new(0);
        let found = still_listed(
            gone(),
            || {
                lists.set(lists.get() + 1);
                listing(if lists.get() == 1 { &[c"ghost", c"moved"] } else { &[c"ghost"] })
            },
            none_is_there,
        );
        assert_eq!((found, lists.get()), (vec![c"ghost".to_owned()], TRIES));
        let is_back = |name: &CStr| name == c"ghost";
        assert!(still_listed(gone(), || listing(&[c"ghost"]), is_back).is_empty());
        let unreadable = || Err(io::Error::other("no list"));
        assert_eq!(still_listed(gone(), unreadable, none_is_there).len(), 3);
        assert!(still_listed(Vec::new(), || panic!("nothing is listed"), none_is_there).is_empty());
    }
}
