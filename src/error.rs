//! The one error type of the crate.
//!
//! An error says what was wrong (`message`), where (`request` for the daemon, `location` for a
//! script) and what to do next (`hint`). Programs decide by its `kind`: scripts read it as
//! `e.code`, and the command line turns it into an exit code.

use std::fmt;

/// `Result` with this crate's [`Error`].
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ErrorKind {
    /// Wrong arguments: a name, size, URL or flag that can't be what was meant. Nothing was done.
    Usage,
    /// The configuration (environment, files, folders) is wrong or incomplete. Nothing was done.
    Configuration,
    /// A script is wrong: it does not parse, or it failed because of its own code.
    Script,
    /// A script hit one of the engine's limits.
    Limit,
    /// The daemon can't be reached: there is no socket, or no process listens on it. Nothing was
    /// sent.
    Unreachable,
    /// The daemon did not answer in time, or the connection broke after the request was sent. The
    /// daemon may or may not have carried out the request.
    Timeout,
    /// The daemon's answer does not fit Convoy's API.
    Protocol,
    /// The daemon refused the request or failed to carry it out. The error has the daemon's
    /// `status` and its own words.
    Daemon,
    /// The named thing does not exist, according to the daemon.
    NotFound,
    /// A guard stopped the call, because it could have lost data.
    Guard,
    /// Another run holds the lock.
    Busy,
    /// The run was cancelled.
    Cancelled,
    /// The run's deadline passed.
    DeadlineExceeded,
    /// A file or folder could not be read or written.
    Io,
    /// A repository of the built-in daemon could not be read or written.
    Repository,
    /// A defect of this program.
    Internal,
}

impl ErrorKind {
    const ALL: [Self; 16] = [
        Self::Usage,
        Self::Configuration,
        Self::Script,
        Self::Limit,
        Self::Unreachable,
        Self::Timeout,
        Self::Protocol,
        Self::Daemon,
        Self::NotFound,
        Self::Guard,
        Self::Busy,
        Self::Cancelled,
        Self::DeadlineExceeded,
        Self::Io,
        Self::Repository,
        Self::Internal,
    ];

    /// The kind with this [code](Self::code).
    pub(crate) fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The name of this kind in scripts (`e.code`) and JSON.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Configuration => "configuration",
            Self::Script => "script",
            Self::Limit => "limit",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Daemon => "daemon",
            Self::NotFound => "not_found",
            Self::Guard => "guard",
            Self::Busy => "busy",
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Io => "io",
            Self::Repository => "repository",
            Self::Internal => "internal",
        }
    }
}

/// A place in a script, for the caret under the source line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// The script's file, or `<name> (built in)` for an embedded one.
    pub(crate) file: String,
    /// Line, from 1.
    pub(crate) line: usize,
    /// Column in characters, from 1; 0 where only the line is known.
    pub(crate) column: usize,
    /// The text of that line.
    pub(crate) source_line: String,
}

/// What went wrong, where, and what to do next.
#[derive(Debug, Clone)]
pub(crate) struct Error {
    /// Programs decide by it.
    pub(crate) kind: ErrorKind,
    /// What was wrong: lower case, names in quotes, no full stop.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
    /// The failed request to the daemon, such as `GET /volumes/list`.
    pub(crate) request: Option<String>,
    /// The HTTP status of the daemon's answer.
    pub(crate) status: Option<u16>,
    /// The place in the script.
    pub(crate) location: Option<Box<Location>>,
    /// The parameter whose argument is wrong.
    pub(crate) field: Option<String>,
}

impl Error {
    /// An error of this kind with this message.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            request: None,
            status: None,
            location: None,
            field: None,
        }
    }

    /// [`ErrorKind::Usage`].
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// [`ErrorKind::Configuration`].
    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Configuration, message)
    }

    /// [`ErrorKind::Guard`].
    pub(crate) fn guard(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Guard, message)
    }

    /// [`ErrorKind::Io`]: `what` is what was tried (`cannot read "/x"`); the system's words follow.
    pub(crate) fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        Self::new(ErrorKind::Io, format!("{what}: {error}"))
    }

    /// [`ErrorKind::Internal`].
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds a hint on what to do next.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the parameter whose argument is wrong.
    #[must_use]
    pub(crate) fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Names the request that failed, such as `GET /volumes/list`.
    #[must_use]
    pub(crate) fn with_request(mut self, request: impl Into<String>) -> Self {
        self.request = Some(request.into());
        self
    }

    /// Adds the HTTP status of the daemon's answer.
    #[must_use]
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Puts what was being done in front of the message: `while ..: message`.
    #[must_use]
    pub(crate) fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Whether this error ends a run even if the script catches it: the run was cancelled, or its
    /// time is up.
    pub(crate) fn ends_the_run(&self) -> bool {
        matches!(self.kind, ErrorKind::Cancelled | ErrorKind::DeadlineExceeded)
    }

    /// The process's exit code: 2 for wrong usage or configuration, 75 for busy, 1 for any other
    /// failure.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Usage | ErrorKind::Configuration => 2,
            ErrorKind::Busy => 75,
            _ => 1,
        }
    }
}

impl fmt::Display for Error {
    /// One line, with the request and the status if there are any. The renderer adds the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(request) = &self.request {
            write!(f, "{request}: ")?;
            // The status of an answer means nothing to a person without the request.
            if let Some(status) = self.status {
                write!(f, "{status}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
