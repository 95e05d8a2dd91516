//! Docker's volume plugin protocol as Convoy answers it. The status is always 200, an error is
//! `{"Err": ..}`, and empty fields are left out.

use hyper::Method;
use serde_json::{Map, Value, json};

use super::{answer::Answer, go_json, request::Fields};
use crate::{
    convoy::{BackupUrl, Name, NewVolume, Plugin, Volume},
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
    pub(super) async fn answer(self, plugin: &dyn Plugin, body: &[u8]) -> Answer {
        let answer = match self.call(plugin, body).await {
            Ok(answer) => answer,
            Err(error) => {
                // Docker asks for a volume before it makes one.
                let is_question = self == Self::Get && error.kind == ErrorKind::NotFound;
                let level = if is_question { log::Level::Debug } else { log::Level::Warn };
                log::log!(level, "docker's {self:?} failed: {error}");
                json!({ "Err": error.message })
            }
        };
        go_json::to_string(&answer)
            .map_or_else(|error| Answer::error(500, &error.message), Answer::text)
    }

    async fn call(self, plugin: &dyn Plugin, body: &[u8]) -> Result<Value> {
        match self {
            Self::Activate => return Ok(json!({ "Implements": ["VolumeDriver"] })),
            Self::Capabilities => return Ok(json!({ "Capabilities": { "Scope": "local" } })),
            Self::List => {
                let volumes: Vec<Value> =
                    plugin.volumes().await?.values().map(described).map(Value::from).collect();
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
        let volume = find(plugin, name).await?;
        match (self, volume) {
            (Self::Create, None) => {
                plugin.create_volume(&new_volume(name, &fields.object("Opts")?)?).await?;
                Ok(json!({}))
            }
            // Creating a volume that exists succeeds, and so does removing or unmounting a volume
            // that does not exist.
            (Self::Create, Some(_)) | (Self::Remove | Self::Unmount, None) => Ok(json!({})),
            (Self::Remove, Some((name, _))) => remove(plugin, &name).await,
            (Self::Mount, Some((name, _))) => {
                let mount = plugin.mount_for(&name, fields.text("ID")?).await?;
                Ok(mounted_at(&mount.mount_point))
            }
            (Self::Unmount, Some((name, _))) => {
                plugin.unmount_for(&name, fields.text("ID")?).await?;
                Ok(json!({}))
            }
            (Self::Path, Some((_, volume))) => Ok(mounted_at(&volume.mount_point)),
            (Self::Get, Some((_, volume))) => Ok(json!({ "Volume": inspected(&volume) })),
            (Self::Get, None) => {
                Err(Error::new(ErrorKind::NotFound, format!("Could not find volume {name}.")))
            }
            _ => Err(Error::new(ErrorKind::NotFound, "Couldn't find volume.")),
        }
    }
}

/// The volume of that name; `None` if there is no such volume, or if the name is not valid.
async fn find(plugin: &dyn Plugin, name: &str) -> Result<Option<(Name, Volume)>> {
    let Ok(name) = Name::volume(name) else { return Ok(None) };
    match plugin.volume(&name).await {
        Ok(volume) => Ok(Some((name, volume))),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Docker shows its user nothing but the message, so the hint goes with it.
async fn remove(plugin: &dyn Plugin, name: &Name) -> Result<Value> {
    match plugin.remove_for_docker(name).await {
        Err(error) if error.kind != ErrorKind::NotFound => {
            let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            Err(Error { message: format!("{}{hint}", error.message), ..error })
        }
        _ => Ok(json!({})),
    }
}

fn mounted_at(mount_point: &str) -> Value {
    if mount_point.is_empty() { json!({}) } else { json!({ "Mountpoint": mount_point }) }
}

fn described(volume: &Volume) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("Name".into(), volume.name.as_str().into());
    if !volume.mount_point.is_empty() {
        fields.insert("Mountpoint".into(), volume.mount_point.as_str().into());
    }
    fields
}

/// As [`described`], with the time when the volume was made, which Docker shows. Convoy does not tell
/// it.
fn inspected(volume: &Volume) -> Value {
    let made = volume.created_time.timestamp();
    let made = made.map(|made| ("CreatedAt".to_owned(), made.to_string().into()));
    made.into_iter().chain(described(volume)).collect::<Map<_, _>>().into()
}

fn new_volume(name: &str, options: &Fields) -> Result<NewVolume> {
    let length = name.chars().count();
    let name = Name::volume(name).map_err(|_| {
        if length > Name::MAX {
            let most = Name::MAX;
            return Error::usage(format!(
                "Invalid volume name {name}. It has {length} characters, {most} are the most"
            ));
        }
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
