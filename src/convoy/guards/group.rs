//! The backups of one volume: whose they are, and which of them stay.

use crate::convoy::{Backup, BackupUrl, Belonging};

/// The backups of one volume, newest first.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) whose: Whose,
    pub(crate) backups: Vec<Backup>,
}

/// Whose the backups of a [`Group`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Of the volume that this host has.
    Own,
    /// Of a volume that this host had.
    Former,
    /// Of one volume, which may be another host's.
    Another,
    /// Of one volume or several, which may be other hosts'.
    Several,
}

impl Whose {
    /// Whether this host may delete these backups without being told whose they are.
    pub(super) fn is_this_hosts(self) -> bool {
        matches!(self, Self::Own | Self::Former)
    }

    /// Whether each deletion can leave the newest good one of the same volume.
    pub(super) fn is_one_volume(self) -> bool {
        self != Self::Several
    }

    pub(super) fn of(backup: &Backup, belonging: Belonging) -> Self {
        match belonging {
            Belonging::Own => Self::Own,
            Belonging::Former => Self::Former,
            Belonging::Unclear | Belonging::Other if backup.tells_its_volume() => Self::Another,
            Belonging::Unclear | Belonging::Other => Self::Several,
        }
    }
}

/// A backup that guard 2 protects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protected {
    pub(crate) url: BackupUrl,
    pub(crate) why: Protection,
}

/// Why a backup stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    /// It is the newest good backup.
    NewestGood,
    /// The newest good backup is not verified, and this one is the newest that is.
    NewestVerified,
    /// No backup is verified, and this is the newest good one but one.
    SecondNewest,
    /// Files changed while the newer ones were made, and none while this one was.
    NewestUntorn,
}

impl Protection {
    /// For people, as what the backup is.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::NewestGood => "the newest good backup",
            Self::NewestVerified => "the newest verified backup",
            Self::SecondNewest => "one of the newest two, as none is verified",
            Self::NewestUntorn => "the newest backup during which no file changed",
        }
    }
}
