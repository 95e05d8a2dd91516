//! What the protocol says of objects, their versions, and lists of both.

use std::{collections::BTreeMap, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use md5::Digest as _;
use sha2::{Digest, Sha256};

use super::{Answer, KEY_ID, Request, State, WEAK_KEY_ID, refused};

/// So many objects are listed at a time.
const PAGE: usize = 3;

/// An object's versions, the newest at the end.
#[derive(Default)]
pub(super) struct Object(pub(super) Vec<Version>);

pub(super) struct Version {
    id: String,
    /// `None`: the object was removed.
    content: Option<Vec<u8>>,
    time: Timestamp,
    /// The end of its lock.
    pub(super) locked: Option<Timestamp>,
    /// The mode of its lock, as the service calls it.
    mode: String,
}

impl Version {
    /// One of a bucket that keeps no versions.
    pub(super) fn of(content: Option<Vec<u8>>, time: Timestamp) -> Self {
        Self { id: "null".into(), content, time, locked: None, mode: String::new() }
    }
}

impl Object {
    pub(super) fn content(&self) -> Option<&[u8]> {
        self.0.last()?.content.as_deref()
    }

    pub(super) fn make_older(&mut self, by: SignedDuration) {
        self.0.iter_mut().for_each(|version| version.time -= by);
    }

    fn version(&self, id: Option<&String>) -> Option<&Version> {
        match id {
            Some(id) => self.0.iter().find(|version| version.id == *id),
            None => self.0.last(),
        }
    }
}

impl State {
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::now() + self.ahead
    }

    pub(super) fn write(&mut self, name: String, content: Option<Vec<u8>>) {
        let (time, is_versioned) = (self.now(), self.is_versioned);
        self.versions += 1;
        let object = self.objects.entry(name).or_default();
        let mut version = Version::of(content, time);
        if is_versioned {
            version.id = format!("version-{}", self.versions);
        } else {
            object.0.retain(|version| version.id != "null");
        }
        if is_versioned || version.content.is_some() {
            object.0.push(version);
        }
    }
}

/// Whether the weak key may do this.
fn is_allowed_to_the_weak(request: &Request) -> bool {
    match request.method.as_str() {
        "GET" | "HEAD" => true,
        "PUT" if request.query.contains_key("retention") => true,
        "PUT" => request.headers.get("if-none-match").is_some_and(|tag| tag == "*"),
        _ => false,
    }
}

pub(super) fn truth(state: &mut State, request: Request) -> Answer {
    let signed = request.headers.get("authorization").map(String::as_str).unwrap_or_default();
    let is_by = |key: &str| signed.starts_with(&format!("AWS4-HMAC-SHA256 Credential={key}/"));
    if !is_by(KEY_ID) && !is_by(WEAK_KEY_ID) {
        return refused(403, "InvalidAccessKeyId");
    }
    if is_by(WEAK_KEY_ID) && !is_allowed_to_the_weak(&request) {
        return refused(403, "AccessDenied");
    }
    let digest: String =
        Sha256::digest(&request.body).iter().map(|byte| format!("{byte:02x}")).collect();
    if request.headers.get("x-amz-content-sha256") != Some(&digest) {
        return refused(400, "XAmzContentSHA256Mismatch");
    }
    if request.object == "/" {
        return refused(404, "NoSuchBucket");
    }
    if request.object.is_empty() {
        return bucket(state, &request);
    }
    if let Some((names, content)) = state.first
        && request.method == "PUT"
        && request.object.contains(names)
    {
        state.first = None;
        state.write(request.object.clone(), Some(content.to_vec()));
    }
    let found = state.objects.get(&request.object);
    let found = found.and_then(|object| object.version(request.query.get("versionId")));
    let content = found.and_then(|version| Some((version.content.as_ref()?, version.time)));
    match (request.method.as_str(), content) {
        ("GET" | "HEAD", None) => refused(404, "NoSuchKey"),
        ("GET", Some(_)) if request.query.contains_key("retention") => {
            retention(found.filter(|version| version.locked.is_some()))
        }
        ("GET" | "HEAD", Some((content, time))) => read(&request, content, time),
        ("PUT", Some(_)) if request.headers.contains_key("if-none-match") => {
            refused(412, "PreconditionFailed")
        }
        ("PUT", found) if request.query.contains_key("retention") => {
            let is_there = found.is_some();
            retain(state, &request, is_there)
        }
        ("PUT", _) => put(state, request),
        ("DELETE", _) => {
            state.write(request.object, None);
            (204, vec![], Vec::new())
        }
        _ => refused(405, "MethodNotAllowed"),
    }
}

