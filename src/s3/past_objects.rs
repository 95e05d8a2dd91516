//! Asking a bucket for what was there at a time.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{
    objects::Objects,
    past::{FIRST, PastObject, Versions},
};
use crate::{
    blocking::wait,
    error::{Error, ErrorKind, Result},
    sync::lock,
};

impl Objects {
    /// What was there, by the whole names of the objects; `None` if the bucket is looked at as it is.
    ///
    /// # Errors
    /// If the versions can't be listed, if the bucket has kept none, or if there was nothing then.
    pub(super) fn past(&self) -> Result<Option<Arc<BTreeMap<String, PastObject>>>> {
        let Some(past) = &self.past else { return Ok(None) };
        let mut there = lock(&past.there);
        if there.is_none() {
            *there = Some(Arc::new(self.was_there(past.at)?));
        }
        Ok(there.clone())
    }

    /// The object of this name as it was, if the bucket is looked at as it was.
    ///
    /// # Errors
    /// As [`Objects::past`]; [`ErrorKind::NotFound`] if there was no such object.
    pub(super) fn past_object(&self, name: &str) -> Result<Option<PastObject>> {
        let Some(there) = self.past()? else { return Ok(None) };
        match there.get(&self.object(name)) {
            Some(object) => Ok(Some(object.clone())),
            None => {
                let message = format!("\"{name}\" was not there at {}", self.location());
                Err(Error::new(ErrorKind::NotFound, message))
            }
        }
    }

    /// Refuses to write where a bucket is looked at as it was.
    ///
    /// # Errors
    /// A usage error, if so.
    pub(crate) fn refuse_past(&self) -> Result<()> {
        match self.past {
            None => Ok(()),
            Some(_) => Err(Error::usage(format!(
                "{} is only read: nothing is written to the past",
                self.location()
            ))
            .with_hint("leave --as-of (BKUP_S3_AS_OF) out to write")),
        }
    }

    fn keeps_none(&self) -> Error {
        let bucket = &self.bucket;
        let message = format!(
            "the bucket \"{bucket}\" has kept no versions, so it is known only as it is now"
        );
        Error::new(ErrorKind::Io, message).with_hint(format!(
            "for the future: aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled",
        ))
    }

    fn was_there(&self, at: Timestamp) -> Result<BTreeMap<String, PastObject>> {
        let mut versions = Versions::default();
        let (mut key, mut version) = (None, None);
        loop {
            let request = self.client.list_object_versions().bucket(&self.bucket);
            let request = request.prefix(self.object(""));
            let request = request.set_key_marker(key.clone());
            let page = wait(request.set_version_id_marker(version.clone()).send())?;
            let page = page.map_err(|error| self.failure("cannot list the versions", &error))?;
            versions.add(&page, at);
            if page.is_truncated != Some(true) {
                break;
            }
            let next = (page.next_key_marker, page.next_version_id_marker);
            if next.0.is_none() || next == (key, version) {
                let message = format!(
                    "the list of versions at {} has no end that can be reached",
                    self.location()
                );
                return Err(Error::new(ErrorKind::Protocol, message)
                    .with_hint("the service has to know ListObjectVersions: update it"));
            }
            (key, version) = next;
        }
        let oldest = versions.oldest;
        if oldest.is_some() && !versions.are_kept {
            return Err(self.keeps_none());
        }
        let there = versions.there();
        if there.contains_key(&self.object(FIRST)) {
            return Ok(there);
        }
        let message = format!("there were no backups at {}", self.location());
        Err(Error::new(ErrorKind::Io, message).with_hint(match oldest {
            Some(oldest) => format!("the oldest that is known there is of {oldest}"),
            None => "there never were any, as far as the bucket knows: is it the right one?".into(),
        }))
    }
}
