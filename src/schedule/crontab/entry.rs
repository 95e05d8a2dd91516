//! One line that runs a script.

use std::{collections::HashMap, ffi::OsString, sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    field::{self, Field, KINDS},
    line::{Line, Wrong},
    old_form,
    settings::Group,
    words::{self, Word},
};
use crate::{
    command_words::{self, Words},
    config::Config,
    error::{Error, Result},
    retention::Policy,
    schedule::timetable::{Fields, Pattern, Schedule},
    script::{Arguments, Effect, Library, Origin, Script, arguments::from_command_line},
    suggest::{self, did_you_mean_or},
    text::command_line,
    units::parse_duration,
};

/// A line of the crontab that runs a script, checked.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What makes it this entry, in hexadecimal: schedule, zone, script, arguments and settings. It
    /// is the same after the file was read again, wherever in it the line stands then.
    pub(crate) key: String,
    /// Its line in the file, from 1.
    pub(crate) line: usize,
    /// When it is due.
    pub(crate) schedule: Schedule,
    /// The script's name.
    pub(crate) script: String,
    /// The script's arguments, as words.
    pub(crate) arguments: Vec<String>,
    /// Read for real, write nothing.
    pub(crate) dry_run: bool,
    /// How long a run may take.
    pub(crate) timeout: Duration,
    /// Whether a run that was missed is made up for.
    pub(crate) catch_up: bool,
    /// A run starts up to this much later, at random.
    pub(crate) jitter: Duration,
    /// Whether it may back something up: its script says so, or says nothing of what it does.
    pub(crate) may_back_up: bool,
    /// Whether its script may delete what its user does not think of.
    pub(crate) may_delete: bool,
    /// What its script says that it does.
    pub(crate) does: Vec<Effect>,
    /// Whether the script only reads.
    pub(crate) read_only: bool,
    /// Whose script it is.
    pub(crate) origin: Origin,
    /// The configuration with the settings above the line.
    pub(crate) config: Arc<Config>,
}

impl Entry {
    /// The script as it is now, and what it is given: what a run needs.
    ///
    /// # Errors
    /// As [`Library::load`] and [`from_command_line`]: the script may have changed since the
    /// crontab was checked.
    pub(crate) fn load(&self) -> Result<(Script, Arguments)> {
        let script = Library::new(self.config.scripts_dir.clone())?.load(&self.script)?;
        let arguments = from_command_line(&script, &self.arguments)?;
        Ok((script, arguments))
    }

    /// The arguments as one would write them.
    pub(crate) fn arguments_text(&self) -> String {
        command_line(self.arguments.iter().map(String::as_str))
    }

    /// The entry for a program, as it stands in the crontab.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "key": self.key,
            "line": self.line,
            "schedule": self.schedule.text(),
            "time_zone": self.schedule.zone().iana_name(),
            "script": self.script,
            "arguments": self.arguments,
            "dry_run": self.dry_run,
            "timeout_seconds": self.timeout.as_secs(),
            "catch_up": self.catch_up,
            "jitter_seconds": self.jitter.as_secs(),
            "read_only": self.read_only,
            "does": self.does,
            "may_delete": self.may_delete,
            "origin": self.origin.to_string(),
        })
    }

    /// The first due time after this one.
    pub(crate) fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        self.schedule.next_after(time)
    }
}

/// The times of `@daily` and its like.
const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// The options that a line may have before its script.
const OPTIONS: [&str; 3] = ["@catchup", "@jitter", "@timeout"];

/// Schedules that were read already: many lines have the same.
pub(super) type Patterns = HashMap<String, Arc<Pattern>>;

