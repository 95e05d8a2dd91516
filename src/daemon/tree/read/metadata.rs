//! Reads the metadata of a file, and converts it to restic's form.

use std::{
    ffi::{CStr, OsStr, OsString},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
};

use rustic_core::{jiff::Timestamp, repofile::Metadata};
use rustix::{
    fs::{AtFlags, FileType, Stat},
    io::Errno,
};

use crate::daemon::tree::mode;

/// The most bytes that the system returns for an attribute, or for the names of all attributes.
const LARGEST_ATTRIBUTE: usize = 64 * 1024;

/// Reads the metadata of files.
pub(super) struct MetadataReader {
    /// Whether extended attributes are read. If not, files look as if they had none.
    pub(super) attributes: bool,
    /// The folder with this process's open files. Attributes can't be read relative to a folder's
    /// handle, so they are read through a path here.
    pub(super) descriptors: &'static str,
    /// The buffer for listing attributes, used again for each file.
    buffer: Vec<u8>,
}

impl MetadataReader {
    pub(super) fn new() -> Self {
        Self { attributes: true, descriptors: "/proc/self/fd", buffer: Vec::new() }
    }

    /// The metadata of `name` in a folder. `stat` is the result of its `stat` call.
    pub(super) fn read(
        &mut self,
        stat: &Stat,
        folder: &OwnedFd,
        name: &CStr,
    ) -> io::Result<Metadata> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let linked = stat.st_nlink > 1 && kind != FileType::Directory;
        let sized = kind == FileType::RegularFile;
        Ok(Metadata {
            mode: Some(mode::to_restic(stat.st_mode)),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            atime: time(stat.st_atime, stat.st_atime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
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
            // rustic does not export the type of an attribute. Its JSON is restic's format and will
            // not change.
            extended_attributes: match self.attributes_of(folder, name)?.as_slice() {
                [] => Vec::new(),
                found => serde_json::from_value(found.iter().cloned().collect())?,
            },
        })
    }

    /// The attributes of `name` in a folder. If a path below `descriptors` is missing, that does
    /// not mean that the file is missing.
    fn attributes_of(
        &mut self,
        folder: &OwnedFd,
        name: &CStr,
    ) -> io::Result<Vec<serde_json::Value>> {
        if !self.attributes {
            return Ok(Vec::new());
        }
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
                return Err(io::Error::other("the name of an extended attribute is not UTF-8"));
            };
            let length = match rustix::fs::lgetxattr(path, text, &mut self.buffer[..]) {
                // The attribute was removed after it was listed.
                Err(Errno::NODATA) => continue,
                other => other?,
            };
            found.push((text.to_owned(), base64(&self.buffer[..length])));
        }
        found.sort_unstable();
        Ok(found
            .into_iter()
            .map(|(name, value)| serde_json::json!({ "name": name, "value": value }))
            .collect())
    }
}

fn time(seconds: i64, nanoseconds: impl TryInto<i32>) -> Option<Timestamp> {
    Timestamp::new(seconds, nanoseconds.try_into().unwrap_or(0)).ok()
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
