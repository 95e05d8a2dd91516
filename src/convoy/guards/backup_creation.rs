//! Making a backup (guards 1 and 8). A backup counts once it is proven good.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;

use super::{
    data_look::Good,
    overlap::{finish_even_if_cancelled, has_ended},
    past::refuse_past,
    pending::{Operation, PendingFile},
    run::Guards,
    snapshot_names,
};
use crate::{
    clock::is_in_future,
    convoy::{AsItIs, Backup, BackupUrl, Belonging, Daemon, Destination, Name, Snapshot, names},
    error::{Error, ErrorKind, Result},
    locks::Sharing,
};

/// A backup that the daemon is about to be asked for.
struct Begun {
    source: Source,
    at: Timestamp,
    pending: Option<PendingFile>,
}

/// What a backup is made of.
#[derive(Debug, Clone)]
struct Source {
    volume: Name,
    /// The name of the snapshot.
    snapshot: Name,
    /// The snapshot; `None` if the volume is written as it is, and no snapshot stays.
    taken: Option<Snapshot>,
}

impl Guards {
    /// Backs up a snapshot, and proves the backup good before it returns (guard 1).
    ///
    /// # Errors
    /// [`ErrorKind::Guard`] if the daemon answered success but the backup can't be inspected;
    /// otherwise as [`crate::convoy::Daemon::create_backup`]. After an error, the run deletes
    /// nothing more of this volume.
    pub(crate) async fn create_backup(
        &self,
        snapshot: &Name,
        destination: &Destination,
    ) -> Result<BackupUrl> {
        self.may_write("make a backup")?;
        refuse_past("make a backup", destination)?;
        let taken = self.with_extent_known(self.daemon.snapshot(snapshot).await?);
        let volume = Name::volume(&taken.volume_name)?;
        let source = Source { volume, snapshot: snapshot.clone(), taken: Some(taken) };
        let made = self.back_up_from(vec![Ok(source)], destination).await?;
        made.into_iter().next().ok_or_else(|| Error::internal("no snapshot was backed up"))?
    }

    /// Backs up a volume as it is now, and proves the backup good. If the daemon can't do that
    /// without a snapshot that stays, a snapshot is taken and backed up.
    ///
    /// # Errors
    /// As [`Guards::create_snapshot`] and [`Guards::create_backup`].
    pub(crate) async fn back_up(
        &self,
        volume: &Name,
        destination: &Destination,
    ) -> Result<BackupUrl> {
        let made = self.back_up_together(std::slice::from_ref(volume), destination).await?;
        made.into_iter().next().ok_or_else(|| Error::internal("no volume was backed up"))?
    }

    /// Backs up volumes as they are now, and proves each backup good. What writes to any of them is
    /// held still at the same time, where the daemon holds it. The results are in the order of
    /// `volumes`; one that fails does not stop the others.
    ///
    /// # Errors
    /// As [`Guards::back_up`], for what is wrong with all of them.
    pub(crate) async fn back_up_together(
        &self,
        volumes: &[Name],
        destination: &Destination,
    ) -> Result<Vec<Result<BackupUrl>>> {
        self.may_write("back up a volume")?;
        refuse_past("back up a volume", destination)?;
        for volume in volumes {
            let key = (volume.to_string(), destination.key());
            self.memory().unproven.insert(key, "it was not begun".into());
        }
        let mut made = Vec::new();
        if !self.capabilities().await?.backs_up_volumes {
            for volume in volumes {
                made.push(self.back_up_by_snapshot(volume, destination).await);
            }
            return Ok(made);
        }
        let mut sources = Vec::new();
        for volume in volumes {
            let named = self.next_name(volume, destination).await;
            let volume = volume.clone();
            sources.push(named.map(|snapshot| Source { volume, snapshot, taken: None }));
        }
        self.back_up_from(sources, destination).await
    }

    /// Takes a snapshot and backs it up. Another run, with a newer snapshot, may have deleted it
    /// meanwhile: then once more.
    async fn back_up_by_snapshot(
        &self,
        volume: &Name,
        destination: &Destination,
    ) -> Result<BackupUrl> {
        let snapshot = Name::snapshot(&self.create_snapshot(volume).await?.name)?;
        let gone = match self.create_backup(&snapshot, destination).await {
            Err(error) if error.kind == ErrorKind::NotFound => error,
            done => return done,
        };
        match self.daemon.snapshot(&snapshot).await {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            _ => return Err(gone),
        }
        log::info!("the snapshot \"{snapshot}\" is gone, so a fresh one is backed up: {gone}");
        let snapshot = Name::snapshot(&self.create_snapshot(volume).await?.name)?;
        self.create_backup(&snapshot, destination).await
    }

