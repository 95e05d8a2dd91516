//! The configuration: environment, files and flags become one validated [`Config`].
//!
//! A flag wins over the environment, and the environment over the file of the system's services.
//! Each variable `BKUP_X` can be given as `BKUP_X_FILE`, the name of a file that holds the value
//! (Docker secrets). Anything wrong is an error before anything is done. Secrets never print.
//!
//! From bottom to top: `secret`, `given` (one value as users give it), `choice` and `kind` (how
//! values are written and read), `settings` (the table), `values` (all values given), one file for
//! each group of settings, and [`Config`]. `system` reads the file of the system's services.

mod api;
mod choice;
mod daemon_choice;
mod data_dir;
mod docker;
mod docker_socket;
mod email;
mod excluding;
mod given;
mod hold;
mod kind;
mod logs;
#[cfg(test)]
mod name_tests;
mod named_folders;
#[cfg(test)]
mod page_tests;
mod remembered_daemon;
mod secret;
mod settings;
mod system;
#[cfg(test)]
mod tests;
mod values;
mod warning;
mod webhook;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use log::LevelFilter;
use serde::Serialize;

use crate::{
    convoy::Destination,
    error::{Error, ErrorKind, Result},
    exclude::Excludes,
    s3::{ObjectLock, S3Options},
};
pub(crate) use api::{Api, TlsFiles, wrong_with_token};
pub(crate) use choice::{
    EmailTransport, LogFormat, NotifyOn, SmtpSecurity, SyslogProtocol, Unheld, WebhookFormat,
};
pub(crate) use daemon_choice::DaemonChoice;
pub(crate) use docker::Docker;
pub(crate) use email::Email;
use given::Layers;
pub(crate) use given::{Override, Source};
pub(crate) use hold::Hold;
pub(crate) use logs::{ConsoleLog, FileLog, SyslogLog};
pub(crate) use remembered_daemon::{DaemonDecision, RememberedDaemon, Settled};
pub(crate) use secret::Secret;
use settings::{
    BKUP_BACKUP_URL, BKUP_CATCHUP, BKUP_CONVOY, BKUP_CRONTAB, BKUP_DELETE_OLD_SNAPSHOTS,
    BKUP_FOLDERS, BKUP_HOST, BKUP_JITTER, BKUP_LOCK_WAIT, BKUP_LOGGER_CONSOLE_LEVEL,
    BKUP_LOGGER_FORMAT, BKUP_MAX_BACKUP_AGE, BKUP_MAX_CONCURRENT, BKUP_MOMENT_DROP,
    BKUP_MOMENT_TAKE, BKUP_REMIND_AFTER, BKUP_REPOSITORY_PASSWORD, BKUP_RUN_TIMEOUT,
    BKUP_S3_ACCESS_KEY_ID, BKUP_S3_AS_OF, BKUP_S3_ENDPOINT, BKUP_S3_OBJECT_LOCK,
    BKUP_S3_SECRET_ACCESS_KEY, BKUP_SCRIPTS_DIR, BKUP_SHUTDOWN_GRACE, BKUP_SPOOL_MAX,
};
pub use settings::{SETTINGS, Setting};
pub(crate) use system::SystemSettings;
use values::Values;
pub(crate) use warning::Warning;
pub(crate) use webhook::Webhook;

/// The destination of backups, as it was at a time where one is given.
fn destination(values: &Values) -> Result<Option<Destination>> {
    let (url, time) = (values.read(&BKUP_BACKUP_URL)?, values.read(&BKUP_S3_AS_OF)?);
    let Some(time) = time else { return Ok(url) };
    let name = BKUP_S3_AS_OF.row.name;
    let given = values.source(name).given_as(name);
    let Some(url) = url else {
        return Err(Error::configuration(format!("{given}: no bucket is set"))
            .with_hint("set BKUP_BACKUP_URL (--destination), such as s3://bucket@region/path"));
    };
    let past = url.at_time(time);
    past.map(Some).map_err(|error| Error { kind: ErrorKind::Configuration, ..error.context(given) })
}

/// Convoy's default socket.
pub(crate) const CONVOY_SOCKET: &str = "/var/run/convoy/convoy.sock";

