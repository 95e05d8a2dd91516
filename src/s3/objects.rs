//! The objects below one folder of a bucket: the requests, which are repeated if that helps.

use std::{
    cell::Cell,
    collections::BTreeMap,
    ops::Bound,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation,
        ResponseChecksumValidation, http::HttpResponse, retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        get_object::builders::GetObjectFluentBuilder,
        put_object::{PutObjectError, builders::PutObjectFluentBuilder},
    },
    types::{ChecksumAlgorithm, Object},
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{
    failure::{cause, failure, may_be_for_the_lock, not_removed, status},
    options::{NO_LOCK, ObjectLock, S3Options},
    past::Past,
    told::{age, time},
    upload::{Hash, KnownHash, Upload},
};
use crate::{
    blocking::wait,
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// How long the service may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the service may take to begin its answer to a small request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an upload may take. A pack of 16 MiB must fit through a slow line.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(5);
/// How many attempts a request gets, with growing pauses.
const MOST_ATTEMPTS: u32 = 4;
/// The pause before an object that broke off is read again. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// For so many bytes of an answer there is room before they come.
const LARGEST_AT_ONCE: usize = 64 << 20;

/// The status for a write while another one of the same object goes on.
const CONFLICT: u16 = 409;

type PutError = SdkError<PutObjectError, HttpResponse>;
/// What became of a write.
type Sent = std::result::Result<(), Box<PutError>>;

/// Whether an object must not vanish, so that it is locked where objects are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Yes,
    No,
}

/// How much of an object is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extent {
    /// All of it, if it has no more bytes.
    Whole { most: u64 },
    /// So many bytes from an offset on: less, where it ends before.
    Part(u64, u32),
}

/// The objects below one folder of a bucket. Every method blocks.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    pub(super) client: Client,
    pub(super) bucket: String,
    /// The prefix of the objects' names; it ends in `/`.
    prefix: String,
    location: String,
    /// Whether the service was seen to refuse conditions of a write.
    knows_no_conditions: Arc<AtomicBool>,
    /// Whether the service was seen to refuse a write without a checksum, as Amazon's does where the bucket
    /// locks all objects by itself.
    wants_checksums: Arc<AtomicBool>,
    /// Set where the bucket is looked at as it was.
    pub(super) past: Option<Arc<Past>>,
    pub(super) object_lock: Option<ObjectLock>,
    /// The objects that were written and locked, and until when they are.
    pub(super) locked: Arc<Mutex<BTreeMap<String, Timestamp>>>,
}

