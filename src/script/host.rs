//! What a run gives the primitives of its script.

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

/// What a run gives the primitives of its script.
pub(crate) struct Host {
    /// The guarded daemon.
    pub(crate) guards: Arc<Guards>,
    /// Where the primitives' asynchronous work is done.
    pub(crate) runtime: Handle,
    /// Ends the run when it is cancelled.
    pub(crate) cancellation: CancellationToken,
    /// When the run must be over.
    pub(crate) deadline: Option<Instant>,
    /// The time that `time::` and `retention::` go by.
    pub(crate) clock: Arc<dyn Clock>,
    /// The configuration that scripts may see.
    pub(crate) settings: Arc<Settings>,
    /// Which run this is.
    pub(crate) run: RunInfo,
    /// Hears what the script says.
    pub(crate) listener: Arc<dyn Listener>,
    /// Takes what the script wants people to know.
    pub(crate) message_sink: Arc<dyn MessageSink>,
    /// How many steps of a script, in all its threads together, are too many.
    pub(crate) max_operations: u64,
}

impl Host {
    /// A host with this daemon, and defaults for the rest: no deadline, the system's clock,
    /// notifications to the log.
    pub(crate) fn new(guards: Arc<Guards>, runtime: Handle) -> Self {
        Self {
            guards,
            runtime,
            cancellation: CancellationToken::new(),
            deadline: None,
            clock: Arc::new(SystemClock),
            settings: Arc::default(),
            run: RunInfo { id: String::new(), trigger: Trigger::Cli, dry_run: false },
            listener: Arc::new(Silent),
            message_sink: Arc::new(NotifyLog),
            max_operations: MAX_OPERATIONS,
        }
    }
}

/// The configuration that scripts may see. Secrets do not belong here.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where backups go unless a script says otherwise.
    pub(crate) destination: Option<Destination>,
    /// Whether `backup` deletes a volume's older snapshots.
    pub(crate) delete_old_snapshots: bool,
    /// Other values, by the name that `config::get` knows them by.
    pub(crate) values: BTreeMap<String, Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { destination: None, delete_old_snapshots: true, values: BTreeMap::new() }
    }
}

/// Which run this is.
#[derive(Debug, Clone)]
pub(crate) struct RunInfo {
    /// Its id.
    pub(crate) id: String,
    /// Who started it.
    pub(crate) trigger: Trigger,
    /// Whether nothing is to be written.
    pub(crate) dry_run: bool,
}

/// Hears what a script says while it runs. The `log` crate gets the log's lines in any case, under
/// the script's name.
pub(crate) trait Listener: Send + Sync {
    /// A line for the run's log.
    fn log(&self, _level: log::Level, _message: &str) {}
    /// What the script is about to do.
    fn progress(&self, _text: &str) {}
}

/// Hears nothing: the log has it all.
pub(crate) struct Silent;

impl Listener for Silent {}
