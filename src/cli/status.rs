//! `status`: is everything safe? What a person looks at first.

use std::{collections::BTreeMap, sync::Arc};

use clap::ArgMatches;
use jiff::{Timestamp, Zoned};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Context, crontab, notify, print_json, print_line};
use crate::{
    app::{
        self, serve,
        status::{self, Expected, Known, VolumeStatus},
        volumes_told::is_looked_at,
    },
    clock::{Clock, SystemClock},
    diagnostic,
    error::{Error, Result},
    freshness::Freshness,
    notify::Problem,
    output::{Cell, Column, age, moment, table},
    progress,
    runs::{Store, record::RunRecord},
    schedule::Source,
    suggest::did_you_mean_or,
    text::{Style, counted, escape, styled},
};

/// So many volumes of a kind are named in one line.
const NAMED: usize = 10;

/// 0 where all is well, 1 where something is wrong.
pub(super) async fn status(context: &Context, matches: &ArgMatches, cancellation: &CancellationToken) -> Result<u8> {
    if let Some(volume) = matches.get_one::<String>("forget") {
        return forget(context, volume, cancellation).await;
    }
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
    let mut known = Known::default();
    for expected in Expected::by_daemon(&Arc::new(config.clone()), &entries) {
        if expected.config().backup_url.is_none() {
            problems.push("no backup destination is set: set BKUP_BACKUP_URL".into());
        }
        let connection = app::connect(expected.config(), progress::none()).await?;
        let seen = status::volumes(&status::guards(&connection), &store, &expected, now.timestamp()).await;
        connection.close(cancellation, |text| context.remark(text)).await;
        known.volumes.extend(seen.volumes);
        known.destinations.extend(seen.destinations);
        known.unreachable = seen.unreachable.or(known.unreachable);
        known.forgotten = seen.forgotten.or(known.forgotten);
    }
    problems.extend(known.destinations.iter().filter_map(|look| look.problem()).map(with_hint));
    problems.extend(known.forgotten.as_ref().map(|error| format!("what ran before is not known: {error}")));
    if known.volumes.is_empty() && known.unreachable.is_none() {
        notes.push("there are no volumes".into());
    }
    let new = known.volumes.iter().filter(|volume| volume.backup.is_none() && volume.problems.is_empty());
    notes.extend(new.map(|volume| format!("\"{}\" has no backup yet", volume.name)));
    if !entries.is_empty() {
        let own = entries.iter().any(|entry| entry.may_back_up && entry.script != "backup");
        notes.extend(unscheduled(&known.volumes, own));
    }
    problems.extend(status::failed_runs(&store, &known.volumes));
    let running = status::running(&store);
    let told = context.teller.problems().unwrap_or_default();
    let waiting = context.teller.waiting().len();
    if waiting > 0 {
        let messages = counted(waiting, "message", "messages");
        problems.push(format!("{messages} could not be sent yet: see \"convoy-backups notify list\""));
    }
    if context.teller.channels().is_empty() {
        notes.push("nobody is told when a backup fails: set BKUP_EMAIL_ENABLED=true or BKUP_WEBHOOK_URL".into());
    }
    let wrong = known.volumes.iter().filter(|volume| !volume.problems.is_empty()).count();
    // What was looked at just now counts as it is now; people may be told of its end a little later.
    let is_told = told.keys().any(|key| !is_looked_at(key));
    let is_well = wrong == 0 && problems.is_empty() && known.unreachable.is_none() && !is_told;
    if context.flags.json {
        print_json(&json!({
            "ok": is_well,
            "serving": served == Some(true),
            "volumes": known.volumes.iter().map(describe).collect::<Vec<_>>(),
            "daemon_error": known.unreachable.as_ref().map(diagnostic::to_json),
            "problems": problems,
            "told": notify::describe_problems(&told),
            "running": running.iter().map(describe_run).collect::<Vec<_>>(),
            "notes": notes,
        }));
    } else if !(context.flags.quiet && is_well) {
        let shown = Shown { wrong, is_well, problems: &problems, notes: &notes, running: &running, told: &told };
        show(context, &known, &shown, &now);
    }
    Ok(u8::from(!is_well))
}

