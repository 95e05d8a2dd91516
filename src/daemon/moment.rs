//! A moment: one point in time of a folder's files, held while they are read.
//!
//! [`plan`] decides which kind of moment a place offers, by [`facts`] that are cheap to see and
//! leave no traces. Each kind has a file. What a moment makes is noted in the root before it is
//! made ([`notes`]), so that the next start undoes what a crash left.
//!
//! A moment is begun, taken and ended. Writers that are to stand still ([`hold`]) are held between the
//! beginning, which does all that may be slow, and the end of the taking; of a live one, while it is
//! read:
//!
//! ```text
//! let still = moments.still([&place, ..]);
//! let beginning = moments.begin(&place);
//! still.hold()?;                           (unless the moment is live)
//! let moment = beginning.take()?;
//! still.end()?;
//! (read moment.files(); a live one between still.hold() and still.release())
//! moment.end()?;
//! ```

mod around;
#[cfg(test)]
mod around_tests;
mod btrfs;
mod btrfs_calls;
mod commands;
mod containers;
mod containers_hold;
#[cfg(test)]
mod containers_races_tests;
mod containers_release;
#[cfg(test)]
mod containers_scene;
#[cfg(test)]
mod containers_tests;
mod facts;
mod files;
mod hold;
mod hold_commands;
#[cfg(test)]
mod hold_tests;
mod holds;
#[cfg(test)]
mod left_tests;
mod lent;
mod live;
mod notes;
mod place;
mod plan;
mod processes;
mod quiet;
#[cfg(test)]
mod quiet_tests;
mod reflink;
mod shell;
mod still;
#[cfg(test)]
mod tests;
mod told;
mod turns;
mod writers;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::root::Root;
use crate::{
    clock::Clock,
    engine::{Asked, Engine},
    error::{Error, ErrorKind, Result},
    exclude::VolumeExcludes,
    files::{Unanswered, look_at, look_at_each},
    mount_table::{MountPoint, mounts},
    sync::lock,
    text::counted,
};
pub(crate) use commands::MomentCommands;
pub(crate) use containers::ContainerHolds;
use facts::Facts;
pub(in crate::daemon) use files::Files;
pub(crate) use hold::release_all;
use hold::told_of;
pub(crate) use hold_commands::HoldCommands;
use holds::{AGAIN, Holds, with_its_hint};
use notes::{Note, Notes};
pub(in crate::daemon) use place::{Kind, Place};
pub(in crate::daemon) use plan::Offer;
use quiet::Quiet;
pub(in crate::daemon) use quiet::Quiets;
pub(in crate::daemon) use reflink::{CopiedFile, Copies, HotFolder, TICK, changed_at};
pub(in crate::daemon) use still::{Still, Stood};
pub(in crate::daemon) use told::{Ask, Told};

/// Takes moments, and undoes them.
#[derive(Debug)]
pub(in crate::daemon) struct Moments {
    staging: PathBuf,
    notes: Notes,
    commands: Option<MomentCommands>,
    holds: Holds,
    /// What could not be undone, and is tried again at the volume's next moment.
    left: Mutex<Vec<Note>>,
    clock: Arc<dyn Clock>,
}

/// How what writes to volumes is held still.
#[derive(Debug, Clone, Default)]
pub(crate) struct HoldOptions {
    /// By the operator's commands.
    pub(crate) commands: Option<HoldCommands>,
    /// By their containers.
    pub(crate) containers: Option<ContainerHolds>,
    /// How long it may stand still.
    pub(crate) limit: Duration,
}

/// How long the removal of a snapshot may take.
const REMOVED_WITHIN: Duration = Duration::from_secs(60);
/// How long a start waits for commands that an earlier process was to run.
const RUN_WITHIN: Duration = Duration::from_secs(10);
/// How many files a warning names.
const NAMED: usize = 10;

/// A moment that can be taken at once.
pub(in crate::daemon) struct Beginning<'a> {
    moments: &'a Moments,
    place: &'a Place,
    offer: Offer,
}

