//! What the routes need of the program: it gives itself to them through this trait, so that they know nothing of how it is wired.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::{
    config::Config,
    error::{Error, Result},
    report::Report,
    runs::{Finished, Store},
    schedule::{Crontab, EntryStatus},
    script::{Arguments, Library, Script},
};

/// The program, as the routes see it.
#[async_trait]
pub trait Core: Send + Sync + 'static {
    /// The configuration.
    fn config(&self) -> &Config;

    /// The runs.
    fn store(&self) -> &Arc<Store>;

    /// Writes a run of this process down now, as far as it has come, and waits for it, but not for ever.
    fn write_now(&self, run: &str);

    /// The scripts that the configuration names, as they are now.
    ///
    /// # Errors
    /// A configuration error where the folder can't be read.
    fn library(&self) -> Result<Library>;

    /// Starts a run; its id is known at once, and whoever drops what comes back does not end it.
    ///
    /// # Errors
    /// Where there is no daemon to work with.
    async fn launch(&self, call: Call) -> Result<Launched>;

    /// The crontab in force and how its entries are.
    fn schedule(&self) -> Schedule;

    /// Does this with the crontab's entry of this key; `false` where there is none.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Busy`] where it is to run and does so already; where a pause can't be remembered.
    async fn act_on(&self, key: &str, action: EntryAction) -> Result<bool>;

    /// What is known of the volumes: as it was looked at last, or `fresh`, which may take as long as the daemon and the destination do.
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
pub struct Call {
    /// The script.
    pub script: Script,
    /// Its arguments, checked.
    pub arguments: Arguments,
    /// Read for real, write nothing.
    pub dry_run: bool,
    /// How long it may take, where that is not as configured.
    pub timeout: Option<Duration>,
    /// Nobody waits for its end: it is found in the store at once.
    pub is_left: bool,
}

/// A run that was started.
pub struct Launched {
    /// Its id.
    pub id: String,
    /// Whether it waits for its turn.
    pub is_waiting: bool,
    /// What comes of it.
    pub finished: oneshot::Receiver<Finished>,
}

/// What is done with an entry of the crontab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryAction {
    /// It runs now.
    Run,
    /// It is not started any more.
    Pause,
    /// It is started again.
    Resume,
}

/// The schedule as it is.
pub struct Schedule {
    /// The crontab in force.
    pub crontab: Crontab,
    /// Its entries, in the order of their lines.
    pub entries: Vec<EntryStatus>,
    /// What is wrong with a newer crontab, which was not taken.
    pub refused: Vec<Error>,
}
