//! The one table of settings. The reading of values, the check for unknown names, the `config`
//! command, the manual page and `docs/configuration.md` are made from it.

use std::{borrow::Cow, net::SocketAddr, path::PathBuf, time::Duration};

use jiff::Timestamp;
use log::LevelFilter;

use super::{
    choice::{
        EmailTransport, LogFormat, NotifyOn, SmtpSecurity, SyslogProtocol, Unheld, WebhookFormat,
        listed,
    },
    daemon_choice::DaemonChoice,
    docker_socket::DockerSocket,
    given::Form,
    kind::{
        About, COUNT, DAEMON, DESTINATION, DOCKER, DOCKER_BINDS, DOCKER_VOLUMES, DURATION,
        ENDPOINT, EXCLUDES, FOLDER, HOST, HOST_NAMES, Kind, LEVEL, LISTEN, MAIL_ADDRESS,
        MAIL_ADDRESSES, MARKERS, NAMED_FOLDERS, OBJECT_LOCK, ORIGINS, PAST, PATH, PATTERNS, PORT,
        POSITIVE_DURATION, Parser, SECRET, SIZE, SWITCH, SYSLOG_SERVER, SYSTEM_FILE, TEXT, VOLUMES,
        Visibility,
    },
    secret::Secret,
};
use crate::{
    convoy::Destination,
    engine::{Binds, HoldPolicy, Policy},
    exclude::{Marker, Patterns},
    s3::ObjectLock,
};

/// One setting: an environment variable. It can also be given as the name of a file (`NAME_FILE`)
/// or by a flag.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The variable's name.
    pub name: &'static str,
    /// The value that counts if no value is given.
    pub default: Option<&'static str>,
    pub(super) about: About,
    /// One line for people; `{choices}` stands for the words of a choice.
    help: &'static str,
}

impl Setting {
    /// Whether the value must never be shown.
    pub fn is_secret(&self) -> bool {
        self.about.visibility == Visibility::Secret
    }

    /// How its text is taken.
    pub(super) fn form(&self) -> Form {
        match self.about.visibility {
            Visibility::Secret => Form::AsItIs,
            _ if self.about.has_lines => Form::Lines,
            _ => Form::Line,
        }
    }

    /// One line for people.
    pub(crate) fn help(&self) -> Cow<'static, str> {
        if self.help.contains("{choices}") {
            self.help.replace("{choices}", &listed(&self.about.words())).into()
        } else {
            self.help.into()
        }
    }
}

/// A row of the table, and the kind of its value.
pub(super) struct Typed<T: 'static> {
    pub(super) row: Setting,
    pub(super) parser: Parser<T>,
}

/// Declares each setting as a constant of its name, and lists all in [`SETTINGS`]. A setting that
/// nothing reads is dead code to the compiler.
macro_rules! settings {
    ($($name:ident: $type:ty = $kind:expr, $default:expr, $help:literal;)*) => {
        $(
            pub(super) const $name: Typed<$type> = {
                let kind: Kind<$type> = $kind;
                let (name, about) = (stringify!($name), kind.about);
                Typed {
                    row: Setting { name, default: $default, about, help: $help },
                    parser: kind.parser,
                }
            };
        )*

        /// All settings, in the order in which they are listed.
        pub const SETTINGS: &[Setting] = &[$($name.row),*];
    };
}