/// A moment of a folder. It ends when it is dropped, or with [`Moment::end`], which says whether
/// that went well.
#[derive(Debug)]
#[must_use]
pub(in crate::daemon) struct Moment<'a> {
    moments: &'a Moments,
    kind: Kind,
    folder: PathBuf,
    begun: Timestamp,
    ended: Timestamp,
    /// Copies of what may change, where files are read from the folder.
    copies: Option<Copies>,
    /// What is to be undone; `None` for nothing, or if it was.
    note: Option<Note>,
}

impl Moments {
    pub(in crate::daemon) fn new(
        root: &Root,
        commands: Option<MomentCommands>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (staging, notes) = (root.staging(), Notes(root.moments()));
        let holds = Holds {
            commands: None,
            containers: None,
            limit: Duration::ZERO,
            notes: notes.clone(),
            turns: Arc::default(),
            again: AGAIN,
            lent: Arc::default(),
        };
        Self { staging, notes, commands, holds, left: Mutex::default(), clock }
    }

    /// With ways to hold what writes to volumes.
    pub(in crate::daemon) fn holding(self, options: HoldOptions) -> Self {
        let HoldOptions { commands, containers, limit } = options;
        let commands = commands.map(|commands| Arc::new(commands) as _);
        let containers = containers.map(Arc::new);
        Self { holds: Holds { commands, containers, limit, ..self.holds }, ..self }
    }

