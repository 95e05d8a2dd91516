//! A repository in a bucket of S3, Amazon's or any other service's.
//!
//! An object appears as a whole when its upload is over, so nothing half written is ever seen.
//! Nobody can be locked out of a bucket; what that means is in [`crate::daemon`]'s `backups`. A
//! restore reads thousands of small pieces, each of which would be a request: they are read through
//! windows of 4 MiB, of which the last few are kept.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    future::Future,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation,
        ResponseChecksumValidation, http::HttpResponse, retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::{get_object::builders::GetObjectFluentBuilder, put_object::PutObjectError},
    primitives::{ByteStream, DateTime},
    types::Object,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use bytes::Bytes;
use rustic_core::{FileType, Id};
use tokio::runtime::Runtime;

use super::{Storage, file_name};
use crate::{
    error::{Error, ErrorKind, Result},
    files,
    sync::lock,
};

/// How long the service may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the service may take to begin its answer, where little is sent.
const ATTEMPT: Duration = Duration::from_secs(30);
/// How long an upload may take: a pack of 16 MiB over a slow line.
const UPLOAD: Duration = Duration::from_mins(5);
/// So often it is tried, with growing pauses.
const ATTEMPTS: u32 = 4;
/// The first pause before an object whose end was missing is read again; each further one is twice
/// as long.
const PAUSE: Duration = Duration::from_millis(250);
/// Packs are read in windows of so many bytes.
const WINDOW: u32 = 4 << 20;
/// So many windows are kept.
const WINDOWS: usize = 8;
/// From so many packs on, a list of all is less work than to ask for each.
const MANY_PACKS: usize = 50;

/// How S3 is reached.
#[derive(Clone, Default)]
pub(crate) struct S3Options {
    /// The service's address where it is not Amazon's: `https://host:port`.
    pub(crate) endpoint: Option<String>,
    /// The access key's id and the secret key; without them, as the usual AWS settings say
    /// (environment, profile, role).
    pub(crate) key: Option<(String, String)>,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(|_| "(secret)");
        f.debug_struct("S3Options").field("endpoint", &self.endpoint).field("key", &key).finish()
    }
}

type PutError = SdkError<PutObjectError, HttpResponse>;

/// A repository's place in a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    client: Client,
    bucket: String,
    /// What the names of its objects begin with; ends in `/`.
    prefix: String,
    location: String,
    windows: Arc<Mutex<VecDeque<Window>>>,
}

/// A part of a pack, from this offset on; empty until it is read.
#[derive(Debug)]
struct Window {
    pack: Id,
    start: u32,
    content: Arc<Mutex<Option<Bytes>>>,
}

/// Waits for what the service does; the library's threads know no async.
fn wait<T>(future: impl Future<Output = T>) -> Result<T> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let make = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("s3")
            .enable_all()
            .build()
    };
    match RUNTIME.get_or_init(make) {
        Ok(runtime) => Ok(runtime.block_on(future)),
        Err(error) => Err(Error::io("cannot start a thread for S3", error)),
    }
}

