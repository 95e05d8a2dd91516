//! Finds the host that a browser's request was sent to, and the page that sent it. This protects
//! against host names that an attacker points at this address (DNS rebinding), and against pages of
//! other sites that make a browser send requests (cross-site requests).

use std::net::IpAddr;

use hyper::{
    header::{HOST, ORIGIN},
    http::{request::Parts, uri::Authority},
};

use crate::{text, web::problem::Problem};

/// The longest name in a message, in characters. A longer name is cut.
const NAME_WIDTH: usize = 80;

/// The host names of this server.
#[derive(Debug)]
pub(super) struct KnownHosts {
    names: Vec<String>,
    secure: bool,
}

/// The page that made a browser send a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestOrigin {
    /// The dashboard, or the user: a bookmark, the address bar.
    OwnPage,
    /// A page of another site.
    OtherPage,
    /// The request does not say. Every current browser says it.
    Unknown,
}

impl KnownHosts {
    /// Knows these names and those that are always known: addresses, localhost, and the machine's
    /// own name.
    pub(super) fn new(names: &[String], secure: bool) -> Self {
        let machine = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
        let names =
            names.iter().cloned().chain([machine]).filter(|name| !name.is_empty()).collect();
        Self { names, secure }
    }

    /// Lets a request pass that was sent to a known name or to an address. An attacker can't point
    /// an address elsewhere.
    pub(super) fn require_known_host(&self, parts: &Parts) -> Result<(), Problem> {
        let Some(authority) = authority(parts) else {
            return Err(Problem::misdirected("the request has no Host, or one that can't be read"));
        };
        let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
        let address =
            host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        let known = address.parse::<IpAddr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || self.names.contains(&host);
        if known {
            return Ok(());
        }
        let shown = text::cut(&host, NAME_WIDTH);
        Err(Problem::misdirected(format!("\"{shown}\" is not known as a name of this server")).with_hint(format!(
            "if it is one, add it: BKUP_API_HOSTS={shown}; else somebody leads your browser astray"
        )))
    }

    /// The page that sent a request, by headers that the browser sets and a page can't change:
    /// `Sec-Fetch-Site`, else `Origin`.
    pub(super) fn origin_of(&self, parts: &Parts) -> RequestOrigin {
        if let Some(site) = parts.headers.get("sec-fetch-site") {
            // "none": the user opened the page, by a bookmark or the address bar.
            return if matches!(site.as_bytes(), b"same-origin" | b"none") {
                RequestOrigin::OwnPage
            } else {
                RequestOrigin::OtherPage
            };
        }
        let Some(origin) = parts.headers.get(ORIGIN) else { return RequestOrigin::Unknown };
        let here = origin
            .to_str()
            .ok()
            .zip(authority(parts))
            .is_some_and(|(origin, here)| self.same(origin, &here));
        if here { RequestOrigin::OwnPage } else { RequestOrigin::OtherPage }
    }

    /// Whether a page of this origin was loaded from `here`. If this server has no TLS, a proxy in
    /// front of it may, so `https` counts as well.
    fn same(&self, origin: &str, here: &Authority) -> bool {
        let Some((scheme, rest)) = origin.split_once("://") else { return false };
        let usual = match scheme {
            "https" => 443,
            "http" if !self.secure => 80,
            _ => return false,
        };
        let Ok(page) = rest.parse::<Authority>() else { return false };
        let port = |authority: &Authority| authority.port_u16().unwrap_or(usual);
        page.host().eq_ignore_ascii_case(here.host()) && port(&page) == port(here)
    }
}

/// The port that the request was sent to, as the client sees it. `None`: the scheme's default.
pub(super) fn port(parts: &Parts) -> Option<u16> {
    authority(parts)?.port_u16()
}

/// The host and port that the request was sent to: from an absolute request target (RFC 9112,
/// 3.2.2), else from the one `Host` header.
fn authority(parts: &Parts) -> Option<Authority> {
    if let Some(authority) = parts.uri.authority() {
        return Some(authority.clone());
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next()?;
    let authority: Authority = host.to_str().ok()?.parse().ok()?;
    (hosts.next().is_none() && !authority.as_str().contains('@')).then_some(authority)
}