/// Writes an object, locked if that is asked for.
fn put(state: &mut State, request: Request) -> Answer {
    let until = request.headers.get("x-amz-object-lock-retain-until-date");
    let until: Option<Timestamp> = until.map(|until| until.parse().unwrap());
    let mode = request.headers.get("x-amz-object-lock-mode").cloned().unwrap_or_default();
    let has_sum = |name: &String| name == "content-md5" || name.starts_with("x-amz-checksum-");
    if state.locks_by_default && !request.headers.keys().any(has_sum) {
        return refused(400, "InvalidRequest");
    }
    if until.is_some() {
        let has_checksum = request.headers.contains_key("x-amz-checksum-sha256");
        if !has_checksum || !request.headers.contains_key("x-amz-sdk-checksum-algorithm") {
            return refused(400, "MissingUploadObjectWithObjectLockHeaders");
        }
        // Its words: Bucket is missing ObjectLockConfiguration.
        if !state.has_locks {
            return refused(400, "InvalidRequest");
        }
    }
    let is_locked = !state.ignores_locks;
    let name = request.object;
    state.write(name.clone(), Some(request.body));
    if let Some(version) = state.objects.get_mut(&name).and_then(|object| object.0.last_mut()) {
        version.locked = until.filter(|_| is_locked);
        version.mode = mode;
    }
    (200, vec![], Vec::new())
}

/// Makes a lock longer.
fn retain(state: &mut State, request: &Request, is_there: bool) -> Answer {
    if !is_there {
        return refused(404, "NoSuchKey");
    }
    let md5 = STANDARD.encode(md5::Md5::digest(&request.body));
    match request.headers.get("content-md5") {
        None if state.demands_md5 => return refused(400, "MissingContentMD5"),
        Some(sum) if *sum != md5 => return refused(400, "BadDigest"),
        _ => {}
    }
    let text = String::from_utf8_lossy(&request.body);
    let of = |name: &str| text.split(&format!("<{name}>")).nth(1)?.split('<').next();
    let until: Timestamp = of("RetainUntilDate").unwrap().parse().unwrap();
    let (mode, now) = (of("Mode").unwrap(), state.now());
    if state.ignores_locks {
        return (200, vec![], Vec::new());
    }
    let object = state.objects.get_mut(&request.object).unwrap();
    let newest = object.0.last_mut().unwrap();
    // A lock becomes neither shorter nor weaker.
    let is_weaker = newest.mode == "COMPLIANCE" && mode != newest.mode;
    if newest.locked.is_some_and(|locked| locked > until || is_weaker && locked > now) {
        return refused(403, "AccessDenied");
    }
    newest.locked = Some(until);
    newest.mode = mode.to_owned();
    (200, vec![], Vec::new())
}

/// What is asked of a lock.
fn retention(locked: Option<&Version>) -> Answer {
    let Some((version, until)) = locked.and_then(|it| Some((it, it.locked?))) else {
        return refused(404, "NoSuchObjectLockConfiguration");
    };
    let text = format!(
        "<Retention><Mode>{}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>",
        version.mode
    );
    (200, vec![("Content-Type", "application/xml".into())], text.into_bytes())
}

