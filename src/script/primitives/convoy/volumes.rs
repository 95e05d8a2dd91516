//! `convoy::` primitives for volumes.

use rhai::plugin::*;
use rhai::{Array, Map};

use super::{
    super::{
        call::{Returned, call, to_map, to_script},
        options::Options,
    },
    removal,
};
use crate::{
    convoy::{BackupUrl, Destination, Name, NewVolume},
    error::Error,
};

#[export_module]
pub(crate) mod functions {
    /// The daemon's settings (`General`) and each driver's. Fails with `unreachable` or `timeout`
    /// where the daemon does not answer.
    ///
    /// ```rhai
    /// let driver = convoy::info().General.DefaultDriver;
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn info(ctx: NativeCallContext) -> Returned<Map> {
        call(&ctx, |run| to_map(run.wait(run.host.guards.info())?))
    }

    /// All volumes, sorted by name: `Name`, `Driver`, `CreatedTime`, `MountPoint`, `DriverInfo`,
    /// `Snapshots`; without those of Docker's plugin that nobody named (64 hexadecimal digits), which
    /// `convoy::volume` knows. Fails with `unreachable` or `timeout` where the daemon does not answer.
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

    /// The volumes that are forgotten, sorted by name, as `convoy::volumes` has them: Docker removed
    /// them, or `convoy::forget_volume`, and their files and snapshots stay. Convoy can't tell them, so
    /// the list is empty. Fails with `unreachable` or `timeout` where the daemon does not answer.
    ///
    /// ```rhai
    /// for volume in convoy::forgotten_volumes() {
    ///     log::info(volume.Name);
    /// }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn forgotten_volumes(ctx: NativeCallContext) -> Returned<Array> {
        call(&ctx, |run| {
            let volumes = run.wait(run.host.guards.forgotten_volumes())?;
            volumes.into_values().map(to_script).collect()
        })
    }

    /// The volumes as their drivers see them: a map by the volume's name, with each driver's own
    /// fields. Fails with `unreachable` or `timeout` where the daemon does not answer.
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

    /// One volume. Fails with `not_found` where there is no such volume.
    ///
    /// ```rhai
    /// let made = convoy::volume("vol1").CreatedTime;
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn volume(ctx: NativeCallContext, name: &str) -> Returned<Map> {
        call(&ctx, |run| to_map(run.wait(run.host.guards.volume(&Name::volume(name)?))?))
    }

    /// Creates a volume from a map with `name` and, if wanted, `size` (bytes), `driver`, `type`,
    /// `iops`, `id` (an existing volume of the driver's) and `vm`. Fails with `usage` where the map
    /// has no `name`, and with `daemon` where the name is in use.
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

    /// Creates a volume with the content of a backup, under a name that nothing uses. Fails with
    /// `not_found` where there is no such backup, and with `guard` where a volume, a snapshot or a
    /// left-over folder has the name.
    ///
    /// ```rhai
    /// let backup = convoy::create_backup(convoy::create_snapshot("vol1").Name);
    /// let volume = convoy::restore("vol1-restored", backup.URL);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn restore(ctx: NativeCallContext, volume: &str, url: &str) -> Returned<Map> {
        call(&ctx, |run| {
            let url = BackupUrl::parse(url)?;
            let new = NewVolume::from_backup(Name::volume(volume)?, url);
            to_map(run.wait(run.host.guards.create_volume(&new))?)
        })
    }

    /// Mounts a volume; its driver chooses the folder. `MountPoint` is the folder with its files.
    /// Fails with `not_found` where there is no such volume, and with `daemon` where it can't be
    /// mounted.
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

    /// Mounts a volume at a folder, where its driver can choose. Fails with `not_found` where there
    /// is no such volume, and with `daemon` where it can't be mounted there.
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

    /// Unmounts a volume. Fails with `not_found` where there is no such volume, and with `daemon`
    /// where it can't be unmounted.
    ///
    /// ```rhai
    /// convoy::mount("vol1");
    /// convoy::unmount("vol1");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn unmount(ctx: NativeCallContext, volume: &str) -> Returned<()> {
        call(&ctx, |run| run.wait(run.host.guards.unmount_volume(&Name::volume(volume)?)))
    }

    /// Plans the removal of a volume, also of a forgotten one, and deletes nothing. `Backups` (URLs) and `Snapshots` (names)
    /// are what to delete, oldest first. `Kept` is the URL of the volume's newest good backup,
    /// which stays, `KeptTaken` when its snapshot was taken, and `KeptAge` how long ago that was;
    /// with `all` it is deleted too, and `Kept` is `()`. `Left` has the URLs of
    /// backups that are left alone, with a warning: those that may be another host's, and those
    /// newer than the newest good one. At EBS, the snapshots of backups that stay are not in
    /// `Snapshots`. Fails with `not_found` where there is no such volume, with `guard` where it or
    /// anything in it is mounted, and, without `all`, where it has changed since that backup or
    /// may have, and as `convoy::safe_copy` does.
    ///
    /// ```rhai
    /// convoy::create_backup(convoy::create_snapshot("vol1").Name);
    /// let kept = convoy::removal_plan("vol1", false).Kept;
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn removal_plan(ctx: NativeCallContext, volume: &str, all: bool) -> Returned<Map> {
        call(&ctx, |run| removal::plan(run, &Name::volume(volume)?, all))
    }

    /// Deletes a volume and its snapshots, also a forgotten one. Fails with `guard` where the volume or anything in it is
    /// mounted, and unless a good backup of it is at the destination and it has not changed since.
    ///
    /// ```rhai
    /// convoy::create_backup(convoy::create_snapshot("vol1").Name);
    /// convoy::delete_volume("vol1");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn delete_volume(ctx: NativeCallContext, name: &str) -> Returned<()> {
        delete_volume_with(ctx, name, Map::new())
    }

    /// Deletes a volume and its snapshots, with options: `destination` says where the backup must
    /// be, and `without_backup: true` deletes the volume even without a backup. Fails with `guard`
    /// where the volume or anything in it is mounted, and, unless `without_backup`, where no good
    /// backup of it is at the destination, or it has changed since.
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
    /// Its backups stay, too. Fails with `not_found` where there is no such volume.
    ///
    /// ```rhai
    /// convoy::forget_volume("vol1");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn forget_volume(ctx: NativeCallContext, name: &str) -> Returned<()> {
        call(&ctx, |run| run.wait(run.host.guards.forget_volume(&Name::volume(name)?)))
    }
}
