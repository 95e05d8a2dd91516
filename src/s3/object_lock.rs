//! Locks of objects: until a time, the service deletes no version that has one.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_s3::{
    operation::put_object::builders::PutObjectFluentBuilder,
    primitives::DateTime,
    types::{
        ChecksumAlgorithm, ObjectLockEnabled, ObjectLockMode, ObjectLockRetention,
        ObjectLockRetentionMode,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;

use super::{
    failure::status,
    objects::Objects,
    options::{NO_LOCK, ObjectLock},
    told::time,
    upload::Hash,
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
        hash: &Hash,
    ) -> (PutObjectFluentBuilder, Option<Timestamp>) {
        let Some(object_lock) = self.object_lock else { return (request, None) };
        let mode = match object_lock.is_governance {
            true => ObjectLockMode::Governance,
            false => ObjectLockMode::Compliance,
        };
        let until = end(object_lock.length);
        let request = request
            .object_lock_mode(mode)
            .object_lock_retain_until_date(DateTime::from_secs(until.as_second()))
            // A lock needs a checksum.
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_sha256(STANDARD.encode(hash));
        (request, Some(until))
    }

    /// Locks an object anew, for the whole time from now on. Returns until when it is locked; `None` if there
    /// is no such object.
    ///
    /// # Errors
    /// If it can't be locked.
    pub(crate) fn lock_again(&self, name: &str) -> Result<Option<Timestamp>> {
        let Some(object_lock) = self.object_lock else { return Ok(None) };
        let mode = match object_lock.is_governance {
            true => ObjectLockRetentionMode::Governance,
            false => ObjectLockRetentionMode::Compliance,
        };
        let until = end(object_lock.length);
        let retention = ObjectLockRetention::builder().mode(mode);
        let retention = retention.retain_until_date(DateTime::from_secs(until.as_second()));
        let request = self.client.put_object_retention().bucket(&self.bucket);
        let request = request.key(self.object(name)).retention(retention.build());
        let Err(error) = wait(request.send())? else { return Ok(Some(until)) };
        let failed = self.failure(&format!("cannot lock \"{name}\""), &error);
        if failed.kind == ErrorKind::NotFound {
            return Ok(None);
        }
        // No lock can be made shorter: it may have been a longer one that was asked for before.
        if status(&error) == Some(403)
            && let Ok(Some(there)) = self.locked_until(name)
            && there >= until
        {
            return Ok(Some(there));
        }
        Err(failed.with_hint(NO_LOCK))
    }

    fn locked_until(&self, name: &str) -> Result<Option<Timestamp>> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.object(name));
        let found = wait(request.send())?
            .map_err(|error| self.failure(&format!("cannot look at \"{name}\""), &error))?;
        Ok(found.object_lock_retain_until_date().and_then(time))
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
