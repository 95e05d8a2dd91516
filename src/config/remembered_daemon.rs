//! The daemon that a data folder's volumes and runs belong to, as the folder remembers it, and the
//! choice of the daemon where `BKUP_CONVOY` is not set.
//!
//! A socket that happens to exist, or not, must not decide again at each run: a Convoy that is
//! stopped would be replaced by a built-in daemon without volumes, whose empty backups succeed.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    CONVOY_SOCKET, Config,
    daemon_choice::DaemonChoice,
    given::{Source, quote},
    settings::BKUP_CONVOY,
};
use crate::{
    error::{Error, Result},
    files,
};

/// The file in the data folder that names the daemon.
const FILE: &str = "daemon.json";

/// What settled which daemon a data folder's volumes belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Settled {
    /// The command `daemon use`: it holds whether the daemon is there or not.
    Use,
    /// The first run that worked with volumes.
    Run,
    /// The volumes that runs of a version without this memory saw.
    History,
}

/// The daemon that a data folder's volumes and runs belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RememberedDaemon {
    pub(crate) choice: DaemonChoice,
    pub(crate) settled: Settled,
    /// The same daemon in another way: the root of a built-in daemon that serves the socket.
    pub(crate) same: Option<DaemonChoice>,
}

/// The file's content. A data folder may be moved, so its own built-in daemon is only `builtin`.
#[derive(Serialize, Deserialize)]
struct Written {
    daemon: String,
    settled: Settled,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    same: Option<String>,
}

/// Which daemon a command uses, and why.
#[derive(Debug, Clone)]
pub(crate) struct DaemonDecision {
    /// The daemon; the remembered one if there is a refusal.
    pub(crate) choice: DaemonChoice,
    /// For people.
    pub(crate) why: String,
    /// Why no daemon may be used before somebody settles which one it is.
    pub(crate) refusal: Option<Error>,
}

impl Config {
    /// The daemon to use, and why: the one that a setting names; else the one that `daemon use`
    /// named; else Convoy's socket if it exists, or the built-in daemon in the data folder. That
    /// last answer is refused if the data folder's volumes belong to another daemon.
    pub(crate) fn daemon(&self) -> DaemonDecision {
        self.daemon_beside(Path::new(CONVOY_SOCKET))
    }

    /// As [`Config::daemon`], with Convoy's usual socket at this path.
    pub(crate) fn daemon_beside(&self, socket: &Path) -> DaemonDecision {
        if let Some(choice) = &self.convoy {
            let given = match self.values.source(BKUP_CONVOY.row.name) {
                Source::Flag(flag) => flag,
                _ => BKUP_CONVOY.row.name,
            };
            let why = format!("{given} is \"{choice}\"");
            return DaemonDecision { choice: choice.clone(), why, refusal: None };
        }
        let (found, why) = self.found_beside(socket);
        match self.remembered_daemon() {
            Err(error) => DaemonDecision { choice: found, why, refusal: Some(error) },
            Ok(None) => DaemonDecision { choice: found, why, refusal: None },
            Ok(Some(known)) if known.settled == Settled::Use => DaemonDecision {
                why: format!(
                    "BKUP_CONVOY is not set, and \"convoy-backups daemon use\" chose \"{}\"",
                    known.choice
                ),
                choice: known.choice,
                refusal: None,
            },
            Ok(Some(known)) if known.is(&found) => DaemonDecision {
                why: format!("{why}; the volumes known here belong to it"),
                choice: found,
                refusal: None,
            },
            Ok(Some(known)) => DaemonDecision {
                refusal: Some(self.refusal(&known.choice, &found, &why)),
                why: format!("the volumes known here belong to it, but {why}"),
                choice: known.choice,
            },
        }
    }

    /// The daemon that is there now, and how that is seen.
    pub(crate) fn found_daemon(&self) -> DaemonChoice {
        self.found_beside(Path::new(CONVOY_SOCKET)).0
    }

