//! What a command still runs. While this process lives, it is known by the command's process group;
//! after a kill, by a mark in the environment that all it started has.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, getpgid, kill_process_group};

use crate::error::{Error, ErrorKind, Result};

/// The variable with the id of a note, in the environment of a command that the note is about.
pub(super) const MARK: &str = "CONVOY_BACKUPS_NOTE";
/// How long killed programs may take to end: one that waits for a disk ends later.
const ENDED_WITHIN: Duration = Duration::from_secs(10);
/// How often is looked whether they ended.
const LOOK: Duration = Duration::from_millis(20);

/// Kills a process group, and waits until it has ended. The result is whether it did.
pub(super) fn end_group(group: Pid) -> bool {
    let deadline = Instant::now() + ENDED_WITHIN;
    while group_runs(group) {
        _ = kill_process_group(group, Signal::KILL);
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(LOOK);
    }
    true
}

/// Kills what still runs with this mark, and waits until it has ended.
///
/// # Errors
/// If it goes on.
pub(super) fn end_marked(id: &str) -> Result<()> {
    let mark = format!("{MARK}={id}");
    let is_marked = |process: &Process| {
        let environment = fs::read(format!("/proc/{}/environ", process.id)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let own = getpgid(None).ok();
    let mut groups: Vec<Pid> =
        processes().filter(is_marked).filter_map(|process| process.group).collect();
    groups.sort_unstable_by_key(|group| group.as_raw_nonzero());
    groups.dedup();
    groups.retain(|group| Some(*group) != own);
    let running: Vec<_> = groups.into_iter().filter(|group| !end_group(*group)).collect();
    if running.is_empty() {
        return Ok(());
    }
    let groups: Vec<_> = running.iter().map(|group| group.as_raw_nonzero().to_string()).collect();
    let message =
        format!("a command that was killed still runs (process group {})", groups.join(", "));
    Err(Error::new(ErrorKind::Io, message).with_hint(
        "it may wait for a disk (\"ps -o pid,stat,cmd -g\" shows that); it is looked for again",
    ))
}

/// A process that has not ended.
struct Process {
    id: i32,
    group: Option<Pid>,
}

/// All processes that have not ended. One that nothing waited for (a zombie) has.
fn processes() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read(format!("/proc/{id}/stat")).ok()?;
        Some(Process { id, group: group_in(&String::from_utf8_lossy(&stat))? })
    })
}

/// The process group in a line of `/proc/PID/stat`; `None` if the process has ended.
fn group_in(stat: &str) -> Option<Option<Pid>> {
    // The name, in brackets, may have spaces and brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    (!matches!(state, "Z" | "X" | "x")).then(|| Pid::from_raw(group))
}

fn group_runs(group: Pid) -> bool {
    processes().any(|process| process.group == Some(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ended_and_was_not_waited_for_does_not_run() {
        assert_eq!(group_in("12 (a (b) c) S 1 77 77 0"), Some(Pid::from_raw(77)));
        assert_eq!(group_in("12 (sh) Z 1 77 77 0"), None);
        assert_eq!(group_in("12"), None);
    }
}
