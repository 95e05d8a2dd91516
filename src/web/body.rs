//! Reads a request's body as named values. The body is JSON or a form, with limits on size, depth
//! and time.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use hyper::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use warp::Stream;

use super::problem::Problem;
use crate::{suggest, text};

/// The largest body, in bytes. The arguments of a script take a few hundred bytes.
pub(crate) const MOST_BYTES: usize = 1 << 20;
/// The time limit from the first byte of a body to the last.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest name in a message, in characters. A longer name is cut.
const NAME_WIDTH: usize = 80;

/// Reads a request's body: a JSON object, a form (`application/x-www-form-urlencoded`), or nothing
/// at all, which means no values. `body` is what `warp::body::stream()` gives.
///
/// The values of a form are text, like the words of a command line, and
/// [`crate::script::arguments::from_json`] reads them like that. A form may repeat a field if
/// `is_list` accepts its name (as it was sent, in any spelling): the field's value is an array
/// then. Names stay as they were sent.
///
/// # Errors
/// 413 for more than [`MOST_BYTES`] bytes (before any byte is read if `Content-Length` says so),
/// 408 for a body that takes longer than [`BODY_TIMEOUT`], 415 for another content type, and 400
/// for a body that is no JSON object, is nested deeper than 128, is no UTF-8, or has a name twice
/// (with the `field`).
pub(crate) async fn read<S, D, E>(
    headers: &HeaderMap,
    body: S,
    is_list: impl Fn(&str) -> bool,
) -> Result<Map<String, Value>, Problem>
where
    S: Stream<Item = Result<D, E>>,
    D: Buf,
    E: fmt::Display,
{
    let kind = BodyKind::of(headers)?;
    let length =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MOST_BYTES as u64) {
        return Err(Problem::too_large(MOST_BYTES));
    }
    let bytes = tokio::time::timeout(BODY_TIMEOUT, collect(body)).await.map_err(|_| {
        Problem::too_slow(format!(
            "the body did not come within {} seconds",
            BODY_TIMEOUT.as_secs()
        ))
    })??;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    match kind {
        Some(BodyKind::Json) => from_json(&bytes),
        Some(BodyKind::Form) => from_form(&bytes, is_list),
        None => Err(Problem::media_type("the body has no Content-Type")),
    }
}

/// The content type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyKind {
    Json,
    Form,
}

impl BodyKind {
    /// The content type by the headers. `None`: the headers don't say.
    fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        if let Some(encoding) = headers.get(CONTENT_ENCODING)
            && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
        {
            return Err(Problem::media_type(
                "the body has a Content-Encoding, and none is understood",
            ));
        }
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let Some(given) = types.next() else { return Ok(None) };
        if types.next().is_some() {
            return Err(Problem::media_type("there are several Content-Types"));
        }
        let shown = String::from_utf8_lossy(given.as_bytes()).into_owned();
        let shown = text::escape(&shown);
        let mut parts = shown.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let kind = match name.as_str() {
            "application/json" => Self::Json,
            "application/x-www-form-urlencoded" => Self::Form,
            _ => {
                let shown = text::cut(&shown, NAME_WIDTH);
                return Err(Problem::media_type(format!(
                    "the Content-Type \"{shown}\" is not understood"
                )));
            }
        };
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("charset")
                && !matches!(
                    value.trim().trim_matches('"').to_ascii_lowercase().as_str(),
                    "utf-8" | "utf8" | "us-ascii"
                )
            {
                return Err(Problem::media_type("the body is not in UTF-8"));
            }
        }
        Ok(Some(kind))
    }
}

/// Reads the whole body. A body that is too large is not read to its end.
async fn collect<S, D, E>(body: S) -> Result<Bytes, Problem>
where
    S: Stream<Item = Result<D, E>>,
    D: Buf,
    E: fmt::Display,
{
    let mut body = std::pin::pin!(body);
    let mut bytes = BytesMut::new();
    while let Some(part) = std::future::poll_fn(|context| body.as_mut().poll_next(context)).await {
        let mut part =
            part.map_err(|error| Problem::usage(format!("the body can't be read: {error}")))?;
        if bytes.len() + part.remaining() > MOST_BYTES {
            return Err(Problem::too_large(MOST_BYTES));
        }
        while part.has_remaining() {
            bytes.extend_from_slice(part.chunk());
            part.advance(part.chunk().len());
        }
    }
    Ok(bytes.freeze())
}

