//! The configuration: environment, files and flags become one validated [`Config`].
//!
//! A flag wins over the environment, and that over the file of the system's services. Each variable
//! `BKUP_X` can be given as `BKUP_X_FILE`, the name of a file that holds the value (Docker
//! secrets). Whatever is wrong is an error before anything is done; secrets never print.

mod api;
#[cfg(test)]
mod page_tests;
mod secret;
mod settings;
mod system;
#[cfg(test)]
mod tests;
mod values;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use log::LevelFilter;
use serde::Serialize;

use crate::{
    convoy::Destination,
    error::{Error, Result},
    units::parse_duration,
};
pub(crate) use api::wrong_with_token;
pub(crate) use secret::Secret;
pub use settings::{SETTINGS, Setting};
pub(crate) use system::SystemSettings;
pub(crate) use values::Source;
use values::{Values, quote};

/// Where Convoy listens, unless told otherwise.
pub(crate) const CONVOY_SOCKET: &str = "/var/run/convoy/convoy.sock";

/// The longest path that a unix socket can have, in bytes.
const LONGEST_SOCKET: usize = 107;

/// All that the program was told, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where backups go.
    pub(crate) backup_url: Option<Destination>,
    /// The S3 service, passed on as Convoy's `Endpoint`.
    pub(crate) s3_endpoint: Option<String>,
    /// The access key's id and the secret key that the built-in daemon uses; `None`: as AWS's own
    /// settings say.
    pub(crate) s3_key: Option<(Secret, Secret)>,
    /// Delete older snapshots once a backup is proven good.
    pub(crate) delete_old_snapshots: bool,
    /// Encrypts the built-in daemon's repositories.
    pub(crate) repository_password: Option<Secret>,
    /// The daemon that was asked for; see [`Config::daemon`].
    pub(crate) convoy: Option<DaemonChoice>,
    /// Where this program keeps its own files. Absolute; it need not exist.
    pub(crate) data_dir: PathBuf,
    /// The host's name in backups, where it is not the system's.
    pub(crate) host: Option<String>,
    /// The user's scripts. Absolute.
    pub(crate) scripts_dir: Option<PathBuf>,
    /// The crontab. Absolute.
    pub(crate) crontab: Option<PathBuf>,
    /// How long one run may take; never zero.
    pub(crate) run_timeout: Duration,
    /// How long a run waits for another that holds the lock; zero: not at all.
    pub(crate) lock_wait: Duration,
    /// How many runs `serve` has at a time; from 1.
    pub(crate) max_concurrent: usize,
    /// Make up once, at start, for runs that were missed while `serve` was down.
    pub(crate) catch_up: bool,
    /// A scheduled run starts up to this much later, at random.
    pub(crate) jitter: Duration,
    /// How long `serve` waits for running scripts when it is told to end.
    pub(crate) shutdown_grace: Duration,
    /// How old a volume's newest good backup may be; `None`: as the crontab's lines allow.
    pub(crate) max_backup_age: Option<Duration>,
    /// How long after people are told again of what is still wrong.
    pub(crate) remind_after: Duration,
    /// Answering HTTP.
    pub(crate) api: Api,
    /// Logging to standard error.
    pub(crate) console_log: ConsoleLog,
    /// How console and file write a line.
    pub(crate) log_format: LogFormat,
    /// Logging to a file.
    pub(crate) file_log: FileLog,
    /// Logging to a syslog server.
    pub(crate) syslog: SyslogLog,
    /// E-mail.
    pub(crate) email: Email,
    /// A web address that is told.
    pub(crate) webhook: Webhook,
    /// The file of the system's services.
    pub(crate) system: SystemSettings,
    values: Values,
}

/// Logging to standard error.
#[derive(Debug, Clone)]
pub(crate) struct ConsoleLog {
    /// Whether it is done.
    pub(crate) enabled: bool,
    /// How much; see [`Config::console_level`].
    pub(crate) level: LevelFilter,
}

/// Logging to a file.
#[derive(Debug, Clone)]
pub(crate) struct FileLog {
    /// Whether it is done.
    pub(crate) enabled: bool,
    /// How much.
    pub(crate) level: LevelFilter,
    /// The file. Absolute.
    pub(crate) location: PathBuf,
}

