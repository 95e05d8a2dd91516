//! The kinds of values: the noun for a value, how it is written, and how it is read.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use log::LevelFilter;

use super::{
    choice::{Choice, listed, words},
    daemon_choice::{DaemonChoice, LONGEST_SOCKET},
    docker_socket::{DockerSocket, pattern},
    given::quote,
    named_folders,
    secret::Secret,
};
use crate::{
    clock::{Clock as _, SystemClock},
    convoy::{Destination, Name},
    engine::{Binds, Policy},
    error::{Error, Result},
    exclude::{self, Marker, Patterns},
    s3::ObjectLock,
    time_words::{self, Day},
    units::{parse_duration, parse_size},
};

/// A kind of values of type `T`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind<T: 'static> {
    pub(super) about: About,
    pub(super) parser: Parser<T>,
}

/// What messages and pages say of a kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct About {
    /// The noun in `"x" is not ..`.
    pub(super) noun: &'static str,
    writing: Writing,
    pub(super) visibility: Visibility,
    /// Whether it is a list that may have line ends in place of commas, and comments.
    pub(super) has_lines: bool,
}

#[derive(Debug, Clone, Copy)]
enum Writing {
    Hint(&'static str),
    Words(fn() -> Vec<&'static str>),
}

/// Whether a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visibility {
    Public,
    /// Hidden if the value has an `@`, because it then holds a password.
    HiddenWithUser,
    Secret,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Parser<T: 'static> {
    /// Returns `None` for a wrong value; the kind's noun and hint explain it.
    Plain(fn(&str) -> Option<T>),
    /// Returns an error that explains a wrong value.
    Explaining(fn(&str) -> Result<T>),
}

impl<T> Kind<T> {
    const fn new(noun: &'static str, hint: &'static str, parse: fn(&str) -> Option<T>) -> Self {
        let about = About {
            noun,
            writing: Writing::Hint(hint),
            visibility: Visibility::Public,
            has_lines: false,
        };
        Self { about, parser: Parser::Plain(parse) }
    }

    const fn explaining(
        noun: &'static str,
        hint: &'static str,
        parse: fn(&str) -> Result<T>,
    ) -> Self {
        let about = About {
            noun,
            writing: Writing::Hint(hint),
            visibility: Visibility::Public,
            has_lines: false,
        };
        Self { about, parser: Parser::Explaining(parse) }
    }
}

impl<T: Choice> Kind<T> {
    /// The kind of a [`Choice`].
    pub(super) const fn choice(noun: &'static str) -> Self {
        let about = About {
            noun,
            writing: Writing::Words(words::<T>),
            visibility: Visibility::Public,
            has_lines: false,
        };
        Self { about, parser: Parser::Plain(T::parse) }
    }
}

impl About {
    /// The words of a choice; empty for other kinds.
    pub(super) fn words(&self) -> Vec<&'static str> {
        match self.writing {
            Writing::Hint(_) => Vec::new(),
            Writing::Words(words) => words(),
        }
    }

    /// The hint how to write a value.
    pub(super) fn hint(&self) -> String {
        match self.writing {
            Writing::Hint(hint) => hint.to_owned(),
            Writing::Words(words) => format!("write {}", listed(&words())),
        }
    }
}

pub(super) const SWITCH: Kind<bool> = Kind::new(
    "true or false",
    "write true or false (1, 0, yes, no, on and off are understood too)",
    switch,
);

/// A log level by this program's names, or by those of winston (npm's and syslog's), which the Node
/// version accepted.
pub(super) const LEVEL: Kind<LevelFilter> =
    Kind::new("a log level", "write error, warn, info, debug, trace or off", level);

pub(super) const PORT: Kind<u16> = Kind::new("a port", "write a number from 1 to 65535", |text| {
    text.parse().ok().filter(|port| *port > 0)
});

pub(super) const COUNT: Kind<usize> =
    Kind::new("a number", "write a whole number from 1 to 1000", |text| {
        text.parse().ok().filter(|count| (1..=1000).contains(count))
    });

pub(super) const SIZE: Kind<u64> = Kind::new(
    "a size",
    "write a whole number with K, M, G or T behind it, such as 512M or 4G",
    |text| parse_size(text).ok(),
);

const DURATION_NOUN: &str = "a duration";
const DURATION_HINT: &str =
    "write a whole number with s, m, h, d, w or y behind it, such as 90s or 5h";