impl Bucket {
    /// The repository called `repository` under `path` in a bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(crate) fn new(options: &S3Options, bucket: &str, region: &str, path: &str) -> Result<Self> {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts)
            .region(Region::new(region.to_owned()));
        if let Some((id, key)) = &options.key {
            loader = loader.credentials_provider(Credentials::new(id, key, None, None, "BKUP_S3"));
        }
        if let Some(endpoint) = &options.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let config = wait(loader.load())?;
        let config = aws_sdk_s3::config::Builder::from(&config)
            // Other services have no host name a bucket, and a name with dots fits no certificate.
            .force_path_style(options.endpoint.is_some() || bucket.contains('.'))
            // The signature covers the content; what goes beyond it, not every service understands.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        let path = path.trim_matches('/');
        let folder =
            if path.is_empty() { "repository".to_owned() } else { format!("{path}/repository") };
        let via =
            options.endpoint.as_ref().map(|endpoint| format!(" ({endpoint})")).unwrap_or_default();
        Ok(Self {
            client: Client::from_conf(config),
            bucket: bucket.to_owned(),
            prefix: format!("{folder}/"),
            location: format!("s3://{bucket}@{region}/{folder}{via}"),
            windows: Arc::default(),
        })
    }

    fn object(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A whole object, or a part of it.
    fn get(&self, name: &str, range: Option<(u32, u32)>) -> Result<Bytes> {
        let mut request = self.client.get_object().bucket(&self.bucket).key(self.object(name));
        if let Some((offset, length)) = range {
            request = request
                .range(format!("bytes={offset}-{}", u64::from(offset) + u64::from(length) - 1));
        }
        let got = wait(async {
            let mut pause = PAUSE;
            for _ in 1..ATTEMPTS {
                match self.try_get(name, request.clone(), range.is_some()).await {
                    // Only the answer's beginning is what the library asks for again.
                    Err(error) if error.kind == ErrorKind::Unreachable => {
                        log::debug!("{error}; trying again");
                        tokio::time::sleep(pause).await;
                        pause *= 2;
                    }
                    got => return got,
                }
            }
            self.try_get(name, request, range.is_some()).await
        })?;
        got.map_err(|error| match error.kind {
            ErrorKind::NotFound => Error { kind: ErrorKind::Repository, ..error }
                .with_hint("the repository is damaged; \"restic check\" tells how far"),
            ErrorKind::Unreachable => Error { kind: ErrorKind::Io, ..error },
            _ => error,
        })
    }

    /// [`ErrorKind::Unreachable`] where the answer broke off.
    async fn try_get(
        &self,
        name: &str,
        request: GetObjectFluentBuilder,
        is_part: bool,
    ) -> Result<Bytes> {
        let answer = request
            .send()
            .await
            .map_err(|error| self.explain(&format!("cannot read \"{name}\""), &error))?;
        if is_part && answer.content_range.is_none() {
            let message = format!(
                "a part of \"{name}\" was asked for, and the whole came, from {}",
                self.location
            );
            return Err(Error::new(ErrorKind::Protocol, message)
                .with_hint("does BKUP_S3_ENDPOINT name an S3 service?"));
        }
        let body = answer.body.collect().await;
        body.map(|body| body.into_bytes()).map_err(|error| {
            let message = format!("\"{name}\" from {} broke off: {}", self.location, cause(&error));
            Error::new(ErrorKind::Unreachable, message)
                .with_hint("look at the network, and try again")
        })
    }

    fn put(&self, name: &str, content: Bytes) -> Result<()> {
        self.try_put(name, content, false)
            .map_err(|error| self.explain(&format!("cannot write \"{name}\""), &error))
    }

    /// Writes what must not be there yet. What counts is what is there afterwards: the answer to a
    /// write that was done may have been lost, and some services know no conditions.
    fn put_new(&self, name: &str, content: Bytes) -> Result<()> {
        let mut sent = self.try_put(name, content.clone(), true);
        if let Err(error) = &sent
            && error.code() == Some("NotImplemented")
            && self.head(name)?.is_none()
        {
            sent = self.try_put(name, content.clone(), false);
        }
        let is_there = self.get(name, None);
        match (is_there, sent) {
            (Ok(there), _) if there == content => Ok(()),
            (Ok(_), _) => Err(Error::new(
                ErrorKind::Io,
                format!("\"{name}\" of another host is there already at {}", self.location),
            )),
            (Err(_), Err(error)) => Err(self.explain(&format!("cannot write \"{name}\""), &error)),
            (Err(error), Ok(())) => Err(error),
        }
    }

    fn try_put(
        &self,
        name: &str,
        content: Bytes,
        is_new: bool,
    ) -> std::result::Result<(), Box<PutError>> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(UPLOAD)
            .build();
        let request = self.client.put_object().bucket(&self.bucket).key(self.object(name));
        let request =
            request.content_type("application/octet-stream").body(ByteStream::from(content));
        let request = request.set_if_none_match(is_new.then(|| "*".to_owned())).customize();
        let sent = wait(
            request
                .config_override(aws_sdk_s3::config::Builder::new().timeout_config(timeouts))
                .send(),
        );
        match sent {
            Ok(sent) => sent.map(drop).map_err(Box::new),
            Err(error) => Err(Box::new(SdkError::construction_failure(error))),
        }
    }

    /// An object's size in bytes and its age; `None` where it is not there.
    fn head(&self, name: &str) -> Result<Option<(u64, Option<Duration>)>> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.object(name));
        match wait(request.send())? {
            Ok(found) => {
                let size = found
                    .content_length
                    .and_then(|length| u64::try_from(length).ok())
                    .unwrap_or_default();
                Ok(Some((size, found.last_modified.as_ref().and_then(age))))
            }
            Err(error) => match self.explain(&format!("cannot look at \"{name}\""), &error) {
                error if error.kind == ErrorKind::NotFound => Ok(None),
                // The answer to such a request has no words: to another one the service says what
                // is wrong.
                said => Err(self.walk("keys", |_, _| false).err().unwrap_or(said)),
            },
        }
    }

    /// Hands each object of a folder to `each`, until that says that it was enough.
    fn walk(&self, folder: &str, mut each: impl FnMut(Id, &Object) -> bool) -> Result<()> {
        let mut next: Option<String> = None;
        loop {
            let request = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(self.object(&format!("{folder}/")));
            let page = wait(request.set_continuation_token(next.clone()).send())?;
            let page =
                page.map_err(|error| self.explain(&format!("cannot list \"{folder}\""), &error))?;
            for object in page.contents() {
                let name = object
                    .key()
                    .and_then(|key| key.rsplit('/').next())
                    .filter(|name| name.len() == 64);
                // What has another name is not of the repository.
                if let Some(id) = name.and_then(|name| name.parse().ok())
                    && !each(id, object)
                {
                    return Ok(());
                }
            }
            let behind = page
                .next_continuation_token
                .filter(|token| !token.is_empty() && next.as_ref() != Some(token));
            if behind.is_none() && page.is_truncated == Some(true) {
                // What is not seen would be taken for unused.
                let message = format!(
                    "the list of \"{folder}\" at {} has no end that can be reached",
                    self.location
                );
                return Err(Error::new(ErrorKind::Protocol, message).with_hint(
                    "the service has to know ListObjectsV2: update it, or take another",
                ));
            }
            match behind {
                Some(token) => next = Some(token),
                None => return Ok(()),
            }
        }
    }

    /// A part of a pack, of the window that begins there.
    fn window(&self, pack: &Id, start: u32) -> Result<Bytes> {
        let content = {
            let mut windows = lock(&self.windows);
            let known =
                windows.iter().position(|window| window.pack == *pack && window.start == start);
            let window = known.and_then(|at| windows.remove(at));
            let window =
                window.unwrap_or_else(|| Window { pack: *pack, start, content: Arc::default() });
            if windows.len() >= WINDOWS {
                windows.pop_front();
            }
            let content = window.content.clone();
            windows.push_back(window);
            content
        };
        // Whoever wants the same window waits for it; others do not.
        let mut content = lock(&content);
        if let Some(content) = &*content {
            return Ok(content.clone());
        }
        let read = self.get(&file_name(FileType::Pack, pack), Some((start, WINDOW)))?;
        Ok(content.insert(read).clone())
    }

    /// What went wrong, with what to do about it.
    fn explain<E>(&self, what: &str, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let at = &self.location;
        let Some(service) = error.as_service_error() else {
            let words = DisplayErrorContext(error).to_string();
            let (kind, hint) = match error {
                SdkError::TimeoutError(_) => {
                    (ErrorKind::Io, "look at the network and BKUP_S3_ENDPOINT")
                }
                _ if words.contains("CredentialsNotLoaded") || words.contains("credentials") => (
                    ErrorKind::Configuration,
                    "set BKUP_S3_ACCESS_KEY_ID and BKUP_S3_SECRET_ACCESS_KEY, or what AWS's own tools take a key from",
                ),
                SdkError::ResponseError(_) => {
                    (ErrorKind::Protocol, "does BKUP_S3_ENDPOINT name an S3 service?")
                }
                _ => (
                    ErrorKind::Io,
                    "look at the network, at BKUP_S3_ENDPOINT and at the region in BKUP_BACKUP_URL",
                ),
            };
            let cause = cause(error);
            return Error::new(kind, format!("{what} at {at}: {cause}")).with_hint(hint);
        };
        let status = error.raw_response().map(|answer| answer.status().as_u16());
        let code = service.code().unwrap_or(match status {
            Some(404) => "NotFound",
            Some(403) => "AccessDenied",
            Some(301) => "PermanentRedirect",
            _ => "an error without a code",
        });
        let message = service.message().map(|message| format!(": {message}")).unwrap_or_default();
        let (kind, hint) = match code {
            "NoSuchKey" | "NotFound" => (ErrorKind::NotFound, "it is not there"),
            "NoSuchBucket" => (ErrorKind::Io, "make the bucket first, or correct BKUP_BACKUP_URL"),
            "AccessDenied" | "Forbidden" | "AllAccessDisabled" => (
                ErrorKind::Io,
                "look at the key (BKUP_S3_ACCESS_KEY_ID) and at what it may do: docs/s3.md has the policy",
            ),
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken" => (
                ErrorKind::Io,
                "look at BKUP_S3_ACCESS_KEY_ID and BKUP_S3_SECRET_ACCESS_KEY, or AWS's own settings",
            ),
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => (
                ErrorKind::Io,
                "the bucket is in another region: correct the one in BKUP_BACKUP_URL",
            ),
            "RequestTimeTooSkewed" => (ErrorKind::Io, "set this machine's clock"),
            "InvalidRange" => {
                (ErrorKind::Repository, "the repository is damaged; \"restic check\" tells how far")
            }
            _ if status.is_some_and(|status| status >= 500) => (ErrorKind::Io, "try again later"),
            _ => (ErrorKind::Io, "look at what the service says of it"),
        };
        Error::new(kind, format!("{what} at {at}: {code}{message}")).with_hint(hint)
    }
}

