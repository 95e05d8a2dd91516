//! Packs that no index file names: each says itself, at its end, what is in it. So an index that was
//! lost is made anew, and what an interrupted run wrote is used.

use std::{
    num::NonZeroU32,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use jiff::Timestamp;
use rustic_core::{
    Id,
    repofile::{IndexBlob, IndexFile, IndexPack, PackId},
};
use serde_json::json;

use super::{
    cipher::{Coder, Hash},
    hex_hash::HexHash,
    open::OpenRepository,
};
use crate::{
    daemon::threads::spawn,
    error::{Error, ErrorKind, Result},
    scope,
    sync::lock,
};

/// How many packs are read at a time. At a bucket, waiting takes longer than reading.
const READERS: usize = 8;
/// So much of a pack's end is read at first, in bytes: most lists of what is in a pack are shorter.
const END: u32 = 4 << 10;
/// The longest list of what is in a pack that is read, in bytes.
const LONGEST: u32 = 16 << 20;
/// After the list of what is in a pack comes its length.
const LENGTH: u32 = 4;
/// An index file has no more than so many blobs.
const BLOBS_IN_FILE: usize = 50_000;

impl OpenRepository {
    /// Puts packs, with their sizes in bytes, into the index by what they say of themselves. Returns how
    /// many; the others can't be read.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] if the run ends, or if the storage fails.
    pub(crate) fn name_packs(&self, packs: &[(Id, u32)], now: Timestamp) -> Result<usize> {
        let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let read = || -> Result<()> {
            let coder = self.coder()?;
            while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                scope::goes_on("packs were looked at")?;
                if let Some(blobs) = self.header(*pack, &coder)? {
                    let (id, time) = (PackId::from(pack.0), Some(now));
                    lock(&found).push(IndexPack { id, blobs, time, size: Some(pack.1) });
                }
            }
            Ok(())
        };
        thread::scope(|threads| {
            let readers: Vec<_> = (0..READERS.min(packs.len()))
                .map(|_| spawn(threads, "packs", read))
                .collect::<Result<_>>()?;
            let ended = || Error::internal("reading packs failed");
            readers
                .into_iter()
                .try_for_each(|reader| reader.join().unwrap_or_else(|_| Err(ended())))
        })?;
        let mut found = found.into_inner().unwrap_or_default();
        let named = found.len();
        while !found.is_empty() {
            let mut blobs = 0;
            let mut fits = |pack: &IndexPack| {
                blobs += pack.blobs.len();
                blobs <= BLOBS_IN_FILE
            };
            let count = found.iter().rev().take_while(|pack| fits(pack)).count().max(1);
            let packs = found.split_off(found.len() - count);
            self.write_index(&IndexFile { packs, ..IndexFile::default() })?;
        }
        Ok(named)
    }

    /// What a pack says at its end; `None` if it is damaged.
    fn header(&self, (pack, size): (Id, u32), coder: &Coder) -> Result<Option<Vec<IndexBlob>>> {
        let read = |length: u32| match self.backend().read_tree(&pack, size - length, length) {
            Ok(end) => Ok(Some(end)),
            Err(error) if error.kind == ErrorKind::Repository => Ok(None),
            Err(error) => Err(error),
        };
        let Some(mut end) = read(END.min(size))? else { return Ok(None) };
        let Some((_, length)) = end.split_last_chunk::<{ LENGTH as usize }>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length);
        let Some(whole) = length.checked_add(LENGTH).filter(|whole| *whole <= size) else {
            return Ok(None);
        };
        if length > LONGEST {
            return Ok(None);
        }
        if whole as usize > end.len() {
            let Some(longer) = read(whole)? else { return Ok(None) };
            end = longer;
        }
        let from = end.len().checked_sub(whole as usize);
        let sealed = from.and_then(|from| end.get(from..from + length as usize));
        let opened = sealed.and_then(|sealed| coder.open_header(sealed.to_vec()).ok());
        Ok(opened.and_then(|list| blobs(&list, size - whole)))
    }
}

/// The blobs in a list of what is in a pack; `None` if these are not so many bytes.
fn blobs(mut list: &[u8], bytes: u32) -> Option<Vec<IndexBlob>> {
    let (mut blobs, mut offset) = (Vec::new(), 0_u32);
    while let Some((kind, rest)) = list.split_first() {
        let kind_of = if kind & 1 == 1 { "tree" } else { "data" };
        let (length, mut rest) = rest.split_first_chunk::<4>()?;
        let mut uncompressed_length = None;
        if kind & 2 == 2 {
            let (raw, after) = rest.split_first_chunk::<4>()?;
            uncompressed_length = NonZeroU32::new(u32::from_le_bytes(*raw));
            rest = after;
        }
        let (id, rest) = rest.split_first_chunk::<{ size_of::<Hash>() }>()?;
        let length = u32::from_le_bytes(*length);
        // The library has no other way to make one.
        let blob = json!({
            "id": HexHash(*id).to_string(), "type": kind_of, "offset": offset, "length": length,
            "uncompressed_length": uncompressed_length,
        });
        blobs.push(serde_json::from_value(blob).ok()?);
        offset = offset.checked_add(length)?;
        list = rest;
    }
    (offset == bytes && !blobs.is_empty()).then_some(blobs)
}
