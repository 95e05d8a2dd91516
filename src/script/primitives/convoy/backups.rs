//! `convoy::` primitives for backups.

use std::time::Instant;

use rhai::plugin::*;
use rhai::{Array, Map};

use super::{
    super::{
        call::{Returned, call, string, to_map, to_script},
        options::Options,
    },
    destination::destination,
};
use crate::{
    convoy::{
        ADDED_SIZE, BACKUP_SIZE, Backup, BackupUrl, Destination, FILE_COUNT, Name, ReadBack,
        guards::{Even, Prunable},
    },
    error::{Error, Result},
    script::{running::RunningScript, thrown::to_map as to_thrown},
};

#[export_module]
pub(crate) mod functions {
    /// All backups at the configured destination, newest first. Fails with `configuration` where no
    /// destination is configured, and with `daemon` where the destination can't be listed.
    ///
    /// ```rhai
    /// let count = convoy::backups().len();
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn backups(ctx: NativeCallContext) -> Returned<Array> {
        call(&ctx, |run| {
            let at = destination(run, None)?;
            listed(run, run.wait(run.host.guards.backups(&at, None))?)
        })
    }

    /// The backups of one volume, newest first; `()` stands for every volume. A volume that has
    /// none gives an empty list. Fails with `configuration` where no destination is configured, and
    /// with `daemon` where the destination can't be listed.
    ///
    /// ```rhai
    /// let backups = convoy::backups("vol1");
    /// if !backups.is_empty() { log::info(backups[0].BackupURL); }
    /// ```
    #[rhai_fn(name = "backups", volatile, return_raw)]
    pub(crate) fn backups_of(ctx: NativeCallContext, volume: Dynamic) -> Returned<Array> {
        call(&ctx, |run| {
            let at = destination(run, None)?;
            let volume = volume_or_all(&volume)?;
            listed(run, run.wait(run.host.guards.backups(&at, volume.as_ref()))?)
        })
    }

