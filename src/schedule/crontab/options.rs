//! The options of a line, between its schedule and its script: `@catchup`, `@jitter`, `@timeout`.

use std::time::Duration;

use super::line::{CrontabLine, LineError};
use crate::{error::Result, suggest::did_you_mean_or, units::parse_duration};

/// The options that a line may have before its script.
pub(super) const OPTIONS: [&str; 3] = ["@catchup", "@jitter", "@timeout"];

/// The options of a line.
#[derive(Debug, Default)]
pub(super) struct LineOptions {
    pub(super) catch_up: Option<bool>,
    pub(super) jitter: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    /// The options as they were written.
    pub(super) texts: Vec<String>,
}

pub(super) fn options(line: &CrontabLine<'_>, from: usize) -> Result<(LineOptions, usize)> {
    let (mut options, mut end) = (LineOptions::default(), from);
    while let Some((text, at)) = line.word(end).filter(|(text, _)| text.starts_with('@')) {
        end = at + text.len();
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let value_at = (at + name.len() + 1).min(end);
        let duration =
            || parse_duration(value).map_err(|error| line.located(error, value_at, None));
        match name {
            "@catchup" => {
                options.catch_up = Some(match value {
                    "on" | "true" | "yes" | "1" => true,
                    "off" | "false" | "no" | "0" => false,
                    _ => {
                        let wrong =
                            LineError::new(value_at, format!("\"{value}\" is neither on nor off"));
                        return Err(line.error(wrong.hint("write @catchup=off or @catchup=on")));
                    }
                });
            }
            "@jitter" => options.jitter = Some(duration()?),
            "@timeout" => {
                let timeout = duration()?;
                if timeout.is_zero() {
                    let wrong =
                        LineError::new(value_at, "a run with no time at all can't do anything");
                    return Err(line.error(wrong.hint("write @timeout=2h, or leave it out")));
                }
                options.timeout = Some(timeout);
            }
            _ => {
                let otherwise = "a line's options are @catchup=off, @jitter=30s and @timeout=2h";
                let hint = did_you_mean_or(name, OPTIONS, otherwise);
                return Err(line.error(
                    LineError::new(at, format!("\"{name}\" is not an option of a line")).hint(hint),
                ));
            }
        }
        options.texts.push(text.to_owned());
    }
    Ok((options, end))
}
