//! Docker's engine, and which of its volumes are backed up.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use super::{
    docker_socket::{DockerSocket, socket},
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
    /// The socket of the engine; `None`: there is none, or it is not to be used.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) use_of: EngineUse,
    pub(crate) selection: Selection,
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
                    None => Some(PathBuf::from(USUAL_SOCKET)).filter(|path| is_socket(path)),
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
        Ok(Self { socket, use_of, selection })
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}
