//! Which backups are good, and which of them stay (guards 1 and 2).

use std::collections::{BTreeMap, btree_map::Entry};

use super::{
    data_look::{Depth, Good, Seen},
    group::{Group, Protected, Protection, Whose},
    known::{Known, KnownBackup, by_backup},
    observations::Observation,
    run::Guards,
};
use crate::{
    convoy::{Backup, BackupUrl},
    error::{Error, ErrorKind, Result},
};

impl Good {
    fn protected(self, why: Protection) -> Protected {
        Protected { url: self.url, why }
    }
}

impl Guards {
    /// These backups, newest first by those of their dates that can be right at this moment. Those
    /// without such a date come last: a clock was wrong, or is wrong now.
    pub(super) fn by_date(&self, backups: &[Backup]) -> Vec<Backup> {
        let now = self.clock.now();
        let mut by_date = backups.to_vec();
        by_date.sort_by(|a, b| (b.taken_by(now), b.order()).cmp(&(a.taken_by(now), a.order())));
        by_date
    }

    /// The newest of `backups` (newest first) that is good.
    pub(super) async fn newest_good(
        &self,
        backups: &[Backup],
        whose: Whose,
    ) -> Result<Option<BackupUrl>> {
        let known = self.known_of(backups)?;
        Ok(self.first_good(backups, &known, whose).await?.map(|(_, good)| good.url))
    }

    /// The backups that guard 2 protects among `backups`, the backups of one volume, newest first:
    /// the newest good one; if files changed while that was made, the newest during which none did; and, unless it is verified, the newest verified one. If none is
    /// verified, the second newest good one stays too: the newest may be one without data.
    ///
    /// # Errors
    /// If a backup can't be inspected for a reason that says nothing about it. The run then deletes
    /// nothing more.
    pub(super) async fn protected(
        &self,
        backups: &[Backup],
        whose: Whose,
    ) -> Result<Vec<Protected>> {
        let known = self.known_of(backups)?;
        let Some((index, newest)) = self.first_good(backups, &known, whose).await? else {
            return Ok(Vec::new());
        };
        let is_enough = newest.verified;
        let mut protected = vec![newest.protected(Protection::NewestGood)];
        let older = &backups[index + 1..];
        if backups[index].moment().torn_files() > 0 {
            let untorn: Vec<_> =
                older.iter().filter(|it| it.moment().torn_files() == 0).cloned().collect();
            let untorn = self.first_good(&untorn, &known, whose).await?;
            protected.extend(untorn.map(|(_, good)| good.protected(Protection::NewestUntorn)));
        }
        if is_enough {
            return Ok(protected);
        }
        protected.extend(match self.first_verified(older, &known, whose).await? {
            Some(verified) => Some(verified.protected(Protection::NewestVerified)),
            None => {
                let second = self.first_good(older, &known, whose).await?;
                second.map(|(_, good)| good.protected(Protection::SecondNewest))
            }
        });
        Ok(protected)
    }

    /// The backups of a group that no deletion may take, some perhaps twice: those that are protected
    /// among all, and of this host's backups those that are protected among the trusted ones.
    ///
    /// # Errors
    /// As [`Guards::backups_by_volume`].
    pub(crate) async fn protected_of(&self, group: &Group) -> Result<Vec<Protected>> {
        let mut protected = self.protected(&group.backups, group.whose).await?;
        if group.whose.is_this_hosts() {
            let trusted = self.trusted(&group.backups)?;
            protected.extend(self.protected(&trusted, group.whose).await?);
        }
        Ok(protected)
    }

    /// As [`Guards::protected_of`], for the own backups of a volume, newest first.
    ///
    /// # Errors
    /// As [`Guards::backups_by_volume`].
    pub(crate) async fn protected_own(&self, own: &[Backup]) -> Result<Vec<Protected>> {
        self.protected_of(&Group { whose: Whose::Own, backups: own.to_vec() }).await
    }

