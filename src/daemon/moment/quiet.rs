//! A hold for a client: what writes to places stands still until the client says so, or the limit passes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustic_core::Id;

use super::{
    holds::{Holds, ends as programs_end, with_its_hint},
    place::Place,
    still::Still,
};
use crate::{
    blocking::no_thread,
    error::{Error, ErrorKind, Result},
    scope,
    sync::lock,
};

/// How often is looked whether a hold is to end.
const LOOK: Duration = Duration::from_millis(200);

/// The holds of clients, by their ids.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Quiets(Mutex<HashMap<String, Quiet>>);

impl Quiets {
    /// Keeps a hold until [`Quiets::take`]. The result is its id.
    pub(in crate::daemon) fn keep(&self, quiet: Quiet) -> String {
        let id = quiet.id.to_string();
        lock(&self.0).insert(id.clone(), quiet);
        id
    }

    pub(in crate::daemon) fn take(&self, id: &str) -> Option<Quiet> {
        lock(&self.0).remove(id)
    }
}

/// What writes to places, held still. It goes on when this is dropped, or with [`Quiet::end`], which says
/// whether that went well.
#[derive(Debug)]
#[must_use]
pub(in crate::daemon) struct Quiet {
    id: Arc<str>,
    containers: Vec<String>,
    end: mpsc::Sender<mpsc::Sender<Result<()>>>,
}

/// Runs the commands before, and holds what writes to these places. Readings of them that have its id
/// ([`scope::hold`]) use the hold until it ends. `kept` is dropped then.
///
/// # Errors
/// If it can't be held, a command fails, or the run ends first.
pub(super) fn quiesce(
    holds: Holds,
    places: Vec<Place>,
    kept: impl Send + 'static,
) -> Result<Quiet> {
    let scope = scope::current();
    let id: Arc<str> = Id::random().to_hex().as_str()[..16].into();
    let (begun, begins) = mpsc::channel();
    let (end, ends) = mpsc::channel();
    let of = Arc::clone(&id);
    let hold = move || {
        let _kept = kept;
        scope::within(scope, || hold_until((&of, &holds), &places, &begun, &ends));
    };
    let started = thread::Builder::new().name("quiet".into()).spawn(hold);
    started.map_err(|error| no_thread("cannot start a thread that holds", &error))?;
    let lost = || Err(Error::internal("the thread that holds has ended"));
    let containers = begins.recv().unwrap_or_else(|_| lost())?;
    Ok(Quiet { id, containers, end })
}

fn hold_until(
    (id, holds): (&Arc<str>, &Holds),
    places: &[Place],
    begun: &mpsc::Sender<Result<Vec<String>>>,
    ends: &mpsc::Receiver<mpsc::Sender<Result<()>>>,
) {
    let still = Still::new(holds, places.iter().collect());
    let lending = match still.lend(id) {
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
    let until = Instant::now() + still.hold_limit();
    let answer = loop {
        let answer = ends.recv_timeout(LOOK.min(until.saturating_duration_since(Instant::now())));
        let is_over = still.is_over() || programs_end() || scope::is_ended();
        let waits = matches!(answer, Err(mpsc::RecvTimeoutError::Timeout));
        if !waits || is_over || Instant::now() >= until {
            break answer;
        }
    };
    drop(lending);
    let ended = still.end();
    match answer {
        Ok(answer) => _ = answer.send(ended),
        Err(_) => {
            if let Err(error) = ended {
                log::error!("{}", with_its_hint(&error));
            }
        }
    }
}

impl Quiet {
    /// Its id.
    #[cfg(test)]
    pub(in crate::daemon) fn id(&self) -> &Arc<str> {
        &self.id
    }

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
            Err(Error::new(ErrorKind::Timeout, message)
                .with_hint("do less while it is held, or raise BKUP_DOCKER_HOLD_MAX"))
        };
        let (answer, answers) = mpsc::channel();
        if self.end.send(answer).is_err() {
            return over();
        }
        answers.recv().unwrap_or_else(|_| over())
    }
}
