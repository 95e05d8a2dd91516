//! Convoy's API: each route's arguments, and its answer as Convoy writes it.

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    hash::{BuildHasher as _, Hasher as _},
};

use hyper::Method;

use super::{Answer, go_json, request::Fields};
use crate::{
    convoy::{Backup, BackupUrl, Daemon, Destination, Name, NewVolume, Snapshot, Volume},
    error::{Error, Result},
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
}

impl Route {
    /// The route of a request, bare or under `/v1`; slashes at the end count.
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
            ("GET", "/capabilities") => Self::Capabilities,
            ("GET", "/backups/used") => Self::BackupsUsed,
            _ => return None,
        })
    }

    /// What is answered when the daemon fails: its words as Convoy puts them on this route, and the
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
        // Convoy answers 404 in the two cases above only; a client takes any other 404 for an
        // unknown route.
        let answer =
            Answer::error(error.status.filter(|status| *status != 404).unwrap_or(400), &words);
        Answer { hint: error.hint.clone(), kind: Some(error.kind), ..answer }
    }

    /// Calls the daemon and renders what it answers.
    pub(super) async fn answer(self, daemon: &dyn Daemon, body: &[u8]) -> Answer {
        // These take no body; all others fail without one.
        let fields = match self {
            Self::Info | Self::VolumeList { .. } | Self::Capabilities => Ok(Fields::default()),
            _ => Fields::parse(body),
        };
        let fields = match fields {
            Ok(fields) => fields,
            Err(error) => return Answer::error(400, &error.message),
        };
        match self.call(daemon, &fields).await {
            Ok(text) => Answer::text(text),
            Err(error) => {
                // That there is no such thing is an answer, too: a volume without a backup has
                // none.
                let level = if error.kind == crate::error::ErrorKind::NotFound {
                    log::Level::Debug
                } else {
                    log::Level::Warn
                };
                log::log!(level, "{self:?} failed: {error}");
                self.failure(&error, &fields)
            }
        }
    }

    async fn call(self, daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
        let verbose = fields.flag("Verbose")?;
        match self {
            Self::Info => go_json::info(&daemon.info().await?),
            Self::VolumeList { driver: true } => {
                go_json::to_string(&daemon.driver_volumes().await?)
            }
            Self::VolumeList { driver: false } => {
                let volumes = daemon.volumes().await?;
                let listed: BTreeMap<_, _> =
                    volumes.into_iter().map(|(name, v)| (name, as_listed(v))).collect();
                go_json::to_string(&listed)
            }
            Self::VolumeInspect => go_json::to_string(&as_listed(
                daemon.volume(&name(fields.text("VolumeName")?)?).await?,
            )),
            Self::VolumeCreate => {
                let volume = as_listed(daemon.create_volume(&new_volume(fields)?).await?);
                if verbose { go_json::to_string(&volume) } else { Ok(volume.name) }
            }
            Self::VolumeMount => {
                let name = name(fields.text("VolumeName")?)?;
                let mount = daemon.mount_volume(&name, fields.some_text("MountPoint")?).await?;
                if !verbose {
                    return Ok(mount.mount_point);
                }
                go_json::to_string(&Volume {
                    name: mount.name,
                    mount_point: mount.mount_point,
                    ..Volume::default()
                })
            }
            Self::VolumeUmount => {
                nothing(daemon.unmount_volume(&name(fields.text("VolumeName")?)?).await)
            }
            Self::VolumeDelete => {
                let name = name(fields.text("VolumeName")?)?;
                nothing(daemon.delete_volume(&name, fields.flag("ReferenceOnly")?).await)
            }
            Self::SnapshotCreate => {
                let volume = name(fields.text("VolumeName")?)?;
                let snapshot = name(&named_or_new(fields.text("Name")?, "snapshot"))?;
                let snapshot = daemon.create_snapshot(&volume, &snapshot).await?;
                if !verbose {
                    return Ok(snapshot.name);
                }
                go_json::to_string(&Snapshot { volume_created_at: None, ..snapshot })
            }
            Self::SnapshotInspect => {
                go_json::to_string(&daemon.snapshot(&name(fields.text("SnapshotName")?)?).await?)
            }
            Self::SnapshotDelete => {
                nothing(daemon.delete_snapshot(&name(fields.text("SnapshotName")?)?).await)
            }
            Self::BackupList => {
                let volume = fields.some_text("VolumeName")?.map(name).transpose()?;
                let backups =
                    daemon.backups(&destination(fields.text("URL")?)?, volume.as_ref()).await?;
                let by_url: BTreeMap<String, Backup> = backups
                    .into_iter()
                    .map(|backup| (backup.field("BackupURL").to_owned(), backup))
                    .collect();
                go_json::to_string(&by_url)
            }
            Self::BackupInspect => {
                go_json::to_string(&daemon.backup(&backup_url(fields.text("URL")?)?).await?)
            }
            Self::BackupCreate => {
                let snapshot = name(fields.text("SnapshotName")?)?;
                let url = daemon
                    .create_backup(&snapshot, &destination(fields.text("URL")?)?)
                    .await?
                    .to_string();
                if verbose {
                    go_json::to_string(&BTreeMap::from([("URL", url)]))
                } else {
                    Ok(go_json::escaped(&url))
                }
            }
            Self::BackupDelete => {
                nothing(daemon.delete_backup(&backup_url(fields.text("URL")?)?).await)
            }
            Self::Capabilities => go_json::to_string(&daemon.capabilities().await?),
            Self::BackupsUsed => {
                let used = daemon.is_used(&destination(fields.text("URL")?)?).await?;
                go_json::to_string(&BTreeMap::from([("Used", used)]))
            }
        }
    }
}

