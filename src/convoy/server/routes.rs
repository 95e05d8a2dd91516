//! Convoy's API: which request makes which call, and how each route reports a failure.

use hyper::Method;

use super::{answer::Answer, calls, go_json, inside, request::Fields};
use crate::{
    convoy::{Daemon, route},
    error::{Error, ErrorKind, Result},
};

/// A route of Convoy's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Info,
    VolumeList {
        driver: bool,
    },
    VolumeInspect,
    VolumeCreate,
    VolumeMount,
    VolumeUmount,
    VolumeDelete,
    SnapshotCreate,
    SnapshotInspect,
    SnapshotDelete,
    BackupList,
    BackupInspect,
    BackupCreate,
    BackupDelete,
    /// Not Convoy's: what the daemon does beyond Convoy's API.
    Capabilities,
    /// Not Convoy's: whether a destination holds anything.
    BackupsUsed,
    /// Not Convoy's: the forgotten volumes.
    VolumesForgotten,
    /// Not Convoy's: what is mounted in a volume.
    VolumesMounts,
    /// Not Convoy's: whether a volume has changed since a backup.
    VolumesChanges,
    /// Not Convoy's: gives back space.
    BackupsGiveBack,
    /// Not Convoy's: backs up a volume as it is now.
    VolumesBackup,
    /// Not Convoy's: holds what writes to volumes.
    VolumesQuiesce,
    /// Not Convoy's: lets it go on.
    VolumesRelease,
    /// Not Convoy's: runs a command in a container.
    ContainersExec,
    /// Not Convoy's: what many backups are.
    BackupsInspected,
    /// Not Convoy's: reads the data of backups back.
    BackupsRead,
    /// Not Convoy's: looks into backups.
    BackupsLook,
    /// Not Convoy's: reads a file or a folder of a backup.
    BackupsContent,
    /// Not Convoy's: ends a call whose run is over. The server itself answers.
    CallsEnd,
}

impl Route {
    /// The route of a request, with or without `/v1`. A slash at the end of the path matters.
    pub(super) fn find(method: &Method, path: &str, query: Option<&str>) -> Option<Self> {
        let path = path.strip_prefix("/v1").unwrap_or(path);
        Some(match (method.as_str(), path) {
            ("GET", "/info") => Self::Info,
            ("GET", "/volumes/list") => {
                Self::VolumeList { driver: query.is_some_and(asks_for_the_driver) }
            }
            ("GET", "/volumes/") => Self::VolumeInspect,
            ("POST", "/volumes/create") => Self::VolumeCreate,
            ("POST", "/volumes/mount") => Self::VolumeMount,
            ("POST", "/volumes/umount") => Self::VolumeUmount,
            ("DELETE", "/volumes/") => Self::VolumeDelete,
            ("POST", "/snapshots/create") => Self::SnapshotCreate,
            ("GET", "/snapshots/") => Self::SnapshotInspect,
            ("DELETE", "/snapshots/") => Self::SnapshotDelete,
            ("GET", "/backups/list") => Self::BackupList,
            ("GET", "/backups/inspect") => Self::BackupInspect,
            ("POST", "/backups/create") => Self::BackupCreate,
            ("DELETE", "/backups") => Self::BackupDelete,
            ("GET", route::CAPABILITIES) => Self::Capabilities,
            ("GET", route::BACKUPS_USED) => Self::BackupsUsed,
            ("GET", route::VOLUMES_FORGOTTEN) => Self::VolumesForgotten,
            ("GET", route::VOLUMES_MOUNTS) => Self::VolumesMounts,
            ("GET", route::VOLUMES_CHANGES) => Self::VolumesChanges,
            ("GET", route::BACKUPS_INSPECTED) => Self::BackupsInspected,
            ("GET", route::BACKUPS_READ) => Self::BackupsRead,
            ("GET", route::BACKUPS_LOOK) => Self::BackupsLook,
            ("GET", route::BACKUPS_CONTENT) => Self::BackupsContent,
            ("POST", route::BACKUPS_GIVE_BACK) => Self::BackupsGiveBack,
            ("POST", route::CALLS_END) => Self::CallsEnd,
            ("POST", route::VOLUMES_BACKUP) => Self::VolumesBackup,
            ("POST", route::VOLUMES_QUIESCE) => Self::VolumesQuiesce,
            ("POST", route::VOLUMES_RELEASE) => Self::VolumesRelease,
            ("POST", route::CONTAINERS_EXEC) => Self::ContainersExec,
            _ => return None,
        })
    }

