//! The guards: what every call of a script passes through on its way to the daemon, so that no
//! script can get around them.
//!
//! 1. A backup counts once it has been inspected or listed back (EBS: state `completed`); only then
//!    may anything older go.
//! 2. A volume's newest good backup is never deleted unless that one call says so; the backups of
//!    another volume of the same name, on another host perhaps, are no measure of it.
//! 3. Absence is no evidence: a listing that fails, or that lacks the backup just made, stops every
//!    deletion of the run.
//! 4. On one destination, backup and delete never overlap, in one process or in several, also where
//!    the daemon goes on with a backup whose client has gone ([`pending`]).
//! 5. A volume's last backup on S3 is not deleted where another backed-up volume's name begins with
//!    this one's.
//! 6. A restore goes to a name that nothing uses.
//! 7. Snapshot names never repeat and sort by time.
//! 8. A timeout on a write is followed by a look at what happened, not by the same write again.
//! 9. A dry run writes nothing: then the daemon below is a [`super::dry_run::DryRun`], and no lock
//!    is taken.
//!
//! [`run`] is what they share. [`overlap`] has the locks, [`belonging`] which backups are whose,
//! [`destinations`] which destinations held backups before, [`observations`] what the program
//! learns from a run.

mod backup_creation;
mod backup_deletion;
mod backups;
mod belonging;
mod destinations;
mod observations;
mod overlap;
mod pending;
mod run;
mod snapshot_names;
mod snapshots;
#[cfg(test)]
mod tests;
mod volumes;

pub(crate) use observations::Observation;
pub(crate) use run::Guards;
