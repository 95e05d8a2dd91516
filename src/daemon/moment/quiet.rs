//! A hold for a client: what writes to places stands still until the client says so, or the limit passes.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use super::{Moments, Place};
use crate::{
    blocking::no_thread,
    error::{Error, Result},
    scope,
};

/// What writes to places, held still. It goes on when this is dropped, or with [`Quiet::end`], which says
/// whether that went well.
#[derive(Debug)]
#[must_use]
pub(in crate::daemon) struct Quiet {
    containers: Vec<String>,
    end: mpsc::Sender<mpsc::Sender<Result<()>>>,
}

impl Moments {
    /// Runs the commands before, and holds what writes to these places. Readings of them use the hold
    /// until it ends.
    ///
    /// # Errors
    /// If it can't be held, a command fails, or the run ends first.
    pub(in crate::daemon) fn quiesce(self: &Arc<Self>, places: Vec<Place>) -> Result<Quiet> {
        let (moments, scope) = (Arc::clone(self), scope::current());
        let (begun, begins) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        let hold = move || scope::within(scope, || moments.hold_until(&places, &begun, &ends));
        let started = thread::Builder::new().name("quiet".into()).spawn(hold);
        started.map_err(|error| no_thread("cannot start a thread that holds", &error))?;
        let lost = || Err(Error::internal("the thread that holds has ended"));
        let containers = begins.recv().unwrap_or_else(|_| lost())?;
        Ok(Quiet { containers, end })
    }

    fn hold_until(
        &self,
        places: &[Place],
        begun: &mpsc::Sender<Result<Vec<String>>>,
        ends: &mpsc::Receiver<mpsc::Sender<Result<()>>>,
    ) {
        let still = self.still(places);
        let lending = match still.lend() {
            Ok((lending, containers)) => {
                if begun.send(Ok(containers)).is_err() {
                    return;
                }
                lending
            }
            Err(error) => {
                _ = begun.send(Err(error));
                return;
            }
        };
        let answer = ends.recv_timeout(still.hold_limit());
        drop(lending);
        let ended = still.end();
        match answer {
            Ok(answer) => _ = answer.send(ended),
            Err(_) => {
                if let Err(error) = ended {
                    log::error!("{error}");
                }
            }
        }
    }
}

impl Quiet {
    /// The names of the containers that stand still.
    pub(in crate::daemon) fn containers(&self) -> &[String] {
        &self.containers
    }

    /// Lets what was held go on, and runs the commands after.
    ///
    /// # Errors
    /// If it could not be released, was released too early, or a command fails.
    pub(in crate::daemon) fn end(self) -> Result<()> {
        let over = || {
            let message = "what was held went on before it was told to, because its time was over";
            Err(Error::new(crate::error::ErrorKind::Timeout, message)
                .with_hint("do less while it is held, or raise BKUP_DOCKER_HOLD_MAX"))
        };
        let (answer, answers) = mpsc::channel();
        if self.end.send(answer).is_err() {
            return over();
        }
        answers.recv().unwrap_or_else(|_| over())
    }
}
