//! A call to the daemon, and how long its answer may take.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    io,
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, header};
use serde_json::Value;

use crate::{
    convoy::{CALL, IN_HOLD, LOCK_WAIT, RUN, route},
    scope::{self, Scope},
    unix_http::{self, Answer, Failure, Times},
};

/// How long each sort of call may take, until its whole answer has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// Getting a connection.
    pub(crate) connect: Duration,
    /// Reading one thing: a snapshot, a backup, the settings.
    pub(crate) quick_read: Duration,
    /// Lists, and a volume with its snapshots. With EBS, Convoy pauses for 5 s before it asks for
    /// each volume and each snapshot; with devicemapper, it waits until a running backup has ended.
    pub(crate) listing: Duration,
    /// Writes that copy nothing: create an empty volume, mount, unmount.
    pub(crate) quick_write: Duration,
    /// Writes that may copy or delete a whole volume: snapshots, backups, restores, deletions.
    pub(crate) long_write: Duration,
    /// How long attempts go on, in all, while the daemon restarts. Zero allows one attempt only.
    pub(crate) restart: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            quick_read: Duration::from_secs(60),
            listing: Duration::from_secs(30 * 60),
            quick_write: Duration::from_secs(2 * 60),
            long_write: Duration::from_secs(5 * 60 * 60),
            restart: Duration::from_secs(15),
        }
    }
}

/// The pause before the end of a call is said again.
const AGAIN: Duration = Duration::from_millis(100);

/// One call: the request, its deadline, and whether it changes anything.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    /// The route without the API version, as errors name it.
    pub(super) route: &'static str,
    pub(super) body: Option<Value>,
    pub(super) deadline: Duration,
}

impl Call {
    pub(super) fn is_write(&self) -> bool {
        self.method != Method::GET
    }

    pub(super) fn request(&self) -> String {
        format!("{} {}", self.method, self.route)
    }

    /// Sends the call to `socket` and reads the whole answer within the call's deadline.
    /// Where it is for a run that is cancelled meanwhile, our server is told, and answers as soon as the
    /// work has ended. Convoy goes on, and is waited for.
    pub(super) async fn exchange(
        &self,
        socket: &Path,
        connect: Duration,
    ) -> Result<Answer, Failure> {
        let Some(run) = scope::current().filter(|run| !run.ended.is_cancelled()) else {
            return self.send(socket, connect, None).await;
        };
        let (call, socket) = (self.clone(), socket.to_owned());
        // Whoever waits for the answer may be gone before the work has ended.
        let exchange = async move { call.exchange_for(&run, &socket, connect).await };
        let ended = tokio::spawn(scope::carried(exchange)).await;
        ended.unwrap_or_else(|error| Err(Failure::Broken(error.to_string())))
    }

    async fn exchange_for(
        &self,
        run: &Scope,
        socket: &Path,
        connect: Duration,
    ) -> Result<Answer, Failure> {
        let goes_on = scope::piece(run);
        let name = random_name();
        let exchange = self.send(socket, connect, Some((run, &name)));
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => return answer,
            () = run.ended.cancelled() => {}
        }
        let end = Self {
            method: Method::POST,
            route: route::CALLS_END,
            body: Some(serde_json::json!({ "Call": name })),
            deadline: connect,
        };
        let ending = async {
            loop {
                match end.send(socket, connect, None).await {
                    // The call is on its way, and has not begun yet.
                    Ok(answer) if answer.status == StatusCode::CONFLICT => {
                        tokio::time::sleep(AGAIN).await;
                    }
                    ended => break ended.is_ok_and(|answer| answer.status.is_success()),
                }
            }
        };
        tokio::select! {
            biased;
            answer = &mut exchange => return answer,
            // Convoy knows no end, and goes on.
            is_ending = ending => if !is_ending { drop(goes_on) },
        }
        exchange.await
    }

    /// Sends the call, and waits until its answer begins. It is for no run.
    pub(super) async fn open(
        &self,
        socket: &Path,
        connect: Duration,
    ) -> Result<unix_http::Opened, Failure> {
        let times = Times { connect, deadline: self.deadline };
        unix_http::open(socket, self.sent(None)?, times).await
    }

    /// Sends the call, and reads the whole answer.
    async fn send(
        &self,
        socket: &Path,
        connect: Duration,
        of: Option<(&Scope, &str)>,
    ) -> Result<Answer, Failure> {
        let times = Times { connect, deadline: self.deadline };
        unix_http::exchange(socket, self.sent(of)?, times).await
    }

    /// The request, for a run and with a name of the call.
    fn sent(&self, of: Option<(&Scope, &str)>) -> Result<Request<Full<Bytes>>, Failure> {
        let body = self.body.as_ref().map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let request = Request::builder()
            .method(&self.method)
            .uri(format!("/v1{}", self.route))
            .header(header::HOST, "localhost")
            .header(header::USER_AGENT, "Convoy-Client/1")
            .header(header::CONTENT_TYPE, "application/json")
            // Go reads a body only if its length is announced; otherwise it answers `EOF`.
            .header(header::CONTENT_LENGTH, body.len())
            .header(header::CONNECTION, "close");
        let request = match of {
            None => request,
            Some((run, name)) => {
                let request = request.header(RUN, &*run.run).header(CALL, name);
                let wait = run.lock_wait.map(|wait| wait.as_millis().to_string());
                let request =
                    wait.into_iter().fold(request, |request, wait| request.header(LOCK_WAIT, wait));
                run.hold.iter().fold(request, |request, hold| request.header(IN_HOLD, &**hold))
            }
        };
        request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::NotConnected(io::Error::other(error)))
    }
}

/// A name that no other call has.
fn random_name() -> String {
    // Each `RandomState` has its own keys, from the system's random numbers.
    let part = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", part(), part())
}

/// Pauses that double from 100 ms up to 3.2 s, and whose sum is `total`.
pub(super) fn pauses(total: Duration) -> impl Iterator<Item = Duration> + Send {
    let mut left = total;
    let mut next = Duration::from_millis(100);
    std::iter::from_fn(move || {
        if left.is_zero() {
            return None;
        }
        let pause = next.min(left);
        left -= pause;
        next = (next * 2).min(Duration::from_millis(3200));
        Some(pause)
    })
}
