//! `crontab check | next | show`.

use std::{cmp::Reverse, collections::BinaryHeap};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::{
    context::Context,
    print::{print_json, print_line},
};
use crate::{
    clock::{Clock, SystemClock},
    diagnostic,
    error::{Error, Result},
    output::{Column, table},
    schedule::{Checked, Crontab, CrontabEntry, Source, Surroundings, crontab::without_secrets},
    suggest::did_you_mean_or,
    terminal,
    text::counted,
    time_words::{self, Day},
    units::format_duration,
};

/// How many errors a person sees. A program gets all.
const MAX_SHOWN_ERRORS: usize = 50;

pub(super) fn command() -> Command {
    let file = |name: &'static str| Arg::new(name).value_name("FILE");
    Command::new("crontab")
        .about("Check the crontab, show it, or say what is due next")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("check")
                .about("Check a crontab without running anything: this file, or the one in force")
                .arg(file("file")),
        )
        .subcommand(
            Command::new("next")
                .about("What is due next")
                .arg(
                    Arg::new("count")
                        .short('n')
                        .value_name("NUMBER")
                        .value_parser(value_parser!(u32))
                        .help("so many times [default: 10]"),
                )
                .arg(
                    Arg::new("script")
                        .long("script")
                        .value_name("NAME")
                        .help("of this script only"),
                )
                .arg(
                    Arg::new("at")
                        .long("at")
                        .value_name("TIME")
                        .help("as if it were this time: 2026-10-25T01:00, or with a Z in UTC"),
                ),
        )
        .subcommand(
            Command::new("show").about("Print the crontab in force; without one, the default").arg(
                Arg::new("default")
                    .long("default")
                    .action(ArgAction::SetTrue)
                    .help("the one that comes with the program"),
            ),
        )
}

pub(super) fn crontab(context: &Context, matches: &ArgMatches) -> Result<u8> {
    match matches.subcommand() {
        Some(("check", matches)) => check(context, matches),
        Some(("next", matches)) => next(context, matches),
        Some(("show", matches)) => show(context, matches.get_flag("default")),
        _ => Err(Error::internal("clap found no command")),
    }
}

pub(super) fn surroundings(context: &Context) -> Surroundings {
    Surroundings::new(
        context.config.clone(),
        context.flags.overrides.clone(),
        SystemClock.time_zone(),
    )
}

/// Shows errors and warnings on standard error.
pub(super) fn tell(context: &Context, checked: &Checked) {
    for error in checked.errors.iter().take(MAX_SHOWN_ERRORS) {
        context.show_error(error);
    }
    if checked.errors.len() > MAX_SHOWN_ERRORS {
        eprintln!(
            "and {}",
            counted(checked.errors.len() - MAX_SHOWN_ERRORS, "more error", "more errors")
        );
    }
    if !context.flags.quiet {
        for warning in checked.warnings.iter().take(MAX_SHOWN_ERRORS) {
            eprint!("{}", diagnostic::render_warning(warning, terminal::colour_on_error()));
        }
        if checked.warnings.len() > MAX_SHOWN_ERRORS {
            eprintln!(
                "and {}",
                counted(checked.warnings.len() - MAX_SHOWN_ERRORS, "more warning", "more warnings")
            );
        }
    }
}

fn check(context: &Context, matches: &ArgMatches) -> Result<u8> {
    let source = match matches.get_one::<String>("file") {
        Some(file) => Source::File(file.into()),
        None => Source::find(&context.config),
    };
    let checked = source.check(&surroundings(context));
    let code = if checked.errors.is_empty() { 0 } else { 2 };
    if context.flags.json {
        print_json(&json!({
            "file": source.to_string(),
            "entries": checked.crontab.entries.iter().map(|entry| entry.to_json()).collect::<Vec<_>>(),
            "errors": checked.errors.iter().map(diagnostic::to_json).collect::<Vec<_>>(),
            "warnings": checked.warnings.iter().map(diagnostic::to_json).collect::<Vec<_>>(),
        }));
        return Ok(code);
    }
    tell(context, &checked);
    if code == 0 {
        print_line(&format!(
            "ok      {source}: {}",
            counted(checked.crontab.entries.len(), "entry", "entries")
        ));
    } else {
        eprintln!("{source}: {}", counted(checked.errors.len(), "error", "errors"));
    }
    Ok(code)
}

fn next(context: &Context, matches: &ArgMatches) -> Result<u8> {
    let zone = SystemClock.time_zone();
    let from = match matches.get_one::<String>("at") {
        Some(text) => parse_time(text, &zone)?,
        None => SystemClock.now(),
    };
    let count = *matches.get_one::<u32>("count").unwrap_or(&10) as usize;
    let crontab = valid_crontab(context)?;
    let script = matches.get_one::<String>("script");
    let due = upcoming(&crontab, from, count, script.map(String::as_str))?;
    if context.flags.json {
        let described = due.iter().map(|due| describe_due(due, from, &zone));
        print_json(&described.collect::<Vec<_>>());
    } else if due.is_empty() {
        print_line("The crontab has no entries: nothing is due.");
    } else {
        show_due(context, &due, from, &zone);
    }
    Ok(0)
}

