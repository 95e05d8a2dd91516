//! A web address that is told: JSON of our own, Slack's, ntfy's, or healthchecks' pings.

use std::time::Duration;

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
use lettre::message::header::{HeaderName, HeaderValue};
use serde_json::json;

use super::{
    message::{Event, Message},
    report::digest,
    texts,
};
use crate::{
    config::{self, Secret, WebhookFormat},
    error::{Error, ErrorKind, Result},
    text::{cut, escape},
};

/// How long the server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How much of an answer is read, in bytes.
const LONGEST_ANSWER: usize = 2_000;
/// How much text a chat gets, in characters: Slack and Mattermost cut or refuse what is much
/// longer.
const LONGEST_CHAT: usize = 3_000;
/// How much text ntfy takes as a message, in bytes; more becomes a file.
const LONGEST_NTFY: usize = 4_000;
/// How much text healthchecks keeps, in bytes.
const LONGEST_PING: usize = 9_000;

/// A web address.
#[derive(Debug)]
pub(super) struct Webhook {
    url: Secret,
    format: WebhookFormat,
    token: Option<Secret>,
    /// What may be shown of the address.
    shown: String,
}

impl Webhook {
    /// Checks the settings; `None` where no webhook is set.
    ///
    /// # Errors
    /// A configuration error that does not show the address.
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

    /// What it is, for people: never the whole address.
    pub(crate) fn description(&self) -> String {
        let format = match self.format {
            WebhookFormat::Json => "JSON",
            WebhookFormat::Slack => "Slack's form",
            WebhookFormat::Ntfy => "ntfy",
            WebhookFormat::Healthchecks => "healthchecks",
        };
        format!("{} ({format})", self.shown)
    }

    /// Whether it wants to hear of every run: a service that waits for pings takes silence for a
    /// failure.
    pub(crate) fn counts_runs(&self) -> bool {
        self.format == WebhookFormat::Healthchecks
    }

