//! Setting owners, modes, times and attributes of restored files.

use std::{io, os::fd::AsFd, path::Path};

use rustic_core::repofile::Metadata;
use rustix::{
    fs::{Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags},
    io::Errno,
};

use super::{path::failed, warnings::RestoreWarnings};
use crate::{
    daemon::tree::{
        access_list::{self, GroupBits},
        mode,
    },
    error::{Error, Result},
};

/// Sets the metadata of files. It warns about what this process is not allowed to set.
#[derive(Clone, Copy)]
pub(super) struct MetadataWriter<'a> {
    warnings: &'a RestoreWarnings,
}

impl<'a> MetadataWriter<'a> {
    pub(super) fn new(warnings: &'a RestoreWarnings) -> Self {
        Self { warnings }
    }

    pub(super) fn warn(&self, warning: &str) {
        self.warnings.add(warning);
    }

    /// Sets the metadata of an open file or folder that is new, as far as it is not so already. The
    /// owner comes first, because changing it clears set-user-id and capabilities.
    pub(super) fn set_open(&self, open: impl AsFd, meta: &Metadata, path: &Path) -> Result<()> {
        let open = open.as_fd();
        let is_now = rustix::fs::fstat(open).map_err(failed(path))?;
        let is_owned = meta.uid == Some(is_now.st_uid) && meta.gid == Some(is_now.st_gid);
        let owned = is_owned
            || self.owner(meta, path, |user, group| rustix::fs::fchown(open, user, group))?;
        let lost = self.attributes(meta, path, |name, value| {
            rustix::fs::fsetxattr(open, name, value, XattrFlags::empty())
        })?;
        // An access list among the attributes changes the mode, and so does a new owner.
        let is_untouched = is_owned && meta.extended_attributes.is_empty();
        let is_set = |mode: &Mode| is_untouched && *mode == Mode::from_raw_mode(is_now.st_mode);
        if let Some(mode) = mode_of(meta, owned, lost).filter(|mode| !is_set(mode)) {
            rustix::fs::fchmod(open, mode).map_err(failed(path))?;
        }
        rustix::fs::futimens(open, &times(meta)).map_err(failed(path))
    }

    /// Sets the owner. `false` if this process is not allowed to (being root says nothing, because
    /// a container can remove any right), or if its user namespace does not know the owner.
    pub(super) fn owner(
        &self,
        meta: &Metadata,
        path: &Path,
        set: impl FnOnce(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
    ) -> Result<bool> {
        let user = meta.uid.filter(|id| *id != u32::MAX).map(Uid::from_raw);
        let group = meta.gid.filter(|id| *id != u32::MAX).map(Gid::from_raw);
        match set(user, group) {
            Ok(()) => Ok(true),
            Err(Errno::PERM | Errno::INVAL) => {
                self.warn("owners were not kept: giving files away needs CAP_CHOWN, and owners that are known here");
                Ok(false)
            }
            Err(error) => Err(failed(path)(error)),
        }
    }

    /// Sets the extended attributes. If the access list could not be set, returns what the list
    /// allows the group.
    pub(super) fn attributes(
        &self,
        meta: &Metadata,
        path: &Path,
        set: impl Fn(&str, &[u8]) -> Result<(), Errno>,
    ) -> Result<Option<GroupBits>> {
        let mut lost = None;
        for attribute in &meta.extended_attributes {
            let name = &attribute.name;
            let value = attribute.value.as_deref().unwrap_or_default();
            let Err(error) = set(name, value) else { continue };
            let Some(warning) = not_set(name, error) else {
                let what = format!("cannot set the attribute \"{name}\" of \"{}\"", path.display());
                return Err(Error::io(what, &io::Error::from(error)));
            };
            self.warn(&warning);
            if name == access_list::ACCESS {
                lost = Some(access_list::group_bits(value));
            }
        }
        Ok(lost)
    }
}

/// The warning for an attribute that could not be set; `None` if this is a failure.
fn not_set(name: &str, error: Errno) -> Option<String> {
    match error {
        Errno::NOTSUP => {
            Some("extended attributes were not kept: the file system has none".to_owned())
        }
        Errno::INVAL if access_list::NAMES.contains(&name) => Some(format!(
            "access lists (\"{name}\") were not kept: they name users or groups that are not known here"
        )),
        Errno::PERM | Errno::ACCESS | Errno::INVAL if !name.starts_with("user.") => Some(format!(
            "attributes \"{name}\" were not kept: that needs CAP_SYS_ADMIN or CAP_SETFCAP"
        )),
        _ => None,
    }
}

/// The mode to set. A file that runs as its owner must not run as another user. If the access list
/// was `lost`, the mode's group bits are the list's mask, which allows more than the list gives the
/// group.
pub(super) fn mode_of(meta: &Metadata, owned: bool, lost: Option<GroupBits>) -> Option<Mode> {
    let mode = Mode::from_raw_mode(mode::permissions(meta.mode?));
    let mode = if owned { mode } else { mode - Mode::SUID - Mode::SGID };
    Some(lost.map_or(mode, |group| mode - (Mode::RWXG - group)))
}

/// The times to set. A time that the backup does not have stays as it is.
pub(super) fn times(meta: &Metadata) -> Timestamps {
    let time = |time: Option<rustic_core::jiff::Timestamp>| match time {
        Some(time) => {
            // Before 1970, both parts of rustic's time are negative. The system needs nanoseconds
            // from 0 up.
            let nanoseconds = time.as_nanosecond();
            let second = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).unwrap_or_default();
            let rest = nanoseconds.rem_euclid(1_000_000_000);
            Timespec { tv_sec: second, tv_nsec: i64::try_from(rest).unwrap_or_default() }
        }
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    Timestamps { last_access: time(meta.atime), last_modification: time(meta.mtime) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_access_list_takes_from_the_group_what_only_its_mask_had() {
        let meta = Metadata { mode: Some(0o664), ..Metadata::default() };
        assert_eq!(mode_of(&meta, true, None), Some(Mode::from_raw_mode(0o664)));
        assert_eq!(mode_of(&meta, true, Some(Mode::RGRP)), Some(Mode::from_raw_mode(0o644)));
        assert_eq!(mode_of(&meta, true, Some(Mode::empty())), Some(Mode::from_raw_mode(0o604)));
        // A lost list never adds rights to the mode.
        assert_eq!(mode_of(&meta, true, Some(Mode::RWXG)), Some(Mode::from_raw_mode(0o664)));
    }
}
