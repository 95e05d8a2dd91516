//! Moments by the operator's own commands, such as those of LVM. One command takes a moment and
//! prints the folder where it is, another drops it.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    time::Duration,
};

use rustix::{
    fs::MemfdFlags,
    process::{Pid, Signal, kill_process_group},
};

use super::{notes::Note, place::Place};
use crate::{
    error::{Error, ErrorKind, Result},
    files::real_path,
    mount_table::{at_or_below, mounts},
};

/// How long one of the commands may take.
const LIMIT: Duration = Duration::from_secs(120);
/// How much is read of what a command prints.
const MOST_PRINTED: u64 = 64 * 1024;

const TAKE: &str = "BKUP_MOMENT_TAKE";
const DROP: &str = "BKUP_MOMENT_DROP";

/// The commands of the configuration, which `sh` runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MomentCommands {
    take: String,
    drop: String,
    limit: Duration,
}

impl MomentCommands {
    pub(crate) fn new(take: String, drop: String) -> Self {
        Self { take, drop, limit: LIMIT }
    }

    #[cfg(test)]
    pub(super) fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }
}

/// Takes a moment, and returns the folder that the command printed.
///
/// # Errors
/// If the command fails, takes too long, or prints no path.
pub(super) fn take_moment(commands: Option<&MomentCommands>, place: &Place) -> Result<PathBuf> {
    let commands = commands.ok_or_else(|| no_commands(&place.volume))?;
    let variables = [("VOLUME", place.volume.as_ref()), ("FOLDER", place.folder.as_os_str())];
    let printed = run(TAKE, &commands.take, &variables, commands.limit)?;
    let line = printed.split(|byte| *byte == b'\n').rfind(|line| !line.trim_ascii().is_empty());
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(line.unwrap_or_default().trim_ascii()));
    if path.is_absolute() {
        return Ok(path);
    }
    let what = if path.as_os_str().is_empty() {
        "printed nothing".to_owned()
    } else {
        format!("printed \"{}\", which is no absolute path", path.display())
    };
    Err(refused(place, what))
}

/// Checks that the folder of a moment is one, and has what the volume has.
pub(super) fn check_moment(place: &Place, folder: &Path) -> Result<()> {
    let shown = folder.display();
    let there = fs::metadata(folder)
        .map_err(|error| refused(place, format!("printed \"{shown}\": {error}")))?;
    if !there.is_dir() {
        return Err(refused(place, format!("printed \"{shown}\", which is no folder")));
    }
    let own = fs::metadata(&place.folder).map_err(|error| {
        Error::io(format!("cannot read \"{}\"", place.folder.display()), &error)
    })?;
    if (there.dev(), there.ino()) == (own.dev(), own.ino()) {
        return Err(refused(
            place,
            format!("printed \"{shown}\", which is the volume's own folder"),
        ));
    }
    let is_empty = |folder: &Path| fs::read_dir(folder).is_ok_and(|mut it| it.next().is_none());
    if is_empty(folder) && !is_empty(&place.folder) {
        return Err(refused(
            place,
            format!("printed \"{shown}\", which is empty, and the volume is not"),
        ));
    }
    let (volume, moment) = (real_path(&place.folder), real_path(folder));
    let all = mounts().unwrap_or_default();
    for mount in at_or_below(&all, &volume).filter(|mount| mount.path != volume) {
        let below = mount.path.strip_prefix(&volume).unwrap_or(&mount.path);
        if !all.iter().any(|other| other.path == moment.join(below)) {
            let lacks = format!(
                "printed \"{shown}\", which lacks \"{}\", a mount in the volume",
                below.display()
            );
            return Err(refused(place, lacks));
        }
    }
    Ok(())
}

/// Drops a moment. It runs also where the taking failed, because that may have got half way.
///
/// # Errors
/// If the command fails or takes too long, or there is none any more.
pub(super) fn drop_moment(commands: Option<&MomentCommands>, note: &Note) -> Result<()> {
    let commands = commands.ok_or_else(|| no_commands(&note.volume))?;
    let variables = [
        ("VOLUME", note.volume.as_ref()),
        ("FOLDER", note.folder.as_os_str()),
        ("MOMENT", note.path.as_os_str()),
    ];
    run(DROP, &commands.drop, &variables, commands.limit).map(drop)
}

fn no_commands(volume: &str) -> Error {
    Error::configuration(format!("there is no {DROP} for the moment of volume \"{volume}\""))
        .with_hint("set it again as it was, or remove what the moment made by hand and the note in the daemon's folder \"moments\"")
}

fn refused(place: &Place, what: String) -> Error {
    Error::new(ErrorKind::Io, format!("{TAKE} of volume \"{}\" {what}", place.volume))
        .with_hint("it must print the folder of the moment, as its last line")
}

/// Runs a command with these variables, and returns what it printed.
fn run(
    name: &str,
    command: &str,
    variables: &[(&str, &std::ffi::OsStr)],
    limit: Duration,
) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| Error::io(format!("cannot run {name}"), &error);
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
    let status = within(shell.process_group(0), limit).map_err(failed)?;
    let said = String::from_utf8_lossy(&content(errors).map_err(failed)?).trim().to_owned();
    let said = if said.is_empty() { said } else { format!(": {}", last_lines(&said)) };
    match status {
        Some(status) if status.success() => content(output).map_err(failed),
        Some(status) => Err(Error::new(ErrorKind::Io, format!("{name} failed ({status}){said}"))),
        None => Err(Error::new(
            ErrorKind::Timeout,
            format!("{name} did not end within {limit:?} and was stopped{said}"),
        )),
    }
}

/// Runs a command to its end; `None` if it took too long and was stopped, with all that it started.
fn within(shell: &mut Command, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let mut child = shell.spawn()?;
    let group = Pid::from_child(&child);
    let (ended, end) = channel();
    std::thread::spawn(move || _ = ended.send(child.wait()));
    match end.recv_timeout(limit) {
        Ok(status) => status.map(Some),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            _ = kill_process_group(group, Signal::KILL);
            Ok(None)
        }
    }
}

fn memory_file() -> std::io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create("output", MemfdFlags::CLOEXEC)?))
}

fn content(mut file: File) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.rewind()?;
    file.take(MOST_PRINTED).read_to_end(&mut text)?;
    Ok(text)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}
