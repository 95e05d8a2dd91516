//! One pattern, as restic's `--exclude` has it.
//!
//! - A pattern is parts with `/` between them, each for one name in a path; `**` is for any number of
//!   names, also none.
//! - One that begins with `/` is for a path from the top of the volume on, others for any part of a path.
//! - What is in a folder that a pattern matches is matched as well.
//! - In a part, `*` is for any characters, `?` for one, `[a-z]` for one of these, `[^a-z]` for another one,
//!   and `\` takes the next character as it is.
//! - One that begins with `!` takes back what earlier ones leave out.
//!
//! Upper and lower case differ.

use std::str;

use crate::error::{Error, Result};

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) takes_back: bool,
    is_from_top: bool,
    /// Parts with `**` between them.
    runs: Vec<Vec<Part>>,
}

/// The pattern of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    One(char),
    AnyOne,
    Any,
    Class { is_not: bool, ranges: Vec<(char, char)> },
}

impl Pattern {
    /// # Errors
    /// If it makes no sense: the error says why.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| Err(Error::usage(format!("the pattern \"{text}\" {why}")));
        let (takes_back, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        if rest.is_empty() {
            return wrong("names nothing");
        }
        let (mut runs, mut count) = (vec![Vec::new()], 0);
        for part in rest.split('/').filter(|part| !part.is_empty() && *part != ".") {
            count += 1;
            match part {
                ".." => return wrong("leads out of the volume"),
                "**" => runs.push(Vec::new()),
                part => match Part::parse(part) {
                    Ok(part) => runs.last_mut().into_iter().for_each(|run| run.push(part.clone())),
                    Err(why) => return wrong(why),
                },
            }
        }
        if count == 0 {
            return wrong("names the volume's own folder");
        }
        Ok(Self { takes_back, is_from_top: rest.starts_with('/'), runs })
    }

    /// Whether it matches this path in the volume, or a folder above.
    pub(super) fn matches(&self, path: &[&[u8]]) -> bool {
        let Some((first, rest)) = self.runs.split_first() else { return false };
        let is_at = |run: &[Part], at: usize| {
            let names = path.get(at..at + run.len());
            names.is_some_and(|names| run.iter().zip(names).all(|(part, name)| part.matches(name)))
        };
        let starts = if self.is_from_top { 1 } else { path.len() };
        // The earliest place leaves most for what follows.
        let mut end = match (0..starts).find(|at| is_at(first, *at)) {
            Some(at) => at + first.len(),
            None => return false,
        };
        for run in rest {
            match (end..=path.len()).find(|at| is_at(run, *at)) {
                Some(at) => end = at + run.len(),
                None => return false,
            }
        }
        true
    }

    /// Whether it matches this path up to its end, and not only a folder above.
    pub(super) fn is_of(&self, path: &[&[u8]]) -> bool {
        let is_at = |run: &[Part], at: usize| {
            let names = path.get(at..at + run.len());
            names.is_some_and(|names| run.iter().zip(names).all(|(part, name)| part.matches(name)))
        };
        let Some((last, before)) = self.runs.split_last() else { return false };
        let Some(last_at) = path.len().checked_sub(last.len()) else { return false };
        let (mut end, mut is_first) = (0, self.is_from_top);
        for run in before {
            let starts = if is_first { end..=end } else { end..=path.len() };
            match starts.into_iter().find(|at| is_at(run, *at)) {
                Some(at) => end = at + run.len(),
                None => return false,
            }
            is_first = false;
        }
        // A pattern that ends with `**` is for what is below.
        let is_below = !last.is_empty() || last_at > end;
        is_below && is_at(last, last_at) && if is_first { last_at == 0 } else { last_at >= end }
    }
}

impl Part {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut tokens = Vec::new();
        let mut left = text.chars();
        while let Some(one) = left.next() {
            tokens.push(match one {
                '*' => Token::Any,
                '?' => Token::AnyOne,
                '\\' => Token::One(left.next().ok_or("ends with \"\\\"")?),
                '[' => class(&mut left)?,
                one => Token::One(one),
            });
        }
        Ok(Self(tokens))
    }

    fn matches(&self, name: &[u8]) -> bool {
        let (mut token, mut rest) = (0, name);
        // Where to go on if what follows the last `*` does not match: that `*` takes one more character.
        let mut again: Option<(usize, &[u8])> = None;
        loop {
            let next = match (self.0.get(token), first_of(rest)) {
                (None, None) => return true,
                (Some(Token::Any), _) => {
                    token += 1;
                    again = Some((token, rest));
                    continue;
                }
                (Some(single), Some((one, after))) if single.matches(one) => Some(after),
                _ => None,
            };
            if let Some(after) = next {
                (token, rest) = (token + 1, after);
                continue;
            }
            let Some((from, skipped)) = again else { return false };
            let Some((_, after)) = first_of(skipped) else { return false };
            (token, rest) = (from, after);
            again = Some((from, after));
        }
    }
}

