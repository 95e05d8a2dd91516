//! The settings in force for a line: those of the program, overridden by the assignments above the
//! line.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    sync::Arc,
};

use jiff::tz::TimeZone;

use super::{
    assignment::{Assignment, setting},
    line::{CrontabLine, LineError},
    surroundings::Surroundings,
};
use crate::{
    config::{Config, DaemonChoice, Override, SETTINGS, Setting},
    error::{Error, Result},
    script::{Library, Script},
    suggest::{did_you_mean_or, nearest},
};

/// Settings of the program as a whole, which a crontab can't change.
const OF_THE_PROGRAM: [&str; 7] = [
    "BKUP_DATA_DIR",
    "BKUP_CRONTAB",
    "BKUP_MAX_CONCURRENT",
    "BKUP_SHUTDOWN_GRACE",
    "BKUP_DEFAULTS",
    "BKUP_S3_ACCESS_KEY_ID",
    "BKUP_S3_SECRET_ACCESS_KEY",
];
const OF_THE_PROGRAM_PREFIXES: [&str; 2] = ["BKUP_LOGGER_", "BKUP_API_"];

/// The settings in force for the lines that follow. They may have secrets, so the type has no
/// `Debug`.
pub(super) struct LineSettings<'a> {
    surroundings: &'a Surroundings,
    /// The assignments so far, by the name of the setting.
    given: BTreeMap<String, String>,
    pub(super) config: Arc<Config>,
    library: Result<Library>,
    scripts: HashMap<String, Result<Arc<Script>>>,
    pub(super) zone: TimeZone,
    /// The zone's name, if `CRON_TZ` gave one.
    pub(super) zone_name: Option<String>,
}

impl<'a> LineSettings<'a> {
    pub(super) fn new(surroundings: &'a Surroundings) -> Self {
        Self {
            surroundings,
            given: BTreeMap::new(),
            config: surroundings.config.clone(),
            library: Library::new(surroundings.config.scripts_dir.clone()),
            scripts: HashMap::new(),
            zone: surroundings.zone.clone(),
            zone_name: None,
        }
    }

    /// Takes a line's assignment. Returns a warning if the assignment has no effect.
    pub(super) fn assign(
        &mut self,
        line: &CrontabLine<'_>,
        assigned: &Assignment<'_>,
    ) -> Result<Option<Error>> {
        let Assignment { name, value, name_at, value_at } = *assigned;
        let nothing = |hint: &str| {
            let wrong = LineError::new(name_at, format!("{name} does nothing here")).hint(hint);
            Ok(Some(line.error(wrong)))
        };
        match name {
            "CRON_TZ" => self
                .set_zone(value)
                .map(|()| None)
                .map_err(|wrong| line.error(wrong.shifted(value_at))),
            "TZ" => nothing("write CRON_TZ for the zone of the lines below"),
            "MAILTO" => nothing("mail goes to BKUP_EMAIL_TO"),
            "SHELL" | "PATH" | "HOME" | "LOGNAME" | "USER" | "MAILFROM" | "LANG" | "LC_ALL" => {
                nothing("no shell and no other program runs the lines; the line can go")
            }
            _ if !name.starts_with("BKUP_") => {
                nothing("only CRON_TZ and BKUP_ settings mean something to this program")
            }
            _ => self.set(line, assigned),
        }
    }

    fn set_zone(&mut self, name: &str) -> Result<(), LineError> {
        if name.is_empty() {
            (self.zone, self.zone_name) = (self.surroundings.zone.clone(), None);
            return Ok(());
        }
        self.zone = TimeZone::get(name).map_err(|_| {
            let names: Vec<String> =
                jiff::tz::db().available().map(|name| name.to_string()).collect();
            let otherwise = match names.is_empty() {
                true => "this machine has no time zones: install its package \"tzdata\"",
                false => "write a name of the time zone database, such as Europe/Berlin or UTC",
            };
            // "Berlin" and "europe/berlin" mean Europe/Berlin, as the misspelt "Europe/Berln" does.
            let city = names.iter().find(|known| {
                known.rsplit('/').next().is_some_and(|c| c.eq_ignore_ascii_case(name))
            });
            let hint = match city {
                Some(city) => format!("did you mean \"{city}\"?"),
                None => did_you_mean_or(name, names.iter().map(String::as_str), otherwise),
            };
            LineError::new(0, format!("there is no time zone \"{}\"", crate::text::cut(name, 60)))
                .hint(hint)
        })?;
        self.zone_name = Some(name.to_owned());
        Ok(())
    }

