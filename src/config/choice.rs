//! Settings that take one of a few words. Each enum lists its words once; the parser, the hint and
//! the help are made from the list.

use crate::{
    engine::HoldPolicy,
    webhook_formats::{self, Format},
};

/// A value that users give as one of a few words.
pub(crate) trait Choice: Copy + Sized + 'static {
    /// The words with their values, in the order of hints and help.
    const WORDS: &'static [(&'static str, Self)];

    /// The value of a word in upper or lower case.
    fn parse(text: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text))
            .map(|(_, value)| *value)
    }
}

/// The words of a choice.
pub(super) fn words<T: Choice>() -> Vec<&'static str> {
    T::WORDS.iter().map(|(word, _)| *word).collect()
}

/// `a, b or c`.
pub(super) fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Choice for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

/// How a syslog server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyslogProtocol {
    /// One datagram for each message (RFC 5426).
    Udp,
    /// Octet-counted frames (RFC 6587).
    Tcp,
    /// The local socket, `/dev/log`.
    Unix,
}

impl Choice for SyslogProtocol {
    const WORDS: &'static [(&'static str, Self)] =
        &[("udp", Self::Udp), ("tcp", Self::Tcp), ("unix", Self::Unix)];
}

/// How a connection to an SMTP server is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SmtpSecurity {
    /// TLS from the first byte on.
    Tls,
    /// Plain until STARTTLS, which must succeed.
    StartTls,
    /// Plain text, which must be asked for.
    None,
}

/// `None`: the port decides.
impl Choice for Option<SmtpSecurity> {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", None),
        ("tls", Some(SmtpSecurity::Tls)),
        ("starttls", Some(SmtpSecurity::StartTls)),
        ("none", Some(SmtpSecurity::None)),
    ];
}

/// Which messages a channel gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotifyOn {
    /// Failures, and their end.
    Failure,
    /// Every run besides.
    Always,
}

impl Choice for NotifyOn {
    const WORDS: &'static [(&'static str, Self)] =
        &[("failure", Self::Failure), ("always", Self::Always)];
}

/// What is done with a volume whose containers can't be held still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unheld {
    /// Its backup fails.
    Fail,
    /// Its files are read as they are.
    Live,
}

impl Choice for Unheld {
    const WORDS: &'static [(&'static str, Self)] = &[("fail", Self::Fail), ("live", Self::Live)];
}

impl Choice for HoldPolicy {
    const WORDS: &'static [(&'static str, Self)] =
        &[("pause", Self::Pause), ("stop", Self::Stop), ("none", Self::None)];
}

/// How e-mail is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EmailTransport {
    /// Through an SMTP server.
    Smtp,
    /// Through Amazon SES.
    Ses,
}

impl Choice for EmailTransport {
    const WORDS: &'static [(&'static str, Self)] = &[("smtp", Self::Smtp), ("ses", Self::Ses)];
}

/// The format of the webhook's body.
pub(crate) type WebhookFormat = &'static Format;

impl Choice for WebhookFormat {
    const WORDS: &'static [(&'static str, Self)] = webhook_formats::WORDS;
}
