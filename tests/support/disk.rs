//! File systems of their own for tests: an image that is mounted over a loop device.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A file system that is mounted until this is dropped.
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    /// A file system of this kind (`btrfs`, `xfs`, `ext4`), of 400 MB, with these options of `mkfs`.
    /// Where it can't be made (no root, no loop devices, no such file system in the kernel, no
    /// `mkfs`), the test's output says that the test is skipped, and why; `None` then.
    pub fn new(kind: &str, options: &[&str]) -> Option<Self> {
        Self::of_size(kind, options, 400 << 20)
    }

    /// The same, of so many bytes.
    pub fn of_size(kind: &str, options: &[&str], size: u64) -> Option<Self> {
        match Self::make(kind, options, size) {
            Ok(disk) => Some(disk),
            Err(why) => {
                skipped(&format!("no {kind} here: {why}"));
                None
            }
        }
    }

    fn make(kind: &str, options: &[&str], size: u64) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = folder.path().join("image");
        let made = File::create(&image).and_then(|file| file.set_len(size));
        made.map_err(|error| error.to_string())?;
        run(Command::new(format!("mkfs.{kind}")).args(options).arg("-q").arg(&image))?;
        let at = folder.path().join("mounted");
        std::fs::create_dir(&at).map_err(|error| error.to_string())?;
        run(Command::new("mount").args(["-o", "loop", "-t", kind]).arg(&image).arg(&at))?;
        Ok(Self { folder })
    }

    /// The folder where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        _ = run(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

/// A folder that does not answer, as a share whose server is gone: a FUSE file system without a
/// program behind it. It answers (with errors) once this is dropped.
pub struct Hung {
    folder: TempDir,
    /// The program's end. Without it, the kernel ends all calls.
    end: Option<File>,
}

impl Hung {
    /// `None` where it can't be made; the test's output says why.
    pub fn new() -> Option<Self> {
        Self::make().inspect_err(|why| skipped(&format!("no FUSE here: {why}"))).ok()
    }

    fn make() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let end = File::options().read(true).write(true).open("/dev/fuse");
        let end = end.map_err(|error| error.to_string())?;
        let at = folder.path().join("hung");
        std::fs::create_dir(&at).map_err(|error| error.to_string())?;
        // The command's standard input is the program's end.
        let input = end.try_clone().map_err(|error| error.to_string())?;
        let options = "fd=0,rootmode=40000,user_id=0,group_id=0";
        let mut mount = Command::new("mount");
        run(mount.args(["-i", "-t", "fuse", "-o", options, "hung"]).arg(&at).stdin(input))?;
        Ok(Self { folder, end: Some(end) })
    }

    /// The folder that does not answer.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("hung")
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        drop(self.end.take());
        _ = run(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

/// Says that the test is skipped, and why. The harness shows what a passed test prints by macros to nobody.
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// Runs a command of the system that a test needs, such as `btrfs subvolume create`.
pub fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "))
}

/// Makes a subvolume of btrfs.
pub fn subvolume(path: &Path) {
    run(Command::new("btrfs").args(["subvolume", "create"]).arg(path)).expect("it is on btrfs");
}
