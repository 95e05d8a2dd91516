//! `status`: is everything safe? What a person looks at first.

use std::sync::Arc;

use jiff::{Timestamp, Zoned};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Context, crontab, print_json, print_line};
use crate::{
    app::{
        self, serve,
        status::{self, Expected, Known, VolumeStatus},
    },
    clock::{Clock, SystemClock},
    diagnostic,
    error::Result,
    freshness::Freshness,
    output::{Cell, Column, age, table},
    progress,
    runs::Store,
    schedule::Source,
    text::{Style, escape, styled},
};

/// 0 where all is well, 1 where something is wrong.
pub(super) async fn status(context: &Context, cancellation: &CancellationToken) -> Result<u8> {
    let config = &context.config;
    let served = serve::is_served(config).await;
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let source = Source::find(config);
    // Where `serve` was not started, the crontab that comes with the program says nothing of when backups are due.
    let entries = if served != Some(false) || source != Source::BuiltIn {
        let checked = source.check(&crontab::surroundings(context));
        if !checked.errors.is_empty() {
            problems.push(format!("the crontab \"{source}\" has errors: see \"convoy-backups crontab check\""));
        }
        checked.crontab.entries
    } else {
        Vec::new()
    };
    match served {
        Some(true) => {}
        Some(false) => {
            notes.push("\"convoy-backups serve\" does not run here: nothing is started by the crontab".into())
        }
        None => problems
            .push("\"convoy-backups serve\" was killed and does not run: nothing is started by the crontab".into()),
    }
    let store = Store::new(&config.data_dir);
    let now = SystemClock.now_local();
    let mut known = Known { volumes: Vec::new(), unreachable: None, forgotten: None };
    for expected in Expected::by_daemon(&Arc::new(config.clone()), &entries) {
        if expected.config().backup_url.is_none() {
            problems.push("no backup destination is set: set BKUP_BACKUP_URL".into());
        }
        let connection = app::connect(expected.config(), progress::none()).await?;
        let seen = status::volumes(&status::guards(&connection), &store, &expected, now.timestamp()).await;
        connection.close(cancellation, |text| context.remark(text)).await;
        known.volumes.extend(seen.volumes);
        known.unreachable = seen.unreachable.or(known.unreachable);
        known.forgotten = seen.forgotten.or(known.forgotten);
    }
    problems.extend(known.forgotten.as_ref().map(|error| format!("what ran before is not known: {error}")));
    if known.volumes.is_empty() && known.unreachable.is_none() {
        notes.push("there are no volumes".into());
    }
    let new = known.volumes.iter().filter(|volume| volume.backup.is_none() && volume.problems.is_empty());
    notes.extend(new.map(|volume| format!("\"{}\" has no backup yet", volume.name)));
    problems.extend(status::failed_runs(&store));
    let waiting = context.teller.waiting().len();
    if waiting > 0 {
        problems.push(format!("{waiting} messages could not be sent yet: see \"convoy-backups notify list\""));
    }
    if context.teller.channels().is_empty() {
        notes.push("nobody is told when a backup fails: set BKUP_EMAIL_ENABLED=true or BKUP_WEBHOOK_URL".into());
    }
    let wrong = known.volumes.iter().filter(|volume| !volume.problems.is_empty()).count();
    let is_well = wrong == 0 && problems.is_empty() && known.unreachable.is_none();
    if context.flags.json {
        print_json(&json!({
            "ok": is_well,
            "serving": served == Some(true),
            "volumes": known.volumes.iter().map(describe).collect::<Vec<_>>(),
            "daemon_error": known.unreachable.as_ref().map(diagnostic::to_json),
            "problems": problems,
            "notes": notes,
        }));
    } else if !(context.flags.quiet && is_well) {
        show(context, &known, wrong, is_well, &problems, &notes, &now);
    }
    Ok(u8::from(!is_well))
}

fn describe(volume: &VolumeStatus) -> Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    let (state, limit) = match volume.freshness {
        Freshness::Until(limit) => ("fresh", Some(limit)),
        Freshness::Overdue(limit) => ("overdue", Some(limit)),
        Freshness::Unscheduled => ("unscheduled", None),
    };
    json!({
        "name": volume.name,
        "last_snapshot": time(volume.snapshot),
        "last_backup": volume.backup.as_ref().map(|backup| json!({
            "url": backup.url, "snapshot_time": backup.taken.to_string(), "made": backup.made.to_string(),
        })),
        "next_snapshot": time(volume.next_snapshot),
        "next_backup": time(volume.next_backup),
        "backup": state,
        "backup_due_by": time(limit),
        "problems": volume.problems,
    })
}

fn show(
    context: &Context,
    known: &Known,
    wrong: usize,
    is_well: bool,
    problems: &[String],
    notes: &[String],
    now: &Zoned,
) {
    let (width, colour) = context.output();
    let say = |text: &str, style| print_line(&styled(&escape(text), style, colour));
    let has_fresh = |volume: &VolumeStatus| volume.backup.is_some() && matches!(volume.freshness, Freshness::Until(_));
    match is_well {
        true if !known.volumes.is_empty() && known.volumes.iter().all(has_fresh) => {
            say("All volumes have a good backup that is new enough.", Style::Green);
        }
        true => say("Nothing is known to be wrong.", Style::Green),
        false if wrong > 0 => {
            say(&format!("{wrong} of {} volumes are not safe.", known.volumes.len()), Style::Red);
        }
        false => say("Something is wrong.", Style::Red),
    }
    if let Some(error) = &known.unreachable {
        say(&format!("The daemon: {error}"), Style::Red);
        if let Some(hint) = &error.hint {
            say(&format!("  -> {hint}"), Style::Cyan);
        }
    }
    problems.iter().for_each(|problem| say(problem, Style::Red));
    if !known.volumes.is_empty() {
        let columns = [
            Column::left("VOLUME"),
            Column::left("LAST SNAPSHOT"),
            Column::left("LAST GOOD BACKUP"),
            Column::left("NEXT BACKUP"),
            Column::words("WHAT IS WRONG"),
        ];
        let rows = known.volumes.iter().map(|volume| row(volume, now.timestamp())).collect();
        print_line(&format!("\n{}", table(&columns, rows, width, colour).trim_end()));
        // A table cuts what is wrong; here it stands whole.
        for volume in known.volumes.iter().filter(|volume| !volume.problems.is_empty()) {
            print_line("");
            say(&volume.name, Style::Bold);
            volume.problems.iter().for_each(|problem| print_line(&format!("  {}", escape(problem))));
        }
    }
    if !notes.is_empty() {
        print_line("");
        notes.iter().for_each(|note| say(&format!("note: {note}"), Style::Faint));
    }
}

fn row(volume: &VolumeStatus, now: Timestamp) -> Vec<Cell> {
    let ago = |time: Option<Timestamp>| time.map(|time| age(time, now)).unwrap_or_default();
    let style = match volume.freshness {
        Freshness::Until(_) => Style::Green,
        Freshness::Overdue(_) => Style::Red,
        Freshness::Unscheduled => Style::Yellow,
    };
    let next = volume.next_backup.map_or_else(|| "not scheduled".to_owned(), |time| age(time, now));
    vec![
        volume.name.as_str().into(),
        ago(volume.snapshot).into(),
        Cell::from(volume.backup.as_ref().map_or_else(|| "none".to_owned(), |backup| age(backup.made, now)))
            .styled(style),
        next.into(),
        Cell::from(volume.problems.first().cloned().unwrap_or_default()).styled(Style::Red),
    ]
}
