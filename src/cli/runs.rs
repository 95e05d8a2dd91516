//! `runs`: lists runs, shows a run and its log, and cancels a run.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use jiff::{Timestamp, Zoned};
use log::Level;
use serde_json::{Value, json};

use super::{
    context::Context,
    print::{print_json, print_line},
};
use crate::{
    clock::{Clock, SystemClock},
    diagnostic,
    error::{Error, ErrorKind, Result},
    output::{self, Cell, Column, moment, table},
    run_words::RunStatus,
    runs::{
        Store,
        record::{Cancelling, Deleted, Filter, Line, RunRecord},
    },
    text::{Style, cut, escape, styled},
    time_words::{self, Day},
    units::{format_duration, format_size},
};

/// How often a followed log is read.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);
/// How long `cancel` waits for the run to end.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
/// How many lines of a log are read at a time.
const PAGE: usize = 1_000;
/// How many columns the script and the arguments of a run may take in a list.
const CALL_WIDTH: usize = 48;

/// The command for help, completion and parsing.
pub(super) fn command() -> Command {
    let id =
        || Arg::new("id").value_name("ID").required(true).help("the run's id, or its beginning");
    let option =
        |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    Command::new("runs")
        .about("What ran and what came of it; end what still runs")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("list")
                .about("The runs, the newest first")
                .arg(option("script", "NAME").help("of this script"))
                .arg(
                    option("status", "STATUS")
                        .value_parser(PossibleValuesParser::new(
                            RunStatus::ALL.iter().map(|status| status.as_str()),
                        ))
                        .help("with this status"),
                )
                .arg(option("since", "TIME").help(
                    "that began so long ago at most (7d), or on this day or later (2026-11-23)",
                ))
                .arg(option("volume", "NAME").help("that have to do with this volume"))
                .arg(
                    Arg::new("count")
                        .short('n')
                        .long("count")
                        .value_name("N")
                        .default_value("20")
                        .value_parser(value_parser!(u32).range(1..))
                        .help("so many at most"),
                ),
        )
        .subcommand(Command::new("show").about("All that is known of a run").arg(id()))
        .subcommand(
            Command::new("log").about("A run's log").arg(id()).arg(
                Arg::new("follow")
                    .short('f')
                    .long("follow")
                    .action(ArgAction::SetTrue)
                    .help("go on with what is logged until the run ends"),
            ),
        )
        .subcommand(
            Command::new("cancel")
                .about("End a run that goes on, whichever process it is in")
                .arg(id()),
        )
}

pub(super) fn runs(context: &Context, matches: &ArgMatches) -> Result<u8> {
    let store = Store::new(&context.config.data_dir);
    // A store that can only be read shows those runs as interrupted as well.
    if let Err(error) = store.mark_interrupted() {
        log::debug!("interrupted runs are not marked: {error}");
    }
    let id = |matches: &ArgMatches| matches.get_one::<String>("id").cloned().unwrap_or_default();
    match matches.subcommand() {
        Some(("list", matches)) => list(context, &store, matches),
        Some(("show", matches)) => show(context, &store, &id(matches)),
        Some(("log", matches)) => log_of(context, &store, &id(matches), matches.get_flag("follow")),
        Some(("cancel", matches)) => cancel(context, &store, &id(matches)),
        _ => Err(Error::internal("clap found no command")),
    }
}

fn since_then(text: &str, now: &Zoned) -> Result<Timestamp> {
    time_words::parse(text, now, Day::Begin).map_err(|error| error.context("since"))
}

