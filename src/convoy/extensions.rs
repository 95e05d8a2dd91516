//! What our server tells beyond Convoy's API, so that a client over a socket knows as much as one
//! in the same process.

use serde::{Deserialize, Serialize};

/// The field with the built-in daemon's id of a volume, in the volume's `DriverInfo` and in its
/// backups. A name can be used again, an id never is. Convoy gives volumes no id.
pub(crate) const VOLUME_ID: &str = "VolumeID";
/// Whether somebody gave a volume its name, though it looks like one that Docker made: `true`.
pub(crate) const NAMED: &str = "Named";

/// The field in which the built-in daemon says how the moment is held that is read of a volume: in
/// the `DriverInfo` of volumes and snapshots, and in backups. `live` says: not at all.
pub(crate) const MOMENT: &str = "Moment";

/// The field of a volume's `DriverInfo` that says why its moment is no better one.
pub(crate) const MOMENT_NOTE: &str = "MomentNote";

/// The field of a volume's `DriverInfo` that says how what writes to it is held still while its
/// moment is taken: `command` for those of the configuration, else what is done to which containers,
/// such as `pause db, stop web`. Not there if nothing is held.
pub(crate) const HOLD: &str = "Hold";

/// The field of a volume's `DriverInfo` with what labels ask to be done in containers for its backups,
/// such as `dump postgres in db, run convoy-backups.exec-before in web`. Not there if nothing is.
pub(crate) const COMMANDS: &str = "ContainerCommands";

/// The field of a volume's `DriverInfo` with the database in it that is saved while it writes, with
/// neither a moment, a hold nor a dump: `postgres`, `sqlite`, ..
pub(crate) const LIVE_DATABASE: &str = "LiveDatabase";

/// The field of a volume's `DriverInfo` that says why its files can't be read now.
pub(crate) const PROBLEM: &str = "Problem";

/// The field of a volume's `DriverInfo` that says that it is forgotten: Docker removed it, and its files
/// stay.
pub(crate) const FORGOTTEN: &str = "Forgotten";

/// The field of the daemon's settings (`General`) with the program and its version. Convoy has none.
pub(crate) const PROGRAM: &str = "Program";
/// The field of the daemon's settings (`General`) that says whether its backups are encrypted.
pub(crate) const ENCRYPTED: &str = "Encrypted";

/// The driver of volumes that are folders of the host, which are never made, moved or removed.
pub(crate) const FOLDER_DRIVER: &str = "folder";
/// The driver whose volumes are those of Docker's own driver `local`.
pub(crate) const DOCKER_DRIVER: &str = "docker";
/// The field of a volume with the compose project that it belongs to.
pub(crate) const PROJECT: &str = "Project";
/// The field of a volume with the services of that project that have it, with commas between them.
pub(crate) const SERVICE: &str = "Service";
/// The field of a volume with the names of the containers that have it, with commas between them.
pub(crate) const CONTAINERS: &str = "Containers";

/// The field of the driver `docker` in the daemon's settings with what it does not back up
/// ([`NotBackedUp`]).
pub(crate) const NOT_BACKED_UP: &str = "NotBackedUp";

/// The field of the driver `docker` in the daemon's settings with why the engine is not used, though
/// it is there.
pub(crate) const NOTE: &str = "Note";

/// What is on Docker's host and not backed up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NotBackedUp {
    pub(crate) kind: NotBackedUpKind,
    /// The volume's name, or the folder's path.
    pub(crate) name: String,
    /// For people.
    pub(crate) why: String,
    /// The names of the containers that have it.
    pub(crate) containers: Vec<String>,
}

/// What sort of thing is not backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NotBackedUpKind {
    /// A volume that should be, and can't.
    Wrong,
    /// A volume that the settings or a label leave out.
    LeftOut,
    /// A volume without the label that the settings want.
    NotLabelled,
    /// A volume of an engine of which no folder can be seen here.
    Unseen,
    /// A volume without a name.
    Anonymous,
    /// A volume of another driver than `local`.
    OtherDriver,
    /// A folder of the host that containers mount.
    Folder,
}

/// The field with the id of the built-in daemon's root in the backups that it made. Version 0.1.0
/// did not write it.
pub(crate) const ROOT_ID: &str = "RootID";

/// The field in which the built-in daemon says where a backup was made ([`Origin`]).
pub(crate) const ORIGIN: &str = "Origin";

/// Where a backup was made, as the built-in daemon that lists it sees it. It does not say so of
/// backups of version 0.1.0, unless it knows of another daemon with the same volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This daemon made it.
    Here,
    /// Another daemon made it.
    Elsewhere,
    /// This daemon made it, or the one of which its root is a copy.
    Unsettled,
}

impl Origin {
    const ALL: [Self; 3] = [Self::Here, Self::Elsewhere, Self::Unsettled];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Elsewhere => "elsewhere",
            Self::Unsettled => "unsettled",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.as_str() == text)
    }
}

