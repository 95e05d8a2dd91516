//! Shows a script's result to a person: as tables with ages and sizes, chosen by the shape of its
//! JSON.
//!
//! Programs get the JSON itself. They must not parse this output.

mod backups;
mod table;

use jiff::{Timestamp, Zoned};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    convoy::{
        ApiTime, Backup, BackupUrl, CONTAINERS, MOMENT, NotBackedUp, PROBLEM, PROJECT, Snapshot,
        Volume,
    },
    text::{Style, counted, escape, escaped_lines, styled, width},
};
use backups::Made;
use table::size;
pub(crate) use table::{Cell, Column, table};

/// The distance of a time from now, in the largest unit: `3h ago`, `in 2m`, `just now`.
pub(crate) fn age(time: Timestamp, now: Timestamp) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;
    let seconds = now.duration_since(time).as_secs();
    let amount = match seconds.unsigned_abs() {
        0 => return "just now".to_owned(),
        length if length < MINUTE => format!("{length}s"),
        length if length < HOUR => format!("{}m", length / MINUTE),
        length if length < DAY => format!("{}h", length / HOUR),
        length if length < 61 * DAY => format!("{}d", length / DAY),
        length if length < 2 * YEAR => format!("{} months", length / (YEAR / 12)),
        length => format!("{} years", length / YEAR),
    };
    if seconds > 0 { format!("{amount} ago") } else { format!("in {amount}") }
}

/// A time in the zone of `now`, with its age: `2026-11-23 07:00 (3h ago)`.
pub(crate) fn moment(time: Timestamp, now: &Zoned) -> String {
    let local = time.to_zoned(now.time_zone().clone());
    format!(
        "{} {:02}:{:02} ({})",
        local.date(),
        local.hour(),
        local.minute(),
        age(time, now.timestamp())
    )
}

/// A script's result for a person, with a newline at its end. Times are shown in the zone of `now`.
/// `width` is the number of columns of the terminal, if there is one.
///
/// Volumes, snapshots, backups, URLs of backups, the plan of a pruning and failures are recognized
/// by their fields, alone or in a list, which may mix them. Another flat map is shown with one
/// field in each line, and any other value as JSON.
pub(crate) fn render_result(
    result: &Value,
    now: &Zoned,
    colour: bool,
    width: Option<usize>,
) -> String {
    let view = View { now, colour, width };
    match result {
        Value::Null => "done\n".to_owned(),
        Value::String(text) => escaped_lines(text).map(|line| format!("{line}\n")).collect(),
        Value::Array(items) if items.is_empty() => "nothing was found\n".to_owned(),
        Value::Array(items) if items.iter().all(is_scalar) => {
            items.iter().map(|item| scalar(item) + "\n").collect()
        }
        Value::Array(items) => view.things(items).unwrap_or_else(|| json(result)),
        Value::Object(fields) => view
            .things(std::slice::from_ref(result))
            .or_else(|| view.fields(fields))
            .unwrap_or_else(|| json(result)),
        Value::Bool(_) | Value::Number(_) => format!("{result}\n"),
    }
}

/// A value that is shown as a row of a table.
#[derive(Debug)]
enum Thing<'a> {
    Volume(Box<Volume>),
    Snapshot(Box<Snapshot>),
    Backup(Backup),
    Made(Made),
    Planned(Planned<'a>),
    NotBackedUp(NotBackedUp),
    Failure { what: &'a str, error: &'a str },
}

/// An item of the plan of a pruning.
#[derive(Debug)]
struct Planned<'a> {
    keep: bool,
    /// Whether the plan was carried out. A plan alone has its fields in lower case.
    is_done: bool,
    is_deleted: bool,
    /// The number of backups in a row for all that are left alone for one reason.
    left: Option<usize>,
    failed: Option<&'a str>,
    volume: &'a str,
    id: String,
    time: Option<Timestamp>,
    reasons: String,
}