    /// What writes to these places, to be held still at the same time.
    pub(in crate::daemon) fn still<'a>(
        &'a self,
        places: impl IntoIterator<Item = &'a Place>,
    ) -> Still<'a> {
        Still::new(&self.holds, places.into_iter().collect())
    }

    /// Whether what writes to this place is held by the operator's commands, which hold for one place at
    /// a time.
    pub(in crate::daemon) fn is_held_alone(&self, place: &Place) -> bool {
        self.holds.is_by_commands(place)
    }

    /// Looks whether what writes to a place could be held now.
    ///
    /// # Errors
    /// If not.
    pub(in crate::daemon) fn can_be_held(&self, place: &Place) -> Result<()> {
        let Some(writers) = self.holds.writers_of(place) else { return Ok(()) };
        writers.note(&[place]).map(drop).map_err(|error| told_of(&place.volume, error))
    }

    /// Whether a place is read as it is where what writes to it can't be held.
    pub(in crate::daemon) fn reads_unheld(&self, place: &Place) -> bool {
        self.holds.reads_unheld(place)
    }

    /// How what writes to each of these places is held while its moment is taken, and what is done in
    /// containers for it, or why it can't be, for people.
    pub(in crate::daemon) fn held(&self, places: &[Place], ask: &Ask) -> Vec<Result<Told, String>> {
        self.holds.told(places, ask)
    }

    /// What labels ask to be done in the containers that write to this place.
    ///
    /// # Errors
    /// If Docker does not answer, or a label makes no sense.
    pub(in crate::daemon) fn asked(&self, place: &Place) -> Result<Asked> {
        let Some(containers) = &self.holds.containers else { return Ok(Asked::default()) };
        let asked = containers.asked(&[place]).map(|mut asked| asked.pop().unwrap_or_default());
        asked.map_err(|error| told_of(&place.volume, error))
    }

    /// Runs the command that a label of a container has under this name.
    ///
    /// # Errors
    /// If there is none, the container does not run, the command fails, or there is no engine.
    pub(in crate::daemon) fn run_in_container(&self, container: &str, command: &str) -> Result<()> {
        let no_engine = || {
            Error::configuration("there is no Docker engine to run a command with")
                .with_hint("BKUP_DOCKER names its socket; docs/docker.md")
        };
        self.holds.containers.as_ref().ok_or_else(no_engine)?.run_named(container, command)
    }

    /// Runs the commands before, and holds what writes to these places for a client. `kept` is dropped when
    /// that ends.
    ///
    /// # Errors
    /// If it can't be held, a command fails, or the run ends first.
    pub(in crate::daemon) fn quiesce(
        &self,
        places: Vec<Place>,
        kept: impl Send + 'static,
    ) -> Result<Quiet> {
        quiet::quiesce(self.holds.clone(), places, kept)
    }

    /// Whether a place is held for what this thread works for.
    pub(in crate::daemon) fn is_quiet(&self, place: &Place) -> bool {
        self.holds.lent.to(&[place]).is_some()
    }

    /// Whether this thread works inside of a hold that lasts.
    pub(in crate::daemon) fn is_in_a_hold(&self) -> bool {
        self.holds.lent.around().is_some()
    }

    /// Whether there are the operator's commands that hold.
    pub(in crate::daemon) fn has_commands(&self) -> bool {
        self.holds.commands.is_some()
    }

    /// The engine with the containers; `None` if there is none.
    pub(in crate::daemon) fn engine(&self) -> Option<Engine> {
        self.holds.containers.as_ref().map(|containers| Engine::at(&containers.socket))
    }

    /// Waits until nothing is held, and lets nothing be held until the result is dropped.
    ///
    /// # Errors
    /// If the run ends first.
    pub(in crate::daemon) fn turn(&self, place: &Place) -> Result<impl Sized + use<>> {
        self.holds.turn(&place.volume)
    }

    /// Tries again to release what earlier holds left. It is called in a turn.
    pub(in crate::daemon) fn release_left(&self) {
        self.holds.release_left();
    }

    /// A place as it is, of no moment.
    pub(in crate::daemon) fn as_it_is(&self, place: &Place) -> Moment<'_> {
        self.live(place)
    }

    /// The moment that a place offers: the operator's own, else the cheapest. Nothing is written.
    pub(in crate::daemon) fn offered(&self, place: &Place) -> Offer {
        let mounts = mounts().unwrap_or_default();
        let facts = Facts::of(place, self.snapshot_places(place), &mounts);
        plan::offered(facts, self.commands.is_some())
    }

    /// As [`Moments::offered`], for many places. One that does not answer in time offers nothing.
    pub(in crate::daemon) fn offered_all(&self, places: &[Place], within: Duration) -> Vec<Offer> {
        let looked_at =
            |place: &Place| (place.folder.clone(), (place.clone(), self.snapshot_places(place)));
        let looked_at: Vec<_> = places.iter().map(looked_at).collect();
        // The table may be long, and is the same for all.
        let mounts: Arc<[MountPoint]> = mounts().unwrap_or_default().into();
        let of = move |(place, beside): (Place, Vec<PathBuf>)| Facts::of(&place, beside, &mounts);
        let facts = look_at_each(&looked_at, within, of).into_iter().map(Result::unwrap_or_default);
        facts.map(|facts| plan::offered(facts, self.commands.is_some())).collect()
    }

    /// Where a snapshot of a place may lie, the best one first.
    fn snapshot_places(&self, place: &Place) -> Vec<PathBuf> {
        std::iter::once(self.staging.clone()).chain(place.beside.clone()).collect()
    }

    /// Looks at a place, so that its moment can be taken at once. What is left of an earlier one is
    /// undone, if it can be now.
    pub(in crate::daemon) fn begin<'a>(&'a self, place: &'a Place) -> Beginning<'a> {
        let left: Vec<_> =
            lock(&self.left).extract_if(.., |note| note.volume == place.volume).collect();
        for note in left {
            match self.undo_or_keep(&note) {
                Ok(()) => log::info!("{} was left; it is removed now", note.told()),
                Err(error) => log::warn!("{} is still left: {error}", note.told()),
            }
        }
        Beginning { moments: self, place, offer: self.offered(place) }
    }

    /// Undoes what an earlier process left. The result has a sentence on each.
    pub(in crate::daemon) fn undo_left(&self) -> Vec<String> {
        self.notes.remove_unfinished();
        let (left, mut sentences) = self.notes.all();
        for note in left {
            let is_hold = note.is_hold();
            let undone =
                if is_hold { self.undo_hold_or_try_again(&note) } else { self.undo_or_keep(&note) };
            sentences.push(match undone {
                Ok(()) if note.is_after() => {
                    format!("{} was not run, because a run did not end; it was run now", note.told())
                }
                Err(error) if note.is_after() => format!(
                    "{} was not run, because a run did not end, and is still not (tried again every {:?} as long as this process lives, and by the next start): {}",
                    note.told(),
                    self.holds.again,
                    with_its_hint(&error)
                ),
                Ok(()) if is_hold => {
                    format!("{} was left by a run that did not end; it was released", note.told())
                }
                Ok(()) => format!("{} was left by a run that did not end; it was removed", note.told()),
                Err(error) if is_hold => format!(
                    "{} was left by a run that did not end, and can't be released (tried again every {:?} as long as this process lives, and by the next start): {}",
                    note.told(),
                    self.holds.again,
                    with_its_hint(&error)
                ),
                Err(error) => format!(
                    "{} was left by a run that did not end, and can't be removed (the next start tries again): {error}",
                    note.told()
                ),
            });
        }
        sentences
    }

    /// [`Self::undo`]; what can't be undone is tried again at the volume's next moment.
    fn undo_or_keep(&self, note: &Note) -> Result<()> {
        self.undo(note).inspect_err(|_| lock(&self.left).push(note.clone()))
    }

    /// Undoes what a note says, and removes the note.
    fn undo(&self, note: &Note) -> Result<()> {
        match note.kind.as_str() {
            notes::HOLD | notes::CONTAINERS | notes::AFTER => return self.holds.undo(note),
            "btrfs" => {
                let Note { path, home, .. } = note.clone();
                let remove = move || btrfs::remove_snapshot(&path, home.as_deref());
                look_at(&note.path, REMOVED_WITHIN, remove)
                    .unwrap_or_else(|why| Err(unanswered(note, &why)))?;
            }
            "command" => commands::drop_moment(self.commands.as_ref(), note)?,
            _ => return Err(unknown(note)),
        }
        self.notes.remove(note)
    }

    /// [`Self::undo`]; what can't be released is tried again as long as the process lives.
    fn undo_hold_or_try_again(&self, note: &Note) -> Result<()> {
        if note.is_after() {
            return self.holds.undo_within(note.clone(), RUN_WITHIN);
        }
        self.holds.undo(note).inspect_err(|_| {
            if let Err(error) = self.holds.undo_later(note.clone()) {
                log::warn!("{error}");
            }
        })
    }
}

