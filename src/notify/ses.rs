//! E-mail through Amazon SES (API version 2).

use std::time::Duration;

use aws_sdk_sesv2::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::send_email::SendEmailError,
    primitives::Blob,
    types::{Destination, EmailContent, RawMessage},
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use lettre::{Address, message::Mailbox};

use super::{channel::Refusal, texts};
use crate::{
    config::{self, Secret},
    error::{Error, ErrorKind, Result},
};

/// The limit for Amazon to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The limit of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The transport through Amazon SES.
#[derive(Debug)]
pub(super) struct Ses {
    /// The access key's id and the secret key; `None`: the usual AWS settings apply.
    key: Option<(Secret, Secret)>,
    region: Option<String>,
    endpoint: Option<String>,
}

impl Ses {
    pub(crate) fn new(email: &config::Email) -> Result<Self> {
        const ID: &str = "BKUP_EMAIL_SES_AWS_ACCESS_KEY_ID";
        const KEY: &str = "BKUP_EMAIL_SES_AWS_SECRET_ACCESS_KEY";
        let half = |given, missing| {
            Error::configuration(format!("{given} is set, but {missing} is not"))
                .with_hint("set both, or neither to take the key from the usual AWS settings")
        };
        let key = match (&email.ses_access_key_id, &email.ses_secret_access_key) {
            (Some(id), Some(key)) => Some((id.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => return Err(half(ID, KEY)),
            (None, Some(_)) => return Err(half(KEY, ID)),
        };
        Ok(Self { key, region: email.ses_region.clone(), endpoint: email.ses_endpoint.clone() })
    }

    pub(crate) fn description(&self) -> String {
        match (&self.endpoint, &self.region) {
            (Some(endpoint), _) => format!("Amazon SES at {endpoint}"),
            (None, Some(region)) => format!("Amazon SES in {region}"),
            (None, None) => "Amazon SES in the usual AWS settings' region".into(),
        }
    }

    /// Sends a message, and returns the addresses that were refused.
    ///
    /// # Errors
    /// If no address got the message.
    pub(crate) async fn send(
        &self,
        from: &Mailbox,
        to: &[Address],
        message: &[u8],
    ) -> Result<Vec<Refusal>> {
        let client = self.client().await?;
        let all: Vec<String> = to.iter().map(Address::to_string).collect();
        let refused = match send_to(&client, from, &all, message).await {
            Ok(()) => return Ok(Vec::new()),
            // SES accepts all addresses or none. An address that it refuses must not keep the
            // message from the others, so each gets a request of its own.
            Err(error) if all.len() > 1 && is_of_address(&error) => {
                let mut refused = Vec::new();
                for address in &all {
                    if let Err(error) =
                        send_to(&client, from, std::slice::from_ref(address), message).await
                    {
                        refused.push((address.clone(), self.explain(&error)));
                    }
                }
                refused
            }
            Err(error) => return Err(self.explain(&error)),
        };
        if refused.len() < all.len() {
            return Ok(refused);
        }
        Err(refused
            .into_iter()
            .next()
            .map_or_else(|| Error::internal("no address was tried"), |(_, error)| error))
    }

    async fn client(&self) -> Result<Client> {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_timeout(REQUEST_TIMEOUT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            // The outbox tries again, for a day.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some((id, key)) = &self.key {
            loader = loader.credentials_provider(Credentials::new(
                id.expose(),
                key.expose(),
                None,
                None,
                "BKUP_EMAIL_SES",
            ));
        }
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let config = loader.load().await;
        if config.region().is_none() {
            return Err(Error::configuration("no region is set for Amazon SES")
                .with_hint("set BKUP_EMAIL_SES_REGION, such as eu-west-1, or AWS_REGION"));
        }
        Ok(Client::new(&config))
    }

    fn explain(&self, error: &SdkError<SendEmailError>) -> Error {
        let what = self.description();
        let Some(service) = error.as_service_error() else {
            let (kind, hint) = match error {
                SdkError::TimeoutError(_) => {
                    (ErrorKind::Timeout, "look at the network and BKUP_EMAIL_SES_ENDPOINT")
                }
                _ => (
                    ErrorKind::Unreachable,
                    "look at the network, BKUP_EMAIL_SES_REGION, BKUP_EMAIL_SES_ENDPOINT and the AWS keys",
                ),
            };
            return Error::new(kind, format!("{what}: {}", texts::chain(error))).with_hint(hint);
        };
        let code = service.code().unwrap_or("an error without a code");
        let message = service.message().unwrap_or("without words");
        let hint = match code {
            "MessageRejected" => {
                "look at what SES says of BKUP_EMAIL_FROM and BKUP_EMAIL_TO: are they verified?"
            }
            "MailFromDomainNotVerifiedException" => "verify the domain of BKUP_EMAIL_FROM in SES",
            _ => "look at the AWS keys, and at what they may do (ses:SendRawEmail)",
        };
        Error::new(ErrorKind::Io, format!("{what}: {code}: {message}")).with_hint(hint)
    }
}

fn is_of_address(error: &SdkError<SendEmailError>) -> bool {
    let service = error.as_service_error();
    service.is_some_and(|error| error.is_message_rejected() || error.is_bad_request_exception())
}

async fn send_to(
    client: &Client,
    from: &Mailbox,
    to: &[String],
    message: &[u8],
) -> std::result::Result<(), SdkError<SendEmailError>> {
    let raw = RawMessage::builder()
        .data(Blob::new(message))
        .build()
        .map_err(SdkError::construction_failure)?;
    client
        .send_email()
        .from_email_address(from.email.to_string())
        .destination(Destination::builder().set_to_addresses(Some(to.to_vec())).build())
        .content(EmailContent::builder().raw(raw).build())
        .send()
        .await
        .map(drop)
}