/// The innermost words of an error: what is around them says nothing.
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// [`files::age`] by the service's clock.
fn age(time: &DateTime) -> Option<Duration> {
    SystemTime::try_from(*time).ok().map(files::age)
}

fn size(object: &Object) -> u64 {
    object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default()
}

impl Storage for Bucket {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn make(&self) -> Result<()> {
        Ok(())
    }

    fn list(&self, kind: FileType) -> Result<Vec<(Id, u32)>> {
        let short = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
        if kind == FileType::Config {
            return Ok(self
                .head("config")?
                .map(|(size, _)| (Id::default(), short(size)))
                .into_iter()
                .collect());
        }
        let mut found = Vec::new();
        self.walk(kind.dirname(), |id, object| {
            found.push((id, short(size(object))));
            true
        })?;
        Ok(found)
    }

    fn read(&self, kind: FileType, id: &Id) -> Result<Bytes> {
        self.get(&file_name(kind, id), None)
    }

    fn read_part(&self, kind: FileType, id: &Id, offset: u32, length: u32) -> Result<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        if kind != FileType::Pack || length > WINDOW {
            return self.get(&file_name(kind, id), Some((offset, length)));
        }
        let mut content = Vec::with_capacity(length as usize);
        while content.len() < length as usize {
            let at = offset + content.len() as u32;
            let start = at - at % WINDOW;
            let window = self.window(id, start)?;
            let from = (at - start) as usize;
            let to = window.len().min(from + length as usize - content.len());
            if from >= to {
                let message =
                    format!("\"{}\" at {} is too short", file_name(kind, id), self.location);
                return Err(Error::new(ErrorKind::Repository, message)
                    .with_hint("the repository is damaged; \"restic check\" tells how far"));
            }
            if content.is_empty() && to - from == length as usize {
                return Ok(window.slice(from..to));
            }
            content.extend_from_slice(&window[from..to]);
        }
        Ok(content.into())
    }

    fn write(&self, kind: FileType, id: &Id, parts: &[Bytes]) -> Result<()> {
        let content = match parts {
            [whole] => whole.clone(),
            parts => parts.concat().into(),
        };
        let name = file_name(kind, id);
        if kind == FileType::Config {
            self.put_new(&name, content)
        } else {
            self.put(&name, content)
        }
    }

    fn remove(&self, kind: FileType, id: &Id) -> Result<()> {
        lock(&self.windows).retain(|window| window.pack != *id);
        let name = file_name(kind, id);
        let removed =
            wait(self.client.delete_object().bucket(&self.bucket).key(self.object(&name)).send())?;
        match removed.map_err(|error| self.explain(&format!("cannot remove \"{name}\""), &error)) {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn size(&self, kind: FileType, id: &Id) -> Result<Option<u64>> {
        Ok(self.head(&file_name(kind, id))?.map(|(size, _)| size))
    }

    fn pack_sizes(&self, packs: &HashSet<Id>) -> Result<HashMap<Id, u64>> {
        let mut sizes = HashMap::new();
        if packs.len() < MANY_PACKS {
            for pack in packs {
                sizes.extend(self.size(FileType::Pack, pack)?.map(|size| (*pack, size)));
            }
            return Ok(sizes);
        }
        self.walk("data", |id, object| {
            if packs.contains(&id) {
                sizes.insert(id, size(object));
            }
            true
        })?;
        Ok(sizes)
    }

    fn has_files(&self) -> Result<bool> {
        for folder in ["snapshots", "index", "data"] {
            let mut any = false;
            self.walk(folder, |_, _| {
                any = true;
                false
            })?;
            if any {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn keys(&self) -> Result<Vec<(Id, Option<Duration>)>> {
        let mut keys = Vec::new();
        self.walk("keys", |id, object| {
            keys.push((id, object.last_modified().and_then(age)));
            true
        })?;
        Ok(keys)
    }

    fn remove_leftovers(&self, _: Duration) -> usize {
        // What was not uploaded to its end is not there.
        0
    }

    fn marked(&self, name: &str) -> Result<Option<Duration>> {
        Ok(self.head(name)?.and_then(|(_, age)| age))
    }

    fn mark(&self, name: &str) -> Result<()> {
        self.put(name, Bytes::new())
    }
}