    /// Calls the daemon and writes its answer.
    async fn call(self, daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
        let verbose = fields.flag("Verbose")?;
        match self {
            Self::Info => go_json::info(&daemon.info().await?),
            Self::VolumeList { driver: true } => {
                go_json::to_string(&daemon.driver_volumes().await?)
            }
            Self::VolumeList { driver: false } => calls::list_volumes(daemon).await,
            Self::VolumeInspect => calls::inspect_volume(daemon, fields).await,
            Self::VolumeCreate => calls::create_volume(daemon, fields, verbose).await,
            Self::VolumeMount => calls::mount_volume(daemon, fields, verbose).await,
            Self::VolumeUmount => calls::unmount_volume(daemon, fields).await,
            Self::VolumeDelete => calls::delete_volume(daemon, fields).await,
            Self::SnapshotCreate => calls::create_snapshot(daemon, fields, verbose).await,
            Self::SnapshotInspect => calls::inspect_snapshot(daemon, fields).await,
            Self::SnapshotDelete => calls::delete_snapshot(daemon, fields).await,
            Self::BackupList => calls::list_backups(daemon, fields).await,
            Self::BackupInspect => calls::inspect_backup(daemon, fields).await,
            Self::BackupCreate => calls::create_backup(daemon, fields, verbose).await,
            Self::BackupDelete => calls::delete_backup(daemon, fields).await,
            Self::Capabilities => go_json::to_string(&daemon.capabilities().await?),
            Self::BackupsUsed => calls::is_used(daemon, fields).await,
            Self::VolumesForgotten => calls::forgotten_volumes(daemon).await,
            Self::VolumesMounts => calls::mounts_in_volume(daemon, fields).await,
            Self::VolumesChanges => calls::changes_since(daemon, fields).await,
            Self::BackupsInspected => calls::inspect_backups(daemon, fields).await,
            Self::BackupsRead => calls::read_back(daemon, fields).await,
            Self::BackupsGiveBack => calls::give_back(daemon, fields).await,
            Self::VolumesBackup => calls::back_up(daemon, fields).await,
            Self::VolumesQuiesce => calls::quiesce(daemon, fields).await,
            Self::VolumesRelease => calls::let_go_on(daemon, fields).await,
            Self::ContainersExec => calls::run_in_container(daemon, fields).await,
            // These have an answer or a body of their own.
            Self::BackupsLook | Self::BackupsContent | Self::CallsEnd => Ok(String::new()),
        }
    }

    /// The answer to a failed call: the daemon's words as Convoy puts them on this route, and the
    /// status.
    fn failure(self, error: &Error, fields: &Fields) -> Answer {
        let text = |name: &str| fields.text(name).unwrap_or_default().to_owned();
        let words = match (self, Missing::of(&error.message)) {
            (Self::VolumeInspect | Self::VolumeDelete, Some(Missing::Volume)) => {
                return Answer::error(404, "Volume not found.");
            }
            (_, Some(Missing::Volume)) if !text("VolumeName").is_empty() => {
                format!("volume {} doesn't exist", text("VolumeName"))
            }
            (Self::BackupCreate, Some(Missing::Snapshot)) => {
                format!("Cannot find volume of snapshot {}", text("SnapshotName"))
            }
            (_, Some(Missing::Snapshot)) => {
                format!("cannot find volume for snapshot {}", text("SnapshotName"))
            }
            _ => error.message.clone(),
        };
        // Convoy answers 404 only in the two cases above. A client takes any other 404 for an
        // unknown route.
        let answer =
            Answer::error(error.status.filter(|status| *status != 404).unwrap_or(400), &words);
        Answer { hint: error.hint.clone(), kind: Some(error.kind), ..answer }
    }

    /// Parses the body, calls the daemon, and writes the answer or the failure.
    pub(super) async fn answer(self, daemon: &dyn Daemon, body: &[u8]) -> Answer {
        // These routes take no body. All others fail without one.
        let fields = match self {
            Self::Info | Self::VolumeList { .. } | Self::VolumesForgotten | Self::Capabilities => {
                Ok(Fields::default())
            }
            _ => Fields::parse(body),
        };
        let fields = match fields {
            Ok(fields) => fields,
            Err(error) => return Answer::error(400, &error.message),
        };
        let answered = match self {
            Self::BackupsLook => inside::look(daemon, body).await,
            Self::BackupsContent => inside::content(daemon, body).await,
            _ => self.call(daemon, &fields).await.map(Answer::text),
        };
        match answered {
            Ok(answer) => answer,
            Err(error) => {
                // "Not found" is an ordinary answer: a volume without a backup has none.
                let level = if error.kind == ErrorKind::NotFound {
                    log::Level::Debug
                } else {
                    log::Level::Warn
                };
                log::log!(level, "{self:?} failed: {error}");
                self.failure(&error, &fields)
            }
        }
    }
}

/// What is missing according to an error's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Volume,
    Snapshot,
}

impl Missing {
    /// Convoy words the same error differently on each route. A daemon need not know which route
    /// called it.
    fn of(words: &str) -> Option<Self> {
        if words == "Volume not found."
            || (words.starts_with("volume ") && words.ends_with(" doesn't exist"))
        {
            Some(Self::Volume)
        } else if words.starts_with("cannot find volume for snapshot ")
            || words.starts_with("Cannot find volume of snapshot ")
        {
            Some(Self::Snapshot)
        } else {
            None
        }
    }
}

/// Whether the query asks for the drivers' view: `driver` with any value but an empty one.
fn asks_for_the_driver(query: &str) -> bool {
    query.split('&').any(|part| part.strip_prefix("driver=").is_some_and(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_knows_every_route_that_convoy_does_not_have() {
        for path in route::READS {
            assert!(Route::find(&Method::GET, path, None).is_some(), "{path}");
        }
        assert!(Route::find(&Method::POST, route::VOLUMES_BACKUP, None).is_some());
    }
}