/// All settings, read and checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The destination of backups.
    pub(crate) backup_url: Option<Destination>,
    /// The URL of the S3 service, passed on as Convoy's `Endpoint`; `None`: Amazon's.
    pub(crate) s3_endpoint: Option<String>,
    /// How what backups in a bucket consist of is locked.
    pub(crate) s3_object_lock: Option<ObjectLock>,
    /// The access key's id and the secret key, for the built-in daemon and for the look at Convoy's
    /// backups; `None`: the usual AWS settings apply.
    pub(crate) s3_key: Option<(Secret, Secret)>,
    /// Whether older snapshots are deleted once a backup is proven good.
    pub(crate) delete_old_snapshots: bool,
    /// The password that encrypts the built-in daemon's repositories.
    pub(crate) repository_password: Option<Secret>,
    /// The daemon that a setting names; [`Config::daemon`] decides.
    pub(crate) convoy: Option<DaemonChoice>,
    /// Folders of the host that are volumes of the built-in daemon, with their names.
    pub(crate) folders: Vec<(String, PathBuf)>,
    /// Docker's engine, whose own volumes the built-in daemon backs up.
    pub(crate) docker: Docker,
    /// The operator's own commands that take and drop a moment of a volume.
    pub(crate) moment_commands: Option<(String, String)>,
    /// How what writes to a volume is held still, and how long at most.
    pub(crate) hold: Hold,
    /// What the built-in daemon leaves out of volumes.
    pub(crate) excludes: Excludes,
    /// How many bytes may wait on the volumes' disk to be uploaded; 0: none.
    pub(crate) spool_most: u64,
    /// The folder of this program's own files. Absolute; it need not exist.
    pub(crate) data_dir: PathBuf,
    /// The host's name in backups; `None`: the system's.
    pub(crate) host: Option<String>,
    /// The folder of the user's scripts. Absolute.
    pub(crate) scripts_dir: Option<PathBuf>,
    /// The crontab. Absolute.
    pub(crate) crontab: Option<PathBuf>,
    /// The limit of one run; never zero.
    pub(crate) run_timeout: Duration,
    /// How long a run waits for another that holds the lock; zero: not at all.
    pub(crate) lock_wait: Duration,
    /// The most runs of `serve` at a time; at least 1.
    pub(crate) max_concurrent: usize,
    /// Whether `serve` makes up once, at its start, for ticks that were missed while it was down.
    pub(crate) catch_up: bool,
    /// A scheduled run starts up to this much later, at random.
    pub(crate) jitter: Duration,
    /// How long `serve` waits for runs when it ends.
    pub(crate) shutdown_grace: Duration,
    /// The greatest age of a volume's newest good backup; `None`: as the crontab's lines allow.
    pub(crate) max_backup_age: Option<Duration>,
    /// The time after which an open problem is reported again.
    pub(crate) remind_after: Duration,
    pub(crate) api: Api,
    pub(crate) console_log: ConsoleLog,
    /// For the console and the file.
    pub(crate) log_format: LogFormat,
    pub(crate) file_log: FileLog,
    pub(crate) syslog: SyslogLog,
    pub(crate) email: Email,
    pub(crate) webhook: Webhook,
    pub(crate) system: SystemSettings,
    values: Values,
}

/// One line of the `config` command: a setting in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Effective {
    pub(crate) name: &'static str,
    /// The value as given; `(set)` for a secret, `(not set)` without a value.
    pub(crate) value: String,
    /// The origin of the value: `default`, `environment`, `file PATH` (the value's own file, or
    /// that of the system's services) or `flag --NAME`.
    pub(crate) source: String,
    pub(crate) help: Cow<'static, str>,
}

impl Config {
    /// As [`Config::over`], without a file of the system's services.
    ///
    /// # Errors
    /// As [`Config::over`].
    #[cfg(test)]
    pub(crate) fn from_environment(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        overrides: &[Override],
    ) -> Result<(Self, Vec<Warning>)> {
        Self::over(SystemSettings::default(), environment, overrides)
    }

    /// Reads and checks the configuration over the settings of the system's services. `HOME` and
    /// `XDG_DATA_HOME` are taken from the same environment.
    ///
    /// # Errors
    /// A configuration error that names the variable, the flag or the file, what is wrong, and what
    /// is expected.
    pub(crate) fn over(
        system: SystemSettings,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        overrides: &[Override],
    ) -> Result<(Self, Vec<Warning>)> {
        Self::for_user(system, environment, overrides, rustix::process::geteuid().is_root())
    }