/// Reads a line that runs a script; what is odd about it goes to `warnings`.
pub(super) fn parse(
    line: &Line<'_>,
    group: &mut Group<'_>,
    patterns: &mut Patterns,
    warnings: &mut Vec<Error>,
) -> Result<Entry> {
    let (schedule, rest) = schedule(line, patterns, &group.zone, warnings)?;
    let (options, rest) = options(line, rest)?;
    let words = words::split(line.text, rest).map_err(|wrong| line.error(wrong))?;
    let Some(first) = words.first() else {
        let wrong = Wrong::new(
            word(line.text, rest).map_or(line.text.len(), |(_, at)| at),
            "the line runs nothing",
        );
        return Err(
            line.error(wrong.hint("write a script's name behind the schedule, such as backup"))
        );
    };
    let (given, is_old) = match old_form::call(&words) {
        Some(given) => (given.map_err(|wrong| line.error(wrong))?, true),
        None => (words.clone(), false),
    };
    if let Some(word) =
        given.iter().find(|word| old_form::is_operator(word) || old_form::is_redirection(word))
    {
        let wrong = Wrong::new(
            word.at,
            format!("\"{}\" means nothing here: no shell runs the line", word.text),
        );
        return Err(line.error(wrong.hint(
            "write a script and its arguments only; put quotes around a value that has it",
        )));
    }
    let at = given.first().unwrap_or(first).at;
    let texts = given.iter().map(|word| OsString::from(&word.text));
    let (flags, sorted) = command_words::sort(texts).map_err(|error| {
        let at =
            given.iter().find(|word| error.message.contains(&word.text)).map_or(at, |word| word.at);
        line.located(error, at, None)
    })?;
    let (name, arguments) = match sorted {
        Words::Script { name, arguments } => (name, arguments),
        Words::Command(command) => {
            let name = command.first().map_or("nothing", String::as_str);
            let wrong = Wrong::new(
                at,
                format!("\"{name}\" is no script, and only scripts run from a crontab"),
            );
            return Err(line.error(
                wrong.hint("see \"convoy-backups scripts list\" for the scripts there are"),
            ));
        }
    };
    let script = group
        .script(&name)
        .map_err(|error| unknown_script(line, group, error, &given, at, &schedule))?;
    let checked = from_command_line(&script, &arguments).map_err(|error| {
        let at = place_of(&script, &arguments, &error, &given).unwrap_or(at);
        line.located(error, at, None)
    })?;
    let has_policy = script.parameters.iter().any(|one| one.name.starts_with("keep_"));
    if has_policy && script.does.contains(&Effect::Prune) && !script.may_do_more {
        // Such a script refuses a wrong policy when it runs: that must not come out at 3 a.m.
        let numbers = checked
            .values()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_i64()?)));
        Policy::of_arguments(&script.name, numbers)
            .map_err(|error| line.located(error, at, None))?;
    }
    if let Some(flag) = flags.overrides.iter().find(|flag| flag.name == "BKUP_DATA_DIR") {
        let at =
            given.iter().find(|word| word.text.starts_with(flag.flag)).map_or(at, |word| word.at);
        let wrong =
            Wrong::new(at, format!("{} is for the program as a whole, not for a line", flag.flag));
        return Err(line
            .error(wrong.hint("the locks are there: runs with another would not see each other")));
    }
    if flags.json || flags.quiet || flags.verbose > 0 {
        let is_flag =
            |word: &&Word| ["--json", "-q", "--quiet", "--verbose"].contains(&word.text.as_str());
        let at = given
            .iter()
            .find(|word| is_flag(word) || word.text.starts_with("-v"))
            .map_or(at, |word| word.at);
        let wrong = Wrong::new(at, "--json, --quiet and -v do nothing in a crontab");
        warnings.push(line.error(
            wrong.hint("the result goes into the run's record, and its log has its own levels"),
        ));
    }
    let config = group.with_flags(&flags.overrides).map_err(|error| {
        let at = flags
            .overrides
            .iter()
            .find_map(|flag| given.iter().find(|word| word.text.starts_with(flag.flag)));
        line.located(error, at.map_or(first.at, |word| word.at), None)
    })?;
    if is_old || given.first().is_some_and(|word| word.text.starts_with("--")) {
        warnings.push(line.located(
            Error::configuration("this line is in the old form"),
            first.at,
            Some(format!("write \"{}\"", new_line(&schedule, &options, &name, &arguments, &flags))),
        ));
    }
    Ok(Entry {
        key: key(&schedule, group, &given),
        line: line.number,
        schedule,
        script: name,
        arguments,
        dry_run: flags.dry_run,
        timeout: options.timeout.or(flags.timeout).unwrap_or(config.run_timeout),
        catch_up: options.catch_up.unwrap_or(config.catch_up),
        jitter: options.jitter.unwrap_or(config.jitter),
        may_back_up: !flags.dry_run && script.may(Effect::Backup),
        may_delete: script.may_delete(),
        does: script.does.clone(),
        read_only: script.read_only,
        origin: script.origin.clone(),
        config,
    })
}

/// The line's next word from this byte on, and where it begins.
fn word(text: &str, from: usize) -> Option<(&str, usize)> {
    let rest = &text[from..];
    let start = from + rest.len() - rest.trim_start_matches([' ', '\t']).len();
    let word = text[start..].split([' ', '\t']).next()?;
    (!word.is_empty()).then_some((word, start))
}

