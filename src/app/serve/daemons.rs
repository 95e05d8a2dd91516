//! The daemons that the runs of `serve` use: mostly one, that all of them share.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{Connection, connect},
    config::Config,
    error::Result,
    progress::Progress,
};

/// The daemons that the runs use: mostly one.
pub(super) struct Daemons {
    known: Mutex<HashMap<DaemonKey, Arc<Connection>>>,
    /// Hears how far their work is.
    progress: Arc<dyn Progress>,
}

/// Which daemon: its address, the S3 service it is told to use, the repositories' password, and the host in backups.
type DaemonKey = (String, Option<String>, Option<String>, String);

impl Daemons {
    /// None is connected to yet.
    pub(super) fn new(progress: Arc<dyn Progress>) -> Self {
        Self { known: Mutex::default(), progress }
    }

    pub(super) async fn get(&self, config: &Config) -> Result<Arc<Connection>> {
        let password = config.repository_password.as_ref().map(|password| password.expose().to_owned());
        let key = (config.daemon().0.to_string(), config.s3_endpoint.clone(), password, config.host_name());
        let mut known = self.known.lock().await;
        if let Some(connection) = known.get(&key) {
            return Ok(connection.clone());
        }
        let connection = Arc::new(connect(config, self.progress.clone()).await?);
        known.insert(key, connection.clone());
        Ok(connection)
    }

    /// Closes those that nobody uses any more.
    pub(super) async fn close(&self) {
        for (_, connection) in self.known.lock().await.drain() {
            if let Some(connection) = Arc::into_inner(connection) {
                let now = CancellationToken::new();
                now.cancel();
                connection.close(&now, |text| log::info!("{text}")).await;
            }
        }
    }
}
