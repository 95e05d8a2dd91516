//! The dashboard's session: a signed cookie with a role and an expiry time. The server stores
//! nothing.
//!
//! Browsers keep one set of cookies for all ports of a host. So the cookie's name contains what
//! differs between instances on one host: the port that the browser sees, and a hash of the data
//! folder. (In containers, the folder and the port inside are often the same.) Over TLS, including
//! the TLS of a proxy, the name begins with `__Host-`: browsers neither send such a cookie over
//! plain HTTP nor accept it from there.
//!
//! The value is `v1.EXPIRES.ROLE.MAC`: seconds since 1970, `full` or `read`, and an HMAC-SHA-256 of
//! the text before it, keyed by the token of that role. So changing a token ends its sessions, and
//! a restart ends none.

use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::{
    HeaderMap,
    header::{COOKIE, HeaderValue},
};
use sha2::{Digest as _, Sha256};

use super::{role::Role, tokens::Tokens};
use crate::clock::CLOCK_TOLERANCE;

/// How long a session lasts: 30 days.
const SESSION_SECONDS: i64 = 30 * 86_400;
/// Part of the signed text: a MAC for another purpose with the same key is no session.
const PURPOSE: &str = "convoy-backups session ";

/// The prefix of the name of a cookie for TLS only.
const SECURE: &str = "__Host-";

/// The cookie's name without [`SECURE`], for an instance with this data folder that a browser
/// reaches at this port (`None`: the scheme's default port).
pub(super) fn name(data_dir: &Path, port: Option<u16>) -> String {
    let folder = hex(&Sha256::digest(data_dir.as_os_str().as_encoded_bytes())[..4]);
    let port = port.map(|port| format!("_{port}")).unwrap_or_default();
    format!("convoy_backups_{folder}{port}")
}

/// The role of the first valid session of this name among the request's cookies. A cookie for TLS
/// comes before the others. With `is_tls`, only a cookie for TLS counts.
pub(super) fn find(
    headers: &HeaderMap,
    name: &str,
    tokens: &Tokens,
    now: i64,
    is_tls: bool,
) -> Option<Role> {
    let named = |name: &str| {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut pairs = cookies
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        pairs.find_map(|(given, value)| role(value, tokens, now).filter(|_| given == name))
    };
    named(&format!("{SECURE}{name}")).or_else(|| if is_tls { None } else { named(name) })
}

/// The `Set-Cookie` of a new session.
pub(super) fn cookie(
    name: &str,
    tokens: &Tokens,
    role: Role,
    now: i64,
    secure: bool,
) -> HeaderValue {
    let claims = format!("v1.{}.{}", now + SESSION_SECONDS, role.as_str());
    let value = mac(tokens, role, &claims)
        .map(|mac| format!("{claims}.{}", hex(&mac.finalize().into_bytes())));
    set(name, &value.unwrap_or_default(), SESSION_SECONDS, secure)
}

/// The `Set-Cookie`s that end a session, begun with TLS or without.
pub(super) fn cleared(name: &str) -> [HeaderValue; 2] {
    [false, true].map(|secure| set(name, "", 0, secure))
}

/// The `Set-Cookie` that ends a session that was begun without TLS.
pub(super) fn cleared_plain(name: &str) -> HeaderValue {
    set(name, "", 0, false)
}

