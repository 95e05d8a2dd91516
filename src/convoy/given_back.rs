//! What a daemon says of space that it gave back.

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::units::format_size;

/// What was given back of the space of deleted backups, and what was found meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GivenBack {
    /// In bytes, as what waits.
    pub(crate) given_back: u64,
    /// What no backup needs, and goes about a day after it was marked for deletion.
    pub(crate) waiting: u64,
    /// When the first of that goes, if anything gives back space then.
    pub(crate) waits_until: Option<Timestamp>,
    /// A sentence on each file that is damaged or missing.
    pub(crate) notes: Vec<String>,
}

impl GivenBack {
    /// A sentence on a destination, for people in this time zone.
    pub(crate) fn sentence(&self, destination: &str, zone: &TimeZone) -> String {
        let given = match self.given_back {
            0 => format!("no space was given back at \"{destination}\""),
            bytes => format!("{} were given back at \"{destination}\"", format_size(bytes)),
        };
        let Some(until) = self.waits_until.filter(|_| self.waiting > 0) else {
            return format!("{given}; nothing waits for deletion");
        };
        let (waiting, until) = (format_size(self.waiting), until.to_zoned(zone.clone()));
        format!(
            "{given}; {waiting} are unused, and go from {} on",
            until.strftime("%Y-%m-%d %H:%M")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_how_much_came_back_and_when_the_rest_goes() {
        let said = |given_back, waiting| {
            let waits_until = (waiting > 0).then(|| "2026-11-23T12:30:00Z".parse().unwrap());
            let given = GivenBack { given_back, waiting, waits_until, notes: Vec::new() };
            given.sentence("vfs:///backups", &TimeZone::UTC)
        };
        assert_eq!(
            said(0, 0),
            "no space was given back at \"vfs:///backups\"; nothing waits for deletion"
        );
        let both = said(3_000_000, 5_000_000);
        assert!(both.contains("were given back at \"vfs:///backups\"; "), "{both}");
        assert!(both.ends_with("are unused, and go from 2026-11-23 12:30 on"), "{both}");
    }
}
