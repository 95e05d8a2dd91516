//! Reading an object that must be there.

use bytes::Bytes;

use crate::{
    error::{Error, ErrorKind, Result},
    s3::Objects,
};

/// A whole object, or a part of it: its offset and length. A missing object is an
/// [`ErrorKind::Repository`].
pub(super) fn read(objects: &Objects, name: &str, part: Option<(u32, u32)>) -> Result<Bytes> {
    let part = part.map(|(offset, length)| (u64::from(offset), length));
    objects.get(name, part).map_err(|error| match error.kind {
        ErrorKind::NotFound => Error { kind: ErrorKind::Repository, ..error }
            .with_hint("the repository has lost something: back up again, which stores what the volumes still have"),
        _ => error,
    })
}
