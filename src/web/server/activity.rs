//! Observes what a connection is doing, to tell an idle connection from one that works.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::limits::Limits;
use crate::sync::lock;

/// A client that receives nothing of its answer for so long may be cut off if another client needs
/// the room.
const STALL_BEFORE_EVICTION: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The client has connected and sent no request yet. TLS' handshake belongs here.
    New,
    /// A request's head is coming in.
    Head,
    /// The service waits for the rest of a request's body.
    Body,
    /// A request is being answered.
    Working,
    /// Between two requests.
    Idle,
}

/// What one connection is doing.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase began; for [`Phase::Body`], when the request began.
    since: Instant,
    /// Since when the client has not received what is being sent.
    stalled: Option<Instant>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { phase: Phase::New, since: Instant::now(), stalled: None }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// Bytes came in.
    pub(super) fn received(&self) {
        let mut state = self.state();
        if matches!(state.phase, Phase::New | Phase::Idle) {
            (state.phase, state.since) = (Phase::Head, Instant::now());
        }
    }

    /// Bytes were sent, or the client does not receive them (`stalled`).
    pub(super) fn sending(&self, stalled: bool) {
        let mut state = self.state();
        if stalled {
            state.stalled.get_or_insert_with(Instant::now);
        } else {
            state.stalled = None;
            if state.phase == Phase::Idle {
                // The rest of the last answer was sent.
                state.since = Instant::now();
            }
        }
    }

    /// A request has begun.
    pub(super) fn begins(&self) {
        let mut state = self.state();
        (state.phase, state.since, state.stalled) = (Phase::Working, Instant::now(), None);
    }

    /// The request's answer is complete.
    fn ends(&self) {
        let mut state = self.state();
        (state.phase, state.since) = (Phase::Idle, Instant::now());
    }

    fn waits_for_body(&self, waits: bool) {
        let mut state = self.state();
        match (state.phase, waits) {
            (Phase::Working, true) => state.phase = Phase::Body,
            (Phase::Body, false) => state.phase = Phase::Working,
            _ => {}
        }
    }

    /// Whether the connection takes longer than its limits allow.
    pub(super) fn is_overdue(&self, limits: &Limits, now: Instant) -> bool {
        let state = self.state();
        let over = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        let phase = match state.phase {
            Phase::New | Phase::Head => over(state.since, limits.head),
            Phase::Body => over(state.since, limits.body),
            Phase::Idle => over(state.since, limits.idle),
            Phase::Working => false,
        };
        phase || state.stalled.is_some_and(|since| over(since, limits.stall))
    }

    /// Since when the connection has done nothing useful. `None`: it is working. An idle connection
    /// may be cut off to make room.
    pub(super) fn idle_since(&self, now: Instant) -> Option<Instant> {
        let state = self.state();
        match state.phase {
            Phase::Working => state
                .stalled
                .filter(|since| now.saturating_duration_since(*since) >= STALL_BEFORE_EVICTION),
            _ => Some(state.since),
        }
    }
}

/// A request's body as the service gets it.
#[derive(Debug)]
pub(crate) struct RequestBody {
    inner: Incoming,
    activity: Arc<Activity>,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, activity: Arc<Activity>) -> Self {
        Self { inner, activity }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        self.activity.waits_for_body(frame.is_pending());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.activity.waits_for_body(false);
    }
}

/// An answer's body. Dropping the body ends the request.
pub(super) struct AnswerBody<B> {
    inner: B,
    activity: Arc<Activity>,
}

impl<B> AnswerBody<B> {
    pub(super) fn new(inner: B, activity: Arc<Activity>) -> Self {
        Self { inner, activity }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for AnswerBody<B> {
    fn drop(&mut self) {
        self.activity.ends();
    }
}