/// Logging to a syslog server.
#[derive(Debug, Clone)]
pub(crate) struct SyslogLog {
    /// Whether it is done.
    pub(crate) enabled: bool,
    /// How much.
    pub(crate) level: LevelFilter,
    /// How it is reached.
    pub(crate) protocol: SyslogProtocol,
    /// The server's port.
    pub(crate) port: u16,
    /// The server's name or address, or the path of a local socket.
    pub(crate) server: String,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How a syslog server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyslogProtocol {
    /// One datagram a message (RFC 5426).
    Udp,
    /// Octet-counted frames (RFC 6587).
    Tcp,
    /// The local socket, `/dev/log`.
    Unix,
}

/// How a connection to an SMTP server is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SmtpSecurity {
    /// TLS from the first byte on.
    Tls,
    /// Plain until STARTTLS, which must succeed.
    StartTls,
    /// Plain text; only where it was asked for.
    None,
}

/// When a channel is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotifyOn {
    /// When something is wrong, and when it is well again.
    Failure,
    /// After every run, too.
    Always,
}

/// What a webhook understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebhookFormat {
    /// This program's own JSON.
    Json,
    /// `{"text": ..}`: Slack, Mattermost, Rocket.Chat, Discord's `/slack`.
    Slack,
    /// ntfy: the text as body, title and priority as headers.
    Ntfy,
    /// healthchecks: pings at `/start`, success and `/fail`.
    Healthchecks,
}

/// A web address that is told.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    /// The address; `None`: there is none.
    pub(crate) url: Option<Secret>,
    /// What it understands.
    pub(crate) format: WebhookFormat,
    /// When it is told.
    pub(crate) on: NotifyOn,
    /// Sent as a bearer token.
    pub(crate) token: Option<Secret>,
}

/// Answering HTTP; of `serve` only.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    /// Where; `None`: nowhere.
    pub(crate) listen: Option<SocketAddr>,
    /// What a request must show; `None`: what the data folder's file holds.
    pub(crate) token: Option<Secret>,
    /// What a request must show that only looks.
    pub(crate) read_token: Option<Secret>,
    /// TLS; `None`: plain HTTP.
    pub(crate) tls: Option<TlsFiles>,
    /// Names by which it is reached, in lower case, besides those that are known anyway.
    pub(crate) hosts: Vec<String>,
    /// Origins whose pages may use the API, as browsers write them (`https://host:port`, in lower
    /// case).
    pub(crate) allow_origins: Vec<String>,
    /// How many connections there may be at a time; from 1.
    pub(crate) max_connections: usize,
}

/// What TLS needs. Both absolute; they are read by `serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The certificate and its chain, PEM.
    pub(crate) certificate: PathBuf,
    /// Its private key, PEM.
    pub(crate) key: PathBuf,
}

/// How e-mail is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EmailTransport {
    /// Through an SMTP server.
    Smtp,
    /// Through Amazon SES.
    Ses,
}

/// Sending e-mail.
#[derive(Debug, Clone)]
pub(crate) struct Email {
    /// Whether it is done.
    pub(crate) enabled: bool,
    /// When.
    pub(crate) on: NotifyOn,
    /// How.
    pub(crate) transport: EmailTransport,
    /// Who sends it.
    pub(crate) from: String,
    /// Who gets it; at least one.
    pub(crate) to: Vec<String>,
    /// The SMTP server's port.
    pub(crate) smtp_port: u16,
    /// How the connection to it is secured.
    pub(crate) smtp_security: SmtpSecurity,
    /// The SMTP server.
    pub(crate) smtp_host: String,
    /// The user at the SMTP server.
    pub(crate) smtp_user: Option<String>,
    /// The user's password.
    pub(crate) smtp_password: Option<Secret>,
    /// The key's id for Amazon SES.
    pub(crate) ses_access_key_id: Option<Secret>,
    /// The key for Amazon SES.
    pub(crate) ses_secret_access_key: Option<Secret>,
    /// The region of Amazon SES, where it is not the usual AWS settings'.
    pub(crate) ses_region: Option<String>,
    /// Another address of Amazon SES.
    pub(crate) ses_endpoint: Option<String>,
}

/// Which volume daemon to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DaemonChoice {
    /// One that listens on this socket.
    Socket(PathBuf),
    /// The built-in one, in this folder.
    Builtin(PathBuf),
}

