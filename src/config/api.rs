//! The settings of the HTTP API.

use super::{Api, Secret, TlsFiles, Values, absolute, count, endpoint, host};
use crate::error::{Error, Result};

/// The fewest characters of a token: what is shorter can be guessed.
const SHORTEST_TOKEN: usize = 16;

/// Reads and checks them. Nothing is looked at outside of the values: that is for `serve`.
pub(super) fn read(values: &Values) -> Result<Api> {
    let path = |name| values.read_with(name, absolute);
    let token = token(values, "BKUP_API_TOKEN")?;
    let read_token = self::token(values, "BKUP_API_READ_TOKEN")?;
    if let (Some(full), Some(read)) = (&token, &read_token)
        && full.expose() == read.expose()
    {
        return Err(Error::configuration("BKUP_API_TOKEN and BKUP_API_READ_TOKEN are the same")
            .with_hint("give each a text of its own: what shows the second may only look"));
    }
    let tls = match (path("BKUP_API_TLS_CERTIFICATE")?, path("BKUP_API_TLS_KEY")?) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (None, None) => None,
        (Some(_), None) => return Err(lacks("BKUP_API_TLS_CERTIFICATE", "BKUP_API_TLS_KEY")),
        (None, Some(_)) => return Err(lacks("BKUP_API_TLS_KEY", "BKUP_API_TLS_CERTIFICATE")),
    };
    Ok(Api {
        listen: values.require("BKUP_API_LISTEN", |text| {
            match text.to_ascii_lowercase().as_str() {
                "off" => Some(None),
                address => address.parse().ok().map(Some),
            }
        })?,
        token,
        read_token,
        tls,
        hosts: values.read("BKUP_API_HOSTS", |text| list(text, host_name))?.unwrap_or_default(),
        allow_origins: values
            .read("BKUP_API_ALLOW_ORIGIN", |text| list(text, origin))?
            .unwrap_or_default(),
        max_connections: values.require("BKUP_API_MAX_CONNECTIONS", count)?,
    })
}

fn lacks(given: &str, missing: &str) -> Error {
    Error::configuration(format!("{given} is set, and {missing} is not"))
        .with_hint("TLS needs both files; set neither for plain HTTP")
}

/// What is wrong with a token, if anything is.
pub(crate) fn wrong_with_token(token: &str) -> Option<&'static str> {
    if token.len() < SHORTEST_TOKEN {
        Some("is shorter than 16 characters")
    } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("has characters that can't stand in a header (blanks, or others than ASCII)")
    } else {
        None
    }
}

fn token(values: &Values, name: &'static str) -> Result<Option<Secret>> {
    let Some(text) = values.text(name) else { return Ok(None) };
    match wrong_with_token(text) {
        None => Ok(Some(Secret::new(text))),
        Some(why) => Err(Error::configuration(format!("{name} {why}")).with_hint(
            "take one that nobody can guess, such as what \"openssl rand -hex 32\" prints",
        )),
    }
}

fn list<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split(',').map(|item| parse(item.trim())).collect()
}

fn host_name(text: &str) -> Option<String> {
    host(text).filter(|name| !name.contains([':', '*', '\\'])).map(|name| name.to_ascii_lowercase())
}

/// An origin as browsers write it; the slash that is copied along with it is taken off.
fn origin(text: &str) -> Option<String> {
    let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let (_, host) = text.split_once("://")?;
    (endpoint(&text).is_some() && !host.contains(['/', '*'])).then_some(text)
}