    /// Whether the data of this backup was looked at, by this run or an earlier one. Nothing is
    /// asked of the daemon.
    pub(crate) fn is_verified(&self, url: &BackupUrl) -> bool {
        let volume = url.volume().unwrap_or_default();
        self.found_good(url).map_or_else(
            || {
                let known = self.known_backups(volume).unwrap_or_default();
                known.get(url).is_some_and(|known| known.verified)
            },
            |good| good.verified,
        )
    }

    /// Adds to each backup whether its data was looked at, by this run or an earlier one, unless
    /// the daemon does that itself.
    ///
    /// # Errors
    /// If the daemon's capabilities, or what is known of the backups, can't be read.
    pub(crate) async fn with_verified(&self, backups: Vec<Backup>) -> Result<Vec<Backup>> {
        if self.capabilities().await?.inspects_data {
            return Ok(backups);
        }
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        let mut marked = Vec::new();
        for backup in backups {
            let Ok(url @ BackupUrl::Stored { .. }) = backup.url() else {
                marked.push(backup);
                continue;
            };
            let known = match known.entry(backup.volume().to_owned()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(self.known_backups(backup.volume())?),
            };
            let is_known = known.get(&url).is_some_and(|known| known.verified);
            let verified = self.found_good(&url).map_or(is_known, |good| good.verified);
            marked.push(backup.with_verified(verified));
        }
        Ok(marked)
    }

    /// What earlier runs learned of this volume's backups. Without a memory, nothing.
    ///
    /// # Errors
    /// If the memory can't be read. The run then deletes nothing more.
    pub(super) fn known_backups(&self, volume: &str) -> Result<Known> {
        let Some(known) = &self.known else { return Ok(Known::default()) };
        known
            .of_volume(&self.identity(), volume)
            .map(by_backup)
            .map_err(|error| self.stop_on(error, "what is known of the backups can't be read"))
    }

    fn known_of(&self, backups: &[Backup]) -> Result<Known> {
        backups.first().map_or(Ok(Known::default()), |backup| self.known_backups(backup.volume()))
    }

    async fn first_good(
        &self,
        backups: &[Backup],
        known: &Known,
        whose: Whose,
    ) -> Result<Option<(usize, Good)>> {
        for (index, backup) in backups.iter().enumerate() {
            if let Some(good) = self.good(backup, known, whose, None).await? {
                return Ok(Some((index, good)));
            }
        }
        Ok(None)
    }

    /// The first verified backup. Only backups whose data is seen are inspected.
    async fn first_verified(
        &self,
        backups: &[Backup],
        known: &Known,
        whose: Whose,
    ) -> Result<Option<Good>> {
        for backup in backups {
            let url = backup.url()?;
            let known_backup = known.get(&url);
            let seen = self.look(&url, known_backup).await;
            let is_known = known_backup.is_some_and(|backup| backup.verified);
            if (is_known || matches!(seen, Seen::Whole { .. }))
                && let Some(good) = self.good(backup, known, whose, Some(seen)).await?
                && good.verified
            {
                return Ok(Some(good));
            }
        }
        Ok(None)
    }

