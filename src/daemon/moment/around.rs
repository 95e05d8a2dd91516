//! Commands in the containers that write to a volume: before those are held still, and after they were
//! let go on.

use std::{path::PathBuf, time::Duration};

use super::{
    containers::{ASKED_WITHIN, ContainerHolds},
    place::{Place, names},
};
use crate::{
    engine::{
        AFTER_LABEL, Activity, Asked, BEFORE_LABEL, Commands, Engine, Exec, Limit, UnderWay,
        Written, commands,
    },
    error::{Error, Result},
    files::real_path,
    scope,
};

/// How long a command may take where no label says so.
const USUAL_LIMIT: Duration = Duration::from_mins(5);

/// What was begun before, so that what comes after follows.
#[derive(Debug)]
pub(super) struct Around {
    socket: PathBuf,
    volume: String,
    begun: Vec<Commands>,
    /// Since the first of them was begun.
    under_way: Option<UnderWay>,
}

impl ContainerHolds {
    /// What labels ask to be done in the containers that write to each of these places. Where they are
    /// read although Docker does not answer, nothing is asked for.
    ///
    /// # Errors
    /// If Docker does not answer, or a label makes no sense.
    pub(super) fn asked(&self, places: &[&Place]) -> Result<Vec<Asked>> {
        let may_be_unknown = |error: &Error| {
            self.reads_unheld || places.iter().all(|place| self.may_be_unknown(place, error))
        };
        let (volumes, containers) = match Engine::at(&self.socket).all(ASKED_WITHIN) {
            Err(error) if may_be_unknown(&error) => {
                let level = if self.socket.exists() { log::Level::Warn } else { log::Level::Debug };
                log::log!(
                    level,
                    "no commands and no dumps for volume \"{}\", because Docker can't tell which are asked for: {error}",
                    names(places)
                );
                return Ok(vec![Asked::default(); places.len()]);
            }
            all => all?,
        };
        let of = |place: &&Place| {
            let (volume, folder, real) = (&place.volume, &place.folder, real_path(&place.folder));
            commands(&containers, Written { volume, folder, real: &real }, &volumes)
        };
        places.iter().map(of).collect()
    }

    /// Runs the commands before, each container's once. Those of a container that does not run have
    /// nothing to do.
    ///
    /// # Errors
    /// If one fails. Those after were run then.
    pub(super) fn before(&self, places: &[&Place]) -> Result<Around> {
        let mut containers: Vec<_> =
            self.asked(places)?.into_iter().flat_map(|asked| asked.containers).collect();
        containers.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
        containers.dedup_by(|one, other| one.id == other.id);
        let (socket, volume) = (self.socket.clone(), names(places));
        let mut around = Around { socket, volume, begun: Vec::new(), under_way: None };
        for container in containers {
            if container.before.is_none() && container.after.is_none() {
                continue;
            }
            if container.activity != Activity::Runs {
                log::info!(
                    "volume {}: container {} does not run, so no command is run in it",
                    around.volume,
                    container.name
                );
                continue;
            }
            let before = container.before.clone();
            around.under_way.get_or_insert_with(UnderWay::begin);
            around.begun.push(container);
            let Some(before) = before else { continue };
            let ran = around.run_last(BEFORE_LABEL, &before);
            if let Err(error) = ran {
                // It may have been done half way.
                if let Err(after) = around.after() {
                    log::error!("volume {}: {after}", around.volume);
                }
                return Err(error);
            }
        }
        Ok(around)
    }
}

impl Around {
    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    fn run_last(&self, label: &str, script: &str) -> Result<()> {
        let Some(container) = self.begun.last() else { return Ok(()) };
        self.run(container, label, script, &scope::is_ended)
    }

    /// Runs the commands after, those of the container that was begun last first. All are tried.
    ///
    /// # Errors
    /// If one fails.
    pub(super) fn after(&self) -> Result<()> {
        let mut failure = None;
        for container in self.begun.iter().rev() {
            let Some(after) = &container.after else { continue };
            // Also where the run was cancelled.
            if let Err(error) = self.run(container, AFTER_LABEL, after, &|| false)
                && let Some(also) = failure.replace(error)
            {
                log::error!("volume {}: {also}", self.volume);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn run(
        &self,
        container: &Commands,
        label: &str,
        script: &str,
        stopped: &dyn Fn() -> bool,
    ) -> Result<()> {
        let exec = Exec {
            container: (&container.id, &container.name),
            what: label,
            script,
            user: container.user.as_deref(),
            limit: Limit::Whole(container.timeout.unwrap_or(USUAL_LIMIT)),
        };
        let since = std::time::Instant::now();
        Engine::at(&self.socket).exec(exec, stopped, None)?;
        log::info!(
            "volume {}: {label} of container {} took {} ms",
            self.volume,
            container.name,
            since.elapsed().as_millis()
        );
        Ok(())
    }
}
