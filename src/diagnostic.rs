//! The one renderer of errors: for people with the location in the script and a hint, for programs
//! as JSON.

use serde_json::{Value, json};
use unicode_width::UnicodeWidthChar;

use crate::{
    error::{Error, ErrorKind, Location},
    text::{Style, escape, escaped_lines, styled},
};

/// How many columns of a source line are shown. A longer line is cut around the error.
const SOURCE_WIDTH: usize = 100;

/// Renders an error for a person, with a newline at its end:
///
/// ```text
/// error: GET /volumes/list: 400: some words
///   --> backup.rhai:12:9
///    |
/// 12 |     convoy::backups(volme);
///    |                     ^
/// hint: did you mean "volume"?
/// ```
///
/// Characters that would act on a terminal are escaped. Further lines of a message are indented.
pub(crate) fn render(error: &Error, colour: bool) -> String {
    render_as("error", Style::Red, error, colour)
}

/// Renders a warning in the same form: `warning: ..`.
pub(crate) fn render_warning(warning: &Error, colour: bool) -> String {
    render_as("warning", Style::Yellow, warning, colour)
}

fn render_as(label: &str, style: Style, error: &Error, colour: bool) -> String {
    let mut text = String::new();
    paragraph(&mut text, label, style, &error.to_string(), colour);
    if let Some(location) = &error.location {
        place(&mut text, location, colour);
    }
    if let Some(hint) = &error.hint {
        paragraph(&mut text, "hint", Style::Cyan, hint, colour);
    }
    text
}

/// An error for an alert, with the hint below.
pub(crate) fn explained(error: &Error) -> String {
    let hint =
        error.hint.as_ref().map(|hint| format!("\n\nWhat to do: {hint}")).unwrap_or_default();
    format!("{error}{hint}")
}

/// An error on one line, for the log: the location in front, and the hint behind.
pub(crate) fn in_one_line(error: &Error) -> String {
    let place = error.location.as_ref();
    let place = place
        .map(|place| format!("{}:{}:{}: ", place.file, place.line, place.column))
        .unwrap_or_default();
    let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{place}{error}{hint}")
}

/// An error as JSON. `code`, `message`, `hint`, `request`, `status` and `location` are always
/// there, and may be `null`.
pub(crate) fn to_json(error: &Error) -> Value {
    let location = error.location.as_ref().map(|location| {
        let column = (location.column > 0).then_some(location.column);
        json!({ "file": location.file, "line": location.line, "column": column, "source": location.source_line })
    });
    json!({
        "code": error.kind.code(),
        "message": error.message,
        "hint": error.hint,
        "request": error.request,
        "status": error.status,
        "location": location,
    })
}

/// Reads an error that [`to_json`] wrote. Missing members are missing in the error.
pub(crate) fn from_json(value: &Value) -> Error {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let kind =
        text("code").and_then(|code| ErrorKind::of_code(&code)).unwrap_or(ErrorKind::Internal);
    let mut error = Error::new(kind, text("message").unwrap_or_default());
    error.hint = text("hint");
    error.request = text("request");
    error.status =
        value.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    error.location =
        value.get("location").filter(|location| location.is_object()).map(|location| {
            let text = |name: &str| {
                location.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let number = |name: &str| {
                location.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok())
            };
            let (line, column) = (number("line").unwrap_or(0), number("column").unwrap_or(0));
            Box::new(Location { file: text("file"), line, column, source_line: text("source") })
        });
    error
}

/// Adds `label: words`. Further lines are indented by the width of the label.
fn paragraph(text: &mut String, label: &str, style: Style, words: &str, colour: bool) {
    let indent = " ".repeat(label.len() + 2);
    text.push_str(&styled(label, style, colour));
    text.push_str(": ");
    for (number, line) in escaped_lines(words).enumerate() {
        if number > 0 {
            text.push_str(&indent);
        }
        text.push_str(&line);
        text.push('\n');
    }
    if words.trim_end().is_empty() {
        text.push('\n');
    }
}

fn place(text: &mut String, location: &Location, colour: bool) {
    let number = location.line.to_string();
    let margin = " ".repeat(number.len());
    let mut position = format!("{}:{number}", escape(&location.file));
    if location.column > 0 {
        position.push_str(&format!(":{}", location.column));
    }
    let bar = styled("|", Style::Faint, colour);
    text.push_str(&format!("{margin}{} {position}\n", styled("-->", Style::Faint, colour)));
    if location.source_line.trim().is_empty() {
        return;
    }
    let (source, caret) = source_line(&location.source_line, location.column);
    text.push_str(&format!(
        "{margin} {bar}\n{} {bar} {source}\n",
        styled(&number, Style::Faint, colour)
    ));
    if location.column > 0 {
        text.push_str(&format!(
            "{margin} {bar} {}{}\n",
            " ".repeat(caret),
            styled("^", Style::Red, colour)
        ));
    }
}

/// The line as it is shown, and the terminal column (from 0) for the caret. `column` counts
/// characters from 1. A column behind the end (an unexpected end of the script) means the end.
fn source_line(line: &str, column: usize) -> (String, usize) {
    let line = line.trim_end();
    let cells: Vec<(String, usize)> = line.chars().map(cell).collect();
    let target = column.saturating_sub(1).min(cells.len());
    let total: usize = cells.iter().map(|(_, width)| width).sum();
    let (mut first, mut last) = (0, cells.len());
    if total > SOURCE_WIDTH {
        // The error is placed after two thirds of the shown line, because the text before an error
        // explains more than the text behind it.
        let mut before = 0;
        first = target;
        while first > 0 && before + cells[first - 1].1 <= SOURCE_WIDTH * 2 / 3 {
            first -= 1;
            before += cells[first].1;
        }
        let mut width = before;
        last = target;
        while last < cells.len() && width + cells[last].1 <= SOURCE_WIDTH {
            width += cells[last].1;
            last += 1;
        }
    }
    let mut shown = String::new();
    if first > 0 {
        shown.push('…');
    }
    shown.extend(cells[first..last].iter().map(|(text, _)| text.as_str()));
    if last < cells.len() {
        shown.push('…');
    }
    let caret =
        usize::from(first > 0) + cells[first..target].iter().map(|(_, width)| width).sum::<usize>();
    (shown, caret)
}

