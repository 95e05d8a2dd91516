//! The one table of settings: it drives reading, the check for unknown names, and the `config`
//! command's listing.

use super::system::USUAL;

/// One setting: an environment variable, which can also be given as the name of a file
/// (`NAME_FILE`) or by a flag.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The variable's name.
    pub name: &'static str,
    /// Its value where none is given.
    pub default: Option<&'static str>,
    /// What its value is.
    pub(crate) kind: Kind,
    /// One line for people.
    pub(crate) help: &'static str,
}

impl Setting {
    /// Whether its value must never be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }
}

/// What a setting's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// True or false.
    Switch,
    /// How much is logged.
    Level,
    /// A TCP or UDP port.
    Port,
    /// Where backups go.
    Destination,
    /// Where the volume daemon is.
    Daemon,
    /// An absolute folder.
    Folder,
    /// A file or folder; a relative one counts from the current folder.
    Path,
    /// A length of time.
    Duration,
    /// An address to listen on, or `off`.
    Listen,
    /// Host names.
    HostNames,
    /// Origins of web pages.
    Origins,
    /// An HTTP address.
    Endpoint,
    /// A host's name or address.
    Host,
    /// How e-mail is sent.
    Transport,
    /// A whole number from 1 on.
    Count,
    /// How a line of the log is written.
    LogFormat,
    /// How a syslog server is reached.
    SyslogProtocol,
    /// How a connection to an SMTP server is secured.
    SmtpSecurity,
    /// When a channel is used.
    NotifyOn,
    /// What a webhook understands.
    WebhookFormat,
    /// One or more e-mail addresses.
    Mail,
    /// What must never be shown.
    Secret,
    /// The file of the system's services, or `off`.
    SystemFile,
    /// Any text.
    Text,
}

impl Kind {
    /// What a value is (`"x" is not ..`), and how to write one.
    pub(super) fn expected(self) -> (&'static str, &'static str) {
        match self {
            Self::Switch => (
                "true or false",
                "write true or false (1, 0, yes, no, on and off are understood too)",
            ),
            Self::SystemFile => {
                ("an absolute path, or off", "write the path of a file from the root on, or off")
            }
            Self::Level => ("a log level", "write error, warn, info, debug, trace or off"),
            Self::Port => ("a port", "write a number from 1 to 65535"),
            Self::Destination => {
                ("a backup destination", "write vfs:///absolute/folder or s3://bucket@region/path")
            }
            Self::Daemon => (
                "a volume daemon",
                "write unix:///var/run/convoy/convoy.sock (Convoy's socket) or builtin:/absolute/folder",
            ),
            Self::Folder => {
                ("an absolute folder", "write it from the root on, such as /var/lib/convoy-backups")
            }
            Self::Path => ("a path", "write the path of a file or folder"),
            Self::Duration => (
                "a duration",
                "write a whole number with s, m, h, d, w or y behind it, such as 90s or 5h",
            ),
            Self::Listen => (
                "an address to listen on",
                "write address:port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080, or off",
            ),
            Self::HostNames => (
                "a list of host names",
                "write names as they stand in the address, without scheme and port: backups.example.com, host1; with commas between them",
            ),
            Self::Origins => (
                "a list of origins",
                "write https://host or http://host:port, without a path and without \"*\"; several with commas between them",
            ),
            Self::Endpoint => (
                "an endpoint",
                "write http://host:port or https://host:port, without a user, a password or a query",
            ),
            Self::Host => {
                ("a host name", "write a name or address of at most 253 characters, without spaces")
            }
            Self::Transport => ("a way to send e-mail", "write smtp or ses"),
            Self::Count => ("a number", "write a whole number from 1 to 1000"),
            Self::LogFormat => ("a log format", "write text or json"),
            Self::SyslogProtocol => ("a way to reach syslog", "write udp, tcp or unix"),
            Self::SmtpSecurity => ("a way to secure SMTP", "write auto, tls, starttls or none"),
            Self::NotifyOn => ("when to notify", "write failure or always"),
            Self::WebhookFormat => {
                ("a webhook's format", "write json, slack, ntfy or healthchecks")
            }
            Self::Mail => {
                ("an e-mail address", "write name@example.com; several with commas between them")
            }
            Self::Secret | Self::Text => ("a text", "write it on one line"),
        }
    }
}

const fn setting(
    name: &'static str,
    default: Option<&'static str>,
    kind: Kind,
    help: &'static str,
) -> Setting {
    Setting { name, default, kind, help }
}

