//! Puts messages into the outbox, and sends them.
//!
//! Queueing needs no network and never fails a run. Sending is separate, and is tried again for a
//! day, and five times at least.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    channel::{ChannelInfo, ChannelKind},
    message::Message,
    outbox::{Outbox, Waiting},
    problems::Problems,
    slot::{Reach, Slot},
};
use crate::{
    clock::Clock,
    diagnostic::in_one_line,
    error::{ErrorKind, Result},
    text::counted,
};

/// The limit of one attempt to send one message.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the outbox is read if nothing is due. Another process may have queued a message.
const POLL_INTERVAL: Duration = Duration::from_secs(60);
/// The shortest pause between two rounds. Another process may be sending what is due.
const SHORTEST_POLL_INTERVAL: Duration = Duration::from_secs(5);
/// The time that a message in transit gets when the process ends.
const FINAL_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// The result of a round of sending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Deliveries {
    pub(crate) sent: usize,
    /// Messages that could not be sent: they wait for another attempt, or were given up.
    pub(crate) failed: usize,
}

/// The outbox and the channels that empty it.
pub(super) struct Delivery {
    clock: Arc<dyn Clock>,
    slots: Vec<Slot>,
    outbox: Outbox,
    problems: Arc<Problems>,
    /// Notified when this process queues a message.
    queued: tokio::sync::Notify,
    /// Notified when a message was sent, or an attempt to send one failed.
    attempted: tokio::sync::Notify,
    /// How many times this process queued a message.
    queued_count: AtomicU64,
    /// The value of `queued_count` at the start of the last round that was completed.
    tried_count: AtomicU64,
}

/// What happens to a message after its turn.
enum Next {
    /// The message was sent or given up.
    Remove,
    /// The message waits on, with its changes.
    PutBack,
    /// The message waits on unchanged.
    Leave,
}

/// One round of one channel.
#[derive(Default)]
struct Round {
    done: Deliveries,
    /// Set once the channel itself is down: when the first failed message is tried again, and why
    /// it failed. The messages behind it wait as long.
    down: Option<(Timestamp, String)>,
}