    fn found_beside(&self, socket: &Path) -> (DaemonChoice, String) {
        let shown = quote(&socket.to_string_lossy());
        match socket.symlink_metadata() {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                let why = format!("BKUP_CONVOY is not set and there is no {shown}");
                (DaemonChoice::Builtin(self.builtin_root()), why)
            }
            // A socket that can't be inspected may well exist. An error from it is better than
            // another, empty daemon.
            _ => {
                let why = format!("BKUP_CONVOY is not set and {shown} is there");
                (DaemonChoice::Socket(socket.to_owned()), why)
            }
        }
    }

    /// What was, what is, and what settles it.
    fn refusal(&self, known: &DaemonChoice, found: &DaemonChoice, why: &str) -> Error {
        let message = format!(
            "which daemon? The volumes known here belong to \"{known}\", but {why}, so it would be \"{found}\" with other volumes; nothing was done"
        );
        let start = match known {
            DaemonChoice::Socket(_) => format!("start the daemon at \"{known}\" again, or "),
            DaemonChoice::Builtin(_) => String::new(),
        };
        Error::configuration(message).with_hint(format!(
            "{start}settle it: \"convoy-backups daemon use {}\" to stay with the first, \"convoy-backups daemon use {}\" to change to the second, or set BKUP_CONVOY for the services and commands",
            self.in_short(known),
            self.in_short(found)
        ))
    }

    /// What the data folder remembers; `None` where it remembers nothing yet.
    ///
    /// # Errors
    /// If the file can't be read, or names no daemon.
    pub(crate) fn remembered_daemon(&self) -> Result<Option<RememberedDaemon>> {
        let path = self.remembered_daemon_file();
        let unreadable = |why: String| {
            Error::configuration(format!(
                "which daemon the volumes belong to is not known: \"{}\": {why}",
                path.display()
            ))
            .with_hint(
                "settle it: \"convoy-backups daemon use convoy\" or \"convoy-backups daemon use builtin\", or set BKUP_CONVOY",
            )
        };
        let text = match fs::read(&path) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            read => read.map_err(|error| unreadable(error.to_string()))?,
        };
        let written: Written =
            serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        let choice = self
            .named_daemon(&written.daemon)
            .ok_or_else(|| unreadable(format!("\"{}\" is no daemon", written.daemon)))?;
        let same = written.same.and_then(|same| self.named_daemon(&same));
        Ok(Some(RememberedDaemon { choice, settled: written.settled, same }))
    }

    /// Writes down which daemon the data folder's volumes belong to.
    ///
    /// # Errors
    /// If the data folder can't be written.
    pub(crate) fn remember_daemon(&self, daemon: &RememberedDaemon) -> Result<()> {
        let path = self.remembered_daemon_file();
        let written = Written {
            daemon: self.in_short(&daemon.choice),
            settled: daemon.settled,
            same: daemon.same.as_ref().map(|same| self.in_short(same)),
        };
        let text = serde_json::to_vec_pretty(&written)
            .map_err(|error| Error::internal(error.to_string()))?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.data_dir)
            .and_then(|()| files::write_whole(&path, &text))
            .map_err(|error| files::write_error(&path, &error))
    }

    /// Remembers the daemon of a run that worked with volumes, and changed something or meant to:
    /// - where nothing is remembered yet, unless a flag named the daemon: a flag is for one command;
    /// - where the services' settings name another daemon than the remembered one: they are what
    ///   every later command takes.
    ///
    /// # Errors
    /// If the data folder can't be read or written.
    pub(crate) fn remember_run(
        &self,
        choice: &DaemonChoice,
        same: Option<&DaemonChoice>,
    ) -> Result<()> {
        let source = self.values.source(BKUP_CONVOY.row.name);
        let is_for_one_command =
            self.convoy.is_some() && matches!(source, Source::Flag(_) | Source::Default);
        let is_news = match self.remembered_daemon()? {
            None => !is_for_one_command,
            Some(known) => matches!(source, Source::System(_)) && !known.is(choice),
        };
        if !is_news {
            return Ok(());
        }
        self.remember_daemon(&RememberedDaemon {
            choice: choice.clone(),
            settled: Settled::Run,
            same: same.cloned(),
        })
    }

    /// The daemon that a person names: `convoy`, `builtin`, or as `BKUP_CONVOY` is written.
    pub(crate) fn named_daemon(&self, text: &str) -> Option<DaemonChoice> {
        match text {
            "convoy" => Some(DaemonChoice::Socket(CONVOY_SOCKET.into())),
            "builtin" => Some(DaemonChoice::Builtin(self.builtin_root())),
            other => DaemonChoice::parse(other),
        }
    }

    /// The shortest name by which [`Config::named_daemon`] knows this daemon.
    pub(crate) fn in_short(&self, choice: &DaemonChoice) -> String {
        match choice {
            DaemonChoice::Socket(socket) if socket == Path::new(CONVOY_SOCKET) => "convoy".into(),
            DaemonChoice::Builtin(root) if *root == self.builtin_root() => "builtin".into(),
            other => other.to_string(),
        }
    }

    /// Whether the data folder has a file that says which daemon its volumes belong to.
    pub(crate) fn remembers_daemon(&self) -> bool {
        fs::symlink_metadata(self.remembered_daemon_file()).is_ok()
    }

    fn remembered_daemon_file(&self) -> PathBuf {
        self.data_dir.join(FILE)
    }
}

impl RememberedDaemon {
    fn is(&self, other: &DaemonChoice) -> bool {
        self.choice.is_same(other) || self.same.as_ref().is_some_and(|same| same.is_same(other))
    }
}