    /// The name of the snapshot that a backup without one is of. It is later than those of the
    /// volume's backups at the destination (guard 7).
    async fn next_name(&self, volume: &Name, destination: &Destination) -> Result<Name> {
        let living = self.volume(volume).await?;
        let listed = match self.daemon.backups(destination, Some(volume)).await {
            Ok(listed) => listed,
            Err(error) if error.kind == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let now = self.clock.now();
        let own = listed.iter().filter(|backup| backup.belonging(Some(&living)) == Belonging::Own);
        let names = own.filter_map(|backup| names::snapshot_time(backup.field("SnapshotName")));
        let newest = names.filter(|time| !is_in_future(*time, now)).max();
        Ok(snapshot_names::next_after(newest, volume, &living, now))
    }

    /// Backs up each source, and proves its backup good.
    async fn back_up_from(
        &self,
        sources: Vec<Result<Source>>,
        destination: &Destination,
    ) -> Result<Vec<Result<BackupUrl>>> {
        let key = |source: &Source| (source.volume.to_string(), destination.key());
        // Until the proof, the volume counts as not backed up.
        for source in sources.iter().flatten() {
            self.memory().unproven.insert(key(source), "it was not finished".into());
        }
        let keys: Vec<_> = sources.iter().map(|source| source.as_ref().ok().map(key)).collect();
        let made = self.make_and_prove(sources, destination).await;
        let failed = |error: &Error, key: Option<(String, String)>| {
            key.map(|key| self.memory().unproven.insert(key, error.to_string()))
        };
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                keys.into_iter().for_each(|key| _ = failed(&error, key));
                return Err(error);
            }
        };
        let mut urls = Vec::new();
        for (proven, key) in made.into_iter().zip(keys) {
            urls.push(match proven {
                Ok((source, url, backup)) => {
                    self.is_proven(&source, &url, &backup, destination).await;
                    Ok(url)
                }
                Err(error) => {
                    failed(&error, key);
                    Err(error)
                }
            });
        }
        Ok(urls)
    }

    /// Remembers a backup that proved good.
    async fn is_proven(
        &self,
        source: &Source,
        url: &BackupUrl,
        backup: &Backup,
        destination: &Destination,
    ) {
        self.memory().made.push((destination.clone(), url.clone()));
        self.remember_volumes_at_ebs(std::slice::from_ref(backup));
        let of = (source.volume.as_str(), source.taken.as_ref());
        let doubt = self.doubt_backup(backup, url, of, destination).await;
        let key = (source.volume.to_string(), destination.key());
        match doubt {
            None => _ = self.memory().unproven.remove(&key),
            // To delete on its word, a person must have accepted it (guard 10).
            Some(why) => _ = self.memory().unproven.insert(key, why),
        }
    }

    async fn make_and_prove(
        &self,
        sources: Vec<Result<Source>>,
        destination: &Destination,
    ) -> Result<Vec<Result<(Source, BackupUrl, Backup)>>> {
        let mut in_order: Vec<_> = sources.iter().flatten().map(|source| &source.volume).collect();
        in_order.sort();
        // A volume before the destination, as those do that delete.
        let mut volumes = HashMap::new();
        for volume in in_order {
            let lock = self.lock_volume(volume.as_str(), Sharing::Shared).await;
            volumes.insert(volume.to_string(), lock);
        }
        let at_destination = self.lock_destination(destination, Sharing::Shared).await?;
        self.still_there(destination).await?;
        let mut locks = Vec::new();
        let mut begun = Vec::new();
        for source in sources {
            let source = match source {
                Err(error) => Err(error),
                Ok(source) => match volumes.remove(source.volume.as_str()).transpose() {
                    Err(error) => Err(error),
                    Ok(lock) => {
                        locks.push(lock);
                        self.begin(source, destination).await
                    }
                },
            };
            begun.push(source);
        }
        let asked = ask_all(Arc::clone(&self.daemon), begun, destination.clone());
        let (answers, _locks) = finish_even_if_cancelled(asked, (locks, at_destination)).await?;
        let mut made = Vec::new();
        for answer in answers {
            made.push(match answer {
                Ok((source, at, url)) => self.proven((source, at), url, destination).await,
                Err(error) => Err(error),
            });
        }
        Ok(made)
    }

    /// Refuses a source whose backup, or deletion, may still be going on, and writes down the backup
    /// that is about to be made of it.
    async fn begin(&self, source: Source, destination: &Destination) -> Result<Begun> {
        let Source { snapshot, volume, taken } = &source;
        let volume = volume.as_str();
        let what = match taken {
            Some(_) => format!("the snapshot \"{snapshot}\" is not backed up"),
            None => format!("the volume \"{volume}\" is not backed up"),
        };
        self.no_pending_operation(Operation::Delete, None, volume, destination, &what).await?;
        // Two backups of one snapshot can't be told apart. The end of the second one would pass for
        // the end of the first.
        self.no_pending_operation(
            Operation::Backup,
            Some(snapshot.as_str()),
            volume,
            destination,
            &what,
        )
        .await
        .map_err(|error| {
            match error.hint.clone().filter(|_| error.kind == ErrorKind::Busy) {
                Some(hint) => error
                    .with_hint(format!("back up a fresh snapshot (--create-snapshot), or {hint}")),
                None => error,
            }
        })?;
        let at = self.clock.now();
        let pending = self
            .record_operation(Operation::Backup, snapshot.as_str(), volume, destination)
            .await?;
        Ok(Begun { source, at, pending })
    }

    /// Proves the backup that the daemon says it has made.
    async fn proven(
        &self,
        (source, begun): (Source, Timestamp),
        made: Result<BackupUrl>,
        destination: &Destination,
    ) -> Result<(Source, BackupUrl, Backup)> {
        let Source { snapshot, volume, taken } = &source;
        let volume = volume.as_str();
        let url = match made {
            Err(error) if error.kind == ErrorKind::Timeout => {
                self.look_for_backup(snapshot, volume, destination, begun, error).await?
            }
            made => made?,
        };
        // At EBS, the inspection names neither.
        let of = [("SnapshotName", snapshot.as_str()), ("VolumeName", volume)];
        let of = of.map(|(field, value)| (field.to_owned(), value.to_owned()));
        let proven = self.prove(&url, snapshot, volume, destination).await?;
        let proven = proven.with_fields_of(&Backup::new(of.into()));
        if let Some(excluded) = proven.moment().excluded() {
            log::info!("\"{volume}\": {excluded}");
        }
        if let Some(warning) = proven.moment().warning() {
            log::warn!("\"{volume}\": {warning}");
        }
        let (verified, bytes) = self.verify(&url, volume).await?;
        let extent = taken.as_ref().map(Snapshot::extent).unwrap_or_default();
        let proven = proven.with_size(bytes).with_extent(&extent);
        let good = Good { url: url.clone(), verified };
        self.memory().good.add_if_new(url.clone(), good);
        self.memory().proven.add_if_new(url.clone(), proven.clone());
        self.memory().observations.add_backup(volume, &url, &proven, (true, verified));
        if self.locks.is_some() {
            self.remember(destination).await;
        }
        Ok((source, url, proven))
    }
}