    fn for_user(
        system: SystemSettings,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        overrides: &[Override],
        is_root: bool,
    ) -> Result<(Self, Vec<Warning>)> {
        let environment: BTreeMap<_, _> = environment.into_iter().collect();
        let (mut values, unknown) = Values::gather(Layers {
            overrides,
            environment: &environment,
            system: system.layer(),
        })?;
        let config = Self {
            data_dir: data_dir::read(&mut values, &environment, is_root)?,
            backup_url: destination(&values)?,
            s3_endpoint: values.read(&BKUP_S3_ENDPOINT)?,
            s3_object_lock: values.read(&BKUP_S3_OBJECT_LOCK)?,
            s3_key: values.pair(
                &BKUP_S3_ACCESS_KEY_ID,
                &BKUP_S3_SECRET_ACCESS_KEY,
                "set both, or neither to take the key from AWS's own settings",
            )?,
            delete_old_snapshots: values.require(&BKUP_DELETE_OLD_SNAPSHOTS)?,
            repository_password: values.read(&BKUP_REPOSITORY_PASSWORD)?,
            convoy: values.read(&BKUP_CONVOY)?,
            folders: values.read(&BKUP_FOLDERS)?.unwrap_or_default(),
            docker: Docker::read(&values, &environment)?,
            moment_commands: values.pair(
                &BKUP_MOMENT_TAKE,
                &BKUP_MOMENT_DROP,
                "set both: what one makes, the other removes",
            )?,
            hold: Hold::read(&values)?,
            excludes: excluding::read(&values)?,
            spool_most: values.require(&BKUP_SPOOL_MAX)?,
            host: values.read(&BKUP_HOST)?,
            scripts_dir: values.read(&BKUP_SCRIPTS_DIR)?,
            crontab: values.read(&BKUP_CRONTAB)?,
            run_timeout: values.require(&BKUP_RUN_TIMEOUT)?,
            lock_wait: values.require(&BKUP_LOCK_WAIT)?,
            max_concurrent: values.require(&BKUP_MAX_CONCURRENT)?,
            catch_up: values.require(&BKUP_CATCHUP)?,
            jitter: values.require(&BKUP_JITTER)?,
            shutdown_grace: values.require(&BKUP_SHUTDOWN_GRACE)?,
            max_backup_age: values.read(&BKUP_MAX_BACKUP_AGE)?,
            remind_after: values.require(&BKUP_REMIND_AFTER)?,
            api: Api::read(&values)?,
            console_log: ConsoleLog::read(&values)?,
            log_format: values.require(&BKUP_LOGGER_FORMAT)?,
            file_log: FileLog::read(&values)?,
            syslog: SyslogLog::read(&values)?,
            email: Email::read(&values)?,
            webhook: Webhook::read(&values)?,
            system,
            values,
        };
        let warnings = config.system.warnings.iter().cloned().chain(unknown).collect();
        Ok((config, warnings))
    }

    /// The built-in daemon's default folder.
    pub(crate) fn builtin_root(&self) -> PathBuf {
        self.data_dir.join("daemon")
    }

    /// The folders in which this program keeps what is its own: its data, and backups in a folder.
    pub(crate) fn own_folders(&self) -> Vec<PathBuf> {
        let destination = self.backup_url.as_ref().and_then(Destination::folder);
        let folders = [Some(self.data_dir.as_path()), destination];
        folders.into_iter().flatten().map(Path::to_owned).collect()
    }

    /// The host's name in backups: `BKUP_HOST`, or the system's.
    pub(crate) fn host_name(&self) -> String {
        self.host
            .clone()
            .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
    }

    /// The level of standard error. The first of these decides: the flags (`-v` info, `-vv` debug,
    /// `-vvv` trace, `--quiet` errors), the environment, the default while serving, and warnings in
    /// any other command. The level in the services' file is for the journal, and does not count
    /// for a command typed in a shell.
    pub(crate) fn console_level(&self, serving: bool, verbose: u8, quiet: bool) -> LevelFilter {
        match verbose {
            0 if quiet => LevelFilter::Error,
            0 if !self.console_log.enabled => LevelFilter::Off,
            0 if serving => self.console_log.level,
            0 if !matches!(
                self.values.source(BKUP_LOGGER_CONSOLE_LEVEL.row.name),
                Source::Default | Source::System(_)
            ) =>
            {
                self.console_log.level
            }
            0 => LevelFilter::Warn,
            1 => LevelFilter::Info,
            2 => LevelFilter::Debug,
            _ => LevelFilter::Trace,
        }
    }

    /// How to reach buckets.
    pub(crate) fn s3(&self) -> S3Options {
        let text = |secret: &Secret| secret.expose().to_owned();
        S3Options {
            endpoint: self.s3_endpoint.clone(),
            object_lock: self.s3_object_lock,
            key: self.s3_key.as_ref().map(|(id, key)| (text(id), text(key))),
        }
    }

    /// Whether a user gave this setting a value.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.values.text(name).is_some() && self.values.source(name) != Source::Default
    }

    /// Every setting in force, in the table's order, secrets hidden.
    pub(crate) fn effective(&self) -> Vec<Effective> {
        let line = |setting: &Setting| Effective {
            name: setting.name,
            value: match self.values.text(setting.name) {
                None => "(not set)".to_owned(),
                Some(_) if setting.is_secret() => "(set)".to_owned(),
                Some(text) => text.to_owned(),
            },
            source: self.values.source(setting.name).to_string(),
            help: setting.help(),
        };
        SETTINGS.iter().map(line).collect()
    }

    /// The settings that have a value and are not secret, as scripts name them: `BKUP_RUN_TIMEOUT`
    /// is `run_timeout`.
    pub(crate) fn public_values(&self) -> BTreeMap<String, String> {
        let public = SETTINGS.iter().filter(|setting| !setting.is_secret());
        let named =
            |setting: &Setting| setting.name.trim_start_matches("BKUP_").to_ascii_lowercase();
        public
            .filter_map(|setting| {
                Some((named(setting), self.values.text(setting.name)?.to_owned()))
            })
            .collect()
    }
}
