//! What the routes need from the program, as a trait. So the routes do not depend on how the
//! program is wired.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::{
    config::Config,
    error::{Error, Result},
    runs::{FinishedRun, Store},
    schedule::{Crontab, EntryStatus, StartedRun},
    script::{Arguments, Library, Script},
    status::Report,
};

/// The program, as the routes see it.
#[async_trait]
pub(crate) trait Core: Send + Sync + 'static {
    fn config(&self) -> &Config;

    fn store(&self) -> &Arc<Store>;

    /// Writes the record of a run of this process to the store now, and waits for the write for a
    /// limited time.
    fn write_now(&self, run: &str);

    /// The scripts that the configuration makes available, as they are now.
    ///
    /// # Errors
    /// A configuration error if the folder can't be read.
    fn library(&self) -> Result<Library>;

    /// Starts a run. Dropping the handle does not end the run.
    ///
    /// # Errors
    /// There is no daemon to work with.
    async fn start_run(&self, call: Call) -> Result<RunHandle>;

    /// The crontab in force and the state of its entries.
    fn schedule(&self) -> Schedule;

    /// Runs the entry of the crontab with this key now. The run is in the store when this returns.
    /// `None`: there is no such entry.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Busy`] if the entry runs already. Another error if the run could
    /// not be started, for example because there is no daemon to work with.
    async fn run_entry(&self, key: &str) -> Result<Option<StartedRun>>;

    /// Starts a dry run of the entry of the crontab with this key, with the entry's settings. The
    /// dry run does not count as a run of the entry: it may go on beside one, and the entry's last
    /// run stays the same. `None`: there is no such entry.
    ///
    /// # Errors
    /// As [`Core::start_run`], or the entry's script does not exist any more.
    async fn rehearse_entry(&self, key: &str, answer_at: AnswerAt) -> Result<Option<RunHandle>>;

    /// Pauses or resumes the entry of the crontab with this key. `false`: there is no such entry.
    ///
    /// # Errors
    /// The list of paused entries can't be written.
    async fn pause_entry(&self, key: &str, pause: bool) -> Result<bool>;

    /// The report on all volumes: the last one, or a `fresh` one. A fresh report takes as long as
    /// the daemon and the destination take to answer.
    async fn status(&self, fresh: bool) -> Arc<Report>;

    /// Asks the daemon for a sign of life.
    ///
    /// # Errors
    /// The daemon's error, if the daemon does not answer well.
    async fn daemon(&self) -> Result<()>;

    /// How many messages wait in the outbox.
    fn waiting_messages(&self) -> usize;

    /// Whether the program is ending: it starts no further run then.
    fn is_ending(&self) -> bool;
}

/// A request of a client to run a script.
pub(crate) struct Call {
    pub(crate) script: Script,
    /// The arguments, checked against the script's parameters.
    pub(crate) arguments: Arguments,
    /// The run reads for real and writes nothing.
    pub(crate) dry_run: bool,
    /// The longest time that the run may take. `None`: as configured.
    pub(crate) timeout: Option<Duration>,
    pub(crate) answer_at: AnswerAt,
}

/// When the client that started a run gets its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerAt {
    /// As soon as the run is started. The run is in the store by then.
    Start,
    /// When the run has ended.
    End,
}

/// A run that was started.
pub(crate) struct RunHandle {
    pub(crate) id: String,
    /// The run waits for its turn in the queue.
    pub(crate) is_waiting: bool,
    /// Receives the run when it has ended.
    pub(crate) finished: oneshot::Receiver<FinishedRun>,
}

/// The schedule at a moment.
pub(crate) struct Schedule {
    /// The crontab in force.
    pub(crate) crontab: Crontab,
    /// The entries, in the order of their lines.
    pub(crate) entries: Vec<EntryStatus>,
    /// The errors of a newer crontab, which was refused.
    pub(crate) refused: Vec<Error>,
}
