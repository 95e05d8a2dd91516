//! The destination of a primitive.

use crate::{
    convoy::Destination,
    error::{Error, Result},
    script::running::RunningScript,
};

/// The destination that a script names, or else the configured one.
pub(super) fn destination(run: &RunningScript, named: Option<&str>) -> Result<Destination> {
    match named {
        Some(text) => Destination::parse(text),
        None => run.host.settings.destination.clone().ok_or_else(|| {
            Error::configuration("no backup destination is configured")
                .with_hint("set BKUP_BACKUP_URL, such as vfs:///backups or s3://bucket@region/path")
        }),
    }
}
