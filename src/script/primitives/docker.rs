//! `docker::`: the containers that have volumes.

use rhai::plugin::*;
use rhai::{Array, FnPtr};

use super::call::{Returned, call, run_of, string};
use crate::{
    convoy::{CONTAINERS, Name},
    error::Result,
    scope::{self, Scope},
    script::thrown::{raise, thrown},
};

#[export_module]
pub(crate) mod functions {
    /// The names of the containers that have a volume, also of those that do not run; none where Docker can't be asked.
    /// Fails with `not_found` where there is no such volume.
    ///
    /// ```rhai
    /// for container in docker::containers_using("vol1") { log::info(container); }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn containers_using(ctx: NativeCallContext, volume: &str) -> Returned<Array> {
        call(&ctx, |run| {
            let volume = run.wait(run.host.guards.volume(&Name::volume(volume)?))?;
            let told = volume.told(CONTAINERS).unwrap_or_default();
            Ok(told.split(", ").filter(|name| !name.is_empty()).map(|name| name.into()).collect())
        })
    }

    /// Calls a function while what writes to volumes stands still, as it does for a backup: the commands before are run,
    /// containers are paused or stopped (docs/holds.md), and all go on when the function has returned or thrown, when the
    /// run ends, and at the latest when `BKUP_DOCKER_HOLD_MAX` has passed: then this fails. Backups of these
    /// volumes inside the function are of this one moment. Returns what the function returns. A dry run holds nothing, and
    /// calls the function. Fails with `not_found` where there is no such volume, with `configuration` where the daemon
    /// holds nothing, with `timeout` where the time was over too soon, and with what the function throws.
    ///
    /// ```rhai
    /// docker::quiesced(["vol1"], || convoy::create_snapshot("vol1"));
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn quiesced(
        ctx: NativeCallContext,
        volumes: Array,
        action: FnPtr,
    ) -> Returned<Dynamic> {
        let position = ctx.call_position();
        let run = raise(run_of(&ctx), position)?;
        let guards = &run.host.guards;
        let names: Result<Vec<_>> = volumes
            .iter()
            .map(|volume| Name::volume(&string(volume, "name of a volume")?))
            .collect();
        let held = names.and_then(|names| run.wait(guards.quiesce(&names)));
        let held = raise(held, position)?;
        // What is done inside says so: it uses this hold, and nothing else does.
        let around = scope::current().unwrap_or_else(|| Scope::of(&run.host.run.id));
        let inside = Scope { hold: Some(held.id.as_str().into()), ..around };
        let done = scope::within(Some(inside), || action.call_within_context::<Dynamic>(&ctx, ()));
        // Also where the run is to end.
        let went_on = run.wait_to_the_end(guards.let_go_on(&held));
        match (done, went_on) {
            (Err(error), Err(also)) => {
                log::error!("{also}");
                Err(error)
            }
            (Err(error), Ok(())) => Err(error),
            (Ok(_), Err(error)) => Err(thrown(&error, position)),
            (Ok(done), Ok(())) => Ok(done),
        }
    }

    /// Runs a command in a container that runs: the one that its label `convoy-backups.exec.NAME` has. Scripts run
    /// nothing of their own choice. Who runs it and how long it may take, the labels `convoy-backups.exec-user` and
    /// `convoy-backups.exec-timeout` say (5 minutes). Fails with `daemon` where there is no such container, or it does not
    /// run, with `configuration` where it has no such label, and with `io` where the command fails.
    ///
    /// ```rhai
    /// docker::exec("db", "reindex");
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn exec(ctx: NativeCallContext, container: &str, command: &str) -> Returned<()> {
        call(&ctx, |run| run.wait(run.host.guards.run_in_container(container, command)))
    }
}
