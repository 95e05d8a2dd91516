//! What all runs of one process share.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{queue::RunQueue, recording::Recorder};
use crate::{
    clock::Clock,
    convoy::{Daemon, Destination, guards::DataLook},
    script::{Listener, MessageSink, Settings},
};

/// What all runs of one process share.
#[derive(Clone)]
pub(crate) struct RunEnvironment {
    /// The daemon, unguarded: only the guards may use this field.
    pub(crate) daemon: Arc<dyn Daemon>,
    /// Looks at the data of backups, where the daemon does not.
    pub(crate) data_look: Arc<dyn DataLook>,
    pub(crate) lock_folder: PathBuf,
    /// How long a run waits for a lock.
    pub(crate) lock_wait: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    /// The configuration that scripts see.
    pub(crate) settings: Arc<Settings>,
    /// Receives the log and the progress of scripts.
    pub(crate) listener: Arc<dyn Listener>,
    /// Receives the messages that scripts send.
    pub(crate) message_sink: Arc<dyn MessageSink>,
    /// Without a recorder, runs are not recorded.
    pub(crate) recorder: Option<Arc<Recorder>>,
    /// Called at the end of a run that was to change something and saw or changed a volume; never
    /// in a dry run.
    pub(crate) worked_with_volumes: Option<Arc<dyn Fn() + Send + Sync>>,
    /// The queue of runs that change something. Without a queue, no run waits.
    pub(crate) queue: Option<Arc<RunQueue>>,
    /// The queue of dry runs and of runs that only read. Without a queue, no run waits.
    pub(crate) read_queue: Option<Arc<RunQueue>>,
    /// Cancelled when the program is told to end. A run that is cancelled then is recorded as
    /// interrupted, not as cancelled.
    pub(crate) ending: CancellationToken,
}

impl RunEnvironment {
    /// Names the daemon and the destination that the runs work with.
    pub(crate) fn origin_key(&self) -> String {
        format!(
            "{} {}",
            self.daemon.identity(),
            self.settings.destination.as_ref().map(Destination::key).unwrap_or_default()
        )
    }
}