impl fmt::Display for DaemonChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Builtin(path) => write!(f, "builtin:{}", path.display()),
        }
    }
}

/// A setting given by a flag; it wins over the environment.
#[derive(Debug, Clone)]
pub(crate) struct Override {
    /// The setting, such as `BKUP_BACKUP_URL`.
    pub(crate) name: &'static str,
    /// The flag, such as `--backup-url`.
    pub(crate) flag: &'static str,
    /// The value given.
    pub(crate) value: String,
}

/// Something odd that does not stop the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    /// What is odd.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}

/// One line of the `config` command: a setting as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Effective {
    /// The setting.
    pub(crate) name: &'static str,
    /// Its value as given; `(set)` for a secret, `(not set)` for what has none.
    pub(crate) value: String,
    /// Where it came from: `default`, `environment`, `file PATH` (the value's own, or that of the
    /// system's services) or `flag --NAME`.
    pub(crate) source: String,
    /// What it is for.
    pub(crate) help: &'static str,
}

impl Config {
    /// Reads and checks the configuration; `HOME` and `XDG_DATA_HOME` are taken from the same
    /// environment.
    ///
    /// # Errors
    /// A configuration error that names the variable, the flag or the file, what is wrong, and what
    /// is expected.
    #[cfg(test)]
    pub(crate) fn from_environment(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        overrides: &[Override],
    ) -> Result<(Self, Vec<Warning>)> {
        Self::over(SystemSettings::default(), environment, overrides)
    }

