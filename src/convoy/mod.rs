//! The volume daemon, independent of which one it is.
//!
//! [`Daemon`] is the one trait. The [`client`] implements it over Convoy's unix socket, the
//! built-in daemon (`crate::daemon`) over a folder, and [`dry_run`] over either without writing.
//! [`server`] serves any daemon on a socket in Convoy's protocol, and each [`Plugin`] to Docker;
//! [`refusal`] has Convoy's
//! words for errors. [`ebs`] knows Convoy's one driver whose snapshots are the backups. [`guards`] stand in front of every daemon: scripts reach a daemon only through
//! them. The [`model`] keeps the daemon's own field names, so that a script returns the daemon's
//! native JSON. [`names`], [`url`] and [`time`] parse what the daemon writes, in one place.

mod answered;
mod backup;
pub(crate) mod chosen;
pub(crate) mod client;
mod daemon;
pub(crate) mod dry_run;
pub(crate) mod ebs;
mod extensions;
mod extent;
mod frames;
mod given_back;
pub(crate) mod guards;
pub(crate) mod identity;
pub(crate) mod inside;
mod loss;
#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
pub(crate) mod memory_look;
mod model;
mod moment_record;
pub(crate) mod names;
pub(crate) mod object_store;
mod plugin;
mod read_back;
pub(crate) mod refusal;
pub(crate) mod server;
mod source_mounts;
pub(crate) mod time;
pub(crate) mod url;

pub(crate) use answered::{Answered, INSPECTION_TIME};
pub(crate) use backup::{Backup, Belonging};
pub(crate) use daemon::Daemon;
pub(crate) use extensions::{
    CALL, COMMANDS, CONTAINERS, Capabilities, DOCKER_DRIVER, ENCRYPTED, FOLDER_DRIVER, FORGOTTEN,
    HINT, HOLD, IN_HOLD, KIND, LIVE_DATABASE, LOCK_WAIT, MOMENT, MOMENT_NOTE, NAMED, NOT_BACKED_UP,
    NOTE, NotBackedUp, NotBackedUpKind, ORIGIN, Origin, PROBLEM, PROGRAM, PROJECT, REQUIRED,
    ROOT_ID, RUN, SERVICE, VOLUME_ID, route,
};
pub(crate) use extent::{
    ADDED_SIZE, BACKUP_SIZE, DOUBT, Extent, FILE_COUNT, SNAPSHOT_SIZE, SourceMount, mounts_text,
};
pub(crate) use given_back::GivenBack;
pub(crate) use loss::lost_nearly_all;
pub(crate) use model::{
    AsItIs, Changes, DriverInfo, Info, Mount, NewVolume, Quiesced, Snapshot, Volume,
};
pub(crate) use moment_record::{DumpRecord, LackingFile, MomentRecord};
pub(crate) use names::{Name, snapshot_time};
pub(crate) use plugin::Plugin;
pub(crate) use read_back::{ReadBack, WasReadBack};
pub(crate) use source_mounts::source_mounts;
pub use time::ApiTime;
pub(crate) use url::{BackupUrl, Destination};
