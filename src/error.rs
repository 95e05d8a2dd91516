//! The one error type of the crate.
//!
//! An error says what was wrong (`message`), where (`request` for the daemon, `location` for a
//! script) and what to do next (`hint`). Programs decide by its `kind`: scripts read it as
//! `e.code`, and the command line turns it into an exit code.

use std::fmt;

/// `Result` with this crate's [`Error`].
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// The properties of an error kind.
struct KindRow {
    /// The name in scripts (`e.code`) and JSON.
    code: &'static str,
    /// The process's exit code: 2 for wrong usage or configuration, 75 for busy, otherwise 1.
    exit_code: u8,
    /// False for the kinds that end a run, and for defects of this program.
    scripts_may_throw: bool,
}

/// Makes the enum from a table of its kinds.
macro_rules! error_kinds {
    ($($(#[$doc:meta])* $kind:ident $row:tt,)+) => {
        /// What sort of failure an [`Error`] is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum ErrorKind {
            $($(#[$doc])* $kind,)+
        }

        impl ErrorKind {
            /// Every kind, in the order of the table.
            pub(crate) const ALL: &[Self] = &[$(Self::$kind),+];

            const fn row(self) -> KindRow {
                match self {
                    $(Self::$kind => KindRow $row,)+
                }
            }
        }
    };
}

error_kinds! {
    /// Wrong arguments: a name, size, URL or flag that can't be what was meant. Nothing was done.
    Usage { code: "usage", exit_code: 2, scripts_may_throw: true },
    /// The configuration (environment, files, folders) is wrong or incomplete. Nothing was done.
    Configuration { code: "configuration", exit_code: 2, scripts_may_throw: true },
    /// A script is wrong: it does not parse, or it failed because of its own code.
    Script { code: "script", exit_code: 1, scripts_may_throw: true },
    /// A script hit one of the engine's limits.
    Limit { code: "limit", exit_code: 1, scripts_may_throw: true },
    /// The daemon can't be reached: there is no socket, or no process listens on it. Nothing was
    /// sent.
    Unreachable { code: "unreachable", exit_code: 1, scripts_may_throw: true },
    /// The daemon did not answer in time, or the connection broke after the request was sent. The
    /// daemon may or may not have carried out the request.
    Timeout { code: "timeout", exit_code: 1, scripts_may_throw: true },
    /// The daemon's answer does not fit Convoy's API.
    Protocol { code: "protocol", exit_code: 1, scripts_may_throw: true },
    /// The daemon refused the request or failed to carry it out. The error has the daemon's
    /// `status` and its own words.
    Daemon { code: "daemon", exit_code: 1, scripts_may_throw: true },
    /// The named thing does not exist, according to the daemon.
    NotFound { code: "not_found", exit_code: 1, scripts_may_throw: true },
    /// A guard stopped the call, because it could have lost data.
    Guard { code: "guard", exit_code: 1, scripts_may_throw: true },
    /// The key or the user has no right to do it. Nothing was changed by what failed.
    Denied { code: "denied", exit_code: 1, scripts_may_throw: true },
    /// Another run holds the lock.
    Busy { code: "busy", exit_code: 75, scripts_may_throw: true },
    /// The run was cancelled.
    Cancelled { code: "cancelled", exit_code: 1, scripts_may_throw: false },
    /// The run's deadline passed.
    DeadlineExceeded { code: "deadline_exceeded", exit_code: 1, scripts_may_throw: false },
    /// A file or folder could not be read or written.
    Io { code: "io", exit_code: 1, scripts_may_throw: true },
    /// A repository of the built-in daemon could not be read or written.
    Repository { code: "repository", exit_code: 1, scripts_may_throw: true },
    /// A defect of this program.
    Internal { code: "internal", exit_code: 1, scripts_may_throw: false },
}

impl ErrorKind {
    /// The kind with this [code](Self::code).
    pub(crate) fn of_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }

    /// The name of this kind in scripts (`e.code`) and JSON.
    pub(crate) fn code(self) -> &'static str {
        self.row().code
    }

    /// Whether a script may throw this kind by its code.
    pub(crate) fn scripts_may_throw(self) -> bool {
        self.row().scripts_may_throw
    }
}

/// A place in a script, for the caret under the source line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// The script's file, or `<name> (built in)` for an embedded one.
    pub(crate) file: String,
    /// Line, from 1.
    pub(crate) line: usize,
    /// Column in characters, from 1; 0 if only the line is known.
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
        self.kind.row().exit_code
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
