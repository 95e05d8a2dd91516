//! Reads one field of a schedule, as crontab(5) does: `*`, `*/15`, `1-5`, `1-9/2`, `mon,wed`.
//!
//! Two unambiguous forms are accepted beyond crontab(5): names in ranges and lists (`mon-fri`), and
//! a range of weekdays that ends in `sun`. The extensions of other crons (`?`, `L`, `W`, `#`, `H`,
//! seconds) are refused.

use super::line::LineError;

/// The kind of one of the five fields.
#[derive(Debug)]
pub(super) struct FieldKind {
    /// The name in messages.
    pub(super) name: &'static str,
    first: u32,
    last: u32,
    /// The names of the values, from `first` on.
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Whole names. They are refused, as in crontab(5), with a hint at the short name.
const WHOLE_NAMES: [&str; 18] = [
    "january",
    "february",
    "march",
    "april",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

/// The five fields in their order.
pub(super) static FIELD_KINDS: [FieldKind; 5] = [
    FieldKind { name: "minute", first: 0, last: 59, names: &[] },
    FieldKind { name: "hour", first: 0, last: 23, names: &[] },
    FieldKind { name: "day of the month", first: 1, last: 31, names: &[] },
    FieldKind { name: "month", first: 1, last: 12, names: &MONTHS },
    FieldKind { name: "weekday", first: 0, last: 7, names: &WEEKDAYS },
];

/// The values that a field allows; Sunday is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    bits: u64,
    /// The field begins with `*`. For the two day fields, this decides whether a day must match
    /// both or one.
    pub(crate) starred: bool,
}

impl Field {
    /// Whether this value is allowed.
    pub(crate) fn has(self, value: u32) -> bool {
        self.bits >> value & 1 == 1
    }

    /// The allowed values, lowest first.
    pub(crate) fn values(self) -> impl Iterator<Item = u32> {
        (0..60).filter(move |value| self.has(*value))
    }
}

/// Whether a word of a line looks like a field, right or wrong, rather than like a script's name.
pub(super) fn looks_like_one(word: &str) -> bool {
    // Lines of the Node version began with `--backup`.
    if word.starts_with("--") {
        return false;
    }
    let letters: String = word.chars().take_while(char::is_ascii_alphabetic).collect();
    match letters.as_str() {
        "" => word.starts_with(|letter: char| letter.is_ascii_digit() || "*,-?+#".contains(letter)),
        "H" | "L" | "W" | "LW" => letters.len() == word.len() || word.contains(['/', '-', '(']),
        _ => {
            let letters = letters.to_ascii_lowercase();
            let known =
                MONTHS.iter().chain(&WEEKDAYS).chain(&WHOLE_NAMES).any(|name| *name == letters);
            known && !word[letters.len()..].starts_with(['_', '.'])
        }
    }
}

/// Reads a field. The second value is a warning. `LineError::at` counts bytes from the field's
/// beginning.
pub(super) fn parse(kind: &FieldKind, text: &str) -> Result<(Field, Option<LineError>), LineError> {
    let mut field = Field { bits: 0, starred: text.starts_with('*') };
    let mut odd = None;
    let mut at = 0;
    for item in text.split(',') {
        let (bits, remark) = parse_item(kind, item).map_err(|wrong| wrong.shifted(at))?;
        field.bits |= bits;
        odd = odd.or(remark.map(|remark| remark.shifted(at)));
        at += item.len() + 1;
    }
    if kind.last == 7 && field.has(7) {
        field.bits = field.bits & !(1 << 7) | 1;
    }
    Ok((field, odd))
}

fn parse_item(kind: &FieldKind, item: &str) -> Result<(u64, Option<LineError>), LineError> {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some((step, range.len() + 1))),
        None => (item, None),
    };
    let (low, high, single) = match range.split_once('-') {
        _ if range == "*" => {
            (kind.first, kind.last.min(if kind.last == 7 { 6 } else { 59 }), false)
        }
        Some((low, high)) => {
            let (from, at) = (value(kind, low, 0)?, low.len() + 1);
            let mut to = value(kind, high, at)?;
            if kind.last == 7 && to == 0 && from > 0 && high.eq_ignore_ascii_case("sun") {
                to = 7;
            }
            if from > to {
                let hint = match kind.name {
                    "hour" | "minute" => format!("write {from}-{},{}-{to}", kind.last, kind.first),
                    _ => "write its lower end first, or a list such as 6,0,1".to_owned(),
                };
                return Err(
                    LineError::new(0, format!("the range \"{range}\" goes backwards")).hint(hint)
                );
            }
            (from, to, false)
        }
        None => value(kind, range, 0).map(|value| (value, value, true))?,
    };
    let Some((step, at)) = step else { return Ok((mask(low, high, 1), None)) };
    let number: u32 =
        step.parse().ok().filter(|_| step.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(
            || {
                LineError::new(at, format!("\"{step}\" is not a step"))
                    .hint("a step is a number, as in */15")
            },
        )?;
    if number == 0 {
        return Err(LineError::new(at, "a step of 0 never comes to an end")
            .hint("write a step of 1 or more, as in */15"));
    }
    if single {
        let last = if kind.last == 7 { 6 } else { kind.last };
        return Err(LineError::new(
            0,
            format!("a step needs a range or \"*\" in front, not \"{range}\""),
        )
        .hint(format!("write {low}-{last}/{step}")));
    }
    let odd = (number > high - low).then(|| {
        LineError::new(at, format!("a step of {number} leaves one {} only: {low}", kind.name))
            .hint("a step counts within its own field and begins anew with each round")
    });
    Ok((mask(low, high, number), odd))
}

