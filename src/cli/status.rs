//! `status`: shows whether everything is safe.

use std::{collections::BTreeMap, sync::Arc};

use clap::{Arg, ArgMatches, Command};
use jiff::{Timestamp, Zoned};

use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    crontab, notify,
    print::{print_json, print_line},
    run::DELIVERY_TIMEOUT,
};
use crate::{
    app::{self, serve},
    clock::{Clock, SystemClock},
    config::Config,
    error::{Error, ErrorKind, Result},
    output::{Cell, Column, age, moment, table},
    progress,
    runs::Store,
    schedule::{self, CrontabEntry, Source},
    status::{self, DaemonLook, Known, Level, Looked, Report, State, VolumeStatus},
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
        .arg(
            Arg::new("accept").long("accept").value_name("VOLUME").conflicts_with("forget").help(
                "this volume lost nearly all of its data, and that was meant; its newest backups count as good",
            ),
        )
}

/// Shows the status. Returns 0 if all is well, 1 if something is wrong.
pub(super) async fn status(
    context: &Context,
    matches: &ArgMatches,
    cancellation: &CancellationToken,
) -> Result<u8> {
    if let Some(volume) = matches.get_one::<String>("forget") {
        return forget(context, volume, cancellation).await;
    }
    if let Some(volume) = matches.get_one::<String>("accept") {
        return accept(context, volume).await;
    }
    let config = &context.config;
    let served = serve::is_served(config).await;
    let mut crontab_problem = None;
    let source = Source::find(config);
    // If `serve` was never started, the built-in crontab does not say when backups are due.
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
    let looked = look(context, &entries, &store, cancellation, |_| {}).await;
    let wrong = looked.not_connected.iter().find(|error| error.kind == ErrorKind::Configuration);
    // Volumes that belong to another daemon than the one that is there are shown as they are known.
    if let Some(error) = wrong.filter(|_| config.daemon().refusal.is_none()) {
        return Err(error.clone());
    }
    let here = source.to_string();
    let followed =
        schedule::followed(config).filter(|followed| served == Some(true) && *followed != here);
    let report = status::report(&status::Sources {
        config,
        paused: &serve::paused(config),
        followed,
        serving: served,
        entries: &entries,
        crontab_problem,
        copied_root: app::copied_root(config),
        looked: &looked,
        store: &store,
        notifier: &context.notifier,
        now: &now,
    });
    if context.flags.json {
        print_json(&report);
    } else if !(context.flags.quiet && report.ok) {
        show(context, &looked.known, &report, &now);
    }
    Ok(u8::from(!report.ok))
}

/// Makes a report on the daemons that these entries use. All connections are closed at the end.
async fn look(
    context: &Context,
    entries: &[Arc<CrontabEntry>],
    store: &Store,
    cancellation: &CancellationToken,
    seen: impl FnMut(&DaemonLook),
) -> Looked {
    let mut connections = Vec::new();
    let connect = async |config: &Config| {
        let connection = app::connect(config, progress::none()).await?;
        let daemon = connection.daemon.clone();
        connections.push(connection);
        Ok(daemon)
    };
    let config = Arc::new(context.config.clone());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let looked = status::look(&config, entries, store, &clock, connect, seen).await;
    for connection in connections {
        connection.close(cancellation, |text| context.remark(text)).await;
    }
    looked
}