/// What the words of an error miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Volume,
    Snapshot,
}

impl Missing {
    /// Convoy puts the same thing differently on each route; a daemon need not know on which one it
    /// is asked.
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

/// `?driver=1`: any value but an empty one counts.
fn asks_for_the_driver(query: &str) -> bool {
    query.split('&').any(|part| part.strip_prefix("driver=").is_some_and(|value| !value.is_empty()))
}

fn nothing(done: Result<()>) -> Result<String> {
    done.map(|()| String::new())
}

/// A volume's snapshots do not name it again in its own listing.
fn as_listed(mut volume: Volume) -> Volume {
    for snapshot in volume.snapshots.iter_mut().flat_map(BTreeMap::values_mut) {
        snapshot.volume_name.clear();
        snapshot.volume_created_at = None;
    }
    volume
}

fn name(text: &str) -> Result<Name> {
    Name::volume(text).map_err(|_| Error::usage(format!("Invalid name {text}")))
}

/// The name asked for, or a new one such as `volume-b7d0b1b4acca479d`.
fn named_or_new(text: &str, what: &str) -> String {
    if text.is_empty() {
        // Each `RandomState` has keys of its own, drawn from the system's randomness.
        format!("{what}-{:016x}", RandomState::new().build_hasher().finish())
    } else {
        text.to_owned()
    }
}

fn known_scheme(url: &str) -> Result<()> {
    match url.split_once("://") {
        Some((scheme, _)) if !["vfs", "s3", "ebs"].contains(&scheme) => {
            Err(Error::usage(format!("Driver {scheme} is not supported!")))
        }
        _ => Ok(()),
    }
}

fn destination(text: &str) -> Result<Destination> {
    known_scheme(text)?;
    Destination::parse(text)
}

fn backup_url(text: &str) -> Result<BackupUrl> {
    known_scheme(text)?;
    BackupUrl::parse(text)
}

/// What a new volume shall be. `Endpoint` is looked at only where Convoy refuses it: a daemon knows
/// its own endpoint.
fn new_volume(fields: &Fields) -> Result<NewVolume> {
    let owned = |name: &str| Ok::<_, Error>(fields.some_text(name)?.map(str::to_owned));
    let backup = fields.some_text("BackupURL")?.map(backup_url).transpose()?;
    if backup.is_none() && fields.some_text("Endpoint")?.is_some() {
        return Err(Error::usage(
            "Endpoint option can only be used when creating a volume from a backup.",
        ));
    }
    Ok(NewVolume {
        name: name(&named_or_new(fields.text("Name")?, "volume"))?,
        driver: owned("DriverName")?,
        // Go can't tell 0 from left out.
        size: fields.number("Size")?.filter(|size| *size > 0),
        backup,
        volume_type: owned("Type")?,
        iops: fields.number("IOPS")?.filter(|iops| *iops > 0),
        driver_volume_id: owned("DriverVolumeID")?,
        prepare_for_vm: fields.flag("PrepareForVM")?,
    })
}
