//! Processes of daemons, and the programs that they run.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a daemon may take to open its socket.
const START: Duration = Duration::from_secs(30);

/// A daemon that a test started; it ends with the test.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it and waits until its socket answers.
    pub fn start(command: Command, socket: &Path, log: PathBuf) -> Self {
        Self::start_until(command, log, || std::os::unix::net::UnixStream::connect(socket).is_ok())
    }

    /// Starts it and waits until it is there.
    pub fn start_until(mut command: Command, log: PathBuf, is_there: impl Fn() -> bool) -> Self {
        let file = std::fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let mut running = Self {
            child: command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")),
            log,
        };
        let start = Instant::now();
        while !is_there() {
            let ended = running.child.try_wait().unwrap();
            assert!(
                ended.is_none() && start.elapsed() < START,
                "{command:?} did not start: {}",
                running.log()
            );
            std::thread::yield_now();
        }
        running
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends it this signal, by the name that `kill` knows.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args(["-s", name])
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(done.success());
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it as an operator does, and waits.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program in an environment without our variables, so that the tester's own have no say.
pub fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BKUP_") {
            command.env_remove(name);
        }
    }
    // Nor have the services of the machine that tests run on.
    command.env("BKUP_DEFAULTS", "off");
    // Nor has its Docker engine.
    command.env("BKUP_DOCKER", "off");
    command.env("NO_COLOR", "1").env("TZ", "UTC").env_remove("RUST_BACKTRACE").stdin(Stdio::null());
    command
}

/// The program under test. `CAMPAIGN_BINARY` names another build of it, for long campaigns.
pub fn binary() -> Command {
    let other = std::env::var_os("CAMPAIGN_BINARY");
    program(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_convoy-backups").into()))
}

/// Convoy with its vfs driver, where `CONVOY_BIN` names it.
pub fn convoy(socket: &Path, root: &Path, volumes: &Path) -> Option<Command> {
    let mut command = program(std::env::var_os("CONVOY_BIN")?);
    command.arg("--socket").arg(socket).args(["daemon", "--root"]).arg(root);
    command
        .args(["--drivers", "vfs", "--driver-opts"])
        .arg(format!("vfs.path={}", volumes.display()));
    Some(command)
}
