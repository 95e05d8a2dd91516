//! Taking and removing snapshots. A snapshot is written to the repository first, and to its
//! volume's state last. It is removed in the opposite order. So a crash leaves a snapshot that is
//! in no state.

use std::{cell::RefCell, collections::HashSet, time::Duration};

use jiff::Zoned;
use rustic_core::repofile::{SnapshotFile, SnapshotId};

use super::super::{
    dump::Dumps,
    moment::Stood,
    reading::{Reader, ToRead, VolumeReading, Work, unread},
    repository::Gathering,
    root::Root,
    save::Source,
    snapshots::{LocalRepository, Preparation, Turn, gone},
    state::{SnapshotState, VolumeState},
    volumes::Volumes,
};
use crate::{
    clock::is_in_future,
    convoy::refusal::{no_snapshot, no_volume, refused},
    error::{Error, ErrorKind, Result},
    files::{names, remove_all, write_error},
    text::counted,
};

/// Takes a snapshot of a volume's files. Returns the volume as it was before, and the snapshot.
///
/// # Errors
/// If there is no such volume, a file can't be read, one of the operator's commands fails, or
/// the repository or the state can't be written. There is then no snapshot.
pub(in crate::daemon) fn create(
    volumes: &Volumes,
    local: &LocalRepository,
    reader: Reader<'_>,
    (volume, name): (&str, &str),
    now: impl Fn() -> Zoned,
) -> Result<(VolumeState, SnapshotState)> {
    volumes.exclusively(volume, || {
        let made_anew = local.made_anew();
        match create_once(volumes, local, reader, (volume, name), &now) {
            // What is in the repository is in the volume as well.
            Err(error) if error.kind == ErrorKind::Repository && local.is_damaged() => {
                local.make_anew(&error, made_anew)?;
                create_once(volumes, local, reader, (volume, name), &now)
            }
            created => created,
        }
    })
}

fn create_once(
    volumes: &Volumes,
    local: &LocalRepository,
    reader: Reader<'_>,
    (volume, name): (&str, &str),
    now: &impl Fn() -> Zoned,
) -> Result<(VolumeState, SnapshotState)> {
    let turn = local.turn()?;
    forget_gone(volumes, local, volume);
    let state = volumes.find(volume).ok_or_else(|| no_volume(volume))?;
    let time = now();
    let dumps = reader.dump(&state, turn.repository(), || time.timestamp())?;
    let to_read = ToRead { volume: &state, is_dump_only: dumps.are_all };
    let turn = RefCell::new(Some(turn));
    let taking = Taking { local, turn, state: &state, name, time, dumps: &dumps };
    let read = reader.read_together(&[to_read], &taking).pop().unwrap_or_else(unread);
    let (snapshot, stood) = read.inspect_err(|_| {
        // Its space is freed only if no turn goes on.
        taking.turn.take();
        local.give_back();
    })?;
    let (stood, containers) = Stood::told(stood);
    let snapshot = SnapshotState { stood, containers, ..snapshot };
    let mut is_the_same = true;
    let saved = volumes.update(volume, |now| {
        is_the_same = now.id() == state.id();
        if is_the_same {
            now.snapshots.insert(name.to_owned(), snapshot.clone());
            now.saved_bytes = Some(snapshot.bytes);
        }
    });
    let saved = saved.and_then(|()| {
        let anew = || refused(format!("volume {volume} was made anew just now"));
        if is_the_same { Ok(()) } else { Err(anew().with_hint("try again")) }
    });
    if let Err(error) = saved {
        taking.undo(&snapshot);
        return Err(error);
    }
    drop(taking);
    Ok((state, snapshot))
}

/// Lets a volume's state forget the snapshots that are gone from the repository. The volume must be
/// held exclusively.
pub(in crate::daemon) fn forget_gone(volumes: &Volumes, local: &LocalRepository, volume: &str) {
    let Some(state) = volumes.find_even_forgotten(volume) else { return };
    let gone = gone_of(local.root(), &state);
    if gone.is_empty() {
        return;
    }
    tell_gone(volume, &gone);
    let forgotten = volumes.update(volume, |state| {
        state.snapshots.retain(|name, _| !gone.contains(name));
    });
    if let Err(error) = forgotten {
        log::warn!("{error}");
    }
}

/// The snapshots of a volume that are gone from the repository.
pub(super) fn gone_of(root: &Root, volume: &VolumeState) -> Vec<String> {
    let gone = gone(root, volume.snapshots.values().map(|snapshot| snapshot.id.as_str()));
    let is_gone = |(_, snapshot): &(&String, &SnapshotState)| gone.contains(&*snapshot.id);
    volume.snapshots.iter().filter(is_gone).map(|(name, _)| name.clone()).collect()
}

/// Says which snapshots of a volume are gone.
fn tell_gone(volume: &str, gone: &[String]) {
    let (one, more) = ("local snapshot is", "local snapshots are");
    let count = counted(gone.len(), one, more);
    log::warn!("volume \"{volume}\": {count} gone, and forgotten: {}", gone.join(", "));
}

/// A snapshot that is being taken.
struct Taking<'a> {
    local: &'a LocalRepository,
    /// `None` once it is over.
    turn: RefCell<Option<Turn<'a>>>,
    state: &'a VolumeState,
    name: &'a str,
    time: Zoned,
    dumps: &'a Dumps,
}

