//! Accepts connections, speaks TLS, limits their number, and cuts off connections that only take up
//! room.
//!
//! Nothing here depends on what clients ask or may do. An answer may take hours; a request may not.

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
    error, io,
    net::SocketAddr,
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
use tls::Tls;

/// The pause after a failure to accept a connection. Most likely the process is out of file
/// descriptors, so other connections have to end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The shortest time between two warnings that connections can't be accepted.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_mins(1);
/// How often the certificate's files are polled for changes.
const CERTIFICATE_POLL_INTERVAL: Duration = Duration::from_mins(1);
/// How many clients at a time get an answer that there is no room. The connections of more clients
/// are closed without an answer.
const MOST_REFUSALS: usize = 32;

/// Serves until `stop` is cancelled. After that, no connection is accepted, idle connections are
/// closed, and requests under way have [`Limits::shutdown`] before they are cut off. (Streams that
/// never end by themselves should end on the same token.)
///
/// A request has a [`Peer`] in its extensions. Every answer gets the headers of
/// [`headers::secure`]. When a client goes away, the service's future is dropped: work that must go
/// on needs a separate task.
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
    let (working, ended) = mpsc::channel::<Infallible>(1);
    let mut poll = tokio::time::interval(limits.poll_interval);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut certificate = tokio::time::interval(CERTIFICATE_POLL_INTERVAL);
    certificate.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let server = Server {
        service: Arc::new(service),
        limits: Arc::new(limits),
        tls,
        connections: Arc::default(),
        refusals: Arc::new(Semaphore::new(MOST_REFUSALS)),
        stop: stop.clone(),
        working,
    };
    let mut failures = AcceptFailures::default();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = poll.tick() => server.connections.cut_overdue(&server.limits),
            _ = certificate.tick(), if server.tls.is_some() => {
                let tls = server.tls.clone();
                tokio::task::spawn_blocking(move || tls.inspect(|tls| tls.refresh()));
            }
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => server.start(socket, peer),
                Err(error) => {
                    failures.log(&error, Instant::now());
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    server.end(ended).await;
}

/// The state that all connections share.
struct Server<S> {
    service: Arc<S>,
    limits: Arc<Limits>,
    tls: Option<Arc<Tls>>,
    connections: Arc<Connections>,
    /// A permit for each client that is getting the answer that there is no room.
    refusals: Arc<Semaphore>,
    stop: CancellationToken,
    /// Each connection holds a clone. When the last clone is dropped, all connections have ended.
    working: mpsc::Sender<Infallible>,
}

impl<S, B> Server<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn error::Error + Send + Sync>>,
{
    /// Starts the task of a new connection, or refuses the connection if there is no room.
    fn start(&self, socket: TcpStream, peer: SocketAddr) {
        if !self.connections.make_room(&self.limits) {
            self.refuse(socket);
            return;
        }
        let activity = Arc::new(Activity::new());
        let conversation = Conversation {
            service: self.service.clone(),
            limits: self.limits.clone(),
            activity: activity.clone(),
            peer: Peer(peer),
            stop: self.stop.clone(),
        };
        let (tls, working) = (self.tls.clone(), self.working.clone());
        self.connections.start(peer.ip(), activity, |slot| {
            let task = tokio::spawn(async move {
                let _held = (slot, working);
                // Without Nagle's algorithm, small answers go out at once.
                let _ = socket.set_nodelay(true);
                match tls {
                    None => conversation.hold(socket).await,
                    Some(tls) => conversation.hold_over_tls(socket, &tls).await,
                }
            });
            task.abort_handle()
        });
    }

    /// Answers a client that there is no room. Closes the connection without an answer if
    /// [`MOST_REFUSALS`] clients are being answered, or if the client expects TLS.
    fn refuse(&self, socket: TcpStream) {
        if let (None, Ok(permit)) = (&self.tls, self.refusals.clone().try_acquire_owned()) {
            tokio::spawn(async move {
                refuse(socket).await;
                drop(permit);
            });
        }
    }

    /// Waits up to [`Limits::shutdown`] for the connections with a request, then cuts them off.
    async fn end(self, mut ended: mpsc::Receiver<Infallible>) {
        let Self { limits, connections, working, .. } = self;
        drop(working);
        if tokio::time::timeout(limits.shutdown, ended.recv()).await.is_err() {
            let cut = connections.cut_all();
            log::info!("{cut} HTTP connections are cut off");
            let _ = ended.recv().await;
        }
    }
}

/// Failures to accept a connection. They may come ten times a second, so one a minute is logged and
/// the others are counted.
#[derive(Debug, Default)]
struct AcceptFailures {
    logged: Option<Instant>,
    unlogged: u64,
}

impl AcceptFailures {
    fn log(&mut self, error: &io::Error, now: Instant) {
        if let Some(unlogged) = self.count(now) {
            let more = if unlogged == 0 {
                String::new()
            } else {
                format!(" (and {unlogged} times since this was said last)")
            };
            log::warn!("cannot accept a connection: {error}{more}");
        }
    }

    /// Counts a failure. Returns `Some` if this one is to be logged, with the number of failures
    /// since the last logged one.
    fn count(&mut self, now: Instant) -> Option<u64> {
        if self.logged.is_some_and(|logged| now.duration_since(logged) < ACCEPT_LOG_INTERVAL) {
            self.unlogged += 1;
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }
}

/// Sends the answer that there is no room.
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
