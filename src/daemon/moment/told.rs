//! What is told of a place beside its moment: how what writes to it is held, and what is done in
//! containers for it.

use std::sync::Arc;

use crate::engine::{AFTER_LABEL, Activity, Asked, BEFORE_LABEL, Everything};

/// How Docker is asked how volumes are held.
pub(in crate::daemon) enum Ask {
    /// Not at all: it is Docker that waits for this.
    Nothing,
    Now,
    /// It was asked just now, and told this, if anything.
    Was(Option<Arc<Everything>>),
}

impl Ask {
    pub(in crate::daemon) fn by(may_ask: bool) -> Self {
        if may_ask { Self::Now } else { Self::Nothing }
    }

    /// What was told by the engine of this daemon's volumes. Where there is none, containers may be held by
    /// another.
    pub(in crate::daemon) fn was(everything: Option<Arc<Everything>>, has_engine: bool) -> Self {
        if has_engine { Self::Was(everything) } else { Self::Now }
    }
}

/// How what writes to a place is held, and what is done in containers for it, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::daemon) struct Told {
    /// [`crate::convoy::HOLD`].
    pub(in crate::daemon) held: Option<String>,
    /// [`crate::convoy::COMMANDS`].
    pub(in crate::daemon) commands: Option<String>,
    pub(in crate::daemon) has_dumps: bool,
    /// Whether something may write to it now.
    pub(in crate::daemon) is_written: bool,
    /// The database that writes to it, by its image.
    pub(in crate::daemon) database: Option<&'static str>,
}

/// What is done in containers, for people: "dump postgres in db, run convoy-backups.exec-before in web".
pub(super) fn commands_told(asked: &Asked) -> Option<String> {
    let mut told = Vec::new();
    for container in &asked.containers {
        let off = if container.activity == Activity::Runs { "" } else { " (it does not run now)" };
        let name = &container.name;
        let only = if asked.only_dumps { " in place of its files" } else { "" };
        let dumps = container.dumps.iter().map(|kind| kind.as_str());
        told.extend(dumps.map(|kind| format!("dump {kind} in {name}{only}{off}")));
        let labels = [(BEFORE_LABEL, &container.before), (AFTER_LABEL, &container.after)];
        let asked = labels.into_iter().filter(|(_, command)| command.is_some());
        told.extend(asked.map(|(label, _)| format!("run {label} in {name}{off}")));
    }
    (!told.is_empty()).then(|| told.join(", "))
}
