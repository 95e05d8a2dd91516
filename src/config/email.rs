//! The settings of e-mail.

use super::{
    choice::{EmailTransport, NotifyOn, SmtpSecurity},
    secret::Secret,
    settings::{
        BKUP_EMAIL_ENABLED, BKUP_EMAIL_FROM, BKUP_EMAIL_ON, BKUP_EMAIL_SES_AWS_ACCESS_KEY_ID,
        BKUP_EMAIL_SES_AWS_SECRET_ACCESS_KEY, BKUP_EMAIL_SES_ENDPOINT, BKUP_EMAIL_SES_REGION,
        BKUP_EMAIL_SMTP_HOST, BKUP_EMAIL_SMTP_PASS, BKUP_EMAIL_SMTP_PORT, BKUP_EMAIL_SMTP_SECURITY,
        BKUP_EMAIL_SMTP_USER, BKUP_EMAIL_TO, BKUP_EMAIL_TRANSPORT,
    },
    values::Values,
};
use crate::error::Result;

/// The port for TLS from the first byte on (RFC 8314).
const SMTPS_PORT: u16 = 465;

#[derive(Debug, Clone)]
pub(crate) struct Email {
    pub(crate) enabled: bool,
    pub(crate) on: NotifyOn,
    pub(crate) transport: EmailTransport,
    pub(crate) from: String,
    /// At least one address.
    pub(crate) to: Vec<String>,
    pub(crate) smtp_port: u16,
    pub(crate) smtp_security: SmtpSecurity,
    pub(crate) smtp_host: String,
    pub(crate) smtp_user: Option<String>,
    pub(crate) smtp_password: Option<Secret>,
    pub(crate) ses_access_key_id: Option<Secret>,
    pub(crate) ses_secret_access_key: Option<Secret>,
    /// `None`: the region of the usual AWS settings.
    pub(crate) ses_region: Option<String>,
    /// `None`: Amazon's own address.
    pub(crate) ses_endpoint: Option<String>,
}

impl Email {
    pub(super) fn read(values: &Values) -> Result<Self> {
        let smtp_port = values.require(&BKUP_EMAIL_SMTP_PORT)?;
        let by_port =
            if smtp_port == SMTPS_PORT { SmtpSecurity::Tls } else { SmtpSecurity::StartTls };
        Ok(Self {
            enabled: values.require(&BKUP_EMAIL_ENABLED)?,
            on: values.require(&BKUP_EMAIL_ON)?,
            transport: values.require(&BKUP_EMAIL_TRANSPORT)?,
            from: values.require(&BKUP_EMAIL_FROM)?,
            to: values.require(&BKUP_EMAIL_TO)?,
            smtp_port,
            smtp_security: values.require(&BKUP_EMAIL_SMTP_SECURITY)?.unwrap_or(by_port),
            smtp_host: values.require(&BKUP_EMAIL_SMTP_HOST)?,
            smtp_user: values.read(&BKUP_EMAIL_SMTP_USER)?,
            smtp_password: values.read(&BKUP_EMAIL_SMTP_PASS)?,
            ses_access_key_id: values.read(&BKUP_EMAIL_SES_AWS_ACCESS_KEY_ID)?,
            ses_secret_access_key: values.read(&BKUP_EMAIL_SES_AWS_SECRET_ACCESS_KEY)?,
            ses_region: values.read(&BKUP_EMAIL_SES_REGION)?,
            ses_endpoint: values.read(&BKUP_EMAIL_SES_ENDPOINT)?,
        })
    }
}
