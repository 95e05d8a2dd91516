//! The wiring: from a configuration to a daemon, from a daemon to runs. No other room does it.

mod connect;
mod daemon_memory;
mod handover;
pub(crate) mod run_reports;
pub(crate) mod serve;

use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub(crate) use connect::{Connection, builtin_options, connect, copied_root};
pub(crate) use daemon_memory::recall_from_history;
pub(crate) use serve::{Serving, serve};

use crate::{
    clock::SystemClock,
    config::Config,
    error::Result,
    runs::{Recorder, RunEnvironment, Store},
    script::{self, Library},
};

/// The scripts that the configuration names: the user's folder over the built-in ones.
///
/// # Errors
/// A configuration error if the folder can't be read.
pub(crate) fn library(config: &Config) -> Result<Library> {
    Library::new(config.scripts_dir.clone())
}

/// The environment of this process's runs. Messages of scripts to people go to `message_sink`, the
/// records of runs to `recorder`.
pub(crate) fn run_environment(
    config: &Config,
    settings: Arc<script::Settings>,
    connection: &Connection,
    message_sink: Arc<dyn script::MessageSink>,
    recorder: Arc<Recorder>,
) -> RunEnvironment {
    RunEnvironment {
        daemon: connection.daemon.clone(),
        data_look: connection.data_look.clone(),
        lock_folder: config.data_dir.join("locks"),
        lock_wait: config.lock_wait,
        clock: Arc::new(SystemClock),
        settings,
        listener: Arc::new(script::Silent),
        message_sink,
        recorder: Some(recorder),
        worked_with_volumes: Some(daemon_memory::remember_at_run_end(config, connection)),
        queue: None,
        read_queue: None,
        ending: CancellationToken::new(),
    }
}

/// The part of the configuration that scripts see.
pub(crate) fn settings(config: &Config) -> Arc<script::Settings> {
    let values = config
        .public_values()
        .into_iter()
        .map(|(name, value)| (name, Value::String(value)))
        .collect();
    Arc::new(script::Settings {
        destination: config.backup_url.clone(),
        delete_old_snapshots: config.delete_old_snapshots,
        values,
    })
}

/// The recorder of this process's runs, over the store in the data folder.
pub(crate) fn recorder(config: &Config) -> Arc<Recorder> {
    Arc::new(Recorder::new(Arc::new(Store::new(&config.data_dir)), Arc::new(SystemClock)))
}
