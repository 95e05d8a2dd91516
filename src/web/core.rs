//! What the routes need of the program. The program implements this trait, so that the routes know
//! nothing of how it is wired.

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
    /// The configuration.
    fn config(&self) -> &Config;

    /// The runs.
    fn store(&self) -> &Arc<Store>;

    /// Writes a run of this process down now, as far as it has come, and waits for it, but not for
    /// ever.
    fn write_now(&self, run: &str);

    /// The scripts that the configuration names, as they are now.
    ///
    /// # Errors
    /// A configuration error where the folder can't be read.
    fn library(&self) -> Result<Library>;

    /// Starts a run. Its id is known at once; dropping the returned value does not end the run.
    ///
    /// # Errors
    /// Where there is no daemon to work with.
    async fn start_run(&self, call: Call) -> Result<RunHandle>;

    /// The crontab in force and how its entries are.
    fn schedule(&self) -> Schedule;

    /// Runs the crontab's entry of this key now; its run is found in the store at once. `None`
    /// where there is no such entry.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Busy`] where it runs already; why it could not be started, where
    /// there is no daemon to work with.
    async fn run_entry(&self, key: &str) -> Result<Option<StartedRun>>;

    /// Starts a dry run of the crontab's entry of this key, with the entry's settings. It does not
    /// count as a run of the entry: it may go on beside one, and the entry's last run stays the
    /// same. `None` where there is no such entry.
    ///
    /// # Errors
    /// As [`Core::start_run`]; where the entry's script is not there any more.
    async fn rehearse_entry(&self, key: &str, answer_at: AnswerAt) -> Result<Option<RunHandle>>;

    /// Pauses or resumes the crontab's entry of this key; `false` where there is no such entry.
    ///
    /// # Errors
    /// Where that can't be remembered.
    async fn pause_entry(&self, key: &str, pause: bool) -> Result<bool>;

    /// What is known of the volumes: as it was looked at last, or `fresh`, which may take as long
    /// as the daemon and the destination do.
    async fn status(&self, fresh: bool) -> Arc<Report>;

    /// Whether the daemon answers.
    ///
    /// # Errors
    /// Its error where it does not.
    async fn daemon(&self) -> Result<()>;

    /// How many messages wait to be sent.
    fn waiting_messages(&self) -> usize;

    /// Whether the program ends: nothing new is started then.
    fn is_ending(&self) -> bool;
}

/// A script that is asked for.
pub(crate) struct Call {
    /// The script.
    pub(crate) script: Script,
    /// Its arguments, checked.
    pub(crate) arguments: Arguments,
    /// Read for real, write nothing.
    pub(crate) dry_run: bool,
    /// How long it may take, where that is not as configured.
    pub(crate) timeout: Option<Duration>,
    pub(crate) answer_at: AnswerAt,
}

/// When the client that started a run gets its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerAt {
    /// As soon as the run was started: the run is in the store by then.
    Start,
    /// When the run has ended.
    End,
}

/// A run that was started.
pub(crate) struct RunHandle {
    /// Its id.
    pub(crate) id: String,
    /// Whether it waits for its turn.
    pub(crate) is_waiting: bool,
    /// What comes of it.
    pub(crate) finished: oneshot::Receiver<FinishedRun>,
}

/// The schedule as it is.
pub(crate) struct Schedule {
    /// The crontab in force.
    pub(crate) crontab: Crontab,
    /// Its entries, in the order of their lines.
    pub(crate) entries: Vec<EntryStatus>,
    /// What is wrong with a newer crontab, which was not taken.
    pub(crate) refused: Vec<Error>,
}