impl<'a> Thing<'a> {
    /// Recognizes a value by its fields: as one thing, or as a thing that was made and the failure
    /// that followed. `None`: the value is not recognized.
    fn all_of(value: &'a Value) -> Option<Vec<Self>> {
        let fields = value.as_object()?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        if fields.contains_key("Kind") && fields.contains_key("Why") {
            return Some(vec![Self::NotBackedUp(NotBackedUp::deserialize(value).ok()?)]);
        }
        if let Some(planned) = Planned::read(fields) {
            return Some(vec![Self::Planned(planned)]);
        }
        let mut things = Vec::new();
        if let Some(url) = text("URL") {
            things.push(Self::Made(Made::of(url, fields)));
        }
        if let Some(error) = text("Error") {
            let what = ["VolumeName", "SnapshotName", "Name", "URL", "BackupURL"]
                .iter()
                .find_map(|name| text(name));
            things.push(Self::Failure { what: what.unwrap_or_default(), error });
        }
        if !things.is_empty() {
            return Some(things);
        }
        let is_backup =
            ["BackupURL", "BackupName", "EBSSnapshotID"].iter().any(|name| text(name).is_some());
        let thing = if is_backup {
            Self::Backup(Backup::deserialize(value).ok()?)
        } else if fields.contains_key("Driver") {
            Self::Volume(Box::new(Volume::deserialize(value).ok()?))
        } else {
            Self::Snapshot(Box::new(Snapshot::deserialize(value).ok()?))
        };
        Some(vec![thing])
    }
}

impl Planned<'_> {
    fn outcome(&self) -> Outcome {
        match self {
            Self { failed: Some(_), .. } => Outcome::Failed,
            Self { left: Some(_), .. } => Outcome::LeftAlone,
            Self { keep: true, .. } => Outcome::Keep,
            Self { is_done: true, is_deleted: false, .. } => Outcome::NotTried,
            _ => Outcome::Delete,
        }
    }
}

impl<'a> Planned<'a> {
    fn read(fields: &'a Map<String, Value>) -> Option<Self> {
        let field = |names: &[&str]| names.iter().find_map(|name| fields.get(*name));
        let text = |names: &[&str]| field(names).and_then(Value::as_str);
        if let (Some(why), Some(left)) =
            (text(&["Why"]), field(&["Left"]).and_then(Value::as_array))
        {
            return Some(Self {
                keep: true,
                left: Some(left.len()),
                is_done: false,
                is_deleted: false,
                failed: None,
                volume: text(&["VolumeName"]).unwrap_or_default(),
                id: counted(left.len(), "backup", "backups"),
                time: None,
                reasons: why.to_owned(),
            });
        }
        let reasons = match field(&["Reasons", "reasons"])? {
            Value::Array(reasons) => reasons.iter().map(scalar).collect::<Vec<_>>().join(", "),
            reason => scalar(reason),
        };
        let id = text(&["BackupURL", "SnapshotName", "URL", "id"])?;
        Some(Self {
            left: None,
            keep: field(&["Keep", "keep"])?.as_bool()?,
            is_done: fields.contains_key("Keep"),
            is_deleted: fields.contains_key("Deleted"),
            failed: text(&["Error"]),
            volume: text(&["VolumeName"]).unwrap_or_default(),
            id: BackupUrl::parse(id).map_or_else(|_| id.to_owned(), |url| url.backup().to_owned()),
            time: text(&["CreatedTime", "time"])
                .and_then(|time| ApiTime::parse(time).timestamp().or_else(|| time.parse().ok())),
            reasons,
        })
    }
}

/// What becomes of an item of a plan, or became of it.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Keep,
    Delete,
    LeftAlone,
    Failed,
    NotTried,
}

impl Outcome {
    const ALL: [Self; 5] =
        [Self::Keep, Self::Delete, Self::LeftAlone, Self::Failed, Self::NotTried];

    const fn shown(self, is_done: bool) -> (&'static str, Style) {
        match (self, is_done) {
            (Self::Keep, false) => ("keep", Style::Green),
            (Self::Keep, true) => ("kept", Style::Green),
            (Self::Delete, false) => ("delete", Style::Yellow),
            (Self::Delete, true) => ("deleted", Style::Yellow),
            (Self::LeftAlone, _) => ("left alone", Style::Green),
            (Self::Failed, _) => ("failed", Style::Red),
            (Self::NotTried, _) => ("not tried", Style::Yellow),
        }
    }
}

struct View<'a> {
    now: &'a Zoned,
    colour: bool,
    width: Option<usize>,
}

