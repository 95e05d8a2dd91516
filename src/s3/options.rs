//! The connection to S3.

use std::{fmt, time::Duration};

use crate::{
    error::{Error, Result},
    units::{format_duration, parse_duration},
};

/// The connection to S3.
#[derive(Clone, Default)]
pub(crate) struct S3Options {
    /// The service's address, `https://host:port`. `None`: Amazon's.
    pub(crate) endpoint: Option<String>,
    /// The access key's id and the secret key. `None`: from the usual AWS settings (environment,
    /// profile, role).
    pub(crate) key: Option<(String, String)>,
    /// How what backups consist of is locked against deletion.
    pub(crate) object_lock: Option<ObjectLock>,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(|_| "(secret)");
        let mut shown = f.debug_struct("S3Options");
        let shown = shown.field("endpoint", &self.endpoint).field("key", &key);
        shown.field("object_lock", &self.object_lock).finish()
    }
}

/// For how long objects are locked, and whom that holds against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ObjectLock {
    pub(crate) length: Duration,
    /// Whether who has a right of its own may end a lock early. Else nobody may.
    pub(crate) is_governance: bool,
}

/// What to do where an object can't be locked.
pub(super) const NO_LOCK: &str = "BKUP_S3_OBJECT_LOCK needs a bucket with Object Lock, and a key with s3:PutObjectRetention: \"doctor\" looks at the bucket, docs/ransomware.md has both";

/// The locks are looked at once a day, and extended when half of them is over.
const SHORTEST: Duration = Duration::from_hours(3 * 24);
/// A lock is paid for until it ends, and nobody can end one that was meant to be shorter.
const LONGEST: Duration = Duration::from_hours(366 * 24);

impl ObjectLock {
    /// Reads `30d`, `30d compliance` or `30d governance`.
    ///
    /// # Errors
    /// A usage error for any other text, and for less than three days or more than a year.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Err(Error::usage(format!("\"{text}\" is no object lock: {why}")).with_hint(
                "write 3d to 366d, and governance behind it where a right of its own may end it",
            ))
        };
        let mut words = text.split_whitespace();
        let Some(Ok(length)) = words.next().map(parse_duration) else {
            return wrong("it begins with no length of time");
        };
        let is_governance = match words.next() {
            None | Some("compliance") => false,
            Some("governance") => true,
            Some(_) => return wrong("the mode is compliance or governance"),
        };
        if words.next().is_some() {
            return wrong("there is something behind the mode");
        }
        if length < SHORTEST {
            return wrong("it is shorter than three days, within which it has to be extended");
        }
        if length > LONGEST {
            return wrong("it is longer than a year; what backups need is extended anyway");
        }
        Ok(Self { length, is_governance })
    }

    /// The mode, as services call it.
    pub(crate) fn mode(self) -> &'static str {
        if self.is_governance { "governance" } else { "compliance" }
    }
}

impl fmt::Display for ObjectLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", format_duration(self.length), self.mode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_lock_is_a_length_and_perhaps_a_mode() {
        let days = |days: u64| Duration::from_hours(24 * days);
        for (text, length, is_governance) in [
            ("30d", days(30), false),
            ("30d compliance", days(30), false),
            (" 2w  governance ", days(14), true),
            ("366d", days(366), false),
        ] {
            let lock = ObjectLock::parse(text).unwrap();
            assert_eq!(lock, ObjectLock { length, is_governance }, "{text}");
        }
        for text in
            ["", "governance", "30", "30d Compliance", "30d governance 2", "2d", "367d", "10y"]
        {
            assert_eq!(ObjectLock::parse(text).unwrap_err().exit_code(), 2, "{text}");
        }
    }
}
