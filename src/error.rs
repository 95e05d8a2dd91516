//! The one error type of the crate.
//!
//! An error says what was wrong (`message`), where (`request` for the daemon, `location` for a
//! script) and what to do next (`hint`). Its `kind` is what programs decide by: scripts read it as
//! `e.code`, the command line turns it into an exit code.

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
    /// A script is wrong: it does not parse, or it failed by its own doing.
    Script,
    /// A script hit one of the engine's limits.
    Limit,
    /// The daemon can't be reached: no socket, or nobody listens there. Nothing was sent.
    Unreachable,
    /// The daemon did not answer in time, or the connection broke after the request was sent: what
    /// it did is unknown.
    Timeout,
    /// The daemon answered something that is not Convoy's API.
    Protocol,
    /// The daemon refused or failed the request; `status` and the daemon's own words are in the
    /// error.
    Daemon,
    /// The thing named does not exist (as far as the daemon says).
    NotFound,
    /// A guard stopped the call, because data could have been lost.
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

    /// The kind of this name.
    pub(crate) fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The name by which scripts and JSON know this kind (`e.code`).
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
    /// What programs decide by.
    pub(crate) kind: ErrorKind,
    /// What was wrong: lower case, names in quotes, no full stop.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
    /// The request to the daemon that failed, such as `GET /volumes/list`.
    pub(crate) request: Option<String>,
    /// The HTTP status that the daemon answered.
    pub(crate) status: Option<u16>,
    /// The place in the script.
    pub(crate) location: Option<Box<Location>>,
    /// The argument at fault, by its parameter's name.
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

    /// [`ErrorKind::Io`]: what was tried (`cannot read "/x"`), and the system's words.
    pub(crate) fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        Self::new(ErrorKind::Io, format!("{what}: {error}"))
    }

    /// [`ErrorKind::Internal`].
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The same error with a hint on what to do next.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error, about this argument.
    #[must_use]
    pub(crate) fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same error, of the request that failed.
    #[must_use]
    pub(crate) fn with_request(mut self, request: impl Into<String>) -> Self {
        self.request = Some(request.into());
        self
    }

    /// The same error with the status that the daemon answered.
    #[must_use]
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The same error with what was being done in front: `while ..: message`.
    #[must_use]
    pub(crate) fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Ends a run whatever a script's `catch` says: cancelled, or out of time.
    pub(crate) fn ends_the_run(&self) -> bool {
        matches!(self.kind, ErrorKind::Cancelled | ErrorKind::DeadlineExceeded)
    }

    /// The process's exit code: 2 wrong usage or configuration, 75 busy, 1 any other failure.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Usage | ErrorKind::Configuration => 2,
            ErrorKind::Busy => 75,
            _ => 1,
        }
    }
}

impl fmt::Display for Error {
    /// One line, with the request and the status where there are any; the hint is left to the
    /// renderer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(request) = &self.request {
            write!(f, "{request}: ")?;
            // Without the request, the status of its answer says nothing to a person.
            if let Some(status) = self.status {
                write!(f, "{status}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
