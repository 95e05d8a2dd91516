//! The surroundings that a crontab is read in: the program's environment, flags and zone.

use std::{ffi::OsString, fmt, sync::Arc};

use jiff::tz::TimeZone;

use crate::config::{Config, Override};

/// The program's environment, flags and zone. A crontab's settings come on top of the environment.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// The program's environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The program's flags, which override the crontab's settings.
    pub(crate) overrides: Vec<Override>,
    /// The configuration by the environment and the flags.
    pub(crate) config: Arc<Config>,
    /// The zone of lines without `CRON_TZ`.
    pub(crate) zone: TimeZone,
}

impl fmt::Debug for Surroundings {
    /// Leaves out the environment, because it has secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("zone", &self.zone).finish_non_exhaustive()
    }
}

impl Surroundings {
    /// The surroundings with this process's environment.
    pub(crate) fn new(config: Config, overrides: Vec<Override>, zone: TimeZone) -> Self {
        Self {
            environment: std::env::vars_os().collect(),
            overrides,
            config: Arc::new(config),
            zone,
        }
    }
}
