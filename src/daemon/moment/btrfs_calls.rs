//! The system calls of btrfs (`linux/btrfs.h`). The only code of the program that the compiler can't
//! check: each call names its number and the structure that the kernel reads or writes.
#![expect(unsafe_code, reason = "btrfs has no other interface")]

use std::{
    ffi::OsStr,
    fs::File,
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::PathBuf,
};

use rustix::{
    io::{Errno, Result},
    ioctl::{Getter, Opcode, Setter, Updater, ioctl, opcode},
};

const GROUP: u8 = 0x94;
const READ_ONLY: u64 = 1 << 1;

const SNAP_DESTROY: Opcode = opcode::write::<Named>(GROUP, 15);
const INO_LOOKUP: Opcode = opcode::read_write::<InodePath>(GROUP, 18);
const SNAP_CREATE_V2: Opcode = opcode::write::<NewSnapshot>(GROUP, 23);
const FS_INFO: Opcode = opcode::read::<FileSystem>(GROUP, 31);
const GET_SUBVOL_ROOTREF: Opcode = opcode::read_write::<Subvolumes>(GROUP, 61);

/// `struct btrfs_ioctl_vol_args`
#[repr(C)]
struct Named {
    fd: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_vol_args_v2`
#[repr(C)]
struct NewSnapshot {
    source: i64,
    transaction: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// `struct btrfs_ioctl_fs_info_args`
#[repr(C)]
struct FileSystem {
    devices: [u64; 2],
    id: [u8; 16],
    others: [u64; 124],
}

/// `struct btrfs_ioctl_ino_lookup_args`
#[repr(C)]
struct InodePath {
    tree: u64,
    inode: u64,
    path: [u8; 4080],
}

/// `struct btrfs_ioctl_get_subvol_rootref_args`
#[repr(C)]
struct Subvolumes {
    first_tree: u64,
    /// The subvolume's tree, and the inode of the folder that it is in.
    found: [[u64; 2]; 255],
    count: u8,
    unused: [u8; 7],
}

const _: () = assert!(size_of::<Named>() == 4096 && size_of::<NewSnapshot>() == 4096);
const _: () = assert!(size_of::<FileSystem>() == 1024 && size_of::<InodePath>() == 4096);
const _: () = assert!(size_of::<Subvolumes>() == 4096);

fn name_in<const LENGTH: usize>(name: &[u8]) -> Result<[u8; LENGTH]> {
    let mut field = [0; LENGTH];
    // The kernel reads up to a zero.
    if name.len() >= LENGTH {
        return Err(Errno::NAMETOOLONG);
    }
    field[..name.len()].copy_from_slice(name);
    Ok(field)
}

fn number(fd: RawFd) -> i64 {
    i64::from(fd)
}

/// Takes a read-only snapshot of a subvolume as `name` in the folder `into`.
pub(super) fn snapshot(into: &File, source: &File, name: &[u8]) -> Result<()> {
    let arguments = NewSnapshot {
        source: number(source.as_raw_fd()),
        transaction: 0,
        flags: READ_ONLY,
        unused: [0; 4],
        name: name_in(name)?,
    };
    // SAFETY: the call reads the structure of its size, and writes nothing.
    unsafe { ioctl(into, Setter::<SNAP_CREATE_V2, _>::new(arguments)) }
}

/// Removes the subvolume `name` in a folder.
pub(super) fn remove_subvolume(parent: &File, name: &[u8]) -> Result<()> {
    let arguments = Named { fd: 0, name: name_in(name)? };
    // SAFETY: the call reads the structure of its size, and writes nothing.
    unsafe { ioctl(parent, Setter::<SNAP_DESTROY, _>::new(arguments)) }
}

/// The id of a file system.
pub(super) fn file_system(folder: &File) -> Result<[u8; 16]> {
    // SAFETY: the call fills the structure of its size; any bytes are valid in it.
    let told = unsafe { ioctl(folder, Getter::<FS_INFO, FileSystem>::new()) };
    told.map(|told| told.id)
}

/// The subvolumes that are in a subvolume, not in those inside it: the inode of the folder that each
/// is in. Of more than 255, the first ones.
pub(super) fn subvolumes_in(subvolume: &File) -> Result<Vec<u64>> {
    let mut found = Subvolumes { first_tree: 0, found: [[0; 2]; 255], count: 0, unused: [0; 7] };
    // SAFETY: the call reads and fills the structure of its size; any bytes are valid in it.
    match unsafe { ioctl(subvolume, Updater::<GET_SUBVOL_ROOTREF, _>::new(&mut found)) } {
        Ok(()) | Err(Errno::OVERFLOW) => {
            let count = usize::from(found.count);
            Ok(found.found[..count].iter().map(|[_, folder]| *folder).collect())
        }
        Err(error) => Err(error),
    }
}

/// The number of the subvolume that a folder is in.
pub(super) fn tree_of(folder: &File) -> Result<u64> {
    // The first inode that a subvolume can have, and the only one of which anyone may ask.
    let mut told = InodePath { tree: 0, inode: 256, path: [0; 4080] };
    // SAFETY: the call reads and fills the structure of its size; any bytes are valid in it.
    unsafe { ioctl(folder, Updater::<INO_LOOKUP, _>::new(&mut told)) }?;
    Ok(told.tree)
}

/// The path of an inode in a subvolume, from its top. Only root may ask.
pub(super) fn path_of(subvolume: &File, inode: u64) -> Result<PathBuf> {
    let mut told = InodePath { tree: 0, inode, path: [0; 4080] };
    // SAFETY: the call reads and fills the structure of its size; any bytes are valid in it.
    unsafe { ioctl(subvolume, Updater::<INO_LOOKUP, _>::new(&mut told)) }?;
    let length = told.path.iter().position(|byte| *byte == 0).unwrap_or(told.path.len());
    Ok(PathBuf::from(OsStr::from_bytes(&told.path[..length])))
}
