//! Serves one connection: its requests, one after the other.

use std::{convert::Infallible, error, future::poll_fn, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use super::{
    activity::{Activity, AnswerBody, RequestBody},
    limits::Limits,
    stream::{ObservedStream, linger},
    tls::Tls,
};
use crate::web::headers;

/// The address at the other end of the connection. [`super::serve`] puts it into the request's
/// extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Everything that one connection needs to be served.
pub(super) struct Conversation<S> {
    pub(super) service: Arc<S>,
    pub(super) limits: Arc<Limits>,
    pub(super) activity: Arc<Activity>,
    pub(super) peer: Peer,
    pub(super) stop: CancellationToken,
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
    /// Calls [`Conversation::hold`] after TLS' handshake.
    pub(super) async fn hold_over_tls(self, socket: TcpStream, tls: &Tls) {
        let (peer, handshake) = (self.peer.0, self.limits.handshake);
        match tokio::time::timeout(handshake, tls.acceptor().accept(socket)).await {
            Ok(Ok(stream)) => self.hold(stream).await,
            Ok(Err(error)) => log::debug!("no TLS with {peer}: {error}"),
            Err(_) => log::debug!("no TLS with {peer}: it takes too long"),
        }
    }

    /// Answers the requests of a connection until the client or the server ends it.
    pub(super) async fn hold(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send) {
        let Self { service, limits, activity, peer, stop } = self;
        let stream = TokioIo::new(ObservedStream::new(stream, activity.clone()));
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
            // The server limits times itself, by the connection's activity.
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
