//! Decides which channels get which messages: on runs, and on problems that are not runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    channel::{ChannelInfo, ChannelKind},
    delivery::Delivery,
    message::{Event, Message},
    outbox::{Outbox, Waiting},
    problems::{Occurrence, Problem, Problems, Repeat, Verdict},
    report::{RunReport, without_numbers},
    slot::{Reach, slots},
    texts::{self, Block},
};
use crate::{
    clock::Clock,
    config::Config,
    error::Result,
    run_words::{RunStatus, Trigger},
};

/// Notifies people and services. A process has one; making it is cheap and needs no network.
pub(crate) struct Notifier {
    host: String,
    clock: Arc<dyn Clock>,
    pub(super) delivery: Delivery,
    problems: Arc<Problems>,
}

impl Notifier {
    /// Checks the settings of every channel. It sends nothing and writes no file.
    ///
    /// # Errors
    /// A configuration error that names the variable.
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let folder = config.data_dir.join("notify");
        let problems = Arc::new(Problems::new(&folder, config.remind_after));
        let outbox = Outbox::new(&folder);
        let delivery = Delivery::new(clock.clone(), slots(config)?, outbox, problems.clone());
        Ok(Self { host: config.host_name(), clock, delivery, problems })
    }

    /// Reports the start of a run to watchdogs, and only at that moment. A run that only reads is
    /// left out: a watchdog would take it for a backup.
    pub(crate) fn on_run_start(&self, run: &str, script: &str, read_only: bool) {
        if read_only {
            return;
        }
        let mut message = self.message(Event::Started, &format!("{script} began"), &[]);
        message.run_id = Some(run.to_owned());
        self.delivery.queue_in_memory(&message, Reach::Watchdogs);
    }

    /// Reports the end of a run.
    ///
    /// People are notified when the run failed: once, and again when a reminder is due or it fails
    /// otherwise. They are notified when it succeeds again, or when its good backups make up for
    /// failures of other runs.
    ///
    /// Channels that get every run get all but dry runs, and runs by which a person only read
    /// something.
    pub(crate) fn on_run_end(&self, report: &RunReport) {
        if report.dry_run || report.is_refused() || !self.delivery.has_channels() {
            return;
        }
        let key = format!("run {}", report.name());
        if report.is_interactive_read() {
            // The person who asked sees the failure. A success may still resolve a problem of the
            // crontab's runs.
            if !report.status.is_failure() {
                self.on_good_end(&key, report);
            }
        } else if report.counts_as_failure() {
            self.resolve_by_backup(report);
            self.report_failure(&key, report);
        } else if report.status != RunStatus::Done {
            self.resolve_by_backup(report);
            self.notify_of_run(Event::Ended, report, Reach::EveryRun, None, None);
        } else {
            self.on_good_end(&key, report);
        }
    }

    fn report_failure(&self, key: &str, report: &RunReport) {
        let occurrence = Occurrence {
            key,
            title: &texts::run_words(report, false),
            fingerprint: &report.fingerprint(),
            now: self.clock.now(),
            // A command that a person typed may never be repeated, so no success would resolve it.
            expires: report.trigger != Trigger::Cron,
            not_backed_up: report.not_backed_up(),
            daemon_and_destination: report.daemon_and_destination.clone(),
            repeat: Repeat::AfterAWhile,
        };
        let notify = |reach, known: Option<&Problem>, key| {
            self.notify_of_run(Event::Failed, report, reach, known, key);
        };
        self.problems.record(&occurrence, |verdict| match verdict {
            Verdict::New => notify(Reach::All, None, Some(key)),
            Verdict::Again(problem) => notify(Reach::All, Some(&problem), Some(key)),
            Verdict::AlreadyReported => notify(Reach::EveryRun, None, None),
        });
    }

    /// Resolves the problem of a run that succeeded, and the problems that its good backups make up
    /// for.
    fn on_good_end(&self, key: &str, report: &RunReport) {
        self.problems.resolve_by_backup(Some(key), &report.good_backups(), |own, others| {
            match own {
                Some(problem) => {
                    self.notify_of_run(Event::Recovered, report, Reach::All, Some(&problem), None);
                }
                None if report.is_interactive_read() => {}
                None => self.notify_of_run(Event::Succeeded, report, Reach::EveryRun, None, None),
            }
            self.notify_made_up_for(report, &others);
        });
    }

    /// A run that did not succeed may have made good backups all the same.
    fn resolve_by_backup(&self, report: &RunReport) {
        if !report.backed_up.is_empty() {
            self.problems.resolve_by_backup(None, &report.good_backups(), |_, others| {
                self.notify_made_up_for(report, &others);
            });
        }
    }

    /// Reports, in one message, the problems of other runs that a run's good backups resolved.
    fn notify_made_up_for(&self, report: &RunReport, problems: &[(String, Problem)]) {
        let names: Vec<&str> =
            problems.iter().map(|(key, _)| key.strip_prefix("run ").unwrap_or(key)).collect();
        if names.is_empty() {
            return;
        }
        let zone = self.clock.time_zone();
        let lines = problems.iter().map(|(_, problem)| {
            format!("- {} (since {})", problem.title, texts::moment(problem.first, &zone))
        });
        let text = format!(
            "Good backups were made by \"{}\". They make up for:\n\n{}",
            report.name(),
            lines.collect::<Vec<_>>().join("\n")
        );
        let words = format!("{} is well again", texts::some_of(&names));
        let message = self.plain_message(Event::Solved, &words, &text, Some(&report.run));
        // Watchdogs get the message on the run itself.
        self.delivery.queue(&message, Reach::People);
    }

    /// A person accepted what the backups of this volume of this daemon hold: problems of runs that
    /// found it in doubt are over. `why`: what was in doubt.
    pub(crate) fn on_accepted(&self, daemon: &str, volume: &str, why: &str) {
        self.problems.resolve_by_acceptance(daemon, volume, |problems| {
            if !problems.is_empty() {
                let text = format!(
                    "Someone said that this was meant, with \"convoy-backups status --accept {volume}\": {why}"
                );
                let subject = format!("{volume} is well again");
                self.notify(Event::Solved, &subject, &text, Reach::People, None);
            }
        });
    }

    /// `known`: the problem that the run continues or resolves. `key`: the problem that the message
    /// reports.
    fn notify_of_run(
        &self,
        event: Event,
        report: &RunReport,
        reach: Reach,
        known: Option<&Problem>,
        key: Option<&str>,
    ) {
        let zone = self.clock.time_zone();
        let goes_on = event == Event::Failed && known.is_some();
        let words = match event {
            Event::Recovered => format!("{} is well again", report.name()),
            _ => texts::run_words(report, goes_on),
        };
        let since = known.map(|problem| (problem.first, problem.times));
        let mut blocks =
            texts::run_body(report, &self.host, &zone, if goes_on { since } else { None });
        if let (Event::Recovered, Some((first, times))) = (event, since) {
            let first = texts::moment(first, &zone);
            let times = texts::times_of(times);
            blocks.insert(
                1,
                Block::Words(format!("It is well again. It had failed {times} since {first}.")),
            );
        }
        let mut message = self.message(event, &words, &blocks);
        message.run = Some(report.to_json());
        message.run_id = Some(report.run.clone());
        message.problem = key.map(str::to_owned);
        let reach = if report.read_only { reach.without_watchdogs() } else { reach };
        self.delivery.queue(&message, reach);
    }

    /// Reports a problem that is not a run's, such as a volume whose newest backup is too old. It
    /// is reported once, until [`Notifier::resolve`] is called with the same key, the subject
    /// changes, or a reminder is due.
    pub(crate) fn problem(&self, key: &str, subject: &str, text: &str) {
        self.problem_with(key, subject, text, Repeat::AfterAWhile);
    }

    /// As [`Notifier::problem`], with a choice whether people are reminded of the problem.
    pub(crate) fn problem_with(&self, key: &str, subject: &str, text: &str, repeat: Repeat) {
        self.report_problem(
            &format!("problem {key}"),
            subject,
            text,
            &without_numbers(subject),
            None,
            repeat,
        );
    }

    /// Lets problems that are dated in the future count from now on: a clock was wrong.
    pub(crate) fn correct_dates(&self) {
        self.problems.correct_dates(self.clock.now());
    }

    /// Resolves a problem without a message.
    pub(crate) fn drop_problem(&self, key: &str) {
        self.problems.resolve(&format!("problem {key}"), |_| {});
    }

    /// Resolves the problem with this key, and notifies people if it was open.
    pub(crate) fn resolve(&self, key: &str, subject: &str, text: &str) {
        let key = format!("problem {key}");
        // Most calls find no open problem: they read the file and take no lock.
        if self.problems.all(self.clock.now()).is_ok_and(|problems| !problems.contains_key(&key)) {
            return;
        }
        self.problems.resolve(&key, |problem| {
            if problem.is_some() {
                self.notify(Event::Solved, subject, text, Reach::All, None);
            }
        });
    }

    /// `run`: the run whose script reports the problem. Such a problem expires when it is no longer
    /// reported.
    pub(super) fn report_problem(
        &self,
        key: &str,
        subject: &str,
        text: &str,
        fingerprint: &str,
        run: Option<&str>,
        repeat: Repeat,
    ) {
        if !self.delivery.has_channels() {
            log::warn!("nobody is told of this, as no channel is on: {subject}: {text}");
            return;
        }
        let occurrence = Occurrence {
            key,
            title: subject,
            fingerprint,
            now: self.clock.now(),
            expires: run.is_some(),
            not_backed_up: BTreeSet::new(),
            daemon_and_destination: None,
            repeat,
        };
        self.problems.record(&occurrence, |verdict| {
            if verdict != Verdict::AlreadyReported {
                let message = self.plain_message(Event::Problem, subject, text, run);
                let message = Message { problem: Some(key.to_owned()), ..message };
                self.delivery.queue(&message, Reach::All);
            }
        });
    }

    pub(super) fn notify(
        &self,
        event: Event,
        subject: &str,
        text: &str,
        reach: Reach,
        run: Option<&str>,
    ) {
        self.delivery.queue(&self.plain_message(event, subject, text, run), reach);
    }

    pub(super) fn queue(&self, message: &Message, reach: Reach) {
        self.delivery.queue(message, reach);
    }

    /// A message with a subject and a text. `run`: the run whose script wrote them.
    pub(super) fn plain_message(
        &self,
        event: Event,
        subject: &str,
        text: &str,
        run: Option<&str>,
    ) -> Message {
        let blocks =
            texts::plain_body(text, &self.host, self.clock.now(), &self.clock.time_zone(), run);
        self.message(event, subject, &blocks)
    }

    fn message(&self, event: Event, words: &str, blocks: &[Block]) -> Message {
        Message {
            event,
            subject: texts::subject(&self.host, words),
            text: texts::to_text(blocks),
            html: texts::to_html(blocks),
            host: self.host.clone(),
            time: self.clock.now(),
            run: None,
            run_id: None,
            body: None,
            to: None,
            problem: None,
        }
    }

    pub(crate) fn channels(&self) -> Vec<ChannelInfo> {
        self.delivery.channels()
    }

    pub(super) fn is_on(&self, kind: ChannelKind) -> bool {
        self.delivery.is_on(kind)
    }

    /// Whether this process queued a message and has not tried to send it yet.
    pub(crate) fn has_untried(&self) -> bool {
        self.delivery.has_untried()
    }

    /// Waits until a message was sent, or an attempt to send one failed: what waits has changed. For
    /// one waiter.
    pub(crate) async fn attempted(&self) {
        self.delivery.attempted().await;
    }

    /// Tries once to send what is due, within this time.
    pub(crate) async fn deliver_within(&self, limit: Duration) {
        self.delivery.deliver_within(limit).await;
    }

    /// Sends what any process queues, until `stop`.
    pub(crate) async fn keep_delivering(&self, stop: CancellationToken) {
        self.delivery.keep_delivering(stop).await;
    }

    /// Sends a test message through every channel that is on, past the outbox, and returns the
    /// result of each.
    pub(crate) async fn test(&self) -> Vec<(ChannelInfo, Result<()>)> {
        let text = "This is a test: whoever reads it is told when something is wrong.";
        self.delivery.test(&self.plain_message(Event::Test, "this is a test", text, None)).await
    }

    /// The messages that wait, in the order in which they were queued.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        self.delivery.waiting()
    }

    /// The open problems by their keys.
    ///
    /// # Errors
    /// If the file can't be read.
    pub(crate) fn problems(&self) -> Result<BTreeMap<String, Problem>> {
        self.problems.all(self.clock.now())
    }
}