pub(super) const DURATION: Kind<Duration> =
    Kind::new(DURATION_NOUN, DURATION_HINT, |text| parse_duration(text).ok());

pub(super) const POSITIVE_DURATION: Kind<Duration> =
    Kind::new(DURATION_NOUN, DURATION_HINT, |text| {
        parse_duration(text).ok().filter(|time| !time.is_zero())
    });

pub(super) const DESTINATION: Kind<Destination> = Kind::explaining(
    "a backup destination",
    "write vfs:///absolute/folder or s3://bucket@region/path",
    Destination::parse,
);

pub(super) const OBJECT_LOCK: Kind<ObjectLock> = Kind::explaining(
    "an object lock",
    "write 3d to 366d, and governance behind it where a right of its own may end it",
    ObjectLock::parse,
);

/// A time that is over, in the local zone where it says none.
pub(super) const PAST: Kind<Timestamp> = Kind::explaining(
    "a time that is over",
    "write how long ago (7d, 36h), a day (yesterday, 2026-11-23), or a time (2026-11-23T07:00)",
    |text| {
        let now = SystemClock.now_local();
        let time = time_words::parse(text, &now, Day::Begin)?;
        if time > now.timestamp() {
            return Err(Error::usage(format!("\"{text}\" is still to come"))
                .with_hint("write how long ago, such as 7d, or a time that is over"));
        }
        // Whole seconds, as the services count them.
        Ok(Timestamp::from_second(time.as_second()).unwrap_or(time))
    },
);

pub(super) const DAEMON: Kind<DaemonChoice> = Kind::new(
    "a volume daemon",
    "write unix:///var/run/convoy/convoy.sock (Convoy's socket) or builtin:/absolute/folder",
    DaemonChoice::parse,
);

pub(super) const DOCKER: Kind<DockerSocket> = Kind::new(
    "Docker's socket",
    "write unix:///var/run/docker.sock, auto or off",
    DockerSocket::parse,
);

pub(super) const DOCKER_VOLUMES: Kind<Policy> = Kind::choice("a choice of Docker's volumes");

pub(super) const DOCKER_BINDS: Kind<Binds> = Kind::choice("a choice of folders of the host");

pub(super) const PATTERNS: Kind<Vec<String>> = Kind::new(
    "a list of names",
    "write names of volumes, with * for any characters: shop_*,wiki_data",
    |text| list(text, pattern),
);

/// A folder. A relative path is refused.
pub(super) const FOLDER: Kind<PathBuf> = Kind::new(
    "an absolute folder",
    "write it from the root on, such as /var/lib/convoy-backups",
    |text| Some(PathBuf::from(text)).filter(|path| path.is_absolute()),
);

/// A file or folder. A relative path counts from the current folder.
pub(super) const PATH: Kind<PathBuf> =
    Kind::explaining("a path", "write the path of a file or folder", absolute);

/// The file of the system's services; `None`: off.
pub(super) const SYSTEM_FILE: Kind<Option<PathBuf>> = Kind::new(
    "an absolute path, or off",
    "write the path of a file from the root on, or off",
    |text| match text {
        "off" => Some(None),
        path => path.starts_with('/').then(|| Some(path.into())),
    },
);

/// An address to listen on; `None`: off.
pub(super) const LISTEN: Kind<Option<SocketAddr>> = Kind::new(
    "an address to listen on",
    "write address:port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080, or off",
    |text| match text.to_ascii_lowercase().as_str() {
        "off" => Some(None),
        address => address.parse().ok().map(Some),
    },
);

pub(super) const HOST_NAMES: Kind<Vec<String>> = Kind::new(
    "a list of host names",
    "write names as they stand in the address, without scheme and port: backups.example.com, host1; with commas between them",
    |text| list(text, host_name),
);

pub(super) const NAMED_FOLDERS: Kind<Vec<(String, PathBuf)>> = Kind::explaining(
    "a list of folders with names",
    "write NAME=/folder, such as website=/srv/website; several with commas between them",
    named_folders::parse,
);

/// Patterns of files that are left out, also one a line.
pub(super) const EXCLUDES: Kind<Patterns> = Kind {
    about: About {
        noun: "a list of patterns",
        writing: Writing::Hint(exclude::HINT),
        visibility: Visibility::Public,
        has_lines: true,
    },
    parser: Parser::Explaining(Patterns::parse),
};

