//! The channel that posts to a web address, in one of the [`crate::webhook_formats`].

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::{
    channel::{Channel, ChannelKind, Refusal},
    message::Message,
    texts,
};
use crate::{
    config::{self, Secret, WebhookFormat},
    error::{Error, ErrorKind, Result},
    text::{cut, escape},
};

/// The limit for the server to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of an answer that are read.
const LONGEST_ANSWER: usize = 2_000;

#[derive(Debug)]
pub(super) struct Webhook {
    url: Secret,
    format: WebhookFormat,
    token: Option<Secret>,
    /// The part of the address without secrets: scheme and host.
    shown: String,
}

impl Webhook {
    /// Checks the settings; `None` if no webhook is set.
    ///
    /// # Errors
    /// A configuration error, which does not show the address.
    pub(crate) fn new(webhook: &config::Webhook) -> Result<Option<Self>> {
        let Some(url) = &webhook.url else {
            let lonely = webhook.token.is_some();
            return if lonely {
                Err(Error::configuration("BKUP_WEBHOOK_TOKEN is set, but BKUP_WEBHOOK_URL is not")
                    .with_hint("set both, or neither"))
            } else {
                Ok(None)
            };
        };
        let wrong = |why: &str| {
            Error::configuration(format!("BKUP_WEBHOOK_URL {why}")).with_hint(
                "write https://host/path; it is not shown here, because it may hold a token",
            )
        };
        let uri: Uri = url.expose().parse().map_err(|_| wrong("is not a web address"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("is not a web address"));
        };
        if authority.as_str().contains('@') {
            return Err(wrong("has a user in it")
                .with_hint("leave the user out; a token goes into BKUP_WEBHOOK_TOKEN"));
        }
        if let Some(token) = &webhook.token {
            hyper::header::HeaderValue::from_str(token.expose()).map_err(|_| {
                Error::configuration("BKUP_WEBHOOK_TOKEN has characters that no token has")
                    .with_hint("look for a line break in it")
            })?;
        }
        let shown = format!("{scheme}://{authority}");
        Ok(Some(Self {
            url: url.clone(),
            format: webhook.format,
            token: webhook.token.clone(),
            shown,
        }))
    }

    /// Posts a message.
    ///
    /// # Errors
    /// If the server can't be reached, or does not answer with a 2xx status.
    async fn post(&self, message: &Message) -> Result<()> {
        let request = self.request(message)?;
        let secure = request.uri().scheme_str() == Some("https");
        let answer = if secure { self.send_tls(request).await } else { send_plain(request).await };
        let (status, words) = answer.map_err(|error| self.explain(&error))?;
        if status.is_success() {
            return Ok(());
        }
        let hint = match status.as_u16() {
            300..=399 => "redirects are not followed: set BKUP_WEBHOOK_URL to where it leads",
            401 | 403 => "look at BKUP_WEBHOOK_TOKEN, and at the token in BKUP_WEBHOOK_URL",
            404 | 410 => "look at the path in BKUP_WEBHOOK_URL",
            400..=499 => "look at BKUP_WEBHOOK_FORMAT",
            _ => "the service may take it later",
        };
        let words = escape(words.trim()).into_owned();
        // An answer may repeat the address of the request.
        let words = if words.is_empty() || self.holds_secret(&words) {
            String::new()
        } else {
            format!(": {}", cut(&words, 200))
        };
        Err(Error::new(
            ErrorKind::Io,
            format!("the webhook at {} answered {status}{words}", self.shown),
        )
        .with_hint(hint))
    }

    /// Whether these words contain the token, or a part of the address that may be one.
    fn holds_secret(&self, words: &str) -> bool {
        let path = self.url.expose().split_once("://").map_or("", |(_, rest)| rest);
        let path = path.split_once('/').map_or("", |(_, path)| path);
        let parts = path.split(['/', '?', '&', '=']).filter(|part| part.len() >= 6);
        parts.chain(self.token.as_ref().map(Secret::expose)).any(|secret| words.contains(secret))
    }

