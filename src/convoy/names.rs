//! Names of volumes and snapshots.

use std::fmt;

use jiff::Timestamp;

use crate::error::{Error, Result};

/// A name that Convoy can work with: `^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`, at most [`Name::MAX`]
/// characters.
///
/// Convoy does not check the name of a new volume: a volume named `a` makes Convoy's whole list
/// come back empty. So this program checks names before it sends anything. Names in the daemon's
/// answers stay unchecked strings, because one odd name in a list must not hide the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(String);

impl Name {
    /// The longest name accepted. The vfs driver can't create the files of longer names.
    pub(crate) const MAX: usize = 128;

    /// Checks a name. The error calls it `what` ("volume", "snapshot").
    ///
    /// # Errors
    /// A usage error that says which rule the name breaks.
    pub(crate) fn parse(what: &str, text: &str) -> Result<Self> {
        let wrong = |why: String| {
            let shown: String = text.chars().take(60).collect();
            let dots = if text.chars().count() > 60 { ".." } else { "" };
            Err(Error::usage(format!("\"{shown}{dots}\" is not a {what} name: {why}"))
                .with_hint("a name is 2 to 128 letters, digits, \"_\", \".\" or \"-\", the first a letter or digit"))
        };
        if text.is_empty() {
            return wrong("it is empty".into());
        }
        if text.len() > Self::MAX {
            return wrong(format!(
                "it has {} characters, {} are the most",
                text.chars().count(),
                Self::MAX
            ));
        }
        if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "_.-".contains(*c)))
        {
            return wrong(format!("{bad:?} can't be in one"));
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return wrong("it must begin with a letter or a digit".into());
        }
        if text.len() < 2 {
            return wrong("it has one character, two are the least".into());
        }
        Ok(Self(text.to_owned()))
    }

    /// A volume's name.
    ///
    /// # Errors
    /// As [`Name::parse`].
    pub(crate) fn volume(text: &str) -> Result<Self> {
        Self::parse("volume", text)
    }

    /// A snapshot's name.
    ///
    /// # Errors
    /// As [`Name::parse`].
    pub(crate) fn snapshot(text: &str) -> Result<Self> {
        Self::parse("snapshot", text)
    }

    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a snapshot's name contains its time, if this program made the name:
/// `-20261123T074200.123456Z`.
pub(super) const SNAPSHOT_TIME: &str = "%Y%m%dT%H%M%S.%6fZ";
/// The number of letters and digits in a [`snapshot_mark`].
pub(super) const MARK_LENGTH: usize = 6;

/// The time in the name of a snapshot that this program made.
pub(crate) fn snapshot_time(name: &str) -> Option<Timestamp> {
    time_and_mark(name).map(|(time, _)| time)
}

/// When a snapshot was taken, by the clock of its daemon. Its name has the time to the microsecond,
/// but only its place among the others is sure: after a clock was set back, names go on from the
/// last one. So the name counts where the daemon says the same.
pub(super) fn time_taken(name: &str, created: Option<Timestamp>) -> Option<Timestamp> {
    const SAME: jiff::SignedDuration = jiff::SignedDuration::from_mins(1);
    let named = snapshot_time(name);
    match (named, created) {
        (Some(named), Some(created)) if named.duration_since(created).abs() > SAME => Some(created),
        _ => named.or(created),
    }
}

/// The mark in the name of a snapshot that this program made. The mark tells apart the snapshots of
/// two volumes of the same name, where the daemon gives volumes no id.
pub(super) fn snapshot_mark(name: &str) -> Option<&str> {
    time_and_mark(name).and_then(|(_, mark)| mark)
}

/// Parses `vol1-20261123T074200.123456Z` and `vol1-20261123T074200.123456Z-k3f9q2`.
fn time_and_mark(name: &str) -> Option<(Timestamp, Option<&str>)> {
    let is_mark = |text: &str| {
        text.len() == MARK_LENGTH
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let (rest, mark) = match name.rsplit_once('-')? {
        (rest, last) if is_mark(last) => (rest, Some(last)),
        _ => (name, None),
    };
    const LENGTH: usize = "20261123T074200.123456Z".len();
    let (_, time) = rest.rsplit_once('-').filter(|(_, time)| time.len() == LENGTH)?;
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S%.fZ", time).ok()?;
    Some((time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp(), mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_mark_are_read_from_the_names_that_we_make_and_from_no_others() {
        let time = Some("2026-11-23T07:42:00.123456Z".parse().unwrap());
        for (name, mark) in [
            ("vol1-20261123T074200.123456Z", None),
            ("vol1-20261123T074200.123456Z-k3f9q2", Some("k3f9q2")),
            ("my-vol-k3f9q2-20261123T074200.123456Z", None),
        ] {
            assert_eq!((snapshot_time(name), snapshot_mark(name)), (time, mark), "{name}");
        }
        for name in [
            "snap1",
            "vol1-k3f9q2",
            "vol1-20261123T074200.123456Z-K3F9Q2",
            "vol1-20261123T074200Z-k3f9q2",
        ] {
            assert_eq!((snapshot_time(name), snapshot_mark(name)), (None, None), "{name}");
        }
    }

    #[test]
    fn a_name_that_is_ahead_of_the_daemons_time_does_not_say_when_a_snapshot_was_taken() {
        let at = |time: &str| -> Option<Timestamp> { Some(time.parse().unwrap()) };
        let name = "vol1-20261123T074200.123456Z";
        let named = snapshot_time(name);
        assert_eq!(time_taken(name, at("2026-11-23T07:42:00Z")), named);
        assert_eq!(time_taken(name, None), named);
        assert_eq!(time_taken(name, at("2025-01-01T00:00:00Z")), at("2025-01-01T00:00:00Z"));
        assert_eq!(time_taken("snap1", at("2025-01-01T00:00:00Z")), at("2025-01-01T00:00:00Z"));
    }

    #[test]
    fn names_that_convoy_chokes_on_are_refused() {
        for name in ["vol1", "ab", "9-_.", "a".repeat(128).as_str()] {
            assert_eq!(Name::volume(name).unwrap().as_str(), name);
        }
        for (name, why) in [
            ("", "empty"),
            ("a", "two are the least"),
            ("../x", "'/'"),
            ("-ab", "begin with"),
            (".ab", "begin with"),
            ("a b", "' '"),
            ("volumé", "'é'"),
            ("a".repeat(300).as_str(), "300 characters"),
        ] {
            let error = Name::volume(name).unwrap_err();
            assert!(error.message.contains(why), "{error}");
            assert!(error.message.len() < 200, "{error}");
        }
    }
}
