//! Reading an object that must be there.

use bytes::Bytes;

use crate::{
    error::{Error, ErrorKind, Result},
    s3::{Extent, Objects},
};

/// A whole object, or a part of it. A missing object is an [`ErrorKind::Repository`].
pub(super) fn read(objects: &Objects, name: &str, extent: Extent) -> Result<Bytes> {
    objects.get(name, extent).map_err(|error| match error.kind {
        ErrorKind::NotFound => Error { kind: ErrorKind::Repository, ..error }
            .with_hint("the repository has lost something: back up again, which stores what the volumes still have"),
        _ => error,
    })
}
