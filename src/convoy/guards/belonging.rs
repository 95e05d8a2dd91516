//! Whose backups there are under a name. Several hosts can share a destination, and each can have
//! a volume of the same name. Every deletion goes by the answer of [`Guards::sorted`].

use super::{
    by_backup::ByBackup,
    group::{Group, Whose},
    known::Known,
    run::Guards,
};
use crate::{
    convoy::{Backup, Belonging, Destination, Name, Origin, Volume},
    error::{Error, ErrorKind, Result},
};

/// The backups under a name that a pruning may delete, and those that it leaves alone.
#[derive(Debug, Default)]
pub(crate) struct Prunable {
    /// The backups of each volume, newest first.
    pub(crate) volumes: Vec<Vec<Backup>>,
    /// The newest backup of each volume that this host made or restored, if another one is newer.
    pub(crate) protected: Vec<Backup>,
    /// All backups of these volumes that this host made or restored.
    pub(crate) trusted: Vec<Backup>,
    pub(crate) left: Vec<LeftAlone>,
}

/// Backups that a pruning leaves alone, newest first.
#[derive(Debug)]
pub(crate) struct LeftAlone {
    /// Why, and what to do about it, for people.
    pub(crate) why: &'static str,
    pub(crate) backups: Vec<Backup>,
}

impl Guards {
    /// The backups of this volume, newest first. Backups of a volume that had the name before, or
    /// that has it on another host, are left out.
    ///
    /// # Errors
    /// As [`Guards::backups`].
    pub(crate) async fn own_backups(
        &self,
        destination: &Destination,
        volume: &Volume,
    ) -> Result<Vec<Backup>> {
        self.backups_that(destination, volume, Belonging::Own).await
    }

    /// The backups that may be this volume's or that of a volume of the same name on another host,
    /// newest first. With Convoy, they are those of which no remaining snapshot tells.
    ///
    /// # Errors
    /// As [`Guards::backups`].
    pub(crate) async fn unclear_backups(
        &self,
        destination: &Destination,
        volume: &Volume,
    ) -> Result<Vec<Backup>> {
        self.backups_that(destination, volume, Belonging::Unclear).await
    }

    async fn backups_that(
        &self,
        destination: &Destination,
        volume: &Volume,
        wanted: Belonging,
    ) -> Result<Vec<Backup>> {
        let backups = self.backups(destination, Some(&Name::volume(&volume.name)?)).await?;
        let sorted = self.sorted(Some(volume), backups)?;
        Ok(sorted.into_iter().filter(|(it, _)| *it == wanted).map(|(_, backup)| backup).collect())
    }

    /// The backups of all volumes that have or had this name, on any host.
    ///
    /// # Errors
    /// As [`Guards::backups`]. If the volume can't be read, the run deletes nothing more.
    pub(crate) async fn backups_by_volume(
        &self,
        destination: &Destination,
        name: &Name,
    ) -> Result<Vec<Group>> {
        let backups = self.backups(destination, Some(name)).await?;
        self.by_volume(name, backups).await
    }

    /// The backups of this name that a pruning may delete: those of this host's volumes, or of each
    /// host's with `all_hosts`. Even then, backups of which nothing tells whether they are of one
    /// volume are left alone: one of them may be the only one of a volume.
    ///
    /// # Errors
    /// As [`Guards::backups_by_volume`].
    pub(crate) async fn prunable(
        &self,
        destination: &Destination,
        name: &Name,
        all_hosts: bool,
    ) -> Result<Prunable> {
        let groups = self.backups_by_volume(destination, name).await?;
        let mut prunable = Prunable::default();
        for group in groups {
            let is_prunable = match all_hosts {
                true => group.whose.is_one_volume(),
                false => group.whose.is_this_hosts(),
            };
            if !is_prunable {
                let why = group.why_left();
                prunable.leave(group, why);
                continue;
            }
            match self.trusted_of(&group.backups, group.whose, all_hosts)? {
                Some(trusted) if trusted.is_empty() => {
                    let why = if group.whose == Whose::Own { UNKNOWN } else { UNKNOWN_AND_GONE };
                    prunable.leave(group, why);
                }
                trusted => {
                    let trusted = trusted.unwrap_or_default();
                    prunable.protected.extend(trusted.first().cloned());
                    prunable.trusted.extend(trusted);
                    prunable.volumes.push(group.backups);
                }
            }
        }
        Ok(prunable)
    }