impl Taking<'_> {
    fn in_turn<T>(&self, act: impl FnOnce(&Turn<'_>) -> Result<T>) -> Result<T> {
        match &*self.turn.borrow() {
            Some(turn) => act(turn),
            None => Err(Error::internal("the turn is over")),
        }
    }

    fn source<'a>(&'a self, reading: &'a VolumeReading<'_>) -> Source<'a> {
        let (volume, extras) = (&self.state.name, self.dumps.extras());
        Source { files: reading.files(), volume, parent: None, extras }
    }
}

impl Work for Taking<'_> {
    type Prepared = Preparation;
    type Made = SnapshotState;

    fn prepare(&self, _: usize, reading: &VolumeReading<'_>) -> Result<Preparation> {
        // One that is dated in the future would be the parent for years.
        let is_known =
            |snapshot: &&SnapshotState| !is_in_future(snapshot.created, self.time.timestamp());
        let known = self.state.snapshots.values().filter(is_known);
        let parent = known.max_by_key(|snapshot| snapshot.created);
        self.in_turn(|turn| turn.prepare(self.source(reading), parent))
    }

    fn prepare_again(
        &self,
        _: usize,
        reading: &VolumeReading<'_>,
        prepared: Preparation,
    ) -> Result<Preparation> {
        self.in_turn(|turn| turn.prepare_again(self.source(reading), prepared))
    }

    fn needs(&self, prepared: &Preparation) -> Option<Duration> {
        prepared.needs()
    }

    fn read(
        &self,
        _: usize,
        reading: &VolumeReading<'_>,
        prepared: Preparation,
    ) -> Result<(SnapshotState, bool)> {
        let source = self.source(reading);
        let taken = self.in_turn(|turn| turn.take(source, prepared, self.name, &self.time));
        let (taken, is_held) = taken?;
        let (moment, mounts) = (Some(reading.kind().to_owned()), reading.mounts.clone());
        let dumps = self.dumps.records.clone();
        Ok((SnapshotState { mounts, moment, dumps, ..taken }, is_held))
    }

    /// One snapshot is taken at a time, so nothing waits for the upload of another.
    fn gather(&self) -> Option<Gathering<'_>> {
        None
    }

    fn upload(&self) -> Result<()> {
        Ok(())
    }

    fn undo(&self, taken: &SnapshotState) {
        // Its space is freed only if no turn goes on.
        self.turn.take();
        _ = self.local.delete(std::slice::from_ref(&taken.id));
    }
}

/// Removes a snapshot.
///
/// # Errors
/// If there is no such snapshot, or the state can't be written. Data that can't be removed is only
/// a warning.
pub(in crate::daemon) fn delete(
    volumes: &Volumes,
    local: &LocalRepository,
    name: &str,
) -> Result<()> {
    let (volume, _) = volumes.find_snapshot(name).ok_or_else(|| no_snapshot(name))?;
    volumes.exclusively(&volume.name, || {
        let (_, snapshot) = volumes.find_snapshot(name).ok_or_else(|| no_snapshot(name))?;
        volumes.update(&volume.name, |state| {
            state.snapshots.remove(name);
        })?;
        if let Err(error) = local.delete(&[snapshot.id]) {
            log::warn!("the data of deleted snapshot {name} stays until the next start: {error}");
        }
        Ok(())
    })
}

/// Removes the snapshots that no volume's state has and that carry the tags of this daemon's
/// snapshots. Everything else stays, above all backups: the repository may have been used as a
/// destination by mistake.
pub(super) fn remove_unknown(
    root: &Root,
    local: &LocalRepository,
    known: &HashSet<&str>,
    sentences: &mut Vec<String>,
) {
    let of_no_volume = |name: &String| !known.contains(name.as_str());
    let listed = names(&root.snapshots()).unwrap_or_else(|error| {
        sentences.push(format!("unfinished snapshots stay: {error}"));
        Vec::new()
    });
    let ids = listed.into_iter().filter(of_no_volume).filter_map(|name| name.parse().ok());
    let unknown: Vec<SnapshotId> = ids.collect();
    if unknown.is_empty() {
        return;
    }
    let repository = match local.open().and_then(|repository| repository.plain()) {
        Ok(repository) => repository,
        Err(error) => {
            sentences.push(format!(
                "{} of no volume left alone: {error}",
                counted(unknown.len(), "snapshot was", "snapshots were")
            ));
            return;
        }
    };
    let (mut removed, mut others) = (0, 0);
    for id in unknown {
        let path = root.snapshot_file(id.to_hex().as_str());
        match repository.get_file::<SnapshotFile>(&id) {
            Ok(file) if is_unfinished(&file) => match remove_all(&path) {
                Ok(()) => removed += 1,
                Err(error) => sentences
                    .push(format!("an unfinished snapshot stays: {}", write_error(&path, &error))),
            },
            Ok(_) => others += 1,
            Err(_) => sentences.push(format!(
                "\"{}\" is of no volume and can't be read; it was left alone",
                path.display()
            )),
        }
    }
    sentences.extend(summary(root, removed, others));
}

/// Sentences on what happened to unknown snapshots.
fn summary(root: &Root, removed: usize, others: usize) -> Vec<String> {
    let mut sentences = Vec::new();
    if removed > 0 {
        let snapshots = counted(removed, "unfinished snapshot was", "unfinished snapshots were");
        sentences.push(format!("{snapshots} removed"));
    }
    if others > 0 {
        sentences.push(format!(
            "\"{}\" has {} of no volume (a backup, perhaps), left alone: this is no place for backups",
            root.repository().display(),
            counted(others, "snapshot", "snapshots")
        ));
    }
    sentences
}

fn is_unfinished(file: &SnapshotFile) -> bool {
    let tagged = |name: &str| file.tags.iter().any(|tag| tag.starts_with(name));
    tagged("snapshot=") && !tagged("backup=")
}
