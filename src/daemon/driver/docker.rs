//! The driver `docker`: the volumes of the engine's own driver `local`. The engine is asked at each
//! listing, so a new volume is seen at once; what it said last holds while it does not answer.
//!
//! The files are read where the engine keeps them. So this process must see that folder: on the
//! host as root, in a container by mounting `/var/lib/docker/volumes` at the same path.

mod asking;
mod host_folders;
mod known;
mod making;
mod plugin;
mod reading;
mod sights;
mod unmaking;
mod volume;

pub(in crate::daemon) use asking::Found;
pub(in crate::daemon) use host_folders::HostFolder;
pub(in crate::daemon) use known::Docker;
pub(crate) use known::{DockerOptions, Patience};
pub(in crate::daemon) use making::NotFilled;
pub(in crate::daemon) use unmaking::{Finished, Left};
pub(crate) use volume::is_in_container;
pub(in crate::daemon) use volume::{DockerVolume, is_same_mark};
