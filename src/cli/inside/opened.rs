//! The daemon and the backups that a command looks into.

use std::sync::Arc;

use jiff::Zoned;
use tokio_util::sync::CancellationToken;

use super::{super::context::Context, target::Target};
use crate::{
    app::{self, Connection},
    clock::{Clock, SystemClock},
    convoy::{
        Backup, Destination,
        chosen::{choose, no_backup_of, short_id},
        guards::Guards,
        inside::{Content, Look, ReadFile, Seen},
    },
    error::{Error, ErrorKind, Result},
    output::moment,
    progress,
    runs::Store,
};

/// A connection to the daemon, for commands that look into backups.
pub(super) struct Opened<'a> {
    context: &'a Context,
    connection: Connection,
    guards: Guards,
    pub(super) destination: Destination,
    pub(super) now: Zoned,
}

impl<'a> Opened<'a> {
    /// # Errors
    /// If no destination is set, or if the daemon can't be reached.
    pub(super) async fn new(context: &'a Context) -> Result<Self> {
        let Some(destination) = context.config.backup_url.clone() else {
            let error = Error::new(ErrorKind::Configuration, "no backup destination is set");
            return Err(error.with_hint(
                "set BKUP_BACKUP_URL, such as vfs:///mnt/backups or s3://bucket@region/path",
            ));
        };
        let connection = app::connect(&context.config, progress::none()).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Arc::new(Store::new(&context.config.data_dir));
        let guards = Guards::read_only(connection.daemon.clone(), clock).knowing(store);
        Ok(Self { context, connection, guards, destination, now: SystemClock.now_local() })
    }

    /// The target that a word names.
    pub(super) fn target(&self, word: &str) -> Result<Target> {
        Target::parse(word, &self.now)
    }

    /// The backup that is meant. It is said which one, and what is to be known of it.
    ///
    /// # Errors
    /// If there is none, or if it is not clear which one is meant.
    pub(super) async fn backup(&self, target: &Target) -> Result<Backup> {
        let (guards, volume) = (&self.guards, &target.volume);
        let all = guards.backups(&self.destination, Some(volume)).await?;
        if all.is_empty() {
            let listed = guards.backups(&self.destination, None).await.unwrap_or_default();
            return Err(no_backup_of(volume.as_str(), &listed, &self.destination));
        }
        let chosen = choose(volume.as_str(), &all, &target.wanted, self.now.time_zone())?;
        if let Some(warning) = &chosen.warning {
            log::warn!("{warning}");
        }
        let at = chosen.backup.taken().or_else(|| chosen.backup.created());
        let at = at.map(|at| format!(" as of {}", moment(at, &self.now))).unwrap_or_default();
        let id = short_id(chosen.backup.field("BackupName"));
        self.context.remark(&format!("{volume}{at}, backup {id}"));
        Ok(chosen.backup.clone())
    }

    /// # Errors
    /// If the daemon can't look into backups, or refuses.
    pub(super) async fn look(&self, what: &Look) -> Result<Seen> {
        self.connection.daemon.look(what).await?.ok_or_else(|| self.can_not())
    }

    /// # Errors
    /// As [`Opened::look`].
    pub(super) async fn content(&self, what: &ReadFile) -> Result<Content> {
        self.connection.daemon.content(what).await?.ok_or_else(|| self.can_not())
    }

    fn can_not(&self) -> Error {
        let message = format!("{} can't look into backups", self.connection.daemon.description());
        Error::new(ErrorKind::Daemon, message).with_hint(
            "the built-in daemon can; restore the backup (\"convoy-backups restore\"), and look into the new volume",
        )
    }

    /// Closes the connection.
    pub(super) async fn close(self, cancellation: &CancellationToken) {
        let context = self.context;
        self.connection.close(cancellation, |text| context.remark(text)).await;
    }
}

/// The error for an answer of another kind.
pub(super) fn another_kind() -> Error {
    Error::new(ErrorKind::Protocol, "the daemon answered another question")
}

/// What the work comes to, unless the command is cancelled before.
pub(super) async fn or_cancelled<T>(
    work: impl Future<Output = Result<T>>,
    cancellation: &CancellationToken,
) -> Result<T> {
    tokio::select! {
        done = work => done,
        () = cancellation.cancelled() => Err(Error::new(ErrorKind::Cancelled, "cancelled")),
    }
}