fn mask(low: u32, high: u32, step: u32) -> u64 {
    (low..=high).step_by(step as usize).fold(0, |bits, value| bits | 1 << value)
}

fn value(kind: &FieldKind, text: &str, at: usize) -> Result<u32, LineError> {
    let FieldKind { name, first, last, names } = kind;
    let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
    if let Some(index) = named.and_then(|index| u32::try_from(index).ok()) {
        return Ok(first + index);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = text.parse().ok().filter(|number| (*first..=*last).contains(number));
        return number.ok_or_else(|| {
            let hint = match (*name, text) {
                ("hour", "24") => "midnight is hour 0".to_owned(),
                ("minute", "60") => "the full hour is minute 0".to_owned(),
                ("weekday", _) => "weekdays go from 0 to 7; 0 and 7 are both Sunday".to_owned(),
                ("day of the month", _) => "days of the month go from 1 to 31".to_owned(),
                _ => format!("{name}s go from {first} to {last}"),
            };
            LineError::new(at, format!("\"{text}\" is not a {name}")).hint(hint)
        });
    }
    let wrong = match text {
        "" => LineError::new(at, format!("a {name} is missing here")),
        "*" => LineError::new(at, "\"*\" stands alone, or with a step behind it: */5"),
        _ => LineError::new(at, format!("\"{}\" is not a {name}", crate::text::cut(text, 40))),
    };
    let lower = text.to_ascii_lowercase();
    let short = names
        .iter()
        .find(|name| WHOLE_NAMES.contains(&lower.as_str()) && lower.starts_with(**name));
    Err(if let Some(short) = short {
        wrong.hint(format!("write \"{short}\""))
    } else if text.contains(['?', '#', 'L', 'W', 'H']) {
        wrong.hint("\"?\", \"L\", \"W\", \"#\" and \"H\" are of other crons; this one reads what crontab(5) describes")
    } else if names.is_empty() {
        wrong.hint(format!(
            "write a number from {first} to {last}, a range 1-5, a list 1,3, a step */5, or *"
        ))
    } else {
        wrong.hint(format!(
            "write a number from {first} to {last}, a name such as \"{}\", or *",
            names[1]
        ))
    })
}

/// What tests of other modules need.
#[cfg(test)]
pub(crate) mod testing {
    use crate::schedule::timetable::Fields;

