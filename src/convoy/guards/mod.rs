//! The guards: every call of a script passes through them on its way to the daemon, so no script
//! can get around them.
//!
//! 1. A backup counts once it has been inspected or listed back (EBS: state `completed`). Only then
//!    may anything older be deleted.
//! 2. A volume's newest good backup is never deleted unless that one call asks for it. The backups
//!    of another volume of the same name, for example on another host, do not count. What can't be
//!    told to be this host's is deleted only by a call that says so.
//! 3. Absence is not evidence. If a listing fails, or lacks the backup that was just made, the run
//!    deletes nothing more.
//! 4. At one destination, a backup and a deletion never overlap. This holds in one process and
//!    across processes, and while the daemon finishes a backup whose client has gone ([`pending`]).
//! 5. A volume's last backup on S3 is not deleted if Convoy would delete another volume's with it:
//!    with devicemapper, where that volume's name begins with this one's.
//! 6. A restore needs a name that nothing uses.
//! 7. Snapshot names never repeat, and sort by time.
//! 8. After a write timed out, the guards look at what happened. They do not repeat the write.
//! 9. A dry run writes nothing. The daemon below is then a [`super::dry_run::DryRun`], and no lock
//!    is taken.
//! 10. A source that is not there is not empty. A backup of a volume that lost nearly all of its
//!     data at once, or whose share is not mounted any more or is another one, is no good backup
//!     until a person accepts it.
//!
//! [`run`] is what the guards share. [`overlap`] has the locks, [`belonging`] tells which backup
//! belongs to which volume, [`trust`] which of them make a deletion safe, [`destinations`] remembers
//! which destinations held backups, [`past`] keeps a bucket as it was
//! apart from now, [`deletion_lists`] reads the lists by which backups are deleted,
//! [`deletion_record`] records deletions as they happen, [`known`] has what earlier runs learned of backups
//! ([`by_backup`] finds it by any spelling of a URL), and [`observations`] records what the program
//! learns from a run.

mod backup_creation;
mod backup_deletion;
mod backup_proof;
mod backups;
mod belonging;
mod by_backup;
mod changes;
mod convoy_folder;
mod copies;
mod data_look;
mod deletion_lists;
mod deletion_record;
mod destinations;
mod doubts;
mod ebs;
mod good_backups;
mod group;
mod known;
mod listed;
mod observations;
mod overlap;
mod past;
mod pending;
mod run;
mod s3;
mod snapshot_names;
mod snapshots;
mod sources;
#[cfg(test)]
mod tests;
mod trust;
mod volume_deletion;
mod volumes;

pub(crate) use backup_deletion::Even;
pub(crate) use belonging::Prunable;
pub(crate) use data_look::{DataLook, Depth, Seen};
pub(crate) use deletion_record::DeletionRecord;
pub(crate) use doubts::{AcceptedLoss, KnownSources};
pub(crate) use group::{Protected, Protection};
pub(crate) use known::{Broken, KnownBackup, KnownBackups};
pub(crate) use observations::Observation;
pub(crate) use run::{Deletable, Guards};