/// What the daemon answered to the call for one backup, and when it was asked.
type Answer = Result<(Source, Timestamp, Result<BackupUrl>)>;

/// Asks the daemon for the backups. Owns what it needs, because it goes on after a cancellation.
async fn ask_all(
    daemon: Arc<dyn Daemon>,
    begun: Vec<Result<Begun>>,
    destination: Destination,
) -> Vec<Answer> {
    let sources = || begun.iter().flatten().map(|begun| &begun.source);
    let as_it_is: Vec<_> = sources()
        .filter(|source| source.taken.is_none())
        .map(|Source { volume, snapshot, .. }| AsItIs {
            volume: volume.clone(),
            snapshot: snapshot.clone(),
        })
        .collect();
    let mut made = match as_it_is.is_empty() {
        true => Vec::new(),
        false => match daemon.back_up(&as_it_is, &destination).await {
            Ok(made) => made,
            Err(error) => as_it_is.iter().map(|_| Err(error.clone())).collect(),
        },
    }
    .into_iter();
    let mut answers = Vec::new();
    for begun in begun {
        answers.push(match begun {
            Err(error) => Err(error),
            Ok(Begun { source, at, pending }) => {
                let url = match &source.taken {
                    Some(_) => daemon.create_backup(&source.snapshot, &destination).await,
                    None => made.next().unwrap_or_else(|| Err(Error::internal("no answer"))),
                };
                has_ended(pending, &url);
                Ok((source, at, url))
            }
        });
    }
    answers
}
