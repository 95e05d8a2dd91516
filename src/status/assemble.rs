//! Assembles the report on the volumes and the program for `status`, the dashboard and the metrics.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Zoned};

use super::{
    alerts::is_checked_by_look,
    failures::{self, failed_runs},
    freshness::Level,
    headline::{headline, without_backup},
    known::Known,
    left_out::{not_backed_up, should_be_backed_up},
    look::{Looked, UnusedDaemon},
    report::{OpenProblem, Report, UnfinishedRun},
    volume::VolumeStatus,
};
use crate::{
    config::Config,
    diagnostic,
    error::Error,
    notify::{NO_CHANNEL, NO_CHANNEL_HINT, Notifier, Problem},
    runs::Store,
    schedule::CrontabEntry,
    script::Effect,
    text::counted,
    units::format_duration,
};

/// The most volumes that one line names.
const VOLUMES_NAMED: usize = 10;

/// A report on a look that is older than this says nothing of now, and that is a problem.
const OLDEST_LOOK: SignedDuration = SignedDuration::from_mins(30);

/// What [`report`] makes a report from.
pub(crate) struct Sources<'a> {
    pub(crate) config: &'a Config,
    /// Whether `serve` runs; `None` if it was killed.
    pub(crate) serving: Option<bool>,
    pub(crate) entries: &'a [Arc<CrontabEntry>],
    /// The keys of the entries that are paused.
    pub(crate) paused: &'a BTreeSet<String>,
    /// The crontab that `serve` follows, if it is another than this one.
    pub(crate) followed: Option<String>,
    /// What is wrong with the crontab, a sentence.
    pub(crate) crontab_problem: Option<String>,
    /// Says that the built-in daemon's folder was copied or moved, and what settles that.
    pub(crate) copied_root: Option<String>,
    pub(crate) looked: &'a Looked,
    pub(crate) store: &'a Store,
    pub(crate) notifier: &'a Notifier,
    /// The current time, in the zone of the times in sentences.
    pub(crate) now: &'a Zoned,
}

/// Makes the report. It reads the store and the outbox, so it may block briefly.
pub(crate) fn report(sources: &Sources<'_>) -> Report {
    let Sources { config, looked, store, .. } = sources;
    let known = &looked.known;
    let problems = problems(sources);
    let reported = sources.notifier.problems().unwrap_or_default();
    // The look decides on problems that it checks itself: their alerts may close a little later.
    let has_reported = reported.keys().any(|key| !is_checked_by_look(key));
    let is_wrong = known.volumes.iter().any(|volume| !volume.problems.is_empty());
    let ok = !is_wrong && problems.is_empty() && known.unreachable.is_none() && !has_reported;
    let (level, sentence) = headline(ok, known, sources.now);
    Report {
        ok,
        level,
        sentence,
        serving: sources.serving == Some(true),
        looked: looked.at,
        host: config.host_name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        daemon: looked.daemon.clone(),
        destination: config.backup_url.as_ref().map(ToString::to_string),
        data_dir: config.data_dir.display().to_string(),
        volumes: known.volumes.clone(),
        daemon_error: known.unreachable.as_ref().map(diagnostic::to_json),
        problems,
        open_problems: reported.iter().map(|(key, problem)| open_problem(key, problem)).collect(),
        running: running(store),
        notes: notes(sources, level),
    }
}

/// The problems that are not of one volume, a sentence each.
fn problems(sources: &Sources<'_>) -> Vec<String> {
    let Looked { known, lacks_destination, daemon, ever_saw_volumes, .. } = sources.looked;
    let mut problems = Vec::new();
    if known.volumes.is_empty()
        && known.unreachable.is_none()
        && known.store_error.is_none()
        && !ever_saw_volumes
    {
        problems.push(format!(
            "nothing is protected yet: {daemon} has no volumes (make one: convoy-backups create --volume NAME --size 10G; another daemon: BKUP_CONVOY)"
        ));
    }
    problems.extend(old_look(sources));
    problems.extend(sources.crontab_problem.clone());
    // A volume that is not backed up is unsafe, even if its line was paused on purpose.
    problems.extend(paused(sources).filter(|entry| entry.may_back_up).map(paused_text));
    if sources.serving.is_none() {
        problems.push(
            "\"convoy-backups serve\" was killed and does not run: nothing is started by the crontab"
                .to_owned(),
        );
    }
    problems.extend(should_be_backed_up(&known.docker.not_backed_up));
    problems.extend(known.docker.problem.clone());
    if *lacks_destination {
        problems.push("no backup destination is set: set BKUP_BACKUP_URL".to_owned());
    }
    problems.extend(known.destinations.iter().filter_map(|look| look.problem()).map(with_hint));
    problems.extend(
        known.store_error.as_ref().map(|error| format!("what ran before is not known: {error}")),
    );
    problems.extend(failed_runs(sources.store, &known.volumes));
    let now = sources.now.timestamp();
    let waiting = sources.notifier.waiting();
    let unsent = waiting.iter().filter(|waiting| waiting.is_late(now)).count();
    if unsent > 0 {
        let messages = counted(unsent, "message", "messages");
        problems
            .push(format!("{messages} could not be sent yet: see \"convoy-backups notify list\""));
    }
    problems
}

