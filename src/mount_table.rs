//! The mounts that this process sees, by `/proc/self/mountinfo`.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs, io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

/// A file system, or a part of one, that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountPoint {
    /// Absolute, without symbolic links.
    pub(crate) path: PathBuf,
    /// The type, such as `nfs4`.
    pub(crate) file_system: String,
    /// The device or share, such as `server:/data`.
    pub(crate) source: String,
}

impl MountPoint {
    /// Whether the files come from another host or from a program, which may not answer.
    pub(crate) fn is_remote(&self) -> bool {
        let begins = ["nfs", "smb", "fuse", "ceph", "afs", "9p"];
        self.file_system == "cifs" || begins.iter().any(|it| self.file_system.starts_with(it))
    }
}

/// All mounts, in the order in which they were made. A later one hides an earlier one at the same
/// path, which is left out.
///
/// # Errors
/// If the system has no such list.
pub(crate) fn mounts() -> io::Result<Vec<MountPoint>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

fn parse(table: &[u8]) -> Vec<MountPoint> {
    let mut mounts: Vec<_> = table.split(|byte| *byte == b'\n').filter_map(line).collect();
    let mut seen = HashSet::new();
    mounts.reverse();
    mounts.retain(|mount| seen.insert(mount.path.clone()));
    mounts.reverse();
    mounts
}

/// One line of the table: `36 35 98:0 /root /mount/point rw,noatime master:1 - ext4 /dev/sda1 rw`.
fn line(line: &[u8]) -> Option<MountPoint> {
    let mut fields = line.split(|byte| *byte == b' ');
    let path = unescaped(fields.nth(4)?);
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    let text = |field: &[u8]| String::from_utf8_lossy(unescaped(field).as_bytes()).into_owned();
    Some(MountPoint {
        path: path.into(),
        file_system: text(rest.next()?),
        source: rest.next().map(text).unwrap_or_default(),
    })
}

/// The kernel writes a space, a tab, a line feed and a backslash as `\` and three octal digits.
fn unescaped(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes)
}

/// The mounts at a folder and below it. The folder is a path without symbolic links.
pub(crate) fn at_or_below<'a>(
    mounts: &'a [MountPoint],
    folder: &'a Path,
) -> impl Iterator<Item = &'a MountPoint> {
    mounts.iter().filter(move |mount| mount.path.starts_with(folder))
}

/// The mount that holds a path, which has no symbolic links.
pub(crate) fn holding<'a>(mounts: &'a [MountPoint], path: &Path) -> Option<&'a MountPoint> {
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.path));
    above.max_by_key(|mount| mount.path.components().count())
}

/// The paths of all mounts, to find the one that holds a path among many.
#[derive(Debug, Default)]
pub(crate) struct MountPaths(HashSet<PathBuf>);

impl MountPaths {
    /// Those that there are now; none if the system has no list.
    pub(crate) fn now() -> Self {
        Self(mounts().unwrap_or_default().into_iter().map(|mount| mount.path).collect())
    }

    /// The mount that holds a path, by the path's own words.
    pub(crate) fn holding<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        path.ancestors().find(|above| self.0.contains(*above))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mount_is_read_with_its_type_and_share() {
        let table = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            40 22 0:50 / /srv/my\\040share rw - nfs4 server:/data rw,addr=10.0.0.1\n\
            41 40 0:51 /part /srv/my\\040share/deep rw master:2 propagate_from:1 - btrfs /dev/sdb rw\n\
            42 22 0:52 / /srv/my\\040share rw - tmpfs tmpfs rw\nnonsense\n";
        let mounts = parse(table);
        let shown: Vec<_> = mounts
            .iter()
            .map(|mount| (mount.path.to_str().unwrap(), &*mount.file_system, &*mount.source))
            .collect();
        assert_eq!(
            shown,
            [
                ("/", "ext4", "/dev/sda1"),
                ("/srv/my share/deep", "btrfs", "/dev/sdb"),
                ("/srv/my share", "tmpfs", "tmpfs"),
            ]
        );
        assert_eq!(at_or_below(&mounts, Path::new("/srv/my share")).count(), 2);
        assert_eq!(at_or_below(&mounts, Path::new("/srv/my")).count(), 0);
        let held = |path: &str| &*holding(&mounts, Path::new(path)).unwrap().file_system;
        assert_eq!(
            [held("/srv"), held("/srv/my share/a"), held("/srv/my share/deep/a")],
            ["ext4", "tmpfs", "btrfs"]
        );
    }

    #[test]
    fn blanks_and_backslashes_in_a_path_are_read() {
        let line = br"36 35 98:0 /mnt1 /a\040b\134c/mnt2 rw,noatime master:1 - ext3 /dev/root rw";
        let paths: Vec<_> = parse(line).into_iter().map(|mount| mount.path).collect();
        assert_eq!(paths, [PathBuf::from(r"/a b\c/mnt2")]);
        assert!(parse(b"").is_empty());
    }

    #[test]
    fn this_process_has_a_root() {
        assert!(mounts().unwrap().iter().any(|mount| mount.path == Path::new("/")));
    }
}
