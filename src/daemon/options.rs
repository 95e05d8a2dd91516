//! The options of the built-in daemon.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use super::{
    driver::DockerOptions,
    moment::{HoldOptions, MomentCommands},
};
use crate::{clock::Clock, exclude::Excludes, progress::Progress, s3::S3Options};

/// The options of a [`super::BuiltinDaemon`].
#[derive(Clone)]
pub(crate) struct BuiltinOptions {
    /// The daemon's root folder, created if it is missing.
    pub(crate) root: PathBuf,
    /// The password of new repositories and of the repositories at destinations. Without a
    /// password, backups are not encrypted.
    pub(crate) password: Option<String>,
    pub(crate) s3: S3Options,
    /// Folders of the host that are volumes, with their names.
    pub(crate) folders: Vec<(String, PathBuf)>,
    /// Docker's engine, whose own volumes are volumes here.
    pub(crate) docker: DockerOptions,
    /// The operator's own commands that take and drop a moment.
    pub(crate) moment: Option<MomentCommands>,
    /// How what writes to a volume is held still.
    pub(crate) hold: HoldOptions,
    /// What is left out of volumes.
    pub(crate) excludes: Excludes,
    /// How many bytes may wait on the volumes' disk to be uploaded; 0: none.
    pub(crate) spool_most: u64,
    /// How long another's lock is waited for, unless a run says otherwise.
    pub(crate) lock_wait: Duration,
    /// The host name in new snapshots and backups.
    pub(crate) host: String,
    /// Receives the progress of snapshots, backups and restores.
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl fmt::Debug for BuiltinOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "(secret)");
        f.debug_struct("BuiltinOptions")
            .field("root", &self.root)
            .field("password", &password)
            .field("s3", &self.s3)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}
