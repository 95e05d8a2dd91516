//! The connection to S3.

use std::fmt;

/// The connection to S3.
#[derive(Clone, Default)]
pub(crate) struct S3Options {
    /// The service's address, `https://host:port`. `None`: Amazon's.
    pub(crate) endpoint: Option<String>,
    /// The access key's id and the secret key. `None`: from the usual AWS settings (environment,
    /// profile, role).
    pub(crate) key: Option<(String, String)>,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(|_| "(secret)");
        f.debug_struct("S3Options").field("endpoint", &self.endpoint).field("key", &key).finish()
    }
}
