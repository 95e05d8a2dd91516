//! How much room a backup takes beside the volume, while it runs.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::Measured;

/// So often it is looked.
const LOOK: Duration = Duration::from_millis(50);

/// Does the work, and returns how many bytes a daemon's folder had on the disk meanwhile, at most, beside
/// its volumes.
pub(super) fn most_beside(daemon: &Path, work: impl FnOnce() -> Measured) -> (Measured, u64) {
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        let looking = threads.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = on_disk(daemon).max(most);
                thread::sleep(LOOK);
            }
            most
        });
        let measured = work();
        done.store(true, Ordering::Relaxed);
        (measured, looking.join().expect("it ends"))
    })
}

/// What vanishes meanwhile counts nothing.
fn on_disk(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let entries = entries.filter(|entry| entry.file_name() != "volumes");
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => on_disk(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(size).sum()
}
