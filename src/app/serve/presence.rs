//! How other processes see that `serve` runs with a data folder: by a lock and two files.

use std::{path::PathBuf, time::Duration};

use crate::{
    app::connect::check_data_folder,
    config::Config,
    error::{Error, ErrorKind, Result},
    locks::{Lock, Locks, Sharing},
    schedule::remember_followed,
};

/// The lock by which other processes see that `serve` runs.
const LOCK_NAME: &str = "serve";

/// Takes the lock of the data folder's `serve`: a second one would start everything twice.
pub(super) async fn lock_data_folder(config: &Config) -> Result<Lock> {
    check_data_folder(&config.data_dir)?;
    let locks = Locks::new(config.data_dir.join("locks"), Duration::ZERO, "serve");
    match locks.acquire(LOCK_NAME, Sharing::Exclusive).await {
        Ok(lock) => Ok(lock),
        Err(error) if error.kind == ErrorKind::Busy => {
            Err(Error::new(ErrorKind::Busy, format!("\"serve\" runs already with \"{}\"", config.data_dir.display()))
                .with_hint("end that one first, or give this one a data folder of its own (BKUP_DATA_DIR)"))
        }
        Err(error) => Err(Error::configuration(format!(
            "the data folder \"{}\" can't be used: {error}",
            config.data_dir.display()
        ))
        .with_hint(format!(
            "let this user (id {}) write to it, or set BKUP_DATA_DIR to another folder; in a container, mount a volume there that this user can write to",
            rustix::process::geteuid().as_raw()
        ))),
    }
}

/// Writes the signs that `serve` runs, with the address at which it listens, and that it follows
/// this crontab. `status` does without a sign that can't be written.
pub(super) fn announce(config: &Config, crontab: &str, address: String) {
    if let Err(error) = remember_followed(config, crontab) {
        log::warn!("the next start will not know which crontab was followed: {error}");
    }
    if let Err(error) = std::fs::write(running_sign(config), address) {
        log::warn!("\"status\" will not know that serve was killed, should it be: {error}");
    }
}

/// Removes the sign that `serve` runs.
pub(super) fn withdraw(config: &Config) {
    let _ = std::fs::remove_file(running_sign(config));
}

/// Whether a `serve` uses this data folder now; `None` if one did and was killed.
pub(crate) async fn is_served(config: &Config) -> Option<bool> {
    let was_there = running_sign(config).exists();
    let locks = Locks::new(config.data_dir.join("locks"), Duration::ZERO, "status");
    let held = locks.folder().is_dir()
        && locks
            .acquire(LOCK_NAME, Sharing::Shared)
            .await
            .is_err_and(|error| error.kind == ErrorKind::Busy);
    if held || !was_there { Some(held) } else { None }
}

/// The address of the `serve` of this data folder, such as `http://0.0.0.0:3000`; `None` if it does
/// not listen, or was told to end.
pub(crate) fn listens_at(config: &Config) -> Option<String> {
    std::fs::read_to_string(running_sign(config)).ok().filter(|address| !address.is_empty())
}

/// A file that exists while `serve` runs, and after it was killed. By it, `status` tells a `serve`
/// that was killed from one that was told to end.
fn running_sign(config: &Config) -> PathBuf {
    config.data_dir.join("serve.running")
}
