//! Where an object store is: in a folder or in a bucket.

use std::time::Instant;

use crate::convoy::guards::Seen;

/// A result, or what the look ends with.
pub(super) type Found<T> = Result<T, Seen>;

/// The files of an object store. Paths are relative to the store's folder. Every method blocks.
pub(super) trait Place {
    /// A file; `None` if it is not there.
    fn open(&self, path: &str) -> Found<Option<Box<dyn Content>>>;

    /// The sizes in bytes of these files, which are all below `folder`; `None` for a file that is
    /// not there.
    fn sizes(&self, folder: &str, paths: &[String]) -> Found<Vec<Option<u64>>>;

    /// Up to this size in bytes, reading a whole file is cheap here.
    fn cheap_size(&self) -> u64;
}

/// An open file.
pub(super) trait Content {
    /// In bytes.
    fn size(&self) -> u64;

    /// The bytes from `offset` on: `length` of them, or fewer at the end of the file.
    fn read(&self, offset: u64, length: usize) -> Found<Vec<u8>>;
}

/// Ends a look that takes too long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(pub(super) Instant);

impl Deadline {
    /// # Errors
    /// [`Seen::Hidden`] if the time is over.
    pub(super) fn check(self) -> Found<()> {
        if Instant::now() < self.0 {
            return Ok(());
        }
        Err(Seen::Hidden("looking at its data takes too long".to_owned()))
    }
}
