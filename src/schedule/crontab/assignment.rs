//! Lines of the form `NAME=value`, and how to show a line without its secrets.

use std::borrow::Cow;

use crate::config::{SETTINGS, Setting};

/// A `NAME=value` line. The value may be a secret, so the type has no `Debug`.
pub(super) struct Assignment<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) name_at: usize,
    pub(super) value_at: usize,
}

/// Reads an assignment. `None`: the line is no assignment. As in crontab(5), there may be blanks
/// around `=`, and quotes around name or value.
pub(super) fn assignment(line: &str) -> Option<Assignment<'_>> {
    let start = line.len() - line.trim_start().len();
    let (left, right) = line.split_once('=')?;
    let (name, name_offset) = unquoted(left.trim());
    let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if !is_name {
        return None;
    }
    let (value, value_offset) = unquoted(right.trim());
    let value_at = left.len() + 1 + (right.len() - right.trim_start().len()) + value_offset;
    Some(Assignment { name, value, name_at: start + name_offset, value_at })
}

fn unquoted(text: &str) -> (&str, usize) {
    let inside = |quote| text.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).map_or((text, 0), |inner| (inner, 1))
}

pub(super) fn setting(name: &str) -> Option<&'static Setting> {
    let find = |name: &str| SETTINGS.iter().find(|setting| setting.name == name);
    find(name).or_else(|| find(name.strip_suffix("_FILE")?))
}

/// The line with its value hidden, if the value is a secret or may be one by its name.
pub(crate) fn without_secrets(line: &str) -> Cow<'_, str> {
    let Some(assigned) = assignment(line) else { return Cow::Borrowed(line) };
    let by_name = ["PASS", "SECRET", "TOKEN", "KEY"]
        .iter()
        .any(|word| assigned.name.to_uppercase().contains(word));
    let is_secret = match setting(assigned.name) {
        Some(setting) => setting.is_secret() && setting.name == assigned.name,
        // A misspelt name may have been meant as a secret one.
        None => by_name || assigned.name.starts_with("BKUP_"),
    };
    if assigned.value.is_empty() || !is_secret {
        return Cow::Borrowed(line);
    }
    Cow::Owned(format!("{}(secret)", &line[..assigned.value_at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_as_crontab_5_reads_them() {
        for (line, name, value, value_at) in [
            ("CRON_TZ=Europe/Berlin", "CRON_TZ", "Europe/Berlin", 8),
            ("  BKUP_HOST = ' a b ' ", "BKUP_HOST", " a b ", 15),
            ("\"X\"=\"y\"", "X", "y", 5),
            ("X=", "X", "", 2),
            ("X=a=b # c", "X", "a=b # c", 2),
        ] {
            let assigned = assignment(line).unwrap();
            assert_eq!(
                (assigned.name, assigned.value, assigned.value_at),
                (name, value, value_at),
                "{line}"
            );
        }
        for line in ["* * * * * backup --volume=vol1", "@daily backup --x=y", "0=1", "=x", "a b=c"]
        {
            assert!(assignment(line).is_none(), "{line}");
        }
    }

    #[test]
    fn secrets_are_hidden_wherever_a_line_is_shown() {
        for (line, shown) in [
            ("BKUP_EMAIL_SMTP_PASS=hush", "BKUP_EMAIL_SMTP_PASS=(secret)"),
            (" BKUP_EMAIL_SMTP_PAS = 'hush'", " BKUP_EMAIL_SMTP_PAS = '(secret)"),
            (
                "BKUP_EMAIL_SMTP_PASS_FILE=/run/secrets/x",
                "BKUP_EMAIL_SMTP_PASS_FILE=/run/secrets/x",
            ),
            ("AWS_SECRET_ACCESS_KEY=hush", "AWS_SECRET_ACCESS_KEY=(secret)"),
            ("BKUP_WEBHOOK_URL=https://hush", "BKUP_WEBHOOK_URL=(secret)"),
            (
                "BKUP_EMAIL_SMTP_PASS_FILE=/run/secrets/x",
                "BKUP_EMAIL_SMTP_PASS_FILE=/run/secrets/x",
            ),
            ("BKUP_HOST=here", "BKUP_HOST=here"),
        ] {
            assert_eq!(without_secrets(line), shown);
        }
    }
}
