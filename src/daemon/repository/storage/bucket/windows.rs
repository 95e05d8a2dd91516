//! Windows for reading packs.
//!
//! A restore reads thousands of small pieces, and each would be a request. So packs are read in
//! windows of 4 MiB, and the last few windows are kept.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use rustic_core::{FileType, Id};

use super::{super::file_name, content};
use crate::{
    error::Result,
    s3::{Extent, Objects},
    sync::lock,
};

/// The length of a window in bytes.
pub(super) const WINDOW: u32 = 4 << 20;
/// How many windows are kept.
const KEPT_WINDOWS: usize = 8;

/// The kept windows. The most recently used one is at the end.
#[derive(Debug, Default)]
pub(super) struct Windows(Mutex<VecDeque<Window>>);

/// A part of a pack that begins at an offset. It is empty until it is read.
#[derive(Debug)]
struct Window {
    pack: Id,
    start: u32,
    content: Arc<Mutex<Option<Bytes>>>,
}

impl Windows {
    /// The content of the window that begins at `start`.
    pub(super) fn read(&self, objects: &Objects, pack: &Id, start: u32) -> Result<Bytes> {
        let content = self.kept(pack, start);
        // Threads that need the same window wait for each other. Other threads do not.
        let mut content = lock(&content);
        if let Some(content) = &*content {
            return Ok(content.clone());
        }
        let name = file_name(FileType::Pack, pack);
        let read = content::read(objects, &name, Extent::Part(start.into(), WINDOW))?;
        Ok(content.insert(read).clone())
    }

    /// The content of a window, whether it was read or not. The window is kept from now on.
    fn kept(&self, pack: &Id, start: u32) -> Arc<Mutex<Option<Bytes>>> {
        let mut windows = lock(&self.0);
        let known = windows.iter().position(|it| it.pack == *pack && it.start == start);
        let window = known.and_then(|at| windows.remove(at));
        let window =
            window.unwrap_or_else(|| Window { pack: *pack, start, content: Arc::default() });
        if windows.len() >= KEPT_WINDOWS {
            windows.pop_front();
        }
        let content = window.content.clone();
        windows.push_back(window);
        content
    }

    /// Forgets the windows of a pack that is removed.
    pub(super) fn forget(&self, pack: &Id) {
        lock(&self.0).retain(|window| window.pack != *pack);
    }
}