    /// As [`Config::from_environment`], over what the system's services are told.
    ///
    /// # Errors
    /// As [`Config::from_environment`].
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
        let (mut values, warnings) = Values::gather(&environment, &system, overrides)?;
        if values.text("BKUP_DATA_DIR").is_none() {
            values.set_default("BKUP_DATA_DIR", default_data_dir(&environment, is_root)?);
        }
        let secret = |name| values.text(name).map(Secret::new);
        let path = |name| values.read_with(name, absolute);
        let config = Self {
            backup_url: values.read_with("BKUP_BACKUP_URL", Destination::parse)?,
            s3_endpoint: values.read("BKUP_S3_ENDPOINT", endpoint)?,
            s3_key: s3_key(&values)?,
            delete_old_snapshots: values.require("BKUP_DELETE_OLD_SNAPSHOTS", switch)?,
            repository_password: secret("BKUP_REPOSITORY_PASSWORD"),
            convoy: values.read("BKUP_CONVOY", daemon)?,
            data_dir: data_dir(&values)?,
            host: values.read("BKUP_HOST", host)?,
            scripts_dir: path("BKUP_SCRIPTS_DIR")?,
            crontab: path("BKUP_CRONTAB")?,
            run_timeout: values.require("BKUP_RUN_TIMEOUT", |text| {
                duration(text).filter(|time| !time.is_zero())
            })?,
            lock_wait: values.require("BKUP_LOCK_WAIT", duration)?,
            max_concurrent: values.require("BKUP_MAX_CONCURRENT", count)?,
            catch_up: values.require("BKUP_CATCHUP", switch)?,
            jitter: values.require("BKUP_JITTER", duration)?,
            shutdown_grace: values.require("BKUP_SHUTDOWN_GRACE", duration)?,
            max_backup_age: values.read("BKUP_MAX_BACKUP_AGE", |text| {
                duration(text).filter(|time| !time.is_zero())
            })?,
            remind_after: values.require("BKUP_REMIND_AFTER", duration)?,
            api: api::read(&values)?,
            console_log: ConsoleLog {
                enabled: values.require("BKUP_LOGGER_CONSOLE_ENABLED", switch)?,
                level: values.require("BKUP_LOGGER_CONSOLE_LEVEL", level)?,
            },
            log_format: values.require("BKUP_LOGGER_FORMAT", log_format)?,
            file_log: FileLog {
                enabled: values.require("BKUP_LOGGER_FILE_ENABLED", switch)?,
                level: values.require("BKUP_LOGGER_FILE_LEVEL", level)?,
                location: path("BKUP_LOGGER_FILE_LOCATION")?.unwrap_or_default(),
            },
            syslog: SyslogLog {
                enabled: values.require("BKUP_LOGGER_SYSLOG_ENABLED", switch)?,
                level: values.require("BKUP_LOGGER_SYSLOG_LEVEL", level)?,
                protocol: values.require("BKUP_LOGGER_SYSLOG_PROTOCOL", syslog_protocol)?,
                port: values.require("BKUP_LOGGER_SYSLOG_PORT", port)?,
                server: values.require("BKUP_LOGGER_SYSLOG_SERVER", syslog_server)?,
            },
            email: Email {
                enabled: values.require("BKUP_EMAIL_ENABLED", switch)?,
                on: values.require("BKUP_EMAIL_ON", notify_on)?,
                transport: values.require("BKUP_EMAIL_TRANSPORT", transport)?,
                from: values.require("BKUP_EMAIL_FROM", mail_address)?,
                to: values.require("BKUP_EMAIL_TO", mail_addresses)?,
                smtp_port: values.require("BKUP_EMAIL_SMTP_PORT", port)?,
                smtp_security: smtp_security(&values)?,
                smtp_host: values.require("BKUP_EMAIL_SMTP_HOST", host)?,
                smtp_user: values.text("BKUP_EMAIL_SMTP_USER").map(str::to_owned),
                smtp_password: secret("BKUP_EMAIL_SMTP_PASS"),
                ses_access_key_id: secret("BKUP_EMAIL_SES_AWS_ACCESS_KEY_ID"),
                ses_secret_access_key: secret("BKUP_EMAIL_SES_AWS_SECRET_ACCESS_KEY"),
                ses_region: values.text("BKUP_EMAIL_SES_REGION").map(str::to_owned),
                ses_endpoint: values.read("BKUP_EMAIL_SES_ENDPOINT", endpoint)?,
            },
            webhook: Webhook {
                url: webhook_url(&values)?,
                format: values.require("BKUP_WEBHOOK_FORMAT", webhook_format)?,
                on: values.require("BKUP_WEBHOOK_ON", notify_on)?,
                token: secret("BKUP_WEBHOOK_TOKEN"),
            },
            system,
            values,
        };
        Ok((config, warnings))
    }

    /// Which daemon to use, and why: the one that was asked for; else Convoy's socket if it is
    /// there; else the built-in one in the data folder.
    pub(crate) fn daemon(&self) -> (DaemonChoice, String) {
        self.daemon_beside(Path::new(CONVOY_SOCKET))
    }

    /// As [`Config::daemon`], with Convoy's usual socket at this path.
    pub(crate) fn daemon_beside(&self, socket: &Path) -> (DaemonChoice, String) {
        if let Some(choice) = &self.convoy {
            let given = match self.values.source("BKUP_CONVOY") {
                Source::Flag(flag) => flag,
                _ => "BKUP_CONVOY",
            };
            return (choice.clone(), format!("{given} is \"{choice}\""));
        }
        let shown = quote(&socket.to_string_lossy());
        match socket.symlink_metadata() {
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                (
                    DaemonChoice::Builtin(self.builtin_root()),
                    format!("BKUP_CONVOY is not set and there is no {shown}"),
                )
            }
            // What can't be looked at may well be there: better an error from Convoy's socket than
            // another, empty daemon.
            _ => (
                DaemonChoice::Socket(socket.to_owned()),
                format!("BKUP_CONVOY is not set and {shown} is there"),
            ),
        }
    }

    /// The built-in daemon's folder unless another is named.
    pub(crate) fn builtin_root(&self) -> PathBuf {
        self.data_dir.join("daemon")
    }

    /// What backups say they come from: BKUP_HOST, or the host's name.
    pub(crate) fn host_name(&self) -> String {
        self.host
            .clone()
            .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
    }

    /// How much is logged to standard error: what the flags say (`-v` info, `-vv` debug, `-vvv`
    /// trace, `--quiet` errors), else what the environment says, else the default while serving,
    /// and warnings in a command that is over soon. What the services write into the journal is
    /// nothing for a command typed in a shell.
    pub(crate) fn console_level(&self, serving: bool, verbose: u8, quiet: bool) -> LevelFilter {
        match verbose {
            0 if quiet => LevelFilter::Error,
            0 if !self.console_log.enabled => LevelFilter::Off,
            0 if serving => self.console_log.level,
            0 if !matches!(
                self.values.source("BKUP_LOGGER_CONSOLE_LEVEL"),
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

    /// Whether somebody gave this setting a value, whatever its default.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.values.text(name).is_some() && self.values.source(name) != Source::Default
    }

    /// Every setting as it is in force, in the table's order, secrets hidden.
    pub(crate) fn effective(&self) -> Vec<Effective> {
        let line = |setting: &Setting| Effective {
            name: setting.name,
            value: match self.values.text(setting.name) {
                None => "(not set)".to_owned(),
                Some(_) if setting.is_secret() => "(set)".to_owned(),
                Some(text) => text.to_owned(),
            },
            source: self.values.source(setting.name).to_string(),
            help: setting.help,
        };
        SETTINGS.iter().map(line).collect()
    }

    /// The settings that have a value and are no secrets, as scripts name them: `BKUP_RUN_TIMEOUT`
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

fn default_data_dir(environment: &BTreeMap<OsString, OsString>, is_root: bool) -> Result<String> {
    if is_root {
        return Ok("/var/lib/convoy-backups".to_owned());
    }
    // Both must be absolute to count: the XDG specification says so of its own, and a relative HOME
    // is no home.
    let folder = |name: &str| {
        environment.get(&OsString::from(name)).map(PathBuf::from).filter(|path| path.is_absolute())
    };
    folder("XDG_DATA_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/share")))
        .and_then(|data| data.join("convoy-backups").to_str().map(str::to_owned))
        .ok_or_else(|| {
            Error::configuration(
                "there is no folder for this program's data: HOME is not set to an absolute folder",
            )
            .with_hint("set BKUP_DATA_DIR to a folder that this user can write to")
        })
}