/// A character as it is shown, and how many columns it takes.
fn cell(letter: char) -> (String, usize) {
    if letter == '\t' {
        return ("    ".to_owned(), 4);
    }
    let text = escape(letter.encode_utf8(&mut [0; 4])).into_owned();
    let width =
        if text.len() == letter.len_utf8() { letter.width().unwrap_or(0) } else { text.len() };
    (text, width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn at(line: usize, column: usize, source_line: &str) -> Error {
        let mut error = Error::new(ErrorKind::Script, "wrong");
        error.location = Some(Box::new(Location {
            file: "backup.rhai".into(),
            line,
            column,
            source_line: source_line.into(),
        }));
        error
    }

    /// The character above the caret, and the last two lines.
    fn pointed_at(error: &Error) -> (char, String) {
        let shown = render(error, false);
        let lines: Vec<_> = shown.lines().collect();
        let (source, caret) = (lines[lines.len() - 2], lines[lines.len() - 1]);
        let column = crate::text::width(caret) - 1;
        let mut width = 0;
        let letter = source.chars().find(|letter| {
            width += letter.width().unwrap_or(0);
            width > column
        });
        (letter.unwrap_or(' '), shown)
    }

    #[test]
    fn an_error_says_what_where_and_what_to_do() {
        let mut error = at(12, 21, "    convoy::backups(volme);")
            .with_request("GET /volumes/list")
            .with_status(400)
            .with_hint("did you mean \"volume\"?");
        error.message = "some words".into();
        let expected = "\
error: GET /volumes/list: 400: some words
  --> backup.rhai:12:21
   |
12 |     convoy::backups(volme);
   |                     ^
hint: did you mean \"volume\"?
";
        assert_eq!(render(&error, false), expected);
    }

    #[test]
    fn the_caret_stands_under_what_is_meant_after_tabs_and_wide_characters() {
        assert_eq!(pointed_at(&at(1, 3, "\t\tx = 1")).0, 'x');
        assert_eq!(pointed_at(&at(1, 8, "f(\"漢字\", y)")).0, ' ');
        assert_eq!(pointed_at(&at(1, 9, "f(\"漢字\", y)")).0, 'y');
        assert_eq!(pointed_at(&at(1, 4, "a\u{7}\u{301}z")).0, 'z');
    }

    #[test]
    fn a_place_behind_the_end_of_the_line_is_its_end() {
        let (_, shown) = pointed_at(&at(7, 99, "let x ="));
        assert!(shown.ends_with("7 | let x =\n  |        ^\n"), "{shown}");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}X{}", "a".repeat(5_000), "b".repeat(5_000));
        let (letter, shown) = pointed_at(&at(1, 5_001, &line));
        assert_eq!(letter, 'X');
        assert!(shown.contains("| …aaa") && shown.contains("bbb…"), "{shown}");
        assert!(shown.lines().all(|line| crate::text::width(line) < 110), "{shown}");
        let (letter, shown) = pointed_at(&at(1, 1, &line));
        assert_eq!(letter, 'a');
        assert!(shown.contains("| aaa") && shown.contains("aaa…"), "{shown}");
        assert_eq!(pointed_at(&at(1, 10_001, &line)).0, 'b');
    }

    #[test]
    fn where_only_the_line_is_known_no_caret_is_drawn() {
        assert_eq!(
            render(&at(3, 0, "let x"), false),
            "error: wrong\n --> backup.rhai:3\n  |\n3 | let x\n"
        );
        assert_eq!(render(&at(3, 5, ""), false), "error: wrong\n --> backup.rhai:3:5\n");
    }

    #[test]
    fn further_lines_are_indented_and_control_characters_shown() {
        let error = Error::usage("first\nsecond \u{1b}[2J\r\n\nthird\n").with_hint("one\ntwo");
        assert_eq!(
            render(&error, false),
            "error: first\n       second \\u{1b}[2J\n       \n       third\nhint: one\n      two\n"
        );
        assert_eq!(render(&Error::usage(""), false), "error: \n");
    }

    #[test]
    fn colour_changes_nothing_but_the_colour() {
        let error = at(12, 5, "    x").with_hint("hint");
        let coloured = render(&error, true);
        assert!(coloured.starts_with("\u{1b}[1;31merror\u{1b}[0m: wrong\n"));
        let mut plain = coloured;
        for code in ["0", "1;31", "36", "2"] {
            plain = plain.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(plain, render(&error, false));
    }

    #[test]
    fn programs_get_every_field() {
        let json = to_json(&at(2, 3, "abc").with_status(400).with_request("GET /x").with_hint("h"));
        assert_eq!(
            json,
            json!({"code": "script", "message": "wrong", "hint": "h", "request": "GET /x", "status": 400,
                "location": {"file": "backup.rhai", "line": 2, "column": 3, "source": "abc"}})
        );
        let json = to_json(&Error::usage("x"));
        assert_eq!(
            json,
            json!({"code": "usage", "message": "x", "hint": null, "request": null, "status": null, "location": null})
        );
    }
}
