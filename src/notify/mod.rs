//! Being told: e-mail (SMTP or Amazon SES) and a webhook, when something is wrong and when it is
//! well again.
//!
//! - [`report`]: a run as people are told of it; [`texts`]: the words; [`message`]: the two made
//!   ready for every channel.
//! - `problems`: what is wrong and who knows it, so that nobody is told twice; `outbox`: what still
//!   has to be sent.
//! - `email` with `smtp` and `ses`, and `webhook`: the channels. `scripts`: what `notify::` of
//!   scripts does.
//!
//! Telling is putting into the outbox, which needs no network and fails nobody:
//! [`Notifier::deliver_due`] does the sending, again and again for a day.

mod email;
mod message;
mod outbox;
mod problems;
mod report;
mod scripts;
mod ses;
mod smtp;
#[cfg(test)]
mod tests;
mod texts;
mod webhook;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use message::{Event, Message};
pub(crate) use outbox::{ChannelKind, Waiting};
pub(crate) use problems::{Problem, Repeat};
pub(crate) use report::RunReport;

use crate::{
    clock::Clock,
    config::{Config, NotifyOn},
    diagnostic::in_one_line,
    error::{Error, ErrorKind, Result},
    run_words::{RunStatus, Trigger},
    text::counted,
};
use email::Email;
use outbox::Outbox;
use problems::{Problems, Seen, Verdict};
use texts::Block;
use webhook::Webhook;

/// How long one attempt to send one message may take.
const ATTEMPT: Duration = Duration::from_secs(30);
/// How often the outbox is looked at where nothing is due: another process may have put something
/// in.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long to wait at least: another process may be sending what is due.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_secs(5);
/// How long a message that is being sent gets when the process ends.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// Tells people. One per process; making it costs nothing and needs no network.
pub(crate) struct Notifier {
    host: String,
    clock: Arc<dyn Clock>,
    email: Option<Channel<Email>>,
    webhook: Option<Channel<Webhook>>,
    outbox: Outbox,
    problems: Problems,
    /// Something was put into the outbox.
    queued: tokio::sync::Notify,
    /// What this process put into the outbox and has not tried to send yet.
    untried: AtomicBool,
}

/// A way to people.
struct Channel<T> {
    on: NotifyOn,
    way: Arc<T>,
    /// Messages are sent one after the other, in their order.
    turn: tokio::sync::Mutex<()>,
}

impl<T> Channel<T> {
    fn new(on: NotifyOn, way: T) -> Self {
        Self { on, way: Arc::new(way), turn: tokio::sync::Mutex::default() }
    }
}

/// A channel that is on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ChannelInfo {
    /// Which it is.
    pub(crate) channel: ChannelKind,
    /// Where it leads, without secrets.
    pub(crate) to: String,
    /// Whether it hears of every run.
    pub(crate) always: bool,
}

/// What came of sending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Deliveries {
    /// How many messages were sent.
    pub(crate) sent: usize,
    /// How many could not be sent, and wait on or were given up.
    pub(crate) failed: usize,
}

/// Which channels get a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// All that are on.
    All,
    /// Those that hear of every run.
    Always,
    /// One.
    Only(ChannelKind),
}

