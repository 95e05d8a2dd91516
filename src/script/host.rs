//! What the host gives to the primitives of a running script.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use serde_json::Value;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{
    limits::MAX_OPERATIONS,
    message_sink::{MessageSink, NotifyLog},
};
use crate::{
    clock::{Clock, SystemClock},
    convoy::{Destination, guards::Guards},
    run_words::Trigger,
};

/// What the host gives to the primitives of a running script.
pub(crate) struct Host {
    /// The guarded daemon.
    pub(crate) guards: Arc<Guards>,
    /// The runtime on which primitives do their asynchronous work.
    pub(crate) runtime: Handle,
    /// Cancels the run.
    pub(crate) cancellation: CancellationToken,
    /// The run ends at this time. `None`: the run has no deadline.
    pub(crate) deadline: Option<Instant>,
    /// The clock of `time::` and `retention::`.
    pub(crate) clock: Arc<dyn Clock>,
    /// The configuration that scripts can read.
    pub(crate) settings: Arc<Settings>,
    pub(crate) run: RunIdentity,
    /// Receives the log and the progress of the script.
    pub(crate) listener: Arc<dyn Listener>,
    /// Receives the alerts and messages of the script.
    pub(crate) message_sink: Arc<dyn MessageSink>,
    /// The most steps that the script may take, in all its threads together.
    pub(crate) max_operations: u64,
}

impl Host {
    /// A host over this daemon, with defaults for the rest: no deadline, the system's clock, and
    /// messages that go to the log.
    pub(crate) fn new(guards: Arc<Guards>, runtime: Handle) -> Self {
        Self {
            guards,
            runtime,
            cancellation: CancellationToken::new(),
            deadline: None,
            clock: Arc::new(SystemClock),
            settings: Arc::default(),
            run: RunIdentity { id: String::new(), trigger: Trigger::Cli, dry_run: false },
            listener: Arc::new(Silent),
            message_sink: Arc::new(NotifyLog),
            max_operations: MAX_OPERATIONS,
        }
    }
}

/// The configuration that scripts can read. Secrets must not be here.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The destination of backups, unless a script names another one.
    pub(crate) destination: Option<Destination>,
    /// Whether `backup` deletes a volume's older snapshots.
    pub(crate) delete_old_snapshots: bool,
    /// Further values, by their names in `config::get`.
    pub(crate) values: BTreeMap<String, Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { destination: None, delete_old_snapshots: true, values: BTreeMap::new() }
    }
}

/// The identity of a run.
#[derive(Debug, Clone)]
pub(crate) struct RunIdentity {
    pub(crate) id: String,
    /// What started the run.
    pub(crate) trigger: Trigger,
    /// Whether the run may write nothing.
    pub(crate) dry_run: bool,
}

/// Receives what a script says while it runs. The log's lines also go to the `log` crate, under the
/// script's name.
pub(crate) trait Listener: Send + Sync {
    /// A line of the run's log.
    fn log(&self, _level: log::Level, _message: &str) {}
    /// What the script is about to do.
    fn progress(&self, _text: &str) {}
}

/// Ignores everything. The log still has the lines.
pub(crate) struct Silent;

impl Listener for Silent {}
