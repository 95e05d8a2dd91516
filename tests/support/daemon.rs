//! Daemons in processes of their own: the built-in one, and a real Convoy where `CONVOY_BIN` names one.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long a daemon may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon, with a folder of its own; it ends when dropped.
#[derive(Debug)]
pub struct DaemonProcess {
    /// `builtin` or `convoy`.
    pub name: &'static str,
    folder: TempDir,
    process: Child,
}

impl DaemonProcess {
    /// The daemon that is built in.
    pub fn builtin() -> Self {
        Self::start("builtin", |folder| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_convoy-backups"));
            command.arg("daemon").arg("--root").arg(folder.join("root")).arg("--socket").arg(folder.join("d.sock"));
            command
        })
    }

    /// Every daemon there is to test against: the built-in one and, where `CONVOY_BIN` is set, Convoy with its vfs
    /// driver.
    pub fn all() -> Vec<Self> {
        let mut daemons = vec![Self::builtin()];
        if let Some(program) = std::env::var_os("CONVOY_BIN") {
            daemons.push(Self::start("convoy", |folder| {
                let mut command = Command::new(&program);
                command.arg("--socket").arg(folder.join("d.sock")).arg("daemon").arg("--root").arg(folder.join("root"));
                command.args(["--drivers", "vfs", "--driver-opts"]);
                command.arg(format!("vfs.path={}", folder.join("volumes").display()));
                command
            }));
        }
        daemons
    }

    fn start(name: &'static str, command: impl FnOnce(&Path) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root", "volumes", "backups"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = command(folder.path());
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BKUP_")) {
            command.env_remove(variable);
        }
        command.env("TZ", "UTC").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let mut daemon = Self { name, folder, process };
        daemon.wait_until_it_listens();
        daemon
    }

    fn wait_until_it_listens(&mut self) {
        let started = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the {} daemon ended at once ({status}): {}", self.name, self.log());
            }
            assert!(started.elapsed() < PATIENCE, "the {} daemon does not listen: {}", self.name, self.log());
            thread::sleep(Duration::from_millis(5));
        }
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
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for DaemonProcess {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.process.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let asked = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && asked.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