/// The data folder. A relative one is taken from a flag only: locks are in it, and a variable that
/// means another folder in each working folder would keep no two runs apart.
fn data_dir(values: &Values) -> Result<PathBuf> {
    let from_flag = matches!(values.source("BKUP_DATA_DIR"), Source::Flag(_));
    if from_flag {
        return Ok(values.read_with("BKUP_DATA_DIR", absolute)?.unwrap_or_default());
    }
    values.require("BKUP_DATA_DIR", |text| {
        Some(PathBuf::from(text)).filter(|path| path.is_absolute())
    })
}

fn absolute(text: &str) -> Result<PathBuf> {
    std::path::absolute(text)
        .map_err(|error| Error::configuration(format!("{} is not a path: {error}", quote(text))))
}

fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A level by this program's names, or by those of winston (npm's and syslog's), which the Node
/// version took.
fn level(text: &str) -> Option<LevelFilter> {
    Some(match text.to_ascii_lowercase().as_str() {
        "off" | "none" => LevelFilter::Off,
        "error" | "crit" | "alert" | "emerg" => LevelFilter::Error,
        "warn" | "warning" => LevelFilter::Warn,
        "info" | "notice" | "http" => LevelFilter::Info,
        "debug" | "verbose" => LevelFilter::Debug,
        "trace" | "silly" => LevelFilter::Trace,
        _ => return None,
    })
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

fn duration(text: &str) -> Option<Duration> {
    parse_duration(text).ok()
}

fn host(text: &str) -> Option<String> {
    let fits = !text.is_empty()
        && text.len() <= 253
        && !text.contains(|c: char| c.is_whitespace() || "/@?#".contains(c));
    fits.then(|| text.to_owned())
}

/// A host, or a local socket's path.
fn syslog_server(text: &str) -> Option<String> {
    let is_socket = text.starts_with('/') && text.len() <= LONGEST_SOCKET;
    if is_socket { Some(text.to_owned()) } else { host(text) }
}

fn s3_key(values: &Values) -> Result<Option<(Secret, Secret)>> {
    const ID: &str = "BKUP_S3_ACCESS_KEY_ID";
    const KEY: &str = "BKUP_S3_SECRET_ACCESS_KEY";
    let (given, missing) = match (values.text(ID), values.text(KEY)) {
        (Some(id), Some(key)) => return Ok(Some((Secret::new(id), Secret::new(key)))),
        (None, None) => return Ok(None),
        (Some(_), None) => (ID, KEY),
        (None, Some(_)) => (KEY, ID),
    };
    Err(Error::configuration(format!("{given} is set, but {missing} is not"))
        .with_hint("set both, or neither to take the key from AWS's own settings"))
}

fn endpoint(text: &str) -> Option<String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    let odd = |letter: char| letter.is_whitespace() || "@?#".contains(letter);
    (!rest.is_empty() && !rest.starts_with(['/', ':']) && !rest.contains(odd))
        .then(|| text.to_owned())
}

