//! Connections: accepted, secured, counted, and cut off where they only stand in others' way.
//!
//! Nothing here knows what is asked or who may. An answer may take hours; a request may not.

mod activity;
mod connections;
mod conversation;
mod limits;
mod listener;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    convert::Infallible,
    error,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{Request, Response, body::Body, service::Service};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::{Semaphore, mpsc},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use super::problem::Problem;
use activity::Activity;
pub(crate) use activity::RequestBody;
use connections::Connections;
use conversation::Conversation;
pub(crate) use conversation::Peer;
pub(crate) use limits::Limits;
pub(crate) use listener::{Listener, bind};
use stream::linger;

/// After a failure to accept, so long nothing is accepted: out of file descriptors, most likely,
/// and others must close theirs.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// So often it is said that connections can't be accepted, at most.
const ACCEPT_SAID: Duration = Duration::from_mins(1);
/// Between two looks at the certificate's files.
const CERTIFICATE_LOOK: Duration = Duration::from_mins(1);
/// So many at a time are told that there is no room; more are just closed.
const TOLD_OF_NO_ROOM: usize = 32;

/// Serves until `stop` is cancelled: then nothing more is accepted, idle connections are closed,
/// and requests that are under way have [`Limits::shutdown`] before they are cut off. (Streams that
/// never end by themselves should end on the same token.)
///
/// A request has a [`Peer`] in its extensions; every answer gets the headers of
/// [`headers::secure`]. A client that goes away drops the service's future: what must go on is a
/// task of its own.
pub(crate) async fn serve<S, B>(
    listener: Listener,
    service: S,
    limits: Limits,
    stop: CancellationToken,
) where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn error::Error + Send + Sync>>,
{
    let Listener { listener, tls, .. } = listener;
    let (service, limits) = (Arc::new(service), Arc::new(limits));
    let connections = Arc::new(Connections::default());
    let no_room = Arc::new(Semaphore::new(TOLD_OF_NO_ROOM));
    // Whoever still works holds a clone of `working`: when the last one is dropped, `done` ends.
    let (working, mut done) = mpsc::channel::<Infallible>(1);
    let mut look = tokio::time::interval(limits.look);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut certificate = tokio::time::interval(CERTIFICATE_LOOK);
    certificate.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failures = Failures::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = look.tick() => {
                connections.cut_overdue(&limits);
                continue;
            }
            _ = certificate.tick(), if tls.is_some() => {
                let tls = tls.clone();
                tokio::task::spawn_blocking(move || tls.inspect(|tls| tls.refresh()));
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(unsaid) = failures.another(Instant::now()) {
                    let more = if unsaid == 0 {
                        String::new()
                    } else {
                        format!(" (and {unsaid} times since this was said last)")
                    };
                    log::warn!("cannot accept a connection: {error}{more}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !connections.make_room(&limits) {
            if let (None, Ok(permit)) = (&tls, no_room.clone().try_acquire_owned()) {
                tokio::spawn(async move {
                    refuse(socket).await;
                    drop(permit);
                });
            }
            continue;
        }
        let activity = Arc::new(Activity::new());
        let conversation = Conversation {
            service: service.clone(),
            limits: limits.clone(),
            activity: activity.clone(),
            peer: Peer(peer),
            stop: stop.clone(),
        };
        let (acceptor, working) = (tls.as_ref().map(|tls| tls.acceptor()), working.clone());
        connections.start(peer.ip(), activity, |place| {
            let task = tokio::spawn(async move {
                let _held = (place, working);
                // Small answers go out at once.
                let _ = socket.set_nodelay(true);
                match acceptor {
                    None => conversation.hold(socket).await,
                    Some(acceptor) => {
                        match tokio::time::timeout(
                            conversation.limits.handshake,
                            acceptor.accept(socket),
                        )
                        .await
                        {
                            Ok(Ok(stream)) => conversation.hold(stream).await,
                            Ok(Err(error)) => log::debug!("no TLS with {peer}: {error}"),
                            Err(_) => log::debug!("no TLS with {peer}: it takes too long"),
                        }
                    }
                }
            });
            task.abort_handle()
        });
    }
    drop(listener);
    drop(working);
    if tokio::time::timeout(limits.shutdown, done.recv()).await.is_err() {
        let cut = connections.cut_all();
        log::info!("{cut} HTTP connections are cut off");
        let _ = done.recv().await;
    }
}

/// Failures to accept, which may come ten times a second: one of them is said, the others are
/// counted.
#[derive(Debug, Default)]
struct Failures {
    said: Option<Instant>,
    unsaid: u64,
}

impl Failures {
    /// Another one. Whether it is to be said now: then how many were not, since one was.
    fn another(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now.duration_since(said) < ACCEPT_SAID) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Says that there is no room.
async fn refuse(mut socket: TcpStream) {
    let body = Problem::overloaded().to_json().to_string();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nRetry-After: 5\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    if tokio::time::timeout(ACCEPT_PAUSE, socket.write_all(answer.as_bytes()))
        .await
        .is_ok_and(|written| written.is_ok())
    {
        linger(socket).await;
    }
}
