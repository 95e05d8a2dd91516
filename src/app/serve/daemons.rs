//! The daemons that the runs of `serve` use: mostly one, which all runs share.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use tokio::sync::{Mutex, OnceCell};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{Connection, connect::connect_to},
    config::{Config, DaemonDecision},
    error::Result,
    progress::Progress,
};

pub(super) struct Daemons {
    known: Mutex<HashMap<DaemonKey, Arc<OnceCell<Arc<Connection>>>>>,
    /// The daemon of all settings that name none, from the first connection on: a socket that
    /// appears or goes away later changes nothing.
    default: OnceLock<DaemonDecision>,
    /// Gets the progress of the daemons' work.
    progress: Arc<dyn Progress>,
}

/// The settings that make two daemons different: the address, the S3 service and the id of its key,
/// the repositories' password, and the host in backups.
type DaemonKey = (String, Option<String>, Option<String>, Option<String>, String);

impl Daemons {
    /// No daemon is connected to yet.
    pub(super) fn new(progress: Arc<dyn Progress>) -> Self {
        Self { known: Mutex::default(), default: OnceLock::new(), progress }
    }

    /// The daemon that the configuration decides on; connects to it if no run did so before.
    ///
    /// # Errors
    /// As [`crate::app::connect`].
    pub(super) async fn get(&self, config: &Config) -> Result<Arc<Connection>> {
        let decision = match (&config.convoy, self.default.get()) {
            (None, Some(decided)) => decided.clone(),
            _ => config.daemon(),
        };
        let password =
            config.repository_password.as_ref().map(|password| password.expose().to_owned());
        let s3_key = config.s3_key.as_ref().map(|(id, _)| id.expose().to_owned());
        let key = (
            decision.choice.to_string(),
            config.s3_endpoint.clone(),
            s3_key,
            password,
            config.host_name(),
        );
        // A slow daemon delays only the runs that want it.
        let cell = self.known.lock().await.entry(key).or_default().clone();
        let connect = async {
            let connected = connect_to(config, decision.clone(), self.progress.clone()).await;
            connected.map(Arc::new)
        };
        let connection = cell.get_or_try_init(|| connect).await.cloned()?;
        if config.convoy.is_none() {
            self.default.get_or_init(|| DaemonDecision { refusal: None, ..decision });
        }
        Ok(connection)
    }

    /// Closes the daemons that no run uses any more.
    pub(super) async fn close(&self) {
        for (_, cell) in self.known.lock().await.drain() {
            let connection = Arc::into_inner(cell).and_then(OnceCell::into_inner);
            if let Some(connection) = connection.and_then(Arc::into_inner) {
                let now = CancellationToken::new();
                now.cancel();
                connection.close(&now, |text| log::info!("{text}")).await;
            }
        }
    }
}
