//! What is in restic's own locks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use rustic_core::Id;
use serde::{Deserialize, Serialize};

/// The content of a lock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Lock {
    pub(super) time: String,
    #[serde(default)]
    pub(super) exclusive: bool,
    #[serde(default)]
    pub(super) hostname: String,
    #[serde(default)]
    pub(super) username: String,
    #[serde(default)]
    pub(super) pid: u32,
    #[serde(default)]
    pub(super) uid: u32,
    #[serde(default)]
    pub(super) gid: u32,
    /// When the work began, in the form of `time`. restic writes none.
    #[serde(default)]
    pub(super) began: String,
    /// Which program wrote it. restic writes none.
    #[serde(default)]
    pub(super) program: String,
}

/// The locks that were read: they never change.
#[derive(Debug, Default)]
pub(super) struct KnownLocks(pub(super) Mutex<HashMap<Id, Option<Arc<Lock>>>>);
