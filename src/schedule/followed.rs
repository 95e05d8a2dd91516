//! The crontab that `serve` follows, or followed last: a file in the data folder remembers it, for
//! the next start and for other processes.

use std::{fs, path::PathBuf};

use crate::{config::Config, error::Result, files};

const FILE: &str = "serve.crontab";

/// The file that remembers it. Without it, nothing was followed.
pub(super) fn followed_file(config: &Config) -> PathBuf {
    config.data_dir.join(FILE)
}

/// The crontab that `serve` follows, or followed last, in words for people: a path, or that it is
/// the built-in one.
pub(crate) fn followed(config: &Config) -> Option<String> {
    fs::read_to_string(followed_file(config)).ok()
}

/// Remembers that `serve` follows this crontab.
///
/// # Errors
/// If the data folder can't be written.
pub(crate) fn remember_followed(config: &Config, crontab: &str) -> Result<()> {
    let path = followed_file(config);
    files::write_whole(&path, crontab.as_bytes()).map_err(|error| files::write_error(&path, &error))
}
