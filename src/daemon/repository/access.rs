//! What all repositories of one daemon are opened and written with.

use std::sync::{Arc, Once};

use rustic_core::StringList;

use crate::progress::Progress;

/// The password, the host's name and the progress of one daemon.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) password: Option<String>,
    pub(crate) host: String,
    pub(crate) progress: Arc<dyn Progress>,
}

impl Access {
    /// The password; empty if none is set.
    pub(crate) fn password(&self) -> &str {
        self.password.as_deref().unwrap_or_default()
    }

    /// Warns, once per process, that a backup is made without a password.
    pub(crate) fn warn_of_plain_backups(&self) {
        static WARNED: Once = Once::new();
        if self.password.is_none() {
            WARNED.call_once(|| {
                log::warn!("backups are not encrypted: set BKUP_REPOSITORY_PASSWORD")
            });
        }
    }
}

/// Tags in this program's form, `name=value`. restic keeps tags when it copies or rewrites
/// snapshots.
pub(crate) fn tags(pairs: &[(&str, &str)]) -> StringList {
    let mut list = StringList::default();
    for (name, value) in pairs {
        list.add(format!("{name}={value}"));
    }
    list
}
