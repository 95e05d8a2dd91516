//! The errors for failed requests to the service, with hints.

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};

use crate::error::{Error, ErrorKind};

/// The codes for what the key has no right to.
const DENIED: [&str; 3] = ["AccessDenied", "Forbidden", "AllAccessDisabled"];

/// This crate's error for the S3 client's. `what` says what could not be done, and where.
pub(super) fn failure<E>(what: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Some(service) = error.as_service_error() else {
        let (kind, hint) = without_answer(error);
        return Error::new(kind, format!("{what}: {}", cause(error))).with_hint(hint);
    };
    let status = status(error);
    let code = service.code().unwrap_or(match status {
        Some(404) => "NotFound",
        Some(403) => "AccessDenied",
        Some(301) => "PermanentRedirect",
        _ => "an error without a code",
    });
    let message = service.message().map(|message| format!(": {message}")).unwrap_or_default();
    let (kind, hint) = by_code(code, status);
    Error::new(kind, format!("{what}: {code}{message}")).with_hint(hint)
}

/// The error for an object that can't be removed. `place` says where it is.
pub(super) fn not_removed<E>(name: &str, place: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let failed = failure(&format!("cannot remove \"{name}\" at {place}"), error);
    if !is_denied(error) {
        return failed;
    }
    let message = format!("this key may not delete (it lacks s3:DeleteObject): {}", failed.message);
    Error::new(ErrorKind::Denied, message).with_hint(
        "prune on a host whose key may delete, with \"prune --all-hosts\": docs/ransomware.md",
    )
}

/// Whether the key lacks the right.
fn is_denied<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    match error.as_service_error().and_then(ProvideErrorMetadata::code) {
        Some(code) => DENIED.contains(&code),
        None => status(error) == Some(403),
    }
}

/// Whether a request may have been refused because of the lock that it asked for.
pub(super) fn may_be_for_the_lock<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
) -> bool {
    // Amazon's code for a bucket without Object Lock is `InvalidRequest`.
    error.code() == Some("InvalidRequest") || is_denied(error)
}

/// The HTTP status of the service's answer.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|answer| answer.status().as_u16())
}

/// The kind and the hint for a request without an answer.
fn without_answer<E>(error: &SdkError<E, HttpResponse>) -> (ErrorKind, &'static str)
where
    E: std::error::Error + 'static,
{
    match error {
        SdkError::TimeoutError(_) => (ErrorKind::Io, "look at the network and BKUP_S3_ENDPOINT"),
        _ if lacks_credentials(error) => (
            ErrorKind::Configuration,
            "set BKUP_S3_ACCESS_KEY_ID and BKUP_S3_SECRET_ACCESS_KEY, or what AWS's own tools take a key from",
        ),
        SdkError::ResponseError(_) => {
            (ErrorKind::Protocol, "does BKUP_S3_ENDPOINT name an S3 service?")
        }
        _ => (
            ErrorKind::Io,
            "look at the network, at BKUP_S3_ENDPOINT and at the region in BKUP_BACKUP_URL",
        ),
    }
}

fn lacks_credentials<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: std::error::Error + 'static,
{
    let words = DisplayErrorContext(error).to_string();
    words.contains("CredentialsNotLoaded") || words.contains("credentials")
}

/// The kind and the hint for the error code in the service's answer.
fn by_code(code: &str, status: Option<u16>) -> (ErrorKind, &'static str) {
    match code {
        "NoSuchKey" | "NoSuchVersion" | "NotFound" => (ErrorKind::NotFound, "it is not there"),
        "NoSuchBucket" => (ErrorKind::Io, "make the bucket first, or correct BKUP_BACKUP_URL"),
        _ if DENIED.contains(&code) => (
            ErrorKind::Io,
            "look at the key (BKUP_S3_ACCESS_KEY_ID) and at what it may do: docs/s3.md has the policy",
        ),
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken" => (
            ErrorKind::Io,
            "look at BKUP_S3_ACCESS_KEY_ID and BKUP_S3_SECRET_ACCESS_KEY, or AWS's own settings",
        ),
        "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => {
            (ErrorKind::Io, "the bucket is in another region: correct the one in BKUP_BACKUP_URL")
        }
        "RequestTimeTooSkewed" => (ErrorKind::Io, "set this machine's clock"),
        "InvalidRange" => (
            ErrorKind::Repository,
            "the repository has lost something: back up again, which stores what the volumes still have",
        ),
        _ if status.is_some_and(|status| status >= 500) => (ErrorKind::Io, "try again later"),
        _ => (ErrorKind::Io, "look at what the service says of it"),
    }
}

/// The innermost words of an error. The outer words say nothing.
pub(super) fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