    /// Tells it.
    ///
    /// # Errors
    /// Where it could not be told, or does not answer with a 2xx status.
    pub(crate) async fn send(&self, message: &Message) -> Result<()> {
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
        // An answer may repeat the address it was asked by.
        let words = if words.is_empty() || self.would_tell(&words) {
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

    /// Whether these words hold what is secret.
    fn would_tell(&self, words: &str) -> bool {
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
        let mut builder = Request::builder()
            .method(Method::POST)
            .header(USER_AGENT, concat!("convoy-backups/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            builder = builder.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let as_json = |value: &serde_json::Value| (Some("application/json"), value.to_string());
        let mut url = self.url.expose().to_owned();
        let (kind, body) = match (self.format, &message.body) {
            (WebhookFormat::Json | WebhookFormat::Slack, Some(body)) => as_json(body),
            (WebhookFormat::Json, None) => as_json(&json!({
                "event": message.event,
                "host": message.host,
                "time": message.time.to_string(),
                "subject": message.subject,
                "text": message.text,
                "run": message.run,
            })),
            (WebhookFormat::Slack, None) => as_json(&json!({ "text": chat(message) })),
            (WebhookFormat::Ntfy, _) => {
                let (priority, tag) = match message.event {
                    event if event.is_bad() => ("4", "warning"),
                    event if event.is_good() => ("3", "white_check_mark"),
                    _ => ("3", "information_source"),
                };
                builder = builder
                    .header("Title", header(&message.subject))
                    .header("Priority", priority)
                    .header("Tags", tag);
                (
                    Some("text/plain; charset=utf-8"),
                    first_bytes(&message.text, LONGEST_NTFY).to_owned(),
                )
            }
            (WebhookFormat::Healthchecks, _) => {
                url = ping(&url, message);
                let body = if message.event == Event::Started {
                    ""
                } else {
                    first_bytes(&message.text, LONGEST_PING)
                };
                (Some("text/plain; charset=utf-8"), body.to_owned())
            }
        };
        if let Some(kind) = kind {
            builder = builder.header(CONTENT_TYPE, kind);
        }
        builder.uri(url).body(Full::new(Bytes::from(body))).map_err(|_| {
            Error::internal(format!("the request to the webhook at {} can't be made", self.shown))
        })
    }
}

/// An answer's status and its first words.
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
    connector.set_connect_timeout(Some(CONNECT));
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
        // It has the message; whatever it says about it, it need not be asked again.
        return Ok((status, String::new()));
    }
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
    let bytes = body.map(|body| body.to_bytes()).unwrap_or_default();
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

/// Slack's own escapes keep texts from making links and calling people.
fn chat(message: &Message) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let sign = match message.event {
        event if event.is_bad() => ":red_circle: ",
        event if event.is_good() => ":large_green_circle: ",
        _ => "",
    };
    let text: String = message.text.chars().take(LONGEST_CHAT).collect();
    format!("{sign}*{}*\n{}", escape(&message.subject), escape(&text))
}

/// A header's value; what is not ASCII in RFC 2047's encoding, which ntfy reads.
fn header(text: &str) -> String {
    let value = HeaderValue::new(HeaderName::new_from_ascii_str("Title"), text.to_owned());
    let mut headers = lettre::message::header::Headers::new();
    headers.insert_raw(value);
    let line = headers.to_string();
    line.trim_start_matches("Title:").replace("\r\n", "").trim().to_owned()
}

/// `URL/start`, `URL`, `URL/fail` or `URL/log`, with the run's id as a UUID, so that two runs at a
/// time are told apart.
fn ping(url: &str, message: &Message) -> String {
    let (base, query) =
        url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let signal = match message.event {
        Event::Started => "/start",
        event if event.is_good() => "",
        event if event.is_bad() => "/fail",
        _ => "/log",
    };
    let mut queries: Vec<String> = query.map(str::to_owned).into_iter().collect();
    if let Some(run) = &message.run_id {
        let hash = digest(run);
        // Version 8 (of one's own making) and the usual variant, as RFC 9562 wants them.
        let uuid = format!(
            "{}-{}-8{}-8{}-{}",
            &hash[..8],
            &hash[8..12],
            &hash[13..16],
            &hash[17..20],
            &hash[20..32]
        );
        queries.push(format!("rid={uuid}"));
    }
    let behind = if queries.is_empty() { String::new() } else { format!("?{}", queries.join("&")) };
    format!("{}{signal}{behind}", base.trim_end_matches('/'))
}

/// The beginning of a text that is no longer than so many bytes.
fn first_bytes(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(event: Event) -> Message {
        Message {
            event,
            subject: "[db1] <backup> failed: völ2".into(),
            text: "text & more\n".into(),
            html: String::new(),
            host: "db1".into(),
            time: "2026-11-23T07:42:00Z".parse().unwrap(),
            run: Some(json!({ "id": "run-1" })),
            run_id: Some("run-1".into()),
            body: None,
            to: None,
            problem: None,
        }
    }

    fn webhook(url: &str, format: WebhookFormat) -> Webhook {
        let settings = config::Webhook {
            url: Some(Secret::new(url)),
            format,
            on: config::NotifyOn::Failure,
            token: Some(Secret::new("token-1")),
        };
        Webhook::new(&settings).unwrap().unwrap()
    }

    async fn body(request: Request<Full<Bytes>>) -> String {
        String::from_utf8(request.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn each_service_gets_its_own_form() {
        let failed = message(Event::Failed);
        let request =
            webhook("https://example.com/hook", WebhookFormat::Json).request(&failed).unwrap();
        assert_eq!(request.headers()["authorization"], "Bearer token-1");
        let json: serde_json::Value = serde_json::from_str(&body(request).await).unwrap();
        assert_eq!(
            (json["event"].as_str(), json["run"]["id"].as_str()),
            (Some("failed"), Some("run-1"))
        );

        let request =
            webhook("https://example.com/hook", WebhookFormat::Slack).request(&failed).unwrap();
        let json: serde_json::Value = serde_json::from_str(&body(request).await).unwrap();
        assert_eq!(
            json["text"],
            ":red_circle: *[db1] &lt;backup&gt; failed: völ2*\ntext &amp; more\n"
        );

        let request =
            webhook("https://example.com/topic", WebhookFormat::Ntfy).request(&failed).unwrap();
        let title = request.headers()["title"].to_str().unwrap().to_owned();
        assert!(title.contains("=?utf-8?b?") && title.starts_with("[db1]"), "{title}");
        assert_eq!(
            (&request.headers()["priority"], &request.headers()["tags"]),
            (&"4".parse().unwrap(), &"warning".parse().unwrap())
        );
        assert_eq!(body(request).await, "text & more\n");
    }

    #[test]
    fn pings_say_how_the_run_went_and_which_it_was() {
        let ping = |event| ping("https://hc.example.com/uuid/?create=1", &message(event));
        let start = ping(Event::Started);
        let rid = start.split('&').next_back().unwrap().to_owned();
        let groups: Vec<usize> = rid.trim_start_matches("rid=").split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{rid}");
        for (event, signal) in [
            (Event::Started, "/start"),
            (Event::Succeeded, ""),
            (Event::Failed, "/fail"),
            (Event::Test, "/log"),
        ] {
            assert_eq!(ping(event), format!("https://hc.example.com/uuid{signal}?create=1&{rid}"));
        }
    }

    #[test]
    fn the_address_is_never_shown() {
        let hook =
            webhook("https://example.com/services/T000SECRET?key=HIDDEN99", WebhookFormat::Slack);
        assert_eq!(hook.description(), "https://example.com (Slack's form)");
        assert!(!format!("{hook:?}").contains("SECRET"));
        assert!(
            hook.would_tell("not found: /services/T000SECRET")
                && hook.would_tell("token-1")
                && !hook.would_tell("gone")
        );
        let wrong = config::Webhook {
            url: Some(Secret::new("https://user:hunter2@example.com/x")),
            format: WebhookFormat::Json,
            on: config::NotifyOn::Failure,
            token: None,
        };
        let error = Webhook::new(&wrong).unwrap_err();
        assert!(error.exit_code() == 2 && !format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