    async fn send_tls(&self, request: Request<Full<Bytes>>) -> std::result::Result<Answer, Failed> {
        let provider = rustls::crypto::ring::default_provider();
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| Failed(error.into()))?
            .https_only()
            .enable_http1()
            .wrap_connector(connector());
        answer(Client::builder(TokioExecutor::new()).build(connector).request(request).await?).await
    }

    fn explain(&self, error: &Failed) -> Error {
        let words = texts::chain(error.0.as_ref());
        let hint = if words.contains("certificate") {
            "its certificate is not trusted for this name: look at the system's certificates, or let SSL_CERT_FILE name a file with its authority's"
        } else {
            "look at BKUP_WEBHOOK_URL and the network"
        };
        Error::new(ErrorKind::Unreachable, format!("the webhook at {}: {words}", self.shown))
            .with_hint(hint)
    }

    fn request(&self, message: &Message) -> Result<Request<Full<Bytes>>> {
        let parts = (self.format.request)(self.url.expose(), &message.content());
        let mut builder = Request::builder()
            .method(Method::POST)
            .uri(parts.url)
            .header(USER_AGENT, concat!("convoy-backups/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, parts.content_type);
        if let Some(token) = &self.token {
            builder = builder.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        for (name, value) in parts.headers {
            builder = builder.header(name, value);
        }
        builder.body(Full::new(Bytes::from(parts.body))).map_err(|_| {
            Error::internal(format!("the request to the webhook at {} can't be made", self.shown))
        })
    }
}

#[async_trait]
impl Channel for Webhook {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Webhook
    }

    /// Never the whole address, which may hold a token.
    fn description(&self) -> String {
        format!("{} ({})", self.shown, self.format.title)
    }

    fn wants_every_run(&self) -> bool {
        self.format.counts_runs
    }

    async fn send(&self, _id: &str, message: &Message) -> Result<Vec<Refusal>> {
        self.post(message).await.map(|()| Vec::new())
    }
}

/// An answer's status and the beginning of its body.
type Answer = (StatusCode, String);

/// Why there is no answer.
struct Failed(Box<dyn std::error::Error + Send + Sync>);

impl From<hyper_util::client::legacy::Error> for Failed {
    fn from(error: hyper_util::client::legacy::Error) -> Self {
        Self(Box::new(error))
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector
}

async fn send_plain(request: Request<Full<Bytes>>) -> std::result::Result<Answer, Failed> {
    answer(Client::builder(TokioExecutor::new()).build(connector()).request(request).await?).await
}

async fn answer(
    response: hyper::Response<hyper::body::Incoming>,
) -> std::result::Result<Answer, Failed> {
    let status = response.status();
    if status.is_success() {
        // A 2xx status is enough: the service has the message.
        return Ok((status, String::new()));
    }
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
    let bytes = body.map(|body| body.to_bytes()).unwrap_or_default();
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook_formats::WORDS;

    fn settings(url: &str, format: &str, token: Option<Secret>) -> config::Webhook {
        config::Webhook {
            url: Some(Secret::new(url)),
            format: WORDS.iter().find(|(word, _)| *word == format).unwrap().1,
            on: config::NotifyOn::Failure,
            token,
        }
    }

    #[test]
    fn the_address_is_never_shown() {
        let settings_of_slack = settings(
            "https://example.com/services/T000SECRET?key=HIDDEN99",
            "slack",
            Some(Secret::new("token-1")),
        );
        let hook = Webhook::new(&settings_of_slack).unwrap().unwrap();
        assert_eq!(hook.description(), "https://example.com (Slack's form)");
        assert!(!format!("{hook:?}").contains("SECRET"));
        assert!(
            hook.holds_secret("not found: /services/T000SECRET")
                && hook.holds_secret("token-1")
                && !hook.holds_secret("gone")
        );
        let wrong = settings("https://user:hunter2@example.com/x", "json", None);
        let error = Webhook::new(&wrong).unwrap_err();
        assert!(error.exit_code() == 2 && !format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
