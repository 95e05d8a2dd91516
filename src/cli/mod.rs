//! The command line: words in, exit code out. Standard output is data, standard error is
//! conversation.

mod commands;
mod completions;
mod config;
mod crontab;
mod daemon;
mod doctor;
mod healthcheck;
mod man;
mod notify;
mod run;
mod runs;
mod scripts;
mod serve;
mod status;

use std::{collections::BTreeMap, ffi::OsString, process::ExitCode, sync::Arc};

use clap::ArgMatches;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{self, Clock as _, SystemClock},
    command_words as arguments,
    config::{Config, SystemSettings},
    demo, diagnostic,
    error::{Error, ErrorKind, Result},
    logging::{self, Destinations},
    notify::Notifier,
    progress::Progress,
    script::Library,
    terminal::{self, Bars},
    text::escape,
};
use arguments::{Flags, Words};

/// What every command gets.
pub(crate) struct Context {
    /// The flags that every command knows.
    pub(crate) flags: Flags,
    /// The configuration in force.
    pub(crate) config: Config,
    /// The bars on standard error, where there are any.
    pub(crate) bars: Bars,
    /// Tells people.
    pub(crate) notifier: Arc<Notifier>,
}

impl Context {
    /// The progress of long work, on standard error where that is a terminal.
    pub(crate) fn progress(&self) -> Arc<dyn Progress> {
        Arc::new(self.bars.clone())
    }

    /// A remark for a person who watches; a program, a log or a mail does not get it.
    pub(crate) fn remark(&self, text: &str) {
        use std::io::IsTerminal;
        if !self.flags.quiet && !self.flags.json && std::io::stderr().is_terminal() {
            self.bars.suspend(|| eprintln!("{}", escape(text)));
        }
    }

    /// How many columns output may have, whether it may be coloured.
    pub(crate) fn output(&self) -> (Option<usize>, bool) {
        (terminal::output_width(), terminal::colour_on_output())
    }

    /// Shows an error on standard error.
    ///
    /// A place in a script that came with the program says nothing to who did not write it, unless
    /// the script itself is wrong.
    pub(crate) fn show_error(&self, error: &Error) {
        let mut error = error.clone();
        let built_in =
            error.location.as_ref().is_some_and(|location| location.file.ends_with("(built in)"));
        let of_script =
            matches!(error.kind, ErrorKind::Script | ErrorKind::Limit | ErrorKind::Internal);
        if built_in && !of_script && self.flags.verbose == 0 {
            error.location = None;
        }
        let error = &error;
        self.bars.suspend(|| eprint!("{}", diagnostic::render(error, terminal::colour_on_error())));
        logging::shown(error);
    }
}

/// Does what the words behind the program's name say.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    // `--json` decides how even a wrong command line is answered, so look for it before anything
    // can fail.
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

/// A line on standard output; a reader that went away (`| head`) is no failure.
pub(crate) fn print_line(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// JSON as a program wants it: indented, for the eye that looks at it now and then.
pub(crate) fn print_json(value: &impl serde::Serialize) {
    print_line(
        &serde_json::to_string_pretty(value)
            .unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}")),
    );
}

fn dispatch(words: impl Iterator<Item = OsString>) -> Result<u8> {
    let (flags, words) = arguments::sort(words)?;
    // Help, version and completions need no configuration; a wrong variable must not keep anyone
    // from reading them.
    let words = match words {
        Words::Command(words) => {
            match commands::own(std::iter::empty()).try_get_matches_from(with_name(&words)) {
                Ok(matches) => return own_command(&matches, flags),
                Err(error) => return clap_answer(&error, &words),
            }
        }
        script => script,
    };
    let Words::Script { name, arguments } = words else {
        return Err(Error::internal("the words were sorted wrongly"));
    };
    let context = context(flags, Logging::Quiet)?;
    run::run(&context, &name, &arguments)
}

fn with_name(words: &[String]) -> impl Iterator<Item = &str> {
    std::iter::once("convoy-backups").chain(words.iter().map(String::as_str))
}

/// The scripts for a help text: it must not fail because the folder of the user's own does.
fn any_library() -> Result<Library> {
    Library::new(std::env::var_os("BKUP_SCRIPTS_DIR").map(Into::into))
        .or_else(|_| Library::new(None))
}