fn list(context: &Context, store: &Store, matches: &ArgMatches) -> Result<u8> {
    let text = |name| matches.get_one::<String>(name).cloned();
    let now = SystemClock.now_local();
    let filter = Filter {
        script: text("script"),
        status: text("status").as_deref().and_then(RunStatus::parse),
        since: text("since").map(|text| since_then(&text, &now)).transpose()?,
        volume: text("volume"),
        without_read_only: false,
        before: None,
        limit: matches.get_one::<u32>("count").and_then(|count| usize::try_from(*count).ok()),
    };
    let runs = store.list(&filter)?;
    if context.flags.json {
        print_json(&runs);
        return Ok(0);
    }
    if runs.is_empty() {
        print_line(if store.exists() { "no run is like that" } else { "there are no runs yet" });
        return Ok(0);
    }
    let (width, colour) = context.output();
    let rows = runs.iter().map(|run| row(run, &now)).collect();
    print_line(table(&COLUMNS, rows, width, colour).trim_end());
    Ok(0)
}

const COLUMNS: [Column; 7] = [
    Column::left("ID"),
    Column::words("WHEN"),
    Column::words("SCRIPT"),
    Column::left("BY"),
    Column::left("STATUS"),
    Column::right("TOOK"),
    Column::words("WHAT FAILED"),
];

fn row(run: &RunRecord, now: &Zoned) -> Vec<Cell> {
    let status = Cell::from(run.status.as_str());
    vec![
        run.id.as_str().into(),
        moment(run.started, now).into(),
        cut(&call(run), CALL_WIDTH).into_owned().into(),
        run.trigger.as_str().into(),
        match style(run.status) {
            Some(style) => status.styled(style),
            None => status,
        },
        took(run, now.timestamp()).into(),
        what_failed(run).into(),
    ]
}

fn style(status: RunStatus) -> Option<Style> {
    match status {
        RunStatus::Done => Some(Style::Green),
        RunStatus::Partial | RunStatus::Skipped | RunStatus::Cancelled => Some(Style::Yellow),
        RunStatus::Failed | RunStatus::TimedOut | RunStatus::Interrupted => Some(Style::Red),
        RunStatus::Waiting | RunStatus::Running => None,
    }
}

