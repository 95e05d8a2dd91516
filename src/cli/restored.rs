//! What is said after a restore: what was restored, where it is, and what to do next.

use std::time::Duration;

use jiff::Zoned;
use serde_json::Value;

use crate::{
    convoy::{ApiTime, BACKUP_SIZE, BackupUrl, FILE_COUNT, Volume, chosen::short_id},
    output::moment,
    text::{command_line, escape, with_separators},
    units::{format_duration, format_size},
};

/// The lines below the table of a volume that was restored, or made: none for any other result.
pub(super) fn lines(result: &Value, now: &Zoned) -> Vec<String> {
    let Some(path) = result.pointer("/DriverInfo/Path").and_then(Value::as_str) else {
        return Vec::new();
    };
    let mut lines: Vec<_> = what(result, now).into_iter().collect();
    lines.push(format!("Its files are in {}", escape(path)));
    let Some(Ok(volume)) = result.get("Restored").map(|_| serde_json::from_value(result.clone()))
    else {
        return lines;
    };
    let Volume { name, driver, .. } = volume;
    if driver == "docker" {
        let look = [
            "docker",
            "run",
            "--rm",
            "-it",
            "-v",
            &format!("{name}:/data"),
            "debian",
            "ls",
            "-la",
            "/data",
        ];
        lines.push(format!("Look into it:  {}", command_line(look)));
    }
    let undo = command_line(["convoy-backups", "remove", &name, "--all"]);
    lines.push(format!("To undo this:  {undo}"));
    lines
}

/// `wiki as of 2026-11-22 18:00 (14h ago), from the backup 7ec99f88: 3.2 GiB in 1,204 files, in 12s`
fn what(result: &Value, now: &Zoned) -> Option<String> {
    let restored = result.get("Restored")?;
    let text = |name: &str| restored.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| text(name).parse::<u64>().ok();
    let as_of = ApiTime::parse(text("AsOf")).timestamp();
    let as_of = as_of.map_or_else(|| text("AsOf").to_owned(), |time| moment(time, now));
    let url = BackupUrl::parse(text("BackupURL")).ok()?;
    let mut how_much = Vec::new();
    how_much.extend(number(BACKUP_SIZE).map(format_size));
    how_much.extend(number(FILE_COUNT).map(|count| format!("in {} files", with_separators(count))));
    let seconds = restored.get("Seconds").and_then(Value::as_u64).unwrap_or_default();
    let took = format_duration(Duration::from_secs(seconds.max(1)));
    let how_much =
        if how_much.is_empty() { String::new() } else { format!(": {}", how_much.join(" ")) };
    Some(format!(
        "Restored {} as of {as_of}, from the backup {}{how_much}, in {took}",
        escape(text("From")),
        escape(short_id(url.backup())),
    ))
}
