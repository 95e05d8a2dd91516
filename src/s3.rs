//! The objects in a bucket of Amazon S3 or of another service that speaks its protocol.

mod content_md5;
mod failure;
mod object_lock;
mod objects;
mod options;
mod past;
mod past_objects;
mod told;
mod upload;

pub(crate) use objects::{Extent, Objects};
pub(crate) use options::{ObjectLock, S3Options};
pub(crate) use told::{age, size, time};
