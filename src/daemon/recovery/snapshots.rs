//! Taking and removing snapshots. A snapshot is written to the repository first, and to its
//! volume's state last. It is removed in the opposite order. So a crash leaves a snapshot that is
//! in no state.

use std::{cell::RefCell, collections::HashSet};

use jiff::Zoned;
use rustic_core::repofile::{SnapshotFile, SnapshotId};

use super::super::{
    moment::Stood,
    reading::{Reader, VolumeReading},
    root::Root,
    snapshots::LocalRepository,
    state::{SnapshotState, VolumeState},
    volumes::Volumes,
};
use crate::{
    convoy::refusal::{no_snapshot, no_volume, refused},
    error::{Error, Result},
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
    now: impl FnOnce() -> Zoned,
) -> Result<(VolumeState, SnapshotState)> {
    volumes.exclusively(volume, || {
        let turn = RefCell::new(Some(local.turn()?));
        let state = volumes.find(volume).ok_or_else(|| no_volume(volume))?;
        let parent = state.snapshots.values().max_by_key(|snapshot| snapshot.created);
        let time = now();
        let is_over = || Error::internal("the turn is over");
        let dumps = {
            let turn = turn.borrow();
            let repository = turn.as_ref().ok_or_else(is_over)?.repository();
            reader.dump(&state, repository, || time.timestamp())?
        };
        let take = |reading: &VolumeReading<'_>| {
            let turn = turn.borrow();
            let turn = turn.as_ref().ok_or_else(is_over)?;
            let source = (reading.files(), dumps.extras());
            let taken = turn.take(source, volume, name, parent, &time)?;
            let kind = Some(reading.kind().to_owned());
            let dumps = dumps.records.clone();
            let mounts = reading.mounts.clone();
            let (stood, containers) = Stood::told(reading.stood());
            Ok(SnapshotState { mounts, moment: kind, stood, containers, dumps, ..taken })
        };
        let remove = |taken: &SnapshotState| {
            // Its space is freed only if no turn goes on.
            turn.take();
            _ = local.delete(std::slice::from_ref(&taken.id));
        };
        let snapshot = reader.read(&state, dumps.are_all, take, remove)?;
        let mut is_the_same = true;
        let saved = volumes.update(volume, |now| {
            is_the_same = now.id() == state.id();
            if is_the_same {
                now.snapshots.insert(name.to_owned(), snapshot.clone());
            }
        });
        let saved = saved.and_then(|()| {
            let anew = || refused(format!("volume {volume} was made anew just now"));
            if is_the_same { Ok(()) } else { Err(anew().with_hint("try again")) }
        });
        if let Err(error) = saved {
            remove(&snapshot);
            return Err(error);
        }
        Ok((state, snapshot))
    })
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