/// All settings, in the order in which they are listed.
pub const SETTINGS: &[Setting] = &[
    setting(
        "BKUP_BACKUP_URL",
        None,
        Kind::Destination,
        "where backups go: vfs:///folder or s3://bucket@region/path",
    ),
    setting("BKUP_S3_ENDPOINT", None, Kind::Endpoint, "the S3 service, where it is not Amazon's"),
    setting(
        "BKUP_S3_ACCESS_KEY_ID",
        None,
        Kind::Secret,
        "the access key's id, for the built-in daemon; without it, AWS's own settings are used",
    ),
    setting(
        "BKUP_S3_SECRET_ACCESS_KEY",
        None,
        Kind::Secret,
        "the secret key, for the built-in daemon",
    ),
    setting(
        "BKUP_DELETE_OLD_SNAPSHOTS",
        Some("true"),
        Kind::Switch,
        "delete a volume's older snapshots once a backup is proven good",
    ),
    setting(
        "BKUP_REPOSITORY_PASSWORD",
        None,
        Kind::Secret,
        "encrypts the built-in daemon's repositories; lost with it are the backups",
    ),
    setting(
        "BKUP_CONVOY",
        None,
        Kind::Daemon,
        "the volume daemon: unix:///socket or builtin:/folder; if not set, Convoy's socket where there is one, else built in",
    ),
    setting(
        "BKUP_DATA_DIR",
        None,
        Kind::Folder,
        "where this program keeps its own files, the built-in daemon's among them",
    ),
    setting(
        "BKUP_HOST",
        None,
        Kind::Host,
        "the host's name in backups, where it is not the system's",
    ),
    setting(
        "BKUP_SCRIPTS_DIR",
        None,
        Kind::Path,
        "a folder of scripts; one named as a default script takes its place",
    ),
    setting("BKUP_CRONTAB", None, Kind::Path, "the crontab that serve follows"),
    setting("BKUP_RUN_TIMEOUT", Some("5h"), Kind::Duration, "how long one run may take"),
    setting(
        "BKUP_MAX_CONCURRENT",
        Some("2"),
        Kind::Count,
        "how many runs serve has at a time; the rest wait in order",
    ),
    setting(
        "BKUP_CATCHUP",
        Some("true"),
        Kind::Switch,
        "make up once, at start, for what was missed while serve was down",
    ),
    setting(
        "BKUP_JITTER",
        Some("0s"),
        Kind::Duration,
        "a scheduled run starts up to this much later, at random",
    ),
    setting(
        "BKUP_SHUTDOWN_GRACE",
        Some("30s"),
        Kind::Duration,
        "how long serve waits for running scripts when it is told to end",
    ),
    setting(
        "BKUP_MAX_BACKUP_AGE",
        None,
        Kind::Duration,
        "a volume's newest good backup may be this old; if not set, as its crontab lines allow",
    ),
    setting(
        "BKUP_REMIND_AFTER",
        Some("1d"),
        Kind::Duration,
        "how long after people are told again of what is still wrong",
    ),
    setting(
        "BKUP_DEFAULTS",
        Some(USUAL),
        Kind::SystemFile,
        "the settings of the system's services; they hold where the environment says nothing. off: they do not",
    ),
    setting(
        "BKUP_LOCK_WAIT",
        Some("5m"),
        Kind::Duration,
        "how long a run waits for another that holds the lock",
    ),
    setting(
        "BKUP_API_LISTEN",
        Some("127.0.0.1:3000"),
        Kind::Listen,
        "where serve answers HTTP; off: nowhere",
    ),
    setting(
        "BKUP_API_TOKEN",
        None,
        Kind::Secret,
        "what an HTTP request must show; if not set, one is made and kept in the data folder",
    ),
    setting("BKUP_API_READ_TOKEN", None, Kind::Secret, "another that is good for looking only"),
    setting(
        "BKUP_API_TLS_CERTIFICATE",
        None,
        Kind::Path,
        "a PEM file with serve's certificate and its chain",
    ),
    setting("BKUP_API_TLS_KEY", None, Kind::Path, "a PEM file with the certificate's private key"),
    setting(
        "BKUP_API_HOSTS",
        None,
        Kind::HostNames,
        "names by which browsers reach serve, besides addresses, localhost and the machine's own name",
    ),
    setting(
        "BKUP_API_ALLOW_ORIGIN",
        None,
        Kind::Origins,
        "web pages from elsewhere that may use the API with a token (CORS); if not set, none",
    ),
    setting(
        "BKUP_API_MAX_CONNECTIONS",
        Some("256"),
        Kind::Count,
        "how many HTTP connections serve has at a time",
    ),
    setting("BKUP_LOGGER_CONSOLE_ENABLED", Some("true"), Kind::Switch, "log to standard error"),
    setting(
        "BKUP_LOGGER_CONSOLE_LEVEL",
        Some("debug"),
        Kind::Level,
        "how much of it; the default is that of serve, other commands show warnings",
    ),
    setting(
        "BKUP_LOGGER_FORMAT",
        Some("text"),
        Kind::LogFormat,
        "how console and file write a line: text or json",
    ),
    setting("BKUP_LOGGER_FILE_ENABLED", Some("false"), Kind::Switch, "log to a file"),
    setting("BKUP_LOGGER_FILE_LEVEL", Some("debug"), Kind::Level, "how much of it"),
    setting("BKUP_LOGGER_FILE_LOCATION", Some("/tmp/backups.log"), Kind::Path, "which file"),
    setting("BKUP_LOGGER_SYSLOG_ENABLED", Some("false"), Kind::Switch, "log to a syslog server"),
    setting("BKUP_LOGGER_SYSLOG_LEVEL", Some("debug"), Kind::Level, "how much of it"),
    setting("BKUP_LOGGER_SYSLOG_PORT", Some("3030"), Kind::Port, "the server's port"),
    setting(
        "BKUP_LOGGER_SYSLOG_PROTOCOL",
        Some("udp"),
        Kind::SyslogProtocol,
        "how it is reached: udp, tcp, or unix (the local socket)",
    ),
    setting(
        "BKUP_LOGGER_SYSLOG_SERVER",
        Some("10.10.10.10"),
        Kind::Host,
        "the server's name or address; with unix, a socket's path (/dev/log)",
    ),
    setting("BKUP_EMAIL_ENABLED", Some("false"), Kind::Switch, "send e-mail about failures"),
    setting("BKUP_EMAIL_ON", Some("failure"), Kind::NotifyOn, "send it on failure only, or always"),
    setting(
        "BKUP_EMAIL_TRANSPORT",
        Some("smtp"),
        Kind::Transport,
        "how e-mail is sent: smtp or ses",
    ),
    setting("BKUP_EMAIL_FROM", Some("support@newco.co"), Kind::Mail, "who sends it"),
    setting(
        "BKUP_EMAIL_TO",
        Some("alert@newco.co"),
        Kind::Mail,
        "who gets it; several with commas between them",
    ),
    setting("BKUP_EMAIL_SMTP_PORT", Some("465"), Kind::Port, "the SMTP server's port"),
    setting(
        "BKUP_EMAIL_SMTP_SECURITY",
        Some("auto"),
        Kind::SmtpSecurity,
        "tls, starttls or none (plain text); auto: tls on port 465, else starttls",
    ),
    setting("BKUP_EMAIL_SMTP_HOST", Some("smtp.sendgrid.net"), Kind::Host, "the SMTP server"),
    setting("BKUP_EMAIL_SMTP_USER", None, Kind::Text, "the user at the SMTP server"),
    setting("BKUP_EMAIL_SMTP_PASS", None, Kind::Secret, "the user's password"),
    setting("BKUP_EMAIL_SES_AWS_ACCESS_KEY_ID", None, Kind::Secret, "the key's id for Amazon SES"),
    setting("BKUP_EMAIL_SES_AWS_SECRET_ACCESS_KEY", None, Kind::Secret, "the key for Amazon SES"),
    setting(
        "BKUP_EMAIL_SES_REGION",
        None,
        Kind::Text,
        "the region of Amazon SES; if not set, AWS_REGION or the AWS profile's",
    ),
    setting(
        "BKUP_EMAIL_SES_ENDPOINT",
        None,
        Kind::Endpoint,
        "another address of Amazon SES, such as a VPC endpoint",
    ),
    setting(
        "BKUP_WEBHOOK_URL",
        None,
        Kind::Secret,
        "a web address that is told, too (a secret: such addresses often hold a token)",
    ),
    setting(
        "BKUP_WEBHOOK_FORMAT",
        Some("json"),
        Kind::WebhookFormat,
        "what it is told in: json, slack, ntfy or healthchecks",
    ),
    setting(
        "BKUP_WEBHOOK_ON",
        Some("failure"),
        Kind::NotifyOn,
        "tell it on failure only, or always",
    ),
    setting("BKUP_WEBHOOK_TOKEN", None, Kind::Secret, "sent to it as \"Authorization: Bearer ..\""),
];

/// The setting of this name.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_be_mistaken_for_anothers_file() {
        for setting in SETTINGS {
            assert!(find(&format!("{}_FILE", setting.name)).is_none(), "{}", setting.name);
            assert_eq!(
                SETTINGS.iter().filter(|other| other.name == setting.name).count(),
                1,
                "{}",
                setting.name
            );
            assert!(setting.name.starts_with("BKUP_") && !setting.help.is_empty());
        }
    }

    #[test]
    fn no_secret_has_a_default() {
        assert!(SETTINGS.iter().all(|setting| !setting.is_secret() || setting.default.is_none()));
    }
}
