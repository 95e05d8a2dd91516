//! Standard output: lines for people, JSON for programs.

use std::io::Write;

/// Prints a line on standard output. A reader that went away (`| head`) is not an error.
pub(super) fn print_line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints JSON on standard output. It is indented, because people read it now and then.
pub(super) fn print_json(value: &impl serde::Serialize) {
    print_line(
        &serde_json::to_string_pretty(value)
            .unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}")),
    );
}
