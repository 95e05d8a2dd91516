//! What a request may do, and the credential that allows it.

use crate::web::problem::Problem;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything.
    Full,
    /// Reading, dry runs, and scripts that only read.
    Read,
}

impl Role {
    /// The role in JSON and in the session's cookie: `full` or `read`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Read => "read",
        }
    }
}

/// The credential that a request was let in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A token in the header, as programs send it.
    Token,
    /// The session's cookie, as the dashboard sends it.
    Session,
}

/// What a request that was let in may do. [`super::Gated`] puts this into the request's extensions
/// (`warp::ext::get::<Access>()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) role: Role,
    pub(crate) credential: Credential,
}

impl Access {
    /// Lets only the full role pass.
    ///
    /// # Errors
    /// 403 for [`Role::Read`].
    pub(crate) fn require_full(self) -> Result<(), Problem> {
        match self.role {
            Role::Full => Ok(()),
            Role::Read => Err(Problem::forbidden("the token that was shown is for looking only")
                .with_hint("show the full token (BKUP_API_TOKEN), or make it a dry run where it is a script")),
        }
    }
}