impl View<'_> {
    /// Makes a table for each kind of thing, failures last. `None`: a value is not recognized.
    fn things(&self, values: &[Value]) -> Option<String> {
        let mut volumes = Vec::new();
        let mut snapshots = Vec::new();
        let mut backups = Vec::new();
        let mut made = Vec::new();
        let mut planned = Vec::new();
        let mut left_out = Vec::new();
        let mut failures = String::new();
        for value in values {
            for thing in Thing::all_of(value)? {
                match thing {
                    Thing::Volume(volume) => volumes.push(*volume),
                    Thing::Snapshot(snapshot) => snapshots.push(self.snapshot(&snapshot)),
                    Thing::Backup(backup) => backups.push(backup),
                    Thing::Made(backup) => made.push(backup),
                    Thing::Planned(item) => planned.push(item),
                    Thing::NotBackedUp(left) => left_out.push(vec![
                        left.name.into(),
                        left.why.into(),
                        left.containers.join(", ").into(),
                    ]),
                    Thing::Failure { what, error } => failures.push_str(&self.failure(what, error)),
                }
            }
        }
        let tables = [
            self.volumes(&volumes),
            self.table(&SNAPSHOT, snapshots),
            self.rows(backups::listed(&backups, &|time, text| self.time(time, text))),
            self.rows(backups::made(&made, self.width.is_some())),
            self.plan(&planned),
            self.table(&NOT_BACKED_UP, left_out),
            failures,
        ];
        Some(tables.into_iter().filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n"))
    }

    fn rows(&self, (columns, rows): (Vec<Column>, Vec<Vec<Cell>>)) -> String {
        self.table(&columns, rows)
    }

    fn table(&self, columns: &[Column], rows: Vec<Vec<Cell>>) -> String {
        if rows.is_empty() { String::new() } else { table(columns, rows, self.width, self.colour) }
    }

    /// A table of volumes. Convoy does not tell how their moments are held, nor which
    /// containers have them. Where a volume's files
    /// can't be read, a last column says why.
    fn volumes(&self, volumes: &[Volume]) -> String {
        let mut columns = VOLUME.to_vec();
        let mut rows: Vec<_> = volumes.iter().map(|volume| self.volume(volume)).collect();
        if volumes.iter().any(|volume| volume.told(MOMENT).is_some()) {
            columns.insert(2, Column::left("MOMENT"));
            for (row, volume) in rows.iter_mut().zip(volumes) {
                row.insert(2, volume.told(MOMENT).unwrap_or_default().into());
            }
        }
        if volumes.iter().any(|volume| volume.told(PROJECT).is_some()) {
            columns.push(Column::left("PROJECT"));
            for (row, volume) in rows.iter_mut().zip(volumes) {
                row.push(volume.told(PROJECT).unwrap_or_default().into());
            }
        }
        if volumes.iter().any(|volume| volume.told(CONTAINERS).is_some()) {
            columns.push(Column::words("USED BY"));
            for (row, volume) in rows.iter_mut().zip(volumes) {
                row.push(volume.told(CONTAINERS).unwrap_or_default().into());
            }
        }
        if volumes.iter().any(|volume| volume.told(PROBLEM).is_some()) {
            columns.push(Column::words("WHAT IS WRONG"));
            for (row, volume) in rows.iter_mut().zip(volumes) {
                let why = volume.told(PROBLEM).unwrap_or_default();
                row.push(Cell::from(why).styled(Style::Red));
            }
        }
        self.table(&columns, rows)
    }

    fn volume(&self, volume: &Volume) -> Vec<Cell> {
        let snapshots = volume.snapshots_by_time();
        let newest = snapshots.last().map(|newest| match newest.created_time.timestamp() {
            Some(time) => format!("{} ({})", newest.name, age(time, self.now.timestamp())),
            None => newest.name.clone(),
        });
        vec![
            volume.name.as_str().into(),
            volume.driver.as_str().into(),
            size(volume.size()),
            snapshots.len().to_string().into(),
            newest.unwrap_or_default().into(),
            volume.mount_point.as_str().into(),
            self.time(volume.created_time.timestamp(), volume.created_time.as_str()).into(),
        ]
    }

    fn snapshot(&self, snapshot: &Snapshot) -> Vec<Cell> {
        let created = &snapshot.created_time;
        vec![
            snapshot.name.as_str().into(),
            snapshot.volume_name.as_str().into(),
            self.time(created.timestamp(), created.as_str()).into(),
        ]
    }

    fn plan(&self, items: &[Planned<'_>]) -> String {
        if items.is_empty() {
            return String::new();
        }
        let is_done = items.iter().any(|item| item.is_done);
        let mut counts = [0; Outcome::ALL.len()];
        let mut rows = Vec::new();
        for item in items {
            let outcome = item.outcome();
            counts[outcome as usize] += item.left.unwrap_or(1);
            let (word, style) = outcome.shown(is_done);
            rows.push(vec![
                Cell::from(word).styled(style),
                item.volume.into(),
                self.time(item.time, "").into(),
                item.id.as_str().into(),
                item.failed.unwrap_or(&item.reasons).into(),
            ]);
        }
        // What is kept and deleted is always counted, the rest where there is any.
        let sum = Outcome::ALL.into_iter().enumerate().filter(|(at, _)| *at < 2 || counts[*at] > 0);
        let sum = sum.map(|(at, outcome)| format!("{} {}", outcome.shown(is_done).0, counts[at]));
        let columns = if is_done { &OUTCOME } else { &PLAN };
        format!("{}\n{}\n", self.table(columns, rows), sum.collect::<Vec<_>>().join(", "))
    }

    fn failure(&self, what: &str, error: &str) -> String {
        let place = if what.is_empty() { String::new() } else { format!("{}: ", escape(what)) };
        format!(
            "{}: {place}{}\n",
            styled("failed", Style::Red, self.colour),
            escape(error.trim_end())
        )
    }

    /// A time, or the daemon's text if it is no time.
    fn time(&self, time: Option<Timestamp>, text: &str) -> String {
        time.map_or_else(|| text.to_owned(), |time| moment(time, self.now))
    }

    /// A flat map, with one field in each line. `None`: the map is not flat.
    fn fields(&self, fields: &Map<String, Value>) -> Option<String> {
        let label = fields.keys().map(|name| width(&escape(name))).max().unwrap_or(0) + 2;
        let mut text = String::new();
        for (name, value) in fields {
            let values: Vec<String> = match value {
                Value::Array(items) if items.iter().all(is_scalar) => {
                    items.iter().map(scalar).collect()
                }
                value if is_scalar(value) => vec![scalar(value)],
                _ => return None,
            };
            let name = escape(name);
            let mut lead = format!(
                "{}{}",
                styled(&name, Style::Bold, self.colour),
                " ".repeat(label - width(&name))
            );
            for value in if values.is_empty() { vec!["none".to_owned()] } else { values } {
                text.push_str(&format!("{lead}{value}\n"));
                lead = " ".repeat(label);
            }
        }
        Some(if text.is_empty() { "nothing was found\n".to_owned() } else { text })
    }
}

const VOLUME: [Column; 7] = [
    Column::left("NAME"),
    Column::left("DRIVER"),
    Column::right("SIZE"),
    Column::right("SNAPSHOTS"),
    Column::words("NEWEST SNAPSHOT"),
    Column::words("MOUNTED"),
    Column::words("CREATED"),
];
const SNAPSHOT: [Column; 3] =
    [Column::left("SNAPSHOT"), Column::left("VOLUME"), Column::left("CREATED")];
const NOT_BACKED_UP: [Column; 3] =
    [Column::left("NOT BACKED UP"), Column::words("WHY"), Column::words("USED BY")];
const PLAN: [Column; 5] = plan_columns("PLAN");
const OUTCOME: [Column; 5] = plan_columns("OUTCOME");

const fn plan_columns(first: &'static str) -> [Column; 5] {
    [
        Column::left(first),
        Column::left("VOLUME"),
        Column::left("CREATED"),
        Column::left("BACKUP OR SNAPSHOT"),
        Column::words("WHY"),
    ]
}

fn is_scalar(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

/// A value on one line: text without quotes, `-` for `null`.
fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => escape(text).into_owned(),
        other => escape(&other.to_string()).into_owned(),
    }
}

fn json(value: &Value) -> String {
    escaped_lines(&format!("{value:#}")).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests;