impl Notifier {
    /// Checks the settings of every channel; nothing is sent and no file is made.
    ///
    /// # Errors
    /// A configuration error that names the variable.
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let email = config.email.enabled.then(|| Email::new(config)).transpose()?;
        let webhook = Webhook::new(&config.webhook)?;
        let folder = config.data_dir.join("notify");
        Ok(Self {
            host: config.host_name(),
            clock,
            email: email.map(|email| Channel::new(config.email.on, email)),
            webhook: webhook.map(|webhook| Channel::new(config.webhook.on, webhook)),
            outbox: Outbox::new(&folder),
            problems: Problems::new(&folder, config.remind_after),
            queued: tokio::sync::Notify::new(),
            untried: false.into(),
        })
    }

    /// The channels that are on.
    pub(crate) fn channels(&self) -> Vec<ChannelInfo> {
        let email = self.email.as_ref().map(|channel| ChannelInfo {
            channel: ChannelKind::Email,
            to: channel.way.description(),
            always: channel.on == NotifyOn::Always,
        });
        let webhook = self.webhook.as_ref().map(|channel| ChannelInfo {
            channel: ChannelKind::Webhook,
            to: channel.way.description(),
            always: channel.on == NotifyOn::Always || channel.way.counts_runs(),
        });
        email.into_iter().chain(webhook).collect()
    }

    /// A run begins: only a service that waits for pings wants to know, and only now.
    /// A person who looks at a list must not be taken for a backup.
    pub(crate) fn run_started(&self, run: &str, script: &str, only_reads: bool) {
        let Some(webhook) = &self.webhook else { return };
        if only_reads || !webhook.way.counts_runs() {
            return;
        }
        let mut message = self.message_of(Event::Started, &format!("{script} began"), &[]);
        message.run_id = Some(run.to_owned());
        // A ping that comes late says something wrong: it is tried once, and not kept.
        self.outbox.put_into_memory(Waiting::new(ChannelKind::Webhook, message));
        self.queued.notify_one();
    }

    /// A run ended. People are told when it failed (once, until a reminder is due or it fails
    /// otherwise) and when it went well again, or its good backups made up for what other runs
    /// failed to do; channels that are always told hear of every run but a dry one, and one by
    /// which a person only looked at something.
    pub(crate) fn run_ended(&self, report: &RunReport) {
        if report.dry_run || report.is_refused() || self.channels().is_empty() {
            return;
        }
        let key = format!("run {}", report.name());
        if report.is_a_look() {
            // It is seen by whoever asked; what the crontab's runs failed to show can be over all
            // the same.
            if !report.status.is_failure() {
                self.ended_well(&key, report);
            }
        } else if report.counts_as_failure() {
            self.tell_made_up_for(report);
            let title = texts::run_words(report, false);
            let fingerprint = report.fingerprint();
            let seen = Seen {
                key: &key,
                title: &title,
                fingerprint: &fingerprint,
                now: self.clock.now(),
                // What a person typed may never be typed again.
                fades: report.trigger != Trigger::Cron,
                not_backed_up: report.not_backed_up(),
                place: report.place.clone(),
                repeat: Repeat::AfterAWhile,
            };
            self.problems.seen(&seen, |verdict| match verdict {
                Verdict::New => self.tell_run(Event::Failed, report, Reach::All, None, Some(&key)),
                Verdict::Again(problem) => {
                    self.tell_run(Event::Failed, report, Reach::All, Some(&problem), Some(&key))
                }
                Verdict::Known => self.tell_run(Event::Failed, report, Reach::Always, None, None),
            });
        } else if report.status != RunStatus::Done {
            self.tell_made_up_for(report);
            self.tell_run(Event::Ended, report, Reach::Always, None, None);
        } else {
            self.ended_well(&key, report);
        }
    }

    /// A run went well: its own problem is over, and what its good backups make up for.
    fn ended_well(&self, key: &str, report: &RunReport) {
        self.problems.ended(Some(key), &report.good_backups(), |own, others| {
            match own {
                Some(problem) => {
                    self.tell_run(Event::Recovered, report, Reach::All, Some(&problem), None)
                }
                None if report.is_a_look() => {}
                None => self.tell_run(Event::Succeeded, report, Reach::Always, None, None),
            }
            self.tell_over(report, &others);
        });
    }

    /// A run that did not go well may have made good backups all the same.
    fn tell_made_up_for(&self, report: &RunReport) {
        if !report.backed_up.is_empty() {
            self.problems
                .ended(None, &report.good_backups(), |_, others| self.tell_over(report, &others));
        }
    }

    /// Tells that a run's good backups ended these problems of other runs: one message.
    fn tell_over(&self, report: &RunReport, problems: &[(String, Problem)]) {
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
        // Who counts runs hears of this one itself.
        self.queue(self.words(Event::Solved, &words, &text, Some(&report.run)), Reach::All, false);
    }

    fn tell_run(
        &self,
        event: Event,
        report: &RunReport,
        reach: Reach,
        known: Option<&Problem>,
        key: Option<&str>,
    ) {
        let zone = self.clock.time_zone();
        let again = event == Event::Failed && known.is_some();
        let words = match event {
            Event::Recovered => format!("{} is well again", report.name()),
            _ => texts::run_words(report, again),
        };
        let since = known.map(|problem| (problem.first, problem.times));
        let mut blocks =
            texts::run_body(report, &self.host, &zone, if again { since } else { None });
        if let (Event::Recovered, Some((first, times))) = (event, since) {
            let first = texts::moment(first, &zone);
            let times = texts::times_of(times);
            blocks.insert(
                1,
                Block::Words(format!("It is well again. It had failed {times} since {first}.")),
            );
        }
        let mut message = self.message_of(event, &words, &blocks);
        message.run = Some(report.to_json());
        message.run_id = Some(report.run.clone());
        message.problem = key.map(str::to_owned);
        self.queue(message, reach, !report.read_only);
    }

    /// Something is wrong that is no run, such as a volume whose newest backup is too old. Told
    /// once, until [`Notifier::solved`] is called with the same key, another subject is given, or a
    /// reminder is due.
    pub(crate) fn problem(&self, key: &str, subject: &str, text: &str) {
        self.problem_of(key, subject, text, Repeat::AfterAWhile);
    }

    /// The same; `repeat` says whether people are reminded of it.
    pub(crate) fn problem_of(&self, key: &str, subject: &str, text: &str, repeat: Repeat) {
        self.seen_problem(
            &format!("problem {key}"),
            subject,
            text,
            &report::without_numbers(subject),
            None,
            repeat,
        );
    }

    /// It is no problem any more, and nobody needs to be told.
    pub(crate) fn forget(&self, key: &str) {
        self.problems.solved(&format!("problem {key}"), |_| {});
    }

    /// It is well again: told where the problem was.
    pub(crate) fn solved(&self, key: &str, subject: &str, text: &str) {
        let key = format!("problem {key}");
        // Most of what is well was never wrong: it costs a look at the file, and no lock.
        if self.problems.all(self.clock.now()).is_ok_and(|problems| !problems.contains_key(&key)) {
            return;
        }
        self.problems.solved(&key, |problem| {
            if problem.is_some() {
                self.say(Event::Solved, subject, text, Reach::All, None);
            }
        });
    }

    /// `run`: the run of the script that says it; such a problem ends by not being said again.
    fn seen_problem(
        &self,
        key: &str,
        subject: &str,
        text: &str,
        fingerprint: &str,
        run: Option<&str>,
        repeat: Repeat,
    ) {
        if self.channels().is_empty() {
            log::warn!("nobody is told of this, as no channel is on: {subject}: {text}");
            return;
        }
        let seen = Seen {
            key,
            title: subject,
            fingerprint,
            now: self.clock.now(),
            fades: run.is_some(),
            not_backed_up: BTreeSet::new(),
            place: None,
            repeat,
        };
        self.problems.seen(&seen, |verdict| {
            if verdict != Verdict::Known {
                let message = self.words(Event::Problem, subject, text, run);
                self.queue(Message { problem: Some(key.to_owned()), ..message }, Reach::All, true);
            }
        });
    }

    fn say(&self, event: Event, subject: &str, text: &str, reach: Reach, run: Option<&str>) {
        self.queue(self.words(event, subject, text, run), reach, true);
    }

    fn words(&self, event: Event, subject: &str, text: &str, run: Option<&str>) -> Message {
        let blocks =
            texts::plain_body(text, &self.host, self.clock.now(), &self.clock.time_zone(), run);
        self.message_of(event, subject, &blocks)
    }

    fn message_of(&self, event: Event, words: &str, blocks: &[Block]) -> Message {
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

    /// Puts a message into the outbox for each channel that it reaches. `counts`: whether it also
    /// goes to who counts runs.
    fn queue(&self, message: Message, reach: Reach, counts: bool) {
        let wanted = |kind, on: NotifyOn, counts_runs: bool| match reach {
            Reach::Only(only) => only == kind,
            Reach::All => !counts_runs || counts,
            Reach::Always if counts_runs => counts,
            Reach::Always => on == NotifyOn::Always,
        };
        let email =
            self.email.as_ref().is_some_and(|email| wanted(ChannelKind::Email, email.on, false));
        let webhook = self.webhook.as_ref().is_some_and(|webhook| {
            wanted(ChannelKind::Webhook, webhook.on, webhook.way.counts_runs())
        });
        for (kind, is_wanted) in [(ChannelKind::Email, email), (ChannelKind::Webhook, webhook)] {
            if is_wanted && let Err(error) = self.outbox.put(Waiting::new(kind, message.clone())) {
                log::error!("this is not told by {}: {}: {error}", kind.as_str(), message.subject);
            }
        }
        if email || webhook {
            self.untried.store(true, Ordering::SeqCst);
            self.queued.notify_one();
        }
    }

    /// Whether there is something of this process's own that it has not tried to send yet.
    pub(crate) fn has_news(&self) -> bool {
        self.untried.load(Ordering::SeqCst)
    }

    /// Sends what is due, both channels at the same time, each in the order in which it was told.
    /// Dropping the future leaves what is not sent where it was.
    pub(crate) async fn deliver_due(&self) -> Deliveries {
        self.deliver(ATTEMPT).await
    }

    /// `attempt`: how long one attempt may take.
    async fn deliver(&self, attempt: Duration) -> Deliveries {
        let had_news = self.untried.swap(false, Ordering::SeqCst);
        // Where this is dropped on the way, the attempt was none.
        let undo = Undo { flag: &self.untried, value: had_news };
        let (email, webhook) = tokio::join!(
            self.deliver_channel(ChannelKind::Email, attempt),
            self.deliver_channel(ChannelKind::Webhook, attempt)
        );
        std::mem::forget(undo);
        Deliveries { sent: email.sent + webhook.sent, failed: email.failed + webhook.failed }
    }

    /// One attempt to send what is due, within this time: the end of a run on the command line.
    /// What is left is sent by the next process, `serve` or another run.
    pub(crate) async fn deliver_within(&self, limit: Duration) {
        // The first that gets no answer takes all the time there is: what is behind it is not tried
        // any more.
        let in_time = tokio::time::timeout(limit + LAST_MOMENT, self.deliver(limit)).await;
        let lost = self.outbox.unsafe_count();
        if lost > 0 {
            let messages = counted(lost, "message", "messages");
            log::error!("{messages} could not be sent, and not be kept either: nobody is told");
        }
        if in_time.is_err() || in_time.is_ok_and(|done| done.failed > 0) {
            log::warn!(
                "people are not told of everything yet; it is tried again by \"serve\" or the next run (see \"convoy-backups notify list\")"
            );
        }
    }

    /// When something has to be sent next; `None` where nothing waits.
    pub(crate) fn next_attempt(&self) -> Option<Timestamp> {
        self.outbox.list().into_iter().map(|waiting| waiting.next_attempt).min()
    }

    /// Sends what is put into the outbox, by whichever process, until it is told to stop; what is
    /// being sent then gets a moment to end, as a message that is cut off may have arrived and is
    /// sent again.
    pub(crate) async fn keep_delivering(&self, stop: CancellationToken) {
        loop {
            let round = self.deliver_due();
            tokio::pin!(round);
            tokio::select! {
                _ = &mut round => {}
                () = stop.cancelled() => {
                    _ = tokio::time::timeout(LAST_MOMENT, round).await;
                }
            }
            if stop.is_cancelled() {
                return;
            }
            let now = self.clock.now();
            let left = self.next_attempt().map(|next| next.duration_since(now));
            let left = left.map_or(LOOK_EVERY, |left| Duration::try_from(left).unwrap_or_default());
            tokio::select! {
                () = self.queued.notified() => {}
                () = tokio::time::sleep(left.clamp(LOOK_AT_MOST_EVERY, LOOK_EVERY)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn deliver_channel(&self, kind: ChannelKind, limit: Duration) -> Deliveries {
        let turn = match kind {
            ChannelKind::Email => self.email.as_ref().map(|channel| &channel.turn),
            ChannelKind::Webhook => self.webhook.as_ref().map(|channel| &channel.turn),
        };
        let _turn = match turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let mut done = Deliveries::default();
        // Where the channel itself is down, the rest waits with the first that failed.
        let mut down: Option<(Timestamp, String)> = None;
        let all: Vec<Waiting> =
            self.outbox.list().into_iter().filter(|waiting| waiting.channel == kind).collect();
        let now = self.clock.now();
        // What is told later must not arrive first ("well again", then "failed"): when one is due,
        // all before it are tried.
        let last = all.iter().rposition(|waiting| waiting.is_due(now) || waiting.is_too_old(now));
        for waiting in all.into_iter().take(last.map_or(0, |last| last + 1)) {
            let now = self.clock.now();
            let Some(mut claim) = self.outbox.claim(&waiting.id) else { continue };
            let Some(claimed) = claim.waiting() else { continue };
            if claimed.is_too_old(now) {
                if !claimed.is_of_the_moment() {
                    self.give_up(claimed);
                    done.failed += 1;
                }
                claim.done();
                continue;
            }
            if turn.is_none() {
                continue;
            }
            if let Some((next, why)) = &down {
                (claimed.next_attempt, claimed.last_error) = (*next, Some(why.clone()));
                done.failed += 1;
                if claimed.is_of_the_moment() {
                    claim.done()
                } else {
                    claim.put_back()
                }
                continue;
            }
            match self.attempt(claimed, limit).await {
                Ok(refused) if refused.is_empty() => {
                    log::info!("told by {}: {}", kind.as_str(), claimed.message.subject);
                    done.sent += 1;
                    claim.done();
                }
                // Some of the addresses have it: the others are tried again.
                Ok(refused) => {
                    done.failed += 1;
                    refused.iter().for_each(|(_, error)| log::warn!("{error}"));
                    if let Some((_, error)) = refused.first() {
                        claimed.put_off(now, error);
                    }
                    claimed.message.to =
                        Some(refused.into_iter().map(|(address, _)| address).collect());
                    claim.put_back();
                }
                Err(error) => {
                    done.failed += 1;
                    log::warn!("cannot tell people by {}: {}", kind.as_str(), in_one_line(&error));
                    claimed.put_off(now, &error);
                    if matches!(
                        error.kind,
                        ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Configuration
                    ) {
                        down = Some((claimed.next_attempt, error.to_string()));
                    }
                    if claimed.is_of_the_moment() { claim.done() } else { claim.put_back() }
                }
            }
        }
        done
    }

    fn give_up(&self, waiting: &Waiting) {
        log::error!(
            "given up after {}: {} was not told by {}: {}",
            counted(waiting.attempts as usize, "attempt", "attempts"),
            waiting.message.subject,
            waiting.channel.as_str(),
            waiting.last_error.as_deref().unwrap_or("the channel is off")
        );
        // Whoever does not know it is told when it is seen the next time.
        waiting.message.problem.iter().for_each(|key| self.problems.untold(key));
    }

    /// Sends one message; the addresses that did not get it.
    async fn attempt(&self, waiting: &Waiting, limit: Duration) -> Result<Vec<email::Refusal>> {
        // A task of its own: whatever becomes of a library in it, the backup before it stays a
        // success. It ends with the set.
        let mut task = JoinSet::new();
        let (id, message) = (waiting.id.clone(), waiting.message.clone());
        match (waiting.channel, &self.email, &self.webhook) {
            (ChannelKind::Email, Some(email), _) => {
                let email = email.way.clone();
                task.spawn(async move { email.send(&id, &message).await });
            }
            (ChannelKind::Webhook, _, Some(webhook)) => {
                let webhook = webhook.way.clone();
                task.spawn(async move { webhook.send(&message).await.map(|()| Vec::new()) });
            }
            (kind, ..) => {
                return Err(Error::configuration(format!("the channel {} is off", kind.as_str())));
            }
        }
        match tokio::time::timeout(limit, task.join_next()).await {
            Ok(Some(Ok(sent))) => sent,
            Ok(other) => Err(Error::internal(format!("sending ended unexpectedly: {other:?}"))),
            Err(_) => {
                let to =
                    self.channels().into_iter().find(|channel| channel.channel == waiting.channel);
                let to = to.map(|channel| channel.to).unwrap_or_default();
                Err(Error::new(ErrorKind::Timeout, format!("no answer in {} seconds: {to}", limit.as_secs()))
                    .with_hint("look at its address, its port and the network; a server that begins with TLS (SMTP on port 465) is silent to who does not"))
            }
        }
    }

    /// Sends one message through every channel that is on, now, past the outbox; how each went.
    pub(crate) async fn test(&self) -> Vec<(ChannelInfo, Result<()>)> {
        let text = "This is a test: whoever reads it is told when something is wrong.";
        let message = self.words(Event::Test, "this is a test", text, None);
        let mut results = Vec::new();
        for channel in self.channels() {
            let sent = self.attempt(&Waiting::new(channel.channel, message.clone()), ATTEMPT).await;
            let sent = sent.and_then(|refused| match refused.into_iter().next() {
                Some((_, error)) => Err(error),
                None => Ok(()),
            });
            results.push((channel, sent));
        }
        results
    }

    /// What waits to be sent, in its order.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        self.outbox.list()
    }

    /// What is wrong at the moment, by key.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub(crate) fn problems(&self) -> Result<BTreeMap<String, Problem>> {
        self.problems.all(self.clock.now())
    }
}

/// Sets a flag again unless it is forgotten.
struct Undo<'a> {
    flag: &'a AtomicBool,
    value: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.flag.fetch_or(self.value, Ordering::SeqCst);
    }
}