/// What is said of a look that is so old that it says nothing of now.
fn old_look(sources: &Sources<'_>) -> Option<String> {
    let age = sources.now.timestamp().duration_since(sources.looked.at);
    (age > OLDEST_LOOK).then(|| {
        format!(
            "the volumes were last looked at {} ago, and no look has ended well since: does a network folder or the daemon hang? (look closer with: convoy-backups doctor)",
            format_duration(age.unsigned_abs())
        )
    })
}

/// What a reader should know though it is no problem, a sentence each.
fn notes(sources: &Sources<'_>, level: Level) -> Vec<String> {
    let Known { volumes, unreachable, .. } = &sources.looked.known;
    let mut notes = Vec::new();
    notes.extend(paused(sources).filter(|entry| !entry.may_back_up).map(paused_text));
    notes.extend(sources.followed.as_ref().map(|followed| {
        format!("serve follows \"{followed}\", and this command looks at another crontab: give it the settings that serve has, BKUP_CRONTAB above all")
    }));
    if sources.serving == Some(false) {
        notes.push(
            "\"convoy-backups serve\" does not run here: nothing is started by the crontab"
                .to_owned(),
        );
    }
    notes.extend(sources.looked.unused_daemons.iter().map(unused_text));
    if volumes.is_empty() && unreachable.is_none() {
        notes.push("there are no volumes".to_owned());
    }
    // Otherwise the headline says so.
    let without = without_backup(volumes);
    if level == Level::Bad && !without.is_empty() {
        let have = if without.len() == 1 { "has" } else { "have" };
        notes.push(format!("{} {have} no backup yet", named(&without)));
    }
    notes.extend(
        volumes.iter().flat_map(|volume| {
            volume.notes.iter().map(|note| format!("\"{}\": {note}", volume.name))
        }),
    );
    notes.extend(volumes.iter().filter_map(older_broken));
    notes.extend(volumes.iter().filter_map(partial));
    notes.extend(volumes.iter().filter_map(in_doubt));
    notes.extend(not_backed_up(&sources.looked.known.docker.not_backed_up));
    notes.extend(sources.copied_root.clone());
    notes.extend(not_verified(volumes));
    notes.extend(changed_while_read(volumes));
    if !sources.entries.is_empty() {
        notes.extend(unscheduled(volumes, sources.entries));
    }
    if sources.notifier.channels().is_empty() {
        notes.push(format!("{NO_CHANNEL}: {NO_CHANNEL_HINT}"));
    }
    notes
}

/// What is said of backups that can't be restored, where a newer one is good.
fn older_broken(volume: &VolumeStatus) -> Option<String> {
    let older = volume.bad_backups.iter().filter(|bad| bad.broken && !bad.newest).count();
    let backups = counted(older, "older backup", "older backups");
    let name = &volume.name;
    (older > 0).then(|| {
        format!("{backups} of \"{name}\" can't be restored: see \"convoy-backups backups --volume {name}\"")
    })
}

/// What is said of partial backups, which stay beside newer ones that are good.
fn partial(volume: &VolumeStatus) -> Option<String> {
    let partial = volume.bad_backups.iter().filter(|bad| bad.partial).count();
    let (backups, name) = (counted(partial, "backup", "backups"), &volume.name);
    let (are, count) = if partial == 1 { ("is", "counts") } else { ("are", "count") };
    // Else it is a problem of the volume.
    (partial > 0 && volume.problems.is_empty()).then(|| {
        format!("{backups} of \"{name}\" {are} partial and {count} for nothing: see \"convoy-backups backups --volume {name}\"")
    })
}

/// What is said of backups in doubt, which stay beside newer ones that are good.
fn in_doubt(volume: &VolumeStatus) -> Option<String> {
    let doubtful = volume.bad_backups.iter().filter(|bad| !bad.broken && !bad.partial).count();
    let (backups, name) = (counted(doubtful, "backup", "backups"), &volume.name);
    let (are, count) = if doubtful == 1 { ("is", "counts") } else { ("are", "count") };
    // Else it is a problem of the volume.
    (doubtful > 0 && volume.problems.is_empty()).then(|| {
        format!("{backups} of \"{name}\" {are} in doubt and {count} for nothing: see \"convoy-backups backups --volume {name}\" (if that loss of data was meant: convoy-backups status --accept {name})")
    })
}

