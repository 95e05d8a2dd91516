//! The settings of the webhook.

use super::{
    choice::{NotifyOn, WebhookFormat},
    secret::Secret,
    settings::{BKUP_WEBHOOK_FORMAT, BKUP_WEBHOOK_ON, BKUP_WEBHOOK_TOKEN, BKUP_WEBHOOK_URL},
    values::Values,
};
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    /// `None`: no webhook is set.
    pub(crate) url: Option<Secret>,
    pub(crate) format: WebhookFormat,
    pub(crate) on: NotifyOn,
    /// Sent to the service as a bearer token.
    pub(crate) token: Option<Secret>,
}

impl Webhook {
    pub(super) fn read(values: &Values) -> Result<Self> {
        Ok(Self {
            url: url(values)?,
            format: values.require(&BKUP_WEBHOOK_FORMAT)?,
            on: values.require(&BKUP_WEBHOOK_ON)?,
            token: values.read(&BKUP_WEBHOOK_TOKEN)?,
        })
    }
}

/// Reads the address. It is a secret, so an error does not show it.
fn url(values: &Values) -> Result<Option<Secret>> {
    let Some(url) = values.read(&BKUP_WEBHOOK_URL)? else { return Ok(None) };
    let text = url.expose();
    let is_address = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .is_some_and(|rest| {
            !rest.is_empty() && !rest.starts_with(['/', ':']) && !rest.contains(char::is_whitespace)
        });
    if is_address {
        return Ok(Some(url));
    }
    Err(Error::configuration("BKUP_WEBHOOK_URL is not a web address").with_hint(
        "write https://host/path, or http://host:port/path; it is not shown here, because it may hold a token",
    ))
}
