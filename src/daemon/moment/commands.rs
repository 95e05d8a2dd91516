//! Moments by the operator's own commands, such as those of LVM. One command takes a moment and
//! prints the folder where it is, another drops it.

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    notes::Note,
    place::Place,
    processes::end_marked,
    shell::{LIMIT, Task, run},
};
use crate::{
    error::{Error, ErrorKind, Result},
    files::real_path,
    mount_table::{at_or_below, mounts},
};

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

/// Takes a moment, and returns the folder that the command printed. The id is that of its note.
///
/// # Errors
/// If the command fails, takes too long, or prints no path.
pub(super) fn take_moment(
    commands: Option<&MomentCommands>,
    place: &Place,
    id: Option<&str>,
) -> Result<PathBuf> {
    let commands = commands.ok_or_else(|| no_commands(&place.volume))?;
    let variables = [("VOLUME", place.volume.as_ref()), ("FOLDER", place.folder.as_os_str())];
    let (command, limit) = (&commands.take, commands.limit);
    let task = Task { name: TAKE, command, variables: &variables, limit, mark: id };
    let printed = run(task, &|| false)?;
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
/// If the command fails or takes too long, there is none any more, or the taking still runs.
pub(super) fn drop_moment(commands: Option<&MomentCommands>, note: &Note) -> Result<()> {
    let commands = commands.ok_or_else(|| no_commands(&note.volume))?;
    let variables = [
        ("VOLUME", note.volume.as_ref()),
        ("FOLDER", note.folder.as_os_str()),
        ("MOMENT", note.path.as_os_str()),
    ];
    // A taking that was stopped or killed half way would go on after the drop. What one left running
    // that got to its end may be needed for the drop.
    let ended = if note.path.as_os_str().is_empty() { end_marked(&note.id) } else { Ok(()) };
    let (command, limit) = (&commands.drop, commands.limit);
    let task = Task { name: DROP, command, variables: &variables, limit, mark: None };
    run(task, &|| false).map(drop).and(ended)
}

fn no_commands(volume: &str) -> Error {
    Error::configuration(format!("there is no {DROP} for the moment of volume \"{volume}\""))
        .with_hint("set it again as it was, or remove what the moment made by hand and the note in the daemon's folder \"moments\"")
}

fn refused(place: &Place, what: String) -> Error {
    Error::new(ErrorKind::Io, format!("{TAKE} of volume \"{}\" {what}", place.volume))
        .with_hint("it must print the folder of the moment, as its last line")
}