fn unanswered(note: &Note, why: &Unanswered) -> Error {
    let what = format!("\"{}\"", note.path.display());
    why.error(&what, "the next start tries again")
}

fn unknown(note: &Note) -> Error {
    let message = format!("this version knows no moment \"{}\"", note.kind);
    Error::new(ErrorKind::Io, message)
        .with_hint("start the newer version once, which made it; or remove what it made by hand, and its note in the daemon's folder \"moments\"")
}

impl<'a> Beginning<'a> {
    /// The kind that is tried first.
    pub(in crate::daemon) fn kind(&self) -> Kind {
        self.offer.kind
    }

    /// Takes the moment. Where it can't be taken, the next kind is, with a warning; but the
    /// operator's own commands are not passed over. What is left out is not copied.
    ///
    /// # Errors
    /// If the operator's command fails, or a note can't be written.
    pub(in crate::daemon) fn take(self, excludes: Option<&VolumeExcludes>) -> Result<Moment<'a>> {
        let Self { moments, place, offer } = self;
        match offer.kind {
            Kind::Command => moments.by_command(place),
            Kind::Btrfs => moments.by_btrfs(place, offer.snapshot_place.as_deref()).or_else(|error| {
                log::warn!(
                    "no btrfs snapshot of \"{}\" could be used, so what changes in it is copied: {error}",
                    place.folder.display()
                );
                Ok(moments.by_reflink_or_live(place, excludes))
            }),
            Kind::Reflink => Ok(moments.by_reflink_or_live(place, excludes)),
            Kind::Live => Ok(moments.live(place)),
        }
    }
}

