//! The client of Convoy's unix socket. It has one method per route, and every call goes through one
//! function.
//!
//! [`unix_http`](crate::unix_http) sends one request and reads its answer over one connection. This file decides
//! whether another attempt follows. A read is tried again while the daemon restarts. A write is
//! sent at most once: it is repeated only if no connection was made. [`answer`] turns the daemon's
//! answer into values or errors.

mod advice;
mod answer;
mod call;
mod content;
#[cfg(test)]
mod ebs_transcript_tests;
mod failure;
#[cfg(test)]
mod fault_tests;
mod inspection;
#[cfg(test)]
mod transcript_tests;

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::inside::{Content, Look, ReadFile, Seen};
use super::{
    AsItIs, Backup, BackupUrl, Capabilities, Changes, Daemon, Destination, DriverInfo, GivenBack,
    Info, Mount, Name, NewVolume, Quiesced, REQUIRED, ReadBack, Snapshot, VOLUME_ID, Volume,
    WasReadBack, identity, route,
};
use crate::{
    error::{ErrorKind, Result},
    scope,
    unix_http::{Failure, is_another_file},
};
use answer::{Forgotten, MountsInside, Read, Used};
pub(crate) use call::Deadlines;
use call::{Call, pauses};
use failure::{error_of, may_be_restarting};

/// How long attempts are repeated before the log mentions it.
const SILENT_RETRY_TIME: Duration = Duration::from_secs(1);

/// The settings of a [`Client`].
#[derive(Debug, Clone)]
pub(crate) struct ClientOptions {
    /// Convoy's socket.
    pub(crate) socket: PathBuf,
    /// The S3 endpoint that Convoy uses instead of Amazon's. It is sent with every call about
    /// backups on S3, and with no other: Convoy refuses it there.
    pub(crate) endpoint: Option<String>,
    /// How long calls may take.
    pub(crate) deadlines: Deadlines,
}

/// How the client waits between two attempts: it sleeps, or does what a test says.
type Wait = Arc<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A daemon behind a unix socket. Each call has a connection of its own.
#[derive(Clone)]
pub(crate) struct Client {
    options: ClientOptions,
    wait: Wait,
    /// Set once the socket was found.
    identity: OnceLock<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the socket in `options`. Nothing is sent yet.
    pub(crate) fn new(options: ClientOptions) -> Self {
        let wait: Wait = Arc::new(|pause| Box::pin(tokio::time::sleep(pause)));
        Self { options, wait, identity: OnceLock::new() }
    }

    fn deadlines(&self) -> &Deadlines {
        &self.options.deadlines
    }

    /// The fields with which every call about backups begins.
    fn backup_fields(&self, url: &str, destination: &Destination) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("URL".into(), url.into());
        if let Some(endpoint) = self.endpoint(destination) {
            fields.insert("Endpoint".into(), endpoint.into());
        }
        fields
    }

    /// The S3 endpoint for calls about this destination, if one is set and the destination is on
    /// S3.
    fn endpoint(&self, destination: &Destination) -> Option<&str> {
        self.options.endpoint.as_deref().filter(|_| destination.is_s3())
    }

    fn get(&self, route: &'static str, body: Option<Value>, deadline: Duration) -> Call {
        Call { method: Method::GET, route, body, deadline }
    }

    fn post(&self, route: &'static str, body: Value, deadline: Duration) -> Call {
        Call { method: Method::POST, route, body: Some(body), deadline }
    }

    fn delete(&self, route: &'static str, body: Value) -> Call {
        Call {
            method: Method::DELETE,
            route,
            body: Some(body),
            deadline: self.deadlines().long_write,
        }
    }

    /// Sends the call, repeats it as often as is safe, and returns the body of a 200 answer.
    async fn send(&self, call: Call) -> Result<Vec<u8>> {
        let request = call.request();
        let started = Instant::now();
        let mut pauses = pauses(self.deadlines().restart);
        let mut said = false;
        loop {
            let failure = match call.exchange(&self.options.socket, self.deadlines().connect).await
            {
                Ok(answer) => {
                    return answer::accept(answer).map_err(|error| error.with_request(request));
                }
                Err(failure) => failure,
            };
            let again = match &failure {
                Failure::NotConnected(error) => {
                    may_be_restarting(error) && !is_another_file(&self.options.socket)
                }
                Failure::Broken(_) => !call.is_write() && started.elapsed() < call.deadline,
                Failure::ConnectDeadline
                | Failure::Deadline
                | Failure::NotHttp(_)
                | Failure::TooLarge => false,
            };
            match pauses.next() {
                // What is sent after its run is over would be bound to nothing.
                Some(pause) if again && !scope::is_ended() => {
                    // A short interruption needs no message. After a longer one, the log says what
                    // is waited for.
                    if !said && started.elapsed() >= SILENT_RETRY_TIME {
                        said = true;
                        log::warn!(
                            "{request}: {failure}; trying again for {} s in all",
                            self.deadlines().restart.as_secs()
                        );
                    }
                    log::debug!("{request}: {failure}; trying again in {} ms", pause.as_millis());
                    (self.wait)(pause).await;
                }
                _ => {
                    let (socket, connect) = (&self.options.socket, self.deadlines().connect);
                    return Err(error_of(&failure, &call, socket, connect).with_request(request));
                }
            }
        }
    }

    async fn json<T: serde::de::DeserializeOwned>(&self, call: Call) -> Result<T> {
        let request = call.request();
        let body = self.send(call).await?;
        answer::json(&body).map_err(|error| error.with_request(request))
    }

    /// The answer of a route that our server has; `None` from Convoy, which has no such route.
    async fn beyond_convoy<T: serde::de::DeserializeOwned>(&self, call: Call) -> Result<Option<T>> {
        match self.json(call).await {
            Err(error) if error.status == Some(404) => Ok(None),
            answer => answer.map(Some),
        }
    }

    async fn nothing(&self, call: Call) -> Result<()> {
        let request = call.request();
        let body = self.send(call).await?;
        answer::nothing(&body).map_err(|error| error.with_request(request))
    }
}