/// What clap has to say: help and version on standard output, errors as everywhere else.
fn clap_answer(error: &clap::Error, words: &[String]) -> Result<u8> {
    use clap::error::ErrorKind as Clap;
    match error.kind() {
        Clap::DisplayHelp
            if !words.first().is_some_and(|word| arguments::COMMANDS.contains(&word.as_str())) =>
        {
            print_line(&commands::tree(&any_library()?).render_long_help().to_string());
            Ok(0)
        }
        Clap::DisplayHelp | Clap::DisplayVersion => {
            print_line(error.to_string().trim_end());
            Ok(0)
        }
        Clap::DisplayHelpOnMissingArgumentOrSubcommand if words.is_empty() => {
            // The scripts are commands as well.
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
    let context = context(
        flags,
        match name {
            "daemon" | "serve" => Logging::Serving,
            "doctor" | "config" | "healthcheck" => Logging::Console,
            _ => Logging::Quiet,
        },
    )?;
    match name {
        "scripts" => scripts::scripts(&context, matches),
        "runs" => runs::runs(&context, matches),
        "daemon" => daemon::daemon(&context, matches),
        "demo" => {
            let folder = matches.get_one::<String>("folder").map(Into::into);
            in_runtime(
                |cancellation| async move { demo::demo(&context, folder, cancellation).await },
            )
        }
        "config" => config::config(&context),
        "crontab" => crontab::crontab(&context, matches),
        "doctor" => in_runtime(|_| async move { doctor::doctor(&context).await }),
        "serve" => serve::serve(context),
        "healthcheck" => healthcheck::healthcheck(&context, matches),
        "status" => in_runtime(|cancellation| async move {
            status::status(&context, matches, &cancellation).await
        }),
        "notify" => notify::notify(&context, matches),
        "completions" => completions::completions(&context, matches),
        "man" => man::man(matches),
        other => Err(Error::internal(format!("the command \"{other}\" has no body"))),
    }
}

/// How a command logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logging {
    /// It serves: the console shows what its level says.
    Serving,
    /// It is over soon: the console is quiet unless asked for more.
    Quiet,
    /// It looks at the settings, those of the log among them: nothing else than the console may
    /// keep it from that.
    Console,
}

/// The configuration and the log, from the environment and the flags.
fn context(flags: Flags, logging: Logging) -> Result<Context> {
    let environment: BTreeMap<_, _> = std::env::vars_os().collect();
    let system = SystemSettings::find(&environment)?;
    let (config, warnings) = Config::over(system, environment, &flags.overrides)?;
    let bars = Bars::on_error(flags.quiet || flags.json);
    let console = logging::Console {
        level: config.console_level(logging == Logging::Serving, flags.verbose, flags.quiet),
        format: config.log_format,
        colour: terminal::colour_on_error(),
        bars: bars.clone(),
    };
    let destinations = match logging {
        Logging::Console => Destinations::default(),
        Logging::Serving | Logging::Quiet => Destinations::open(&config)?,
    };
    logging::init(console, destinations, &config.host_name())?;
    for warning in warnings {
        let hint = warning.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        log::warn!("{}{hint}", warning.message);
    }
    if let Some((what, hint)) = clock::unset(SystemClock.now()) {
        log::warn!("{what} ({hint})");
    }
    let notifier = Arc::new(Notifier::new(&config, Arc::new(SystemClock))?);
    Ok(Context { flags, config, bars, notifier })
}

/// Runs this in a runtime of its own, with Ctrl-C and SIGTERM as a cancellation; what still blocks
/// after the end is left behind (the daemon goes on with what it was told, or is cleaned up after
/// at the next start).
pub(crate) fn in_runtime<F: Future<Output = Result<u8>>>(
    work: impl FnOnce(CancellationToken) -> F,
) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::io("cannot start the runtime", &error))?;
    let cancellation = CancellationToken::new();
    let code = runtime.block_on(async {
        tokio::spawn(watch_signals(cancellation.clone()));
        work(cancellation).await
    });
    runtime.shutdown_background();
    code
}

/// The first signal asks the run to end, the second ends the process.
async fn watch_signals(cancellation: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        log::warn!("cannot watch for signals: Ctrl-C ends the process at once");
        return;
    };
    for turn in 0.. {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if turn > 0 {
            logging::flush();
            std::process::exit(130);
        }
        log::warn!("ending; once more ends at once");
        cancellation.cancel();
    }
}

/// The error of a run that was ended from outside while something other than a script ran.
pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "cancelled")
}