    /// Inspects a backup and looks at its data, unless this run did so before; `None` if it is not
    /// good. `seen`: what a look found.
    async fn good(
        &self,
        backup: &Backup,
        known: &Known,
        whose: Whose,
        seen: Option<Seen>,
    ) -> Result<Option<Good>> {
        if !backup.is_complete() {
            return Ok(None);
        }
        let url = backup.url()?;
        let known = known.get(&url);
        let lacks = backup.moment().lacks();
        let bad = lacks.as_deref().or(backup.doubt()).or(known.and_then(KnownBackup::is_bad));
        if let Some(why) = bad {
            log::debug!("the backup \"{url}\" counts for nothing: {why}");
            return Ok(None);
        }
        if let Some(good) = self.found_good(&url) {
            return Ok(Some(good));
        }
        if self.memory().broken.contains(&url) {
            return Ok(None);
        }
        let inspected = match self.daemon.backup(&url).await {
            Ok(inspected) => inspected,
            Err(error)
                if matches!(
                    error.kind,
                    ErrorKind::Daemon | ErrorKind::NotFound | ErrorKind::Repository
                ) =>
            {
                log::warn!("the backup \"{url}\" is listed but can't be inspected: {error}");
                if whose == Whose::Own {
                    self.observe_if_broken(backup.volume(), &url, &error, false);
                }
                return Ok(None);
            }
            Err(error) => return Err(self.stop_on(error, "a backup could not be inspected")),
        };
        if !inspected.is_complete() {
            return Ok(None);
        }
        let seen = match seen {
            Some(seen) => seen,
            None => self.seen(&url, known).await?,
        };
        let (verified, bytes) = match seen {
            Seen::Whole { bytes } => (true, bytes),
            Seen::Hidden(_) => (known.is_some_and(|known| known.verified), None),
            Seen::Broken(why) => {
                log::warn!("the backup \"{url}\" can't be restored: {why}");
                self.memory().broken.add_if_new(url.clone(), ());
                if whose == Whose::Own {
                    self.observe_broken(backup.volume(), &url, why);
                }
                return Ok(None);
            }
        };
        let good = Good { url: url.clone(), verified };
        let mut memory = self.memory();
        memory.good.add_if_new(url.clone(), good.clone());
        if whose == Whose::Own {
            let inspected = inspected.with_fields_of(backup).with_size(bytes);
            let volume = backup.volume();
            memory.observations.add_backup(volume, &url, &inspected, (false, verified));
        }
        Ok(Some(good))
    }

    /// What is known of the data of a backup that was inspected: by the inspection, if the daemon
    /// looks at the data, else by a look.
    pub(super) async fn seen(&self, url: &BackupUrl, known: Option<&KnownBackup>) -> Result<Seen> {
        if self.is_looked_at_elsewhere(url).await? {
            return Ok(Seen::Whole { bytes: None });
        }
        Ok(self.look(url, known).await)
    }

    /// As [`Self::seen`], without reading much.
    ///
    /// # Errors
    /// If the daemon's capabilities can't be read.
    pub(crate) async fn glance(&self, url: &BackupUrl) -> Result<Seen> {
        if self.is_looked_at_elsewhere(url).await? {
            return Ok(Seen::Whole { bytes: None });
        }
        Ok(self.look_with(url, Depth::Quick).await)
    }

    /// Whether inspecting this backup tells of its data. At Amazon the state `completed` does.
    async fn is_looked_at_elsewhere(&self, url: &BackupUrl) -> Result<bool> {
        let is_ebs = matches!(url, BackupUrl::Ebs { .. });
        Ok(is_ebs || self.capabilities().await?.inspects_data)
    }

    /// Looks at a backup's data. Data that was read before gets a quick look.
    async fn look(&self, url: &BackupUrl, known: Option<&KnownBackup>) -> Seen {
        let is_known = known.is_some_and(|known| known.verified);
        self.look_with(url, if is_known { Depth::Quick } else { Depth::Thorough }).await
    }

    async fn look_with(&self, url: &BackupUrl, depth: Depth) -> Seen {
        match &self.data {
            Some(data) => data.look(url, depth).await,
            None => Seen::Hidden("this process does not look at the data of backups".to_owned()),
        }
    }

    fn found_good(&self, url: &BackupUrl) -> Option<Good> {
        self.memory().good.get(url).cloned()
    }

    /// Remembers a backup as broken if this error says so surely. An error that a daemon puts in
    /// words of its own may have another reason.
    pub(super) fn observe_if_broken(
        &self,
        volume: &str,
        url: &BackupUrl,
        error: &Error,
        by_reading: bool,
    ) {
        if error.kind == ErrorKind::Repository {
            self.observe(Observation::BackupBroken {
                volume: volume.to_owned(),
                url: url.to_string(),
                why: error.message.clone(),
                by_reading,
            });
        }
    }

    /// Remembers a backup whose data a look found broken.
    pub(super) fn observe_broken(&self, volume: &str, url: &BackupUrl, why: String) {
        let (volume, url) = (volume.to_owned(), url.to_string());
        self.observe(Observation::BackupBroken { volume, url, why, by_reading: false });
    }
}
