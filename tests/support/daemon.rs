//! Daemons with a folder of their own: the built-in one, and a real Convoy where `CONVOY_BIN` names
//! one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::running::{Running, binary, convoy};

/// A running daemon, with a folder of its own; it ends when dropped.
#[derive(Debug)]
pub struct DaemonProcess {
    /// `builtin` or `convoy`.
    pub name: &'static str,
    /// Before the folder, so that it ends before its files go.
    running: Running,
    folder: TempDir,
}

impl DaemonProcess {
    /// Every daemon there is to test against: the built-in one and, where `CONVOY_BIN` is set,
    /// Convoy with its vfs driver.
    pub fn all() -> Vec<Self> {
        let builtin = Self::start("builtin", |folder, socket| {
            let mut command = binary();
            command.args(["daemon", "--root"]).arg(folder.join("root")).arg("--socket").arg(socket);
            Some(command)
        });
        let convoy = Self::start("convoy", |folder, socket| {
            convoy(socket, &folder.join("root"), &folder.join("volumes"))
        });
        builtin.into_iter().chain(convoy).collect()
    }

    fn start(
        name: &'static str,
        command: impl FnOnce(&Path, &Path) -> Option<Command>,
    ) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root", "volumes", "backups"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let socket = folder.path().join("d.sock");
        let command = command(folder.path(), &socket)?;
        let running = Running::start(command, &socket, folder.path().join("log"));
        Some(Self { name, running, folder })
    }

    /// The folder that holds all it has: `root`, `volumes` and an empty `backups`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("d.sock")
    }

    /// What it has written to its output so far.
    pub fn log(&self) -> String {
        self.running.log()
    }
}
