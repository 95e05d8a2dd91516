//! `convoy::` primitive for the backup that is meant.

use rhai::Map;
use rhai::plugin::*;

use super::{
    super::{
        call::{Returned, call, to_map},
        options::Options,
        time::point,
    },
    destination::destination,
};
use crate::{
    convoy::{
        Name,
        chosen::{Wanted, choose, no_backup_of},
    },
    error::Result,
    script::running::RunningScript,
};

#[export_module]
pub(crate) mod functions {
    /// The backup of a volume that is meant, at the configured destination: the newest good one. With
    /// the option `at`, a time as `time::parse` takes it, the newest good one of that time or before;
    /// with `id`, the one whose name begins so, with or without "backup-", good or not. Fails with
    /// `not_found` where there is none, with `usage` where it is not clear which one is meant, and with
    /// `configuration` where no destination is configured.
    ///
    /// ```rhai
    /// if !convoy::backups("vol1").is_empty() {
    ///     let backup = convoy::chosen_backup("vol1", #{});
    ///     log::info(`the newest good one is ${backup.BackupName}`);
    /// }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn chosen_backup(
        ctx: NativeCallContext,
        volume: &str,
        options: Map,
    ) -> Returned<Map> {
        call(&ctx, |run| {
            let options = Options::new(&options, "chosen_backup", &["at", "id"])?;
            let at = options.get("at").map(point).transpose()?;
            chosen(run, &Name::volume(volume)?, &Wanted { at, id: options.string("id")? })
        })
    }
}

fn chosen(run: &RunningScript, volume: &Name, wanted: &Wanted) -> Result<Map> {
    let (at, guards) = (destination(run, None)?, &run.host.guards);
    let all = run.wait(guards.backups(&at, Some(volume)))?;
    if all.is_empty() {
        let listed = run.wait(guards.backups(&at, None))?;
        return Err(no_backup_of(volume.as_str(), &listed, &at));
    }
    let chosen = choose(volume.as_str(), &all, wanted, &run.host.clock.time_zone())?;
    if let Some(warning) = &chosen.warning {
        log::warn!("{warning}");
    }
    to_map(chosen.backup)
}
