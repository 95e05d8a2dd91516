//! Docker's volume plugin protocol as Convoy answers it. The status is always 200, an error is
//! `{"Err": ..}`, and empty fields are left out.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::{Map, Value, json};

use super::{answer::Answer, go_json, mounts::Mounts, request::Fields};
use crate::{
    convoy::{BackupUrl, Daemon, Name, NewVolume, Volume},
    error::{Error, ErrorKind, Result},
    units,
};

/// A call of Docker's plugin protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Activate,
    Create,
    Remove,
    Mount,
    Unmount,
    Path,
    Get,
    List,
    Capabilities,
}

impl Call {
    /// The call that a request makes.
    pub(super) fn find(method: &Method, path: &str) -> Option<Self> {
        if method != Method::POST {
            return None;
        }
        Some(match path {
            "/Plugin.Activate" => Self::Activate,
            "/VolumeDriver.Create" => Self::Create,
            "/VolumeDriver.Remove" => Self::Remove,
            "/VolumeDriver.Mount" => Self::Mount,
            "/VolumeDriver.Unmount" => Self::Unmount,
            "/VolumeDriver.Path" => Self::Path,
            "/VolumeDriver.Get" => Self::Get,
            "/VolumeDriver.List" => Self::List,
            "/VolumeDriver.Capabilities" => Self::Capabilities,
            _ => return None,
        })
    }

    /// Calls the daemon and writes its answer.
    pub(super) async fn answer(self, daemon: &dyn Daemon, mounts: &Mounts, body: &[u8]) -> Answer {
        let answer = match self.call(daemon, mounts, body).await {
            Ok(answer) => answer,
            Err(error) => {
                log::warn!("docker's {self:?} failed: {error}");
                json!({ "Err": error.message })
            }
        };
        go_json::to_string(&answer)
            .map_or_else(|error| Answer::error(500, &error.message), Answer::text)
    }

    async fn call(self, daemon: &dyn Daemon, mounts: &Mounts, body: &[u8]) -> Result<Value> {
        match self {
            Self::Activate => return Ok(json!({ "Implements": ["VolumeDriver"] })),
            Self::Capabilities => return Ok(json!({ "Capabilities": { "Scope": "local" } })),
            Self::List => {
                let volumes: Vec<Value> = daemon.volumes().await?.values().map(described).collect();
                return Ok(if volumes.is_empty() {
                    json!({})
                } else {
                    json!({ "Volumes": volumes })
                });
            }
            _ => {}
        }
        let fields = Fields::parse(body)?;
        let name = fields.text("Name")?;
        let volume = find(daemon, name).await?;
        match (self, volume) {
            (Self::Create, None) => {
                daemon.create_volume(&new_volume(name, &fields.object("Opts")?)?).await?;
                Ok(json!({}))
            }
            // Creating a volume that exists succeeds, and so does removing or unmounting a volume
            // that does not exist.
            (Self::Create, Some(_)) | (Self::Remove | Self::Unmount, None) => Ok(json!({})),
            (Self::Remove, Some((name, _))) => remove(daemon, mounts, &name).await,
            (Self::Mount, Some((name, _))) => {
                mount(daemon, mounts, &name, fields.text("ID")?).await
            }
            (Self::Unmount, Some((name, _))) => {
                unmount(daemon, mounts, &name, fields.text("ID")?).await
            }
            (Self::Path, Some((_, volume))) => Ok(mounted_at(&volume.mount_point)),
            (Self::Get, Some((_, volume))) => Ok(json!({ "Volume": described(&volume) })),
            (Self::Get, None) => {
                Err(Error::new(ErrorKind::NotFound, format!("Could not find volume {name}.")))
            }
            _ => Err(Error::new(ErrorKind::NotFound, "Couldn't find volume.")),
        }
    }
}

/// The volume of that name; `None` if there is no such volume, or if the name is not valid.
async fn find(daemon: &dyn Daemon, name: &str) -> Result<Option<(Name, Volume)>> {
    let Ok(name) = Name::volume(name) else { return Ok(None) };
    match daemon.volume(&name).await {
        Ok(volume) => Ok(Some((name, volume))),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the daemon forget the volume: `docker volume rm` must not delete data.
async fn remove(daemon: &dyn Daemon, mounts: &Mounts, name: &Name) -> Result<Value> {
    let _turn = mounts.turn(name).await;
    // Docker removes a volume only if no container uses it. Containers that are still on record
    // ended when their engine was killed, and were never unmounted.
    if !mounts.users(name).is_empty() {
        unmount_last(daemon, mounts, name).await?;
    }
    match daemon.delete_volume(name, true).await {
        Err(error) if error.kind != ErrorKind::NotFound => Err(error),
        _ => Ok(json!({})),
    }
}

async fn mount(
    daemon: &dyn Daemon,
    mounts: &Mounts,
    name: &Name,
    container: &str,
) -> Result<Value> {
    let _turn = mounts.turn(name).await;
    let mount = daemon.mount_volume(name, None).await?;
    let mut users = mounts.users(name);
    users.insert(container.to_owned());
    mounts.set(name, users);
    Ok(mounted_at(&mount.mount_point))
}

/// Unmounts the volume when its last container has gone. An unknown id also unmounts if no other
/// container uses the volume, as in Convoy.
async fn unmount(
    daemon: &dyn Daemon,
    mounts: &Mounts,
    name: &Name,
    container: &str,
) -> Result<Value> {
    let _turn = mounts.turn(name).await;
    let mut others = mounts.users(name);
    others.remove(container);
    if others.is_empty() {
        unmount_last(daemon, mounts, name).await?;
    } else {
        mounts.set(name, others);
    }
    Ok(json!({}))
}

async fn unmount_last(daemon: &dyn Daemon, mounts: &Mounts, name: &Name) -> Result<()> {
    daemon.unmount_volume(name).await?;
    mounts.set(name, BTreeSet::new());
    Ok(())
}

fn mounted_at(mount_point: &str) -> Value {
    if mount_point.is_empty() { json!({}) } else { json!({ "Mountpoint": mount_point }) }
}

fn described(volume: &Volume) -> Value {
    let mut fields = Map::new();
    fields.insert("Name".into(), volume.name.as_str().into());
    if !volume.mount_point.is_empty() {
        fields.insert("Mountpoint".into(), volume.mount_point.as_str().into());
    }
    fields.into()
}

fn new_volume(name: &str, options: &Fields) -> Result<NewVolume> {
    let name = Name::volume(name).map_err(|_| {
        let allowed = "Can only contain 0-9, a-z, dash(-), underscore(_) and dot(.)";
        Error::usage(format!("Invalid volume name {name}. {allowed}"))
    })?;
    let owned = |option: &str| Ok::<_, Error>(options.some_text(option)?.map(str::to_owned));
    let number = |text: &str| {
        text.parse::<u64>().map_err(|_| {
            Error::usage(format!("the option \"iops\" must be a whole number, not \"{text}\""))
        })
    };
    let flag = |text: &str| match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(Error::usage(format!("the option \"vm\" must be true or false, not \"{text}\""))),
    };
    Ok(NewVolume {
        name,
        driver: owned("driver")?,
        size: options
            .some_text("size")?
            .map(units::parse_size)
            .transpose()?
            .filter(|size| *size > 0),
        backup: options.some_text("backup")?.map(BackupUrl::parse).transpose()?,
        volume_type: owned("type")?,
        iops: options.some_text("iops")?.map(number).transpose()?,
        driver_volume_id: owned("id")?,
        prepare_for_vm: options.some_text("vm")?.map(flag).transpose()?.unwrap_or(false),
    })
}
