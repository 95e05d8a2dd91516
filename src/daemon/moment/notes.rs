//! Notes on moments: what is to be undone. A note is written before anything is made, and removed
//! when it is undone, so that the next start finds what a crash left.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::place::{Kind, Place};
use crate::{
    clock::boot,
    daemon::identity::new_id,
    engine::{AFTER_LABEL, How},
    error::{Error, Result},
    files::{names, sync_folder, write_error, write_whole},
};

/// The folder with the notes.
#[derive(Debug, Clone)]
pub(super) struct Notes(pub(super) PathBuf);

/// The kind of a note on writers that are held still.
pub(super) const HOLD: &str = "hold";

/// The kind of a note on containers that are held still.
pub(super) const CONTAINERS: &str = "containers";

/// The kind of a note on commands that are to be run in containers after those before were.
pub(super) const AFTER: &str = "after";

/// What is to be undone of a moment, or of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) id: String,
    /// [`Kind::as_str`], [`HOLD`], [`CONTAINERS`] or [`AFTER`].
    pub(super) kind: String,
    pub(super) volume: String,
    /// The volume's folder.
    pub(super) folder: PathBuf,
    /// The folder that was made; empty if it is not known.
    pub(super) path: PathBuf,
    /// What tells the subvolume that the folder was made in ([`super::btrfs::home`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) home: Option<String>,
    /// Whether the hold ended well, and nothing of it is under way: what a command started may be
    /// meant to stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_held: bool,
    /// The socket of the engine that has the containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) engine: Option<PathBuf>,
    /// The containers that are held, or in which commands are to be run, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) containers: Vec<NotedContainer>,
    /// When containers may have been held: what happened to them at other times was not by this hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) asked: Option<Asked>,
    /// Linux's id of the boot in which that was; `None` in notes of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) boot: Option<String>,
    /// Whether nothing writes to the volume beside what is noted.
    #[serde(skip)]
    pub(super) is_all: bool,
}

/// A stretch of time in which an engine was asked to hold containers, by this host's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Asked {
    /// The clocks of a host and of its engine differ by less.
    const MARGIN: SignedDuration = SignedDuration::from_mins(1);

    /// Whether something that happened at this time, as an engine writes it, may be by the hold. What
    /// can't be read may be.
    pub(super) fn may_be_at(self, time: &str) -> bool {
        let Ok(time) = time.parse::<Timestamp>() else { return true };
        let (from, to) = (self.from.duration_until(time), time.duration_until(self.to));
        from >= -Self::MARGIN && to >= -Self::MARGIN
    }
}

/// A container that ran before it was held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NotedContainer {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) how: How,
    /// When it was started last, as the engine writes it.
    pub(super) started: String,
    /// How many seconds it gets to stop.
    pub(super) grace: u64,
    /// When it ended, as the engine writes it, once it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) finished: Option<String>,
    /// Whether it was seen to stand still after the engine did it. If not, the engine may have done
    /// it, or do it later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_sure: bool,
}

impl NotedContainer {
    /// One in which a command is to be run.
    pub(super) fn to_run_in(id: &str, name: &str) -> Self {
        let (id, name, started) = (id.to_owned(), name.to_owned(), String::new());
        Self { id, name, how: How::Pause, started, grace: 0, finished: None, is_sure: false }
    }
}

impl Note {
    pub(super) fn new(kind: Kind, place: &Place, path: PathBuf) -> Self {
        Self::of(kind.as_str(), place, path)
    }

    /// The note on a hold of the programs that write to this place.
    pub(super) fn hold(place: &Place) -> Self {
        // What the commands are for is the operator's to say.
        Self { is_all: true, ..Self::of(HOLD, place, PathBuf::new()) }
    }

    /// The note on a hold of containers that write to this place.
    pub(super) fn containers(
        place: &Place,
        engine: PathBuf,
        containers: Vec<NotedContainer>,
        within: Duration,
    ) -> Self {
        let note = Self::of(CONTAINERS, place, PathBuf::new());
        let from = Timestamp::now();
        let to = from.saturating_add(within).unwrap_or(Timestamp::MAX);
        let asked = Some(Asked { from, to });
        Self { engine: Some(engine), containers, asked, boot: Some(boot()), ..note }
    }

    /// The note on commands that are to be run in containers that write to this place; there are none yet.
    pub(super) fn after(place: &Place, engine: PathBuf) -> Self {
        Self { engine: Some(engine), ..Self::of(AFTER, place, PathBuf::new()) }
    }

    /// Whether it is about a hold, or about what comes after one.
    pub(super) fn is_hold(&self) -> bool {
        [HOLD, CONTAINERS, AFTER].contains(&self.kind.as_str())
    }

    /// Whether it is about commands, which are run where nothing is held any more.
    pub(super) fn is_after(&self) -> bool {
        self.kind == AFTER
    }