#[async_trait]
impl Daemon for Client {
    fn identity(&self) -> String {
        let socket = &self.options.socket;
        // The target of a link is gone while the daemon is down.
        match self.identity.get() {
            Some(known) => known.clone(),
            None if socket.exists() => {
                self.identity.get_or_init(|| identity::of_socket(socket)).clone()
            }
            None => identity::of_socket(socket),
        }
    }

    fn description(&self) -> String {
        format!("Convoy at {}", self.options.socket.display())
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        let call = self.get(route::CAPABILITIES, None, self.deadlines().quick_read);
        match self.json(call).await {
            // Whatever refuses the request or answers something else has none of our routes.
            Err(error) if error.status.is_some() || error.kind == ErrorKind::Protocol => {
                Ok(Capabilities::CONVOY)
            }
            answer => answer,
        }
    }

    async fn is_used(&self, destination: &Destination) -> Result<Option<bool>> {
        let body = self.backup_fields(&destination.to_string(), destination);
        let call = self.get(route::BACKUPS_USED, Some(body.into()), self.deadlines().listing);
        Ok(self.beyond_convoy::<Used>(call).await?.and_then(|answer| answer.used))
    }

    async fn mounts_in_volume(&self, volume: &Name) -> Result<Option<Vec<String>>> {
        let body = json!({ "VolumeName": volume.as_str() });
        let call = self.get(route::VOLUMES_MOUNTS, Some(body), self.deadlines().quick_read);
        Ok(self.beyond_convoy::<MountsInside>(call).await?.and_then(|answer| answer.mounts))
    }

    async fn changes_since(&self, volume: &Name, backup: &BackupUrl) -> Result<Changes> {
        let body = json!({ "VolumeName": volume.as_str(), "URL": backup.to_string() });
        // All files of the volume are looked at.
        let call = self.get(route::VOLUMES_CHANGES, Some(body), self.deadlines().long_write);
        Ok(self.beyond_convoy(call).await?.unwrap_or(Changes::Unknown))
    }

    async fn info(&self) -> Result<Info> {
        self.json(self.get("/info", None, self.deadlines().quick_read)).await
    }

    async fn volumes(&self) -> Result<BTreeMap<String, Volume>> {
        self.json(self.get("/volumes/list", None, self.deadlines().listing)).await
    }

    async fn driver_volumes(&self) -> Result<BTreeMap<String, DriverInfo>> {
        self.json(self.get("/volumes/list?driver=1", None, self.deadlines().listing)).await
    }

    async fn forgotten_volumes(&self) -> Result<Option<BTreeMap<String, Volume>>> {
        let call = self.get(route::VOLUMES_FORGOTTEN, None, self.deadlines().listing);
        Ok(self.beyond_convoy::<Forgotten>(call).await?.and_then(|answer| answer.volumes))
    }

