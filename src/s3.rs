//! The objects in a bucket of Amazon S3 or of another service that speaks its protocol.

mod failure;
mod objects;
mod options;
mod upload;

pub(crate) use objects::{Extent, Objects, age, size, time};
pub(crate) use options::S3Options;
