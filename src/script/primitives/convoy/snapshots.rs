//! `convoy::` primitives for snapshots.

use rhai::plugin::*;
use rhai::{Array, Map};

use super::super::{
    call::{Returned, call, to_map, to_script},
    time,
};
use crate::convoy::{ApiTime, Name, Snapshot, Volume};

#[export_module]
pub(crate) mod functions {
    /// The snapshots of a volume, newest first. An empty list does not prove that the volume has no
    /// snapshots. Fails with `not_found` where there is no such volume.
    ///
    /// ```rhai
    /// for snapshot in convoy::snapshots("vol1") {
    ///     log::info(`${snapshot.Name} of ${snapshot.CreatedTime}`);
    /// }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn snapshots(ctx: NativeCallContext, volume: &str) -> Returned<Array> {
        call(&ctx, |run| {
            let volume = run.wait(run.host.guards.volume(&Name::volume(volume)?))?;
            volume.snapshots_by_time().into_iter().rev().map(to_script).collect()
        })
    }

    /// The snapshots that were taken of this volume, newest first. Snapshots of a forgotten volume
    /// that had the name before are left out, and so are those that EBS has already removed. Fails
    /// with `not_found` where there is no such volume.
    ///
    /// ```rhai
    /// let newest = convoy::own_snapshots("vol1").get(0) ?? convoy::create_snapshot("vol1");
    /// convoy::create_backup(newest.Name);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn own_snapshots(ctx: NativeCallContext, volume: &str) -> Returned<Array> {
        call(&ctx, |run| {
            let volume = run.wait(run.host.guards.volume(&Name::volume(volume)?))?;
            let newest_first = volume.snapshots_by_time().into_iter().rev();
            newest_first.filter(|snapshot| may_be_own(snapshot, &volume)).map(to_script).collect()
        })
    }

    /// One snapshot, with the `VolumeName` of its volume. Fails with `not_found` where there is no
    /// such snapshot.
    ///
    /// ```rhai
    /// let name = convoy::create_snapshot("vol1").Name;
    /// let volume = convoy::snapshot(name).VolumeName;
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn snapshot(ctx: NativeCallContext, name: &str) -> Returned<Map> {
        call(&ctx, |run| to_map(run.wait(run.host.guards.snapshot(&Name::snapshot(name)?))?))
    }

    /// Takes a snapshot of a volume, under a name that never repeats. Fails with `not_found` where
    /// there is no such volume, and with `daemon` where its driver can't take one.
    ///
    /// ```rhai
    /// let snapshot = convoy::create_snapshot("vol1");
    /// log::info(snapshot.Name);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn create_snapshot(ctx: NativeCallContext, volume: &str) -> Returned<Map> {
        call(&ctx, |run| to_map(run.wait(run.host.guards.create_snapshot(&Name::volume(volume)?))?))
    }

    /// Deletes a snapshot of any volume. At EBS, where a snapshot is a backup, that backup must be
    /// deleted first. Fails with `not_found` where there is no such snapshot, and with `guard`
    /// where a backup of its volume failed in this run or the EBS backup is still there.
    ///
    /// ```rhai
    /// convoy::delete_snapshot(convoy::create_snapshot("vol1").Name);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn delete_snapshot(ctx: NativeCallContext, name: &str) -> Returned<()> {
        call(&ctx, |run| run.wait(run.host.guards.delete_snapshot(&Name::snapshot(name)?)))
    }
}

/// Whether a snapshot is not older than its volume. A time that can't be parsed proves nothing. At
/// EBS, a snapshot without a time was removed.
fn may_be_own(snapshot: &Snapshot, volume: &Volume) -> bool {
    let seconds =
        |time: &ApiTime| time::point(&time.as_str().into()).ok().map(|point| point.as_second());
    let times = seconds(&snapshot.created_time).zip(seconds(&volume.created_time));
    !snapshot.created_time.as_str().is_empty()
        && times.is_none_or(|(snapshot, volume)| snapshot >= volume)
}