/// The script and the arguments of a run, as a person would type them.
fn call(run: &RunRecord) -> String {
    std::iter::once(run.script.clone()).chain(run.words()).collect::<Vec<_>>().join(" ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// How long the run took, or has taken so far.
fn took(run: &RunRecord, now: Timestamp) -> String {
    let length = match (run.took, run.status) {
        (Some(took), _) => took,
        (None, RunStatus::Waiting | RunStatus::Running) => {
            now.duration_since(run.started).try_into().unwrap_or_default()
        }
        _ => return String::new(),
    };
    if length < Duration::from_secs(1) {
        format!("{} ms", length.as_millis())
    } else {
        format_duration(length)
    }
}

/// The errors of a run in one line.
fn what_failed(run: &RunRecord) -> String {
    if let Some(error) = &run.error {
        return diagnostic::from_json(error).to_string();
    }
    if let Some(first) = run.failures.first() {
        let more = run.failures.len() - 1;
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        return format!("{}: {}{more}", first.volume, first.message);
    }
    match run.status {
        RunStatus::Interrupted => interruption(run),
        _ => run.reason.clone().unwrap_or_default(),
    }
}

fn interruption(run: &RunRecord) -> String {
    format!("its process {} on {} was gone before its end", run.process, run.host)
}

fn show(context: &Context, store: &Store, id: &str) -> Result<u8> {
    let run = store.get(id)?;
    let output = store.output(&run.id)?;
    if context.flags.json {
        let mut shown = serde_json::to_value(&run).unwrap_or_default();
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("result".into(), output.result.unwrap_or_default());
            fields.insert("plan".into(), output.plan.unwrap_or_default());
            fields.insert("deleted".into(), json!(output.deleted));
        }
        print_json(&shown);
        return Ok(0);
    }
    let (width, colour) = context.output();
    let now = SystemClock.now_local();
    print_line(facts(&run, &now, colour).trim_end());
    if let Some(error) = &run.error {
        print_line(&format!(
            "\n{}",
            diagnostic::render(&diagnostic::from_json(error), colour).trim_end()
        ));
    }
    if !run.failures.is_empty() {
        let columns = [Column::left("FAILED"), Column::left("CODE"), Column::words("WHY")];
        let rows = run.failures.iter().map(|failure| {
            vec![
                failure.volume.as_str().into(),
                failure.code.as_str().into(),
                failure.message.as_str().into(),
            ]
        });
        print_line(&format!("\n{}", table(&columns, rows.collect(), width, colour).trim_end()));
    }
    if !output.deleted.is_empty() {
        print_line(&format!("\n{}", deleted(&output.deleted, width, colour).trim_end()));
    }
    if let Some(Value::Array(steps)) = &output.plan {
        print_line("\nThis would have been done, in this order:");
        for (index, step) in steps.iter().enumerate() {
            let text = step.get("text").map(plain).unwrap_or_default();
            print_line(&format!("{:>4}. {}", index + 1, escape(&text)));
        }
    }
    // What a dry run returned says what it only pretended.
    if let Some(result) = output
        .result
        .filter(|_| output.plan.is_none())
        .filter(|result| result.as_array().is_none_or(|all| !all.is_empty()))
    {
        print_line(&format!(
            "\n{}",
            output::render_result(&result, &now, colour, width).trim_end()
        ));
    }
    Ok(0)
}

fn deleted(deleted: &[Deleted], width: Option<usize>, colour: bool) -> String {
    let columns = [Column::left("DELETED"), Column::left("VOLUME"), Column::left("NAME OR URL")];
    let row = |it: &Deleted| {
        vec![it.what.as_str().into(), it.volume.as_str().into(), it.name.as_str().into()]
    };
    table(&columns, deleted.iter().map(row).collect(), width, colour)
}

/// The record of a run for a person, with one fact in each line.
fn facts(run: &RunRecord, now: &Zoned, colour: bool) -> String {
    let zoned = |time: Timestamp| moment(time, now);
    let status = run.status.as_str();
    let status =
        style(run.status).map_or_else(|| status.into(), |style| styled(status, style, colour));
    let mut facts = vec![("run", run.id.clone()), ("script", escape(&call(run)).into_owned())];
    if !run.digest.is_empty() {
        facts.push(("from", format!("{} (SHA-256 {})", escape(&run.origin), run.digest)));
    }
    facts.push(("status", status.into_owned()));
    match (&run.reason, run.status) {
        (Some(reason), _) => facts.push(("why", escape(reason).into_owned())),
        (None, RunStatus::Interrupted) => {
            facts.push(("why", escape(&interruption(run)).into_owned()))
        }
        _ => {}
    }
    let by = match &run.entry {
        Some(entry) => format!("{}, line {} of the crontab", run.trigger.as_str(), entry.line),
        None => run.trigger.as_str().to_owned(),
    };
    facts.push(("started by", by));
    let skipped = run.status == RunStatus::Skipped;
    facts.push((if skipped { "due" } else { "began" }, zoned(run.started)));
    if let Some(ended) = run.ended.filter(|_| !skipped) {
        facts.push(("ended", zoned(ended)));
    }
    if !took(run, now.timestamp()).is_empty() {
        facts.push(("took", took(run, now.timestamp())));
    }
    if let Some(request) = &run.cancel_requested {
        facts.push(("asked to end", format!("by {}, {}", escape(&request.by), zoned(request.at))));
    }
    facts.push(("where", format!("{}, process {}", escape(&run.host), run.process)));
    if !run.volumes_done.is_empty() {
        facts.push(("volumes", escape(&run.volumes_done.join(", ")).into_owned()));
    }
    if let Some(bytes) = run.bytes {
        facts.push(("backed up", format_size(bytes)));
    }
    if !skipped {
        facts.push(("log", format!("convoy-backups runs log {}", run.id)));
    }
    let line = |(name, value): &(&str, String)| {
        format!("{}{}{value}\n", styled(name, Style::Bold, colour), " ".repeat(14 - name.len()))
    };
    facts.iter().map(line).collect()
}

fn log_of(context: &Context, store: &Store, id: &str, follow: bool) -> Result<u8> {
    let mut run = store.get(id)?;
    let (_, colour) = context.output();
    let json = context.flags.json;
    let (mut behind, mut all) = (0, Vec::new());
    loop {
        // The status is read before the lines. So after the end was seen, one more read gets all
        // lines before the end.
        let ended = !run.status.is_open();
        loop {
            let lines = store.lines(&run.id, behind, PAGE)?;
            let Some(last) = lines.last() else { break };
            behind = last.number;
            match (json, follow) {
                (true, false) => all.extend(lines),
                _ if print(&lines, json, colour).is_err() => return Ok(0),
                _ => {}
            }
        }
        if ended || !follow {
            break;
        }
        std::thread::sleep(FOLLOW_INTERVAL);
        run = store.get(&run.id)?;
    }
    if json && !follow {
        print_json(&all);
    }
    if run.lines_left_out > 0 {
        log::warn!("{} further lines were too many to be kept", run.lines_left_out);
    }
    context.remark(&match run.status {
        RunStatus::Waiting => {
            "the run waits for its turn: as many go on as BKUP_MAX_CONCURRENT allows".to_owned()
        }
        RunStatus::Running => {
            format!("the run goes on; follow it with: convoy-backups runs log {} --follow", run.id)
        }
        status => format!("the run is over: {}", status.as_str()),
    });
    Ok(0)
}

/// Prints lines of a log on standard output. The error is that the reader went away.
fn print(lines: &[Line], json: bool, colour: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in lines {
        if json {
            writeln!(out, "{}", json!(line))?;
            continue;
        }
        let style = match line.level {
            Level::Error => Style::Red,
            Level::Warn => Style::Yellow,
            Level::Info => Style::Green,
            Level::Debug | Level::Trace => Style::Faint,
        };
        let time = line.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        writeln!(
            out,
            "{} {} {}: {}",
            styled(&time, Style::Faint, colour),
            styled(&format!("{:<5}", line.level), style, colour),
            escape(&line.target),
            escape(&line.text)
        )?;
    }
    out.flush()
}

fn cancel(context: &Context, store: &Store, id: &str) -> Result<u8> {
    let run = store.get(id)?;
    let ended = |status: RunStatus| {
        let error = Error::new(
            ErrorKind::NotFound,
            format!("run {} has ended already: {}", run.id, status.as_str()),
        );
        error.with_hint(format!("see \"convoy-backups runs show {}\"", run.id))
    };
    if context.flags.dry_run {
        return match run.status {
            RunStatus::Waiting | RunStatus::Running => {
                print_line(&format!("Dry run: run {} would be asked to end.", run.id));
                Ok(0)
            }
            status => Err(ended(status)),
        };
    }
    if let Cancelling::Ended(status) =
        store.request_cancel(&run.id, &requester(), SystemClock.now())?
    {
        return Err(ended(status));
    }
    context.remark(&format!("asked run {} to end; it looks each second", run.id));
    let start = Instant::now();
    let mut status = RunStatus::Running;
    while status.is_open() && start.elapsed() < CANCEL_TIMEOUT {
        std::thread::sleep(FOLLOW_INTERVAL);
        status = store.get(&run.id)?.status;
    }
    if context.flags.json {
        print_json(&json!({ "run": run.id, "status": status }));
    }
    let say = |text: String| {
        if !context.flags.json && !context.flags.quiet {
            print_line(&text);
        }
    };
    match status {
        RunStatus::Cancelled => say(format!("run {} was cancelled", run.id)),
        RunStatus::Waiting | RunStatus::Running => {
            say(format!("run {} ends when what it is at is over", run.id))
        }
        // The run ended before it could be cancelled.
        other => return Err(ended(other)),
    }
    Ok(0)
}

/// The user and the host that ask to cancel a run, for the record.
fn requester() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let user = name.unwrap_or_else(|| format!("user {}", rustix::process::getuid().as_raw()));
    format!("{user} on {}", rustix::system::uname().nodename().to_string_lossy())
}