fn set(name: &str, value: &str, seconds: i64, secure: bool) -> HeaderValue {
    let (prefix, secure) = if secure { (SECURE, "; Secure") } else { ("", "") };
    let cookie = format!(
        "{prefix}{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    // The value has only digits, letters, dots and underscores, so this does not fail.
    HeaderValue::from_str(&cookie).unwrap_or(HeaderValue::from_static(""))
}

fn role(value: &str, tokens: &Tokens, now: i64) -> Option<Role> {
    let (claims, given) = value.rsplit_once('.')?;
    let mut parts = claims.split('.');
    let (version, expires, role) = (parts.next()?, parts.next()?, parts.next()?);
    let role = [Role::Full, Role::Read].into_iter().find(|known| known.as_str() == role)?;
    // The MAC comes first: only a cookie that this server signed is read further.
    mac(tokens, role, claims)?.verify_slice(&unhex(given)?).ok()?;
    let expires: i64 = expires.parse().ok()?;
    // A session that lasts longer was begun while a clock was ahead.
    let latest = now + SESSION_SECONDS + CLOCK_TOLERANCE.as_secs();
    let lasts = now < expires && expires <= latest;
    (version == "v1" && parts.next().is_none() && lasts).then_some(role)
}

/// The MAC of the claims. `None`: there is no token for this role.
fn mac(tokens: &Tokens, role: Role, claims: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::new_from_slice(tokens.of(role)?.expose().as_bytes()).ok()?;
    mac.update(PURPOSE.as_bytes());
    mac.update(claims.as_bytes());
    Some(mac)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    const NOW: i64 = 1_800_000_000;
    const NAME: &str = "convoy_backups_0a1b2c3d_3000";

    fn tokens(full: &str, read: Option<&str>) -> Tokens {
        Tokens::find(
            Some(&Secret::new(full)),
            read.map(Secret::new).as_ref(),
            Path::new("/nowhere"),
        )
        .unwrap()
    }

    /// The cookie that a browser sends back.
    fn sent_back(set_cookie: &HeaderValue) -> String {
        set_cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    fn role_of(cookies: &str, tokens: &Tokens, now: i64) -> Option<Role> {
        find(
            &HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(cookies).unwrap())]),
            NAME,
            tokens,
            now,
            false,
        )
    }

    #[test]
    fn a_session_lasts_thirty_days_and_as_long_as_its_token() {
        let old = tokens("full-full-full-full", Some("read-read-read-read"));
        for role in [Role::Full, Role::Read] {
            let cookie = sent_back(&cookie(NAME, &old, role, NOW, false));
            assert_eq!(role_of(&cookie, &old, NOW), Some(role));
            assert_eq!(
                role_of(&format!("a=b; {NAME}=x; {cookie}; c=d"), &old, NOW + SESSION_SECONDS - 1),
                Some(role)
            );
            assert_eq!(role_of(&cookie, &old, NOW + SESSION_SECONDS), None);
            let ten_years_before = NOW - 10 * 365 * 86_400;
            assert_eq!(role_of(&cookie, &old, ten_years_before), None, "a clock was ahead");
            assert_eq!(role_of(&cookie, &tokens("other-other-other-other", None), NOW), None);
        }
    }

    #[test]
    fn a_session_over_tls_counts_before_an_older_one_without() {
        let tokens = tokens("full-full-full-full", Some("read-read-read-read"));
        let (older, newer) = (
            cookie(NAME, &tokens, Role::Read, NOW, false),
            cookie(NAME, &tokens, Role::Full, NOW, true),
        );
        let both = format!("{}; {}", sent_back(&older), sent_back(&newer));
        assert_eq!(role_of(&both, &tokens, NOW), Some(Role::Full));
        let header =
            |text: &str| HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(text).unwrap())]);
        assert_eq!(find(&header(&both), NAME, &tokens, NOW, true), Some(Role::Full));
        assert_eq!(find(&header(&sent_back(&older)), NAME, &tokens, NOW, true), None);
    }

    #[test]
    fn a_session_can_be_neither_made_up_nor_changed() {
        let tokens = tokens("full-full-full-full", Some("read-read-read-read"));
        let cookie = sent_back(&cookie(NAME, &tokens, Role::Read, NOW, false));
        let mac = cookie.rsplit_once('.').unwrap().1;
        for forged in [
            cookie.replace(".read.", ".full."),
            cookie.replace("=v1.", "=v1.9"),
            cookie.replace("=v1.", "=v2."),
            cookie[..cookie.len() - 2].to_owned(),
            cookie[..cookie.len() - 1].to_owned(),
            format!("{cookie}00"),
            format!("{NAME}=v1.{}.read.", NOW + SESSION_SECONDS),
            format!("{NAME}=v1.{}.read.é{mac}", NOW + SESSION_SECONDS),
            format!("{NAME}={mac}"),
            format!("{NAME}="),
            format!("x{cookie}"),
            cookie.replace("_3000=", "_3001="),
            cookie.replace("_3000=", "="),
            format!("__Host-__Host-{cookie}"),
        ] {
            let header = HeaderMap::from_iter([(
                COOKIE,
                HeaderValue::from_bytes(forged.as_bytes()).unwrap(),
            )]);
            assert_eq!(find(&header, NAME, &tokens, NOW, false), None, "{forged}");
        }
        assert_eq!(role_of(&cookie, &self::tokens("full-full-full-full", None), NOW), None);
    }

    #[test]
    fn the_cookie_is_for_this_site_only_and_shows_no_token() {
        let tokens = tokens("full-full-full-full", None);
        let plain = cookie(NAME, &tokens, Role::Full, NOW, false);
        let plain = plain.to_str().unwrap();
        assert!(plain.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"), "{plain}");
        assert!(plain.starts_with("convoy_backups_") && !plain.contains("full-full"));
        let secure = cookie(NAME, &tokens, Role::Full, NOW, true);
        assert!(secure.to_str().unwrap().starts_with("__Host-convoy_backups_"), "{secure:?}");
        assert!(secure.to_str().unwrap().ends_with("; Secure"), "{secure:?}");
        assert_eq!(role_of(&sent_back(&secure), &tokens, NOW), Some(Role::Full));
        let ended = cleared(NAME).map(|ended| ended.to_str().unwrap().to_owned());
        assert!(
            ended[0].starts_with("convoy_backups_0a1b2c3d_3000=; Path=/; Max-Age=0;"),
            "{ended:?}"
        );
        assert!(
            ended[1].starts_with("__Host-convoy_backups_0a1b2c3d_3000=; Path=/; Max-Age=0;"),
            "{ended:?}"
        );
        assert!(ended[1].ends_with("; Secure"), "browsers take no other of this name: {ended:?}");
    }

    #[test]
    fn instances_on_one_host_have_cookies_of_their_own() {
        let one = |folder: &str, port| name(Path::new(folder), port);
        let names = [
            one("/a", Some(3000)),
            one("/a", Some(3001)),
            one("/b", Some(3000)),
            one("/a", None),
            one("/b", None),
        ];
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
        assert_eq!(one("/a", Some(3000)), one("/a", Some(3000)));
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        );
    }
}