/// The schedule at the line's beginning, and where it ends.
fn schedule(
    line: &Line<'_>,
    patterns: &mut Patterns,
    zone: &TimeZone,
    warnings: &mut Vec<Error>,
) -> Result<(Schedule, usize)> {
    let mut fields: Vec<(&str, usize)> = Vec::new();
    let mut end = 0;
    while let Some((text, at)) = word(line.text, end) {
        if fields.is_empty() && text.starts_with('@') {
            let Some((name, times)) = NICKNAMES.iter().find(|(name, _)| *name == text) else {
                return Err(line.error(unknown_nickname(text, at)));
            };
            let times: Vec<(&str, usize)> = times.split(' ').map(|field| (field, at)).collect();
            let pattern = pattern(line, &times, patterns, warnings)?;
            return Ok((Schedule::new((*name).to_owned(), pattern, zone.clone()), at + text.len()));
        }
        if text.starts_with(['#', '@', '\'', '"']) || !field::looks_like_one(text) {
            break;
        }
        if fields.len() == 5 {
            // A script's name never looks like a field: there is one field too many.
            let wrong =
                Wrong::new(fields[0].1, "a schedule has five fields, and here are six or more");
            return Err(line.error(wrong.hint(
                "write minute, hour, day, month and weekday; there are no seconds and no years",
            )));
        }
        fields.push((text, at));
        end = at + text.len();
    }
    if fields.len() < 5 {
        let at = word(line.text, end).map_or(line.text.len(), |(_, at)| at);
        let message = match fields.len() {
            0 => "a line begins with a schedule".to_owned(),
            count => format!(
                "a schedule has five fields, and here {} {count}",
                if count == 1 { "is" } else { "are" }
            ),
        };
        let hint = match fields.len() {
            0 => "write minute, hour, day, month, weekday and a script: 30 2 * * * backup",
            _ => "write minute, hour, day, month and weekday; * stands for every one",
        };
        return Err(line.error(Wrong::new(at, message).hint(hint)));
    }
    let pattern = pattern(line, &fields, patterns, warnings)?;
    let text = fields.iter().map(|(text, _)| *text).collect::<Vec<_>>().join(" ");
    Ok((Schedule::new(text, pattern, zone.clone()), end))
}

fn unknown_nickname(text: &str, at: usize) -> Wrong {
    if text == "@reboot" {
        return Wrong::new(at, "\"@reboot\" is not supported").hint(
            "what was missed while the program was down is made up for at its start; to run a script at each start, call \
             \"convoy-backups NAME\" before \"convoy-backups serve\"",
        );
    }
    let names: Vec<&str> = NICKNAMES.iter().map(|(name, _)| *name).collect();
    let hint = match OPTIONS.iter().any(|option| text.starts_with(option)) {
        true => "options stand behind the schedule: 0 * * * * @catchup=off snapshot".to_owned(),
        false => {
            did_you_mean_or(text, names.iter().copied(), &format!("there are {}", names.join(", ")))
        }
    };
    Wrong::new(at, format!("\"{}\" is not a schedule", crate::text::cut(text, 40))).hint(hint)
}

fn pattern(
    line: &Line<'_>,
    texts: &[(&str, usize)],
    patterns: &mut Patterns,
    warnings: &mut Vec<Error>,
) -> Result<Arc<Pattern>> {
    let mut parsed: Vec<Field> = Vec::with_capacity(5);
    for (kind, (text, at)) in KINDS.iter().zip(texts) {
        let (field, odd) =
            field::parse(kind, text).map_err(|wrong| line.error(wrong.shifted(*at)))?;
        warnings.extend(odd.map(|odd| line.error(odd.shifted(*at))));
        parsed.push(field);
    }
    let [minutes, hours, days, months, weekdays] = parsed[..] else {
        return Err(Error::internal("a schedule has five fields"));
    };
    let fields = Fields { minutes, hours, days, months, weekdays };
    let text = texts.iter().map(|(text, _)| *text).collect::<Vec<_>>().join(" ");
    if !fields.can_be_due() {
        let wrong = Wrong::new(
            texts[2].1,
            format!("\"{text}\" is never due: no such month has such a day"),
        );
        return Err(
            line.error(wrong.hint("take another day of the month: the 28th is in every month"))
        );
    }
    if let Some(known) = patterns.get(&text) {
        return Ok(known.clone());
    }
    let pattern = Arc::new(Pattern::new(&fields)?);
    patterns.insert(text, pattern.clone());
    Ok(pattern)
}

/// What a line says before its script.
#[derive(Debug, Default)]
struct LineOptions {
    catch_up: Option<bool>,
    jitter: Option<Duration>,
    timeout: Option<Duration>,
    /// As they were written.
    texts: Vec<String>,
}