fn read(request: &Request, content: &[u8], time: Timestamp) -> Answer {
    let modified = ("Last-Modified", time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    let Some(range) = request.headers.get("range") else {
        return (200, vec![modified], content.to_vec());
    };
    let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
    match content.get(from..content.len().min(to + 1)) {
        Some(part) if !part.is_empty() => {
            let range = format!("bytes {from}-{}/{}", from + part.len() - 1, content.len());
            (206, vec![modified, ("Content-Range", range)], part.to_vec())
        }
        _ => refused(416, "InvalidRange"),
    }
}

/// What is asked of the bucket.
fn bucket(state: &State, request: &Request) -> Answer {
    let asked = |what: &str| request.query.contains_key(what);
    let text = match request.method.as_str() {
        "GET" if asked("object-lock") && !state.has_locks => {
            return refused(404, "ObjectLockConfigurationNotFoundError");
        }
        "GET" if asked("object-lock") => "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>".into(),
        "GET" if asked("versions") => versions(state, &request.query),
        "GET" => list(state, &request.query),
        _ => return refused(405, "MethodNotAllowed"),
    };
    (200, vec![("Content-Type", "application/xml".into())], text.into_bytes())
}

fn list(state: &State, query: &BTreeMap<String, String>) -> String {
    let of = |name: &str| query.get(name).cloned().unwrap_or_default();
    let (prefix, behind) = (of("prefix"), of("continuation-token"));
    let there = state.objects.iter().filter(|(_, object)| object.content().is_some());
    let mut all = there.filter(|(name, _)| name.starts_with(&prefix) && **name > behind);
    let page: Vec<_> = all.by_ref().take(PAGE).collect();
    let next = page.last().filter(|_| all.next().is_some()).map(|(name, _)| *name);
    let mut text = "<?xml version=\"1.0\"?><ListBucketResult>".to_owned();
    for (name, object) in &page {
        let newest = object.0.last().unwrap();
        let (size, time) = (newest.content.as_ref().unwrap().len(), newest.time);
        _ = write!(
            text,
            "<Contents><Key>{name}</Key><Size>{size}</Size><LastModified>{time:.3}</LastModified></Contents>"
        );
    }
    _ = write!(text, "<IsTruncated>{}</IsTruncated>", next.is_some());
    // The first version of lists has no tokens.
    if let Some(next) = next.filter(|_| !state.knows_no_tokens) {
        _ = write!(text, "<NextContinuationToken>{next}</NextContinuationToken>");
    }
    text + "</ListBucketResult>"
}

/// The versions of objects: by their names, those of each the newest first.
fn versions(state: &State, query: &BTreeMap<String, String>) -> String {
    let of = |name: &str| query.get(name).cloned().unwrap_or_default();
    let all = state.objects.iter().filter(|(name, _)| name.starts_with(&of("prefix")));
    let all = all.flat_map(|(name, object)| {
        let newest = object.0.len().saturating_sub(1);
        let each = object.0.iter().enumerate().rev();
        each.map(move |(place, version)| (name, version, place == newest))
    });
    let (name_before, version_before) = (of("key-marker"), of("version-id-marker"));
    let mut is_behind = name_before.is_empty();
    let mut all = all.filter(|(name, version, _)| {
        let was_behind = is_behind;
        is_behind |= **name == name_before && version.id == version_before;
        was_behind
    });
    let page: Vec<_> = all.by_ref().take(PAGE).collect();
    let is_cut = all.next().is_some();
    let mut text =
        format!("<?xml version=\"1.0\"?><ListVersionsResult><IsTruncated>{is_cut}</IsTruncated>");
    if let Some((name, version, _)) = page.last().filter(|_| is_cut) {
        _ = write!(
            text,
            "<NextKeyMarker>{name}</NextKeyMarker><NextVersionIdMarker>{}</NextVersionIdMarker>",
            version.id
        );
    }
    for (name, version, is_latest) in page {
        let what = if version.content.is_some() { "Version" } else { "DeleteMarker" };
        let size =
            version.content.as_ref().map(|content| format!("<Size>{}</Size>", content.len()));
        _ = write!(
            text,
            "<{what}>{}<Key>{name}</Key><VersionId>{}</VersionId><IsLatest>{is_latest}</IsLatest><LastModified>{:.3}</LastModified></{what}>",
            size.unwrap_or_default(),
            version.id,
            version.time
        );
    }
    text + "</ListVersionsResult>"
}
