//! Mounts that end with the test.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use super::disk::run;

/// What is mounted until this is dropped.
#[derive(Debug, Default)]
pub struct Mounted {
    /// In this order.
    places: Vec<PathBuf>,
}

impl Mounted {
    /// Mounts this, with these options of `mount`. The folder is made.
    pub fn at(&mut self, options: &[&str], what: &Path, at: PathBuf) -> Result<(), String> {
        fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        run(Command::new("mount").args(options).arg(what).arg(&at))?;
        self.places.push(at);
        Ok(())
    }

    /// Mounts each of these folders of a disk at the folder of its name of a site. They are made.
    pub fn folders(&mut self, disk: &Path, folders: &[&str], site: &Path) -> Result<(), String> {
        for folder in folders {
            let from = disk.join(folder);
            fs::create_dir_all(&from).map_err(|error| error.to_string())?;
            self.at(&["--bind"], &from, site.join(folder))?;
        }
        Ok(())
    }

    pub fn unmount(&mut self) {
        while let Some(at) = self.places.pop() {
            // A process that was just killed may still be about to close its files.
            if run(Command::new("umount").arg(&at)).is_err() {
                _ = run(Command::new("umount").arg("--lazy").arg(&at));
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// Makes an image of a file system of this kind, with these options of `mkfs`.
pub fn format(kind: &str, options: &[&str], image: &Path, size: u64) -> Result<(), String> {
    let made = File::create(image).and_then(|file| file.set_len(size));
    made.map_err(|error| error.to_string())?;
    run(Command::new(format!("mkfs.{kind}")).args(options).arg("-q").arg(image))
}