    fn set(&mut self, line: &CrontabLine<'_>, assigned: &Assignment<'_>) -> Result<Option<Error>> {
        let Assignment { name, value, name_at, value_at } = *assigned;
        let Some(setting) = setting(name) else {
            let rests = SETTINGS.iter().filter_map(|setting| setting.name.strip_prefix("BKUP_"));
            let hint = nearest(name.trim_start_matches("BKUP_"), rests).map_or_else(
                || "see \"convoy-backups config\" for all settings".to_owned(),
                |rest| format!("did you mean \"BKUP_{rest}\"?"),
            );
            return Err(line.error(
                LineError::new(name_at, format!("\"{name}\" is not a setting")).hint(hint),
            ));
        };
        if OF_THE_PROGRAM.contains(&setting.name)
            || OF_THE_PROGRAM_PREFIXES.iter().any(|prefix| setting.name.starts_with(prefix))
        {
            let message =
                format!("{name} is a setting of the program as a whole: it does nothing here");
            let wrong =
                LineError::new(name_at, message).hint("set it in the program's environment");
            return Ok(Some(line.error(wrong)));
        }
        let mut given = self.given.clone();
        given
            .retain(|there, _| there != setting.name && *there != format!("{}_FILE", setting.name));
        given.insert(name.to_owned(), value.to_owned());
        let config = configure(self.surroundings, &given, &[]).map_err(|error| {
            // In crontab(5), a comment behind a value is part of the value.
            let hint = value.contains(" #").then(|| {
                "a comment behind a value is a part of it: put it on a line of its own".to_owned()
            });
            line.located(error, value_at, hint)
        })?;
        if needs_another_daemon(&config, &self.surroundings.config) {
            let message = format!(
                "{name} would do nothing here: the built-in daemon is one for all lines, with the program's"
            );
            let wrong = LineError::new(name_at, message).hint(
                "set it in the program's environment, or give these lines a daemon of their own above (BKUP_CONVOY=builtin:/folder)",
            );
            return Err(line.error(wrong));
        }
        if config.scripts_dir != self.config.scripts_dir {
            let library = Library::new(config.scripts_dir.clone())
                .map_err(|error| line.located(error, value_at, None))?;
            self.library = Ok(library);
            self.scripts.clear();
        }
        self.config = Arc::new(config);
        self.given = given;
        Ok(None)
    }

    /// The configuration of a line with flags.
    pub(super) fn with_flags(&self, flags: &[Override]) -> Result<Arc<Config>> {
        if flags.is_empty() {
            return Ok(self.config.clone());
        }
        configure(self.surroundings, &self.given, flags).map(Arc::new)
    }

    /// The settings that are part of an entry's key. Secrets are left out.
    pub(super) fn identity(&self) -> impl Iterator<Item = (&str, &str)> {
        let public = |name: &str| !setting(name).is_some_and(Setting::is_secret);
        let given = self.given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        given.filter(move |(name, _)| public(name))
    }

    /// Loads a script by its name. Each script is loaded once.
    pub(super) fn script(&mut self, name: &str) -> Result<Arc<Script>> {
        if let Some(known) = self.scripts.get(name) {
            return known.clone();
        }
        let found = self
            .library
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|library| library.load(name))
            .map(Arc::new);
        self.scripts.insert(name.to_owned(), found.clone());
        found
    }
}

/// Whether lines with this configuration need the program's own built-in daemon with other settings
/// than the program's.
fn needs_another_daemon(config: &Config, program: &Config) -> bool {
    let password = |config: &Config| {
        config.repository_password.as_ref().map(|password| password.expose().to_owned())
    };
    let daemon = config.daemon().choice;
    matches!(daemon, DaemonChoice::Builtin(_))
        && daemon == program.daemon().choice
        && (config.s3_endpoint != program.s3_endpoint || password(config) != password(program))
}

/// The configuration with these assignments over the environment, and these flags over both.
fn configure(
    surroundings: &Surroundings,
    given: &BTreeMap<String, String>,
    flags: &[Override],
) -> Result<Config> {
    let is_replaced = |name: &OsString| {
        let name = name.to_string_lossy();
        let base = name.strip_suffix("_FILE").unwrap_or(&name);
        given.contains_key(base) || given.contains_key(&format!("{base}_FILE"))
    };
    let environment =
        surroundings.environment.iter().filter(|(name, _)| !is_replaced(name)).cloned();
    let settings = given.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let overrides: Vec<Override> = surroundings.overrides.iter().chain(flags).cloned().collect();
    Ok(Config::over(surroundings.config.system.clone(), environment.chain(settings), &overrides)?.0)
}