    /// The backups of one volume (`()`: of every volume) at another destination, newest first.
    /// Fails with `usage` where this is not a destination, and with `daemon` where it can't be
    /// listed.
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
            let volume = volume_or_all(&volume)?;
            listed(run, run.wait(run.host.guards.backups(&at, volume.as_ref()))?)
        })
    }

    /// The backups of this volume at the configured destination, newest first. Backups of a volume
    /// that had the name before, or that has it on another host, are left out. With Convoy, which
    /// gives volumes no id, the volume's snapshots and what earlier runs made decide. Fails with
    /// `not_found` where there is no such volume, and with `configuration` where no destination is
    /// configured.
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
            listed(run, own)
        })
    }

    /// The backups at the configured destination that may be this volume's or those of a volume of
    /// the same name on another host, newest first. With Convoy, they exist when the snapshots that
    /// would tell them apart are gone; with the built-in daemon, when its folder was moved or copied.
    /// Fails with `not_found` where there is no such volume, and with `configuration` where no
    /// destination is configured.
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
            listed(run, unclear)
        })
    }

    /// The backups at the configured destination of all volumes that have or had this name, on any
    /// host: an array for each volume, with its backups, newest first, as far as anything tells the
    /// volumes apart. Fails with `configuration` where no destination is configured, and with
    /// `daemon` where the destination can't be listed.
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
            groups.into_iter().map(|group| Ok(listed(run, group.backups)?.into())).collect()
        })
    }

    /// What a pruning may delete of the backups under this name at the configured destination.
    /// `Volumes` has an array for each volume that this host has or had under the name (with
    /// `all_hosts`: that any host has or had), with its backups, newest first. `Protected` has the
    /// newest of each volume that this host made or restored: it can't be deleted either, though
    /// another one may be newer. `Trusted` has the URLs of all that this host made or restored: the
    /// others may only look like its own. `Left` has what is left alone, as it may be another host's: maps
    /// with `Why`, `Backups`, and `Unknown`, which tells whether they would be pruned if a run of
    /// this host were known to have made one of them. Fails with `configuration` where no
    /// destination is configured, and with `daemon` where the destination can't be listed.
    ///
    /// ```rhai
    /// for backups in convoy::prunable_backups("vol1", false).Volumes {
    ///     let plan = retention::plan(backups, #{ keep_daily: 7 });
    ///     retention::carry_out("vol1", plan, |url| convoy::delete_backup(url));
    /// }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn prunable_backups(
        ctx: NativeCallContext,
        volume: &str,
        all_hosts: bool,
    ) -> Returned<Map> {
        call(&ctx, |run| {
            let at = destination(run, None)?;
            let prunable =
                run.wait(run.host.guards.prunable(&at, &Name::volume(volume)?, all_hosts))?;
            prunable_map(run, prunable)
        })
    }

    /// The backup that makes it safe to delete a volume: the newest good one that belongs to it.
    /// Fails with `guard` where there is no such backup, and where the volume has a snapshot that
    /// is older than the volume and would be deleted with it.
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

    /// The backups at the configured destination that no deletion may take, of all volumes that have
    /// or had this name: a map with the reason for each URL. Of each volume, the newest good backup
    /// stays, and with Convoy, unless its data could be looked at, an older one. Fails with
    /// `configuration` where no destination is configured, and with `daemon` where the destination
    /// can't be listed.
    ///
    /// ```rhai
    /// let staying = convoy::protected_backups("vol1");
    /// let others = convoy::backups("vol1").filter(|backup| backup.BackupURL !in staying);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn protected_backups(ctx: NativeCallContext, volume: &str) -> Returned<Map> {
        call(&ctx, |run| {
            let at = destination(run, None)?;
            let guards = &run.host.guards;
            run.wait(async {
                let mut protected = Map::new();
                for group in guards.backups_by_volume(&at, &Name::volume(volume)?).await? {
                    for stays in guards.protected_of(&group).await? {
                        let is_this = |backup: &&Backup| {
                            backup.url().is_ok_and(|url| url.same_backup(&stays.url))
                        };
                        let listed = group
                            .backups
                            .iter()
                            .find(is_this)
                            .map(|backup| backup.field("BackupURL"));
                        let why = Dynamic::from(stays.why.words().to_owned());
                        protected.insert(listed.unwrap_or_default().into(), why);
                    }
                }
                Ok(protected)
            })
        })
    }

    /// One backup, inspected at its destination. Fails with `not_found` where there is no such
    /// backup.
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
    /// `URL`. Where the volume lost nearly all of its data since its last good backup, the map also
    /// has `Doubt`, which says why: nothing older of the volume can be deleted then, and the run
    /// ends `partial`. So it is where files could not be read, which the backup lacks. Fails with `not_found` where there is no such snapshot, with `configuration` where no
    /// destination is configured, and with `guard` where the backup can't be proven good.
    ///
    /// ```rhai
    /// let backup = convoy::create_backup(convoy::create_snapshot("vol1").Name);
    /// log::info(backup.URL);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn create_backup(ctx: NativeCallContext, snapshot: &str) -> Returned<Map> {
        call(&ctx, |run| back_up_snapshot(run, snapshot, None))
    }

    /// Backs up a snapshot to another destination and proves the backup good; a map with its `URL`.
    /// Fails with `not_found` where there is no such snapshot, and with `guard` where the backup
    /// can't be proven good.
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
        call(&ctx, |run| back_up_snapshot(run, snapshot, Some(destination)))
    }

    /// Backs up a volume as it is now to the configured destination and proves the backup good; a map
    /// as that of `create_backup`. The built-in daemon writes straight to the destination, and no
    /// snapshot stays. With Convoy a snapshot is taken and backed up, and stays. Fails with
    /// `not_found` where there is no such volume, with `configuration` where no destination is
    /// configured, and with `guard` where the backup can't be proven good.
    ///
    /// ```rhai
    /// let backup = convoy::back_up("vol1");
    /// log::info(backup.URL);
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn back_up(ctx: NativeCallContext, volume: &str) -> Returned<Map> {
        call(&ctx, |run| back_up_volume(run, volume, None))
    }

    /// Backs up a volume as it is now to another destination, as `back_up` does to the configured
    /// one. Fails with `not_found` where there is no such volume, and with `guard` where the backup
    /// can't be proven good.
    ///
    /// ```rhai
    /// let copy = convoy::back_up("vol1", "vfs:///elsewhere");
    /// ```
    #[rhai_fn(name = "back_up", volatile, return_raw)]
    pub(crate) fn back_up_to(
        ctx: NativeCallContext,
        volume: &str,
        destination: &str,
    ) -> Returned<Map> {
        call(&ctx, |run| back_up_volume(run, volume, Some(destination)))
    }

    /// Backs up volumes as they are now to the configured destination, all at one moment: what writes to
    /// any of them is held still at the same time, where it is held at all. An array with a map for each
    /// volume, in the order of the names: that of `back_up` with the `VolumeName`; where one fails, the
    /// others go on, and its map has the `VolumeName` and, as `Error`, what `back_up` would throw. Fails
    /// with `configuration` where no destination is configured.
    ///
    /// ```rhai
    /// for backup in convoy::back_up_together(["shop_db", "shop_files"]) {
    ///     if "Error" in backup { run::failed(backup.VolumeName, backup.Error); }
    /// }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn back_up_together(ctx: NativeCallContext, volumes: Array) -> Returned<Array> {
        call(&ctx, |run| back_up_volumes(run, &volumes))
    }

    /// Reads the data of backups at the configured destination back, and compares it with what was
    /// written. Options: `volume`, to read what the backups of that volume need only; `share`, to read
    /// so many percent, what was read longest ago first. A map with the number of `Packs` and `Bytes`
    /// that were read, and with what is `Damaged`, a sentence for each pack. Fails with `configuration`
    /// where no destination is configured, and with `usage` where the daemon can't do that, as Convoy
    /// can't.
    ///
    /// ```rhai
    /// try {
    ///     for damaged in convoy::read_back(#{ share: 5 }).Damaged { log::error(damaged); }
    /// } catch (error) { log::info(`not with Convoy: ${error.message}`); }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn read_back(ctx: NativeCallContext, options: Map) -> Returned<Map> {
        call(&ctx, |run| {
            let options = Options::new(&options, "read_back", &["volume", "share"])?;
            let volume = options.string("volume")?.map(|name| Name::volume(&name)).transpose()?;
            read_all_back(run, volume, options.number("share")?)
        })
    }

    /// Deletes a backup of this host's. Fails with `not_found` where there is no such backup, and
    /// with `guard` where it is the newest good one of its volume, or may be another host's.
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

    /// Deletes a backup, with options: `even_the_newest: true` also deletes the newest good backup
    /// of a volume, and `of_any_host: true` also deletes backups that other hosts made or may have
    /// made, each volume's newest good one excepted. Where nothing tells how many volumes they are
    /// of, it takes both. Fails with `not_found` where there is no such backup, and with `guard` as
    /// `delete_backup` does without the options.
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
            let options =
                Options::new(&options, "delete_backup", &["even_the_newest", "of_any_host"])?;
            let even = Even {
                the_newest: options.flag("even_the_newest")?,
                of_any_host: options.flag("of_any_host")?,
            };
            run.wait(run.host.guards.delete_backup(&BackupUrl::parse(url)?, even))
        })
    }

    /// Gives back the space of what no backup at the configured destination needs: a map with
    /// `GivenBack` and `Waiting` (bytes; what waits goes a day after it became unused), `Text`, which says
    /// so, and `Notes`, a text on each file that is damaged or missing. `()` with Convoy, which frees space
    /// when a backup is deleted, and in a dry run. Fails with `configuration` where no destination is
    /// configured, and with `daemon` where space can't be given back.
    ///
    /// ```rhai
    /// let given = convoy::give_back();
    /// if given != () { log::info(given.Text); }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn give_back(ctx: NativeCallContext) -> Returned<Dynamic> {
        call(&ctx, |run| {
            let at = destination(run, None)?;
            let Some(given) = run.wait(run.host.guards.give_back(&at))? else {
                return Ok(Dynamic::UNIT);
            };
            let text = given.sentence(&at.to_string(), &run.host.clock.time_zone());
            let mut map = to_map(given)?;
            map.insert("Text".into(), text.into());
            Ok(map.into())
        })
    }
}

