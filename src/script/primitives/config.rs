//! `config::`: the configuration, without its secrets.

use rhai::plugin::*;

use super::call::{Returned, call, call_surely, to_script};
use crate::{
    error::{Error, ErrorKind},
    suggest,
};

#[export_module]
pub(crate) mod functions {
    /// A value of the configuration, such as `destination` or `delete_old_snapshots`; secrets can't
    /// be read. Fails with `script` where the configuration has no value of this name.
    ///
    /// ```rhai
    /// if config::get("delete_old_snapshots") { log::info("older snapshots go"); }
    /// ```
    #[rhai_fn(volatile, return_raw)]
    pub(crate) fn get(ctx: NativeCallContext, name: &str) -> Returned<Dynamic> {
        call(&ctx, |run| {
            let settings = &run.host.settings;
            match name {
                "destination" => Ok(text(settings.destination.as_ref())),
                "delete_old_snapshots" => Ok(settings.delete_old_snapshots.into()),
                _ => match settings.values.get(name) {
                    Some(value) => to_script(value),
                    None => {
                        let known = ["destination", "delete_old_snapshots"];
                        let names = settings.values.keys().map(String::as_str).chain(known);
                        let hint = suggest::did_you_mean_or(
                            name,
                            names,
                            "\"convoy-backups config\" shows all of it",
                        );
                        Err(Error::new(
                            ErrorKind::Script,
                            format!("the configuration has no \"{name}\""),
                        )
                        .with_hint(hint))
                    }
                },
            }
        })
    }

    /// The configured backup destination; `()` where there is none.
    ///
    /// ```rhai
    /// if config::destination() == () { throw "where should the backups go?"; }
    /// ```
    #[rhai_fn(volatile)]
    pub(crate) fn destination(ctx: NativeCallContext) -> Dynamic {
        call_surely(&ctx, |run| text(run.host.settings.destination.as_ref()))
    }
}

fn text(destination: Option<&crate::convoy::Destination>) -> Dynamic {
    destination.map_or(Dynamic::UNIT, |destination| destination.to_string().into())
}
