//! When packs were read back.

use std::{collections::BTreeMap, fs, path::PathBuf};

use jiff::Timestamp;

use crate::files::write_whole;

/// When each pack of one destination was read last, as far as this root knows.
pub(super) struct ReadTimes {
    file: PathBuf,
}

impl ReadTimes {
    /// What is remembered in this file, which need not exist.
    pub(super) fn in_file(file: PathBuf) -> Self {
        Self { file }
    }

    /// By the pack.
    pub(super) fn read(&self) -> BTreeMap<String, Timestamp> {
        let content = fs::read(&self.file).ok();
        content.and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default()
    }

    /// Remembers these times in place of all.
    pub(super) fn write(&self, times: &BTreeMap<String, Timestamp>) {
        let written = serde_json::to_vec(times).map_err(std::io::Error::from);
        let written = written.and_then(|content| {
            self.file.parent().map_or(Ok(()), fs::create_dir_all)?;
            write_whole(&self.file, &content)
        });
        if let Err(error) = written {
            log::warn!(
                "what was read back is not remembered: \"{}\": {error}",
                self.file.display()
            );
        }
    }
}