    /// Groups backups of one name, newest first, by the volume that they belong to.
    pub(super) async fn by_volume(&self, name: &Name, backups: Vec<Backup>) -> Result<Vec<Group>> {
        let living = match self.daemon.volume(name).await {
            Ok(volume) => Some(volume),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(self.stop_on(error, "a look at a volume failed")),
        };
        Ok(grouped(self.sorted(living.as_ref(), backups)?))
    }

    /// Whose each of these backups of one name is: the one answer by which everything is deleted or
    /// left alone. `living` is this host's volume of that name, if it has one.
    ///
    /// What a run has seen to be the volume's own stays so, even after the run deletes the snapshot
    /// that proved it.
    pub(super) fn sorted(
        &self,
        living: Option<&Volume>,
        backups: Vec<Backup>,
    ) -> Result<Vec<(Belonging, Backup)>> {
        let made_here = self.made_here(&backups)?;
        let sorted: Vec<_> = backups
            .into_iter()
            .map(|backup| {
                let belonging = backup.belonging(living);
                // The built-in daemon knows better than the names and URLs of backups.
                let is_unknown = backup.origin().is_none()
                    && matches!(belonging, Belonging::Unclear | Belonging::Other);
                let belonging = match made_here.of(&backup).filter(|_| is_unknown) {
                    None => belonging,
                    Some(Made::OfFormer) => Belonging::Former,
                    Some(Made::OfTheName) => match living {
                        Some(volume) if backup.is_younger_than(volume) => Belonging::Own,
                        _ => Belonging::Former,
                    },
                };
                (belonging, backup)
            })
            .collect();
        Ok(self.with_those_seen(sorted))
    }

    fn with_those_seen(&self, mut sorted: Vec<(Belonging, Backup)>) -> Vec<(Belonging, Backup)> {
        let mut memory = self.memory();
        for (belonging, backup) in &mut sorted {
            let Ok(url) = backup.url() else { continue };
            match belonging {
                Belonging::Own => memory.own.add_if_new(url, ()),
                Belonging::Unclear if memory.own.contains(&url) => *belonging = Belonging::Own,
                _ => {}
            }
        }
        sorted
    }

    /// What tells which of these backups of one name this host made.
    fn made_here(&self, backups: &[Backup]) -> Result<MadeHere> {
        let name = backups.first().map_or("", Backup::volume);
        let known = self.known_backups(name)?;
        let mut now = ByBackup::default();
        for (_, url) in &self.memory().made {
            now.add_if_new(url.clone(), ());
        }
        let mut made_here = MadeHere { now, known, keys: Vec::new() };
        for backup in backups.iter().filter(|backup| backup.tells_its_volume()) {
            let key = backup.volume_key();
            if made_here.keys.iter().any(|(there, _)| key.is(there)) {
                continue;
            }
            if let Some(made) = made_here.by_url(backup) {
                made_here.keys.push((key.owned(), made));
            }
        }
        Ok(made_here)
    }

    /// The backup that makes it safe to delete this volume: the newest good one that belongs to it.
    ///
    /// # Errors
    /// [`ErrorKind::Guard`] if there is no good backup, or if the volume has a snapshot that is
    /// older than the volume and would be deleted with it; otherwise as [`Guards::backups`].
    pub(crate) async fn safe_copy(
        &self,
        destination: Option<&Destination>,
        volume: &Volume,
    ) -> Result<Backup> {
        let name = &volume.name;
        let refuse = |why: String, hint: String| {
            Err(Error::guard(format!("the volume \"{name}\" is not deleted: {why}"))
                .with_hint(hint))
        };
        let back_up =
            || "back it up first, or say that it may go for good (remove --all)".to_owned();
        let Some(destination) = destination else {
            return refuse(
                "no backup destination is set, so no backup of it is known".into(),
                back_up(),
            );
        };
        if let Some(older) = volume.older_snapshot() {
            return refuse(
                format!(
                    "its snapshot \"{}\" is older than it, of a volume that had the name before, and would go with it",
                    older.name
                ),
                "delete that snapshot first, or say that all may go for good (remove --all)".into(),
            );
        }
        let mut own = self.own_backups(destination, volume).await?;
        let trusted = self.trusted(&own)?;
        if let Some(good) = self.newest_good(&self.by_date(&trusted), Whose::Own).await?
            && let Some(good) =
                own.iter().find(|backup| backup.url().is_ok_and(|url| url.same_backup(&good)))
        {
            return Ok(good.clone());
        }
        own.retain(|backup| !trusted.contains(backup));
        if let Some(untrusted) = self.newest_good(&own, Whose::Own).await? {
            return refuse(
                format!("no run of this host is known to have made its backup \"{untrusted}\""),
                "back it up once more, or restore that backup once; or say that all may go for good (remove --all)".into(),
            );
        }
        let why = format!("there is no good backup of it at {destination}");
        let unclear = self.unclear_backups(destination, volume).await?;
        if unclear.is_empty() {
            return refuse(why, back_up());
        }
        let moved = match unclear.iter().any(|it| it.origin() == Some(Origin::Unsettled)) {
            true => format!("; {MOVED}"),
            false => String::new(),
        };
        refuse(
            format!("{why} that is surely its own"),
            format!(
                "{}; {} under its name may be its own or another host's: see \"convoy-backups backups --volume {name}\"{moved}",
                back_up(),
                unclear.len()
            ),
        )
    }
}