    /// The fields of a valid schedule.
    pub(crate) fn fields(text: &str) -> Fields {
        let parse = |(kind, text)| {
            super::parse(kind, text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}")).0
        };
        let parsed: Vec<_> = super::FIELD_KINDS.iter().zip(text.split(' ')).map(parse).collect();
        let [minutes, hours, days, months, weekdays] = parsed[..] else { panic!("{text}") };
        Fields { minutes, hours, days, months, weekdays }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(kind: usize, text: &str) -> Vec<u32> {
        parse(&FIELD_KINDS[kind], text)
            .unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"))
            .0
            .values()
            .collect()
    }

    fn wrong(kind: usize, text: &str) -> LineError {
        parse(&FIELD_KINDS[kind], text).expect_err(text)
    }

    #[test]
    fn fields_are_read_as_crontab_5_says() {
        assert_eq!(values(0, "*/15"), [0, 15, 30, 45]);
        assert_eq!(values(0, "1-9/3,58,59"), [1, 4, 7, 58, 59]);
        assert_eq!(values(1, "*").len(), 24);
        assert_eq!(values(2, "31,1"), [1, 31]);
        assert_eq!(values(3, "jan,MAR-may/2"), [1, 3, 5]);
        assert_eq!(values(4, "7"), [0]);
        assert_eq!(values(4, "0,7,sun"), [0]);
        assert_eq!(values(4, "mon-Fri"), [1, 2, 3, 4, 5]);
        assert_eq!(values(4, "5-7"), [0, 5, 6]);
        assert_eq!(values(4, "fri-sun"), [0, 5, 6]);
        assert_eq!(values(4, "sun-tue"), [0, 1, 2]);
        assert_eq!(values(4, "*"), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(values(4, "*/2"), [0, 2, 4, 6]);
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        for (kind, text, at, message, hint) in [
            (0, "61", 0, "\"61\" is not a minute", "0 to 59"),
            (0, "0,61", 2, "\"61\"", "0 to 59"),
            (0, "5-99", 2, "\"99\"", "0 to 59"),
            (0, "1,,2", 2, "missing", "number"),
            (0, "", 0, "missing", "number"),
            (0, "*/0", 2, "step of 0", "1 or more"),
            (0, "*/x", 2, "\"x\" is not a step", "*/15"),
            (0, "*/+5", 2, "\"+5\"", "*/15"),
            (0, "5/15", 0, "needs a range", "5-59/15"),
            (1, "24", 0, "\"24\"", "midnight is hour 0"),
            (1, "22-2", 0, "backwards", "22-23,0-2"),
            (2, "0", 0, "day of the month", "1 to 31"),
            (2, "L", 0, "\"L\"", "crontab(5)"),
            (2, "15W", 0, "\"15W\"", "crontab(5)"),
            (3, "13", 0, "month", "1 to 12"),
            (3, "january", 0, "january", "write \"jan\""),
            (4, "8", 0, "weekday", "both Sunday"),
            (4, "monday", 0, "monday", "write \"mon\""),
            (4, "mon#2", 0, "mon#2", "crontab(5)"),
            (4, "sat-mon", 0, "backwards", "lower end"),
            (0, "99999999999999999999", 0, "is not a minute", "0 to 59"),
            (0, "é", 0, "é", "number"),
            (0, "*5", 0, "*5", "number"),
        ] {
            let wrong = wrong(kind, text);
            assert_eq!(wrong.at, at, "{text}: {wrong:?}");
            assert!(wrong.message.contains(message), "{text}: {wrong:?}");
            assert!(wrong.hint.as_deref().unwrap_or_default().contains(hint), "{text}: {wrong:?}");
        }
    }

    #[test]
    fn a_step_that_is_longer_than_its_field_is_odd() {
        let (field, odd) = parse(&FIELD_KINDS[0], "*/90").unwrap();
        assert_eq!((field.values().collect::<Vec<_>>(), odd.unwrap().at), (vec![0], 2));
        assert!(parse(&FIELD_KINDS[0], "*/59").unwrap().1.is_none());
    }

    #[test]
    fn fields_are_told_from_scripts() {
        for word in ["*", "5", "61", "mon", "mon-fri", "monday", "L", "?", "sun,sat", "1#2", "JAN"]
        {
            assert!(looks_like_one(word), "{word}");
        }
        for word in [
            "backup", "monitor", "snapshot", "H4ckup", "mon_itor", "sunny", "mayday", "/x", "./x",
            "--backup", "@x",
        ] {
            assert!(!looks_like_one(word), "{word}");
        }
    }
}
