//! `healthcheck`: does the program answer? For a container's HEALTHCHECK, whose image has no other
//! program to ask with.
//!
//! `status`, not this command, says whether backups are well. Otherwise an orchestrator that
//! restarts unhealthy containers would end runs only because a destination can't be reached.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::{Arg, ArgAction, ArgMatches, Command};
use http_body_util::Empty;
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{context::Context, runtime::in_runtime};
use crate::{
    app::{self, serve},
    config::Config,
    error::{Error, ErrorKind, Result},
    progress,
};

/// How long an answer may take. The image's HEALTHCHECK waits for longer, so that its log has the
/// reason.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The command for help and completion.
pub(super) fn command() -> Command {
    Command::new("healthcheck").about("Does serve answer? For a container's HEALTHCHECK").arg(
        Arg::new("daemon")
            .long("daemon")
            .action(ArgAction::SetTrue)
            .help("does the volume daemon answer, in place of serve?"),
    )
}

/// Returns 0 if the program answers, else an error.
pub(super) fn healthcheck(context: &Context, matches: &ArgMatches) -> Result<u8> {
    let config = context.config.clone();
    let of_daemon = matches.get_flag("daemon");
    in_runtime(|cancellation| async move {
        let look = async {
            if of_daemon {
                let connection = app::connect(&config, progress::none()).await?;
                let answered = connection.daemon.info().await;
                connection.close(&cancellation, |_| {}).await;
                answered.map(drop)
            } else {
                of_serve(&config).await
            }
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, look).await {
            Ok(answered) => answered.map(|()| 0),
            Err(_) => Err(Error::new(ErrorKind::Timeout, format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))
                .with_hint("look at the log of what should answer; it may have too little memory or processor time")),
        }
    })
}

/// Asks the `serve` of this data folder at its address. Without HTTP, `serve` only has to run.
async fn of_serve(config: &Config) -> Result<()> {
    if serve::is_served(config).await != Some(true) {
        let folder = config.data_dir.display();
        return Err(Error::new(
            ErrorKind::Unreachable,
            format!("no \"serve\" runs with the data folder \"{folder}\""),
        )
        .with_hint("look at its log for what ended it; it may just be starting"));
    }
    let Some(url) = serve::listens_at(config) else { return Ok(()) };
    let failed = |why: String| {
        Error::new(ErrorKind::Unreachable, format!("serve does not answer at {url}: {why}"))
            .with_hint("look at its log; if it stays so, start it again")
    };
    match ask(&url).await {
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) => Err(failed(format!("GET /healthz is answered with {status}"))),
        Err(why) => Err(failed(why)),
    }
}

/// Sends `GET /healthz` to `http://ADDRESS` or `https://ADDRESS`.
async fn ask(url: &str) -> std::result::Result<StatusCode, String> {
    let (scheme, address) = url.split_once("://").ok_or("that is no address")?;
    let address = nearest(address.parse().map_err(|_| "that is no address")?);
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    if scheme == "http" {
        return get(stream).await;
    }
    let any = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let name = ServerName::IpAddress(address.ip().into());
    let stream = TlsConnector::from(Arc::new(any))
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())?;
    get(stream).await
}

/// The address by which this machine reaches a server that listens on all addresses.
fn nearest(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> std::result::Result<StatusCode, String> {
    let request = Request::get("/healthz")
        .header(header::HOST, "localhost")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
    .map(|answer| answer.status())
    .map_err(|error| error.to_string())
}

/// Accepts any certificate: the request goes to this machine's own `serve`, by its address, and
/// neither the request nor the answer has anything secret.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
