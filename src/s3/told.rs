//! What the service tells of an object.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::{primitives::DateTime, types::Object};
use jiff::Timestamp;

use crate::files;

/// As [`files::age`], for a time of the service.
pub(crate) fn age(time: &DateTime) -> Option<Duration> {
    SystemTime::try_from(*time).ok().map(files::age)
}

/// A time of the service.
pub(crate) fn time(time: &DateTime) -> Option<Timestamp> {
    SystemTime::try_from(*time).ok()?.try_into().ok()
}

/// An object's size in bytes.
pub(crate) fn size(object: &Object) -> u64 {
    object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default()
}
