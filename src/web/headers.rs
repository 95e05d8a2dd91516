//! The headers of every answer, which tell a browser what it may do with the answer.
//!
//! `Strict-Transport-Security` is left out, even under TLS: the header would bind every port of the
//! host name, for months after the certificate is gone. A reverse proxy that owns the name can add
//! the header.

use hyper::{
    HeaderMap,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, Entry, HeaderName, HeaderValue, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
};

/// A header is added unless the route has set one of that name.
const HEADERS: [(HeaderName, &str); 6] = [
    // Only the program's own files and server: no inline script, no frame, no form or base that
    // leads elsewhere.
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    // Answers about volumes and runs stay out of caches. The dashboard's files set their own
    // header.
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Adds the headers to an answer. The server calls this for every answer.
pub(crate) fn secure(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        if let Entry::Vacant(free) = headers.entry(name) {
            free.insert(HeaderValue::from_static(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_secured_and_what_a_route_has_set_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        secure(&mut headers);
        assert_eq!(headers[CACHE_CONTROL], "max-age=60");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; ")
                && !policy.contains("unsafe")
                && !policy.contains("  ")
        );
        assert_eq!(headers.len(), HEADERS.len());
    }
}
