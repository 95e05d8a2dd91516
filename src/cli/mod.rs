//! The command line: words in, exit code out. Standard output is data, standard error is
//! conversation.
//!
//! Each command is one file with its clap command and its function. `commands` has their tree.

mod commands;
mod completions;
mod config;
mod context;
mod crontab;
mod daemon;
mod demo;
mod doctor;
mod healthcheck;
mod inside;
mod man;
mod notify;
mod print;
mod restored;
mod run;
mod runs;
mod runtime;
mod script_command;
mod scripts;
mod serve;
mod status;

use std::{ffi::OsString, process::ExitCode};

use clap::ArgMatches;

use self::{
    context::{Context, Logging},
    print::print_line,
    runtime::in_runtime,
};
use crate::{
    app,
    command_words::{self, Flags, Words},
    diagnostic,
    error::{Error, Result},
    logging,
    script::Library,
    terminal,
};

/// Runs the command that the words behind the program's name say.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    // `--json` decides how even the error of a wrong command line is shown. So it is read before
    // anything can fail.
    let words: Vec<_> = words.collect();
    let json = words.iter().any(|word| word == "--json");
    let code = match dispatch(words.into_iter()) {
        Ok(code) => code,
        Err(error) => {
            report(&error, json);
            error.exit_code()
        }
    };
    logging::flush();
    ExitCode::from(code)
}

/// Shows an error: to a person on standard error, to a program as `{"error": ..}` on standard
/// output.
fn report(error: &Error, json: bool) {
    if json {
        print_line(&serde_json::json!({ "error": diagnostic::to_json(error) }).to_string());
    }
    eprint!("{}", diagnostic::render(error, terminal::colour_on_error()));
    logging::shown(error);
}

fn dispatch(words: impl Iterator<Item = OsString>) -> Result<u8> {
    let (flags, words) = command_words::sort(words)?;
    // Help, version and completions need no configuration: they must work with a wrong variable,
    // too.
    let words = match words {
        Words::Command(words) => match commands::own().try_get_matches_from(with_name(&words)) {
            Ok(matches) => return own_command(&matches, flags),
            Err(error) => return clap_answer(&error, &words),
        },
        script => script,
    };
    let Words::Script { name, arguments } = words else {
        return Err(Error::internal("the words were sorted wrongly"));
    };
    let context = Context::new(flags, Logging::Quiet)?;
    run::run(&context, &name, &arguments)
}

fn with_name(words: &[String]) -> impl Iterator<Item = &str> {
    std::iter::once("convoy-backups").chain(words.iter().map(String::as_str))
}

/// The scripts for a help text. If the user's folder can't be read, the built-in scripts alone:
/// help must not fail.
fn any_library() -> Result<Library> {
    Library::new(std::env::var_os("BKUP_SCRIPTS_DIR").map(Into::into))
        .or_else(|_| Library::new(None))
}

/// Shows clap's answer: help and version on standard output, errors like all other errors.
fn clap_answer(error: &clap::Error, words: &[String]) -> Result<u8> {
    use clap::error::ErrorKind as Clap;
    match error.kind() {
        Clap::DisplayHelp
            if !words
                .first()
                .is_some_and(|word| command_words::COMMANDS.contains(&word.as_str())) =>
        {
            print_line(&commands::tree(&any_library()?).render_long_help().to_string());
            Ok(0)
        }
        Clap::DisplayHelp | Clap::DisplayVersion => {
            print_line(error.to_string().trim_end());
            Ok(0)
        }
        Clap::DisplayHelpOnMissingArgumentOrSubcommand if words.is_empty() => {
            // Scripts are commands as well, so clap's own list is not enough.
            eprintln!("{}", commands::tree(&any_library()?).render_help());
            Ok(2)
        }
        Clap::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{error}");
            Ok(2)
        }
        _ => {
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let message = text.split("\n\n").next().unwrap_or(text).replace('\n', " ");
            Err(Error::usage(message).with_hint("see \"convoy-backups --help\""))
        }
    }
}

fn own_command(matches: &ArgMatches, flags: Flags) -> Result<u8> {
    let Some((name, matches)) = matches.subcommand() else {
        return Err(Error::internal("clap found no command"));
    };
    if flags.dry_run && matches!(name, "demo" | "daemon" | "serve") {
        return Err(Error::usage(format!("\"{name}\" has no dry run"))
            .with_hint("scripts have one, and a crontab's lines: write --dry-run behind them"));
    }
    let context = Context::new(
        flags,
        match name {
            "daemon" if matches.subcommand().is_some() => Logging::Quiet,
            "daemon" | "serve" => Logging::Serving,
            "doctor" | "config" | "healthcheck" => Logging::Console,
            _ => Logging::Quiet,
        },
    )?;
    match name {
        "scripts" => scripts::scripts(&context, matches),
        "runs" => runs::runs(&context, matches),
        "daemon" => daemon::daemon(&context, matches),
        "demo" => demo::demo(&context, matches),
        "config" => config::config(&context),
        "crontab" => crontab::crontab(&context, matches),
        "doctor" => in_runtime(|_| async move { doctor::doctor(&context).await }),
        "serve" => serve::serve(context),
        "healthcheck" => healthcheck::healthcheck(&context, matches),
        "status" => in_runtime(|cancellation| async move {
            status::status(&context, matches, &cancellation).await
        }),
        "ls" => in_runtime(|it| async move { inside::ls(&context, matches, &it).await }),
        "find" => in_runtime(|it| async move { inside::find(&context, matches, &it).await }),
        "cat" => in_runtime(|it| async move { inside::cat(&context, matches, &it).await }),
        "diff" => in_runtime(|it| async move { inside::diff(&context, matches, &it).await }),
        "dump" => in_runtime(|it| async move { inside::dump(&context, matches, &it).await }),
        "notify" => notify::notify(&context, matches),
        "completions" => {
            let tree = commands::tree(&app::library(&context.config)?);
            completions::completions(tree, matches)
        }
        "man" => man::man(commands::tree(&Library::new(None)?), matches),
        other => Err(Error::internal(format!("the command \"{other}\" has no body"))),
    }
}
