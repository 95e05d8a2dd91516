//! Docker's engine, and which of its volumes are backed up.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use super::{
    docker_socket::{DockerSocket, socket},
    given::Source,
    settings::{
        BKUP_DOCKER, BKUP_DOCKER_BINDS, BKUP_DOCKER_EXCLUDE, BKUP_DOCKER_INCLUDE,
        BKUP_DOCKER_VOLUMES,
    },
    values::Values,
};
use crate::{
    engine::{EngineUse, Selection},
    error::Result,
};

/// Where Docker listens, unless it was told otherwise.
const USUAL_SOCKET: &str = "/var/run/docker.sock";

/// Docker's engine.
#[derive(Debug, Clone)]
pub(crate) struct Docker {
    /// The socket of the engine, which may not be there yet; `None`: it is not to be used, or is
    /// another host's.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) use_of: EngineUse,
    pub(crate) selection: Selection,
    /// Whether the policy was set. Else the daemon's folder decides.
    pub(crate) has_policy: bool,
}

impl Docker {
    pub(super) fn read(
        values: &Values,
        environment: &BTreeMap<OsString, OsString>,
    ) -> Result<Self> {
        let (use_of, socket) = match values.require(&BKUP_DOCKER)? {
            DockerSocket::Off => (EngineUse::Off, None),
            DockerSocket::At(socket) => (EngineUse::Always, Some(socket)),
            DockerSocket::Auto => {
                let host =
                    environment.get(OsStr::new("DOCKER_HOST")).filter(|host| !host.is_empty());
                let socket = match host {
                    // An engine of another host has none of its volumes here.
                    Some(host) => host.to_str().and_then(socket),
                    // It may come later.
                    None => Some(PathBuf::from(USUAL_SOCKET)),
                };
                (EngineUse::IfThere, socket)
            }
        };
        let patterns = |setting| Ok(values.read(setting)?.unwrap_or_default());
        let selection = Selection {
            binds: values.require(&BKUP_DOCKER_BINDS)?,
            policy: values.require(&BKUP_DOCKER_VOLUMES)?,
            include: patterns(&BKUP_DOCKER_INCLUDE)?,
            exclude: patterns(&BKUP_DOCKER_EXCLUDE)?,
        };
        let has_policy = values.source(BKUP_DOCKER_VOLUMES.row.name) != Source::Default;
        Ok(Self { socket, use_of, selection, has_policy })
    }
}
