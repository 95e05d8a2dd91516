//! E-mail through an SMTP server. lettre has the commands of the conversation; this file orders
//! them, so that one refused address does not keep the message from the others.

use std::{net::IpAddr, time::Duration};

use lettre::{
    Address,
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, MailParameter},
    },
};

use super::{channel::Refusal, texts};
use crate::{
    config::{self, SmtpSecurity},
    error::{Error, ErrorKind, Result},
};

/// The limit for the server to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The limit for the server to answer QUIT. It is short: the server has the message already.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The transport through an SMTP server.
#[derive(Debug)]
pub(super) struct Smtp {
    host: String,
    port: u16,
    security: SmtpSecurity,
    user: Option<(String, config::Secret)>,
}

type SmtpError = lettre::transport::smtp::Error;

impl Smtp {
    pub(crate) fn new(email: &config::Email) -> Result<Self> {
        let user = match (&email.smtp_user, &email.smtp_password) {
            (Some(user), Some(password)) => Some((user.clone(), password.clone())),
            (None, None) => None,
            (Some(_), None) => {
                return Err(Error::configuration(
                    "BKUP_EMAIL_SMTP_USER is set, but BKUP_EMAIL_SMTP_PASS is not",
                )
                .with_hint("set both, or neither for a server that wants no password"));
            }
            (None, Some(_)) => {
                return Err(Error::configuration(
                    "BKUP_EMAIL_SMTP_PASS is set, but BKUP_EMAIL_SMTP_USER is not",
                )
                .with_hint("set both, or neither for a server that wants no password"));
            }
        };
        let host = email.smtp_host.as_str();
        let is_here = host == "localhost"
            || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if email.smtp_security == SmtpSecurity::None && user.is_some() && !is_here {
            log::warn!(
                "the password for the SMTP server {host} is sent in plain text (BKUP_EMAIL_SMTP_SECURITY is none)"
            );
        }
        Ok(Self {
            host: email.smtp_host.clone(),
            port: email.smtp_port,
            security: email.smtp_security,
            user,
        })
    }

    pub(crate) fn description(&self) -> String {
        let security = match self.security {
            SmtpSecurity::Tls => "TLS",
            SmtpSecurity::StartTls => "STARTTLS",
            SmtpSecurity::None => "plain text",
        };
        format!("{}:{} ({security})", self.host, self.port)
    }

    /// Sends a message, and returns the addresses that were refused.
    ///
    /// # Errors
    /// If no address got the message.
    pub(crate) async fn send(
        &self,
        from: &Address,
        to: &[Address],
        message: &[u8],
    ) -> Result<Vec<Refusal>> {
        let mut connection = self.connect().await.map_err(|error| self.explain(&error))?;
        let sent = self.converse(&mut connection, from, to, message).await;
        _ = tokio::time::timeout(QUIT_TIMEOUT, connection.abort()).await;
        sent
    }

    async fn connect(&self) -> std::result::Result<AsyncSmtpConnection, SmtpError> {
        let tls = || TlsParameters::new_rustls(self.host.trim_matches(['[', ']']).to_owned());
        let name = ClientId::default();
        let wrapper = (self.security == SmtpSecurity::Tls).then(tls).transpose()?;
        let address = (self.host.trim_matches(['[', ']']), self.port);
        let mut connection = AsyncSmtpConnection::connect_tokio1(
            address,
            Some(CONNECT_TIMEOUT),
            &name,
            wrapper,
            None,
        )
        .await?;
        if self.security == SmtpSecurity::StartTls {
            connection.starttls(tls()?, &name).await?;
        }
        if let Some((user, password)) = &self.user {
            let credentials = Credentials::new(user.clone(), password.expose().to_owned());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
        }
        Ok(connection)
    }

    async fn converse(
        &self,
        connection: &mut AsyncSmtpConnection,
        from: &Address,
        to: &[Address],
        message: &[u8],
    ) -> Result<Vec<Refusal>> {
        let ascii =
            std::iter::once(from).chain(to).all(|address| AsRef::<str>::as_ref(address).is_ascii());
        let parameters = if ascii { Vec::new() } else { vec![MailParameter::SmtpUtfEight] };
        let explain = |error: SmtpError| self.explain(&error);
        connection.command(Mail::new(Some(from.clone()), parameters)).await.map_err(explain)?;
        let mut refused = Vec::new();
        for address in to {
            match connection.command(Rcpt::new(address.clone(), Vec::new())).await {
                Ok(_) => {}
                Err(error) if error.status().is_some() => refused.push((
                    address.to_string(),
                    Error {
                        message: format!("{} for {address}", self.explain(&error).message),
                        ..self.explain(&error)
                    },
                )),
                Err(error) => return Err(self.explain(&error)),
            }
        }
        if refused.len() == to.len() {
            let first = refused.into_iter().next().map(|(_, error)| error);
            return Err(first.unwrap_or_else(|| Error::internal("an e-mail without addresses")));
        }
        connection.command(Data).await.map_err(explain)?;
        connection.message(message).await.map_err(explain)?;
        Ok(refused)
    }

    /// The error for people: what went wrong, where, and what to do. Its kind is
    /// [`ErrorKind::Unreachable`] or `Timeout` if the next message would fail too.
    fn explain(&self, error: &SmtpError) -> Error {
        let server = format!("{}:{}", self.host, self.port);
        let words = texts::chain(error);
        let (kind, hint) = match error.status().map(|code| code.to_string()) {
            Some(code) if matches!(code.as_str(), "530" | "534" | "535" | "538") => {
                (ErrorKind::Configuration, "look at BKUP_EMAIL_SMTP_USER and BKUP_EMAIL_SMTP_PASS")
            }
            Some(code) if code.starts_with('4') => (ErrorKind::Io, "the server may take it later"),
            Some(_) => (
                ErrorKind::Io,
                "the server's words say why; look at BKUP_EMAIL_FROM and BKUP_EMAIL_TO",
            ),
            None if words.contains("UnknownIssuer") || words.contains("certificate") => (
                ErrorKind::Unreachable,
                "the server's certificate is not trusted for this name: look at BKUP_EMAIL_SMTP_HOST and the system's certificates, or let SSL_CERT_FILE name a file with its authority's",
            ),
            None if words.contains("STARTTLS") => (
                ErrorKind::Unreachable,
                "set BKUP_EMAIL_SMTP_SECURITY to tls where the server wants TLS at once, or to none where plain text will do",
            ),
            None if words.contains("corrupt message") || words.contains("InvalidContentType") => (
                ErrorKind::Unreachable,
                "the server does not begin with TLS: set BKUP_EMAIL_SMTP_SECURITY to starttls",
            ),
            None if error.is_timeout() => {
                (ErrorKind::Timeout, "look at BKUP_EMAIL_SMTP_HOST and BKUP_EMAIL_SMTP_PORT")
            }
            None if words.contains("authentication mechanism") => (
                ErrorKind::Unreachable,
                "the server takes no password here: unset BKUP_EMAIL_SMTP_USER, or use another port or security",
            ),
            None => {
                (ErrorKind::Unreachable, "look at BKUP_EMAIL_SMTP_HOST and BKUP_EMAIL_SMTP_PORT")
            }
        };
        Error::new(kind, format!("the SMTP server {server}: {words}")).with_hint(hint)
    }
}