/// A note on the volumes whose newest good backup is not verified; `None` if there are no such volumes.
fn not_verified(volumes: &[VolumeStatus]) -> Option<String> {
    let is_not = |volume: &&VolumeStatus| {
        let newest = volume.last_backup.as_ref();
        newest.is_some_and(|backup| backup.verified == Some(false)) && volume.problems.is_empty()
    };
    let unverified: Vec<_> = volumes.iter().filter(is_not).collect();
    let (backups, are) = match unverified.len() {
        0 => return None,
        1 => ("newest backup of", "is"),
        _ => ("newest backups of", "are"),
    };
    Some(format!(
        "the {backups} {} {are} not verified, because the data can't be seen from here: let this program read the destination, or restore one for a trial (docs/convoy.md)",
        named(&unverified)
    ))
}

/// A note on the volumes in which files changed while the newest backup was made.
fn changed_while_read(volumes: &[VolumeStatus]) -> Option<String> {
    let changed = |volume: &&VolumeStatus| {
        volume.last_backup.as_ref().and_then(|backup| backup.changed_files).unwrap_or(0)
    };
    let torn: Vec<_> = volumes.iter().filter(|volume| changed(volume) > 0).collect();
    let files = torn.iter().map(changed).sum::<u64>() as usize;
    if files == 0 {
        return None;
    }
    let (changed, they) = match files {
        1 => ("file changed", "it was"),
        _ => ("files changed", "they were"),
    };
    Some(format!(
        "{files} {changed} while {they} read for the newest backup of {}: a database among them may not open (docs/moments.md); \"backups --json\" names them (ChangedPaths)",
        named(&torn)
    ))
}

fn paused<'a>(sources: &Sources<'a>) -> impl Iterator<Item = &'a Arc<CrontabEntry>> {
    let paused = sources.paused;
    sources.entries.iter().filter(|entry| paused.contains(&entry.key))
}

fn paused_text(entry: &Arc<CrontabEntry>) -> String {
    let words = format!("{} {}", entry.script, entry.arguments_text());
    format!(
        "line {} of the crontab is paused: \"{}\" is not started at its times",
        entry.line,
        words.trim()
    )
}

fn unused_text(unused: &UnusedDaemon) -> String {
    let named = unused.volumes.iter().take(VOLUMES_NAMED).map(|name| format!("\"{name}\""));
    let named = named.collect::<Vec<_>>().join(", ");
    format!(
        "nothing uses {} any more, and it has {named}: set BKUP_CONVOY where it should be used; a volume that was meant to go: convoy-backups status --forget {}",
        unused.identity,
        unused.volumes.first().map(String::as_str).unwrap_or_default()
    )
}

fn open_problem(key: &str, problem: &Problem) -> OpenProblem {
    OpenProblem {
        key: key.to_owned(),
        title: problem.title.clone(),
        first: problem.first,
        last: problem.last,
        times: problem.times,
    }
}

fn running(store: &Store) -> Vec<UnfinishedRun> {
    let running = failures::running(store).into_iter().map(|run| UnfinishedRun {
        arguments: run.words(),
        trigger: run.trigger,
        status: run.status,
        id: run.id,
        script: run.script,
        started: run.started,
    });
    running.collect()
}

fn with_hint(error: &Error) -> String {
    error.hint.as_ref().map_or_else(|| error.to_string(), |hint| format!("{error}: {hint}"))
}

/// A note on the volumes that no line of the crontab backs up; `None` if there are no such volumes.
fn unscheduled(volumes: &[VolumeStatus], entries: &[Arc<CrontabEntry>]) -> Option<String> {
    let unscheduled: Vec<&VolumeStatus> =
        volumes.iter().filter(|volume| !volume.scheduled && !volume.gone).collect();
    if unscheduled.is_empty() {
        return None;
    }
    let own =
        if entries.iter().any(|entry| entry.may_back_up && !entry.does.contains(&Effect::Backup)) {
            "; a script of your own counts if it declares const DOES = [\"backup\"]"
        } else {
            ""
        };
    Some(format!(
        "no line of the crontab backs up {}: add one such as \"30 3 * * * backup\"{own}",
        named(&unscheduled)
    ))
}

/// The names of these volumes, for a sentence: the first of them if they are many.
fn named(volumes: &[&VolumeStatus]) -> String {
    let names = volumes.iter().take(VOLUMES_NAMED).map(|volume| format!("\"{}\"", volume.name));
    let names = names.collect::<Vec<_>>().join(", ");
    match volumes.len().saturating_sub(VOLUMES_NAMED) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}
