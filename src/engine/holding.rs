//! Which containers write to a folder, and how each is made to stand still. Pure.

use std::path::{Path, PathBuf};

use super::{Container, EngineVolume, How, model::ContainerMount, own::Own};
use crate::error::{Error, Result};

/// The label that says how a container is made to stand still: `pause`, `stop` or `none`. That of a
/// volume is about all containers that write to it.
pub(crate) const HOLD_LABEL: &str = "convoy-backups.hold";

/// How containers are made to stand still where no label says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum HoldPolicy {
    #[default]
    Pause,
    Stop,
    /// Not at all.
    None,
}

impl HoldPolicy {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "pause" => Some(Self::Pause),
            "stop" => Some(Self::Stop),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}

/// How the containers that write to a folder are made to stand still where no label says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policies {
    /// Those that have it mounted, or something in it.
    pub(crate) at_it: HoldPolicy,
    /// Those that have something above it.
    pub(crate) above: HoldPolicy,
}

/// A container that writes to a folder and is to stand still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) how: How,
    /// Whether its processes run now.
    pub(crate) runs: bool,
}

/// What writes to a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Writing {
    /// The containers that are to stand still, in that order: what depends on another comes before it.
    /// Those that do not run now are among them.
    pub(crate) writers: Vec<Writer>,
    /// The ids of the containers that run and are left alone, but for this program's own.
    pub(crate) left_alone: Vec<String>,
}

/// A folder, for [`writing`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written<'a> {
    /// The name of its volume.
    pub(crate) volume: &'a str,
    pub(crate) folder: &'a Path,
    /// The folder without symbolic links.
    pub(crate) real: &'a Path,
}

impl Written<'_> {
    pub(super) fn any(&self, is_it: impl Fn(&Path) -> bool) -> bool {
        is_it(self.folder) || is_it(self.real)
    }
}

/// The containers that write to a folder, with what is to be done to each.
///
/// # Errors
/// If a label makes no sense, or asks for what can't be done.
pub(crate) fn writing(
    containers: &[Container],
    of: Written<'_>,
    volumes: &[EngineVolume],
    policies: Policies,
    own: &Own,
) -> Result<Writing> {
    let is_it = |volume: &&EngineVolume| volume.name == of.volume && of.any(|it| volume.has(it));
    let volume = volumes.iter().find(is_it);
    let of_volume = volume.map_or(Ok(None), |volume| {
        label(&volume.labels, || format!("volume \"{}\"", volume.name))
    })?;
    let writes = |container: &&Container| {
        of_it(container, |mount| of.any(|folder| mount.is_of(volume, folder)))
    };
    let mut found = Writing::default();
    for container in in_order(containers.iter().filter(writes).filter(|c| !own.is(c)).collect()) {
        let of_container =
            label(&container.labels, || format!("container \"{}\"", container.name()))?;
        let may_speak = own.may_speak_through(container);
        let unless_told = match policies {
            _ if may_speak => HoldPolicy::None,
            Policies { at_it, .. } if of_it(container, |mount| mount.is_at(volume, of)) => at_it,
            Policies { above, .. } => above,
        };
        let how = match of_volume.or(of_container).unwrap_or(unless_told) {
            HoldPolicy::None => {
                found.left_alone.extend(container.runs().then(|| container.id.clone()));
                continue;
            }
            HoldPolicy::Pause => How::Pause,
            HoldPolicy::Stop if container.is_a_task() => return Err(no_task_stops(container)),
            HoldPolicy::Stop => How::Stop,
        };
        let (id, name) = (container.id.clone(), container.name().to_owned());
        found.writers.push(Writer { id, name, how, runs: container.runs() });
    }
    Ok(found)
}

/// Whether a container has a mount like this, and may write to it.
fn of_it(container: &Container, is_like_this: impl Fn(&ContainerMount) -> bool) -> bool {
    container.mounts.iter().any(|mount| mount.writable && is_like_this(mount))
}