/// The backups of one name that this host made, and what tells other backups of the same volumes.
struct MadeHere {
    /// Those of this run.
    now: ByBackup<()>,
    known: Known,
    /// One entry for each volume.
    keys: Vec<([String; 4], Made)>,
}

/// Of which volume this host made a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    /// Of a volume that had the name before the last one that is known.
    OfFormer,
    /// Of the last volume of the name that is known.
    OfTheName,
}

impl MadeHere {
    fn of(&self, backup: &Backup) -> Option<Made> {
        let by_key = || self.keys.iter().find(|(key, _)| backup.volume_key().is(key));
        self.by_url(backup).or_else(|| by_key().map(|(_, made)| *made))
    }

    fn by_url(&self, backup: &Backup) -> Option<Made> {
        let url = backup.url().ok()?;
        if self.now.contains(&url) {
            return Some(Made::OfTheName);
        }
        let known = self.known.get(&url).filter(|known| known.made_here)?;
        Some(if known.former { Made::OfFormer } else { Made::OfTheName })
    }
}

fn grouped(sorted: Vec<(Belonging, Backup)>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (belonging, backup) in sorted {
        let whose = Whose::of(&backup, belonging);
        // The living volume's backups are one group, including those made before the volume had a
        // mark.
        let same = |group: &&mut Group| {
            group.whose == whose
                && (whose == Whose::Own || group.backups[0].volume_key() == backup.volume_key())
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.backups.push(backup),
            None => groups.push(Group { whose, backups: vec![backup] }),
        }
    }
    groups
}

/// What to do where a folder that was moved looks like a copy.
const MOVED: &str =
    "if the daemon's folder was moved and not copied: \"convoy-backups daemon moved\"";

/// Why backups of this host's are left alone where nothing else but their look tells so.
const UNKNOWN: &str = "no run of this host is known to have made one of them: back the volume up once more, or restore one";
/// As [`UNKNOWN`], where the volume is gone.
const UNKNOWN_AND_GONE: &str = "no run of this host is known to have made one of them, and their volume is gone: restore one (--all-hosts prunes them as they are)";

impl Group {
    /// Why a pruning leaves these backups alone.
    fn why_left(&self) -> &'static str {
        let is_copied = |backup: &Backup| backup.origin() == Some(Origin::Unsettled);
        match self.whose {
            _ if self.backups.iter().any(is_copied) => {
                "may be another host's: this daemon's folder was copied or moved (if it was moved: \"convoy-backups daemon moved\")"
            }
            Whose::Several => {
                "nothing tells whose they are; each may be the only one of another host's volume"
            }
            _ => "may be another host's (--all-hosts prunes for all hosts)",
        }
    }
}

impl LeftAlone {
    /// Whether they would be pruned if a run of this host were known to have made one of them.
    pub(crate) fn is_unknown(&self) -> bool {
        [UNKNOWN, UNKNOWN_AND_GONE].contains(&self.why)
    }
}

impl Prunable {
    fn leave(&mut self, group: Group, why: &'static str) {
        match self.left.iter_mut().find(|left| left.why == why) {
            Some(left) => left.backups.extend(group.backups),
            None => self.left.push(LeftAlone { why, backups: group.backups }),
        }
    }
}
