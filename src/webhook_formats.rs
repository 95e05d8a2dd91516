//! The formats of a webhook's body: pure functions from a message to an HTTP request, one file
//! each. A new format is a file and a row in [`WORDS`]: the parser, the hint, the help and the page
//! of settings are made from the table.
//!
//! This room lies below `config`, which knows the words, and below `notify`, which sends.

mod content;
mod format;
mod gotify;
mod healthchecks;
mod json;
mod ntfy;
mod slack;
#[cfg(test)]
mod tests;

pub(crate) use content::{Content, Event, digest};
pub(crate) use format::Format;

/// Every format, by its word in `BKUP_WEBHOOK_FORMAT`.
pub(crate) const WORDS: &[(&str, &Format)] = &[
    ("json", &json::FORMAT),
    ("slack", &slack::FORMAT),
    ("ntfy", &ntfy::FORMAT),
    ("healthchecks", &healthchecks::FORMAT),
    ("gotify", &gotify::FORMAT),
];