/// What writes to any of many folders, by what writes to each.
pub(crate) fn to_any(containers: &[Container], each: Vec<Writing>) -> Writing {
    let mut all = Writing::default();
    for Writing { writers, left_alone } in each {
        for writer in writers {
            match all.writers.iter_mut().find(|known| known.id == writer.id) {
                None => all.writers.push(writer),
                Some(known) if writer.how == How::Stop => known.how = How::Stop,
                Some(_) => {}
            }
        }
        all.left_alone.extend(left_alone);
    }
    let is_held = |id: &String| all.writers.iter().any(|writer| writer.id == *id);
    all.left_alone.retain(|id| !is_held(id));
    let held = containers.iter().filter(|container| is_held(&container.id)).collect();
    let order: Vec<_> = in_order(held).into_iter().map(|container| &container.id).collect();
    all.writers.sort_by_key(|writer| order.iter().position(|id| **id == writer.id));
    all
}

/// Containers so that each comes before those that it depends on.
fn in_order(mut left: Vec<&Container>) -> Vec<&Container> {
    left.sort_by_key(|container| container.name());
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let is_free = |one: &&Container| !left.iter().any(|other| other.depends_on(one));
        // Compose refuses circles.
        let next = left.iter().position(is_free).unwrap_or_default();
        ordered.push(left.remove(next));
    }
    ordered
}

fn label(
    labels: &std::collections::BTreeMap<String, String>,
    of: impl Fn() -> String,
) -> Result<Option<HoldPolicy>> {
    let Some(value) = labels.get(HOLD_LABEL) else { return Ok(None) };
    let policy = HoldPolicy::parse(value.trim());
    policy.map(Some).ok_or_else(|| {
        let value: String = value.chars().take(40).collect();
        Error::configuration(format!(
            "the label {HOLD_LABEL}=\"{value}\" of {} must be pause, stop or none",
            of()
        ))
        .with_hint("correct the label of a container; a volume keeps its labels: BKUP_DOCKER_UNHELD=live backs it up without a hold")
    })
}

fn no_task_stops(container: &Container) -> Error {
    let message = format!(
        "container \"{}\" is a task of a Swarm service, which starts another where one is stopped",
        container.name()
    );
    let service = container.labels.get(SWARM_SERVICE).map_or("SERVICE", String::as_str);
    Error::configuration(message).with_hint(format!(
        "use the label {HOLD_LABEL}=pause for it: docker service update --container-label-add {HOLD_LABEL}=pause {service}"
    ))
}

impl EngineVolume {
    /// Whether this folder has its files.
    pub(super) fn has(&self, folder: &Path) -> bool {
        let device = self.options.get("device");
        self.mountpoint == folder || device.is_some_and(|device| Path::new(device) == folder)
    }
}

impl ContainerMount {
    /// Whether this mount is of a folder, or of something in it. A folder that has no volume of the
    /// engine also is in what is mounted above it: the containers that mount all volumes at once are
    /// tools.
    pub(super) fn is_of(&self, volume: Option<&EngineVolume>, folder: &Path) -> bool {
        let mut places = self.places().filter(|place| *place != Path::new("/"));
        match volume {
            Some(volume) => {
                let name = self.name.as_deref() == Some(volume.name.as_str());
                places.any(|place| place.starts_with(folder))
                    || (name && self.driver.as_deref().is_none_or(|it| it == volume.driver))
            }
            None => places.any(|place| place.starts_with(folder) || folder.starts_with(place)),
        }
    }

    /// Whether this mount is of this folder, or of something in it, and not of something above it.
    fn is_at(&self, volume: Option<&EngineVolume>, of: Written<'_>) -> bool {
        let is_in = |folder: &Path| self.places().any(|place| place.starts_with(folder));
        volume.is_some() || of.any(is_in)
    }

    /// Where its files are on the host, by each path that is known.
    pub(super) fn places(&self) -> impl Iterator<Item = &Path> {
        let known = [Some(&self.source), self.real.as_ref()].into_iter().flatten();
        known.map(PathBuf::as_path).filter(|place| place.has_root())
    }
}

/// The label of a Swarm task's container with the name of its service.
const SWARM_SERVICE: &str = "com.docker.swarm.service.name";

impl Container {
    fn is_a_task(&self) -> bool {
        self.labels.contains_key("com.docker.swarm.task.id")
    }
}
