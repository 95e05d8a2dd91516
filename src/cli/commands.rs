//! The tree of commands for help and completion: the program's own, and one a script, made from
//! what the script declares.

use clap::{Arg, ArgAction, Command, value_parser};
use clap_complete::Shell;

use super::arguments::CONFIGURATION_FLAGS;
use crate::script::{Library, Parameter, ParameterKind, Script};

/// The version with commit and day, as build.rs found them; the version alone where it did not run.
const VERSION: &str = match option_env!("CONVOY_BACKUPS_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// The whole tree, with a subcommand for each script that can be loaded.
pub(crate) fn tree(library: &Library) -> Command {
    let scripts = library
        .list()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|listed| library.load(&listed.name).ok());
    own(scripts.map(|script| of_script(&script)))
}

/// The program's own commands, and these beside them.
pub(crate) fn own(scripts: impl Iterator<Item = Command>) -> Command {
    let file = |name: &'static str| Arg::new(name).value_name("FILE");
    let command = Command::new("convoy-backups")
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
        .subcommand(
            Command::new("run")
                .about("Run a script by its name")
                .arg_required_else_help(true)
                .arg(Arg::new("script").value_name("SCRIPT").required(true).help("its name, see \"scripts list\"")),
        )
        .subcommand(
            Command::new("scripts")
                .about("List, show, check or begin scripts")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(Command::new("list").about("The scripts there are, and where each comes from"))
                .subcommand(
                    Command::new("show")
                        .about("Print a script's source")
                        .arg(Arg::new("name").value_name("NAME").required(true)),
                )
                .subcommand(
                    Command::new("check")
                        .about("Check scripts without running them: these files, or all there are")
                        .arg(file("files").num_args(0..)),
                )
                .subcommand(
                    Command::new("new")
                        .about("Begin a script of your own in BKUP_SCRIPTS_DIR, or here")
                        .arg(Arg::new("name").value_name("NAME").required(true)),
                )
                .subcommand(Command::new("definitions").about("Print all primitives for an editor (.d.rhai)")),
        )
        .subcommand(super::runs::command())
        .subcommand(
            Command::new("daemon")
                .about("Serve the built-in volume daemon to other programs, Docker among them")
                .arg(
                    Arg::new("root")
                        .long("root")
                        .value_name("DIR")
                        .help("where volumes and snapshots are [default: the data folder's]"),
                )
                .arg(
                    Arg::new("socket")
                        .long("socket")
                        .value_name("PATH")
                        .help("the socket to serve [default: DIR/convoy.sock]"),
                ),
        )
        .subcommand(
            Command::new("demo")
                .about("Snapshot, back up, prune and restore a volume of real files, and compare every one of them")
                .arg(
                    Arg::new("folder")
                        .long("folder")
                        .value_name("DIR")
                        .help("where to do it [default: a new folder in the system's temporary one]"),
                ),
        )
        .subcommand(
            Command::new("crontab")
                .about("Check the crontab, show it, or say what is due next")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(
                    Command::new("check")
                        .about("Check a crontab without running anything: this file, or the one in force")
                        .arg(file("file")),
                )
                .subcommand(
                    Command::new("next")
                        .about("What is due next")
                        .arg(
                            Arg::new("count")
                                .short('n')
                                .value_name("NUMBER")
                                .value_parser(value_parser!(u32))
                                .help("so many times [default: 10]"),
                        )
                        .arg(Arg::new("script").long("script").value_name("NAME").help("of this script only"))
                        .arg(
                            Arg::new("at")
                                .long("at")
                                .value_name("TIME")
                                .help("as if it were this time: 2026-10-25T01:00, or with a Z in UTC"),
                        ),
                )
                .subcommand(
                    Command::new("show").about("Print the crontab in force; without one, the default").arg(
                        Arg::new("default")
                            .long("default")
                            .action(ArgAction::SetTrue)
                            .help("the one that comes with the program"),
                    ),
                ),
        )
        .subcommand(Command::new("config").about("The configuration in force, and where each value comes from"))
        .subcommand(
            Command::new("serve")
                .about("Follow the crontab, remember every run, and tell people when something is wrong"),
        )
        .subcommand(
            Command::new("status")
                .about("Is everything safe? Each volume's last backup, the next one, and what is wrong")
                .arg(
                    Arg::new("forget")
                        .long("forget")
                        .value_name("VOLUME")
                        .help("this volume is gone from the daemon, and that was meant; its backups are kept"),
                ),
        )
        .subcommand(
            Command::new("doctor").about("Look at the daemon, folders, destination and scripts; say what to do"),
        )
        .subcommand(super::healthcheck::command())
        .subcommand(
            Command::new("notify")
                .about("Try the ways in which people are told, or see what they are not told yet")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(Command::new("test").about("Send one message through every channel that is on"))
                .subcommand(Command::new("list").about("What waits to be sent, and what is wrong at the moment")),
        )
        .subcommand(
            Command::new("completions")
                .about("Print the completion script of a shell")
                .arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell))),
        )
        .subcommand(
            Command::new("man")
                .about("Write the manual's pages; who packages the program needs them")
                .hide(true)
                .arg(Arg::new("folder").value_name("DIR").required(true).help("where to; it is made if need be")),
        );
    scripts.fold(command, Command::subcommand)
}

