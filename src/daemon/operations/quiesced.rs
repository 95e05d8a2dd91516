//! What writes to volumes, held still for a client, and commands in containers that labels name.

use super::{super::gate::Passing, Operations};
use crate::{
    convoy::{
        Name, Quiesced,
        refusal::{no_volume, refused},
    },
    error::{Error, Result},
};

impl Operations {
    /// Whether anything could be held: by the operator's commands, or by an engine.
    pub(in crate::daemon) fn holds_writers(&self) -> bool {
        self.moments.has_commands() || self.drivers.docker.is_used()
    }

    /// Holds what writes to these volumes until [`Operations::let_go_on`], or the limit has passed.
    ///
    /// # Errors
    /// If a volume can't be read now, or what writes to it can't be held.
    pub(in crate::daemon) fn quiesce(&self, volumes: &[Name]) -> Result<Quiesced> {
        if volumes.is_empty() {
            return Err(Error::usage("no volume is named"));
        }
        let mut places = Vec::new();
        for name in volumes {
            let missing = || no_volume(name.as_str());
            let volume = self.volumes.find(name.as_str()).ok_or_else(missing)?;
            self.drivers.check(&volume)?;
            places.push(self.drivers.place(&volume.driver, &volume.name));
        }
        if places.len() > 1
            && let Some(alone) = places.iter().find(|place| self.moments.is_held_alone(place))
        {
            let message = format!(
                "volume \"{}\" is held by BKUP_HOLD, which holds for one volume at a time",
                alone.volume
            );
            return Err(Error::configuration(message).with_hint("name it alone"));
        }
        let alone = self.pass(Passing::Hold)?;
        let quiet = self.moments.quiesce(places, alone)?;
        let containers = quiet.containers().to_vec();
        Ok(Quiesced { id: self.quiets.keep(quiet), containers })
    }

    /// Lets what was held go on.
    ///
    /// # Errors
    /// If that fails, or it went on before.
    pub(in crate::daemon) fn let_go_on(&self, id: &str) -> Result<()> {
        let quiet = self.quiets.take(id);
        let unknown = || refused("nothing is held for this id; it may have gone on already");
        quiet.ok_or_else(unknown)?.end()
    }

    /// Runs the command that a label of a container has under this name.
    ///
    /// # Errors
    /// If there is no such container or label, or the command fails.
    pub(in crate::daemon) fn run_in_container(&self, container: &str, command: &str) -> Result<()> {
        self.moments.run_in_container(container, command)
    }
}
