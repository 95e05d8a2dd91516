//! Decides what a request may do, by its token or session, its host, and the page that sent it.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use hyper::{
    HeaderMap, Method,
    header::{AUTHORIZATION, HeaderValue, ORIGIN},
    http::request::Parts,
};

use super::{
    origin::{self, KnownHosts, RequestOrigin},
    role::{Access, Credential, Role},
    session,
    tokens::{self, Tokens},
    wrong_tokens::{Attempt, WrongTokenLimit},
};
use crate::{
    clock::Clock,
    config::{Api, Config},
    error::Result,
    sync::lock,
    web::{problem::Problem, server::Peer},
};

/// A right token of at least so many bytes is let in, however many wrong ones its address has
/// shown, because guessing does not find it. A generated token has 64 bytes.
const UNGUESSABLE_LENGTH: usize = 32;

/// The gate in front of the routes, with what it checks requests against.
#[derive(Debug)]
pub(crate) struct Gate {
    tokens: Tokens,
    wrong_tokens: Mutex<WrongTokenLimit>,
    known_hosts: KnownHosts,
    /// Pages from these origins may use the API, with a token.
    pub(super) allow_origins: Vec<String>,
    /// Connections are TLS, so the cookie is for TLS only. (The cookie is for TLS only behind a
    /// proxy with TLS as well: see [`Gate::sign_in`].)
    secure: bool,
    /// The cookie's name is derived from the data folder, so that two instances on one host have
    /// two cookies.
    data_dir: PathBuf,
    clock: Arc<dyn Clock>,
    /// The host's name, which the answer to signing in contains.
    pub(super) host: String,
}

impl Gate {
    /// A gate for the configuration's tokens. Without `BKUP_API_TOKEN`, the token is read from the
    /// file `api-token` in the data folder. A missing file is made (mode 0600), and its path is
    /// logged.
    ///
    /// # Errors
    /// A configuration error where that file can be read by others, holds no token, or can't be
    /// read or made.
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let Api { token, read_token, tls, hosts, allow_origins, .. } = &config.api;
        let tokens = Tokens::find(token.as_ref(), read_token.as_ref(), &config.data_dir)?;
        Ok(Self {
            tokens,
            wrong_tokens: Mutex::new(WrongTokenLimit::default()),
            known_hosts: KnownHosts::new(hosts, tls.is_some()),
            allow_origins: allow_origins.clone(),
            secure: tls.is_some(),
            data_dir: config.data_dir.clone(),
            clock,
            host: config.host_name(),
        })
    }

    /// Decides what a request may do, by its token or its session. A token in the header decides
    /// alone: no browser sends that header by itself, so neither `Host` nor `Origin` matters.
    ///
    /// # Errors
    /// 401 without a token and for a wrong one, 429 after too many wrong tokens from the address,
    /// 421 for a session at an unknown `Host`, 403 for a session that would change something from
    /// another page.
    pub(crate) fn check(&self, parts: &Parts) -> Result<Access, Problem> {
        if let Some(token) = bearer(&parts.headers) {
            return self
                .token(parts, token)
                .map(|role| Access { role, credential: Credential::Token });
        }
        let now = self.clock.now().as_second();
        let Some(role) =
            session::find(&parts.headers, &self.cookie_name(parts), &self.tokens, now, self.secure)
        else {
            return Err(Problem::unauthorized("no token was shown, and nobody is signed in")
                .with_hint("send \"Authorization: Bearer TOKEN\", or sign in at the dashboard"));
        };
        self.known_hosts.require_known_host(parts)?;
        if changes_something(&parts.method) {
            match self.known_hosts.origin_of(parts) {
                RequestOrigin::OwnPage => {}
                RequestOrigin::OtherPage | RequestOrigin::Unknown => {
                    return Err(Problem::forbidden("this was asked by another page than the dashboard")
                        .with_hint("programs send \"Authorization: Bearer TOKEN\" instead of the dashboard's cookie"));
                }
            }
        }
        Ok(Access { role, credential: Credential::Session })
    }

    /// Signs in with a token. Returns the token's role, and the `Set-Cookie`s that keep the session
    /// for 30 days. Changing a token ends its sessions.
    ///
    /// # Errors
    /// 401 for a wrong token, 429 after too many, 421 for an unknown `Host`, 403 for a request from
    /// another page.
    pub(crate) fn sign_in(
        &self,
        parts: &Parts,
        token: &str,
    ) -> Result<(Role, Vec<HeaderValue>), Problem> {
        self.known_hosts.require_known_host(parts)?;
        if self.known_hosts.origin_of(parts) == RequestOrigin::OtherPage {
            return Err(Problem::forbidden("another page tried to sign in here"));
        }
        let role = self.token(parts, token.as_bytes())?;
        let secure = self.secure
            || parts
                .headers
                .get(ORIGIN)
                .is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
        let (name, now) = (self.cookie_name(parts), self.clock.now().as_second());
        let cookie = session::cookie(&name, &self.tokens, role, now, secure);
        // A browser that also sends an older session without TLS must not be taken for that one.
        let older = secure.then(|| session::cleared_plain(&name));
        Ok((role, std::iter::once(cookie).chain(older).collect()))
    }

    /// Returns the `Set-Cookie`s that end the browser's session.
    pub(crate) fn sign_out(&self, parts: &Parts) -> [HeaderValue; 2] {
        session::cleared(&self.cookie_name(parts))
    }

    /// The name of the session's cookie, which depends on the port that the request was sent to.
    fn cookie_name(&self, parts: &Parts) -> String {
        session::name(&self.data_dir, origin::port(parts))
    }

    /// The role of a token, unless the request's address has shown too many wrong ones.
    fn token(&self, parts: &Parts, token: &[u8]) -> Result<Role, Problem> {
        let address = parts
            .extensions
            .get::<Peer>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let digest = tokens::digest(token);
        let role = self.tokens.role(&digest);
        // A long token can't be found by guessing, and other clients at the same address must not
        // lock its owner out.
        if let Some(role) = role.filter(|_| token.len() >= UNGUESSABLE_LENGTH) {
            return Ok(role);
        }
        let now = self.clock.now();
        let attempt = lock(&self.wrong_tokens).check(address, digest, role.is_some(), now);
        match (attempt, role) {
            (Attempt::Wait(seconds), _) => Err(Problem::too_many_requests(
                "too many wrong tokens were shown from this address",
                seconds,
            )
            .with_hint(
                "wait as long as Retry-After says; who is signed in at the dashboard stays so",
            )),
            (_, Some(role)) => Ok(role),
            (attempt, None) => {
                if attempt == Attempt::Counted {
                    log::warn!("a wrong token was shown by {address}");
                }
                Err(Problem::unauthorized("the token is wrong").with_hint(
                    "it is BKUP_API_TOKEN, or what the file api-token in the data folder holds",
                ))
            }
        }
    }
}

pub(super) fn changes_something(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The token behind `Bearer`. Another scheme may belong to a reverse proxy, and is ignored.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}