fn options(line: &Line<'_>, from: usize) -> Result<(LineOptions, usize)> {
    let (mut options, mut end) = (LineOptions::default(), from);
    while let Some((text, at)) = word(line.text, end).filter(|(text, _)| text.starts_with('@')) {
        end = at + text.len();
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let value_at = (at + name.len() + 1).min(end);
        let duration =
            || parse_duration(value).map_err(|error| line.located(error, value_at, None));
        match name {
            "@catchup" => {
                options.catch_up = Some(match value {
                    "on" | "true" | "yes" | "1" => true,
                    "off" | "false" | "no" | "0" => false,
                    _ => {
                        let wrong =
                            Wrong::new(value_at, format!("\"{value}\" is neither on nor off"));
                        return Err(line.error(wrong.hint("write @catchup=off or @catchup=on")));
                    }
                });
            }
            "@jitter" => options.jitter = Some(duration()?),
            "@timeout" => {
                let timeout = duration()?;
                if timeout.is_zero() {
                    let wrong = Wrong::new(value_at, "a run with no time at all can't do anything");
                    return Err(line.error(wrong.hint("write @timeout=2h, or leave it out")));
                }
                options.timeout = Some(timeout);
            }
            _ => {
                let otherwise = "a line's options are @catchup=off, @jitter=30s and @timeout=2h";
                let hint = did_you_mean_or(name, OPTIONS, otherwise);
                return Err(line.error(
                    Wrong::new(at, format!("\"{name}\" is not an option of a line")).hint(hint),
                ));
            }
        }
        options.texts.push(text.to_owned());
    }
    Ok((options, end))
}

fn unknown_script(
    line: &Line<'_>,
    group: &mut Group<'_>,
    mut error: Error,
    given: &[Word],
    at: usize,
    schedule: &Schedule,
) -> Error {
    if error.location.is_some() {
        // The script itself is broken: its own place says more than the line's, so that goes into
        // the message.
        error = error.context("the script can't be used");
        if let Some(place) = error.location.take() {
            error.message += &format!(" (at {}:{}:{})", place.file, place.line, place.column);
        }
        return line.located(error, at, None);
    }
    // `root backup --volume vol1`: /etc/crontab has a field that we have not.
    let hint = given.get(1).filter(|second| group.script(&second.text).is_ok()).map(|_| {
        let rest = command_line(given[1..].iter().map(|word| word.text.as_str()));
        format!("this crontab has no field for a user: write \"{} {rest}\"", schedule.text())
    });
    line.located(error, at, hint)
}

/// The word that an error of the arguments is about: with fewer words, the error is another one.
/// None where no word is wrong but one is missing.
fn place_of(script: &Script, arguments: &[String], error: &Error, given: &[Word]) -> Option<usize> {
    let same = |count: &usize| {
        from_command_line(script, &arguments[..*count])
            .is_err_and(|other| other.message == error.message)
    };
    let index = (0..=arguments.len().min(64)).find(same)?.checked_sub(1)?;
    // It may be the value, or the option in front of it; what it is named by stands in the message,
    // in some spelling.
    let message = suggest::fold(&error.message);
    let named = |index: &usize| {
        let word = arguments[*index].split('=').next().unwrap_or_default();
        !word.is_empty() && message.contains(&suggest::fold(word))
    };
    let index = [Some(index), index.checked_sub(1)].into_iter().flatten().find(named)?;
    // Flags of the program stand among the words, and not among the arguments.
    let mut words = given.iter();
    arguments[..=index]
        .iter()
        .map(|argument| words.find(|word| word.text == *argument))
        .last()
        .flatten()
        .map(|w| w.at)
}

fn new_line(
    schedule: &Schedule,
    options: &LineOptions,
    name: &str,
    arguments: &[String],
    flags: &command_words::Flags,
) -> String {
    let mut words: Vec<String> = vec![schedule.text().to_owned()];
    words.extend(options.texts.iter().cloned());
    words.push(name.to_owned());
    words.extend(arguments.iter().map(|argument| command_line([argument.as_str()])));
    words.extend(
        flags
            .overrides
            .iter()
            .map(|flag| format!("{} {}", flag.flag, command_line([flag.value.as_str()]))),
    );
    if flags.dry_run {
        words.push("--dry-run".to_owned());
    }
    if let Some(timeout) = flags.timeout {
        words.push(format!("--timeout {}s", timeout.as_secs()));
    }
    words.join(" ")
}

fn key(schedule: &Schedule, group: &Group<'_>, given: &[Word]) -> String {
    let mut digest = Sha256::new();
    let mut add = |text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text.as_bytes());
    };
    add(schedule.text());
    add(group.zone_name.as_deref().unwrap_or_default());
    given.iter().for_each(|word| add(&word.text));
    add("");
    for (name, value) in group.identity() {
        add(name);
        add(value);
    }
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
