//! Listens on the configured address, with or without TLS.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;

use super::tls::Tls;
use crate::{
    config::Api,
    error::{Error, Result},
};

/// A socket that listens, and its certificate if it speaks TLS.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(super) listener: TcpListener,
    address: SocketAddr,
    pub(super) tls: Option<Arc<Tls>>,
}

/// Listens on the configured address. `None`: HTTP is turned off. Connections are answered once
/// [`super::serve`] runs.
///
/// # Errors
/// A configuration error (exit 2) if the address is taken or can't be used, or if the files of the
/// certificate can't be used.
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
    /// The address, with the real port if port 0 was configured.
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
    /// The URL for a browser: `http://127.0.0.1:3000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_secure() { "https" } else { "http" }, self.address)
    }
}