/// Somebody knows that a volume is gone: it is not missed any more.
async fn forget(context: &Context, volume: &str, cancellation: &CancellationToken) -> Result<u8> {
    let checked = Source::find(&context.config).check(&crontab::surroundings(context));
    let store = Store::new(&context.config.data_dir);
    let now = SystemClock.now();
    let mut gone: Vec<String> = Vec::new();
    for expected in Expected::by_daemon(&Arc::new(context.config.clone()), &checked.crontab.entries) {
        let connection = app::connect(expected.config(), progress::none()).await?;
        let guards = status::guards(&connection);
        let seen = status::volumes(&guards, &store, &expected, now).await;
        connection.close(cancellation, |text| context.remark(text)).await;
        if let Some(error) = seen.unreachable.or(seen.forgotten) {
            return Err(error.context("whether a volume is gone is not known"));
        }
        if seen.volumes.iter().any(|known| known.name == volume && !known.lost) {
            return Err(Error::usage(format!("the volume \"{volume}\" is there: the daemon lists it"))
                .with_hint("\"remove\" deletes a volume"));
        }
        let lost = seen.volumes.iter().filter(|known| known.lost).map(|known| known.name.clone());
        gone.extend(lost);
        if gone.iter().any(|name| name == volume) && !context.flags.dry_run {
            store.forget_volume(&guards.identity(), volume, now)?;
        }
    }
    if !gone.iter().any(|name| name == volume) {
        let otherwise = "\"convoy-backups status\" says which are missed";
        return Err(Error::usage(format!("no volume \"{volume}\" is missed")).with_hint(did_you_mean_or(
            volume,
            gone.iter().map(String::as_str),
            otherwise,
        )));
    }
    if context.flags.dry_run {
        print_line(&format!("Dry run: \"{}\" would not be missed any more.", escape(volume)));
    } else {
        print_line(&format!("\"{}\" is not missed any more; its backups are kept.", escape(volume)));
    }
    Ok(0)
}

fn with_hint(error: &Error) -> String {
    error.hint.as_ref().map_or_else(|| error.to_string(), |hint| format!("{error}: {hint}"))
}

/// The volumes that no line of the crontab backs up. `own`: there are lines with scripts of the user's own.
fn unscheduled(volumes: &[VolumeStatus], own: bool) -> Option<String> {
    let names: Vec<String> = volumes
        .iter()
        .filter(|volume| !volume.is_scheduled && !volume.lost)
        .map(|volume| format!("\"{}\"", volume.name))
        .collect();
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = if names.len() > NAMED { format!(" and {} more", names.len() - NAMED) } else { String::new() };
    (!names.is_empty()).then(|| {
        let own = if own { " (what scripts of your own do is not known here)" } else { "" };
        format!("no line of the crontab backs up {shown}{more}: add one such as \"30 3 * * * backup\"{own}")
    })
}

fn describe_run(run: &RunRecord) -> Value {
    json!({
        "id": run.id, "script": run.script, "arguments": run.words(), "trigger": run.trigger, "started": run.started.to_string(),
    })
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
        "scheduled": volume.is_scheduled,
        "gone": volume.lost,
        "problems": volume.problems,
    })
}

/// What is shown besides the volumes.
struct Shown<'a> {
    /// How many volumes are not safe.
    wrong: usize,
    is_well: bool,
    problems: &'a [String],
    notes: &'a [String],
    running: &'a [RunRecord],
    told: &'a BTreeMap<String, Problem>,
}

fn show(context: &Context, known: &Known, shown: &Shown<'_>, now: &Zoned) {
    let Shown { wrong, is_well, problems, notes, running, told } = *shown;
    let (width, colour) = context.output();
    let say = |text: &str, style| print_line(&styled(&escape(text), style, colour));
    let has_fresh = |volume: &VolumeStatus| volume.backup.is_some() && matches!(volume.freshness, Freshness::Until(_));
    match is_well {
        true if !known.volumes.is_empty() && known.volumes.iter().all(has_fresh) => {
            say("All volumes have a good backup that is new enough.", Style::Green);
        }
        true => say("Nothing is known to be wrong.", Style::Green),
        false if wrong > 0 => {
            let (all, are) = (known.volumes.len(), if wrong == 1 { "is" } else { "are" });
            say(&format!("{wrong} of {} {are} not safe.", counted(all, "volume", "volumes")), Style::Red);
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
    if !running.is_empty() {
        print_line("\nRunning now:");
        for run in running {
            let words = std::iter::once(run.script.clone()).chain(run.words()).collect::<Vec<_>>().join(" ");
            print_line(&format!("  {}, running since {}", escape(&words), moment(run.started, now)));
        }
    }
    if !told.is_empty() {
        notify::show_problems(context, told, now);
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
