//! Reads the metadata of a file, and converts it to restic's form.

use std::{
    ffi::{CStr, CString, OsStr, OsString},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use rustic_core::{
    jiff::Timestamp,
    repofile::{Metadata, NodeType},
};
use rustix::{
    fs::{AtFlags, FileType, Stat},
    io::Errno,
};

use crate::daemon::tree::mode;

/// The most bytes that the system returns for an attribute, or for the names of all attributes.
const LARGEST_ATTRIBUTE: usize = 64 * 1024;

/// Times outside these can't be written so that restic reads them: it has years from 0 to 9999, in
/// whatever time zone.
const EARLIEST: i64 = -62_167_046_400;
const LATEST: i64 = 253_402_207_199;

/// Reads the metadata of files.
pub(in crate::daemon) struct MetadataReader {
    /// The folder with this process's open files. Attributes can't be read relative to a folder's
    /// handle, so they are read through a path here.
    pub(super) descriptors: &'static str,
    notes: MetadataNotes,
    /// The buffer for listing attributes, used again for each file.
    buffer: Vec<u8>,
}

/// What can't be kept as it is of a file.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::daemon) struct MetadataNotes {
    /// A time was so far away that it was replaced by the nearest one that can be kept.
    pub(in crate::daemon) is_capped: bool,
    /// An extended attribute was left out: restic's form has names in UTF-8 alone.
    pub(in crate::daemon) is_stripped: bool,
}

impl MetadataReader {
    pub(in crate::daemon) fn new() -> Self {
        let descriptors = "/proc/self/fd";
        Self { descriptors, notes: MetadataNotes::default(), buffer: Vec::new() }
    }

    /// What was noted since the last call.
    pub(in crate::daemon) fn take_notes(&mut self) -> MetadataNotes {
        std::mem::take(&mut self.notes)
    }

    /// The metadata of `name` in a folder. `stat` is the result of its `stat` call.
    pub(in crate::daemon) fn read(
        &mut self,
        stat: &Stat,
        folder: &OwnedFd,
        name: &CStr,
    ) -> io::Result<Metadata> {
        let attributes = self.attributes_of(folder, name)?;
        self.with_values(stat, attributes)
    }

    /// The metadata of a file with these extended attributes.
    pub(in crate::daemon) fn with_attributes(
        &mut self,
        stat: &Stat,
        attributes: &[(CString, Vec<u8>)],
    ) -> io::Result<Metadata> {
        let mut found = Vec::new();
        for (name, value) in attributes {
            match name.to_str() {
                Ok(name) => found.push((name.to_owned(), base64(value))),
                Err(_) => self.notes.is_stripped = true,
            }
        }
        self.with_values(stat, json(found))
    }

    fn with_values(
        &mut self,
        stat: &Stat,
        attributes: Vec<serde_json::Value>,
    ) -> io::Result<Metadata> {
        let mut metadata = self.without_attributes(stat);
        if !attributes.is_empty() {
            // rustic does not export the type of an attribute. Its JSON is restic's format and will
            // not change.
            metadata.extended_attributes = serde_json::from_value(attributes.into())?;
        }
        Ok(metadata)
    }

    /// The metadata in the result of a `stat` call.
    pub(in crate::daemon) fn without_attributes(&mut self, stat: &Stat) -> Metadata {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let linked = stat.st_nlink > 1 && kind != FileType::Directory;
        let sized = kind == FileType::RegularFile;
        Metadata {
            mode: Some(mode::to_restic(stat.st_mode)),
            mtime: self.time(stat.st_mtime, stat.st_mtime_nsec),
            atime: self.time(stat.st_atime, stat.st_atime_nsec),
            ctime: self.time(stat.st_ctime, stat.st_ctime_nsec),
            uid: Some(stat.st_uid),
            gid: Some(stat.st_gid),
            user: None,
            group: None,
            inode: stat.st_ino,
            // Only hard links need the device. Its number changes when the host boots, and every
            // folder would look changed.
            device_id: if linked { stat.st_dev } else { 0 },
            size: if sized { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
            links: if linked { wide(stat.st_nlink) } else { 0 },
            extended_attributes: Vec::new(),
        }
    }

    fn time(&mut self, seconds: i64, nanoseconds: impl TryInto<i32>) -> Option<Timestamp> {
        let kept = seconds.clamp(EARLIEST, LATEST);
        self.notes.is_capped |= kept != seconds;
        Timestamp::new(kept, nanoseconds.try_into().unwrap_or(0)).ok()
    }

    /// The attributes of `name` in a folder. If a path below `descriptors` is missing, that does
    /// not mean that the file is missing.
    fn attributes_of(
        &mut self,
        folder: &OwnedFd,
        name: &CStr,
    ) -> io::Result<Vec<serde_json::Value>> {
        let mut through = OsString::from(format!("{}/{}/", self.descriptors, folder.as_raw_fd()));
        through.push(OsStr::from_bytes(name.to_bytes()));
        let read = self.attributes(&through);
        if read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            return Err(io::Error::other(format!(
                "its extended attributes can't be read: \"{}\" is not there; /proc must be mounted",
                self.descriptors
            )));
        }
        read
    }

    /// All attributes in restic's form: `{"name": .., "value": base64}`.
    fn attributes(&mut self, path: &OsStr) -> io::Result<Vec<serde_json::Value>> {
        self.buffer.resize(LARGEST_ATTRIBUTE, 0);
        let length = match rustix::fs::llistxattr(path, &mut self.buffer[..]) {
            Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
            other => other?,
        };
        let names = self.buffer[..length].to_vec();
        let mut found = Vec::new();
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let Ok(text) = std::str::from_utf8(name) else {
                self.notes.is_stripped = true;
                continue;
            };
            let length = match rustix::fs::lgetxattr(path, text, &mut self.buffer[..]) {
                // The attribute was removed after it was listed.
                Err(Errno::NODATA) => continue,
                other => other?,
            };
            found.push((text.to_owned(), base64(&self.buffer[..length])));
        }
        Ok(json(found))
    }
}

/// Attributes in restic's form. Their values are base64.
fn json(mut attributes: Vec<(String, String)>) -> Vec<serde_json::Value> {
    attributes.sort_unstable();
    let value = |(name, value)| serde_json::json!({ "name": name, "value": value });
    attributes.into_iter().map(value).collect()
}

/// The kind of the file `name` in a folder.
pub(in crate::daemon) fn kind_of(
    stat: &Stat,
    folder: &OwnedFd,
    name: &CStr,
) -> io::Result<NodeType> {
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => NodeType::File,
        FileType::Directory => NodeType::Dir,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(folder, name, Vec::new())?;
            NodeType::from_link(Path::new(OsStr::from_bytes(target.as_bytes())))
        }
        FileType::Fifo => NodeType::Fifo,
        FileType::Socket => NodeType::Socket,
        FileType::CharacterDevice => NodeType::Chardev { device: stat.st_rdev },
        FileType::BlockDevice => NodeType::Dev { device: stat.st_rdev },
        FileType::Unknown => return Err(io::Error::other("it is of a kind that is not known")),
    })
}

/// Widens a link count, which has 64 bits on some systems and 32 on others.
fn wide(count: impl Into<u64>) -> u64 {
    count.into()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for digit in 0..4 {
            let six = (bits >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit <= group.len() { char::from(DIGITS[six]) } else { '=' });
        }
    }
    text
}