/// The name of the volume; `None`, which means every volume, for `()`.
fn volume_or_all(volume: &Dynamic) -> Result<Option<Name>> {
    if volume.is_unit() { Ok(None) } else { Name::volume(&string(volume, "volume")?).map(Some) }
}

/// Reads back by one call after the other, so that a daemon is never silent for long.
fn read_all_back(run: &RunningScript, volume: Option<Name>, share: Option<u64>) -> Result<Map> {
    let share = share.map(|share| share.min(100));
    let at = destination(run, None)?;
    // How much there is, only the first answer tells.
    let mut what = ReadBack { volume, since: None, most: share.map(|_| 1) };
    let (mut packs, mut bytes, mut damaged) = (0, 0, Vec::new());
    loop {
        let read = run.wait(run.host.guards.read_back(&at, &what))?;
        packs += read.packs;
        bytes += read.bytes;
        damaged.extend(read.damaged);
        what.since.get_or_insert(read.began);
        let left = share.map(|share| (read.all_bytes / 100 * share).saturating_sub(bytes));
        if read.is_all || left == Some(0) {
            break;
        }
        what.most = left;
    }
    let damaged: Array = damaged.into_iter().map(Dynamic::from).collect();
    let count = |count: u64| Dynamic::from(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(Map::from_iter([
        ("Packs".into(), count(packs)),
        ("Bytes".into(), count(bytes)),
        ("Damaged".into(), damaged.into()),
    ]))
}

fn prunable_map(run: &RunningScript, prunable: Prunable) -> Result<Map> {
    let volumes = prunable.volumes.into_iter().map(|backups| Ok(listed(run, backups)?.into()));
    let left = prunable.left.into_iter().map(|left| {
        let map = Map::from_iter([
            ("Why".into(), left.why.into()),
            ("Unknown".into(), left.is_unknown().into()),
            ("Backups".into(), listed(run, left.backups)?.into()),
        ]);
        Ok(map.into())
    });
    Ok(Map::from_iter([
        ("Volumes".into(), Dynamic::from(volumes.collect::<Result<Array>>()?)),
        ("Protected".into(), Dynamic::from(listed(run, prunable.protected)?)),
        ("Trusted".into(), Dynamic::from(urls(&prunable.trusted))),
        ("Left".into(), Dynamic::from(left.collect::<Result<Array>>()?)),
    ]))
}

fn urls(backups: &[Backup]) -> Array {
    backups.iter().map(|backup| backup.field("BackupURL").to_owned().into()).collect()
}

/// The backups as scripts get them. If the daemon does not look at the data of backups, `Verified`
/// tells whether this program did.
fn listed(run: &RunningScript, backups: Vec<Backup>) -> Result<Array> {
    let backups = run.wait(run.host.guards.with_verified(backups))?;
    backups.into_iter().map(to_script).collect()
}

fn back_up_snapshot(run: &RunningScript, snapshot: &str, named: Option<&str>) -> Result<Map> {
    let at = destination(run, named)?;
    let begun = Instant::now();
    let url = run.wait(run.host.guards.create_backup(&Name::snapshot(snapshot)?, &at))?;
    Ok(made(run, &url, Some(begun)))
}

fn back_up_volume(run: &RunningScript, volume: &str, named: Option<&str>) -> Result<Map> {
    let at = destination(run, named)?;
    let begun = Instant::now();
    let url = run.wait(run.host.guards.back_up(&Name::volume(volume)?, &at))?;
    Ok(made(run, &url, Some(begun)))
}

fn back_up_volumes(run: &RunningScript, volumes: &Array) -> Result<Array> {
    let at = destination(run, None)?;
    let name = |volume| Name::volume(&string(volume, "name of each volume")?);
    let names: Vec<_> = volumes.iter().map(name).collect::<Result<_>>()?;
    let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
    if let Some((_, twice)) = twice {
        return Err(Error::usage(format!("the volume \"{twice}\" was named twice")));
    }
    let results = run.wait(run.host.guards.back_up_together(&names, &at))?;
    let told = |(name, result): (&Name, Result<BackupUrl>)| {
        let mut map = match result {
            Ok(url) => made(run, &url, None),
            // It ends the run, and not the volume alone.
            Err(error) if error.ends_the_run() => return Err(error),
            Err(error) => Map::from_iter([("Error".into(), to_thrown(&error).into())]),
        };
        map.insert("VolumeName".into(), name.to_string().into());
        Ok(map.into())
    };
    names.iter().zip(results).map(told).collect()
}

/// What a script is told of a backup that was made, and was begun then, if by itself.
fn made(run: &RunningScript, url: &BackupUrl, begun: Option<Instant>) -> Map {
    let guards = &run.host.guards;
    let mut made = Map::from_iter([("URL".into(), url.to_string().into())]);
    if let Some(why) = guards.doubt(url) {
        made.insert("Doubt".into(), why.into());
    }
    if let Some(backup) = guards.made(url) {
        let number = |name: &str| backup.field(name).parse::<u64>().ok();
        let moment = backup.moment();
        let changed = moment.kind.as_ref().map(|_| moment.torn_files()).filter(|count| *count > 0);
        let told = [
            (FILE_COUNT, number(FILE_COUNT)),
            (BACKUP_SIZE, number(BACKUP_SIZE)),
            (ADDED_SIZE, number(ADDED_SIZE)),
            ("ChangedFiles", changed),
            ("HeldMilliseconds", moment.stood),
        ];
        for (field, number) in told {
            if let Some(number) = number {
                made.insert(field.into(), i64::try_from(number).unwrap_or(i64::MAX).into());
            }
        }
    }
    if let Some(begun) = begun {
        let took = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX);
        made.insert("Seconds".into(), took.into());
    }
    if !guards.is_verified(url) {
        made.insert("Verified".into(), false.into());
    }
    made
}
