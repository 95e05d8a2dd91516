//! Runs the operator's commands, within a time.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Seek as _},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{fs::MemfdFlags, process::Pid};

use super::processes::{MARK, end_group};
use crate::error::{Error, ErrorKind, Result};

/// How long one of the commands may take, if nothing else is said.
pub(super) const LIMIT: Duration = Duration::from_secs(120);
/// How much is read of what a command prints.
const MOST_PRINTED: u64 = 64 * 1024;
/// How often is looked whether a command has ended, or is to be stopped: at first, and at last.
const LOOKS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];

/// A command of the configuration, which `sh` runs.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    /// The setting's name.
    pub(super) name: &'a str,
    pub(super) command: &'a str,
    pub(super) variables: &'a [(&'a str, &'a OsStr)],
    pub(super) limit: Duration,
    /// The id of the note by which what it still runs is found after a kill.
    pub(super) mark: Option<&'a str>,
}

/// Runs a command, and returns what it printed. It is stopped when its time is over, or soon after
/// `stopped` returns true, with all that it started.
///
/// # Errors
/// If it fails, or was stopped ([`ErrorKind::Timeout`]). The error has the last lines of its errors.
pub(super) fn run(task: Task<'_>, stopped: &dyn Fn() -> bool) -> Result<Vec<u8>> {
    let Task { name, command, variables, limit, mark } = task;
    let failed = |error: io::Error| Error::io(format!("cannot run {name}"), &error);
    // A program that the command leaves running would keep a pipe open.
    let output = memory_file().map_err(failed)?;
    let errors = memory_file().map_err(failed)?;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).envs(variables.iter().copied()).stdin(Stdio::null());
    shell.stdout(output.try_clone().map_err(failed)?).stderr(errors.try_clone().map_err(failed)?);
    // The settings have passwords.
    for (setting, _) in std::env::vars_os().filter(|(it, _)| it.as_bytes().starts_with(b"BKUP_")) {
        shell.env_remove(setting);
    }
    match mark {
        Some(id) => shell.env(MARK, id),
        None => shell.env_remove(MARK),
    };
    let status = within(shell.process_group(0), limit, stopped).map_err(failed)?;
    let said = String::from_utf8_lossy(&content(errors).map_err(failed)?).trim().to_owned();
    let said = if said.is_empty() { said } else { format!(": {}", last_lines(&said)) };
    match status {
        Some(status) if status.success() => {
            let output = content(output).map_err(failed)?;
            let printed = last_lines(String::from_utf8_lossy(&output).trim());
            if !(printed.is_empty() && said.is_empty()) {
                log::debug!("{name} printed \"{printed}\"{said}");
            }
            Ok(output)
        }
        Some(status) => Err(Error::new(ErrorKind::Io, format!("{name} failed ({status}){said}"))),
        None if stopped() => {
            Err(Error::new(ErrorKind::Cancelled, format!("{name} was stopped{said}")))
        }
        None => Err(Error::new(
            ErrorKind::Timeout,
            format!("{name} did not end within {limit:?} and was stopped{said}"),
        )),
    }
}

/// Runs a command to its end; `None` if it was stopped, with all that it started. What it started has
/// ended then, unless it can't be ended soon, such as what waits for a disk. No thread is needed, so
/// that a release can't fail for want of one.
fn within(
    shell: &mut Command,
    limit: Duration,
    stopped: &dyn Fn() -> bool,
) -> io::Result<Option<ExitStatus>> {
    let mut child = shell.spawn()?;
    let deadline = Instant::now() + limit;
    let mut pause = LOOKS[0];
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stopped() {
            end_group(Pid::from_child(&child));
            _ = child.try_wait();
            return Ok(None);
        }
        thread::sleep(pause.min(left));
        pause = (2 * pause).min(LOOKS[1]);
    }
}

fn memory_file() -> io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create("output", MemfdFlags::CLOEXEC)?))
}

fn content(mut file: File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.rewind()?;
    file.take(MOST_PRINTED).read_to_end(&mut text)?;
    Ok(text)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}
