//! Room for a restore: it ends before the disk is full, and is not begun where it can't fit. What a backup
//! says of its size is not believed.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
};

use rustic_core::{TreeId, repofile::BlobType};

use crate::{
    daemon::repository::{BlobReader, HexHash, Index},
    error::{Error, ErrorKind, Result},
    files::Room,
    scope,
    sync::lock,
    units::format_size,
};

/// The disk is looked at after so many bytes and entries, and earlier where it has little room.
const MOST_BYTES: u64 = 64 << 20;
const MOST_ENTRIES: u64 = 10_000;
const FEWEST_BYTES: u64 = 1 << 20;
const FEWEST_ENTRIES: u64 = 1;
/// The least that a file or a folder takes, in bytes.
const SMALLEST_ENTRY: u64 = 128;

/// Looks at the room on the disk while a restore writes.
pub(super) struct RoomWatch {
    /// The folder that is restored to.
    folder: Arc<OwnedFd>,
    left: Mutex<Left>,
}

/// What may be written before the next look.
struct Left {
    bytes: u64,
    entries: u64,
}

impl RoomWatch {
    /// For a restore to a folder on the disk.
    pub(super) fn new(folder: Arc<OwnedFd>) -> Self {
        let left = Mutex::new(Left { bytes: MOST_BYTES, entries: MOST_ENTRIES });
        let watch = Self { folder, left };
        if let Ok(room) = watch.room() {
            *lock(&watch.left) = Left::of(room);
        }
        watch
    }

    fn room(&self) -> Result<Room> {
        let disk = rustix::fs::fstatvfs(&*self.folder);
        let told = |error| Error::io("cannot see what is free on the disk", &error);
        disk.map(|disk| Room::of(&disk)).map_err(|error| told(error.into()))
    }

    /// Counts bytes that were written.
    ///
    /// # Errors
    /// If the disk has no room but its reserve.
    pub(super) fn wrote(&self, bytes: u64) -> Result<()> {
        self.count(bytes, 0)
    }

    /// Counts a file or a folder that is to be made.
    ///
    /// # Errors
    /// As [`RoomWatch::wrote`].
    pub(super) fn makes(&self) -> Result<()> {
        self.count(0, 1)
    }

    fn count(&self, bytes: u64, entries: u64) -> Result<()> {
        let mut left = lock(&self.left);
        if bytes <= left.bytes && entries <= left.entries {
            left.bytes -= bytes;
            left.entries -= entries;
            return Ok(());
        }
        let room = self.room()?;
        if room.bytes == 0 {
            return Err(no_room("the disk has no room left but its reserve"));
        }
        if room.entries == Some(0) {
            return Err(no_room(
                "the disk can have no more files and folders, but for its reserve",
            ));
        }
        *left = Left::of(room);
        Ok(())
    }

    /// Looks whether a backup can fit at all. `told`: the bytes in its files by its own word, of which much
    /// may be holes.
    ///
    /// # Errors
    /// If it surely does not fit.
    pub(super) fn can_take(
        &self,
        told: Option<u64>,
        (index, tree): (&Index, TreeId),
        reader: &mut BlobReader<'_>,
    ) -> Result<()> {
        let room = self.room()?;
        let Some(told) = told.filter(|told| *told > room.bytes.max(MOST_BYTES)) else {
            return Ok(());
        };
        let of = format!(
            "the backup has {}, and the disk has {} free beyond its reserve",
            format_size(told),
            format_size(room.bytes)
        );
        if surely_takes(room, (index, tree), reader)? {
            return Err(no_room(&of));
        }
        log::warn!("{of}: it fits only if enough of it is zeros");
        Ok(())
    }
}

impl Left {
    fn of(room: Room) -> Self {
        let entries = room.entries.unwrap_or(u64::MAX);
        Self {
            bytes: (room.bytes / 2).clamp(FEWEST_BYTES, MOST_BYTES),
            entries: (entries / 2).clamp(FEWEST_ENTRIES, MOST_ENTRIES),
        }
    }
}

/// Whether what is packed of a backup, which is less than its files take but for holes, is more than
/// there is room for.
fn surely_takes(
    room: Room,
    (index, tree): (&Index, TreeId),
    reader: &mut BlobReader<'_>,
) -> Result<bool> {
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    let mut left = vec![tree];
    while let Some(tree) = left.pop() {
        scope::goes_on("the size of a backup was looked at")?;
        let what = || "cannot read a folder of the backup".to_owned();
        let mut nodes = reader.tree(index, &HexHash::of(&tree), &what)?;
        while let Some(node) = nodes.next()? {
            left.extend(node.subtree);
            let packed = node.content.iter().flatten().filter_map(|piece| {
                let id = HexHash::parse(piece.to_hex().as_str())?.0;
                index.find(BlobType::Data, &id).map(|at| u64::from(at.length))
            });
            bytes = bytes.saturating_add(SMALLEST_ENTRY + packed.sum::<u64>());
            entries += 1;
            if bytes > room.bytes || room.entries.is_some_and(|room| entries > room) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn no_room(why: &str) -> Error {
    Error::new(ErrorKind::Io, why.to_owned())
        .with_hint("make room on it and restore again, or restore on another host; nothing of the restore is left")
}
