//! The settings of the HTTP API. `serve` opens the files and sockets that they name.

use std::{net::SocketAddr, path::PathBuf};

use super::{
    secret::Secret,
    settings::{
        BKUP_API_ALLOW_ORIGIN, BKUP_API_HOSTS, BKUP_API_LISTEN, BKUP_API_MAX_CONNECTIONS,
        BKUP_API_READ_TOKEN, BKUP_API_TLS_CERTIFICATE, BKUP_API_TLS_KEY, BKUP_API_TOKEN, Typed,
    },
    values::Values,
};
use crate::error::{Error, Result};

/// The shortest token, in characters: a shorter one can be guessed.
const SHORTEST_TOKEN: usize = 16;

/// How `serve` answers HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    /// `None`: HTTP is off.
    pub(crate) listen: Option<SocketAddr>,
    /// The token for all requests; `None`: the one in the data folder's file.
    pub(crate) token: Option<Secret>,
    /// The token for requests that only read.
    pub(crate) read_token: Option<Secret>,
    /// `None`: plain HTTP.
    pub(crate) tls: Option<TlsFiles>,
    /// Further names by which browsers reach `serve`, in lower case, besides those that it knows
    /// itself.
    pub(crate) hosts: Vec<String>,
    /// Origins whose pages may use the API, as browsers write them: `https://host:port`, in lower
    /// case.
    pub(crate) allow_origins: Vec<String>,
    /// The most connections at a time; at least 1.
    pub(crate) max_connections: usize,
}

/// The files of TLS: absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The certificate and its chain, PEM.
    pub(crate) certificate: PathBuf,
    /// The certificate's private key, PEM.
    pub(crate) key: PathBuf,
}

impl Api {
    pub(super) fn read(values: &Values) -> Result<Self> {
        let token = token(values, &BKUP_API_TOKEN)?;
        let read_token = self::token(values, &BKUP_API_READ_TOKEN)?;
        if let (Some(full), Some(read)) = (&token, &read_token)
            && full.expose() == read.expose()
        {
            return Err(Error::configuration(
                "BKUP_API_TOKEN and BKUP_API_READ_TOKEN are the same",
            )
            .with_hint("give each a text of its own: what shows the second may only look"));
        }
        Ok(Self {
            listen: values.require(&BKUP_API_LISTEN)?,
            token,
            read_token,
            tls: TlsFiles::read(values)?,
            hosts: values.read(&BKUP_API_HOSTS)?.unwrap_or_default(),
            allow_origins: values.read(&BKUP_API_ALLOW_ORIGIN)?.unwrap_or_default(),
            max_connections: values.require(&BKUP_API_MAX_CONNECTIONS)?,
        })
    }
}

impl TlsFiles {
    fn read(values: &Values) -> Result<Option<Self>> {
        let (certificate, key) = (&BKUP_API_TLS_CERTIFICATE, &BKUP_API_TLS_KEY);
        let (given, missing) = match (values.read(certificate)?, values.read(key)?) {
            (Some(certificate), Some(key)) => return Ok(Some(Self { certificate, key })),
            (None, None) => return Ok(None),
            (Some(_), None) => (certificate.row.name, key.row.name),
            (None, Some(_)) => (key.row.name, certificate.row.name),
        };
        Err(Error::configuration(format!("{given} is set, and {missing} is not"))
            .with_hint("TLS needs both files; set neither for plain HTTP"))
    }
}

/// What is wrong with a token; `None` for a good one.
pub(crate) fn wrong_with_token(token: &str) -> Option<&'static str> {
    if token.len() < SHORTEST_TOKEN {
        Some("is shorter than 16 characters")
    } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("has characters that can't stand in a header (blanks, or others than ASCII)")
    } else {
        None
    }
}

fn token(values: &Values, setting: &Typed<Secret>) -> Result<Option<Secret>> {
    let Some(token) = values.read(setting)? else { return Ok(None) };
    match wrong_with_token(token.expose()) {
        None => Ok(Some(token)),
        Some(why) => Err(Error::configuration(format!("{} {why}", setting.row.name)).with_hint(
            "take one that nobody can guess, such as what \"openssl rand -hex 32\" prints",
        )),
    }
}
