//! `status`: is everything safe? What a person looks at first.

use std::sync::Arc;

use clap::{Arg, ArgMatches, Command};
use jiff::{Timestamp, Zoned};

use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    crontab, notify,
    print::{print_json, print_line},
};
use crate::{
    app::{self, serve},
    clock::{Clock, SystemClock},
    error::{Error, ErrorKind, Result},
    output::{Cell, Column, age, moment, table},
    progress,
    runs::Store,
    schedule::Source,
    status::{self, Expected, Known, VolumeStatus, freshness::Freshness, report::Report},
    suggest::did_you_mean_or,
    text::{Style, counted, escape, styled},
};

pub(super) fn command() -> Command {
    Command::new("status")
        .about("Is everything safe? Each volume's last backup, the next one, and what is wrong")
        .arg(
            Arg::new("forget").long("forget").value_name("VOLUME").help(
                "this volume is gone from the daemon, and that was meant; its backups are kept",
            ),
        )
}

/// 0 where all is well, 1 where something is wrong.
pub(super) async fn status(
    context: &Context,
    matches: &ArgMatches,
    cancellation: &CancellationToken,
) -> Result<u8> {
    if let Some(volume) = matches.get_one::<String>("forget") {
        return forget(context, volume, cancellation).await;
    }
    let config = &context.config;
    let served = serve::is_served(config).await;
    let mut crontab_problem = None;
    let source = Source::find(config);
    // Where `serve` was not started, the crontab that comes with the program says nothing of when
    // backups are due.
    let entries = if served != Some(false) || source != Source::BuiltIn {
        let checked = source.check(&crontab::surroundings(context));
        if !checked.errors.is_empty() {
            crontab_problem = Some(format!(
                "the crontab \"{source}\" has errors: see \"convoy-backups crontab check\""
            ));
        }
        checked.crontab.entries
    } else {
        Vec::new()
    };
    let store = Store::new(&config.data_dir);
    let now = SystemClock.now_local();
    let mut known = Known::default();
    let (mut lacks_destination, mut daemon) = (false, None);
    for (index, expected) in
        Expected::by_daemon(&Arc::new(config.clone()), &entries).into_iter().enumerate()
    {
        lacks_destination |= expected.config().backup_url.is_none();
        let connection = match app::connect(expected.config(), progress::none()).await {
            Ok(connection) => connection,
            Err(error) if error.kind == ErrorKind::Configuration => return Err(error),
            Err(error) => {
                known.unreachable = Some(error);
                continue;
            }
        };
        daemon.get_or_insert_with(|| connection.daemon.description());
        let guards = status::guards(&connection.daemon);
        let seen = status::volumes(&guards, &store, &expected, now.timestamp()).await;
        known.add(if index == 0 { seen } else { seen.of(&guards.identity()) });
        connection.close(cancellation, |text| context.remark(text)).await;
    }
    let here = source.to_string();
    let followed =
        serve::followed(config).filter(|followed| served == Some(true) && *followed != here);
    let report = status::report(&status::Seen {
        config,
        paused: &serve::paused(config),
        followed,
        serving: served,
        entries: &entries,
        crontab_problem,
        lacks_destination,
        daemon: daemon.unwrap_or_default(),
        known: &known,
        store: &store,
        notifier: &context.notifier,
        now: now.timestamp(),
    });
    if context.flags.json {
        print_json(&report);
    } else if !(context.flags.quiet && report.ok) {
        show(context, &known, &report, &now);
    }
    Ok(u8::from(!report.ok))
}

/// Somebody knows that a volume is gone: it is not missed any more.
async fn forget(context: &Context, volume: &str, cancellation: &CancellationToken) -> Result<u8> {
    let checked = Source::find(&context.config).check(&crontab::surroundings(context));
    let store = Store::new(&context.config.data_dir);
    let now = SystemClock.now();
    let mut gone: Vec<String> = Vec::new();
    for expected in Expected::by_daemon(&Arc::new(context.config.clone()), &checked.crontab.entries)
    {
        let connection = app::connect(expected.config(), progress::none()).await?;
        let guards = status::guards(&connection.daemon);
        let seen = status::volumes(&guards, &store, &expected, now).await;
        connection.close(cancellation, |text| context.remark(text)).await;
        if let Some(error) = seen.unreachable.or(seen.forgotten) {
            return Err(error.context("whether a volume is gone is not known"));
        }
        if seen.volumes.iter().any(|known| known.name == volume && !known.lost) {
            return Err(Error::usage(format!(
                "the volume \"{volume}\" is there: the daemon lists it"
            ))
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
        return Err(Error::usage(format!("no volume \"{volume}\" is missed"))
            .with_hint(did_you_mean_or(volume, gone.iter().map(String::as_str), otherwise)));
    }
    if context.flags.dry_run {
        print_line(&format!("Dry run: \"{}\" would not be missed any more.", escape(volume)));
    } else {
        print_line(&format!(
            "\"{}\" is not missed any more; its backups are kept.",
            escape(volume)
        ));
    }
    Ok(0)
}

fn show(context: &Context, known: &Known, report: &Report, now: &Zoned) {
    let wrong = known.volumes.iter().filter(|volume| !volume.problems.is_empty()).count();
    let (width, colour) = context.output();
    let say = |text: &str, style| print_line(&styled(&escape(text), style, colour));
    let has_fresh = |volume: &VolumeStatus| {
        volume.backup.is_some() && matches!(volume.freshness, Freshness::Until(_))
    };
    match report.ok {
        true if !known.volumes.is_empty() && known.volumes.iter().all(has_fresh) => {
            say("All volumes have a good backup that is new enough.", Style::Green);
        }
        true => say("Nothing is known to be wrong.", Style::Green),
        false if wrong > 0 => {
            let (all, are) = (known.volumes.len(), if wrong == 1 { "is" } else { "are" });
            say(
                &format!("{wrong} of {} {are} not safe.", counted(all, "volume", "volumes")),
                Style::Red,
            );
        }
        false => say("Something is wrong.", Style::Red),
    }
    if let Some(error) = &known.unreachable {
        say(&format!("The daemon: {error}"), Style::Red);
        if let Some(hint) = &error.hint {
            say(&format!("  -> {hint}"), Style::Cyan);
        }
    }
    report.problems.iter().for_each(|problem| say(problem, Style::Red));
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
            say(&volume.label(), Style::Bold);
            volume
                .problems
                .iter()
                .for_each(|problem| print_line(&format!("  {}", escape(problem))));
        }
    }
    if !report.running.is_empty() {
        print_line("\nRunning now:");
        for run in &report.running {
            let words = std::iter::once(run.script.clone())
                .chain(run.arguments.clone())
                .collect::<Vec<_>>()
                .join(" ");
            print_line(&format!(
                "  {}, {} since {}",
                escape(&words),
                run.status,
                moment(run.started, now)
            ));
        }
    }
    if !report.told.is_empty() {
        notify::show_problems(context, &context.notifier.problems().unwrap_or_default(), now);
    }
    if !report.notes.is_empty() {
        print_line("");
        report.notes.iter().for_each(|note| say(&format!("note: {note}"), Style::Faint));
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
        volume.label().into(),
        ago(volume.snapshot).into(),
        Cell::from(
            volume
                .backup
                .as_ref()
                .map_or_else(|| "none".to_owned(), |backup| age(backup.made, now)),
        )
        .styled(style),
        next.into(),
        Cell::from(volume.problems.first().cloned().unwrap_or_default()).styled(Style::Red),
    ]
}
