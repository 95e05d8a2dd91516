//! A bucket as it was: of each object, the version that was there at a time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws_sdk_s3::{
    operation::list_object_versions::ListObjectVersionsOutput, primitives::DateTime, types::Object,
};
use jiff::Timestamp;

use super::told::time;

/// The object without which a folder was nothing yet.
pub(super) const FIRST: &str = "config";

/// The name of the version of an object that was written while the bucket kept none.
const NO_VERSION: &str = "null";

/// The time at which a bucket is looked at, and what was there then, once that is known: it does not change.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) at: Timestamp,
    pub(super) there: Mutex<Option<Arc<BTreeMap<String, PastObject>>>>,
}

/// An object as it was.
#[derive(Debug, Clone)]
pub(super) struct PastObject {
    pub(super) version: String,
    /// In bytes.
    pub(super) size: u64,
    pub(super) written: DateTime,
}

/// What is known of one object while the list is read.
#[derive(Default)]
struct Seen {
    newest: Option<(Timestamp, PastObject)>,
    removed: Option<Timestamp>,
}

/// What the lists say.
#[derive(Default)]
pub(super) struct Versions {
    objects: BTreeMap<String, Seen>,
    /// When anything was written first.
    pub(super) oldest: Option<Timestamp>,
    /// Whether any object was written while the bucket kept versions. Where it keeps none, all have one
    /// version of the same name.
    pub(super) are_kept: bool,
}

impl Past {
    pub(super) fn new(at: Timestamp) -> Self {
        Self { at, there: Mutex::default() }
    }
}

impl PastObject {
    /// As a list has it.
    pub(super) fn listed(&self, key: &str) -> Object {
        let object = Object::builder().key(key).last_modified(self.written);
        object.size(self.size.try_into().unwrap_or_default()).build()
    }
}

impl Versions {
    /// Takes up a page, which has the versions of each object newest first.
    pub(super) fn add(&mut self, page: &ListObjectVersionsOutput, at: Timestamp) {
        for version in page.versions() {
            let (Some(key), Some(id)) = (version.key(), version.version_id()) else { continue };
            self.are_kept |= id != NO_VERSION;
            let Some(written) = version.last_modified() else { continue };
            let Some(when) = time(written) else { continue };
            if key.ends_with(&format!("/{FIRST}")) {
                self.oldest = Some(self.oldest.map_or(when, |oldest| oldest.min(when)));
            }
            let seen = self.objects.entry(key.to_owned()).or_default();
            if when <= at && seen.newest.is_none() {
                let size = version.size().and_then(|size| u64::try_from(size).ok());
                let size = size.unwrap_or_default();
                let object = PastObject { version: id.to_owned(), size, written: *written };
                seen.newest = Some((when, object));
            }
        }
        for marker in page.delete_markers() {
            self.are_kept |= marker.version_id() != Some(NO_VERSION);
            let when = marker.last_modified().and_then(time).filter(|when| *when <= at);
            if let (Some(key), Some(when)) = (marker.key(), when) {
                let seen = self.objects.entry(key.to_owned()).or_default();
                seen.removed = Some(seen.removed.map_or(when, |removed| removed.max(when)));
            }
        }
    }

    pub(super) fn there(self) -> BTreeMap<String, PastObject> {
        let there = |seen: Seen| {
            let (when, object) = seen.newest?;
            // Times are whole seconds. What was written and removed within one is looked at.
            seen.removed.is_none_or(|removed| removed <= when).then_some(object)
        };
        let objects = self.objects.into_iter();
        objects.filter_map(|(key, seen)| Some((key, there(seen)?))).collect()
    }
}