/// The command of one script.
pub(crate) fn of_script(script: &Script) -> Command {
    let mut doc = script.doc.splitn(2, "\n\n");
    let about = doc.next().unwrap_or_default().replace('\n', " ");
    let command = Command::new(script.name.clone()).about(about.clone());
    let command = match doc.next() {
        Some(more) => command.long_about(format!("{about}\n\n{more}")),
        None => command,
    };
    command
        .args(script.parameters.iter().map(of_parameter))
        .args(common_flags())
        .disable_help_flag(false)
}

fn of_parameter(parameter: &Parameter) -> Arg {
    let flag = parameter.name.replace('_', "-");
    let mut help = parameter.help.clone();
    if let Some(default) = &parameter.default {
        let shown = parameter.default_text.clone().unwrap_or_else(|| default.to_string());
        help.push_str(&format!(" [default: {shown}]"));
    }
    let arg = Arg::new(parameter.name.clone()).long(flag).help(help).required(parameter.required);
    match &parameter.kind {
        ParameterKind::Bool => arg.action(ArgAction::SetTrue).required(false),
        ParameterKind::List => {
            arg.action(ArgAction::Append).value_name(parameter.kind.placeholder())
        }
        ParameterKind::OneOf(choices) => arg.value_parser(choices.clone()),
        kind => arg.value_name(kind.placeholder()),
    }
}

/// The flags that every command knows. They are read before clap sees the words: here they are for
/// help and completion.
fn common_flags() -> Vec<Arg> {
    let switch = |name: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .global(true)
            .help_heading("Every command")
    };
    let mut flags = vec![
        switch("dry-run").help("read for real, write nothing, and say what would be done"),
        switch("json").help("JSON alone on standard output"),
        switch("quiet").short('q').help("errors only"),
        Arg::new("verbose")
            .short('v')
            .long("verbose")
            .action(ArgAction::Count)
            .global(true)
            .help_heading("Every command")
            .help("say more: -v what is done, -vv each request, -vvv everything"),
        Arg::new("timeout")
            .long("timeout")
            .value_name("DURATION")
            .global(true)
            .help_heading("Every command")
            .help("end a run that takes longer, such as 90m or 5h"),
    ];
    flags.extend(CONFIGURATION_FLAGS.iter().map(|(flag, variable, value, help)| {
        let name = flag.trim_start_matches('-');
        Arg::new(name)
            .long(name)
            .value_name(*value)
            .global(true)
            .help_heading("Every command")
            .help(format!("{help} [{variable}]"))
    }));
    flags
}
