//! `convoy::`: the volume daemon, behind the guards.

use rhai::plugin::*;
use rhai::{Array, Map};

use super::{
    call::{Returned, call, string, to_map, to_script},
    options::Options,
    removal, time,
};
use crate::{
    convoy::{ApiTime, Backup, BackupUrl, Destination, Name, NewVolume, Snapshot, Volume},
    error::{Error, Result},
    script::run::Run,
};

/// The destination that a script names, or else the configured one.
pub(super) fn destination(run: &Run, named: Option<&str>) -> Result<Destination> {
    match named {
        Some(text) => Destination::parse(text),
        None => run.host.settings.destination.clone().ok_or_else(|| {
            Error::configuration("no backup destination is configured")
                .with_hint("set BKUP_BACKUP_URL, such as vfs:///backups or s3://bucket@region/path")
        }),
    }
}

/// A volume's name, or nothing for every volume.
fn volume_or_all(volume: &Dynamic) -> Result<Option<Name>> {
    if volume.is_unit() { Ok(None) } else { Name::volume(&string(volume, "volume")?).map(Some) }
}

fn listed(backups: Vec<Backup>) -> Result<Array> {
    backups.into_iter().map(to_script).collect()
}

/// Whether a snapshot is not older than its volume. At EBS, a snapshot without a time was removed. A
/// time that can't be read proves nothing.
fn may_be_own(snapshot: &Snapshot, volume: &Volume) -> bool {
    let seconds =
        |time: &ApiTime| time::point(&time.as_str().into()).ok().map(|point| point.as_second());
    let times = seconds(&snapshot.created_time).zip(seconds(&volume.created_time));
    !snapshot.created_time.as_str().is_empty()
        && times.is_none_or(|(snapshot, volume)| snapshot >= volume)
}

#[export_module]
pub(crate) mod functions {
    /// The daemon's settings (`General`) and each driver's.
    ///
    /// ```rhai
    /// let driver = convoy::info().General.DefaultDriver;
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn info(ctx: NativeCallContext) -> Returned<Map> {
        call(&ctx, |run| to_map(run.wait(run.host.guards.info())?))
    }

