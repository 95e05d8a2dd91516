//! A file system that loses its power at any moment, as a test says.
//!
//! It lies in an image on an XFS of its own, where a file is cloned in one step (FICLONE). A clone of the image
//! has what the file system had handed to its disk by then, and nothing of what it had only in memory. Once that
//! clone is mounted in the place of the image, the file system is as it is after a power cut.
//!
//! A disk with a cache loses more: what it was handed since it was last told to flush it, in any order. For that, the
//! image lies on a file system in the middle, in an image that is cloned in its place: what was not flushed is in
//! the memory of the one in the middle.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    disk::{Disk, run, skipped},
    mounted::{Mounted, format},
};

const HOME: u64 = 2 << 30;
const MIDDLE: u64 = 400 << 20;
const SIZE: u64 = 320 << 20;

/// A kind of file system, and how it is mounted.
pub type Kind = (&'static str, &'static str);

/// Those that are tried, with the options by which what is not synced is written as late as can be.
pub const KINDS: [Kind; 4] = [
    ("ext4", "loop,commit=60,noauto_da_alloc"),
    ("ext4", "loop,commit=60,noauto_da_alloc,data=writeback"),
    ("xfs", "loop,nouuid"),
    ("btrfs", "loop,commit=120"),
];

/// A file system whose power can be cut; it is mounted until this is dropped.
pub struct Powered {
    mounted: Mounted,
    home: Disk,
    kind: Kind,
    has_cache: bool,
    site: PathBuf,
    folders: Vec<&'static str>,
}

impl Powered {
    /// A file system that is mounted at these `folders` of a site. `None` where it can't be made; the test's
    /// output says why.
    pub fn new(kind: Kind, has_cache: bool, site: &Path, folders: &[&'static str]) -> Option<Self> {
        let home = Disk::of_size("xfs", &["-m", "reflink=1"], HOME)?;
        let (site, folders) = (site.to_owned(), folders.to_vec());
        let mut disk = Self { mounted: Mounted::default(), home, kind, has_cache, site, folders };
        let made = disk.make();
        made.inspect_err(|why| skipped(&format!("no {} here: {why}", kind.0))).ok()?;
        Some(disk)
    }

    fn make(&mut self) -> Result<(), String> {
        if self.has_cache {
            format("xfs", &[], &self.outer_image(), MIDDLE)?;
            self.mount_middle()?;
        }
        format(self.kind.0, &[], &self.image(), SIZE)?;
        self.mount()
    }

    /// The image that is cloned.
    fn outer_image(&self) -> PathBuf {
        self.home.path().join("image")
    }

    /// The image of the file system that the site has.
    fn image(&self) -> PathBuf {
        match self.has_cache {
            true => self.home.path().join("middle/image"),
            false => self.outer_image(),
        }
    }

    fn mount_middle(&mut self) -> Result<(), String> {
        let (image, at) = (self.outer_image(), self.home.path().join("middle"));
        self.mounted.at(&["-o", "loop,nouuid", "-t", "xfs"], &image, at)
    }

    /// Mounts the file system, and its folders at the site.
    fn mount(&mut self) -> Result<(), String> {
        let (image, disk) = (self.image(), self.site.join("disk"));
        let (kind, options) = self.kind;
        self.mounted.at(&["-o", options, "-t", kind], &image, disk.clone())?;
        self.mounted.folders(&disk, &self.folders, &self.site)
    }

    /// Writes to the disk what is in memory, as programs do that want to keep what they have written.
    pub fn sync(&self) {
        run(Command::new("sync").arg("-f").arg(self.site.join("disk"))).unwrap();
    }

    /// The power is cut now. Processes go on until they are ended; nothing of what they do from here on is there
    /// after [`Powered::start_again`].
    pub fn cut(&self) {
        let from = File::open(self.outer_image()).unwrap();
        let to = File::create(self.home.path().join("after")).unwrap();
        rustix::fs::ioctl_ficlone(to, from).unwrap();
    }

    /// The power is back. No process may have a file open there.
    pub fn start_again(&mut self) {
        self.mounted.unmount();
        fs::rename(self.home.path().join("after"), self.outer_image()).unwrap();
        if self.has_cache {
            self.mount_middle().unwrap();
        }
        self.mount().unwrap();
    }
}