impl Token {
    fn matches(&self, one: char) -> bool {
        match self {
            Self::One(this) => *this == one,
            Self::AnyOne => true,
            Self::Any => false,
            Self::Class { is_not, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&one)) != *is_not
            }
        }
    }
}

/// The rest of a class, behind `[`.
fn class(left: &mut str::Chars<'_>) -> Result<Token, &'static str> {
    const OPEN: &str = "has a \"[\" without a \"]\"";
    const ODD: &str = "has a range in \"[]\" without a beginning or an end";
    let escaped = |one: char, left: &mut str::Chars<'_>| match one {
        '\\' => left.next().ok_or(OPEN),
        '-' => Err(ODD),
        one => Ok(one),
    };
    let is_not = left.as_str().starts_with('^');
    if is_not {
        left.next();
    }
    let mut ranges = Vec::new();
    loop {
        let low = match left.next().ok_or(OPEN)? {
            ']' if !ranges.is_empty() => return Ok(Token::Class { is_not, ranges }),
            ']' => return Err("has an empty \"[]\""),
            one => escaped(one, left)?,
        };
        let mut high = low;
        if left.as_str().starts_with('-') {
            left.next();
            high = match left.next().ok_or(OPEN)? {
                ']' => return Err(ODD),
                one => escaped(one, left)?,
            };
        }
        ranges.push((low, high));
    }
}

/// The first character of a name, and the rest. A byte that is no text is a character of its own.
fn first_of(name: &[u8]) -> Option<(char, &[u8])> {
    let longest = &name[..name.len().min(4)];
    let valid = match str::from_utf8(longest) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&longest[..error.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(one) => Some((one, &name[one.len_utf8()..])),
        None => name.split_first().map(|(_, rest)| (char::REPLACEMENT_CHARACTER, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let parts: Vec<_> = path.split('/').map(str::as_bytes).collect();
        Pattern::parse(pattern).unwrap().matches(&parts)
    }

    #[test]
    fn a_pattern_is_for_names_or_from_the_top_on() {
        for (pattern, path, is) in [
            ("foo", "foo", true),
            ("foo", "a/b/foo", true),
            ("foo", "a/foo/inside", true),
            ("foo", "a/foobar", false),
            ("foo", "Foo", false),
            ("/foo", "foo", true),
            ("/foo", "foo/inside", true),
            ("/foo", "a/foo", false),
            ("a/foo", "x/a/foo", true),
            ("a/foo", "a/x/foo", false),
            ("/a/*.c", "a/x.c", true),
            ("/a/*.c", "a/b/x.c", false),
            ("./foo//", "a/foo", true),
            ("/**/x", "x", true),
            ("/a/**/x", "a/b/c/x", true),
            ("/a/**/x", "a/x", true),
            ("/a/**/x", "b/a/x", false),
            ("a/**/b/**/c", "z/a/b/b/1/2/c/d", true),
            ("a/**/b/**/c", "a/c/b", false),
            ("**/x", "x", true),
            ("a/**", "a", true),
            ("**", "a", true),
            ("/a/**/b/c", "a/b/x/b/c", true),
        ] {
            assert_eq!(matches(pattern, path), is, "{pattern} {path}");
        }
    }

    #[test]
    fn a_part_is_matched_as_by_a_shell() {
        for (pattern, name, is) in [
            ("*", ".hidden", true),
            ("*.log", ".log", true),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXcXb", false),
            ("?", "ä", true),
            ("?", "äb", false),
            ("[a-cx]1", "b1", true),
            ("[a-cx]1", "x1", true),
            ("[a-cx]1", "d1", false),
            ("[^a-c]", "d", true),
            ("[^a-c]", "a", false),
            ("[\\]]", "]", true),
            ("[\\-z]", "-", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[ä-ü]x", "öx", true),
            ("a**b", "aXYb", true),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
        let odd = Pattern::parse("a?b*").unwrap();
        assert!(odd.matches(&[b"a\xffb\xfe\xfd"]) && !odd.matches(&[b"a\xff\xffb"]));
    }

    #[test]
    fn a_pattern_that_makes_no_sense_is_refused() {
        for (pattern, why) in [
            ("!", "names nothing"),
            ("/", "the volume's own folder"),
            (".", "the volume's own folder"),
            ("!/", "the volume's own folder"),
            ("../x", "leads out"),
            ("/a/../b", "leads out"),
            ("[", "without a \"]\""),
            ("[a", "without a \"]\""),
            ("[^]", "empty"),
            ("[]", "empty"),
            ("[a-]", "a range"),
            ("[-a]", "a range"),
            ("a\\", "ends with"),
        ] {
            let error = Pattern::parse(pattern).unwrap_err();
            assert!(error.message.contains(why), "{pattern}: {error}");
        }
    }
}
