//! What a crontab is read in: its settings come on top of the program's.

use std::{ffi::OsString, fmt, sync::Arc};

use jiff::tz::TimeZone;

use crate::config::{Config, Override};

/// What a crontab is read in: its settings come on top of these.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// The program's environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The program's flags; they win over the crontab's settings.
    pub(crate) overrides: Vec<Override>,
    /// What both come to.
    pub(crate) config: Arc<Config>,
    /// The zone where there is no `CRON_TZ`.
    pub(crate) zone: TimeZone,
}

impl fmt::Debug for Surroundings {
    /// Without the environment: there are secrets in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("zone", &self.zone).finish_non_exhaustive()
    }
}

impl Surroundings {
    /// This process's environment and zone.
    pub(crate) fn new(config: Config, overrides: Vec<Override>, zone: TimeZone) -> Self {
        Self {
            environment: std::env::vars_os().collect(),
            overrides,
            config: Arc::new(config),
            zone,
        }
    }
}
