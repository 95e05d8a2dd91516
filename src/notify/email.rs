//! E-mail: addresses, and the message in the form of RFC 5322, with plain text and HTML.

use lettre::{
    Address,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};

use async_trait::async_trait;

use super::{
    channel::{Channel, ChannelKind, Refusal},
    message::Message,
    ses::Ses,
    smtp::Smtp,
};
use crate::{
    config::{Config, EmailTransport},
    error::{Error, Result},
};

/// The channel for e-mail.
#[derive(Debug)]
pub(super) struct Email {
    from: Mailbox,
    to: Vec<Mailbox>,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Smtp(Smtp),
    Ses(Ses),
}

impl Email {
    /// Checks the settings, without sending anything. `None` if e-mail is off.
    ///
    /// # Errors
    /// A configuration error that names the variable.
    pub(super) fn new(config: &Config) -> Result<Option<Self>> {
        let email = &config.email;
        if !email.enabled {
            return Ok(None);
        }
        let from = mailbox(&email.from).map_err(|error| wrong("BKUP_EMAIL_FROM", &error))?;
        let to =
            email.to.iter().map(|to| mailbox(to).map_err(|error| wrong("BKUP_EMAIL_TO", &error)));
        let to = to.collect::<Result<Vec<_>>>()?;
        transport_is_clear(config)?;
        let transport = match email.transport {
            EmailTransport::Smtp => Transport::Smtp(Smtp::new(email)?),
            EmailTransport::Ses => Transport::Ses(Ses::new(email)?),
        };
        Ok(Some(Self { from, to, transport }))
    }
}

#[async_trait]
impl Channel for Email {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Email
    }

    fn description(&self) -> String {
        let transport = match &self.transport {
            Transport::Smtp(smtp) => smtp.description(),
            Transport::Ses(ses) => ses.description(),
        };
        let to: Vec<String> = self.to.iter().map(|to| to.email.to_string()).collect();
        format!("to {} through {transport}", to.join(", "))
    }

    async fn send(&self, id: &str, message: &Message) -> Result<Vec<Refusal>> {
        let to = match &message.to {
            None => self.to.clone(),
            Some(to) => to.iter().map(|to| mailbox(to)).collect::<Result<_>>()?,
        };
        let bytes = formatted(id, message, &self.from, &to)?;
        let addresses: Vec<Address> = to.into_iter().map(|to| to.email).collect();
        match &self.transport {
            Transport::Smtp(smtp) => smtp.send(&self.from.email, &addresses, &bytes).await,
            Transport::Ses(ses) => ses.send(&self.from, &addresses, &bytes).await,
        }
    }
}

/// An address, `alert@newco.co` or `Alerts <alert@newco.co>`.
///
/// # Errors
/// A usage error if the text is not an address.
pub(super) fn mailbox(text: &str) -> Result<Mailbox> {
    text.trim().parse().map_err(|error| {
        Error::usage(format!(
            "\"{}\" is not an e-mail address: {error}",
            crate::text::escape(text).trim()
        ))
        .with_hint("write name@example.com or Name <name@example.com>")
    })
}

fn wrong(name: &str, error: &Error) -> Error {
    Error { hint: error.hint.clone(), ..Error::configuration(format!("{name}: {}", error.message)) }
}

/// Refuses settings of Amazon SES without `BKUP_EMAIL_TRANSPORT`: e-mail would go through SMTP,
/// where an alert may reach no one.
fn transport_is_clear(config: &Config) -> Result<()> {
    const SES: [&str; 4] = [
        "BKUP_EMAIL_SES_AWS_ACCESS_KEY_ID",
        "BKUP_EMAIL_SES_AWS_SECRET_ACCESS_KEY",
        "BKUP_EMAIL_SES_REGION",
        "BKUP_EMAIL_SES_ENDPOINT",
    ];
    if config.is_given("BKUP_EMAIL_TRANSPORT") {
        return Ok(());
    }
    let Some(name) = SES.into_iter().find(|name| config.is_given(name)) else { return Ok(()) };
    Err(Error::configuration(format!(
        "{name} is set, but BKUP_EMAIL_TRANSPORT is not: e-mail would go through SMTP"
    ))
    .with_hint("set BKUP_EMAIL_TRANSPORT to ses or to smtp"))
}

/// The message as it is transmitted. Its id is the same in each attempt, so that a mail program can
/// recognise a repetition.
fn formatted(id: &str, message: &Message, from: &Mailbox, to: &[Mailbox]) -> Result<Vec<u8>> {
    let domain: String = message
        .host
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || ".-".contains(*letter))
        .collect();
    let domain = if domain.is_empty() { "localhost".to_owned() } else { domain };
    let header = |name, value: &str| {
        HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
    };
    let mut builder = lettre::Message::builder()
        .from(from.clone())
        .subject(&message.subject)
        .date(message.time.into())
        .message_id(Some(format!("<{id}@{domain}>")))
        // These headers suppress out-of-office replies (RFC 3834, and Exchange's own).
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Auto-Response-Suppress", "All"));
    for to in to {
        builder = builder.to(to.clone());
    }
    builder
        .multipart(MultiPart::alternative_plain_html(message.text.clone(), message.html.clone()))
        .map(|message| message.formatted())
        .map_err(|error| Error::internal(format!("the e-mail can't be written: {error}")))
}

#[cfg(test)]
mod tests {
    use super::{super::message::Event, *};

    #[test]
    fn an_email_is_for_machines_what_it_must_be_and_takes_no_headers_from_its_texts() {
        let message = Message {
            event: Event::Failed,
            subject: "[db1] bäckup failed\r\nBcc: victim@example.com".into(),
            text: "tëxt\n.\nQUIT\n".into(),
            html: "<p>x</p>".into(),
            host: "db1\r\nX: y".into(),
            time: "2026-11-23T07:42:00Z".parse().unwrap(),
            run: None,
            run_id: None,
            body: None,
            to: None,
            problem: None,
        };
        let to = [mailbox("a@example.com").unwrap(), mailbox("Bea <b@example.com>").unwrap()];
        let bytes =
            formatted("id-1", &message, &mailbox("Backups <c@example.com>").unwrap(), &to).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.is_ascii());
        let head = text.split("\r\n\r\n").next().unwrap();
        for line in [
            "Message-ID: <id-1@db1Xy>",
            "Date: Mon, 23 Nov 2026 07:42:00 +0000",
            "Auto-Submitted: auto-generated",
            "To: a@example.com, Bea <b@example.com>",
            "MIME-Version: 1.0",
        ] {
            assert!(head.contains(line), "no {line:?} in {head}");
        }
        assert!(!head.contains("\r\nBcc:") && !head.contains("\r\nX: y"), "{head}");
        assert!(
            text.contains("multipart/alternative")
                && text.contains("text/plain")
                && text.contains("text/html")
        );
    }

    #[test]
    fn what_is_no_address_is_said() {
        for text in [
            "nobody",
            "a b@example.com",
            "a@",
            "a@example.com\r\nRCPT TO:<b@example.com>",
            "@example.com",
        ] {
            let error = mailbox(text).unwrap_err();
            assert!(
                error.message.contains("is not an e-mail address") && !error.message.contains('\n'),
                "{error}"
            );
        }
    }
}
