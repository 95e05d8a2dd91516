//! Convoy's own words for its refusals, byte for byte: scripts and Docker's plugins match on them.

use std::path::Path;

use super::{BackupUrl, object_store::volume_folder};
use crate::error::{Error, ErrorKind};

/// A refusal in Convoy's words, with status 400.
pub(crate) fn refused(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::Daemon, words).with_status(400)
}

/// A refusal in Convoy's words because something does not exist, with status 400. Convoy uses 404
/// for volumes only.
fn missing(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::NotFound, words).with_status(400)
}

pub(crate) fn volume_not_found() -> Error {
    Error::new(ErrorKind::NotFound, "Volume not found.").with_status(404)
}

pub(crate) fn no_volume(name: &str) -> Error {
    missing(format!("volume {name} doesn't exist"))
}

pub(crate) fn no_snapshot(name: &str) -> Error {
    missing(format!("cannot find volume for snapshot {name}"))
}

/// The refusal to delete a volume that is mounted.
pub(crate) fn still_mounted(name: &str) -> Error {
    refused(format!("Cannot delete volume {name}. It is still mounted"))
        .with_hint(unmount_hint(name))
}

/// How to be rid of the mark of a volume that is mounted.
pub(crate) fn unmount_hint(name: &str) -> String {
    format!(
        "stop the containers that use it first; if none does any more: convoy-backups unmount --volume {name}"
    )
}

/// The refusal to unmount a volume that containers have.
pub(crate) fn containers_have(name: &str, containers: &[String]) -> Error {
    refused(format!("Cannot unmount volume {name}. Containers have it: {}", containers.join(", ")))
        .with_hint("remove these containers first (docker rm); stopped ones have it, too")
}

/// The refusal to forget a volume for Docker while its files are read or written.
pub(crate) fn in_use_by_a_run(name: &str) -> Error {
    refused(format!("volume {name} is being backed up or restored; try again in a moment"))
}

/// What to do about a mount in a volume that is to be deleted.
pub(crate) const UNMOUNT_HINT: &str = "unmount it first, and keep it from being mounted again; what is mounted there is not the volume's, and would be deleted with it";

/// The refusal to delete a volume with its files while something is mounted in it. Convoy has no
/// words for that.
pub(crate) fn mounted_inside(volume: &str, mounts: &[String]) -> Error {
    let mounts = mounts.join("\", \"");
    refused(format!("Cannot delete volume {volume}. Something is mounted in it, at \"{mounts}\""))
        .with_hint(UNMOUNT_HINT)
}

/// The refusal to make a volume with the name of a folder of the host.
pub(crate) fn name_of_a_folder(name: &str, folder: &Path) -> Error {
    refused(format!("Volume {name} already exists: it is the host's folder {}", folder.display()))
        .with_hint("choose another name, or take the folder out of BKUP_FOLDERS first")
}

/// The refusal to remove a folder of the host.
pub(crate) fn folder_stays(name: &str, folder: &Path) -> Error {
    refused(format!("Cannot delete volume {name}. It is the host's folder {}", folder.display()))
        .with_hint(FOLDER_HINT)
}

/// How to be rid of a volume that is a folder of the host.
pub(crate) const FOLDER_HINT: &str =
    "take it out of BKUP_FOLDERS, and it is no volume any more; its files and its backups stay";

/// The refusal to make the daemon forget a volume of Docker: the next look would find it again.
pub(crate) fn docker_decides(name: &str) -> Error {
    refused(format!("Cannot forget volume {name}. It is one of Docker's")).with_hint(
        "leave it out with BKUP_DOCKER_EXCLUDE, or the label convoy-backups.enable=false on it",
    )
}

/// The refusal to make a volume by a driver that finds its volumes.
pub(crate) fn makes_no_volumes(driver: &str, name: &str) -> Error {
    refused(format!("Driver {driver} makes no volumes")).with_hint(format!(
        "a folder of the host becomes a volume by the setting BKUP_FOLDERS={name}=/the/folder"
    ))
}

pub(crate) fn no_folder(path: &str) -> Error {
    refused(format!("VFS path {path} doesn't exist or is not a directory"))
        .with_hint("make the folder first, or mount what should be there")
}

pub(crate) fn no_backup(volume: &str, backup: &str) -> Error {
    missing(format!(
        "cannot find {}/backups/backup_{backup}.cfg in objectstore",
        volume_folder(volume)
    ))
}

/// A volume was to be deleted that was looked at before. Convoy has no words for that.
pub(crate) fn is_another_volume(name: &str) -> Error {
    refused(format!("volume {name} was made anew since it was looked at, so it was not deleted"))
        .with_hint("look again at what it is now")
}

/// Why nothing is deleted while this backup is not there. Convoy has no words for that.
pub(crate) fn required_is_missing(required: &BackupUrl) -> Error {
    Error::guard(format!("nothing is deleted without the backup \"{required}\", which is gone"))
        .with_hint("another run or host may have deleted it: look at the list, and run it again")
}

pub(crate) fn never_backed_up(volume: &str) -> Error {
    missing(format!("cannot find {}/volume.cfg in objectstore", volume_folder(volume)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_backup_is_named_as_convoy_names_it() {
        assert_eq!(
            no_backup("vol1", "backup-0").message,
            "cannot find convoy-objectstore/volumes/vo/l1/vol1/backups/backup_backup-0.cfg in objectstore"
        );
        assert!(never_backed_up("ab").message.contains("/ab/!!/ab!!/volume.cfg"));
    }
}
