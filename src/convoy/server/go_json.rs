//! JSON as Go's `json.MarshalIndent` writes it, with tabs. Convoy's clients may compare bytes.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, PrettyFormatter, Serializer};

use crate::{
    convoy::Info,
    error::{Error, Result},
};

/// The value as Go writes it. Maps must be sorted, as `BTreeMap` is. Fields appear in the order of
/// their declaration.
///
/// # Errors
/// An internal error if the value can't be JSON.
pub(super) fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    let mut text = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut text, GoFormatter(PrettyFormatter::with_indent(b"\t")));
    value
        .serialize(&mut serializer)
        .map_err(|error| Error::internal(format!("an answer can't be written: {error}")))?;
    String::from_utf8(text)
        .map_err(|error| Error::internal(format!("an answer can't be written: {error}")))
}

/// The daemon's settings. Convoy writes their outermost level by hand, without indentation.
///
/// # Errors
/// As [`to_string`].
pub(super) fn info(info: &Info) -> Result<String> {
    let mut text = format!("{{\n\"General\": {}", to_string(&info.general)?);
    for (name, driver) in &info.drivers {
        text += &format!(",\n{}: {}", to_string(name)?, to_string(driver)?);
    }
    Ok(text + "\n}")
}

/// What Go writes for characters that could end a script in a web page.
fn escape(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("\\u0026"),
        '<' => Some("\\u003c"),
        '>' => Some("\\u003e"),
        '\u{2028}' => Some("\\u2028"),
        '\u{2029}' => Some("\\u2029"),
        _ => None,
    }
}

/// A text without quotes, escaped as Go does it. Convoy answers a bare URL in this form.
pub(super) fn escaped(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for c in text.chars() {
        match escape(c) {
            Some(sequence) => all += sequence,
            None => all.push(c),
        }
    }
    all
}

struct GoFormatter(PrettyFormatter<'static>);

impl Formatter for GoFormatter {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        writer.write_all(escaped(fragment).as_bytes())
    }

    fn write_char_escape<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match escape {
            CharEscape::Backspace => writer.write_all(b"\\u0008"),
            CharEscape::FormFeed => writer.write_all(b"\\u000c"),
            other => self.0.write_char_escape(writer, other),
        }
    }

    fn begin_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::convoy::{Backup, DriverInfo, Snapshot, Volume};

    #[test]
    fn what_go_escapes_is_escaped() {
        let text = to_string("a&b<c>d\u{2028}\u{2029}\u{8}\u{c}\n\t\r\u{1}\"\\\u{7f}é/").unwrap();
        assert_eq!(
            text,
            "\"a\\u0026b\\u003cc\\u003ed\\u2028\\u2029\\u0008\\u000c\\n\\t\\r\\u0001\\\"\\\\\u{7f}é/\""
        );
    }

    #[test]
    fn empty_maps_and_lists_take_no_lines() {
        assert_eq!(
            to_string(&json!({"a": {}, "b": [], "c": [1, {}]})).unwrap(),
            "{\n\t\"a\": {},\n\t\"b\": [],\n\t\"c\": [\n\t\t1,\n\t\t{}\n\t]\n}"
        );
    }

    /// Parses a recorded answer into the model and writes it again. Every byte must be the same.
    #[test]
    fn every_recorded_answer_is_written_as_it_was() {
        let transcripts: Value =
            serde_json::from_str(include_str!("../../../tests/data/transcripts.json")).unwrap();
        let mut compared = 0;
        for exchange in transcripts["exchanges"].as_array().unwrap() {
            let body = exchange["response"]["body"].as_str().unwrap();
            if !body.starts_with('{') {
                continue;
            }
            fn again<T: serde::de::DeserializeOwned + Serialize>(body: &str) -> String {
                to_string(&serde_json::from_str::<T>(body).unwrap()).unwrap()
            }
            let path = exchange["request"]["path"].as_str().unwrap().trim_start_matches("/v1");
            let written = match path {
                "/info" => info(&serde_json::from_str(body).unwrap()).unwrap(),
                "/volumes/list" => again::<BTreeMap<String, Volume>>(body),
                "/volumes/list?driver=1" => again::<BTreeMap<String, DriverInfo>>(body),
                "/volumes/" | "/volumes/create" | "/volumes/mount" => again::<Volume>(body),
                "/snapshots/create" | "/snapshots/" => again::<Snapshot>(body),
                "/backups/list" => again::<BTreeMap<String, Backup>>(body),
                "/backups/inspect" => again::<Backup>(body),
                _ => again::<Value>(body),
            };
            assert_eq!(written, body, "{}", exchange["name"]);
            compared += 1;
        }
        assert_eq!(compared, 36);
    }
}
