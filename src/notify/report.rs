//! What a message on the end of a run is made from.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::problems::{BackedUp, EVERY_VOLUME};
use crate::{
    diagnostic,
    error::{Error, ErrorKind},
    run_words::{RunStatus, Trigger},
    script::{Effect, Failure},
    text::command_line,
    webhook_formats::digest,
};

/// A run that ended. Times are in UTC.
#[derive(Debug, Clone)]
pub(crate) struct RunReport {
    /// The run's id; empty if the run never began.
    pub(crate) run: String,
    pub(crate) script: String,
    /// The arguments as the words of a command line.
    pub(crate) arguments: Vec<String>,
    pub(crate) trigger: Trigger,
    pub(crate) status: RunStatus,
    /// A dry run sends no messages.
    pub(crate) dry_run: bool,
    /// Whether the script only reads. The person who started it sees the result.
    pub(crate) read_only: bool,
    /// The effects that the script declares.
    pub(crate) does: Vec<Effect>,
    /// Whether the script has a parameter `volume`, which stands for every volume if left out.
    pub(crate) takes_volume: bool,
    /// The volumes that the run backed up to the configured destination, each proven good.
    pub(crate) backed_up: BTreeSet<String>,
    /// The daemon and the destination of the run; `None` if no daemon was reached.
    pub(crate) daemon_and_destination: Option<String>,
    pub(crate) started: Timestamp,
    /// `None` if the run never began, or its end is not known.
    pub(crate) took: Option<Duration>,
    /// The error that ended the run.
    pub(crate) error: Option<Error>,
    /// The failures that did not end the run.
    pub(crate) failures: Vec<Failure>,
    /// The newest good backup (its time and URL) of each volume that failed; `None` if the volume
    /// has none.
    pub(crate) last_good: Vec<(String, Option<(Timestamp, String)>)>,
    /// The last lines of the run's log, as people read them.
    pub(crate) log_tail: Vec<String>,
}

impl RunReport {
    /// The run's command line as a person types it: `backup --volume vol2`.
    pub(crate) fn name(&self) -> String {
        command_line(std::iter::once(&self.script).chain(&self.arguments).map(String::as_str))
    }

    /// The command that shows the run.
    pub(crate) fn details_command(&self) -> String {
        format!("convoy-backups runs show {}", self.run)
    }

    /// The volumes that failed, each once, sorted.
    pub(crate) fn volumes(&self) -> Vec<&str> {
        let volumes: BTreeSet<&str> =
            self.failures.iter().map(|failure| failure.volume.as_str()).collect();
        volumes.into_iter().filter(|volume| !volume.is_empty()).collect()
    }

    /// The volumes that failed; if the run ended before it reached any, the volume of its
    /// arguments.
    pub(crate) fn volumes_at_fault(&self) -> Vec<&str> {
        match self.volumes().as_slice() {
            [] => Some(self.volume_argument())
                .filter(|volume| !volume.is_empty())
                .into_iter()
                .collect(),
            volumes => volumes.to_vec(),
        }
    }

    /// Whether the only failure is that another run held the lock.
    fn is_busy(&self) -> bool {
        match &self.error {
            Some(error) => error.kind == ErrorKind::Busy,
            None => {
                let busy = ErrorKind::Busy.code();
                !self.failures.is_empty()
                    && self.failures.iter().all(|failure| failure.code == busy)
            }
        }
    }

    /// Whether people are notified of a failure. A person who cancelled a run knows of it, and a
    /// person whose run found the lock taken can try again. The crontab's runs have no such person.
    pub(crate) fn counts_as_failure(&self) -> bool {
        self.status.is_failure() && (!self.is_busy() || self.trigger == Trigger::Cron)
    }

    /// Whether the run only showed something to the person who started it.
    pub(crate) fn is_interactive_read(&self) -> bool {
        self.read_only && self.trigger != Trigger::Cron
    }

    /// Whether a request over HTTP was refused as wrong. The client has the answer, and nothing is
    /// broken.
    pub(crate) fn is_refused(&self) -> bool {
        let is_wrong =
            |kind| matches!(kind, ErrorKind::Usage | ErrorKind::NotFound | ErrorKind::Guard);
        self.trigger == Trigger::Http
            && self.error.as_ref().is_some_and(|error| is_wrong(error.kind))
    }

    /// The volume that the arguments name, else [`EVERY_VOLUME`].
    fn volume_argument(&self) -> &str {
        let at = self.arguments.iter().position(|word| word == "--volume");
        at.and_then(|at| self.arguments.get(at + 1)).map_or(EVERY_VOLUME, String::as_str)
    }

    /// The volumes that the run failed to back up, if nothing else went wrong: a good backup of
    /// each makes up for the failure. Empty for a script with other effects, because backups make
    /// up for none of them.
    pub(super) fn not_backed_up(&self) -> BTreeSet<String> {
        let only_backs_up = self.does.contains(&Effect::Backup)
            && self.does.iter().all(|does| matches!(does, Effect::Snapshot | Effect::Backup));
        if !only_backs_up {
            return BTreeSet::new();
        }
        let failed: BTreeSet<String> = match self.failures.as_slice() {
            [] => [self.volume_argument().to_owned()].into(),
            failures => failures.iter().map(|failure| failure.volume.clone()).collect(),
        };
        // A volume that was backed up failed in another way, such as to delete older snapshots.
        if failed.is_disjoint(&self.backed_up) { failed } else { BTreeSet::new() }
    }