/// Reads the crontab in force. The error is the one for which `serve` would refuse the crontab.
fn valid_crontab(context: &Context) -> Result<Crontab> {
    let checked = Source::find(&context.config).check(&surroundings(context));
    if !checked.errors.is_empty() {
        tell(context, &checked);
        let count = counted(checked.errors.len(), "error", "errors");
        return Err(Error::configuration(format!(
            "the crontab has {count}, so serve would not follow it"
        ))
        .with_hint("see \"convoy-backups crontab check\""));
    }
    Ok(checked.crontab)
}

/// A due time and its entry as JSON.
fn describe_due(
    (time, entry): &(Timestamp, &CrontabEntry),
    from: Timestamp,
    zone: &TimeZone,
) -> Value {
    let mut described = json!({
        "due": time.to_string(),
        "local": time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        "in_seconds": time.duration_since(from).as_secs(),
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut described, entry.to_json()) {
        fields.extend(more);
    }
    described
}

fn show_due(
    context: &Context,
    due: &[(Timestamp, &CrontabEntry)],
    from: Timestamp,
    zone: &TimeZone,
) {
    let columns = [
        Column::left("DUE"),
        Column::right("IN"),
        Column::left("SCRIPT"),
        Column::left("ARGUMENTS"),
        Column::left("LINE"),
    ];
    let row = |(time, entry): &(Timestamp, &CrontabEntry)| {
        vec![
            shown_due(*time, entry.schedule.zone(), zone).into(),
            format_duration(time.duration_since(from).unsigned_abs()).into(),
            entry.script.as_str().into(),
            entry.arguments_text().into(),
            format!("{}: {}", entry.line, entry.schedule.text()).into(),
        ]
    };
    let (width, colour) = context.output();
    print_line(table(&columns, due.iter().map(row).collect(), width, colour).trim_end());
}

/// A due time in the local zone, and in the zone of the line's `CRON_TZ` if the clocks there show
/// another time.
fn shown_due(time: Timestamp, of_line: &TimeZone, local: &TimeZone) -> String {
    let shown =
        |zone: &TimeZone, form: &str| time.to_zoned(zone.clone()).strftime(form).to_string();
    let here = shown(local, "%a %Y-%m-%d %H:%M %Z");
    if local.to_offset(time) == of_line.to_offset(time) {
        return here;
    }
    format!("{here} ({})", shown(of_line, "%a %H:%M %Z"))
}

/// The next due times of all entries together, or of those of one script.
fn upcoming<'a>(
    crontab: &'a Crontab,
    from: Timestamp,
    count: usize,
    script: Option<&str>,
) -> Result<Vec<(Timestamp, &'a CrontabEntry)>> {
    let all = || crontab.entries.iter().map(AsRef::as_ref);
    let entries: Vec<&CrontabEntry> = all()
        .filter(|entry: &&CrontabEntry| script.is_none_or(|name| entry.script == name))
        .collect();
    if let Some(name) = script.filter(|_| entries.is_empty()) {
        let names = all().map(|entry: &CrontabEntry| entry.script.as_str());
        return Err(Error::usage(format!("no line of the crontab runs \"{name}\""))
            .with_hint(did_you_mean_or(name, names, "see \"convoy-backups crontab show\"")));
    }
    let first =
        |(index, entry): (usize, &&CrontabEntry)| Some(Reverse((entry.next_after(from)?, index)));
    let mut heap: BinaryHeap<_> = entries.iter().enumerate().filter_map(first).collect();
    let mut due = Vec::new();
    while due.len() < count
        && let Some(Reverse((time, index))) = heap.pop()
    {
        due.push((time, entries[index]));
        heap.extend(entries[index].next_after(time).map(|time| Reverse((time, index))));
    }
    Ok(due)
}

fn parse_time(text: &str, zone: &TimeZone) -> Result<Timestamp> {
    let now = Timestamp::now().to_zoned(zone.clone());
    time_words::parse(text, &now, Day::Begin).map_err(|error| error.context("--at"))
}

fn show(context: &Context, default: bool) -> Result<u8> {
    let source = if default { Source::BuiltIn } else { Source::find(&context.config) };
    let text = source.text()?;
    let shown: Vec<_> = text.lines().map(without_secrets).collect();
    if context.flags.json {
        print_json(&json!({ "file": source.to_string(), "text": shown.join("\n") }));
    } else {
        context.remark(&format!("This is {source}."));
        print_line(&shown.join("\n"));
    }
    Ok(0)
}