/// Forgets a volume that was removed, so that it is not reported as missing any more.
async fn forget(context: &Context, volume: &str, cancellation: &CancellationToken) -> Result<u8> {
    let checked = Source::find(&context.config).check(&crontab::surroundings(context));
    let store = Store::new(&context.config.data_dir);
    let now = SystemClock.now();
    let mut volumes = Vec::new();
    let entries = &checked.crontab.entries;
    let looked = look(context, entries, &store, cancellation, |look| {
        let seen = look.known.volumes.iter();
        volumes.extend(
            seen.map(|seen| (look.identity.clone(), seen.name.clone(), seen.gone || !look.is_used)),
        );
    });
    let looked = looked.await;
    if let Some(error) = looked.not_connected.into_iter().next() {
        return Err(error);
    }
    if let Some(error) = looked.known.unreachable.or(looked.known.store_error) {
        return Err(error.context("whether a volume is gone is not known"));
    }
    if volumes.iter().any(|(_, name, is_gone)| name == volume && !is_gone) {
        return Err(Error::usage(format!("the volume \"{volume}\" is there: the daemon lists it"))
            .with_hint("\"remove\" deletes a volume"));
    }
    let gone = volumes.iter().filter(|(_, _, is_gone)| *is_gone);
    let gone: Vec<_> = gone.map(|(daemon, name, _)| (daemon.as_str(), name.as_str())).collect();
    for (daemon, _) in gone.iter().filter(|(_, name)| *name == volume) {
        if !context.flags.dry_run {
            store.forget_volume(daemon, volume, now)?;
        }
    }
    if !gone.iter().any(|(_, name)| *name == volume) {
        let otherwise = "\"convoy-backups status\" says which are missed";
        return Err(Error::usage(format!("no volume \"{volume}\" is missed"))
            .with_hint(did_you_mean_or(volume, gone.iter().map(|(_, name)| *name), otherwise)));
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

/// Accepts that a volume lost data, so that its backups in doubt count as good.
async fn accept(context: &Context, volume: &str) -> Result<u8> {
    let store = Store::new(&context.config.data_dir);
    let in_doubt = store.volumes_in_doubt()?;
    if !in_doubt.iter().any(|name| name == volume) {
        let otherwise = "\"convoy-backups status\" says which are";
        return Err(Error::usage(format!("no backup of \"{volume}\" is in doubt"))
            .with_hint(did_you_mean_or(volume, in_doubt.iter().map(String::as_str), otherwise)));
    }
    if context.flags.dry_run {
        let text = "Dry run: the backups of \"{volume}\" that are in doubt would count as good.";
        print_line(&text.replace("{volume}", &escape(volume)));
        return Ok(0);
    }
    for (daemon, why) in store.accept_loss(volume, SystemClock.now())? {
        context.notifier.on_accepted(&daemon, volume, &why);
        print_line(&format!("Accepted: \"{}\": {}", escape(volume), escape(&why)));
    }
    print_line("Its backups that were in doubt count as good, and older ones may be pruned.");
    context.notifier.deliver_within(DELIVERY_TIMEOUT).await;
    Ok(0)
}

fn show(context: &Context, known: &Known, report: &Report, now: &Zoned) {
    let (width, colour) = context.output();
    let say = |text: &str, style| print_line(&styled(&escape(text), style, colour));
    say(&report.sentence, style(report.level));
    if let Some(error) = &known.unreachable {
        say(&format!("The daemon: {error}"), Style::Red);
        if let Some(hint) = &error.hint {
            say(&format!("  -> {hint}"), Style::Cyan);
        }
    }
    report.problems.iter().for_each(|problem| say(problem, Style::Red));
    if !report.volumes.is_empty() {
        show_volumes(&report.volumes, now.timestamp(), width, colour);
    }
    show_projects(&report.volumes);
    show_running(report, now);
    if !report.open_problems.is_empty() {
        notify::show_problems(context, &context.notifier.problems().unwrap_or_default(), now);
    }
    if !report.notes.is_empty() {
        print_line("");
        report.notes.iter().for_each(|note| say(&format!("note: {note}"), Style::Faint));
    }
}

fn style(level: Level) -> Style {
    match level {
        Level::Good => Style::Green,
        Level::Unknown | Level::Warning => Style::Yellow,
        Level::Bad => Style::Red,
    }
}

/// Shows a table of the volumes. The problems follow in full, because the table cuts them.
fn show_volumes(volumes: &[VolumeStatus], now: Timestamp, width: Option<usize>, colour: bool) {
    let columns = [
        Column::left("VOLUME"),
        Column::left("LAST SNAPSHOT"),
        Column::left("LAST GOOD BACKUP"),
        Column::left("NEXT BACKUP"),
        Column::words("WHAT IS WRONG"),
    ];
    let rows = volumes.iter().map(|volume| row(volume, now)).collect();
    print_line(&format!("\n{}", table(&columns, rows, width, colour).trim_end()));
    for volume in volumes.iter().filter(|volume| !volume.problems.is_empty()) {
        print_line("");
        print_line(&styled(&escape(&volume.label()), Style::Bold, colour));
        for problem in &volume.problems {
            print_line(&format!("  {}", escape(problem)));
        }
    }
}

/// Shows one line for each compose project.
fn show_projects(volumes: &[VolumeStatus]) {
    let mut projects: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for volume in volumes {
        if let Some(project) = &volume.project {
            let (all, unsaved) = projects.entry(project).or_default();
            *all += 1;
            *unsaved +=
                usize::from(volume.verdict.state != State::Fresh || !volume.problems.is_empty());
        }
    }
    if !projects.is_empty() {
        print_line("\nCompose projects:");
    }
    for (project, (all, without)) in projects {
        let volumes = counted(all, "volume", "volumes");
        let said = match without {
            0 => format!("{volumes}, saved"),
            _ => format!("{without} of {volumes} not saved"),
        };
        print_line(&format!("  {}: {said}", escape(project)));
    }
}

fn show_running(report: &Report, now: &Zoned) {
    if report.running.is_empty() {
        return;
    }
    print_line("\nRunning now:");
    for run in &report.running {
        let words: Vec<&str> =
            std::iter::once(&run.script).chain(&run.arguments).map(String::as_str).collect();
        let (words, started) = (words.join(" "), moment(run.started, now));
        print_line(&format!("  {}, {} since {started}", escape(&words), run.status));
    }
}

fn row(volume: &VolumeStatus, now: Timestamp) -> Vec<Cell> {
    let ago = |time: Option<Timestamp>| time.map(|time| age(time, now));
    let style = match volume.verdict.state {
        State::Fresh => Style::Green,
        State::Overdue => Style::Red,
        State::Awaited | State::Missing => Style::Yellow,
    };
    let made = volume.last_backup.as_ref().map(|backup| backup.made);
    let next = ago(volume.next_backup).unwrap_or_else(|| "not scheduled".to_owned());
    let problem = Cell::from(volume.problems.first().cloned().unwrap_or_default());
    let is_wrong = !volume.problems.is_empty();
    vec![
        volume.label().into(),
        ago(volume.last_snapshot).unwrap_or_default().into(),
        Cell::from(ago(made).unwrap_or_else(|| "none".to_owned())).styled(style),
        next.into(),
        if is_wrong { problem.styled(Style::Red) } else { problem },
    ]
}
