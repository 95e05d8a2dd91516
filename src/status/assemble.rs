//! Puts together what is known of the volumes, for `status`, the dashboard and the metrics.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use jiff::Timestamp;

use super::{
    alerts::is_looked_at,
    failures::{self, failed_runs},
    freshness::Freshness,
    known::{Known, VolumeStatus},
    report::{self, Backup, Report, Running, Size, Volume},
};
use crate::{
    config::Config, diagnostic, error::Error, notify::Notifier, runs::Store, schedule::Entry,
    script::Effect, text::counted,
};

/// So many volumes of a kind are named in one line.
const NAMED: usize = 10;

/// What was seen of a program and its volumes.
pub(crate) struct Seen<'a> {
    /// The configuration.
    pub(crate) config: &'a Config,
    /// Whether `serve` runs; `None`: it was killed.
    pub(crate) serving: Option<bool>,
    /// The crontab's entries.
    pub(crate) entries: &'a [Arc<Entry>],
    /// The keys of the entries that somebody paused.
    pub(crate) paused: &'a BTreeSet<String>,
    /// Another crontab that `serve` follows, where that is not this one.
    pub(crate) followed: Option<String>,
    /// What is wrong with the crontab, a sentence.
    pub(crate) crontab_problem: Option<String>,
    /// A line, or the configuration where there are none, has no destination.
    pub(crate) lacks_destination: bool,
    /// Which daemon, in words.
    pub(crate) daemon: String,
    /// The volumes.
    pub(crate) known: &'a Known,
    /// The runs.
    pub(crate) store: &'a Store,
    /// Who is told.
    pub(crate) notifier: &'a Notifier,
    /// When it was looked.
    pub(crate) now: Timestamp,
}

/// All of it in the form in which people and programs get it. It reads the store and the outbox,
/// and so may block for moments.
pub(crate) fn report(seen: &Seen<'_>) -> Report {
    let Seen { known, .. } = seen;
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    problems.extend(seen.crontab_problem.clone());
    for entry in seen.entries.iter().filter(|entry| seen.paused.contains(&entry.key)) {
        let words = format!("{} {}", entry.script, entry.arguments_text());
        let paused = format!(
            "line {} of the crontab is paused: \"{}\" is not started at its times",
            entry.line,
            words.trim()
        );
        // A volume whose backup nobody makes is not safe, even if somebody meant it.
        if entry.may_back_up { problems.push(paused) } else { notes.push(paused) }
    }
    notes.extend(seen.followed.as_ref().map(|followed| {
        format!("serve follows \"{followed}\", and this command looks at another crontab: give it the settings that serve has, BKUP_CRONTAB above all")
    }));
    match seen.serving {
        Some(true) => {}
        Some(false) => {
            notes.push("\"convoy-backups serve\" does not run here: nothing is started by the crontab".to_owned());
        }
        None => problems
            .push("\"convoy-backups serve\" was killed and does not run: nothing is started by the crontab".into()),
    }
    if seen.lacks_destination {
        problems.push("no backup destination is set: set BKUP_BACKUP_URL".into());
    }
    problems.extend(known.destinations.iter().filter_map(|look| look.problem()).map(with_hint));
    problems.extend(
        known.forgotten.as_ref().map(|error| format!("what ran before is not known: {error}")),
    );
    if known.volumes.is_empty() && known.unreachable.is_none() {
        notes.push("there are no volumes".into());
    }
    let new =
        known.volumes.iter().filter(|volume| volume.backup.is_none() && volume.problems.is_empty());
    notes.extend(new.map(|volume| format!("\"{}\" has no backup yet", volume.name)));
    if !seen.entries.is_empty() {
        let own = seen
            .entries
            .iter()
            .any(|entry| entry.may_back_up && !entry.does.contains(&Effect::Backup));
        notes.extend(unscheduled(&known.volumes, own));
    }
    problems.extend(failed_runs(seen.store, &known.volumes));
    let waiting = seen.notifier.waiting().len();
    if waiting > 0 {
        let messages = counted(waiting, "message", "messages");
        problems
            .push(format!("{messages} could not be sent yet: see \"convoy-backups notify list\""));
    }
    if seen.notifier.channels().is_empty() {
        notes.push(
            "nobody is told when a backup fails: set BKUP_EMAIL_ENABLED=true or BKUP_WEBHOOK_URL"
                .into(),
        );
    }
    let told = seen.notifier.problems().unwrap_or_default();
    // What was looked at just now counts as it is now; people may be told of its end a little
    // later.
    let is_told = told.keys().any(|key| !is_looked_at(key));
    let is_wrong = known.volumes.iter().any(|volume| !volume.problems.is_empty());
    let running = failures::running(seen.store).into_iter().map(|run| Running {
        arguments: run.words(),
        trigger: run.trigger,
        status: run.status,
        id: run.id,
        script: run.script,
        started: run.started,
    });
    Report {
        ok: !is_wrong && problems.is_empty() && known.unreachable.is_none() && !is_told,
        serving: seen.serving == Some(true),
        looked: seen.now,
        host: seen.config.host_name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        daemon: seen.daemon.clone(),
        destination: seen.config.backup_url.as_ref().map(ToString::to_string),
        data_dir: path(&seen.config.data_dir),
        volumes: known.volumes.iter().map(volume).collect(),
        daemon_error: known.unreachable.as_ref().map(diagnostic::to_json),
        problems,
        told: told
            .iter()
            .map(|(key, problem)| report::Told {
                key: key.clone(),
                title: problem.title.clone(),
                first: problem.first,
                last: problem.last,
                times: problem.times,
            })
            .collect(),
        running: running.collect(),
        notes,
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn with_hint(error: &Error) -> String {
    error.hint.as_ref().map_or_else(|| error.to_string(), |hint| format!("{error}: {hint}"))
}

/// The volumes that no line of the crontab backs up. `own`: there are lines with scripts of the
/// user's own.
fn unscheduled(volumes: &[VolumeStatus], own: bool) -> Option<String> {
    let names: Vec<String> = volumes
        .iter()
        .filter(|volume| !volume.is_scheduled && !volume.lost)
        .map(|volume| format!("\"{}\"", volume.name))
        .collect();
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = if names.len() > NAMED {
        format!(" and {} more", names.len() - NAMED)
    } else {
        String::new()
    };
    (!names.is_empty()).then(|| {
        let own = if own { " (what scripts of your own do is not known here)" } else { "" };
        format!("no line of the crontab backs up {shown}{more}: add one such as \"30 3 * * * backup\"{own}")
    })
}

fn volume(volume: &VolumeStatus) -> Volume {
    let (backup, limit) = match volume.freshness {
        Freshness::Until(limit) => (report::Freshness::Fresh, Some(limit)),
        Freshness::Overdue(limit) => (report::Freshness::Overdue, Some(limit)),
        Freshness::Unscheduled => (report::Freshness::Unscheduled, None),
    };
    Volume {
        name: volume.name.clone(),
        daemon: volume.daemon.clone(),
        last_snapshot: volume.snapshot,
        last_backup: volume.backup.as_ref().map(|backup| Backup {
            url: backup.url.clone(),
            snapshot_time: backup.taken,
            made: backup.made,
            bytes: backup.bytes,
        }),
        next_snapshot: volume.next_snapshot,
        next_backup: volume.next_backup,
        backup,
        backup_due_by: limit,
        scheduled: volume.is_scheduled,
        gone: volume.lost,
        problems: volume.problems.clone(),
        sizes: volume
            .sizes
            .iter()
            .map(|(time, bytes)| Size { time: *time, bytes: *bytes })
            .collect(),
    }
}