pub(super) const MARKERS: Kind<Vec<Marker>> = Kind::new(
    "a list of file names",
    "write the names of files that mark a folder, such as .nobackup, with commas between them; NAME:HEADER for one that begins so",
    |text| list(text, Marker::parse),
);

pub(super) const VOLUMES: Kind<Vec<String>> = Kind::new(
    "a list of volumes",
    "write the names of volumes, with commas between them",
    |text| list(text, |name| Name::volume(name).ok().map(|name| name.to_string())),
);

/// Origins of web pages, as browsers write them.
pub(super) const ORIGINS: Kind<Vec<String>> = Kind::new(
    "a list of origins",
    "write https://host or http://host:port, without a path and without \"*\"; several with commas between them",
    |text| list(text, origin),
);

pub(super) const ENDPOINT: Kind<String> = Kind {
    about: About {
        noun: "an endpoint",
        writing: Writing::Hint(
            "write http://host:port or https://host:port, without a user, a password or a query",
        ),
        visibility: Visibility::HiddenWithUser,
        has_lines: false,
    },
    parser: Parser::Plain(endpoint),
};

const HOST_NOUN: &str = "a host name";
const HOST_HINT: &str = "write a name or address of at most 253 characters, without spaces";

pub(super) const HOST: Kind<String> = Kind::new(HOST_NOUN, HOST_HINT, host);

/// A host, or a local socket's path.
pub(super) const SYSLOG_SERVER: Kind<String> = Kind::new(HOST_NOUN, HOST_HINT, |text| {
    let is_socket = text.starts_with('/') && text.len() <= LONGEST_SOCKET;
    if is_socket { Some(text.to_owned()) } else { host(text) }
});

const MAIL_NOUN: &str = "an e-mail address";
const MAIL_HINT: &str = "write name@example.com; several with commas between them";

pub(super) const MAIL_ADDRESS: Kind<String> = Kind::new(MAIL_NOUN, MAIL_HINT, mail_address);

pub(super) const MAIL_ADDRESSES: Kind<Vec<String>> =
    Kind::new(MAIL_NOUN, MAIL_HINT, |text| list(text, mail_address));

const TEXT_NOUN: &str = "a text";
const TEXT_HINT: &str = "write it on one line";

pub(super) const TEXT: Kind<String> = Kind::new(TEXT_NOUN, TEXT_HINT, |text| Some(text.to_owned()));

pub(super) const SECRET: Kind<Secret> = Kind {
    about: About {
        noun: TEXT_NOUN,
        writing: Writing::Hint(TEXT_HINT),
        visibility: Visibility::Secret,
        has_lines: false,
    },
    parser: Parser::Plain(|text| Some(Secret::new(text))),
};

/// The absolute form of a path that may be relative to the current folder.
pub(super) fn absolute(text: &str) -> Result<PathBuf> {
    std::path::absolute(Path::new(text))
        .map_err(|error| Error::configuration(format!("{} is not a path: {error}", quote(text))))
}

fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

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

fn host(text: &str) -> Option<String> {
    let fits = !text.is_empty()
        && text.len() <= 253
        && !text.contains(|c: char| c.is_whitespace() || "/@?#".contains(c));
    fits.then(|| text.to_owned())
}

fn endpoint(text: &str) -> Option<String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    let odd = |letter: char| letter.is_whitespace() || "@?#".contains(letter);
    (!rest.is_empty() && !rest.starts_with(['/', ':']) && !rest.contains(odd))
        .then(|| text.to_owned())
}

fn list<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split(',').map(|item| parse(item.trim())).collect()
}

fn host_name(text: &str) -> Option<String> {
    host(text).filter(|name| !name.contains([':', '*', '\\'])).map(|name| name.to_ascii_lowercase())
}

/// An origin as browsers write it. A slash at its end is removed, because addresses are often
/// copied with it.
fn origin(text: &str) -> Option<String> {
    let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let (_, host) = text.split_once("://")?;
    (endpoint(&text).is_some() && !host.contains(['/', '*'])).then_some(text)
}

/// One address, `alert@newco.co` or `Alerts <alert@newco.co>`. The mail library checks the rest
/// when the address is used.
fn mail_address(text: &str) -> Option<String> {
    let bare = text
        .strip_suffix('>')
        .and_then(|text| text.rsplit_once('<'))
        .map_or(text, |(_, address)| address);
    let (name, domain) = bare.rsplit_once('@')?;
    let fits = !name.is_empty() && !domain.is_empty() && !bare.contains(char::is_whitespace);
    fits.then(|| text.to_owned())
}
