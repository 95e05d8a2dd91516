//! Standard output: lines for people, JSON for programs.

use std::io::Write;

/// A line on standard output; a reader that went away (`| head`) is no failure.
pub(super) fn print_line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// JSON as a program wants it: indented, for the eye that looks at it now and then.
pub(super) fn print_json(value: &impl serde::Serialize) {
    print_line(
        &serde_json::to_string_pretty(value)
            .unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}")),
    );
}