impl Delivery {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        slots: Vec<Slot>,
        outbox: Outbox,
        problems: Arc<Problems>,
    ) -> Self {
        Self {
            clock,
            slots,
            outbox,
            problems,
            queued: tokio::sync::Notify::new(),
            attempted: tokio::sync::Notify::new(),
            queued_count: 0.into(),
            tried_count: 0.into(),
        }
    }

    pub(super) fn channels(&self) -> Vec<ChannelInfo> {
        self.slots.iter().map(Slot::info).collect()
    }

    pub(super) fn has_channels(&self) -> bool {
        !self.slots.is_empty()
    }

    pub(super) fn is_on(&self, kind: ChannelKind) -> bool {
        self.slot(kind).is_some()
    }

    fn slot(&self, kind: ChannelKind) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.kind() == kind)
    }

    /// Puts a message into the outbox once for each channel that it reaches.
    pub(super) fn queue(&self, message: &Message, reach: Reach) {
        let mut is_wanted = false;
        for slot in self.slots.iter().filter(|slot| slot.is_reached(reach)) {
            is_wanted = true;
            let kind = slot.kind();
            if let Err(error) = self.outbox.put(Waiting::new(kind, message.clone())) {
                log::error!("this is not told by {}: {}: {error}", kind.as_str(), message.subject);
            }
        }
        if is_wanted {
            self.queued_count.fetch_add(1, Ordering::SeqCst);
            self.queued.notify_one();
        }
    }

    /// Queues a message that would mislead if it came late ("a run began"). It is tried once, and
    /// never written to disk.
    pub(super) fn queue_in_memory(&self, message: &Message, reach: Reach) {
        for slot in self.slots.iter().filter(|slot| slot.is_reached(reach)) {
            self.outbox.put_into_memory(Waiting::new(slot.kind(), message.clone()));
            self.queued.notify_one();
        }
    }

    /// Whether this process queued a message and has not tried to send it yet.
    pub(super) fn has_untried(&self) -> bool {
        self.queued_count.load(Ordering::SeqCst) > self.tried_count.load(Ordering::SeqCst)
    }

    /// Sends what is due: all channels at the same time, each in the order of its queue. If the
    /// future is dropped, unsent messages stay in the outbox.
    pub(super) async fn deliver_due(&self) -> Deliveries {
        self.deliver(ATTEMPT_TIMEOUT).await
    }

    /// `limit`: how long one attempt may take.
    async fn deliver(&self, limit: Duration) -> Deliveries {
        // Only a completed round counts as an attempt.
        let queued = self.queued_count.load(Ordering::SeqCst);
        let rounds = ChannelKind::ALL.map(|kind| self.deliver_channel(kind, limit));
        let all = join_all(rounds).await;
        self.tried_count.fetch_max(queued, Ordering::SeqCst);
        let done = all.into_iter().fold(Deliveries::default(), |sum, one| Deliveries {
            sent: sum.sent + one.sent,
            failed: sum.failed + one.failed,
        });
        if done != Deliveries::default() {
            self.attempted.notify_one();
        }
        done
    }

    /// Waits until a message was sent, or an attempt to send one failed.
    pub(super) async fn attempted(&self) {
        self.attempted.notified().await;
    }

    /// Tries once to send what is due, within this time, at the end of a run on the command line.
    /// The next process, `serve` or another run, sends the rest.
    pub(super) async fn deliver_within(&self, limit: Duration) {
        // A message that gets no answer uses up the time, and the messages behind it are not tried.
        let in_time =
            tokio::time::timeout(limit + FINAL_ATTEMPT_TIMEOUT, self.deliver(limit)).await;
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

    /// When the next attempt is due; `None` if no message waits.
    pub(super) fn next_attempt(&self) -> Option<Timestamp> {
        self.outbox.list().into_iter().map(|waiting| waiting.next_attempt).min()
    }

    /// Sends what any process queues, until `stop`. A message in transit then gets a moment to
    /// finish: cut off, it may have arrived and would be sent again.
    pub(super) async fn keep_delivering(&self, stop: CancellationToken) {
        loop {
            let round = self.deliver_due();
            tokio::pin!(round);
            tokio::select! {
                _ = &mut round => {}
                () = stop.cancelled() => {
                    _ = tokio::time::timeout(FINAL_ATTEMPT_TIMEOUT, round).await;
                }
            }
            if stop.is_cancelled() {
                return;
            }
            let now = self.clock.now();
            let left = self.next_attempt().map(|next| next.duration_since(now));
            let left =
                left.map_or(POLL_INTERVAL, |left| Duration::try_from(left).unwrap_or_default());
            tokio::select! {
                () = self.queued.notified() => {}
                () = tokio::time::sleep(left.clamp(SHORTEST_POLL_INTERVAL, POLL_INTERVAL)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One round of one channel. If the channel is off, messages that waited too long are given up.
    async fn deliver_channel(&self, kind: ChannelKind, limit: Duration) -> Deliveries {
        let slot = self.slot(kind);
        let _turn = match slot {
            Some(slot) => Some(slot.turn.lock().await),
            None => None,
        };
        let mut round = Round::default();
        for id in self.due(kind) {
            let Some(mut claim) = self.outbox.claim(&id) else { continue };
            let Some(waiting) = claim.waiting() else { continue };
            match self.take_turn(slot, waiting, limit, &mut round).await {
                Next::Remove => claim.done(),
                Next::PutBack => claim.put_back(),
                Next::Leave => {}
            }
        }
        round.done
    }

    /// The messages of a channel that are tried in this round. If a message is due, all messages
    /// before it are tried too, so that "failed" never arrives after "well again".
    fn due(&self, kind: ChannelKind) -> Vec<String> {
        let mut all = self.outbox.list();
        all.retain(|waiting| waiting.channel == kind);
        let now = self.clock.now();
        let last = all.iter().rposition(|waiting| waiting.is_due(now) || waiting.is_too_old(now));
        all.truncate(last.map_or(0, |last| last + 1));
        all.into_iter().map(|waiting| waiting.id).collect()
    }

    /// Tries to send one message, unless it waited too long or the channel is down.
    async fn take_turn(
        &self,
        slot: Option<&Slot>,
        waiting: &mut Waiting,
        limit: Duration,
        round: &mut Round,
    ) -> Next {
        let now = self.clock.now();
        let is_momentary = waiting.is_momentary();
        let is_too_old = waiting.is_too_old(now);
        if is_momentary && is_too_old {
            return Next::Remove;
        }
        let Some(slot) = slot else {
            if !is_too_old {
                return Next::Leave;
            }
            self.give_up(waiting);
            round.done.failed += 1;
            return Next::Remove;
        };
        if let Some((next, why)) = &round.down {
            waiting.put_off_until(*next, why);
            round.done.failed += 1;
            return self.after_failure(waiting, now);
        }
        let channel = slot.kind().as_str();
        match slot.attempt(waiting, limit).await {
            Ok(refused) if refused.is_empty() => {
                log::info!("told by {channel}: {}", waiting.message.subject);
                round.done.sent += 1;
                Next::Remove
            }
            // Some addresses have the message: the next attempt is for the others.
            Ok(refused) => {
                round.done.failed += 1;
                refused.iter().for_each(|(_, error)| log::warn!("{error}"));
                if let Some((_, error)) = refused.first() {
                    waiting.put_off(now, error);
                }
                waiting.message.to =
                    Some(refused.into_iter().map(|(address, _)| address).collect());
                self.after_failure(waiting, now)
            }
            Err(error) => {
                round.done.failed += 1;
                log::warn!("cannot tell people by {channel}: {}", in_one_line(&error));
                waiting.put_off(now, &error);
                if is_of_the_channel(error.kind) {
                    round.down = Some((waiting.next_attempt, error.to_string()));
                }
                self.after_failure(waiting, now)
            }
        }
    }

    /// What happens to a message that could not be sent.
    fn after_failure(&self, waiting: &Waiting, now: Timestamp) -> Next {
        if waiting.is_momentary() {
            return Next::Remove;
        }
        if waiting.is_hopeless(now) {
            self.give_up(waiting);
            return Next::Remove;
        }
        Next::PutBack
    }

    fn give_up(&self, waiting: &Waiting) {
        log::error!(
            "given up after {}: {} was not told by {}: {}",
            counted(waiting.attempts as usize, "attempt", "attempts"),
            waiting.message.subject,
            waiting.channel.as_str(),
            waiting.last_error.as_deref().unwrap_or("the channel is off")
        );
        // The message reached no one, so the next failure is reported again.
        waiting.message.problem.iter().for_each(|key| self.problems.forget_reports(key));
    }

    /// Sends one message through every channel that is on, past the outbox, and returns the result
    /// of each.
    pub(super) async fn test(&self, message: &Message) -> Vec<(ChannelInfo, Result<()>)> {
        let mut results = Vec::new();
        for slot in &self.slots {
            let waiting = Waiting::new(slot.kind(), message.clone());
            let sent = slot.attempt(&waiting, ATTEMPT_TIMEOUT).await;
            let sent = sent.and_then(|refused| match refused.into_iter().next() {
                Some((_, error)) => Err(error),
                None => Ok(()),
            });
            results.push((slot.info(), sent));
        }
        results
    }

    /// The messages that wait, in the order in which they were queued.
    pub(super) fn waiting(&self) -> Vec<Waiting> {
        self.outbox.list()
    }
}

/// Whether an error is the channel's, so that the next message would fail too.
fn is_of_the_channel(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Configuration)
}
