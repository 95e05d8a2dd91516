//! What the tests of scripts share: a host over a daemon in memory.

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex},
};

use super::{Arguments, Host, Library, Listener, Outcome, RunIdentity, Script, arguments, run};
use crate::{
    clock::FixedClock,
    convoy::{Daemon, Destination, guards::Guards, memory::MemoryDaemon},
    error::Result,
    run_words::Trigger,
};

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());

/// The guards of a run over this daemon.
pub(crate) fn guards(daemon: Arc<dyn Daemon>) -> Arc<Guards> {
    Arc::new(Guards::new(daemon, None, Arc::new(crate::clock::SystemClock)))
}

pub(crate) fn host_over(daemon: Arc<dyn Daemon>) -> Host {
    let mut host = Host::new(guards(daemon), RUNTIME.handle().clone());
    Arc::make_mut(&mut host.settings).destination =
        Some(Destination::parse("vfs:///backups").unwrap());
    host.run = RunIdentity { id: "run-1".into(), trigger: Trigger::Cli, dry_run: false };
    let now = "2026-01-02T00:00:00Z".parse().unwrap();
    host.clock = Arc::new(FixedClock::new(now, jiff::tz::TimeZone::UTC));
    host
}

/// A daemon in memory with these volumes, and a host over it.
pub(crate) fn memory(volumes: &[&str]) -> (Arc<MemoryDaemon>, Host) {
    let daemon = Arc::new(MemoryDaemon::with_volumes(volumes));
    let host = host_over(Arc::clone(&daemon) as Arc<dyn Daemon>);
    (daemon, host)
}

/// Records what a script says.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) lines: Mutex<Vec<String>>,
}

impl Listener for Heard {
    fn log(&self, level: log::Level, message: &str) {
        self.lines.lock().unwrap().push(format!("{level}: {message}"));
    }

    fn progress(&self, text: &str) {
        self.lines.lock().unwrap().push(format!("progress: {text}"));
    }
}

/// A folder with these script files.
pub(crate) fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path: PathBuf = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// A script with this text, loaded from a folder as `test`.
pub(crate) fn script(text: &str) -> Result<Script> {
    let folder = folder(&[("test.rhai", text)]);
    Library::new(Some(folder.path().to_owned())).unwrap().load("test")
}

pub(crate) fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

pub(crate) fn given(script: &Script, line: &str) -> Result<Arguments> {
    arguments::from_command_line(script, &words(line))
}

/// Runs a built-in script with these words of a command line.
pub(crate) fn run_default(host: Host, name: &str, line: &str) -> Result<Outcome> {
    let script = Library::new(None).unwrap().load(name)?;
    run(&script, &given(&script, line)?, Arc::new(host))
}

/// Runs a script with this text, without arguments.
pub(crate) fn run_text(host: Host, text: &str) -> Result<Outcome> {
    let script = script(text)?;
    run(&script, &given(&script, "")?, Arc::new(host))
}

/// The value that `main` with this body returns, over a daemon with the volume `vol1`.
pub(crate) fn value(body: &str) -> Result<serde_json::Value> {
    run_text(memory(&["vol1"]).1, &format!("fn main(args) {{ {body} }}"))
        .map(|outcome| outcome.result)
}