fn from_json(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    let Members(members) = serde_json::from_slice(bytes).map_err(|error| {
        Problem::usage(format!("the body is not a JSON object: {error}"))
            .with_hint("send an object with the arguments' names, such as {\"volume\": \"vol1\"}")
    })?;
    let mut values = Map::new();
    let mut spellings = Spellings::default();
    for (name, value) in members {
        spellings.first(&name).map_or(Ok(()), |_| Err(twice(&name)))?;
        values.insert(name, value);
    }
    Ok(values)
}

fn from_form(bytes: &[u8], is_list: impl Fn(&str) -> bool) -> Result<Map<String, Value>, Problem> {
    let mut values = Map::new();
    let mut spellings = Spellings::default();
    for (name, value) in form_urlencoded::parse(bytes) {
        // The decoder replaces what is not UTF-8 by this character. No name or value needs the
        // character itself.
        if name.contains('\u{fffd}') || value.contains('\u{fffd}') {
            return Err(Problem::usage("the form is not in UTF-8").with_field(shown(&name)));
        }
        let value = Value::from(value);
        match spellings.first(&name).and_then(|first| values.get_mut(first)) {
            None if is_list(&name) => _ = values.insert(name.into(), Value::Array(vec![value])),
            None => _ = values.insert(name.into(), value),
            Some(Value::Array(all)) => all.push(value),
            Some(_) => return Err(twice(&name)),
        }
    }
    Ok(values)
}

/// The names that came so far. Spellings of one name (`createSnapshot`, `create-snapshot`) count
/// as the same.
#[derive(Default)]
struct Spellings(HashMap<String, String>);

impl Spellings {
    /// Adds a name. Returns the spelling in which the name came before; `None` the first time.
    fn first(&mut self, name: &str) -> Option<&str> {
        match self.0.entry(suggest::fold(name)) {
            Entry::Occupied(there) => Some(there.into_mut()),
            Entry::Vacant(free) => {
                free.insert(name.to_owned());
                None
            }
        }
    }
}

fn twice(name: &str) -> Problem {
    let name = shown(name);
    Problem::usage(format!("\"{name}\" is given twice")).with_field(name)
}

/// A name for a message, cut to [`NAME_WIDTH`].
fn shown(name: &str) -> String {
    text::cut(&text::escape(name), NAME_WIDTH).into_owned()
}

