//! The tree of commands for help and completion: the program's own commands and one for each
//! script.

use clap::Command;

use super::{
    completions, config, crontab, daemon, demo, doctor, healthcheck, inside, man, notify, run,
    runs,
    script_command::{common_flags, script_command},
    scripts, serve, status,
};
use crate::script::Library;

/// The version with commit and day, as build.rs found them. Without build.rs, the version alone.
const VERSION: &str = match option_env!("CONVOY_BACKUPS_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// The whole tree, with a subcommand for each script that can be loaded.
pub(super) fn tree(library: &Library) -> Command {
    let scripts = library
        .list()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|listed| library.load(&listed.name).ok());
    scripts.map(|script| script_command(&script)).fold(own(), Command::subcommand)
}

/// The program's own commands.
pub(super) fn own() -> Command {
    Command::new("convoy-backups")
        .version(VERSION)
        .about("Snapshots, backups, pruning and restores of Docker volumes, for Convoy and without it")
        .after_help(
            "Each script is a command: \"convoy-backups backup --help\" shows its parameters.\n\
             Start with \"convoy-backups demo\", then \"convoy-backups doctor\".\n\
             Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 partial, 75 busy (try later).",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .args(common_flags())
        .subcommand(run::command())
        .subcommand(scripts::command())
        .subcommand(runs::command())
        .subcommand(daemon::command())
        .subcommand(demo::command())
        .subcommand(crontab::command())
        .subcommand(config::command())
        .subcommand(serve::command())
        .subcommand(status::command())
        .subcommand(doctor::command())
        .subcommand(healthcheck::command())
        .subcommand(inside::ls_command())
        .subcommand(inside::find_command())
        .subcommand(inside::cat_command())
        .subcommand(inside::diff_command())
        .subcommand(inside::dump_command())
        .subcommand(notify::command())
        .subcommand(completions::command())
        .subcommand(man::command())
}
