//! Scenarios that are tried twice: next to `serve`, every command reaches the built-in daemon through
//! another process, and nothing that it knows may be lost on the way.

use super::site::Site;

/// How commands reach the built-in daemon.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// Each command owns the daemon's folder while it runs.
    Alone,
    /// Another process owns the folder, and commands speak to its socket.
    OverTheSocket,
}

impl Way {
    /// A site whose commands reach the daemon this way. Convoy always has a process of its own.
    pub fn of(self, site: Site) -> Site {
        match self {
            Self::Alone => site,
            Self::OverTheSocket => site.owned(),
        }
    }
}

/// Makes two tests of each of these functions, which take a [`Way`].
macro_rules! both_ways {
    ($($scenario:ident)*) => {
        mod alone {
            $(#[test] fn $scenario() { super::$scenario(super::Way::Alone); })*
        }
        mod over_the_socket {
            $(#[test] fn $scenario() { super::$scenario(super::Way::OverTheSocket); })*
        }
    };
}
pub(crate) use both_ways;