    /// What was done by this note, for people.
    pub(super) fn undone(&self) -> &'static str {
        if self.is_after() { "run" } else { "released" }
    }

    fn of(kind: &str, place: &Place, path: PathBuf) -> Self {
        let (volume, folder) = (place.volume.clone(), place.folder.clone());
        Self {
            id: new_id(),
            kind: kind.to_owned(),
            volume,
            folder,
            path,
            home: None,
            is_held: false,
            engine: None,
            containers: Vec::new(),
            asked: None,
            boot: None,
            is_all: false,
        }
    }

    /// The longest time, in seconds, that a container of it gets to stop.
    pub(super) fn grace(&self) -> u64 {
        let stops = self.containers.iter().filter(|it| it.how == How::Stop);
        stops.map(|it| it.grace).max().unwrap_or_default()
    }

    /// Whether it is about containers, and has none any more.
    pub(super) fn holds_nothing(&self) -> bool {
        self.engine.is_some() && self.containers.is_empty()
    }

    /// The note once the writers are held.
    pub(super) fn held(self) -> Self {
        Self { is_held: true, ..self }
    }

    /// With what tells the subvolume that the folder is made in.
    pub(super) fn in_home(self, home: Option<String>) -> Self {
        Self { home, ..self }
    }

    /// What it is about, for people.
    pub(super) fn told(&self) -> String {
        let Self { kind, volume, path, .. } = self;
        if kind == HOLD {
            return format!("a hold of what writes to volume \"{volume}\"");
        }
        let names: Vec<_> = self.containers.iter().map(|it| it.name.as_str()).collect();
        let names = names.join(", ");
        if self.is_after() {
            return format!("{AFTER_LABEL} of what writes to volume \"{volume}\" ({names})");
        }
        if kind == CONTAINERS {
            return format!("a hold of what writes to volume \"{volume}\" ({names})");
        }
        if path.as_os_str().is_empty() {
            format!("a moment ({kind}) of volume \"{volume}\"")
        } else {
            format!("a moment ({kind}) of volume \"{volume}\" in \"{}\"", path.display())
        }
    }
}

impl Notes {
    fn file(&self, note: &Note) -> PathBuf {
        self.0.join(format!("{}.json", note.id))
    }

    /// Writes a note, in place of an earlier one on the same moment. It is on disk when this returns.
    pub(super) fn write(&self, note: &Note) -> Result<()> {
        let path = self.file(note);
        let content =
            serde_json::to_vec_pretty(note).map_err(|error| Error::internal(error.to_string()))?;
        fs::create_dir_all(&self.0)
            .and_then(|()| write_whole(&path, &content))
            .map_err(|error| write_error(&path, &error))
    }

    pub(super) fn remove(&self, note: &Note) -> Result<()> {
        let path = self.file(note);
        match fs::remove_file(&path).and_then(|()| sync_folder(&self.0)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(write_error(&path, &error))
            }
            _ => Ok(()),
        }
    }

    /// Whether a note was not removed yet.
    pub(super) fn has(&self, note: &Note) -> bool {
        self.file(note).exists()
    }

    /// A note as it is now: another thread may have undone a part of what it says, or all.
    pub(super) fn now(&self, note: &Note) -> Option<Note> {
        match fs::read(self.file(note)) {
            Ok(text) => Some(serde_json::from_slice(&text).unwrap_or_else(|_| note.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => Some(note.clone()),
        }
    }

    /// Removes what a crash left of a note that was being written. Only a start may do that.
    pub(super) fn remove_unfinished(&self) {
        let unfinished = names(&self.0).unwrap_or_default().into_iter();
        let unfinished = unfinished.map(|name| self.0.join(name)).filter(|path| !is_note(path));
        for path in unfinished {
            if let Err(error) = fs::remove_file(&path) {
                log::debug!("\"{}\" stays: {error}", path.display());
            }
        }
    }

    /// All notes, and a sentence on each that can't be read.
    pub(super) fn all(&self) -> (Vec<Note>, Vec<String>) {
        let (mut notes, mut sentences) = (Vec::new(), Vec::new());
        let listed = names(&self.0).unwrap_or_else(|error| {
            sentences.push(format!("what is left of moments stays: {error}"));
            Vec::new()
        });
        for path in listed.iter().map(|name| self.0.join(name)).filter(|path| is_note(path)) {
            let read = fs::read(&path).map_err(|error| error.to_string());
            let note = read
                .and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
            match note {
                Ok(note) => notes.push(note),
                Err(why) => sentences.push(format!(
                    "\"{}\" can't be read, so what it notes stays: {why}",
                    path.display()
                )),
            }
        }
        // A command is run in what goes on.
        notes.sort_by_key(Note::is_after);
        (notes, sentences)
    }
}

fn is_note(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}
