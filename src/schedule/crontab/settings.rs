//! `NAME=value` lines: `CRON_TZ`, and `BKUP_*` for the lines below.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    sync::Arc,
};

use jiff::tz::TimeZone;

use super::{
    Surroundings,
    line::{Line, Wrong},
};
use crate::{
    config::{Config, DaemonChoice, Override, SETTINGS, Setting},
    error::{Error, Result},
    script::{Library, Script},
    suggest::{did_you_mean_or, nearest},
};

/// Settings of the program as a whole: a line of the crontab can't have its own.
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

/// A `NAME=value` line. It may hold a secret, so it can't be printed.
pub(super) struct Assignment<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) name_at: usize,
    pub(super) value_at: usize,
}

/// What the line assigns, if it is such a line. As in crontab(5) blanks may stand around `=`, and
/// quotes around name or value.
pub(super) fn assignment(line: &str) -> Option<Assignment<'_>> {
    let start = line.len() - line.trim_start().len();
    let (left, right) = line.split_once('=')?;
    let (name, name_offset) = unquoted(left.trim());
    let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if !is_name {
        return None;
    }
    let (value, value_offset) = unquoted(right.trim());
    let value_at = left.len() + 1 + (right.len() - right.trim_start().len()) + value_offset;
    Some(Assignment { name, value, name_at: start + name_offset, value_at })
}

fn unquoted(text: &str) -> (&str, usize) {
    let inside = |quote| text.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).map_or((text, 0), |inner| (inner, 1))
}

fn setting(name: &str) -> Option<&'static Setting> {
    let find = |name: &str| SETTINGS.iter().find(|setting| setting.name == name);
    find(name).or_else(|| find(name.strip_suffix("_FILE")?))
}

/// The line as it may be shown: the value of what is secret (or may be, by its name) is hidden.
pub(crate) fn without_secrets(line: &str) -> Cow<'_, str> {
    let Some(assigned) = assignment(line) else { return Cow::Borrowed(line) };
    let by_name = ["PASS", "SECRET", "TOKEN", "KEY"]
        .iter()
        .any(|word| assigned.name.to_uppercase().contains(word));
    let is_secret = match setting(assigned.name) {
        Some(setting) => setting.is_secret() && setting.name == assigned.name,
        // Misspelt, it may have been meant as one that is.
        None => by_name || assigned.name.starts_with("BKUP_"),
    };
    if assigned.value.is_empty() || !is_secret {
        return Cow::Borrowed(line);
    }
    Cow::Owned(format!("{}(secret)", &line[..assigned.value_at]))
}

/// What holds for the lines that follow. There may be secrets in it, so it can't be printed.
pub(super) struct Group<'a> {
    surroundings: &'a Surroundings,
    /// The settings given so far.
    given: BTreeMap<String, String>,
    pub(super) config: Arc<Config>,
    library: Result<Library>,
    scripts: HashMap<String, Result<Arc<Script>>>,
    pub(super) zone: TimeZone,
    /// The zone's name, where one was given.
    pub(super) zone_name: Option<String>,
}

impl<'a> Group<'a> {
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

    /// Takes a line's assignment; what is odd about it without being wrong comes back.
    pub(super) fn assign(
        &mut self,
        line: &Line<'_>,
        assigned: &Assignment<'_>,
    ) -> Result<Option<Error>> {
        let Assignment { name, value, name_at, value_at } = *assigned;
        let nothing = |hint: &str| {
            let wrong = Wrong::new(name_at, format!("{name} does nothing here")).hint(hint);
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

    fn set_zone(&mut self, name: &str) -> Result<(), Wrong> {
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
            // "Berlin" and "europe/berlin" are meant just as "Europe/Berln" is.
            let city = names.iter().find(|known| {
                known.rsplit('/').next().is_some_and(|c| c.eq_ignore_ascii_case(name))
            });
            let hint = match city {
                Some(city) => format!("did you mean \"{city}\"?"),
                None => did_you_mean_or(name, names.iter().map(String::as_str), otherwise),
            };
            Wrong::new(0, format!("there is no time zone \"{}\"", crate::text::cut(name, 60)))
                .hint(hint)
        })?;
        self.zone_name = Some(name.to_owned());
        Ok(())
    }