fn daemon(text: &str) -> Option<DaemonChoice> {
    let folder = |path: &str| {
        path.starts_with('/').then(|| Path::new(path).components().collect::<PathBuf>())
    };
    if let Some(path) = text.strip_prefix("unix://") {
        folder(path)
            .filter(|path| path.parent().is_some() && path.as_os_str().len() <= LONGEST_SOCKET)
            .map(DaemonChoice::Socket)
    } else {
        folder(text.strip_prefix("builtin:")?)
            .filter(|path| path.parent().is_some())
            .map(DaemonChoice::Builtin)
    }
}

fn transport(text: &str) -> Option<EmailTransport> {
    match text.to_ascii_lowercase().as_str() {
        "smtp" => Some(EmailTransport::Smtp),
        "ses" => Some(EmailTransport::Ses),
        _ => None,
    }
}

fn count(text: &str) -> Option<usize> {
    text.parse().ok().filter(|count| (1..=1000).contains(count))
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text.to_ascii_lowercase().as_str() {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

fn syslog_protocol(text: &str) -> Option<SyslogProtocol> {
    match text.to_ascii_lowercase().as_str() {
        "udp" => Some(SyslogProtocol::Udp),
        "tcp" => Some(SyslogProtocol::Tcp),
        "unix" => Some(SyslogProtocol::Unix),
        _ => None,
    }
}

fn notify_on(text: &str) -> Option<NotifyOn> {
    match text.to_ascii_lowercase().as_str() {
        "failure" => Some(NotifyOn::Failure),
        "always" => Some(NotifyOn::Always),
        _ => None,
    }
}

fn webhook_format(text: &str) -> Option<WebhookFormat> {
    match text.to_ascii_lowercase().as_str() {
        "json" => Some(WebhookFormat::Json),
        "slack" => Some(WebhookFormat::Slack),
        "ntfy" => Some(WebhookFormat::Ntfy),
        "healthchecks" => Some(WebhookFormat::Healthchecks),
        _ => None,
    }
}

/// What was asked for; else by the port: 465 is TLS from the first byte on (RFC 8314), others begin
/// plain.
fn smtp_security(values: &Values) -> Result<SmtpSecurity> {
    let port = values.require("BKUP_EMAIL_SMTP_PORT", port)?;
    values.require("BKUP_EMAIL_SMTP_SECURITY", |text| match text.to_ascii_lowercase().as_str() {
        "auto" if port == 465 => Some(SmtpSecurity::Tls),
        "auto" | "starttls" => Some(SmtpSecurity::StartTls),
        "tls" => Some(SmtpSecurity::Tls),
        "none" => Some(SmtpSecurity::None),
        _ => None,
    })
}

/// The webhook's address. It is a secret, so an error does not show it.
fn webhook_url(values: &Values) -> Result<Option<Secret>> {
    let Some(text) = values.text("BKUP_WEBHOOK_URL") else { return Ok(None) };
    let is_address = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .is_some_and(|rest| {
            !rest.is_empty() && !rest.starts_with(['/', ':']) && !rest.contains(char::is_whitespace)
        });
    match is_address {
        true => Ok(Some(Secret::new(text))),
        false => Err(Error::configuration("BKUP_WEBHOOK_URL is not a web address").with_hint(
            "write https://host/path, or http://host:port/path; it is not shown here, because it may hold a token",
        )),
    }
}

/// One address, `alert@newco.co` or `Alerts <alert@newco.co>`; its finer points are checked where
/// it is used.
fn mail_address(text: &str) -> Option<String> {
    let bare = text
        .strip_suffix('>')
        .and_then(|text| text.rsplit_once('<'))
        .map_or(text, |(_, address)| address);
    let (name, domain) = bare.rsplit_once('@')?;
    let fits = !name.is_empty() && !domain.is_empty() && !bare.contains(char::is_whitespace);
    fits.then(|| text.to_owned())
}

fn mail_addresses(text: &str) -> Option<Vec<String>> {
    text.split(',').map(|address| mail_address(address.trim())).collect()
}
