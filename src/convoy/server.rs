//! Serves any [`Daemon`] on a socket as Convoy does, byte for byte: Convoy's API ([`routes`]) and,
//! where it is a [`Plugin`], Docker's volume plugin protocol ([`docker`]).

mod answer;
mod calls;
mod docker;
mod go_json;
mod inside;
mod request;
mod routes;
mod run_calls;
mod socket;
#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    future::Future,
    net::Shutdown,
    os::{fd::AsFd as _, unix::net::UnixListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use http_body_util::{BodyExt as _, Limited};
use hyper::{
    Method, Request,
    body::Incoming,
    header::{HeaderValue, USER_AGENT},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::UnixStream,
    sync::{mpsc, watch},
};

use crate::{
    convoy::{Daemon, Plugin},
    error::{Error, Result},
    scope,
};
use answer::Answer;
use run_calls::RunCalls;

/// The longest request body, in bytes. The longest body that Convoy needs is a URL and a few names.
const MAX_REQUEST_BODY: usize = 1 << 20;
/// How long a client may take to send its headers, and then its body.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
/// While the server shuts down: how long a connected client may take to send its first request.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// The version of the API, which a client must send as `User-Agent: Convoy-Client/N`.
const API_VERSION: &str = "1";

/// A daemon that is served on a socket.
#[derive(Debug)]
pub(crate) struct Server {
    listener: UnixListener,
    file: socket::SocketFile,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    daemon: Arc<dyn Daemon>,
    /// The daemon as Docker sees it.
    plugin: Arc<dyn Plugin>,
    /// The calls that are for runs.
    run_calls: RunCalls,
}

impl Server {
    /// Listens on `socket`, which only this user may use. A socket on which no process listens any
    /// more is replaced. [`Server::run`] answers the connections, and Docker's plugin protocol with
    /// `plugin`.
    ///
    /// # Errors
    /// - [`crate::error::ErrorKind::Busy`] if another daemon listens there.
    /// - A configuration error if the path holds something else than a socket.
    /// - An I/O error if the socket can't be made.
    pub(crate) fn bind(
        socket: &Path,
        daemon: Arc<dyn Daemon>,
        plugin: Arc<dyn Plugin>,
    ) -> Result<Self> {
        let (listener, file) = socket::listen(socket)?;
        Ok(Self {
            listener,
            file,
            shared: Arc::new(Shared { daemon, plugin, run_calls: RunCalls::default() }),
        })
    }

    /// Serves until `shutdown` completes. Then the server removes the socket and refuses new
    /// connections. It returns when every connected client is answered and the last call to the
    /// daemon has ended, even if the client of that call has hung up.
    ///
    /// # Errors
    /// An I/O error if the listener can't be used.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let Self { listener, file, shared } = self;
        let listener = tokio::net::UnixListener::from_std(listener)
            .map_err(|error| Error::io("cannot listen on the daemon's socket", &error))?;
        let (ending, ended) = watch::channel(());
        // Each task that is still working holds a clone of `working`. When the last clone is
        // dropped, `done` ends.
        let (working, mut done) = mpsc::channel::<Infallible>(1);
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        tokio::spawn(connection(stream, Arc::clone(&shared), ended.clone(), working.clone()));
                    }
                    Err(error) => {
                        // The process is probably out of file descriptors. Other connections must
                        // close first.
                        log::warn!("cannot accept a connection: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        drop(file);
        // A client in the queue is connected and may have sent a write. Cutting it off now would
        // leave the outcome of that write unknown.
        if let Err(error) = refuse_newcomers(&listener) {
            log::warn!("the daemon's socket was closed before everyone was heard: {error}");
        } else if let Ok(listener) = listener.into_std() {
            while let Ok((stream, _)) = listener.accept() {
                let stream =
                    stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
                let Ok(stream) = stream else { continue };
                tokio::spawn(connection(
                    stream,
                    Arc::clone(&shared),
                    ended.clone(),
                    working.clone(),
                ));
            }
        }
        drop(ending);
        drop(working);
        let _ = done.recv().await;
        Ok(())
    }
}

/// Makes new connections fail. Clients that are already connected can still be accepted.
fn refuse_newcomers(listener: &tokio::net::UnixListener) -> std::io::Result<()> {
    // The standard library can shut down streams only. To the system, the call is the same for a
    // listener.
    let socket = std::os::unix::net::UnixStream::from(listener.as_fd().try_clone_to_owned()?);
    socket.shutdown(Shutdown::Read)
}

/// Answers the requests of one connection until the client or the server ends it.
async fn connection(
    stream: UnixStream,
    shared: Arc<Shared>,
    mut ended: watch::Receiver<()>,
    working: mpsc::Sender<Infallible>,
) {
    let (begun, mut begins) = watch::channel(());
    let deadline = tokio::time::Instant::now() + FIRST_REQUEST_TIMEOUT;
    let service = service_fn(|request| {
        begun.send_replace(());
        let (shared, working) = (Arc::clone(&shared), working.clone());
        async move { Ok::<_, Infallible>(serve(request, shared, working).await.into_response()) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CLIENT_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        // An error means that the sender was dropped, which is the signal to end.
        _ = ended.changed() => {
            // A graceful shutdown would close a connection whose first request is still on its way.
            // That request is still answered.
            tokio::select! {
                result = &mut connection => result,
                _ = tokio::time::timeout_at(deadline, begins.changed()) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = result {
        log::debug!("a connection ended early: {error}");
    }
}

/// What a request asks for.
enum Asked {
    Api(routes::Route),
    Docker(docker::Call),
}

impl Asked {
    fn find(method: &Method, path: &str, query: Option<&str>) -> Option<Self> {
        let api = || routes::Route::find(method, path, query).map(Self::Api);
        api().or_else(|| docker::Call::find(method, path).map(Self::Docker))
    }
}

/// Finds the route, reads the body, and calls the daemon in a separate task. The call continues
/// when the client hangs up, as in Convoy, unless it is for a run: then it ends with that.
async fn serve(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    working: mpsc::Sender<Infallible>,
) -> Answer {
    let (head, body) = request.into_parts();
    let (path, query) = (head.uri.path(), head.uri.query());
    log::debug!("{} {}", head.method, head.uri);
    let Some(asked) = Asked::find(&head.method, path, query) else {
        return Answer {
            status: 404,
            body: format!("Handler not found: {} {}", head.method, head.uri),
            hint: None,
            kind: None,
            pieces: None,
        };
    };
    if matches!(asked, Asked::Api(_))
        && let Some(version) = head.headers.get(USER_AGENT).and_then(client_version)
        && version != API_VERSION
    {
        return Answer::error(
            404,
            &format!("client version {version} doesn't match with server {API_VERSION}"),
        );
    }
    let body =
        match tokio::time::timeout(CLIENT_TIMEOUT, Limited::new(body, MAX_REQUEST_BODY).collect())
            .await
        {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => {
                return Answer::error(400, &format!("the request's body can't be read: {error}"));
            }
            Err(_) => return Answer::error(408, "the request's body did not come in time"),
        };
    if matches!(asked, Asked::Api(routes::Route::CallsEnd)) {
        return shared.run_calls.end(&body);
    }
    let of_run = shared.run_calls.begin(&head.headers);
    let scope = of_run.as_ref().map(|of_run| of_run.scope.clone());
    let called = Arc::clone(&shared);
    let work = async move {
        let _working = working;
        match asked {
            Asked::Api(route) => route.answer(&*called.daemon, &body).await,
            Asked::Docker(call) => call.answer(&*called.plugin, &body).await,
        }
    };
    let work = tokio::spawn(scope::carried_for(scope, work));
    let answer = work.await.unwrap_or_else(|error| {
        log::error!("a call to the daemon broke off: {error}");
        Answer::error(500, "internal error: the daemon's log says more")
    });
    if let Some(of_run) = of_run {
        of_run.answered();
    }
    answer
}

/// The `N` of `Convoy-Client/N`.
fn client_version(user_agent: &HeaderValue) -> Option<&str> {
    let (client, version) = user_agent.to_str().ok()?.split_once('/')?;
    (client.contains("Convoy-Client") && !version.contains('/')).then_some(version)
}
