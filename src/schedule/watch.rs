//! Notices that the crontab has changed, by polling it every few seconds. Polling works for every
//! file system, for bind mounts, and for editors that put a new file in place of the old one. (A
//! single file that is mounted into a container stays the old one when an editor outside replaces
//! it: mount its folder.)

use std::{os::unix::fs::MetadataExt, sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::source::Source;

/// The time between two polls.
const POLL_INTERVAL: Duration = Duration::from_secs(3);

/// Identifies one state of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stamp {
    BuiltIn,
    /// The file does not exist, or can't be checked.
    Missing,
    File {
        device: u64,
        inode: u64,
        size: u64,
        modified: (i64, i64),
        changed: (i64, i64),
    },
}

fn stamp(source: &Source) -> Stamp {
    let Source::File(path) = source else { return Stamp::BuiltIn };
    path.metadata().map_or(Stamp::Missing, |metadata| Stamp::File {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

/// The states of the crontab that were seen.
#[derive(Debug)]
struct Watch {
    /// The state that was reported last.
    reported: (Source, Stamp),
    /// The state at the last poll.
    last: (Source, Stamp),
}

impl Watch {
    fn new(source: Source) -> Self {
        let state = (source.clone(), stamp(&source));
        Self { reported: state.clone(), last: state }
    }

    /// Whether there is a new state to report. A new state is reported at the second poll that sees
    /// it, because a file that is still being written would be read half.
    fn poll(&mut self, source: Source) -> bool {
        let state = (source.clone(), stamp(&source));
        let is_new = state != self.reported && state == self.last;
        self.last = state;
        if is_new {
            self.reported = self.last.clone();
        }
        is_new
    }
}

/// Notifies `reload` when the crontab has changed or another file is in force, until `end` is
/// cancelled.
pub(crate) async fn watch(find: impl Fn() -> Source, reload: Arc<Notify>, end: CancellationToken) {
    let mut watch = Watch::new(find());
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
        if watch.poll(find()) {
            reload.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_is_told_once_and_only_when_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crontab");
        fs::write(&path, "one").unwrap();
        let source = || Source::File(path.clone());
        let mut watch = Watch::new(source());
        assert!(!watch.poll(source()));
        fs::write(&path, "half of").unwrap();
        assert!(!watch.poll(source()), "it is still being written");
        fs::write(&path, "half of it").unwrap();
        assert!(!watch.poll(source()));
        assert!(watch.poll(source()));
        assert!(!watch.poll(source()), "reported already");

        let new = folder.path().join("new");
        fs::write(&new, "half of it").unwrap();
        fs::rename(&new, &path).unwrap();
        assert!(!watch.poll(source()));
        assert!(watch.poll(source()), "an editor renamed a new file into place");

        fs::remove_file(&path).unwrap();
        assert!(!watch.poll(source()));
        assert!(watch.poll(source()), "it is gone");
        assert!(!watch.poll(Source::BuiltIn));
        assert!(watch.poll(Source::BuiltIn), "another one is in force");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crontab");
        let (reload, end) = (Arc::new(Notify::new()), CancellationToken::new());
        let source = path.clone();
        let task =
            tokio::spawn(watch(move || Source::File(source.clone()), reload.clone(), end.clone()));
        tokio::task::yield_now().await;
        fs::write(&path, "x").unwrap();
        reload.notified().await;
        end.cancel();
        task.await.unwrap();
    }
}
