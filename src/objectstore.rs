//! A look at the data of Convoy's backups, where they lie.
//!
//! Convoy keeps a backup in its object store: a description, and one packed file or many blocks.
//! Its lists and inspections read the description only. [`ObjectStoreLook`] also looks at what the
//! description names, where the destination's folder or bucket can be read from this process. What
//! it reads was written by others, so names are checked and lengths are bounded before they are
//! believed.
//!
//! From bottom to top: `layout` (paths and descriptions) and `gzip` know no files; `place` is a
//! store that `folder` and `bucket` implement; `check` looks at one backup.

mod bucket;
mod check;
mod folder;
mod gzip;
mod layout;
mod place;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use async_trait::async_trait;

use self::{
    bucket::Bucket,
    folder::Folder,
    layout::{FOLDER, Layout},
    place::{Deadline, Place},
};
use crate::{
    blocking,
    convoy::{
        BackupUrl, Destination,
        guards::{DataLook, Depth, Seen},
        url::DestinationKind,
    },
    error::Result,
    s3::{Objects, S3Options},
    sync::lock,
};

/// How long a destination that could not be read, or did not answer, is not asked again.
const PAUSE: Duration = Duration::from_mins(5);
/// How much longer than it may take a look is waited for.
const GRACE: Duration = Duration::from_secs(5);

/// How long a look may take.
fn longest(depth: Depth) -> Duration {
    match depth {
        Depth::Quick => Duration::from_secs(20),
        Depth::Thorough => Duration::from_mins(2),
    }
}

/// Looks at backups in Convoy's object stores.
#[derive(Debug)]
pub(crate) struct ObjectStoreLook {
    s3: S3Options,
    /// The buckets that were looked at, by destination.
    buckets: Mutex<HashMap<String, Objects>>,
    /// By destination: when and why it could not be read.
    failures: Mutex<HashMap<String, (Instant, String)>>,
}

impl ObjectStoreLook {
    /// Buckets are reached with these options. Nothing is sent yet.
    pub(crate) fn new(s3: S3Options) -> Self {
        Self { s3, buckets: Mutex::default(), failures: Mutex::default() }
    }

    /// The bucket of a destination.
    async fn bucket(
        &self,
        destination: &Destination,
        (bucket, region, path): (&str, &str, &str),
    ) -> Result<Objects> {
        if let Some(known) = lock(&self.buckets).get(&destination.to_string()) {
            return Ok(known.clone());
        }
        let [bucket, region, path] = [bucket, region, path].map(str::to_owned);
        let s3 = self.s3.clone();
        let open = move || Objects::new(&s3, &bucket, &region, &path, FOLDER);
        let objects = blocking::run(open).await?;
        lock(&self.buckets).insert(destination.to_string(), objects.clone());
        Ok(objects)
    }

    /// Why a destination could not be read a moment ago.
    fn recent_failure(&self, destination: &Destination) -> Option<String> {
        let failures = lock(&self.failures);
        let (when, why) = failures.get(&destination.to_string())?;
        (when.elapsed() < PAUSE).then(|| why.clone())
    }

    async fn look_at(&self, url: &BackupUrl, depth: Depth) -> Seen {
        let at_amazon = || Seen::Hidden("Amazon has its data".to_owned());
        let BackupUrl::Stored { destination, backup, volume } = url else { return at_amazon() };
        if let Some(why) = self.recent_failure(destination) {
            return Seen::Hidden(why);
        }
        let deadline = Deadline(Instant::now() + longest(depth));
        let failure = Arc::new(OnceLock::new());
        let place: Box<dyn Place + Send> = match destination.kind() {
            DestinationKind::Vfs { path } => Box::new(Folder::new(path, deadline)),
            DestinationKind::S3 { bucket, region, path } => {
                match self.bucket(destination, (bucket, region, path)).await {
                    Ok(objects) => Box::new(Bucket::new(objects, deadline, failure.clone())),
                    Err(error) => return Seen::Hidden(error.to_string()),
                }
            }
            DestinationKind::Ebs { .. } => return at_amazon(),
        };
        let (backup, volume) = (backup.clone(), volume.clone());
        let look = blocking::run(move || {
            check::look(&*place, &Layout::new(backup.as_str(), volume.as_str()), depth)
        });
        // A folder of a server that hangs keeps its thread waiting.
        let seen = tokio::time::timeout(longest(depth) + GRACE, look).await;
        let seen = seen.unwrap_or_else(|_| {
            let seconds = longest(depth).as_secs();
            let why = format!("the destination does not answer within {seconds} s");
            Seen::Hidden(failure.get_or_init(|| why).clone())
        });
        if let Some(why) = failure.get() {
            let failure = (Instant::now(), why.clone());
            lock(&self.failures).insert(destination.to_string(), failure);
        }
        seen
    }
}

#[async_trait]
impl DataLook for ObjectStoreLook {
    async fn look(&self, url: &BackupUrl, depth: Depth) -> Seen {
        let seen = self.look_at(url, depth).await;
        if let Seen::Hidden(why) = &seen {
            log::debug!("the data of \"{url}\" is not looked at: {why}");
        }
        seen
    }
}
