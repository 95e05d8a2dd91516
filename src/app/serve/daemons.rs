//! The daemons that the crontab's lines use: mostly one, that all of them share.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{Mutex, OnceCell};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{Connection, connect},
    config::Config,
    error::Result,
    progress,
};

/// The daemons that the crontab's lines use: mostly one.
#[derive(Default)]
pub(super) struct Daemons(Mutex<HashMap<DaemonKey, Arc<OnceCell<Arc<Connection>>>>>);

/// Which daemon: its address, the S3 service it is told to use, the repositories' password, and the host in backups.
type DaemonKey = (String, Option<String>, Option<String>, String);

impl Daemons {
    pub(super) async fn get(&self, config: &Config) -> Result<Arc<Connection>> {
        let password = config.repository_password.as_ref().map(|password| password.expose().to_owned());
        let key = (config.daemon().0.to_string(), config.s3_endpoint.clone(), password, config.host_name());
        // One that takes its time keeps only those waiting that want it.
        let cell = self.0.lock().await.entry(key).or_default().clone();
        let connect = async { connect(config, progress::none()).await.map(Arc::new) };
        cell.get_or_try_init(|| connect).await.cloned()
    }

    /// Closes those that nobody uses any more.
    pub(super) async fn close(&self) {
        for (_, cell) in self.0.lock().await.drain() {
            let connection = Arc::into_inner(cell).and_then(OnceCell::into_inner);
            if let Some(connection) = connection.and_then(Arc::into_inner) {
                let now = CancellationToken::new();
                now.cancel();
                connection.close(&now, |text| log::info!("{text}")).await;
            }
        }
    }
}