    /// All volumes, sorted by name: `Name`, `Driver`, `CreatedTime`, `MountPoint`, `DriverInfo`,
    /// `Snapshots`.
    ///
    /// ```rhai
    /// for volume in convoy::volumes() {
    ///     log::info(volume.Name);
    /// }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn volumes(ctx: NativeCallContext) -> Returned<Array> {
        call(&ctx, |run| {
            let volumes = run.wait(run.host.guards.volumes())?;
            volumes.into_values().map(to_script).collect()
        })
    }

    /// What the drivers themselves say of their volumes: a map by the volume's name, each with the
    /// driver's own fields.
    ///
    /// ```rhai
    /// for name in convoy::driver_volumes().keys() {
    ///     log::info(name);
    /// }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn driver_volumes(ctx: NativeCallContext) -> Returned<Map> {
        call(&ctx, |run| to_map(run.wait(run.host.guards.driver_volumes())?))
    }

    /// One volume. Fails with `not_found` where the daemon knows none of that name.
    ///
    /// ```rhai
    /// let made = convoy::volume("vol1").CreatedTime;
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn volume(ctx: NativeCallContext, name: &str) -> Returned<Map> {
        call(&ctx, |run| to_map(run.wait(run.host.guards.volume(&Name::volume(name)?))?))
    }

    /// Creates a volume from a map: `name`, and as you like `size` (bytes), `driver`, `type`,
    /// `iops`, `id` (an existing volume of the driver's), `vm`. Fails where the name is in use.
    ///
    /// ```rhai
    /// let volume = convoy::create_volume(#{ name: "vol2", size: 1024 * 1024 * 1024 });
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn create_volume(ctx: NativeCallContext, volume: Map) -> Returned<Map> {
        call(&ctx, |run| {
            let known = ["name", "size", "driver", "type", "iops", "id", "vm"];
            let options = Options::new(&volume, "create_volume", &known)?;
            let name = options
                .string("name")?
                .ok_or_else(|| Error::usage("the new volume has no \"name\""))?;
            let new = NewVolume {
                driver: options.string("driver")?,
                size: options.number("size")?,
                volume_type: options.string("type")?,
                iops: options.number("iops")?,
                driver_volume_id: options.string("id")?,
                prepare_for_vm: options.flag("vm")?,
                ..NewVolume::named(Name::volume(&name)?)
            };
            to_map(run.wait(run.host.guards.create_volume(&new))?)
        })
    }

    /// Creates a volume with the content of a backup, under a name that nothing uses.
    ///
    /// ```rhai
    /// let backup = convoy::create_backup(convoy::create_snapshot("vol1").Name);
    /// let volume = convoy::restore("vol1-restored", backup.URL);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn restore(ctx: NativeCallContext, volume: &str, url: &str) -> Returned<Map> {
        call(&ctx, |run| {
            let new = NewVolume::from_backup(Name::volume(volume)?, BackupUrl::parse(url)?);
            to_map(run.wait(run.host.guards.create_volume(&new))?)
        })
    }

    /// Mounts a volume where its driver likes; `MountPoint` is the folder with its files.
    ///
    /// ```rhai
    /// let folder = convoy::mount("vol1").MountPoint;
    /// convoy::unmount("vol1");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn mount(ctx: NativeCallContext, volume: &str) -> Returned<Map> {
        call(&ctx, |run| {
            to_map(run.wait(run.host.guards.mount_volume(&Name::volume(volume)?, None))?)
        })
    }

    /// Mounts a volume at a folder, where its driver can choose.
    ///
    /// ```rhai
    /// let folder = convoy::mount("vol1", "/mnt/vol1").MountPoint;
    /// convoy::unmount("vol1");
    /// ```
    #[rhai_fn(name = "mount", volatile, return_raw)]
    pub(crate) fn mount_at(
        ctx: NativeCallContext,
        volume: &str,
        mount_point: &str,
    ) -> Returned<Map> {
        call(&ctx, |run| {
            to_map(
                run.wait(run.host.guards.mount_volume(&Name::volume(volume)?, Some(mount_point)))?,
            )
        })
    }

    /// Unmounts a volume.
    ///
    /// ```rhai
    /// convoy::mount("vol1");
    /// convoy::unmount("vol1");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn unmount(ctx: NativeCallContext, volume: &str) -> Returned<()> {
        call(&ctx, |run| run.wait(run.host.guards.unmount_volume(&Name::volume(volume)?)))
    }

    /// Deletes a volume and its snapshots. Fails with `guard` unless a good backup of it is at the
    /// destination.
    ///
    /// ```rhai
    /// convoy::create_backup(convoy::create_snapshot("vol1").Name);
    /// convoy::delete_volume("vol1");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn delete_volume(ctx: NativeCallContext, name: &str) -> Returned<()> {
        delete_volume_with(ctx, name, Map::new())
    }

    /// Deletes a volume and its snapshots, with options: `destination`, where the backup must be;
    /// `without_backup: true`, to delete it even where there is none.
    ///
    /// ```rhai
    /// convoy::delete_volume("vol1", #{ without_backup: true });
    /// ```
    #[rhai_fn(name = "delete_volume", volatile, return_raw)]
    pub(crate) fn delete_volume_with(
        ctx: NativeCallContext,
        name: &str,
        options: Map,
    ) -> Returned<()> {
        call(&ctx, |run| {
            let options =
                Options::new(&options, "delete_volume", &["destination", "without_backup"])?;
            let without_backup = options.flag("without_backup")?;
            let at = match options.string("destination")? {
                Some(text) => Some(Destination::parse(&text)?),
                None => run.host.settings.destination.clone(),
            };
            run.wait(run.host.guards.delete_volume(
                &Name::volume(name)?,
                at.as_ref(),
                without_backup,
            ))
        })
    }

    /// Makes the daemon forget a volume; its files stay where they are (Convoy's `ReferenceOnly`).
    /// Its backups stay, too. Fails with `not_found` where the daemon knows none of that name.
    ///
    /// ```rhai
    /// convoy::forget_volume("vol1");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn forget_volume(ctx: NativeCallContext, name: &str) -> Returned<()> {
        call(&ctx, |run| run.wait(run.host.guards.forget_volume(&Name::volume(name)?)))
    }

    /// Takes a snapshot of a volume, under a name that never repeats.
    ///
    /// ```rhai
    /// let snapshot = convoy::create_snapshot("vol1");
    /// log::info(snapshot.Name);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn create_snapshot(ctx: NativeCallContext, volume: &str) -> Returned<Map> {
        call(&ctx, |run| to_map(run.wait(run.host.guards.create_snapshot(&Name::volume(volume)?))?))
    }

    /// One snapshot, with the `VolumeName` of its volume.
    ///
    /// ```rhai
    /// let name = convoy::create_snapshot("vol1").Name;
    /// let volume = convoy::snapshot(name).VolumeName;
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn snapshot(ctx: NativeCallContext, name: &str) -> Returned<Map> {
        call(&ctx, |run| to_map(run.wait(run.host.guards.snapshot(&Name::snapshot(name)?))?))
    }

    /// Deletes a snapshot of whichever volume.
    ///
    /// ```rhai
    /// convoy::delete_snapshot(convoy::create_snapshot("vol1").Name);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn delete_snapshot(ctx: NativeCallContext, name: &str) -> Returned<()> {
        call(&ctx, |run| run.wait(run.host.guards.delete_snapshot(&Name::snapshot(name)?)))
    }

    /// The snapshots of a volume, newest first. An empty list is no proof that there are none.
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

    /// The snapshots of this very volume, newest first: not those of a volume that had its name
    /// before and was forgotten, nor those that EBS has removed already.
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
            newest_first
                .filter(|snapshot| super::may_be_own(snapshot, &volume))
                .map(to_script)
                .collect()
        })
    }

    /// The backups of this very volume at the configured destination, newest first: not those of a
    /// volume that had its name before, or has it on another host. Convoy gives volumes no id:
    /// there, the volume's snapshots tell.
    ///
    /// ```rhai
    /// if convoy::own_backups("vol1").is_empty() { log::warn("vol1 is nowhere but here"); }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn own_backups(ctx: NativeCallContext, volume: &str) -> Returned<Array> {
        call(&ctx, |run| {
            let at = destination(run, None)?;
            let guards = &run.host.guards;
            let own = run.wait(async {
                let volume = guards.volume(&Name::volume(volume)?).await?;
                guards.own_backups(&at, &volume).await
            })?;
            own.iter().map(to_script).collect()
        })
    }

    /// The backups at the configured destination that may be this volume's, or those of one with
    /// the same name on another host, newest first: with Convoy, where the snapshots that would
    /// tell are gone.
    ///
    /// ```rhai
    /// for backup in convoy::unclear_backups("vol1") { log::info(`left alone: ${backup.BackupURL}`); }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn unclear_backups(ctx: NativeCallContext, volume: &str) -> Returned<Array> {
        call(&ctx, |run| {
            let at = destination(run, None)?;
            let guards = &run.host.guards;
            let unclear = run.wait(async {
                let volume = guards.volume(&Name::volume(volume)?).await?;
                guards.unclear_backups(&at, &volume).await
            })?;
            unclear.iter().map(to_script).collect()
        })
    }

    /// The backups at the configured destination of all volumes that have this name, here or on
    /// other hosts, now or before: an array for each volume, with its backups, newest first.
    ///
    /// ```rhai
    /// for backups in convoy::backups_by_volume("vol1") { log::info(backups[0].BackupURL); }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn backups_by_volume(ctx: NativeCallContext, volume: &str) -> Returned<Array> {
        call(&ctx, |run| {
            let at = destination(run, None)?;
            let groups =
                run.wait(run.host.guards.backups_by_volume(&at, &Name::volume(volume)?))?;
            groups.into_iter().map(|group| Ok(listed(group)?.into())).collect()
        })
    }

    /// What to delete of a volume that is to be removed, oldest first: `Backups` (URLs) and
    /// `Snapshots` (names); and what stays: `Kept`, the URL of its newest good backup (`()` with
    /// `all`, which deletes that one too), and `Left`, the URLs of backups that are left alone, with
    /// a warning: those that may be another host's, and those newer than the newest good one. At
    /// EBS, the snapshots of backups that stay are not in `Snapshots`. Nothing is deleted. Fails
    /// with `guard` where the volume is mounted, and, without `all`, as `convoy::safe_copy` does.
    ///
    /// ```rhai
    /// convoy::create_backup(convoy::create_snapshot("vol1").Name);
    /// let kept = convoy::removal_plan("vol1", false).Kept;
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn removal_plan(ctx: NativeCallContext, volume: &str, all: bool) -> Returned<Map> {
        call(&ctx, |run| super::removal::plan(run, &Name::volume(volume)?, all))
    }

    /// The backup that makes it safe to delete a volume: the newest of its own that is good. Fails
    /// with `guard` where there is none, and where a snapshot that is older than the volume would
    /// go with it.
    ///
    /// ```rhai
    /// convoy::create_backup(convoy::create_snapshot("vol1").Name);
    /// let kept = convoy::safe_copy("vol1").BackupURL;
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn safe_copy(ctx: NativeCallContext, volume: &str) -> Returned<Map> {
        call(&ctx, |run| {
            let (at, guards) = (run.host.settings.destination.clone(), &run.host.guards);
            to_map(run.wait(async {
                let volume = guards.volume(&Name::volume(volume)?).await?;
                guards.safe_copy(at.as_ref(), &volume).await
            })?)
        })
    }

    /// All backups at the configured destination, newest first.
    ///
    /// ```rhai
    /// let count = convoy::backups().len();
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn backups(ctx: NativeCallContext) -> Returned<Array> {
        call(&ctx, |run| {
            let at = destination(run, None)?;
            listed(run.wait(run.host.guards.backups(&at, None))?)
        })
    }

    /// The backups of one volume, newest first; `()` stands for every volume. A volume that has
    /// none gives an empty list.
    ///
    /// ```rhai
    /// let backups = convoy::backups("vol1");
    /// if !backups.is_empty() { log::info(backups[0].BackupURL); }
    /// ```
    #[rhai_fn(name = "backups", volatile, return_raw)]
    pub(crate) fn backups_of(ctx: NativeCallContext, volume: Dynamic) -> Returned<Array> {
        call(&ctx, |run| {
            let at = destination(run, None)?;
            listed(run.wait(run.host.guards.backups(&at, volume_or_all(&volume)?.as_ref()))?)
        })
    }

    /// The backups of one volume (`()`: of every volume) at another destination, newest first.
    ///
    /// ```rhai
    /// let copies = convoy::backups("vol1", "vfs:///elsewhere");
    /// ```
    #[rhai_fn(name = "backups", volatile, return_raw)]
    pub(crate) fn backups_at(
        ctx: NativeCallContext,
        volume: Dynamic,
        destination: &str,
    ) -> Returned<Array> {
        call(&ctx, |run| {
            let at = Destination::parse(destination)?;
            listed(run.wait(run.host.guards.backups(&at, volume_or_all(&volume)?.as_ref()))?)
        })
    }

    /// One backup, looked at where it is.
    ///
    /// ```rhai
    /// let url = convoy::create_backup(convoy::create_snapshot("vol1").Name).URL;
    /// let made = convoy::backup(url).CreatedTime;
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn backup(ctx: NativeCallContext, url: &str) -> Returned<Map> {
        call(&ctx, |run| to_map(run.wait(run.host.guards.backup(&BackupUrl::parse(url)?))?))
    }

    /// Backs up a snapshot to the configured destination and proves the backup good; a map with its
    /// `URL`.
    ///
    /// ```rhai
    /// let backup = convoy::create_backup(convoy::create_snapshot("vol1").Name);
    /// log::info(backup.URL);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn create_backup(ctx: NativeCallContext, snapshot: &str) -> Returned<Map> {
        call(&ctx, |run| back_up(run, snapshot, None))
    }

    /// Backs up a snapshot to another destination and proves the backup good; a map with its `URL`.
    ///
    /// ```rhai
    /// let copy = convoy::create_backup(convoy::create_snapshot("vol1").Name, "vfs:///elsewhere");
    /// ```
    #[rhai_fn(name = "create_backup", volatile, return_raw)]
    pub(crate) fn create_backup_at(
        ctx: NativeCallContext,
        snapshot: &str,
        destination: &str,
    ) -> Returned<Map> {
        call(&ctx, |run| back_up(run, snapshot, Some(destination)))
    }

    /// Deletes a backup. Fails with `guard` where it is the newest good one of its volume.
    ///
    /// ```rhai
    /// let snapshot = convoy::create_snapshot("vol1").Name;
    /// let older = convoy::create_backup(snapshot);
    /// let newer = convoy::create_backup(snapshot);
    /// convoy::delete_backup(older.URL);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn delete_backup(ctx: NativeCallContext, url: &str) -> Returned<()> {
        delete_backup_with(ctx, url, Map::new())
    }

    /// Deletes a backup, with an option: `even_the_newest: true`, to delete the newest good one of
    /// its volume too.
    ///
    /// ```rhai
    /// let only = convoy::create_backup(convoy::create_snapshot("vol1").Name);
    /// convoy::delete_backup(only.URL, #{ even_the_newest: true });
    /// ```
    #[rhai_fn(name = "delete_backup", volatile, return_raw)]
    pub(crate) fn delete_backup_with(
        ctx: NativeCallContext,
        url: &str,
        options: Map,
    ) -> Returned<()> {
        call(&ctx, |run| {
            let options = Options::new(&options, "delete_backup", &["even_the_newest"])?;
            let even_the_newest = options.flag("even_the_newest")?;
            run.wait(run.host.guards.delete_backup(&BackupUrl::parse(url)?, even_the_newest))
        })
    }
}

fn back_up(run: &Run, snapshot: &str, named: Option<&str>) -> Result<Map> {
    let at = destination(run, named)?;
    let url = run.wait(run.host.guards.create_backup(&Name::snapshot(snapshot)?, &at))?;
    Ok(Map::from_iter([("URL".into(), url.to_string().into())]))
}
