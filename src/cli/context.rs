//! What every command needs: flags, configuration, log and notifier.

use std::{collections::BTreeMap, io::IsTerminal, sync::Arc};

use crate::{
    app,
    clock::{self, Clock as _, SystemClock},
    command_words::Flags,
    config::{Config, SystemSettings},
    diagnostic,
    error::{Error, ErrorKind, Result},
    logging::{self, Destinations},
    notify::Notifier,
    progress::Progress,
    terminal::{self, Bars},
    text::escape,
};

/// How a command logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logging {
    /// A service. The console shows messages from the configured level on.
    Serving,
    /// A short command. The console is quiet unless the user asks for more.
    Quiet,
    /// A command that shows or checks the settings, including those of the log. The log goes to the
    /// console alone, because another destination that fails must not stop the command.
    Console,
}

/// Flags, configuration, log and notifier of a command.
pub(super) struct Context {
    pub(super) flags: Flags,
    pub(super) config: Config,
    pub(super) bars: Bars,
    pub(super) notifier: Arc<Notifier>,
}

impl Context {
    /// Reads the configuration from the environment and the flags, and starts the log.
    pub(super) fn new(flags: Flags, logging: Logging) -> Result<Self> {
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
        app::recall_from_history(&config);
        let notifier = Arc::new(Notifier::new(&config, Arc::new(SystemClock))?);
        Ok(Self { flags, config, bars, notifier })
    }

    /// The progress of long work, shown on standard error if that is a terminal.
    pub(super) fn progress(&self) -> Arc<dyn Progress> {
        Arc::new(self.bars.clone())
    }

    /// Shows a remark to a person at a terminal. Programs, logs and mails don't get remarks.
    pub(super) fn remark(&self, text: &str) {
        if !self.flags.quiet && !self.flags.json && std::io::stderr().is_terminal() {
            self.bars.suspend(|| eprintln!("{}", escape(text)));
        }
    }

    /// How many columns the output may have (`None`: any), and whether it may have colours.
    pub(super) fn output(&self) -> (Option<usize>, bool) {
        (terminal::output_width(), terminal::colour_on_output())
    }

    /// Shows an error on standard error.
    ///
    /// The location in a built-in script is left out unless the script itself is wrong: the user
    /// did not write that script.
    pub(super) fn show_error(&self, error: &Error) {
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
