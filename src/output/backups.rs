//! Tables of backups, and of backups that were made.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::table::{Cell, Column, size};
use crate::{
    convoy::{ADDED_SIZE, BACKUP_SIZE, Backup, BackupUrl, FILE_COUNT, chosen::short_id},
    text::{Style, counted, with_separators},
    units::{format_duration, format_size},
};

const COLUMNS: [Column; 5] = [
    Column::left("VOLUME"),
    Column::left("AS OF"),
    Column::left("BACKUP"),
    Column::right("SIZE"),
    Column::right("NEW"),
];

/// The columns of a table, and its rows.
pub(super) type Rows = (Vec<Column>, Vec<Vec<Cell>>);

/// How times are shown; the text is the daemon's, where it is no time.
pub(super) type Times<'a> = &'a dyn Fn(Option<Timestamp>, &str) -> String;

/// How a backup is marked whose data was not looked at.
const NOT_VERIFIED: &str = "not verified";

/// A table of backups. Where several hosts made them, a column says which. Where one of them is broken,
/// partial, in doubt, not complete or not verified, the last column says so.
pub(super) fn listed(backups: &[Backup], time: Times<'_>) -> Rows {
    let mut columns = COLUMNS.to_vec();
    let mut rows: Vec<_> = backups.iter().map(|backup| row(backup, time)).collect();
    let hosts: BTreeSet<_> = backups.iter().map(|backup| backup.field("Host")).collect();
    if hosts.len() > 1 {
        columns.push(Column::left("HOST"));
        for (row, backup) in rows.iter_mut().zip(backups) {
            row.push(backup.field("Host").into());
        }
    }
    if backups.iter().any(|backup| note(backup).is_some()) {
        columns.push(Column::words("NOTE"));
        for (row, backup) in rows.iter_mut().zip(backups) {
            let (text, is_wrong) = note(backup).unwrap_or_default();
            let cell = Cell::from(text);
            row.push(if is_wrong { cell.styled(Style::Red) } else { cell });
        }
    }
    (columns, rows)
}

fn row(backup: &Backup, time: Times<'_>) -> Vec<Cell> {
    let first_of = |names: &[&str]| {
        let found = names.iter().map(|name| backup.field(name)).find(|text| !text.is_empty());
        found.unwrap_or_default().to_owned()
    };
    let bytes = |names: &[&str]| first_of(names).parse().ok();
    let at = backup.taken().or_else(|| backup.created());
    let name = first_of(&["BackupName", "EBSSnapshotID", "BackupURL"]);
    vec![
        first_of(&["VolumeName", "EBSVolumeID"]).into(),
        time(at, &first_of(&["CreatedTime", "StartTime"])).into(),
        short_id(&name).into(),
        size(bytes(&[BACKUP_SIZE, "Size"])),
        size(bytes(&[ADDED_SIZE])),
    ]
}

/// A table of backups that were made: with their URLs, where it is for no terminal.
pub(super) fn made(made: &[Made], is_for_a_terminal: bool) -> Rows {
    let row = |made: &Made| {
        let what = Cell::from(made.what.as_str());
        let what = if made.is_in_doubt { what.styled(Style::Red) } else { what };
        let name = if is_for_a_terminal { &made.name } else { &made.url };
        vec![made.volume.as_str().into(), name.as_str().into(), what]
    };
    let columns = [Column::left("VOLUME"), Column::left("BACKUP"), Column::words("WHAT IT HAS")];
    (columns.to_vec(), made.iter().map(row).collect())
}

/// What there is to say of a backup, and whether something is wrong with it.
fn note(backup: &Backup) -> Option<(String, bool)> {
    if !backup.is_complete() {
        return Some((format!("not complete: {}", backup.field("State")), true));
    }
    if let Some(why) = backup.broken() {
        return Some((format!("broken: {why}"), true));
    }
    if let Some(why) = backup.doubt() {
        let word = if backup.moment().lacks().is_some() { "partial" } else { "in doubt" };
        return Some((format!("{word}: {why}"), true));
    }
    (backup.is_verified() == Some(false)).then(|| (NOT_VERIFIED.to_owned(), false))
}

/// A backup that was made.
#[derive(Debug)]
pub(super) struct Made {
    volume: String,
    url: String,
    name: String,
    /// `3.2 GiB in 1,204 files, 41 MiB new, checked, 12s`.
    what: String,
    is_in_doubt: bool,
}

impl Made {
    /// The backup with this URL, of a script's result with these fields.
    pub(super) fn of(url: &str, fields: &Map<String, Value>) -> Self {
        let number = |name: &str| fields.get(name).and_then(Value::as_u64);
        let parsed = BackupUrl::parse(url).ok();
        let volume = parsed.as_ref().and_then(BackupUrl::volume);
        let volume = volume.or_else(|| fields.get("VolumeName").and_then(Value::as_str));
        let mut what = Vec::new();
        match (number(BACKUP_SIZE).map(format_size), number(FILE_COUNT)) {
            (Some(size), Some(count)) => {
                let files = if count == 1 { "file" } else { "files" };
                what.push(format!("{size} in {} {files}", with_separators(count)));
            }
            (Some(size), None) => what.push(size),
            (None, Some(count)) => {
                what.push(counted(usize::try_from(count).unwrap_or(usize::MAX), "file", "files"));
            }
            (None, None) => {}
        }
        what.extend(number(ADDED_SIZE).map(|added| format!("{} new", format_size(added))));
        let is_verified = fields.get("Verified").and_then(Value::as_bool) != Some(false);
        what.push(if is_verified { "checked" } else { NOT_VERIFIED }.to_owned());
        what.extend(number("Seconds").map(|seconds| match seconds {
            0 => "under 1s".to_owned(),
            _ => format_duration(Duration::from_secs(seconds)),
        }));
        let doubt = fields.get("Doubt").and_then(Value::as_str);
        what.extend(doubt.map(|why| format!("in doubt: {why}")));
        let name = parsed.as_ref().map_or(url, |url| short_id(url.backup()));
        Self {
            volume: volume.unwrap_or_default().to_owned(),
            url: url.to_owned(),
            name: if name.is_empty() { url } else { name }.to_owned(),
            what: what.join(", "),
            is_in_doubt: doubt.is_some(),
        }
    }
}