impl Moments {
    fn live(&self, place: &Place) -> Moment<'_> {
        live::write_out(&place.folder);
        let now = self.clock.now();
        let folder = place.folder.clone();
        let (kind, copies, note) = (Kind::Live, None, None);
        Moment { moments: self, kind, folder, begun: now, ended: now, copies, note }
    }

    fn by_btrfs(&self, place: &Place, into: Option<&Path>) -> Result<Moment<'_>> {
        let into = into.unwrap_or(&self.staging);
        let path = btrfs::snapshot_path(into, &place.volume, into == self.staging);
        let home = btrfs::home(into);
        let mut moment =
            self.noted(Kind::Btrfs, Note::new(Kind::Btrfs, place, path).in_home(home))?;
        btrfs::take_snapshot(&place.folder, &moment.folder).inspect_err(|_| {
            // Nothing was made, so there is nothing to undo.
            if let Some(note) = moment.note.take() {
                _ = self.notes.remove(&note);
            }
        })?;
        moment.ended = self.clock.now();
        // What came into the folder since it was looked at may be missing in the snapshot.
        let now = self.offered(place);
        if now.kind != Kind::Btrfs {
            let why =
                now.why.unwrap_or_else(|| "the folder is no subvolume of btrfs any more".into());
            return Err(Error::new(ErrorKind::Io, why));
        }
        Ok(moment)
    }

    fn by_reflink_or_live(&self, place: &Place, excludes: Option<&VolumeExcludes>) -> Moment<'_> {
        self.by_reflink(place, excludes).unwrap_or_else(|error| {
            log::warn!(
                "no copies of what changes in \"{}\" could be made, so its files are read as they are: {error}",
                place.folder.display()
            );
            self.live(place)
        })
    }

    /// Copies have no names, so there is nothing to undo.
    fn by_reflink(&self, place: &Place, excludes: Option<&VolumeExcludes>) -> Result<Moment<'_>> {
        let begun = self.clock.now();
        let copies =
            reflink::copy_hot((&place.folder, excludes), || self.clock.now()).map_err(|error| {
                Error::io(format!("cannot copy files of \"{}\"", place.folder.display()), &error)
            })?;
        if !copies.moving().is_empty() {
            let paths: Vec<_> =
                copies.moving().iter().take(NAMED).map(|path| format!("{path:?}")).collect();
            log::warn!(
                "volume \"{}\": {} while the moment was taken, so not all of its files are of the same one: {}",
                place.volume,
                counted(
                    copies.moving().len(),
                    "file changed all the time",
                    "files changed all the time"
                ),
                paths.join(", ")
            );
        }
        let (kind, folder, ended) = (Kind::Reflink, place.folder.clone(), self.clock.now());
        Ok(Moment { moments: self, kind, folder, begun, ended, copies: Some(copies), note: None })
    }

    /// A command that fails may have made something, so its other half runs whatever happens.
    fn by_command(&self, place: &Place) -> Result<Moment<'_>> {
        let mut moment =
            self.noted(Kind::Command, Note::new(Kind::Command, place, PathBuf::new()))?;
        let id = moment.note.as_ref().map(|note| note.id.as_str());
        moment.folder = commands::take_moment(self.commands.as_ref(), place, id)?;
        if let Some(note) = &mut moment.note {
            note.path.clone_from(&moment.folder);
            self.notes.write(note)?;
        }
        commands::check_moment(place, &moment.folder)?;
        moment.ended = self.clock.now();
        Ok(moment)
    }

    /// A moment in which nothing was done yet but its note.
    fn noted(&self, kind: Kind, note: Note) -> Result<Moment<'_>> {
        self.notes.write(&note)?;
        let now = self.clock.now();
        let (folder, note) = (note.path.clone(), Some(note));
        Ok(Moment { moments: self, kind, folder, begun: now, ended: now, copies: None, note })
    }
}

impl Moment<'_> {
    /// The files to read, with the inodes and times that they had in the volume.
    pub(in crate::daemon) fn files(&self) -> Files<'_> {
        Files { folder: &self.folder, copies: self.copies.as_ref(), still: None, excludes: None }
    }

    pub(in crate::daemon) fn kind(&self) -> Kind {
        self.kind
    }

    /// How long the taking took: so long must writers stand still, unless the moment is live.
    pub(in crate::daemon) fn took(&self) -> SignedDuration {
        self.ended.duration_since(self.begun)
    }

    /// Ends the moment.
    ///
    /// # Errors
    /// If something of it stays. The volume's next moment and the next start try again.
    pub(in crate::daemon) fn end(mut self) -> Result<()> {
        self.note.take().map_or(Ok(()), |note| self.moments.undo_or_keep(&note))
    }
}

impl Drop for Moment<'_> {
    fn drop(&mut self) {
        if let Some(note) = self.note.take()
            && let Err(error) = self.moments.undo_or_keep(&note)
        {
            log::warn!("{} stays until the volume's next moment: {error}", note.told());
        }
    }
}