impl Objects {
    /// The objects in the folder named `folder` under `path` in a bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn new(
        options: &S3Options,
        bucket: &str,
        region: &str,
        path: &str,
        folder: &str,
    ) -> Result<Self> {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ANSWER_TIMEOUT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .retry_config(RetryConfig::standard().with_max_attempts(MOST_ATTEMPTS))
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
            // Path style: other services may have no host name for each bucket, and wildcard
            // certificates do not cover a bucket's name with dots.
            .force_path_style(options.endpoint.is_some() || bucket.contains('.'))
            // The signature covers the content. Not every service supports a further checksum.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        let path = path.trim_matches('/');
        let folder = if path.is_empty() { folder.to_owned() } else { format!("{path}/{folder}") };
        let via =
            options.endpoint.as_ref().map(|endpoint| format!(" ({endpoint})")).unwrap_or_default();
        Ok(Self {
            client: Client::from_conf(config),
            bucket: bucket.to_owned(),
            prefix: format!("{folder}/"),
            location: format!("s3://{bucket}@{region}/{folder}{via}"),
            knows_no_conditions: Arc::default(),
            wants_checksums: Arc::default(),
            past: None,
            object_lock: options.object_lock,
            locked: Arc::default(),
        })
    }

    /// The objects as they were at a time. Nothing is sent yet.
    pub(crate) fn at_time(self, at: Timestamp) -> Self {
        let location = format!("{} as of {at}", self.location);
        Self { past: Some(Arc::new(Past::new(at))), location, ..self }
    }

    /// Where the objects are, for people.
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    pub(super) fn object(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A whole object, or a part of it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such object; [`ErrorKind::Repository`] if it has more bytes than
    /// it may have.
    pub(crate) fn get(&self, name: &str, extent: Extent) -> Result<Bytes> {
        let version = self.past_object(name)?.map(|object| object.version);
        let request = self.client.get_object().bucket(&self.bucket).key(self.object(name));
        let mut request = request.set_version_id(version);
        if let Extent::Part(offset, length) = extent {
            let last = offset + u64::from(length) - 1;
            request = request.range(format!("bytes={offset}-{last}"));
        }
        let got = wait(async {
            let mut pause = FIRST_PAUSE;
            for _ in 1..MOST_ATTEMPTS {
                match self.try_get(name, request.clone(), extent).await {
                    // The client repeats a request only until an answer begins.
                    Err(error) if error.kind == ErrorKind::Unreachable => {
                        log::debug!("{error}; trying again");
                        tokio::time::sleep(pause).await;
                        pause *= 2;
                    }
                    got => return got,
                }
            }
            self.try_get(name, request, extent).await
        })?;
        got.map_err(|error| match error.kind {
            ErrorKind::Unreachable => Error { kind: ErrorKind::Io, ..error },
            _ => error,
        })
    }

    /// The error is [`ErrorKind::Unreachable`] if the answer broke off.
    async fn try_get(
        &self,
        name: &str,
        request: GetObjectFluentBuilder,
        extent: Extent,
    ) -> Result<Bytes> {
        let answer = request
            .send()
            .await
            .map_err(|error| self.failure(&format!("cannot read \"{name}\""), &error))?;
        let most = match extent {
            Extent::Whole { most } => most,
            Extent::Part(_, length) => length.into(),
        };
        if matches!(extent, Extent::Part(..)) && answer.content_range.is_none() {
            let message = format!(
                "a part of \"{name}\" was asked for, and the whole came, from {}",
                self.location
            );
            return Err(Error::new(ErrorKind::Protocol, message)
                .with_hint("does BKUP_S3_ENDPOINT name an S3 service?"));
        }
        let too_large = || {
            let message = format!("\"{name}\" at {} has more than {most} bytes", self.location);
            Error::new(ErrorKind::Repository, message)
        };
        if answer
            .content_length
            .is_some_and(|length| u64::try_from(length).is_ok_and(|it| it > most))
        {
            return Err(too_large());
        }
        let length = answer.content_length.and_then(|length| usize::try_from(length).ok());
        let mut content = Vec::with_capacity(length.unwrap_or_default().min(LARGEST_AT_ONCE));
        let mut body = answer.body;
        // Not collected first: that would take the memory twice.
        while let Some(piece) = body.try_next().await.map_err(|error| {
            let message = format!("\"{name}\" from {} broke off: {}", self.location, cause(&error));
            Error::new(ErrorKind::Unreachable, message)
                .with_hint("look at the network, and try again")
        })? {
            content.extend_from_slice(&piece);
            if content.len() as u64 > most {
                return Err(too_large());
            }
        }
        Ok(content.into())
    }

    /// Writes an object whose name nothing else has, as where it is the content's hash. What is there
    /// already is not written again: it is what an attempt wrote whose answer was lost. `hash` is the
    /// SHA-256 of the content.
    ///
    /// # Errors
    /// If it can't be written, or something of another size is there.
    pub(crate) fn put(&self, name: &str, content: Bytes, hash: Hash) -> Result<()> {
        let length = content.len() as u64;
        self.put_upload((name, Keep::No), length, &|| Ok(Upload::of(content.clone(), hash)))
    }

    /// As [`Objects::put`], for an object that is locked where objects are to be.
    pub(crate) fn put_to_keep(&self, name: &str, content: Bytes, hash: Hash) -> Result<()> {
        let length = content.len() as u64;
        self.put_upload((name, Keep::Yes), length, &|| Ok(Upload::of(content.clone(), hash)))
    }

    /// As [`Objects::put_to_keep`], with the content of a file, which is never in memory as a whole.
    ///
    /// Returns whether the content has this SHA-256; if not, there is no object.
    pub(crate) fn put_file(&self, name: &str, file: &Path, hash: Hash) -> Result<bool> {
        let (first, check) = wait(Upload::of_file(file, hash))??;
        if check.has_failed() {
            return Ok(false);
        }
        let length = first.length();
        let first = Cell::new(Some(first));
        let upload = || match first.take() {
            Some(first) => Ok(first),
            None => wait(Upload::of_file_again(file, hash, &check))?,
        };
        match self.put_upload((name, Keep::Yes), length, &upload) {
            Err(_) if check.has_failed() => Ok(false),
            written => written.map(|()| true),
        }
    }

    /// Writes what nothing is to be there of. A bucket's policy may demand that each write says so.
    fn put_upload(
        &self,
        (name, keep): (&str, Keep),
        length: u64,
        upload: &dyn Fn() -> Result<Upload>,
    ) -> Result<()> {
        self.refuse_past()?;
        let failed = |error: &PutError| self.not_written((name, keep), error);
        let has_conditions = !self.knows_no_conditions.load(Ordering::Relaxed);
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=MOST_ATTEMPTS {
            let error = match self.try_put((name, keep), upload, has_conditions)? {
                Ok(()) => return Ok(()),
                Err(error) if !has_conditions => return Err(failed(&error)),
                Err(error) => error,
            };
            if lacks_conditions(&error) {
                self.try_put((name, keep), upload, false)?.map_err(|error| failed(&error))?;
                self.knows_no_conditions.store(true, Ordering::Relaxed);
                return Ok(());
            }
            let status = status(&error);
            if !matches!(status, Some(403 | CONFLICT | 412)) {
                return Err(failed(&error));
            }
            let there = match self.head(name) {
                // The key may not look either: that the write was refused is what counts.
                Err(_) if status == Some(403) => return Err(failed(&error)),
                there => there?,
            };
            match there {
                Some((size, _)) if size == length => return Ok(()),
                Some((size, _)) => return Err(self.is_anothers(name, (size, length))),
                // Another write of it goes on, as one of an attempt before; or another removed what was there.
                None if matches!(status, Some(CONFLICT | 412)) && attempt < MOST_ATTEMPTS => {
                    wait(tokio::time::sleep(pause))?;
                    pause *= 2;
                }
                None => return Err(failed(&error)),
            }
        }
        Err(Error::internal("a write has no attempts left"))
    }

    fn not_written(&self, (name, keep): (&str, Keep), error: &PutError) -> Error {
        let failed = self.failure(&format!("cannot write \"{name}\""), error);
        let is_locked = keep == Keep::Yes && self.object_lock.is_some();
        match is_locked && may_be_for_the_lock(error) {
            true => failed.with_hint(NO_LOCK),
            false => failed,
        }
    }

    fn is_anothers(&self, name: &str, (size, length): (u64, u64)) -> Error {
        let message = format!(
            "\"{name}\" at {} is there already, with {size} bytes in place of {length}",
            self.location
        );
        Error::new(ErrorKind::Io, message).with_hint("look at it, and who wrote it")
    }

    /// Writes an object that must not exist yet. What is there afterwards decides, because the
    /// answer to a successful write can get lost, and some services do not support conditions.
    pub(crate) fn put_new(&self, name: &str, content: Bytes) -> Result<()> {
        self.refuse_past()?;
        let hash = Sha256::digest(&content).into();
        let upload = || Ok(Upload::of(content.clone(), hash));
        let mut sent = self.try_put((name, Keep::Yes), &upload, true)?;
        if let Err(error) = &sent
            && lacks_conditions(error)
            && self.head(name).is_ok_and(|there| there.is_none())
        {
            sent = self.try_put((name, Keep::Yes), &upload, false)?;
        }
        let is_there = self.get(name, Extent::Whole { most: LARGEST_AT_ONCE as u64 });
        match (is_there, sent) {
            (Ok(there), _) if there == content => Ok(()),
            (Ok(_), _) => Err(Error::new(
                ErrorKind::Io,
                format!("\"{name}\" of another host is there already at {}", self.location),
            )),
            (Err(_), Err(error)) => Err(self.not_written((name, Keep::Yes), &error)),
            (Err(error), Ok(())) => Err(error),
        }
    }

    /// Sends a write; without a checksum first, if the service is not known to want one.
    ///
    /// # Errors
    /// If there is nothing to send.
    fn try_put(
        &self,
        (name, keep): (&str, Keep),
        upload: &dyn Fn() -> Result<Upload>,
        is_new: bool,
    ) -> Result<Sent> {
        let wants_checksums = self.wants_checksums.load(Ordering::Relaxed);
        if self.object_lock.is_some() || wants_checksums {
            return Ok(self.send((name, keep), upload()?, (is_new, true)));
        }
        let sent = self.send((name, keep), upload()?, (is_new, false));
        if !matches!(&sent, Err(error) if lacks_checksum(error)) {
            return Ok(sent);
        }
        let again = self.send((name, keep), upload()?, (is_new, true));
        match &again {
            Ok(()) => self.wants_checksums.store(true, Ordering::Relaxed),
            // It was not for the checksum.
            Err(error) if status(error) == Some(400) => return Ok(sent),
            Err(_) => {}
        }
        Ok(again)
    }

    fn send(
        &self,
        (name, keep): (&str, Keep),
        upload: Upload,
        (is_new, has_checksum): (bool, bool),
    ) -> Sent {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(UPLOAD_TIMEOUT)
            .build();
        let request = self.client.put_object().bucket(&self.bucket).key(self.object(name));
        let request = if has_checksum { checked(request, &upload.hash) } else { request };
        let (request, until) = match keep {
            Keep::Yes => self.locking(request),
            Keep::No => (request, None),
        };
        let request = request.content_type("application/octet-stream").body(upload.body);
        let request = request.set_if_none_match(is_new.then(|| "*".to_owned())).customize();
        let request = request.interceptor(KnownHash(upload.hash));
        let config = aws_sdk_s3::config::Builder::new().timeout_config(timeouts);
        let sent = wait(request.config_override(config).send());
        match sent {
            Ok(Ok(_)) => {
                lock(&self.locked).extend(until.map(|until| (name.to_owned(), until)));
                Ok(())
            }
            Ok(Err(error)) => Err(Box::new(error)),
            Err(error) => Err(Box::new(SdkError::construction_failure(error))),
        }
    }

    /// An object's size in bytes and its age; `None` if there is no such object.
    pub(crate) fn head(&self, name: &str) -> Result<Option<(u64, Option<Duration>)>> {
        if let Some(there) = self.past()? {
            let object = there.get(&self.object(name));
            return Ok(object.map(|object| (object.size, age(&object.written))));
        }
        let request = self.client.head_object().bucket(&self.bucket).key(self.object(name));
        match wait(request.send())? {
            Ok(found) => {
                let size = found
                    .content_length
                    .and_then(|length| u64::try_from(length).ok())
                    .unwrap_or_default();
                Ok(Some((size, found.last_modified.as_ref().and_then(age))))
            }
            Err(error) => match self.failure(&format!("cannot look at \"{name}\""), &error) {
                error if error.kind == ErrorKind::NotFound => Ok(None),
                // The answer to a HEAD request has no words. The answer to a list request says what
                // is wrong.
                said => Err(self.list(name, |_, _| false).err().unwrap_or(said)),
            },
        }
    }

    /// How long ago an object was written, by this host's clock. `None` if there is no such object,
    /// or if that time is still to come.
    pub(crate) fn written_ago(&self, name: &str) -> Result<Option<Duration>> {
        if let Some(there) = self.past()? {
            let object = there.get(&self.object(name));
            return Ok(object.and_then(|object| age(&object.written)));
        }
        let request = self.client.head_object().bucket(&self.bucket).key(self.object(name));
        match wait(request.send())? {
            Ok(found) => Ok(found
                .last_modified
                .and_then(|time| SystemTime::try_from(time).ok())
                .and_then(|time| time.elapsed().ok())),
            Err(error) => match self.failure(&format!("cannot look at \"{name}\""), &error) {
                error if error.kind == ErrorKind::NotFound => Ok(None),
                said => Err(said),
            },
        }
    }

    /// When an object was written, by the service's clock. `None` if there is no such object.
    pub(crate) fn written_at(&self, name: &str) -> Result<Option<Timestamp>> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.object(name));
        match wait(request.send())? {
            Ok(found) => Ok(found.last_modified.as_ref().and_then(time)),
            Err(error) => match self.failure(&format!("cannot look at \"{name}\""), &error) {
                error if error.kind == ErrorKind::NotFound => Ok(None),
                said => Err(said),
            },
        }
    }

    /// Passes each object below a folder to `each`, with its name in its own folder, until `each`
    /// returns `false`.
    pub(crate) fn list(
        &self,
        folder: &str,
        mut each: impl FnMut(&str, &Object) -> bool,
    ) -> Result<()> {
        if let Some(there) = self.past()? {
            let prefix = self.object(&format!("{folder}/"));
            let from = (Bound::Included(prefix.clone()), Bound::Unbounded);
            for (key, object) in there.range(from).take_while(|(key, _)| key.starts_with(&prefix)) {
                let name = key.rsplit('/').next();
                if !name.is_none_or(|name| each(name, &object.listed(key))) {
                    break;
                }
            }
            return Ok(());
        }
        let mut next: Option<String> = None;
        loop {
            let request = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(self.object(&format!("{folder}/")));
            let page = wait(request.set_continuation_token(next.clone()).send())?;
            let page =
                page.map_err(|error| self.failure(&format!("cannot list \"{folder}\""), &error))?;
            for object in page.contents() {
                let name = object.key().and_then(|key| key.rsplit('/').next());
                if !name.is_none_or(|name| each(name, object)) {
                    return Ok(());
                }
            }
            let behind = page
                .next_continuation_token
                .filter(|token| !token.is_empty() && next.as_ref() != Some(token));
            if behind.is_none() && page.is_truncated == Some(true) {
                // An incomplete list would make objects that are in use look unused.
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

    /// Removes an object. A missing object is not an error.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the key may not delete it.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.refuse_past()?;
        let request = self.client.delete_object().bucket(&self.bucket).key(self.object(name));
        let removed = wait(request.send())?;
        match removed.map_err(|error| not_removed(name, &self.location, &error)) {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn failure<E>(&self, what: &str, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        failure(&format!("{what} at {}", self.location), error)
    }
}

/// The request with the SHA-256 of what it writes. A lock needs one.
fn checked(request: PutObjectFluentBuilder, hash: &Hash) -> PutObjectFluentBuilder {
    let request = request.checksum_algorithm(ChecksumAlgorithm::Sha256);
    request.checksum_sha256(STANDARD.encode(hash))
}

/// Whether it may be that the service demands a checksum of a write: Amazon's words for it are no code of
/// their own.
fn lacks_checksum(error: &PutError) -> bool {
    const CODES: [&str; 3] = ["", "InvalidRequest", "MissingContentMD5"];
    status(error) == Some(400) && CODES.contains(&error.code().unwrap_or_default())
}

/// Whether the service knows no condition of a write. An error for other reasons is one without the
/// condition, too.
fn lacks_conditions(error: &PutError) -> bool {
    let code = error.code().unwrap_or_default();
    match status(error) {
        Some(501) => true,
        Some(400) => ["", "NotImplemented", "InvalidArgument", "InvalidRequest", "BadRequest"]
            .contains(&code),
        _ => code == "NotImplemented",
    }
}
