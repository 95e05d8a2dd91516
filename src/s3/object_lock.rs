//! Locks of objects: until a time, the service deletes no version that has one.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::SdkError,
    operation::{
        put_object::builders::PutObjectFluentBuilder, put_object_retention::PutObjectRetentionError,
    },
    primitives::DateTime,
    types::{ObjectLockEnabled, ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode},
};
use jiff::Timestamp;

use super::{
    content_md5::ContentMd5,
    failure::{may_be_for_the_lock, status},
    objects::Objects,
    options::{NO_LOCK, ObjectLock},
    told::time,
};
use crate::{
    blocking::wait,
    clock::{Clock as _, SystemClock},
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// The end of a lock that begins now. The service takes no request of a host whose clock is wrong by more than
/// some minutes.
fn end(length: Duration) -> Timestamp {
    let now = SystemClock.now();
    let end = now.checked_add(length).unwrap_or(now);
    Timestamp::from_second(end.as_second()).unwrap_or(end)
}

/// How an object is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Locked {
    is_governance: bool,
    until: Timestamp,
}

impl Locked {
    /// The lock that is neither shorter nor weaker than both.
    fn and(self, other: Self) -> Self {
        Self {
            is_governance: self.is_governance && other.is_governance,
            until: self.until.max(other.until),
        }
    }
}

impl Objects {
    /// How objects that are kept are locked.
    pub(crate) fn object_lock(&self) -> Option<ObjectLock> {
        self.object_lock
    }

    /// The objects that were written and locked since the last call, and until when they are.
    pub(crate) fn take_locked(&self) -> BTreeMap<String, Timestamp> {
        std::mem::take(&mut *lock(&self.locked))
    }

    /// The request with a lock of the object, and the end of that.
    pub(super) fn locking(
        &self,
        request: PutObjectFluentBuilder,
    ) -> (PutObjectFluentBuilder, Option<Timestamp>) {
        let Some(object_lock) = self.object_lock else { return (request, None) };
        let mode = match object_lock.is_governance {
            true => ObjectLockMode::Governance,
            false => ObjectLockMode::Compliance,
        };
        let until = end(object_lock.length);
        let request = request
            .object_lock_mode(mode)
            .object_lock_retain_until_date(DateTime::from_secs(until.as_second()));
        (request, Some(until))
    }

    /// Locks an object anew, for the whole time from now on. Returns until when it is locked; `None` if there
    /// is no such object.
    ///
    /// # Errors
    /// If it can't be locked.
    pub(crate) fn lock_again(&self, name: &str) -> Result<Option<Timestamp>> {
        let Some(object_lock) = self.object_lock else { return Ok(None) };
        let wanted =
            Locked { is_governance: object_lock.is_governance, until: end(object_lock.length) };
        let Err(error) = self.set_lock(name, wanted)? else { return Ok(Some(wanted.until)) };
        let failed = self.failure(&format!("cannot lock \"{name}\""), &error);
        if failed.kind == ErrorKind::NotFound {
            return Ok(None);
        }
        // A lock becomes neither shorter nor weaker: it may be what was asked for before.
        if status(&error) == Some(403)
            && let Ok(Some(there)) = self.lock_of(name)
        {
            let both = wanted.and(there);
            if both == there || both != wanted && self.set_lock(name, both)?.is_ok() {
                return Ok(Some(both.until));
            }
        }
        Err(if may_be_for_the_lock(&error) { failed.with_hint(NO_LOCK) } else { failed })
    }

    fn set_lock(
        &self,
        name: &str,
        locked: Locked,
    ) -> Result<std::result::Result<(), SdkError<PutObjectRetentionError, HttpResponse>>> {
        let mode = match locked.is_governance {
            true => ObjectLockRetentionMode::Governance,
            false => ObjectLockRetentionMode::Compliance,
        };
        let retention = ObjectLockRetention::builder().mode(mode);
        let retention = retention.retain_until_date(DateTime::from_secs(locked.until.as_second()));
        let request = self.client.put_object_retention().bucket(&self.bucket);
        let request = request.key(self.object(name)).retention(retention.build());
        // The client sends a newer checksum, which other services may not take for the one they demand.
        let sent = wait(request.customize().interceptor(ContentMd5).send())?;
        Ok(sent.map(drop))
    }

    /// Looks whether the service shows the lock of an object that was locked. A key that may not ask for it
    /// learns nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] if there is no lock.
    pub(crate) fn check_locked(&self, name: &str) -> Result<()> {
        match self.lock_of(name) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                let message = format!(
                    "\"{name}\" was to be locked, and is not, at {}: the service takes the request and locks nothing",
                    self.location()
                );
                Err(Error::configuration(message)
                    .with_hint("take a service with Object Lock, or leave BKUP_S3_OBJECT_LOCK out"))
            }
            Err(error) => {
                log::debug!("whether locks hold is not known: {error}");
                Ok(())
            }
        }
    }

    /// How an object is locked; `None` if it is not.
    ///
    /// # Errors
    /// If that can't be asked, also because the key has no `s3:GetObjectRetention`.
    fn lock_of(&self, name: &str) -> Result<Option<Locked>> {
        let request = self.client.get_object_retention().bucket(&self.bucket);
        let found = match wait(request.key(self.object(name)).send())? {
            Ok(found) => found,
            // A service that knows no locks may answer with the object itself.
            Err(error) if matches!(status(&error), Some(200 | 404)) => return Ok(None),
            Err(error) => {
                return Err(self.failure(&format!("cannot ask for the lock of \"{name}\""), &error));
            }
        };
        let of = |retention: ObjectLockRetention| {
            let is_governance = retention.mode? == ObjectLockRetentionMode::Governance;
            Some(Locked { is_governance, until: time(&retention.retain_until_date?)? })
        };
        Ok(found.retention.and_then(of))
    }

    /// Whether objects can be locked in the bucket.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] if not; another kind if the service does not tell.
    pub(crate) fn can_lock(&self) -> Result<()> {
        let request = self.client.get_object_lock_configuration().bucket(&self.bucket);
        let bucket = &self.bucket;
        let is_on = match wait(request.send())? {
            Ok(answer) => {
                answer.object_lock_configuration.and_then(|it| it.object_lock_enabled)
                    == Some(ObjectLockEnabled::Enabled)
            }
            Err(error) if status(&error) == Some(404) => false,
            Err(error) => {
                let what = "cannot ask whether objects can be locked";
                return Err(self.failure(what, &error));
            }
        };
        if is_on {
            return Ok(());
        }
        let message = format!(
            "the bucket \"{bucket}\" has no Object Lock, which BKUP_S3_OBJECT_LOCK asks for"
        );
        Err(Error::configuration(message).with_hint(format!(
            "aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled; aws s3api put-object-lock-configuration --bucket {bucket} --object-lock-configuration ObjectLockEnabled=Enabled; some services can do so only when a bucket is made",
        )))
    }
}
