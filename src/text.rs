//! Makes text from outside safe to show. Names, the daemon's messages and scripts' results may
//! contain any character, and a terminal obeys control characters.

use std::{borrow::Cow, fmt::Write};

use unicode_width::UnicodeWidthChar;

/// Whether a character acts on a terminal, or on how a line reads, rather than being visible:
/// control characters, line and paragraph separators, and the marks that turn the direction of
/// text.
pub(crate) fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The text with each character that [`acts`] escaped (`
/// `, `\u{1b}`), so that it stays on one line.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if acts(letter) {
            let _ = write!(escaped, "{}", letter.escape_default());
        } else {
            escaped.push(letter);
        }
    }
    Cow::Owned(escaped)
}

/// The lines of the text, each escaped.
pub(crate) fn escaped_lines(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.trim_end().lines().map(escape)
}

/// A count with its noun: `1 entry`, `3 entries`.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A number with a comma before every three digits: `1,204`.
pub(crate) fn with_separators(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The columns that the (escaped) text takes on a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|letter| letter.width().unwrap_or(0)).sum()
}

/// The text cut to this many columns, with `…` at its end if anything is missing.
pub(crate) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut left = columns.saturating_sub(1);
    let mut short = String::new();
    for letter in text.chars() {
        let width = letter.width().unwrap_or(0);
        if width > left {
            break;
        }
        left -= width;
        short.push(letter);
    }
    short.push('…');
    Cow::Owned(short)
}

/// Words as a person types them into a shell: quoted only if necessary.
pub(crate) fn command_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quote = |word: &'a str| {
        let plain = |letter: char| letter.is_alphanumeric() || "-_=+./:,@%".contains(letter);
        if !word.is_empty() && word.chars().all(plain) {
            Cow::Borrowed(word)
        } else {
            Cow::Owned(format!("'{}'", word.replace('\'', "'\\''")))
        }
    };
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// The style of text on a terminal with colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Headings, and the message of an error.
    Bold,
    /// Details of less importance.
    Faint,
    /// Failures, and what will be deleted.
    Red,
    /// What is kept.
    Green,
    /// Warnings.
    Yellow,
    /// Positions in files, and hints.
    Cyan,
}

/// The text in this style; unchanged if `colour` is off.
pub(crate) fn styled(text: &str, style: Style, colour: bool) -> Cow<'_, str> {
    if !colour || text.is_empty() {
        return Cow::Borrowed(text);
    }
    let code = match style {
        Style::Bold => "1",
        Style::Faint => "2",
        Style::Red => "1;31",
        Style::Green => "32",
        Style::Yellow => "33",
        Style::Cyan => "36",
    };
    Cow::Owned(format!("\u{1b}[{code}m{text}\u{1b}[0m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_on_a_terminal_is_shown_instead() {
        assert_eq!(escape("vol1 é 漢"), "vol1 é 漢");
        assert_eq!(
            escape("a\u{1b}[2Jb\r\n\tc\u{7f}\u{9b}"),
            "a\\u{1b}[2Jb\\r\\n\\tc\\u{7f}\\u{9b}"
        );
        assert_eq!(escape("a\u{202e}b\u{2066}c\u{feff}"), "a\\u{202e}b\\u{2066}c\\u{feff}");
        assert_eq!(escaped_lines("a\nb\rc\n\n").collect::<Vec<_>>(), ["a", "b\\rc"]);
    }

    #[test]
    fn one_is_not_several() {
        assert_eq!(
            [0, 1, 2].map(|count| counted(count, "entry", "entries")),
            ["0 entries", "1 entry", "2 entries"]
        );
    }

    #[test]
    fn text_is_cut_by_columns_and_not_inside_a_wide_character() {
        assert_eq!(width("a漢é"), 4);
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("漢字漢字", 4), "漢…");
    }
}