/// The header in which our server sends an error's hint. Convoy does not send it.
pub(crate) const HINT: &str = "convoy-backups-hint";

/// The header in which our server sends an error's kind, as [`crate::error::ErrorKind::code`]
/// spells it. Convoy does not send it.
pub(crate) const KIND: &str = "convoy-backups-error";

/// The header in which our client says which run a call is for. The daemon's log lines about it name that
/// run, and the call ends when its client goes away. Convoy goes on, and does not read it.
pub(crate) const RUN: &str = "convoy-backups-run";

/// The header with a random name of a call that is for a run, by which it can be ended ([`route::CALLS_END`]).
pub(crate) const CALL: &str = "convoy-backups-call";

/// The header with how many milliseconds the run waits for another's lock.
pub(crate) const LOCK_WAIT: &str = "convoy-backups-lock-wait";

/// The header with the id of the hold ([`route::VOLUMES_QUIESCE`]) inside of which a call is made. What is
/// read for such a call uses the hold.
pub(crate) const IN_HOLD: &str = "convoy-backups-hold";

/// The field of `DELETE /backups` with the URLs of the backups without which nothing is deleted.
/// Convoy does not know it.
pub(crate) const REQUIRED: &str = "RequiredURLs";

/// The routes of our server that Convoy does not have.
pub(crate) mod route {
    pub(crate) const CAPABILITIES: &str = "/capabilities";
    /// Backs up a volume as it is now.
    pub(crate) const VOLUMES_BACKUP: &str = "/volumes/backup";
    /// Holds what writes to volumes.
    pub(crate) const VOLUMES_QUIESCE: &str = "/volumes/quiesce";
    /// Lets it go on.
    pub(crate) const VOLUMES_RELEASE: &str = "/volumes/release";
    /// Runs a command in a container.
    pub(crate) const CONTAINERS_EXEC: &str = "/containers/exec";
    /// Gives back the space of what no backup needs.
    pub(crate) const BACKUPS_GIVE_BACK: &str = "/backups/give-back";
    /// Ends a call whose run is over: it is answered as soon as its work has ended.
    pub(crate) const CALLS_END: &str = "/calls/end";
    /// Whether a destination holds anything.
    pub(crate) const BACKUPS_USED: &str = "/backups/used";
    /// Whether a volume has changed since a backup.
    pub(crate) const VOLUMES_CHANGES: &str = "/volumes/changes";
    /// The forgotten volumes.
    pub(crate) const VOLUMES_FORGOTTEN: &str = "/volumes/forgotten";
    /// What is mounted in a volume.
    pub(crate) const VOLUMES_MOUNTS: &str = "/volumes/mounts";
    /// Inspects many backups at once.
    pub(crate) const BACKUPS_INSPECTED: &str = "/backups/inspected";
    /// Looks into backups.
    pub(crate) const BACKUPS_LOOK: &str = "/backups/look";
    /// Reads a file or a folder of a backup.
    pub(crate) const BACKUPS_CONTENT: &str = "/backups/content";
    /// Reads the data of backups back.
    pub(crate) const BACKUPS_READ: &str = "/backups/read";
    /// All that are `GET`: a client takes a 404 for Convoy, so the server must know each.
    #[cfg(test)]
    pub(crate) const READS: [&str; 9] = [
        CAPABILITIES,
        BACKUPS_USED,
        BACKUPS_INSPECTED,
        BACKUPS_READ,
        BACKUPS_LOOK,
        BACKUPS_CONTENT,
        VOLUMES_FORGOTTEN,
        VOLUMES_MOUNTS,
        VOLUMES_CHANGES,
    ];
}

/// What a daemon does beyond Convoy's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Capabilities {
    /// Whether deleting a volume's last backup on S3 also deletes the backups of every volume whose
    /// name begins with this volume's name.
    pub(crate) deletes_by_prefix: bool,
    /// Whether the daemon itself keeps backups and deletions at one destination apart, and its work
    /// ends with its process.
    pub(crate) locks_destinations: bool,
    /// Whether a list of backups on S3 is whole, however long it is.
    pub(crate) lists_all: bool,
    /// Whether inspecting a backup looks at its data, and not only at its description.
    pub(crate) inspects_data: bool,
    /// Whether a volume can be backed up as it is now, without a snapshot that stays.
    pub(crate) backs_up_volumes: bool,
    /// Whether a deletion of a backup is refused where another one that it requires is gone. The
    /// built-in daemon of 0.1.0 ignores what a deletion requires.
    pub(crate) keeps_required_backups: bool,
    /// Whether what writes to volumes can be held, and commands be run in containers.
    pub(crate) holds_writers: bool,
}

impl Capabilities {
    /// Convoy's capabilities, which require the most caution.
    pub(crate) const CONVOY: Self = Self {
        deletes_by_prefix: true,
        locks_destinations: false,
        lists_all: false,
        inspects_data: false,
        backs_up_volumes: false,
        keeps_required_backups: false,
        holds_writers: false,
    };
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::CONVOY
    }
}