/// The members of a JSON object as they came, including repeated names. `serde_json`'s map keeps
/// only the last member of a name.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, pin::Pin, task::Poll};

    use hyper::header::HeaderValue;
    use serde_json::json;

    use super::*;

    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded";

    /// A body that comes in these parts.
    struct Parts(Vec<Bytes>);

    impl Parts {
        fn of(text: &str) -> Self {
            Self(text.as_bytes().chunks(7).rev().map(Bytes::copy_from_slice).collect())
        }
    }

    impl Stream for Parts {
        type Item = Result<Bytes, Infallible>;

        fn poll_next(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.pop().map(Ok))
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    async fn given(content_type: &str, body: &str) -> Result<Map<String, Value>, Problem> {
        read(&headers(&[("content-type", content_type)]), Parts::of(body), |name| {
            suggest::fold(name) == "volumes"
        })
        .await
    }

    async fn refused(content_type: &str, body: &str) -> (u16, String) {
        let problem = given(content_type, body).await.unwrap_err();
        (problem.status().as_u16(), problem.to_json()["detail"].as_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn json_and_forms_are_read_whatever_their_parameters() {
        let object = r#"{"volume": "vol 1", "createSnapshot": true, "n": null}"#;
        let values = json!({"volume": "vol 1", "createSnapshot": true, "n": null});
        for kind in
            [JSON, "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\"; x"]
        {
            assert_eq!(Value::Object(given(kind, object).await.unwrap()), values, "{kind}");
        }
        let form = "volume=vol+1&create-snapshot=true&backupurl=vfs%3A%2F%2F%2Fx%3Fbackup%3D%C3%A9";
        let values =
            json!({"volume": "vol 1", "create-snapshot": "true", "backupurl": "vfs:///x?backup=é"});
        for kind in [FORM, "application/x-www-form-urlencoded; charset=utf-8"] {
            assert_eq!(Value::Object(given(kind, form).await.unwrap()), values, "{kind}");
        }
    }

    #[tokio::test]
    async fn no_body_is_no_values() {
        assert!(read(&headers(&[]), Parts::of(""), |_| false).await.unwrap().is_empty());
        assert!(given(JSON, "").await.unwrap().is_empty());
        assert!(given(FORM, "").await.unwrap().is_empty());
        assert!(given(JSON, "{}").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn another_type_is_refused() {
        for kind in [
            "text/plain",
            "multipart/form-data; boundary=x",
            "application/json; charset=latin1",
            "",
            "json",
        ] {
            assert_eq!(refused(kind, "{}").await.0, 415, "{kind}");
        }
        for pairs in [
            &[][..],
            &[("content-type", JSON), ("content-type", FORM)],
            &[("content-type", JSON), ("content-encoding", "gzip")],
        ] {
            let problem = read(&headers(pairs), Parts::of("{}"), |_| false).await.unwrap_err();
            assert_eq!(problem.status().as_u16(), 415, "{pairs:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_object_is_refused_with_the_place() {
        let deep = format!("{{\"a\":{}", "[".repeat(10_000));
        for body in [
            "[]",
            "null",
            "{",
            "{'a':1}",
            "{\"a\":1} x",
            "\"a\"",
            "{\"a\":1e999}",
            "{\"a\":\"\\ud800\"}",
            &deep,
        ] {
            let (status, detail) = refused(JSON, body).await;
            assert!(status == 400 && detail.contains("line 1 column"), "{body}: {detail}");
        }
        assert!(refused(JSON, &deep).await.1.contains("recursion limit"));
    }

    #[tokio::test]
    async fn what_is_given_twice_is_refused_by_its_name() {
        for (kind, body) in [
            (JSON, r#"{"volume": "a", "x": 1, "volume": "b"}"#),
            (JSON, r#"{"Volume": "a", "x": 1, "volume": "b"}"#),
            (FORM, "volume=a&x=1&volume=b"),
            (FORM, "Volume=a&x=1&volume=b"),
            (FORM, "volume=a&volume=a"),
        ] {
            let problem = given(kind, body).await.unwrap_err();
            assert_eq!(
                (problem.status().as_u16(), &problem.to_json()["field"]),
                (400, &json!("volume")),
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn a_list_may_come_in_several_fields_of_a_form() {
        let values = given(FORM, "volumes=a&x=1&Volumes=b&volumes=").await.unwrap();
        assert_eq!(Value::Object(values), json!({"volumes": ["a", "b", ""], "x": "1"}));
    }

    #[tokio::test]
    async fn a_form_that_is_no_utf_8_is_refused() {
        assert_eq!(refused(FORM, "volume=%ff").await.0, 400);
        assert_eq!(refused(FORM, "vol%ffume=a").await.0, 400);
    }

    #[tokio::test]
    async fn what_is_too_large_is_not_read_to_its_end() {
        /// A body without an end.
        struct Endless;
        impl Stream for Endless {
            type Item = Result<Bytes, Infallible>;

            fn poll_next(
                self: Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> Poll<Option<Self::Item>> {
                Poll::Ready(Some(Ok(Bytes::from_static(&[b' '; 4_096]))))
            }
        }
        let problem =
            read(&headers(&[("content-type", JSON)]), Endless, |_| false).await.unwrap_err();
        assert_eq!(problem.status().as_u16(), 413);
    }

    /// A body that never sends a byte.
    struct Never;

    impl Stream for Never {
        type Item = Result<Bytes, Infallible>;

        fn poll_next(
            self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Option<Self::Item>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_length_over_the_limit_is_refused_before_anything_is_read() {
        let headers = headers(&[("content-type", JSON), ("content-length", "1000000000")]);
        assert_eq!(read(&headers, Never, |_| false).await.unwrap_err().status().as_u16(), 413);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let problem =
            read(&headers(&[("content-type", JSON)]), Never, |_| false).await.unwrap_err();
        assert_eq!(problem.status().as_u16(), 408);
    }
}
