//! Reads the schedule at the beginning of a line: five fields, or a nickname such as `@daily`.

use std::{collections::HashMap, sync::Arc};

use jiff::tz::TimeZone;

use super::{
    field::{self, FIELD_KINDS, Field},
    line::{CrontabLine, LineError},
    options::OPTIONS,
};
use crate::{
    error::{Error, Result},
    schedule::timetable::{Fields, Pattern, Schedule},
    suggest::did_you_mean_or,
};

/// The nicknames and the five fields that they stand for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// Schedules that were already read, because many lines have the same.
pub(super) type Patterns = HashMap<String, Arc<Pattern>>;

/// Reads the schedule at the line's beginning. Returns it with the byte at which it ends.
pub(super) fn schedule(
    line: &CrontabLine<'_>,
    patterns: &mut Patterns,
    zone: &TimeZone,
    warnings: &mut Vec<Error>,
) -> Result<(Schedule, usize)> {
    let mut fields: Vec<(&str, usize)> = Vec::new();
    let mut end = 0;
    while let Some((text, at)) = line.word(end) {
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
            // A script's name never looks like a field, so there is one field too many.
            let wrong =
                LineError::new(fields[0].1, "a schedule has five fields, and here are six or more");
            return Err(line.error(wrong.hint(
                "write minute, hour, day, month and weekday; there are no seconds and no years",
            )));
        }
        fields.push((text, at));
        end = at + text.len();
    }
    if fields.len() < 5 {
        let at = line.word(end).map_or(line.text.len(), |(_, at)| at);
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
        return Err(line.error(LineError::new(at, message).hint(hint)));
    }
    let pattern = pattern(line, &fields, patterns, warnings)?;
    let text = fields.iter().map(|(text, _)| *text).collect::<Vec<_>>().join(" ");
    Ok((Schedule::new(text, pattern, zone.clone()), end))
}

fn unknown_nickname(text: &str, at: usize) -> LineError {
    if text == "@reboot" {
        return LineError::new(at, "\"@reboot\" is not supported").hint(
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
    LineError::new(at, format!("\"{}\" is not a schedule", crate::text::cut(text, 40))).hint(hint)
}

fn pattern(
    line: &CrontabLine<'_>,
    texts: &[(&str, usize)],
    patterns: &mut Patterns,
    warnings: &mut Vec<Error>,
) -> Result<Arc<Pattern>> {
    let mut parsed: Vec<Field> = Vec::with_capacity(5);
    for (kind, (text, at)) in FIELD_KINDS.iter().zip(texts) {
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
        let wrong = LineError::new(
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
