//! The clap command of a script, made from the script's declarations.

use clap::{Arg, ArgAction, Command};

use crate::{
    command_words::CONFIGURATION_FLAGS,
    script::{Parameter, ParameterKind, Script},
};

/// The command of one script.
pub(super) fn script_command(script: &Script) -> Command {
    let mut doc = script.doc.splitn(2, "\n\n");
    let about = doc.next().unwrap_or_default().replace('\n', " ");
    let command = Command::new(script.name.clone()).about(about.clone());
    let command = match doc.next() {
        Some(more) => command.long_about(format!("{about}\n\n{}", flowing(more))),
        None => command,
    };
    command
        .args(script.parameters.iter().filter(|parameter| parameter.positional).map(positional))
        .args(script.parameters.iter().map(argument))
        .args(common_flags())
        .disable_help_flag(false)
}

/// The text with each paragraph on one line, for the terminal to break. Lines that are set in stay as they are.
fn flowing(text: &str) -> String {
    let paragraph =
        |text: &str| match text.lines().any(|line| line.starts_with([' ', '-', '*', '|'])) {
            true => text.to_owned(),
            false => text.replace('\n', " "),
        };
    text.split("\n\n").map(paragraph).collect::<Vec<_>>().join("\n\n")
}

/// The argument without a name.
fn positional(parameter: &Parameter) -> Arg {
    let placeholder = parameter.kind.placeholder();
    Arg::new(format!("positional {}", parameter.name)).value_name(placeholder).help(&parameter.help)
}

fn argument(parameter: &Parameter) -> Arg {
    let flag = parameter.name.replace('_', "-");
    let mut help = parameter.help.clone();
    if parameter.positional {
        help = format!("the same as {}", parameter.kind.placeholder());
    }
    if let Some(default) = &parameter.default {
        let shown = parameter.default_text.clone().unwrap_or_else(|| default.to_string());
        help.push_str(&format!(" [default: {shown}]"));
    }
    let arg = Arg::new(parameter.name.clone())
        .long(flag)
        .help(help)
        .required(parameter.required && !parameter.positional);
    match &parameter.kind {
        ParameterKind::Bool => arg.action(ArgAction::SetTrue).required(false),
        ParameterKind::List => {
            arg.action(ArgAction::Append).value_name(parameter.kind.placeholder())
        }
        ParameterKind::OneOf(choices) => arg.value_parser(choices.clone()),
        kind => arg.value_name(kind.placeholder()),
    }
}

/// The flags of every command, for help and completion. `command_words` reads these flags before
/// clap gets the words.
pub(super) fn common_flags() -> Vec<Arg> {
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