    /// The good backups of the run, which may resolve problems.
    pub(super) fn good_backups(&self) -> BackedUp {
        let mut volumes = self.backed_up.clone();
        // A script without the parameter may have backed up some volumes only.
        if self.does.contains(&Effect::Backup)
            && self.takes_volume
            && self.status == RunStatus::Done
            && !self.dry_run
            && !volumes.is_empty()
        {
            volumes.insert(self.volume_argument().to_owned());
        }
        BackedUp { volumes, daemon_and_destination: self.daemon_and_destination.clone() }
    }

    /// Equal for two runs that failed alike. It holds the volumes, the kinds of error, and the
    /// messages without their numbers: sizes, ages, ids and names of snapshots differ each time.
    pub(crate) fn fingerprint(&self) -> String {
        let mut parts: BTreeSet<String> = self
            .failures
            .iter()
            .map(|failure| {
                format!("{}|{}|{}", failure.volume, failure.code, without_numbers(&failure.message))
            })
            .collect();
        if let Some(error) = &self.error {
            parts.insert(format!("|{}|{}", error.kind.code(), without_numbers(&error.to_string())));
        }
        if parts.is_empty() {
            parts.insert(self.status.as_str().to_owned());
        }
        digest(&parts.into_iter().collect::<Vec<_>>().join("\n"))
    }

    /// The run as JSON, for webhooks.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "id": self.run,
            "script": self.script,
            "arguments": self.arguments,
            "trigger": self.trigger,
            "status": self.status,
            "started": self.started.to_string(),
            "took_seconds": self.took.map(|took| took.as_secs_f64()),
            "error": self.error.as_ref().map(diagnostic::to_json),
            "failures": self.failures,
            "last_good_backups": self.last_good.iter().map(|(volume, backup)| json!({
                "volume": volume,
                "made": backup.as_ref().map(|(made, _)| made.to_string()),
                "url": backup.as_ref().map(|(_, url)| url),
            })).collect::<Vec<_>>(),
            "command": self.details_command(),
        })
    }
}

/// The text with `#` for every word that has a digit.
pub(super) fn without_numbers(text: &str) -> String {
    let word = |word: &str| {
        if word.contains(|letter: char| letter.is_ascii_digit()) {
            "#".into()
        } else {
            word.to_owned()
        }
    };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A backup of everything in which these volumes failed.
    pub(crate) fn failed(volumes: &[&str]) -> RunReport {
        let failure = |volume: &&str| Failure {
            volume: (*volume).into(),
            code: "daemon".into(),
            message: format!("no space left, 12 bytes missing of {volume}"),
            hint: Some("make room".into()),
        };
        RunReport {
            run: "20261123T074200.123456-1a2b-0".into(),
            script: "backup".into(),
            arguments: Vec::new(),
            trigger: Trigger::Cron,
            status: if volumes.is_empty() { RunStatus::Done } else { RunStatus::Partial },
            dry_run: false,
            read_only: false,
            does: vec![Effect::Backup],
            takes_volume: true,
            backed_up: BTreeSet::new(),
            daemon_and_destination: Some("daemon vfs:///backups".into()),
            started: "2026-11-23T07:42:00Z".parse().unwrap(),
            took: Some(Duration::from_secs(200)),
            error: None,
            failures: volumes.iter().map(failure).collect(),
            last_good: Vec::new(),
            log_tail: vec!["07:42 snapshot".into(), "07:43 backup".into()],
        }
    }

    #[test]
    fn a_name_is_what_a_person_types() {
        let mut report = failed(&[]);
        report.arguments = ["--volume", "my vol's", ""].map(str::to_owned).into();
        assert_eq!(report.name(), r"backup --volume 'my vol'\''s' ''");
    }

    #[test]
    fn numbers_make_no_other_failure_and_volumes_kinds_and_words_do() {
        let one = failed(&["vol1", "vol2"]);
        let mut same = failed(&["vol2", "vol1"]);
        same.failures[0].message = "no space left, 99 bytes missing of vol2".into();
        same.failures[1].message = "no space left, 98 bytes missing of vol1".into();
        assert_eq!(one.fingerprint(), same.fingerprint());
        assert_ne!(one.fingerprint(), failed(&["vol1"]).fingerprint());
        let mut other = one.clone();
        other.failures[0].code = "timeout".into();
        assert_ne!(one.fingerprint(), other.fingerprint());
        other = one.clone();
        other.error = Some(Error::guard("something else"));
        assert_ne!(one.fingerprint(), other.fingerprint());
    }

    #[test]
    fn busy_is_a_failure_of_the_crontab_only_and_cancelled_is_none() {
        let mut report = failed(&["vol1"]);
        assert!(report.counts_as_failure());
        report.failures[0].code = "busy".into();
        assert!(report.counts_as_failure());
        report.trigger = Trigger::Cli;
        assert!(!report.counts_as_failure());
        report = failed(&["vol1"]);
        for (status, counts) in [
            (RunStatus::TimedOut, true),
            (RunStatus::Interrupted, true),
            (RunStatus::Failed, true),
            (RunStatus::Cancelled, false),
        ] {
            report.status = status;
            assert_eq!(report.counts_as_failure(), counts, "{status}");
        }
    }
}