    fn set(&mut self, line: &Line<'_>, assigned: &Assignment<'_>) -> Result<Option<Error>> {
        let Assignment { name, value, name_at, value_at } = *assigned;
        let Some(setting) = setting(name) else {
            let rests = SETTINGS.iter().filter_map(|setting| setting.name.strip_prefix("BKUP_"));
            let hint = nearest(name.trim_start_matches("BKUP_"), rests).map_or_else(
                || "see \"convoy-backups config\" for all settings".to_owned(),
                |rest| format!("did you mean \"BKUP_{rest}\"?"),
            );
            return Err(
                line.error(Wrong::new(name_at, format!("\"{name}\" is not a setting")).hint(hint))
            );
        };
        if OF_THE_PROGRAM.contains(&setting.name)
            || OF_THE_PROGRAM_PREFIXES.iter().any(|prefix| setting.name.starts_with(prefix))
        {
            let message =
                format!("{name} is a setting of the program as a whole: it does nothing here");
            let wrong = Wrong::new(name_at, message).hint("set it in the program's environment");
            return Ok(Some(line.error(wrong)));
        }
        let mut given = self.given.clone();
        given
            .retain(|there, _| there != setting.name && *there != format!("{}_FILE", setting.name));
        given.insert(name.to_owned(), value.to_owned());
        let config = configure(self.surroundings, &given, &[]).map_err(|error| {
            // In crontab(5) a comment behind a value is a part of the value.
            let hint = value.contains(" #").then(|| {
                "a comment behind a value is a part of it: put it on a line of its own".to_owned()
            });
            line.located(error, value_at, hint)
        })?;
        if needs_another_daemon(&config, &self.surroundings.config) {
            let message = format!(
                "{name} would do nothing here: the built-in daemon is one for all lines, with the program's"
            );
            let wrong = Wrong::new(name_at, message).hint(
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

    /// The configuration of a line that has flags of its own.
    pub(super) fn with_flags(&self, flags: &[Override]) -> Result<Arc<Config>> {
        if flags.is_empty() {
            return Ok(self.config.clone());
        }
        configure(self.surroundings, &self.given, flags).map(Arc::new)
    }

    /// The settings that make a line another one when they change, secrets left out.
    pub(super) fn identity(&self) -> impl Iterator<Item = (&str, &str)> {
        let public = |name: &str| !setting(name).is_some_and(Setting::is_secret);
        let given = self.given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        given.filter(move |(name, _)| public(name))
    }

    /// A script by its name; each is looked up once.
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

/// The program's configuration with these settings over its environment, and these flags over all.
/// Whether lines with this configuration want other settings of the very built-in daemon that the
/// program itself has.
fn needs_another_daemon(config: &Config, program: &Config) -> bool {
    let password = |config: &Config| {
        config.repository_password.as_ref().map(|password| password.expose().to_owned())
    };
    let daemon = config.daemon().0;
    matches!(daemon, DaemonChoice::Builtin(_))
        && daemon == program.daemon().0
        && (config.s3_endpoint != program.s3_endpoint || password(config) != password(program))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_as_crontab_5_reads_them() {
        for (line, name, value, value_at) in [
            ("CRON_TZ=Europe/Berlin", "CRON_TZ", "Europe/Berlin", 8),
            ("  BKUP_HOST = ' a b ' ", "BKUP_HOST", " a b ", 15),
            ("\"X\"=\"y\"", "X", "y", 5),
            ("X=", "X", "", 2),
            ("X=a=b # c", "X", "a=b # c", 2),
        ] {
            let assigned = assignment(line).unwrap();
            assert_eq!(
                (assigned.name, assigned.value, assigned.value_at),
                (name, value, value_at),
                "{line}"
            );
        }
        for line in ["* * * * * backup --volume=vol1", "@daily backup --x=y", "0=1", "=x", "a b=c"]
        {
            assert!(assignment(line).is_none(), "{line}");
        }
    }

    #[test]
    fn secrets_are_hidden_wherever_a_line_is_shown() {
        for (line, shown) in [
            ("BKUP_EMAIL_SMTP_PASS=hush", "BKUP_EMAIL_SMTP_PASS=(secret)"),
            (" BKUP_EMAIL_SMTP_PAS = 'hush'", " BKUP_EMAIL_SMTP_PAS = '(secret)"),
            (
                "BKUP_EMAIL_SMTP_PASS_FILE=/run/secrets/x",
                "BKUP_EMAIL_SMTP_PASS_FILE=/run/secrets/x",
            ),
            ("AWS_SECRET_ACCESS_KEY=hush", "AWS_SECRET_ACCESS_KEY=(secret)"),
            ("BKUP_WEBHOOK_URL=https://hush", "BKUP_WEBHOOK_URL=(secret)"),
            (
                "BKUP_EMAIL_SMTP_PASS_FILE=/run/secrets/x",
                "BKUP_EMAIL_SMTP_PASS_FILE=/run/secrets/x",
            ),
            ("BKUP_HOST=here", "BKUP_HOST=here"),
        ] {
            assert_eq!(without_secrets(line), shown);
        }
    }
}
