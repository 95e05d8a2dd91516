//! The repositories of the destinations that this process has used.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    catalogue::Catalogue,
    damage::Damage,
    destination::{DestinationRepository, Location, Remembered},
    looks::Looks,
    object_locks::ObjectLocks,
    read_times::ReadTimes,
    written::WrittenHere,
};
use crate::{
    convoy::{
        Destination,
        refusal::{no_folder, refused},
        url::DestinationKind,
    },
    daemon::{
        identity::Identity,
        repository::{Access, Bucket, SpoolPlace},
        root::Root,
    },
    error::Result,
    files::look_at,
    s3::S3Options,
    sync::lock,
};

/// What the addresses of destinations as they were have in common.
const PAST: &str = "?as-of=";
/// How long a folder may take to answer: what is mounted on demand takes a while.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// The destinations that this process has used, each with an open repository.
pub(in crate::daemon) struct Destinations {
    access: Access,
    /// This daemon's own root.
    root: Root,
    identity: Arc<Identity>,
    s3: S3Options,
    spool: SpoolPlace,
    lock_wait: Duration,
    /// By [`Destination::address`], which includes the region. So asking with a wrong region once
    /// does not affect later requests.
    known: Mutex<HashMap<String, Arc<DestinationRepository>>>,
}

impl Destinations {
    pub(in crate::daemon) fn new(
        access: Access,
        root: Root,
        identity: Identity,
        (s3, spool): (S3Options, SpoolPlace),
        lock_wait: Duration,
    ) -> Self {
        let (identity, known) = (Arc::new(identity), Mutex::default());
        Self { access, root, identity, s3, spool, lock_wait, known }
    }

    /// For tests, which do not wait for locks.
    #[cfg(test)]
    fn impatient(access: Access) -> Self {
        let root = Root::at(std::path::Path::new("/nowhere/at/all"));
        let spool = SpoolPlace { folder: root.spool(), most: 0 };
        let options = (S3Options::default(), spool);
        Self::new(access, root, Identity::random(), options, Duration::ZERO)
    }

    /// The repository of a destination, whether it exists or not.
    ///
    /// # Errors
    /// If this daemon does not support the URL's scheme, or the folder is missing; the error has
    /// Convoy's words.
    pub(in crate::daemon) fn at(
        &self,
        destination: &Destination,
    ) -> Result<Arc<DestinationRepository>> {
        let key = destination.address();
        let known = lock(&self.known).get(&key).cloned();
        let location = match destination.kind() {
            DestinationKind::Vfs { path } if !is_there(path)? => {
                return Err(no_folder(&path.display().to_string()));
            }
            _ if let Some(known) = known => return Ok(known),
            DestinationKind::Vfs { path } => Location::Folder(path.join("repository")),
            DestinationKind::S3 { bucket, region, path } => {
                let bucket = Bucket::new(&self.s3, bucket, region, path)?;
                match destination.time() {
                    Some(time) => Location::Past(bucket.at_time(time)),
                    None => Location::Bucket(bucket, self.root.copies(&key)),
                }
            }
            DestinationKind::Ebs { .. } => {
                return Err(refused("Driver ebs is not supported!").with_hint(
                    "the built-in daemon keeps backups in folders (vfs:///folder) and on S3 (s3://bucket@region/path)",
                ));
            }
        };
        let mut known = lock(&self.known);
        let mut remembered = key.as_str();
        if destination.time().is_some() {
            // One past at a time: each has an index in memory, and what is remembered of it.
            known.retain(|key, _| !key.contains(PAST));
            remembered = PAST;
            for file in [self.root.damage(PAST), self.root.read_times(PAST)] {
                _ = fs::remove_file(file);
            }
        }
        // Another service may have a bucket of the same name, in which nothing is locked.
        let locked_at = match &self.s3.endpoint {
            Some(endpoint) => format!("{remembered} {endpoint}"),
            None => remembered.to_owned(),
        };
        let repository = DestinationRepository::new(
            location,
            self.root.clone(),
            self.access.clone(),
            (self.lock_wait, self.spool.clone()),
            Remembered {
                catalogue: Catalogue::new(self.identity.clone()),
                damage: Damage::in_file(self.root.damage(remembered)),
                looks: Looks::in_file(self.root.looks(remembered)),
                read_times: ReadTimes::in_file(self.root.read_times(remembered)),
                written_here: WrittenHere::in_file(self.root.written(remembered)),
                object_locks: ObjectLocks::in_file(self.root.object_locks(&locked_at)),
            },
        );
        Ok(known.entry(key).or_insert_with(|| Arc::new(repository)).clone())
    }
}

/// Whether there is a folder.
///
/// # Errors
/// If it does not answer. Each call of the daemon asks this first, so that those that wait for a
/// share for ever do not grow in number.
fn is_there(folder: &Path) -> Result<bool> {
    let path = folder.to_owned();
    look_at(folder, ANSWERS_WITHIN, move || path.is_dir()).map_err(|why| {
        let what = format!("the destination \"{}\"", folder.display());
        why.error(&what, "the server of its share may be down; try again when it answers")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{daemon::backups::lock_file::Use, error::ErrorKind};

    #[test]
    fn a_destination_that_another_process_has_locked_is_busy() {
        let folder = tempfile::tempdir().unwrap();
        let access =
            Access { password: None, host: "host1".into(), progress: crate::progress::none() };
        let destination =
            Destination::parse(&format!("vfs://{}", folder.path().display())).unwrap();
        let repository = Destinations::impatient(access).at(&destination).unwrap();
        let other = repository.lock_file(Use::Beside).unwrap().unwrap();
        assert!(repository.lock_file(Use::Beside).is_ok(), "backups run side by side");
        let error = repository.lock_file(Use::Alone).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Busy, "{error}");
        drop(other);
        let alone = repository.lock_file(Use::Alone).unwrap().unwrap();
        assert_eq!(repository.lock_file(Use::Beside).unwrap_err().kind, ErrorKind::Busy);
        assert!(repository.reading_lock().unwrap().is_none(), "nobody who reads is refused");
        drop(alone);
        assert!(repository.reading_lock().unwrap().is_some());
    }
}
