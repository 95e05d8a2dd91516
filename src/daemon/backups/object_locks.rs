//! Until when what is locked at one destination, as far as this root knows.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Mutex};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::files::write_whole;

/// What one root has locked at one destination.
pub(super) struct ObjectLocks {
    file: PathBuf,
    /// Held while the file is changed.
    pub(super) changing: Mutex<()>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Content {
    pub(super) is_governance: bool,
    /// In seconds.
    pub(super) length: u64,
    pub(super) looked: Option<Timestamp>,
    /// By the names of the objects.
    pub(super) until: BTreeMap<String, Timestamp>,
}

impl ObjectLocks {
    /// What is remembered in this file, which need not exist.
    pub(super) fn in_file(file: PathBuf) -> Self {
        Self { file, changing: Mutex::default() }
    }

    pub(super) fn read(&self) -> Content {
        let content = fs::read(&self.file).ok();
        content.and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default()
    }

    pub(super) fn write(&self, content: &Content) {
        let written = serde_json::to_vec(content).map_err(std::io::Error::from);
        let written = written.and_then(|content| {
            self.file.parent().map_or(Ok(()), fs::create_dir_all)?;
            write_whole(&self.file, &content)
        });
        if let Err(error) = written {
            let file = self.file.display();
            log::warn!("what is locked is not remembered, and locked again: \"{file}\": {error}");
        }
    }
}
