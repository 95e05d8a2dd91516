//! Times as Convoy writes them: `Mon Nov 23 06:19:31 +0000 2026` (Go's `RubyDate`).

use std::fmt;

use jiff::{Timestamp, Zoned, fmt::strtime};
use serde::{Deserialize, Serialize};

const RUBY_DATE: &str = "%a %b %d %H:%M:%S %z %Y";

/// A time in the daemon's spelling, parsed once. It has whole seconds, in the daemon's time zone,
/// so two times can be equal. The text is empty if the daemon has no time (an EBS snapshot that was
/// removed, a volume that was only mounted).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiTime {
    text: String,
    time: Option<Timestamp>,
}

impl ApiTime {
    /// Parses a time as the daemon writes it. A text that can't be parsed is kept, and has no
    /// timestamp.
    pub fn parse(text: &str) -> Self {
        let time = strtime::parse(RUBY_DATE, text).and_then(|broken| broken.to_timestamp()).ok();
        Self { text: text.to_owned(), time }
    }

    /// A time in Convoy's spelling. Fractions of a second are dropped.
    pub(crate) fn from_zoned(time: &Zoned) -> Self {
        Self::parse(&time.strftime(RUBY_DATE).to_string())
    }

    /// The time, if the text could be parsed.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.time
    }

    /// The text as the daemon wrote it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for ApiTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for ApiTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ApiTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ruby_dates_are_read_in_any_zone() {
        let utc = ApiTime::parse("Mon Nov 23 06:19:31 +0000 2026");
        let tokyo = ApiTime::parse("Mon Nov 23 15:19:31 +0900 2026");
        assert_eq!(utc.timestamp().unwrap().to_string(), "2026-11-23T06:19:31Z");
        assert_eq!(utc.timestamp(), tokyo.timestamp());
        assert_eq!(tokyo.as_str(), "Mon Nov 23 15:19:31 +0900 2026");
    }

    #[test]
    fn what_is_no_time_stays_text() {
        assert_eq!(ApiTime::parse("").timestamp(), None);
        assert_eq!(ApiTime::parse("yesterday").as_str(), "yesterday");
    }

    #[test]
    fn a_time_is_written_as_convoy_writes_it() {
        let time: Zoned = "2026-11-03T06:09:01.9+00:00[UTC]".parse().unwrap();
        assert_eq!(ApiTime::from_zoned(&time).as_str(), "Tue Nov 03 06:09:01 +0000 2026");
    }
}
