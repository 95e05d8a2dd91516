//! Connections: accepted, secured, counted, and cut off where they only stand in others' way.
//!
//! Nothing here knows what is asked or who may. An answer may take hours; a request may not.

mod activity;
mod connections;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    convert::Infallible,
    error, fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use super::{headers, problem::Problem};
use crate::{
    config::Api,
    error::{Error, Result},
};
pub(crate) use activity::RequestBody;
use activity::{Activity, AnswerBody};
use connections::Connections;
use stream::{Watched, linger};
use tls::Tls;

/// After a failure to accept, so long nothing is accepted: out of file descriptors, most likely,
/// and others must close theirs.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// So often it is said that connections can't be accepted, at most.
const ACCEPT_SAID: Duration = Duration::from_mins(1);
/// Between two looks at the certificate's files.
const CERTIFICATE_LOOK: Duration = Duration::from_mins(1);
/// So many at a time are told that there is no room; more are just closed.
const TOLD_OF_NO_ROOM: usize = 32;

/// Who is at the other end of the connection; [`serve`] puts it into the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What a connection may take.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// So many connections at a time.
    pub(crate) connections: usize,
    /// For TLS' handshake.
    pub(crate) handshake: Duration,
    /// For a request's head, and from the connection to the first byte of it.
    pub(crate) head: Duration,
    /// For a request's body, from the head on; [`super::body::read`] gives up earlier, and says so.
    pub(crate) body: Duration,
    /// Between two requests. Longer than a reverse proxy keeps an idle connection, or it sends into
    /// one that is just being closed.
    pub(crate) idle: Duration,
    /// For a client that takes nothing of its answer.
    pub(crate) stall: Duration,
    /// A request's head, in bytes.
    pub(crate) head_bytes: usize,
    /// Between two looks for what takes too long.
    pub(crate) look: Duration,
    /// For requests that are under way when the server ends.
    pub(crate) shutdown: Duration,
}

impl Limits {
    /// As configured; requests that are under way at the end have 5 seconds.
    pub(crate) fn of(api: &Api) -> Self {
        Self {
            connections: api.max_connections,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(15),
            body: Duration::from_mins(1),
            idle: Duration::from_secs(90),
            stall: Duration::from_mins(1),
            head_bytes: 32 * 1024,
            look: Duration::from_secs(1),
            shutdown: Duration::from_secs(5),
        }
    }
}

/// An address that is listened on, and what TLS needs there.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
}

/// Listens where the configuration says; `None` where HTTP is turned off. Connections are answered
/// once [`serve`] runs.
///
/// # Errors
/// A configuration error (exit 2) where the address is taken or can't be used, or TLS' files can't.
pub(crate) async fn bind(api: &Api) -> Result<Option<Listener>> {
    let Some(address) = api.listen else { return Ok(None) };
    let tls = api.tls.as_ref().map(Tls::new).transpose()?.map(Arc::new);
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there, another \"serve\" perhaps: end it, or set BKUP_API_LISTEN to another port, or to off"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 are for root: set BKUP_API_LISTEN to another one"
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine does not have that address: set BKUP_API_LISTEN to one of its own, or to 0.0.0.0:PORT for all"
            }
            _ => "set BKUP_API_LISTEN to another address, or to off",
        };
        Error::configuration(format!("cannot listen on \"{address}\": {error}")).with_hint(hint)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    if tls.is_none() && !address.ip().is_loopback() {
        log::warn!(
            "HTTP on {address} is not encrypted, and tokens pass as they are: set BKUP_API_TLS_CERTIFICATE and BKUP_API_TLS_KEY, or keep it behind a reverse proxy"
        );
    }
    Ok(Some(Listener { listener, address, tls }))
}

impl Listener {
    /// The address; its port is the real one where port 0 was asked for.
    #[cfg(test)]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether connections are TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }
}

impl fmt::Display for Listener {
    /// As a browser takes it: `http://127.0.0.1:3000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_secure() { "https" } else { "http" }, self.address)
    }
}

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

/// What one connection is served with.
struct Conversation<S> {
    service: Arc<S>,
    limits: Arc<Limits>,
    activity: Arc<Activity>,
    peer: Peer,
    stop: CancellationToken,
}

impl<S, B> Conversation<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn error::Error + Send + Sync>>,
{
    /// Answers the requests of a connection, until the client ends it or the server does.
    async fn hold(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send) {
        let Self { service, limits, activity, peer, stop } = self;
        let stream = TokioIo::new(Watched::new(stream, activity.clone()));
        let service = service_fn(move |request: Request<Incoming>| {
            activity.begins();
            let (answering, waiting) = (activity.clone(), activity.clone());
            let mut request = request.map(|body| RequestBody::new(body, waiting));
            request.extensions_mut().insert(peer);
            let answer = service.call(request);
            Box::pin(async move {
                let mut response = answer.await?;
                headers::secure(response.headers_mut());
                Ok::<_, Infallible>(response.map(|body| AnswerBody::new(body, answering)))
            })
        });
        let mut connection = http1::Builder::new()
            // Times are looked after from outside, by what the connection is doing.
            .header_read_timeout(None)
            .max_header_size(limits.head_bytes)
            .max_buf_size(2 * limits.head_bytes)
            .serve_connection(stream, service);
        let mut stopping = false;
        let ended = loop {
            tokio::select! {
                ended = poll_fn(|context| connection.poll_without_shutdown(context)) => break ended,
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
            }
        };
        if let Err(error) = ended {
            log::debug!("the connection of {} ended early: {error}", peer.0);
        }
        linger(connection.into_parts().io.into_inner()).await;
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
