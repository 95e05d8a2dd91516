//! What a campaign does with the repository at a destination, past the program.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use super::files_in;

/// Begins a repository at a destination, with a key that costs nothing to open (tests/data/cheap-key.md).
pub(super) fn has_cheap_key(destination: &Path) {
    let repository = destination.join("repository");
    for folder in ["data", "index", "keys", "locks", "snapshots", "tmp"] {
        fs::create_dir_all(repository.join(folder)).unwrap();
    }
    let key = "keys/421c85259cd94667048c685ee29f287c059576e506ec913c74365f0fb3262918";
    let files: [(&str, &[u8]); 2] = [
        ("config", include_bytes!("../data/cheap-key/config")),
        (key, include_bytes!("../data/cheap-key/key")),
    ];
    for (name, content) in files {
        fs::write(repository.join(name), content).unwrap();
    }
    // As the program does it.
    for path in
        [repository.join("config"), repository.join(key), repository.join("keys"), repository]
    {
        File::open(path).unwrap().sync_all().unwrap();
    }
}

/// Each file is as it was a day ago, and an hour more.
pub(super) fn a_day_passes(repository: &Path) {
    let before = SystemTime::now() - Duration::from_hours(25);
    for path in files_in(repository) {
        File::open(path).unwrap().set_modified(before).unwrap();
    }
}

/// restic finds no fault, where it is installed.
pub(super) fn restic_check(repository: &Path) {
    let check = Command::new("restic")
        .args(["--no-cache", "--no-lock", "check", "--read-data", "-r"])
        .arg(repository)
        .env("RESTIC_PASSWORD", "secret")
        .output();
    match check {
        Err(_) => eprintln!("restic is not installed"),
        Ok(told) => {
            let told = format!("{}{}", text(&told.stdout), text(&told.stderr));
            assert!(told.contains("no errors were found"), "{told}");
        }
    }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
