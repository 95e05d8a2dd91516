//! Reads a line that runs a script.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    call::Call,
    line::CrontabLine,
    options::{LineOptions, options},
    schedule::{Patterns, schedule},
    settings::LineSettings,
    words::Word,
};
use crate::{
    command_words::Flags,
    config::Config,
    error::{Error, Result},
    retention::Policy,
    schedule::timetable::Schedule,
    script::{Arguments, Effect, Library, Origin, Script, arguments::from_command_line},
    suggest,
    text::command_line,
};

/// A line of the crontab that runs a script, checked.
#[derive(Debug)]
pub(crate) struct CrontabEntry {
    /// Identifies the entry: a hash of schedule, zone, script, arguments and settings, in
    /// hexadecimal. It does not depend on the line's place in the file.
    pub(crate) key: String,
    /// The line's number in the file, from 1.
    pub(crate) line: usize,
    pub(crate) schedule: Schedule,
    /// The script's name.
    pub(crate) script: String,
    /// The script's arguments, as the words of the line.
    pub(crate) arguments: Vec<String>,
    /// Runs read for real and write nothing.
    pub(crate) dry_run: bool,
    /// The longest time that a run may take.
    pub(crate) timeout: Duration,
    /// A missed tick is made up for.
    pub(crate) catch_up: bool,
    /// The longest random delay before a run starts.
    pub(crate) jitter: Duration,
    /// The script may make backups: it declares so, or declares no effects.
    pub(crate) may_back_up: bool,
    /// The script may delete something that its user does not expect.
    pub(crate) may_delete: bool,
    /// The effects that the script declares in `DOES`.
    pub(crate) does: Vec<Effect>,
    /// The script declares `READ_ONLY`.
    pub(crate) read_only: bool,
    /// Where the script comes from.
    pub(crate) origin: Origin,
    /// The configuration with the settings above the line.
    pub(crate) config: Arc<Config>,
}

impl CrontabEntry {
    /// Loads the script as it is now, and checks the arguments against it.
    ///
    /// # Errors
    /// As [`Library::load`] and [`from_command_line`]: the script may have changed since the
    /// crontab was checked.
    pub(crate) fn load(&self) -> Result<(Script, Arguments)> {
        let script = Library::new(self.config.scripts_dir.clone())?.load(&self.script)?;
        let arguments = from_command_line(&script, &self.arguments)?;
        Ok((script, arguments))
    }

    /// The arguments as a person would write them, with quotes where needed.
    pub(crate) fn arguments_text(&self) -> String {
        command_line(self.arguments.iter().map(String::as_str))
    }

    /// The entry as JSON, with the values of the line.
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

    /// The first due time after `time`.
    pub(crate) fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        self.schedule.next_after(time)
    }
}

/// Reads a line that runs a script. Warnings are added to `warnings`.
pub(super) fn parse(
    line: &CrontabLine<'_>,
    settings: &mut LineSettings<'_>,
    patterns: &mut Patterns,
    warnings: &mut Vec<Error>,
) -> Result<CrontabEntry> {
    let (schedule, rest) = schedule(line, patterns, &settings.zone, warnings)?;
    let (options, rest) = options(line, rest)?;
    let call = Call::read(line, rest)?;
    let (flags, name, arguments) = call.sort(line)?;
    let script = settings
        .script(&name)
        .map_err(|error| unknown_script(line, settings, error, &call.words, call.at, &schedule))?;
    let checked = from_command_line(&script, &arguments).map_err(|error| {
        let at = place_of(&script, &arguments, &error, &call.words).unwrap_or(call.at);
        line.located(error, at, None)
    })?;
    let has_policy = script.parameters.iter().any(|one| one.name.starts_with("keep_"));
    if has_policy && script.does.contains(&Effect::Prune) && !script.may_do_more {
        // The script refuses a wrong policy only when it runs. The crontab's check must find it,
        // not the run at 3 a.m.
        let numbers = checked
            .values()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_i64()?)));
        Policy::of_arguments(&script.name, numbers)
            .map_err(|error| line.located(error, call.at, None))?;
    }
    warnings.extend(call.check_flags(line, &flags)?);
    let config = settings
        .with_flags(&flags.overrides)
        .map_err(|error| line.located(error, call.at_override(&flags.overrides), None))?;
    if call.is_old_form() {
        warnings.push(line.located(
            Error::configuration("this line is in the old form"),
            call.line_at,
            Some(format!("write \"{}\"", new_line(&schedule, &options, &name, &arguments, &flags))),
        ));
    }
    Ok(CrontabEntry {
        key: key(&schedule, settings, &call.words),
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

fn unknown_script(
    line: &CrontabLine<'_>,
    settings: &mut LineSettings<'_>,
    mut error: Error,
    given: &[Word],
    at: usize,
    schedule: &Schedule,
) -> Error {
    if error.location.is_some() {
        // The script itself is broken. The location in the script says more than the line of the
        // crontab, so the message gets it.
        error = error.context("the script can't be used");
        if let Some(place) = error.location.take() {
            error.message += &format!(" (at {}:{}:{})", place.file, place.line, place.column);
        }
        return line.located(error, at, None);
    }
    // `root backup --volume vol1`: /etc/crontab has a field for a user, this crontab has none.
    let hint = given.get(1).filter(|second| settings.script(&second.text).is_ok()).map(|_| {
        let rest = command_line(given[1..].iter().map(|word| word.text.as_str()));
        format!("this crontab has no field for a user: write \"{} {rest}\"", schedule.text())
    });
    line.located(error, at, hint)
}

/// Finds the word that an error of the arguments is about: without this word and those behind it,
/// the error is a different one. `None`: no word is wrong, but one is missing.
fn place_of(script: &Script, arguments: &[String], error: &Error, given: &[Word]) -> Option<usize> {
    let same = |count: &usize| {
        from_command_line(script, &arguments[..*count])
            .is_err_and(|other| other.message == error.message)
    };
    let index = (0..=arguments.len().min(64)).find(same)?.checked_sub(1)?;
    // The wrong word may be the value or the option in front of it. The message names the one that
    // is meant, in some spelling.
    let message = suggest::fold(&error.message);
    let named = |index: &usize| {
        let word = arguments[*index].split('=').next().unwrap_or_default();
        !word.is_empty() && message.contains(&suggest::fold(word))
    };
    let index = [Some(index), index.checked_sub(1)].into_iter().flatten().find(named)?;
    // The words include flags of the program, which the arguments do not.
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
    flags: &Flags,
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

fn key(schedule: &Schedule, settings: &LineSettings<'_>, given: &[Word]) -> String {
    let mut digest = Sha256::new();
    let mut add = |text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text.as_bytes());
    };
    add(schedule.text());
    add(settings.zone_name.as_deref().unwrap_or_default());
    given.iter().for_each(|word| add(&word.text));
    add("");
    for (name, value) in settings.identity() {
        add(name);
        add(value);
    }
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