settings! {
    BKUP_BACKUP_URL: Destination = DESTINATION, None,
        "where backups go: vfs:///folder or s3://bucket@region/path";
    BKUP_S3_AS_OF: Timestamp = PAST, None,
        "look at the bucket as it was at this time (7d ago, or 2026-11-23T07:00), by its versions; nothing is written to it";
    BKUP_S3_ENDPOINT: String = ENDPOINT, None,
        "the S3 service, where it is not Amazon's";
    BKUP_S3_OBJECT_LOCK: ObjectLock = OBJECT_LOCK, None,
        "lock what backups in a bucket consist of for this long, and extend it as long as backups need it";
    BKUP_S3_ACCESS_KEY_ID: Secret = SECRET, None,
        "the access key's id, to back up with the built-in daemon, and to look at Convoy's backups; without it, AWS's own settings are used";
    BKUP_S3_SECRET_ACCESS_KEY: Secret = SECRET, None,
        "the secret key of that access key";
    BKUP_DELETE_OLD_SNAPSHOTS: bool = SWITCH, Some("true"),
        "delete a volume's older snapshots once a backup is proven good";
    BKUP_REPOSITORY_PASSWORD: Secret = SECRET, None,
        "encrypts the built-in daemon's repositories; lost with it are the backups";
    BKUP_CONVOY: DaemonChoice = DAEMON, None,
        "the volume daemon: unix:///socket or builtin:/folder; if not set, what \"daemon use\" chose, else the one that was there first";
    BKUP_FOLDERS: Vec<(String, PathBuf)> = NAMED_FOLDERS, None,
        "folders of this host that the built-in daemon backs up, each with a volume's name: website=/srv/website,mail=/var/mail";
    BKUP_DOCKER: DockerSocket = DOCKER, Some("auto"),
        "Docker's socket, for its own volumes: unix:///socket, off, or auto: DOCKER_HOST, else /var/run/docker.sock where there is one";
    BKUP_DOCKER_VOLUMES: Policy = DOCKER_VOLUMES, Some("all"),
        "which of Docker's volumes the built-in daemon backs up: all that have a name, or labelled: those with convoy-backups.enable=true; if not set, a folder of an earlier release means labelled";
    BKUP_DOCKER_BINDS: Binds = DOCKER_BINDS, Some("labelled"),
        "which folders of the host that Docker's containers mount are backed up: off, labelled: those of containers with convoy-backups.binds=true, or project: those of all compose projects";
    BKUP_DOCKER_INCLUDE: Vec<String> = PATTERNS, None,
        "names of Docker's volumes to back up, and no others, with * for any characters: shop_*,wiki_data";
    BKUP_DOCKER_EXCLUDE: Vec<String> = PATTERNS, None,
        "names of Docker's volumes to leave out: *_cache,tmp_*";
    BKUP_DOCKER_HOLD: HoldPolicy = Kind::choice("a way to hold containers"), Some("pause"),
        "how containers that write to one of Docker's volumes are held still while its moment is taken, or while what changed is read where there is none, where no label convoy-backups.hold says so: {choices}; if it is set, also those that write to folders and volumes of the daemon's own";
    BKUP_DOCKER_HOLD_MAX: Duration = POSITIVE_DURATION, Some("30s"),
        "how long containers may stand still for a volume, beside the time that they get to stop; then they go on, and its backup fails. What would take longer fails, or is read as it is, before anything stands still";
    BKUP_DOCKER_UNHELD: Unheld = Kind::choice("a choice for what can't be held"), Some("fail"),
        "what becomes of a backup whose containers can't be held still: fail, or live: the files are read as they are";
    BKUP_MOMENT_TAKE: String = TEXT, None,
        "a command that takes a moment of a volume of the built-in daemon and prints its folder, such as an LVM snapshot's; see docs/moments.md";
    BKUP_MOMENT_DROP: String = TEXT, None,
        "the command that drops that moment again";
    BKUP_HOLD: String = TEXT, None,
        "a command that holds what writes to a volume of the built-in daemon still while its moment is taken, such as systemctl stop postgresql; see docs/holds.md";
    BKUP_RELEASE: String = TEXT, None,
        "the command that lets it go on";
    BKUP_HOLD_VOLUMES: Vec<String> = VOLUMES, None,
        "the volumes that are held, with commas between them; if not set, all";
    BKUP_HOLD_MAX: Duration = POSITIVE_DURATION, Some("2m"),
        "how long a volume may be held; then it is released, and the backup fails";
    BKUP_EXCLUDE: Patterns = EXCLUDES, None,
        "files and folders that the built-in daemon leaves out of snapshots and backups, as restic's --exclude: *.tmp,/cache; [NAME] before those of one volume; see docs/excludes.md";
    BKUP_EXCLUDE_IF_PRESENT: Vec<Marker> = MARKERS, None,
        "files that mark a folder whose content is left out, as restic's --exclude-if-present: .nobackup";
    BKUP_EXCLUDE_CACHES: bool = SWITCH, Some("false"),
        "leave out the content of folders with a CACHEDIR.TAG";
    BKUP_ONE_FILE_SYSTEM: bool = SWITCH, Some("false"),
        "leave out what is mounted in a volume";
    BKUP_SPOOL_MAX: u64 = SIZE, Some("4G"),
        "how much may wait on the volumes' disk to be uploaded, so that a live volume is read in a short time; 0: nothing";
    BKUP_DATA_DIR: PathBuf = FOLDER, None,
        "where this program keeps its own files, the built-in daemon's among them";
    BKUP_HOST: String = HOST, None,
        "the host's name in backups, where it is not the system's";
    BKUP_SCRIPTS_DIR: PathBuf = PATH, None,
        "a folder of scripts; one named as a default script takes its place";
    BKUP_CRONTAB: PathBuf = PATH, None,
        "the crontab that serve follows";
    BKUP_RUN_TIMEOUT: Duration = POSITIVE_DURATION, Some("5h"),
        "how long one run may take";
    BKUP_MAX_CONCURRENT: usize = COUNT, Some("2"),
        "how many runs serve has at a time; the rest wait in order";
    BKUP_CATCHUP: bool = SWITCH, Some("true"),
        "make up once, at start, for what was missed while serve was down";
    BKUP_JITTER: Duration = DURATION, Some("0s"),
        "a scheduled run starts up to this much later, at random";
    BKUP_SHUTDOWN_GRACE: Duration = DURATION, Some("30s"),
        "how long serve waits for running scripts when it is told to end";
    BKUP_MAX_BACKUP_AGE: Duration = POSITIVE_DURATION, None,
        "a volume's newest good backup may be this old; if not set, as its crontab lines allow, else twice the usual distance of its backups, else 7d";
    BKUP_REMIND_AFTER: Duration = DURATION, Some("1d"),
        "how long after people are told again of what is still wrong";
    BKUP_DEFAULTS: Option<PathBuf> = SYSTEM_FILE, Some("/etc/default/convoy-backups"),
        "the settings of the system's services; they hold where the environment says nothing. off: they do not";
    BKUP_LOCK_WAIT: Duration = DURATION, Some("5m"),
        "how long a run waits for another that holds the lock";
    BKUP_API_LISTEN: Option<SocketAddr> = LISTEN, Some("127.0.0.1:3000"),
        "where serve answers HTTP; off: nowhere";
    BKUP_API_TOKEN: Secret = SECRET, None,
        "what an HTTP request must show; if not set, one is made and kept in the data folder";
    BKUP_API_READ_TOKEN: Secret = SECRET, None,
        "another that is good for looking only";
    BKUP_API_TLS_CERTIFICATE: PathBuf = PATH, None,
        "a PEM file with serve's certificate and its chain";
    BKUP_API_TLS_KEY: PathBuf = PATH, None,
        "a PEM file with the certificate's private key";
    BKUP_API_HOSTS: Vec<String> = HOST_NAMES, None,
        "names by which browsers reach serve, besides addresses, localhost and the machine's own name";
    BKUP_API_ALLOW_ORIGIN: Vec<String> = ORIGINS, None,
        "web pages from elsewhere that may use the API with a token (CORS); if not set, none";
    BKUP_API_MAX_CONNECTIONS: usize = COUNT, Some("256"),
        "how many HTTP connections serve has at a time";
    BKUP_LOGGER_CONSOLE_ENABLED: bool = SWITCH, Some("true"),
        "log to standard error";
    BKUP_LOGGER_CONSOLE_LEVEL: LevelFilter = LEVEL, Some("debug"),
        "how much of it; the default is that of serve, other commands show warnings";
    BKUP_LOGGER_FORMAT: LogFormat = Kind::choice("a log format"), Some("text"),
        "how console and file write a line: {choices}";
    BKUP_LOGGER_FILE_ENABLED: bool = SWITCH, Some("false"),
        "log to a file";
    BKUP_LOGGER_FILE_LEVEL: LevelFilter = LEVEL, Some("debug"),
        "how much of it";
    BKUP_LOGGER_FILE_LOCATION: PathBuf = PATH, Some("/tmp/backups.log"),
        "which file";
    BKUP_LOGGER_SYSLOG_ENABLED: bool = SWITCH, Some("false"),
        "log to a syslog server";
    BKUP_LOGGER_SYSLOG_LEVEL: LevelFilter = LEVEL, Some("debug"),
        "how much of it";
    BKUP_LOGGER_SYSLOG_PORT: u16 = PORT, Some("3030"),
        "the server's port";
    BKUP_LOGGER_SYSLOG_PROTOCOL: SyslogProtocol = Kind::choice("a way to reach syslog"), Some("udp"),
        "how it is reached: udp, tcp, or unix (the local socket)";
    BKUP_LOGGER_SYSLOG_SERVER: String = SYSLOG_SERVER, Some("10.10.10.10"),
        "the server's name or address; with unix, a socket's path (/dev/log)";
    BKUP_EMAIL_ENABLED: bool = SWITCH, Some("false"),
        "send e-mail about failures";
    BKUP_EMAIL_ON: NotifyOn = Kind::choice("when to notify"), Some("failure"),
        "send it on failure only, or always";
    BKUP_EMAIL_TRANSPORT: EmailTransport = Kind::choice("a way to send e-mail"), Some("smtp"),
        "how e-mail is sent: {choices}";
    BKUP_EMAIL_FROM: String = MAIL_ADDRESS, Some("support@newco.co"),
        "who sends it";
    BKUP_EMAIL_TO: Vec<String> = MAIL_ADDRESSES, Some("alert@newco.co"),
        "who gets it; several with commas between them";
    BKUP_EMAIL_SMTP_PORT: u16 = PORT, Some("465"),
        "the SMTP server's port";
    BKUP_EMAIL_SMTP_SECURITY: Option<SmtpSecurity> = Kind::choice("a way to secure SMTP"), Some("auto"),
        "tls, starttls or none (plain text); auto: tls on port 465, else starttls";
    BKUP_EMAIL_SMTP_HOST: String = HOST, Some("smtp.sendgrid.net"),
        "the SMTP server";
    BKUP_EMAIL_SMTP_USER: String = TEXT, None,
        "the user at the SMTP server";
    BKUP_EMAIL_SMTP_PASS: Secret = SECRET, None,
        "the user's password";
    BKUP_EMAIL_SES_AWS_ACCESS_KEY_ID: Secret = SECRET, None,
        "the key's id for Amazon SES";
    BKUP_EMAIL_SES_AWS_SECRET_ACCESS_KEY: Secret = SECRET, None,
        "the key for Amazon SES";
    BKUP_EMAIL_SES_REGION: String = TEXT, None,
        "the region of Amazon SES; if not set, AWS_REGION or the AWS profile's";
    BKUP_EMAIL_SES_ENDPOINT: String = ENDPOINT, None,
        "another address of Amazon SES, such as a VPC endpoint";
    BKUP_WEBHOOK_URL: Secret = SECRET, None,
        "a web address that is told, too (a secret: such addresses often hold a token)";
    BKUP_WEBHOOK_FORMAT: WebhookFormat = Kind::choice("a webhook's format"), Some("json"),
        "what it is told in: {choices}";
    BKUP_WEBHOOK_ON: NotifyOn = Kind::choice("when to notify"), Some("failure"),
        "tell it on failure only, or always";
    BKUP_WEBHOOK_TOKEN: Secret = SECRET, None,
        "sent to it as \"Authorization: Bearer ..\"";
}

/// The setting with this name.
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
            assert!(setting.name.starts_with("BKUP_") && !setting.help().is_empty());
        }
    }

    #[test]
    fn no_secret_has_a_default() {
        assert!(SETTINGS.iter().all(|setting| !setting.is_secret() || setting.default.is_none()));
    }

    #[test]
    fn help_that_names_one_word_of_a_choice_names_all() {
        for setting in SETTINGS {
            let help = setting.help();
            let words = setting.about.words();
            let named = |word: &&&str| {
                help.split(|letter: char| !letter.is_alphanumeric()).any(|other| other == **word)
            };
            let count = words.iter().filter(named).count();
            assert!(!help.contains('{') && (count == 0 || count == words.len()), "{help}");
        }
    }
}
