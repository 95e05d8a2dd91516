//! A file that is almost only a hole.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    path::Path,
};

use super::{files::backup_url, measure, median, mib, program, seconds};

const HOLE: u64 = 100 << 30;

/// A file of 100 GB of which only the end is written: what is a hole is not read.
pub(super) fn hole(folder: &Path, runs: usize) {
    let (mut first, mut again, mut restored) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..runs {
        let here = folder.join(format!("run-{run}"));
        fs::create_dir_all(here.join("backups")).expect("a folder");
        measure(program(&here).args(["create", "--volume", "vol1", "--size", "200G"]));
        let volume = here.join("daemon/volumes/vol1");
        let mut file = fs::File::create(volume.join("hole")).expect("a file");
        file.seek(SeekFrom::Start(HOLE)).and_then(|_| file.write_all(b"the end")).expect("room");
        drop(file);
        let back_up =
            || measure(program(&here).args(["backup", "--volume", "vol1", "--create-snapshot"]));
        first.push(back_up());
        again.push(back_up());
        let url = backup_url(&here);
        let words = ["restore", "--volume", "vol2", "--backupurl", &url];
        restored.push(measure(program(&here).args(words)));
        let back = here.join("daemon/volumes/vol2/hole").metadata().expect("it is there");
        assert_eq!(back.len(), HOLE + 7);
    }
    for (what, runs) in [("first backup", first), ("nothing changed", again), ("restore", restored)]
    {
        let measured = median(runs);
        println!("| a hole of 100 GB, {what} | {} | {} |", seconds(measured), mib(measured));
    }
}
