//! The settings of the logs.

use std::path::PathBuf;

use log::LevelFilter;

use super::{
    choice::SyslogProtocol,
    settings::{
        BKUP_LOGGER_CONSOLE_ENABLED, BKUP_LOGGER_CONSOLE_LEVEL, BKUP_LOGGER_FILE_ENABLED,
        BKUP_LOGGER_FILE_LEVEL, BKUP_LOGGER_FILE_LOCATION, BKUP_LOGGER_SYSLOG_ENABLED,
        BKUP_LOGGER_SYSLOG_LEVEL, BKUP_LOGGER_SYSLOG_PORT, BKUP_LOGGER_SYSLOG_PROTOCOL,
        BKUP_LOGGER_SYSLOG_SERVER,
    },
    values::Values,
};
use crate::error::Result;

#[derive(Debug, Clone)]
pub(crate) struct ConsoleLog {
    pub(crate) enabled: bool,
    /// The level of `serve`; for other commands see
    /// [`Config::console_level`](super::Config::console_level).
    pub(crate) level: LevelFilter,
}

#[derive(Debug, Clone)]
pub(crate) struct FileLog {
    pub(crate) enabled: bool,
    pub(crate) level: LevelFilter,
    /// An absolute path.
    pub(crate) location: PathBuf,
}

#[derive(Debug, Clone)]
pub(crate) struct SyslogLog {
    pub(crate) enabled: bool,
    pub(crate) level: LevelFilter,
    pub(crate) protocol: SyslogProtocol,
    pub(crate) port: u16,
    /// The server's name or address, or the path of a local socket.
    pub(crate) server: String,
}

impl ConsoleLog {
    pub(super) fn read(values: &Values) -> Result<Self> {
        Ok(Self {
            enabled: values.require(&BKUP_LOGGER_CONSOLE_ENABLED)?,
            level: values.require(&BKUP_LOGGER_CONSOLE_LEVEL)?,
        })
    }
}

impl FileLog {
    pub(super) fn read(values: &Values) -> Result<Self> {
        Ok(Self {
            enabled: values.require(&BKUP_LOGGER_FILE_ENABLED)?,
            level: values.require(&BKUP_LOGGER_FILE_LEVEL)?,
            location: values.require(&BKUP_LOGGER_FILE_LOCATION)?,
        })
    }
}

impl SyslogLog {
    pub(super) fn read(values: &Values) -> Result<Self> {
        Ok(Self {
            enabled: values.require(&BKUP_LOGGER_SYSLOG_ENABLED)?,
            level: values.require(&BKUP_LOGGER_SYSLOG_LEVEL)?,
            protocol: values.require(&BKUP_LOGGER_SYSLOG_PROTOCOL)?,
            port: values.require(&BKUP_LOGGER_SYSLOG_PORT)?,
            server: values.require(&BKUP_LOGGER_SYSLOG_SERVER)?,
        })
    }
}
