//! Putting messages into the outbox, and sending them.
//!
//! To queue a message needs no network and fails nobody. Sending is apart, and is tried again for a
//! day.

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

/// How long one attempt to send one message may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the outbox is read where nothing is due: another process may have put something in.
const POLL_INTERVAL: Duration = Duration::from_secs(60);
/// How long to wait at least between two rounds: another process may be sending what is due.
const SHORTEST_POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How long a message that is being sent gets when the process ends.
const FINAL_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// What came of sending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Deliveries {
    pub(crate) sent: usize,
    /// How many messages could not be sent, and wait on or were given up.
    pub(crate) failed: usize,
}

/// The outbox and the channels that empty it.
pub(super) struct Delivery {
    clock: Arc<dyn Clock>,
    slots: Vec<Slot>,
    outbox: Outbox,
    problems: Arc<Problems>,
    /// Something was put into the outbox.
    queued: tokio::sync::Notify,
    /// How many messages this process put into the outbox.
    queued_count: AtomicU64,
    /// How many of them it had put in when the last round that came to its end began.
    tried_count: AtomicU64,
}

/// What becomes of a message after its turn.
enum Next {
    /// The message is sent or given up.
    Remove,
    /// The message waits on, changed.
    PutBack,
    /// The message waits on as before.
    Leave,
}

/// A round of one channel.
#[derive(Default)]
struct Round {
    done: Deliveries,
    /// Where the channel itself is down: when the first message that failed is tried next, and why
    /// it failed. The rest waits with it.
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
            queued_count: 0.into(),
            tried_count: 0.into(),
        }
    }

    /// The channels that are on.
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

    /// Puts a message into the outbox for each channel that it reaches.
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

    /// Queues a message that says something wrong when it comes late: it is tried once, and never
    /// written to disk.
    pub(super) fn queue_in_memory(&self, message: &Message, reach: Reach) {
        for slot in self.slots.iter().filter(|slot| slot.is_reached(reach)) {
            self.outbox.put_into_memory(Waiting::new(slot.kind(), message.clone()));
            self.queued.notify_one();
        }
    }

    /// Whether this process queued something that it has not tried to send yet.
    pub(super) fn has_untried(&self) -> bool {
        self.queued_count.load(Ordering::SeqCst) > self.tried_count.load(Ordering::SeqCst)
    }

    /// Sends what is due, all channels at the same time, each in the order of its queue. Dropping
    /// the future leaves what is not sent where it was.
    pub(super) async fn deliver_due(&self) -> Deliveries {
        self.deliver(ATTEMPT_TIMEOUT).await
    }

    /// `limit`: how long one attempt may take.
    async fn deliver(&self, limit: Duration) -> Deliveries {
        // Only a round that comes to its end counts as an attempt.
        let queued = self.queued_count.load(Ordering::SeqCst);
        let rounds = ChannelKind::ALL.map(|kind| self.deliver_channel(kind, limit));
        let all = join_all(rounds).await;
        self.tried_count.fetch_max(queued, Ordering::SeqCst);
        all.into_iter().fold(Deliveries::default(), |sum, one| Deliveries {
            sent: sum.sent + one.sent,
            failed: sum.failed + one.failed,
        })
    }

    /// One attempt to send what is due, within this time: the end of a run on the command line.
    /// The next process, `serve` or another run, sends what is left.
    pub(super) async fn deliver_within(&self, limit: Duration) {
        // The first message that gets no answer takes all the time there is; what is behind it is
        // not tried any more.
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

    /// When something has to be sent next; `None` where nothing waits.
    pub(super) fn next_attempt(&self) -> Option<Timestamp> {
        self.outbox.list().into_iter().map(|waiting| waiting.next_attempt).min()
    }

    /// Sends what any process puts into the outbox, until `stop`. What is being sent then gets a
    /// moment to end, as a message that is cut off may have arrived and is sent again.
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

    /// A round of one channel. Where the channel is off, messages that waited too long are given up.
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

    /// The messages of a channel whose turn it is. A later message must not arrive first ("well
    /// again", then "failed"): where one is due, all before it are tried.
    fn due(&self, kind: ChannelKind) -> Vec<String> {
        let mut all = self.outbox.list();
        all.retain(|waiting| waiting.channel == kind);
        let now = self.clock.now();
        let last = all.iter().rposition(|waiting| waiting.is_due(now) || waiting.is_too_old(now));
        all.truncate(last.map_or(0, |last| last + 1));
        all.into_iter().map(|waiting| waiting.id).collect()
    }

    /// Tries to send one message, unless its time is over or the channel is down.
    async fn take_turn(
        &self,
        slot: Option<&Slot>,
        waiting: &mut Waiting,
        limit: Duration,
        round: &mut Round,
    ) -> Next {
        let now = self.clock.now();
        let is_of_the_moment = waiting.is_of_the_moment();
        if waiting.is_too_old(now) {
            if !is_of_the_moment {
                self.give_up(waiting);
                round.done.failed += 1;
            }
            return Next::Remove;
        }
        let Some(slot) = slot else { return Next::Leave };
        let after_failure = if is_of_the_moment { Next::Remove } else { Next::PutBack };
        if let Some((next, why)) = &round.down {
            (waiting.next_attempt, waiting.last_error) = (*next, Some(why.clone()));
            round.done.failed += 1;
            return after_failure;
        }
        let channel = slot.kind().as_str();
        match slot.attempt(waiting, limit).await {
            Ok(refused) if refused.is_empty() => {
                log::info!("told by {channel}: {}", waiting.message.subject);
                round.done.sent += 1;
                Next::Remove
            }
            // Some of the addresses have the message: the others are tried again.
            Ok(refused) => {
                round.done.failed += 1;
                refused.iter().for_each(|(_, error)| log::warn!("{error}"));
                if let Some((_, error)) = refused.first() {
                    waiting.put_off(now, error);
                }
                waiting.message.to =
                    Some(refused.into_iter().map(|(address, _)| address).collect());
                Next::PutBack
            }
            Err(error) => {
                round.done.failed += 1;
                log::warn!("cannot tell people by {channel}: {}", in_one_line(&error));
                waiting.put_off(now, &error);
                if is_of_the_channel(error.kind) {
                    round.down = Some((waiting.next_attempt, error.to_string()));
                }
                after_failure
            }
        }
    }

    fn give_up(&self, waiting: &Waiting) {
        log::error!(
            "given up after {}: {} was not told by {}: {}",
            counted(waiting.attempts as usize, "attempt", "attempts"),
            waiting.message.subject,
            waiting.channel.as_str(),
            waiting.last_error.as_deref().unwrap_or("the channel is off")
        );
        // Nobody got the message, so the next failure is reported again.
        waiting.message.problem.iter().for_each(|key| self.problems.forget_reports(key));
    }

    /// Sends one message through every channel that is on, now, past the outbox; how each went.
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

    /// What waits to be sent, in its order.
    pub(super) fn waiting(&self) -> Vec<Waiting> {
        self.outbox.list()
    }
}

/// Whether an error is one of the channel, so that the next message would fare no better.
fn is_of_the_channel(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Configuration)
}
