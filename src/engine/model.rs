//! What the engine tells of its volumes and containers. Fields that are not needed are not read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// The name of a volume that got none: 64 hexadecimal digits.
const ANONYMOUS_NAME_LENGTH: usize = 64;
/// What newer engines write on volumes that got no name.
const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";
/// The compose project that a volume or container belongs to.
pub(crate) const PROJECT_LABEL: &str = "com.docker.compose.project";
/// The service of that project that a container belongs to.
const SERVICE_LABEL: &str = "com.docker.compose.service";
/// The services that a container waits for, with commas between them.
const DEPENDS_ON_LABEL: &str = "com.docker.compose.depends_on";

/// A volume of the engine, of whichever driver.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EngineVolume {
    pub(crate) name: String,
    /// `local` for the engine's own.
    pub(crate) driver: String,
    /// Where its files are on the engine's host; empty for some drivers while they are not mounted.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) mountpoint: PathBuf,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// The driver's options: `type`, `o` and `device` of a mount.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) options: BTreeMap<String, String>,
}

/// Whether the engine made this name for a volume that got none.
pub(crate) fn is_anonymous_name(name: &str) -> bool {
    let is_hex = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    name.len() == ANONYMOUS_NAME_LENGTH && name.bytes().all(is_hex)
}

impl EngineVolume {
    /// Whether nobody gave it a name: its container's image or command asked for some volume. Older
    /// engines tell by its name alone, and give it no labels.
    pub(crate) fn is_anonymous(&self) -> bool {
        let looks_so = || self.labels.is_empty() && is_anonymous_name(&self.name);
        self.labels.contains_key(ANONYMOUS_LABEL) || looks_so()
    }

    /// Its compose project.
    pub(crate) fn project(&self) -> Option<&str> {
        self.labels.get(PROJECT_LABEL).map(String::as_str)
    }

    /// The folder of the host that it has by its options (`o=bind`).
    pub(crate) fn bound(&self) -> Option<&Path> {
        let option = |name: &str| self.options.get(name).map_or("", |value| value.trim());
        let is_bind = |word: &str| matches!(word.trim(), "bind" | "rbind");
        option("o").split(',').any(is_bind).then(|| Path::new(option("device")))
    }
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Container {
    pub(crate) id: String,
    /// Each begins with `/`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) names: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) image: String,
    /// `running`, `paused`, `exited`, ..
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) state: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) mounts: Vec<ContainerMount>,
    #[serde(default, rename = "HostConfig", deserialize_with = "null_is_empty")]
    host: ContainerHost,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerHost {
    /// `bridge`, `host`, `container:ID`, ..
    #[serde(default, deserialize_with = "null_is_empty")]
    network_mode: String,
}

impl Container {
    /// Its name as people write it, else its id.
    pub(crate) fn name(&self) -> &str {
        self.names.first().map_or(&self.id, |name| name.trim_start_matches('/'))
    }

    /// Its compose project.
    pub(crate) fn project(&self) -> Option<&str> {
        self.labels.get(PROJECT_LABEL).map(String::as_str)
    }

    /// Its service of that project.
    pub(crate) fn service(&self) -> Option<&str> {
        self.labels.get(SERVICE_LABEL).map(String::as_str)
    }

    /// The id or name of the container whose network it has; `None` if it has one of its own.
    pub(crate) fn network_of(&self) -> Option<&str> {
        self.host.network_mode.strip_prefix("container:")
    }

    /// Whether its processes run now.
    pub(crate) fn runs(&self) -> bool {
        self.state == "running"
    }

    /// Whether it waits for the other to run, in one compose project.
    pub(crate) fn depends_on(&self, other: &Self) -> bool {
        let depends_on = self.labels.get(DEPENDS_ON_LABEL).map_or("", String::as_str);
        // "db:service_healthy:true,cache:service_started:false"
        let mut services = depends_on.split(',').filter_map(|word| word.split(':').next());
        let is_it = |service: &str| services.any(|name| !name.is_empty() && name == service);
        self.project() == other.project() && other.service().is_some_and(is_it)
    }

    /// Whether it has this volume.
    pub(crate) fn uses(&self, volume: &str) -> bool {
        self.mounts.iter().any(|mount| mount.name.as_deref() == Some(volume))
    }
}

/// What a container has mounted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ContainerMount {
    /// The volume's name; `None` for a folder or file of the host.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// The volume's driver.
    #[serde(default)]
    pub(crate) driver: Option<String>,
    /// `volume`, `bind`, `tmpfs`, ..
    #[serde(default, rename = "Type", deserialize_with = "null_is_empty")]
    pub(crate) kind: String,
    /// The folder or file of the host.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) source: PathBuf,
    /// Where its files really are, if another path leads there; see [`super::links`].
    #[serde(skip)]
    pub(super) real: Option<PathBuf>,
    /// Where the container has it.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) destination: PathBuf,
    /// Whether the container may write.
    #[serde(default, rename = "RW", deserialize_with = "null_is_empty")]
    pub(crate) writable: bool,
}

/// A list of the engine's, each item read by itself.
#[derive(Debug, Default)]
pub(crate) struct Listed<T> {
    pub(crate) known: Vec<T>,
    pub(crate) odd: Vec<Odd>,
}

/// An item of which the engine tells what makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Odd {
    /// Its name, if at least that can be read.
    pub(crate) name: Option<String>,
    pub(crate) why: String,
}

/// What an engine has: volumes of all drivers, and containers, also those that do not run.
#[derive(Debug)]
pub(crate) struct Everything {
    pub(crate) volumes: Listed<EngineVolume>,
    pub(crate) containers: Listed<Container>,
}

impl Everything {
    /// An item that could not be read, if there is any.
    pub(crate) fn odd(&self) -> Option<&Odd> {
        self.volumes.odd.iter().chain(&self.containers.odd).next()
    }
}

impl<T: DeserializeOwned> Listed<T> {
    pub(super) fn read(items: Vec<Value>) -> Self {
        let mut listed = Self { known: Vec::new(), odd: Vec::new() };
        for item in items {
            let name = item.get("Name").and_then(Value::as_str).map(str::to_owned);
            match serde_json::from_value(item) {
                Ok(read) => listed.known.push(read),
                Err(error) => listed.odd.push(Odd { name, why: error.to_string() }),
            }
        }
        listed
    }
}

/// The answer to `GET /volumes`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VolumeList {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) volumes: Vec<Value>,
}

/// Go writes an empty text, list or map as `null`.
fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}
