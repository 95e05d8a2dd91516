//! Raw HTTP over a unix socket, so that tests see the very bytes.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// An answer, its body as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawAnswer {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: String,
}

/// Sends one request over a connection of its own, with these further headers, and reads the answer
/// to its end.
pub fn send(
    socket: &Path,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<RawAnswer> {
    let mut stream = UnixStream::connect(socket)?;
    // A daemon that hangs shall fail a test, not hang it.
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer)
        .ok_or_else(|| io::Error::other(format!("no HTTP: {:?}", String::from_utf8_lossy(&answer))))
}

fn parse(answer: &[u8]) -> Option<RawAnswer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let header = |wanted: &str| {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.to_owned())
    };
    let body = &answer[end + 4..];
    let body = match header("transfer-encoding") {
        Some(encoding) if encoding == "chunked" => unchunked(body)?,
        _ => body.to_vec(),
    };
    Some(RawAnswer {
        status: head.split(' ').nth(1)?.parse().ok()?,
        content_type: header("content-type"),
        body: String::from_utf8(body).ok()?,
    })
}

/// The body that was sent in chunks.
pub(super) fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest.get(end + 4 + size..)?;
    }
}
