//! How S3 is reached.

use std::fmt;

/// How S3 is reached.
#[derive(Clone, Default)]
pub(crate) struct S3Options {
    /// The service's address where it is not Amazon's: `https://host:port`.
    pub(crate) endpoint: Option<String>,
    /// The access key's id and the secret key; without them, as the usual AWS settings say
    /// (environment, profile, role).
    pub(crate) key: Option<(String, String)>,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(|_| "(secret)");
        f.debug_struct("S3Options").field("endpoint", &self.endpoint).field("key", &key).finish()
    }
}
