//! The calls of Convoy's API: each reads its arguments from the request's fields, and writes its
//! answer as Convoy does.

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    hash::{BuildHasher as _, Hasher as _},
};

use super::{go_json, request::Fields};
use crate::{
    convoy::{
        Answered, AsItIs, Backup, BackupUrl, Daemon, Destination, Name, NewVolume, REQUIRED,
        ReadBack, Snapshot, VOLUME_ID, Volume,
    },
    error::{Error, Result},
};

pub(super) async fn list_volumes(daemon: &dyn Daemon) -> Result<String> {
    let volumes = daemon.volumes().await?;
    let listed: BTreeMap<_, _> =
        volumes.into_iter().map(|(name, volume)| (name, as_listed(volume))).collect();
    go_json::to_string(&listed)
}

pub(super) async fn inspect_volume(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    go_json::to_string(&as_listed(daemon.volume(&name(fields.text("VolumeName")?)?).await?))
}

pub(super) async fn create_volume(
    daemon: &dyn Daemon,
    fields: &Fields,
    verbose: bool,
) -> Result<String> {
    let volume = as_listed(daemon.create_volume(&new_volume(fields)?).await?);
    if verbose { go_json::to_string(&volume) } else { Ok(volume.name) }
}

pub(super) async fn mount_volume(
    daemon: &dyn Daemon,
    fields: &Fields,
    verbose: bool,
) -> Result<String> {
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

pub(super) async fn unmount_volume(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    nothing(daemon.unmount_volume(&name(fields.text("VolumeName")?)?).await)
}

pub(super) async fn delete_volume(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    let name = name(fields.text("VolumeName")?)?;
    let (id, reference_only) = (fields.some_text(VOLUME_ID)?, fields.flag("ReferenceOnly")?);
    nothing(daemon.delete_volume(&name, id, reference_only).await)
}

pub(super) async fn create_snapshot(
    daemon: &dyn Daemon,
    fields: &Fields,
    verbose: bool,
) -> Result<String> {
    let volume = name(fields.text("VolumeName")?)?;
    let snapshot = name(&named_or_new(fields.text("Name")?, "snapshot"))?;
    let snapshot = daemon.create_snapshot(&volume, &snapshot).await?;
    if !verbose {
        return Ok(snapshot.name);
    }
    go_json::to_string(&Snapshot { volume_created_at: None, ..snapshot })
}

pub(super) async fn inspect_snapshot(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    go_json::to_string(&daemon.snapshot(&name(fields.text("SnapshotName")?)?).await?)
}

pub(super) async fn delete_snapshot(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    nothing(daemon.delete_snapshot(&name(fields.text("SnapshotName")?)?).await)
}

pub(super) async fn list_backups(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    let volume = fields.some_text("VolumeName")?.map(name).transpose()?;
    let backups = daemon.backups(&destination(fields.text("URL")?)?, volume.as_ref()).await?;
    let by_url: BTreeMap<String, Backup> =
        backups.into_iter().map(|backup| (backup.field("BackupURL").to_owned(), backup)).collect();
    go_json::to_string(&by_url)
}

pub(super) async fn inspect_backup(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    go_json::to_string(&daemon.backup(&backup_url(fields.text("URL")?)?).await?)
}

pub(super) async fn create_backup(
    daemon: &dyn Daemon,
    fields: &Fields,
    verbose: bool,
) -> Result<String> {
    let snapshot = name(fields.text("SnapshotName")?)?;
    let destination = destination(fields.text("URL")?)?;
    let url = daemon.create_backup(&snapshot, &destination).await?.to_string();
    if verbose {
        go_json::to_string(&BTreeMap::from([("URL", url)]))
    } else {
        Ok(go_json::escaped(&url))
    }
}

pub(super) async fn delete_backup(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    let url = backup_url(fields.text("URL")?)?;
    let required =
        fields.texts(REQUIRED)?.into_iter().map(backup_url).collect::<Result<Vec<_>>>()?;
    nothing(daemon.delete_backup(&url, &required).await)
}

/// Not Convoy's: gives back the space of what no backup needs; `null` if the daemon does so itself.
pub(super) async fn give_back(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    go_json::to_string(&daemon.give_back(&destination(fields.text("URL")?)?).await?)
}

/// Not Convoy's: whether a destination holds anything; `null` if the daemon can't tell.
pub(super) async fn is_used(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    let used = daemon.is_used(&destination(fields.text("URL")?)?).await?;
    go_json::to_string(&BTreeMap::from([("Used", used)]))
}

/// Not Convoy's: whether a volume has changed since a backup.
pub(super) async fn changes_since(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    let (volume, backup) = (name(fields.text("VolumeName")?)?, backup_url(fields.text("URL")?)?);
    go_json::to_string(&daemon.changes_since(&volume, &backup).await?)
}

/// Not Convoy's: backs up volumes as they are now. The answers are in the order of the volumes.
pub(super) async fn back_up(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    let (volumes, snapshots) = (fields.texts("VolumeNames")?, fields.texts("SnapshotNames")?);
    if volumes.is_empty() || volumes.len() != snapshots.len() {
        return Err(Error::usage("each of \"VolumeNames\" needs one of \"SnapshotNames\""));
    }
    let of = |(volume, snapshot)| Ok(AsItIs { volume: name(volume)?, snapshot: name(snapshot)? });
    let volumes: Vec<_> = volumes.into_iter().zip(snapshots).map(of).collect::<Result<_>>()?;
    let destination = destination(fields.text("URL")?)?;
    let made = daemon.back_up(&volumes, &destination).await?.into_iter();
    let told = made.map(|url| Answered::from(url.map(|url| url.to_string())));
    go_json::to_string(&told.collect::<Vec<_>>())
}

/// Not Convoy's: holds what writes to volumes.
pub(super) async fn quiesce(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    let volumes = fields.texts("VolumeNames")?.into_iter().map(name).collect::<Result<Vec<_>>>()?;
    go_json::to_string(&daemon.quiesce(&volumes).await?)
}

/// Not Convoy's: lets what was held go on.
pub(super) async fn let_go_on(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    nothing(daemon.let_go_on(fields.text("ID")?).await)
}

/// Not Convoy's: runs a command in a container.
pub(super) async fn run_in_container(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    let (container, command) = (fields.text("Container")?, fields.text("Command")?);
    nothing(daemon.run_in_container(container, command).await)
}

/// Not Convoy's: the forgotten volumes; `null` if the daemon can't tell.
pub(super) async fn forgotten_volumes(daemon: &dyn Daemon) -> Result<String> {
    go_json::to_string(&BTreeMap::from([("Volumes", daemon.forgotten_volumes().await?)]))
}

/// Not Convoy's: what is mounted in a volume; `null` if the daemon can't tell.
pub(super) async fn mounts_in_volume(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    let mounts = daemon.mounts_in_volume(&name(fields.text("VolumeName")?)?).await?;
    go_json::to_string(&BTreeMap::from([("Mounts", mounts)]))
}

/// Not Convoy's: what many backups are, in the order of their URLs.
pub(super) async fn inspect_backups(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    let urls: Vec<_> = fields.texts("URLs")?.into_iter().map(backup_url).collect::<Result<_>>()?;
    let inspected = daemon.inspect_backups(&urls).await?;
    go_json::to_string(&inspected.into_iter().map(Answered::from).collect::<Vec<_>>())
}

/// Not Convoy's: reads the data of backups back; `null` if the daemon can't.
pub(super) async fn read_back(daemon: &dyn Daemon, fields: &Fields) -> Result<String> {
    let wrong = |_| Error::usage("\"Since\" is no time");
    let what = ReadBack {
        volume: fields.some_text("VolumeName")?.map(name).transpose()?,
        since: fields.some_text("Since")?.map(str::parse).transpose().map_err(wrong)?,
        most: fields.number("Most")?,
    };
    let read = daemon.read_back(&destination(fields.text("URL")?)?, &what).await?;
    go_json::to_string(&BTreeMap::from([("Read", read)]))
}

fn nothing(done: Result<()>) -> Result<String> {
    done.map(|()| String::new())
}

/// Removes the volume's name from its snapshots: a list of volumes does not repeat it there.
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

/// The requested name, or a new one such as `volume-b7d0b1b4acca479d`.
fn named_or_new(text: &str, what: &str) -> String {
    if text.is_empty() {
        // Each `RandomState` has its own keys, from the system's random numbers.
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

/// The volume that the request asks for. `Endpoint` is checked only as far as Convoy checks it: a
/// daemon knows its own endpoint.
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
        // Go can't tell 0 from a missing number.
        size: fields.number("Size")?.filter(|size| *size > 0),
        backup,
        volume_type: owned("Type")?,
        iops: fields.number("IOPS")?.filter(|iops| *iops > 0),
        driver_volume_id: owned("DriverVolumeID")?,
        prepare_for_vm: fields.flag("PrepareForVM")?,
    })
}
