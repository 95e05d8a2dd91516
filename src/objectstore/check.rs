//! The look at one backup.

use std::{
    collections::BTreeSet,
    io::{self, Read},
};

use super::{
    gzip,
    layout::{Checksum, Data, FOLDER, Layout, data},
    place::{Content, Found, Place},
};
use crate::convoy::guards::{Depth, Seen};

/// A longer description is not read: it would name blocks of more than a TiB.
const LONGEST_DESCRIPTION: u64 = 64 << 20;
/// No more of an archive is unpacked: a few seconds' work.
const MOST_UNPACKED: u64 = 1 << 30;
/// How much of a file is read at once.
const PIECE: usize = 1 << 20;

/// How many of a backup's blocks are read.
fn blocks_read(depth: Depth) -> usize {
    match depth {
        Depth::Quick => 4,
        Depth::Thorough => 16,
    }
}

/// Looks at the data of a backup at this place.
pub(super) fn look(place: &dyn Place, layout: &Layout<'_>, depth: Depth) -> Seen {
    match judge(place, layout, depth) {
        Ok(bytes) => Seen::Whole { bytes: Some(bytes) },
        // A backup that is being deleted loses its data first.
        Err(Seen::Broken(why)) if description(place, layout).is_err() => {
            Seen::Hidden(format!("it is gone: {why}"))
        }
        Err(seen) => seen,
    }
}

/// The size in bytes of a backup's data: of the packed file, or of the volume's blocks unpacked.
fn judge(place: &dyn Place, layout: &Layout<'_>, depth: Depth) -> Found<u64> {
    let description = description(place, layout)?;
    let text = description.read(0, description.size() as usize)?;
    match data(&text, layout).map_err(Seen::Broken)? {
        Data::File(path) => file(place, &path, depth),
        Data::Blocks(checksums) => {
            blocks(place, layout, &checksums, depth)?;
            Ok((checksums.len() * gzip::BLOCK) as u64)
        }
    }
}

/// The backup's description. Only where it can be seen, a missing file says anything: the daemon's
/// folder may be another one of the same path, in a container.
fn description(place: &dyn Place, layout: &Layout<'_>) -> Found<Box<dyn Content>> {
    let path = layout.description();
    match place.open(&path)? {
        None => Err(Seen::Hidden(format!("\"{FOLDER}/{path}\" can't be seen from here"))),
        Some(content) if content.size() > LONGEST_DESCRIPTION => {
            Err(Seen::Hidden(format!("its description \"{FOLDER}/{path}\" is too long")))
        }
        Some(content) => Ok(content),
    }
}

/// A volume as one file: an archive, packed with gzip. Returns its size in bytes.
fn file(place: &dyn Place, path: &str, depth: Depth) -> Found<u64> {
    let broken = |what: &str| Seen::Broken(format!("its file \"{FOLDER}/{path}\" {what}"));
    let Some(content) = place.open(path)? else { return Err(broken("is missing")) };
    let size = content.size();
    if size == 0 {
        return Err(broken("is empty"));
    }
    let head = content.read(0, gzip::HEAD)?;
    let trailer = content.read(size.saturating_sub(gzip::TRAILER as u64), gzip::TRAILER)?;
    if !gzip::is_archive(size, &head, &trailer) {
        return Err(broken("is cut off or damaged: it is no whole gzip"));
    }
    if depth == Depth::Quick || size > place.cheap_size() {
        return Ok(size);
    }
    let mut reading = Reading { content: &*content, offset: 0, ended: None };
    let unpacked = gzip::unpack(io::BufReader::with_capacity(PIECE, &mut reading), MOST_UNPACKED);
    match (reading.ended, unpacked) {
        (Some(seen), _) => Err(seen),
        (None, Err(error)) => Err(broken(&format!("is damaged: {error}"))),
        (None, Ok(())) => Ok(size),
    }
}

/// A volume as blocks: all have to be there, and some are read.
fn blocks(
    place: &dyn Place,
    layout: &Layout<'_>,
    checksums: &BTreeSet<Checksum>,
    depth: Depth,
) -> Found<()> {
    let broken = |path: &str, what: &str| {
        Seen::Broken(format!("its block \"{FOLDER}/{path}\", one of {}, {what}", checksums.len()))
    };
    let read = some_of(checksums, blocks_read(depth));
    let looked_at = if depth == Depth::Quick { read.clone() } else { checksums.iter().collect() };
    let paths: Vec<_> = looked_at.into_iter().map(|checksum| layout.block(checksum)).collect();
    for (path, size) in paths.iter().zip(place.sizes(&layout.blocks(), &paths)?) {
        match size {
            None => return Err(broken(path, "is missing")),
            Some(size) if size < gzip::SHORTEST => return Err(broken(path, "is empty")),
            Some(_) => {}
        }
    }
    for checksum in read {
        let path = layout.block(checksum);
        let Some(content) = place.open(&path)? else { return Err(broken(&path, "is missing")) };
        // gzip makes a block that can't be packed only a little longer.
        if content.size() > 2 * gzip::BLOCK as u64
            || !gzip::is_block(&content.read(0, content.size() as usize)?, checksum)
        {
            return Err(broken(&path, "is damaged"));
        }
    }
    Ok(())
}

/// So many of these, evenly spread, the first and the last among them.
fn some_of(checksums: &BTreeSet<Checksum>, count: usize) -> Vec<&Checksum> {
    let last = checksums.len().saturating_sub(1);
    let gaps = count.saturating_sub(1).max(1);
    let picked: BTreeSet<usize> = (0..count).map(|index| index * last / gaps).collect();
    let all = checksums.iter().enumerate();
    all.filter(|(index, _)| picked.contains(index)).map(|(_, checksum)| checksum).collect()
}

/// Reads a file piece by piece.
struct Reading<'a> {
    content: &'a dyn Content,
    offset: u64,
    /// What the look ends with, if a piece could not be read.
    ended: Option<Seen>,
}

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = match self.content.read(self.offset, buffer.len()) {
            Ok(piece) => piece,
            Err(seen) => {
                self.ended = Some(seen);
                return Err(io::Error::other("the file can't be read"));
            }
        };
        buffer[..piece.len()].copy_from_slice(&piece);
        self.offset += piece.len() as u64;
        Ok(piece.len())
    }
}