    async fn volume(&self, name: &Name) -> Result<Volume> {
        let body = json!({ "VolumeName": name.as_str() });
        self.json(self.get("/volumes/", Some(body), self.deadlines().listing)).await
    }

    async fn create_volume(&self, volume: &NewVolume) -> Result<Volume> {
        let mut body = Map::new();
        body.insert("Name".into(), volume.name.as_str().into());
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(key.into(), value);
            }
        };
        set("DriverName", volume.driver.clone().map(Value::from));
        set("Size", volume.size.map(Value::from));
        set("BackupURL", volume.backup.as_ref().map(|url| url.to_string().into()));
        let from = volume.backup.as_ref().map(BackupUrl::destination);
        set("Endpoint", from.as_ref().and_then(|from| self.endpoint(from)).map(Value::from));
        set("DriverVolumeID", volume.driver_volume_id.clone().map(Value::from));
        set("Type", volume.volume_type.clone().map(Value::from));
        set("IOPS", volume.iops.map(Value::from));
        set("PrepareForVM", volume.prepare_for_vm.then_some(true.into()));
        set("Verbose", Some(true.into()));
        let Deadlines { quick_write, long_write, .. } = *self.deadlines();
        let deadline = if volume.backup.is_some() { long_write } else { quick_write };
        self.json(self.post("/volumes/create", body.into(), deadline)).await
    }

    async fn mount_volume(&self, name: &Name, mount_point: Option<&str>) -> Result<Mount> {
        let mut body = json!({ "VolumeName": name.as_str(), "Verbose": true });
        if let Some(mount_point) = mount_point {
            body["MountPoint"] = mount_point.into();
        }
        self.json(self.post("/volumes/mount", body, self.deadlines().quick_write)).await
    }

    async fn unmount_volume(&self, name: &Name) -> Result<()> {
        let body = json!({ "VolumeName": name.as_str() });
        self.nothing(self.post("/volumes/umount", body, self.deadlines().quick_write)).await
    }

    async fn delete_volume(
        &self,
        name: &Name,
        id: Option<&str>,
        reference_only: bool,
    ) -> Result<()> {
        let mut body = json!({ "VolumeName": name.as_str() });
        if reference_only {
            body["ReferenceOnly"] = true.into();
        }
        if let Some(id) = id {
            body[VOLUME_ID] = id.into();
        }
        self.nothing(self.delete("/volumes/", body)).await
    }

    async fn create_snapshot(&self, volume: &Name, name: &Name) -> Result<Snapshot> {
        let body = json!({ "Name": name.as_str(), "VolumeName": volume.as_str(), "Verbose": true });
        self.json(self.post("/snapshots/create", body, self.deadlines().long_write)).await
    }

    async fn snapshot(&self, name: &Name) -> Result<Snapshot> {
        let body = json!({ "SnapshotName": name.as_str() });
        self.json(self.get("/snapshots/", Some(body), self.deadlines().quick_read)).await
    }

    async fn delete_snapshot(&self, name: &Name) -> Result<()> {
        self.nothing(self.delete("/snapshots/", json!({ "SnapshotName": name.as_str() }))).await
    }

    async fn backups(
        &self,
        destination: &Destination,
        volume: Option<&Name>,
    ) -> Result<Vec<Backup>> {
        let mut body = self.backup_fields(&destination.to_string(), destination);
        if let Some(volume) = volume {
            body.insert("VolumeName".into(), volume.as_str().into());
        }
        let call = self.get("/backups/list", Some(body.into()), self.deadlines().listing);
        Ok(answer::backups(self.json(call).await?))
    }

    async fn backup(&self, url: &BackupUrl) -> Result<Backup> {
        let body = self.backup_fields(&url.to_string(), &url.destination());
        let call = self.get("/backups/inspect", Some(body.into()), self.deadlines().quick_read);
        Ok(self.json::<Backup>(call).await?.with_url(url))
    }

    async fn inspect_backups(&self, urls: &[BackupUrl]) -> Result<Vec<Result<Backup>>> {
        match self.inspect_at_once(urls).await? {
            Some(inspected) => Ok(inspected),
            None => self.inspect_one_by_one(urls).await,
        }
    }

    async fn read_back(
        &self,
        destination: &Destination,
        what: &ReadBack,
    ) -> Result<Option<WasReadBack>> {
        let mut body = self.backup_fields(&destination.to_string(), destination);
        if let Some(volume) = &what.volume {
            body.insert("VolumeName".into(), volume.as_str().into());
        }
        if let Some(since) = what.since {
            body.insert("Since".into(), since.to_string().into());
        }
        if let Some(most) = what.most {
            body.insert("Most".into(), most.into());
        }
        let call = self.get(route::BACKUPS_READ, Some(body.into()), self.deadlines().listing);
        Ok(self.beyond_convoy::<Read>(call).await?.and_then(|answer| answer.read))
    }

    async fn look(&self, what: &Look) -> Result<Option<Seen>> {
        let call = self.get(route::BACKUPS_LOOK, Some(json!(what)), self.deadlines().listing);
        self.beyond_convoy(call).await
    }

    async fn content(&self, what: &ReadFile) -> Result<Option<Content>> {
        let call = self.get(route::BACKUPS_CONTENT, Some(json!(what)), self.deadlines().listing);
        content::open(call, &self.options.socket, self.deadlines().connect).await
    }

    async fn create_backup(&self, snapshot: &Name, destination: &Destination) -> Result<BackupUrl> {
        let mut body = self.backup_fields(&destination.to_string(), destination);
        body.insert("SnapshotName".into(), snapshot.as_str().into());
        body.insert("Verbose".into(), true.into());
        let call = self.post("/backups/create", body.into(), self.deadlines().long_write);
        let request = call.request();
        let body = self.send(call).await?;
        answer::backup_url(&body).map_err(|error| error.with_request(request))
    }

    async fn back_up(
        &self,
        volumes: &[AsItIs],
        destination: &Destination,
    ) -> Result<Vec<Result<BackupUrl>>> {
        let mut body = self.backup_fields(&destination.to_string(), destination);
        let names = |name: fn(&AsItIs) -> &Name| -> Value {
            volumes.iter().map(|volume| Value::from(name(volume).as_str())).collect()
        };
        body.insert("VolumeNames".into(), names(|volume| &volume.volume));
        body.insert("SnapshotNames".into(), names(|volume| &volume.snapshot));
        let each = u32::try_from(volumes.len()).unwrap_or(u32::MAX).max(1);
        let deadline = self.deadlines().long_write.saturating_mul(each);
        let call = self.post(route::VOLUMES_BACKUP, body.into(), deadline);
        let request = call.request();
        let body = self.send(call).await?;
        answer::backup_urls(&body, volumes.len()).map_err(|error| error.with_request(request))
    }

    async fn quiesce(&self, volumes: &[Name]) -> Result<Quiesced> {
        let names: Vec<_> = volumes.iter().map(Name::as_str).collect();
        let body = json!({ "VolumeNames": names });
        let call = self.post(route::VOLUMES_QUIESCE, body, self.deadlines().long_write);
        let request = call.request();
        let body = self.send(call).await?;
        answer::json(&body).map_err(|error| error.with_request(request))
    }

    async fn let_go_on(&self, id: &str) -> Result<()> {
        let body = json!({ "ID": id });
        let deadline = self.deadlines().long_write;
        self.nothing(self.post(route::VOLUMES_RELEASE, body, deadline)).await
    }

    async fn run_in_container(&self, container: &str, command: &str) -> Result<()> {
        let body = json!({ "Container": container, "Command": command });
        let deadline = self.deadlines().long_write;
        self.nothing(self.post(route::CONTAINERS_EXEC, body, deadline)).await
    }

    async fn give_back(&self, destination: &Destination) -> Result<Option<GivenBack>> {
        let body = self.backup_fields(&destination.to_string(), destination);
        let deadline = self.deadlines().long_write;
        let call = self.post(route::BACKUPS_GIVE_BACK, body.into(), deadline);
        Ok(self.beyond_convoy::<Option<GivenBack>>(call).await?.flatten())
    }

    async fn delete_backup(&self, url: &BackupUrl, required: &[BackupUrl]) -> Result<()> {
        let mut body = self.backup_fields(&url.to_string(), &url.destination());
        if !required.is_empty() {
            let required: Vec<_> = required.iter().map(ToString::to_string).collect();
            body.insert(REQUIRED.into(), required.into());
        }
        self.nothing(self.delete("/backups", body.into())).await
    }
}
