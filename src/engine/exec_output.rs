//! What a command in a container prints, as the engine sends it. Pure.

use std::borrow::Cow;

use crate::text::escape;

/// How much of the end of what is printed is kept for people, in bytes.
const KEPT: usize = 8 << 10;
/// How many lines of it an error shows, and how many characters.
const LINES: usize = 5;
const CHARACTERS: usize = 600;
/// Each frame begins with the stream's number, three zeros, and the length of what follows.
const HEADER: usize = 8;

/// Where something was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Error,
}

/// Takes the frames apart in which the engine sends both streams.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: Vec<u8>,
    /// What is left of the frame, and whose it is.
    stream: Option<Stream>,
    left: usize,
}

impl Frames {
    /// Gives what the next bytes have to `take`.
    ///
    /// # Errors
    /// If they are no frames (the text says why), or `take` fails.
    pub(super) fn read<E>(
        &mut self,
        mut bytes: &[u8],
        odd: impl Fn(String) -> E,
        mut take: impl FnMut(Stream, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let wanted = HEADER - self.header.len();
                let (part, rest) = bytes.split_at(wanted.min(bytes.len()));
                self.header.extend_from_slice(part);
                bytes = rest;
                if self.header.len() == HEADER {
                    self.begin().map_err(&odd)?;
                }
                continue;
            }
            let (part, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= part.len();
            bytes = rest;
            if let Some(stream) = self.stream {
                take(stream, part)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), String> {
        let header = std::mem::take(&mut self.header);
        let (stream, length) = header.split_at(4);
        let [stream, 0, 0, 0] = *stream else { return Err("it sent no frames".into()) };
        self.stream = match stream {
            0 | 1 => Some(Stream::Out),
            2 | 3 => Some(Stream::Error),
            other => return Err(format!("it sent a stream number {other}")),
        };
        let length: [u8; 4] = length.try_into().unwrap_or_default();
        self.left = u32::from_be_bytes(length) as usize;
        Ok(())
    }

    /// Whether the last frame has come to its end.
    pub(super) fn are_whole(&self) -> bool {
        self.left == 0 && self.header.is_empty()
    }
}

/// The end of what was printed.
#[derive(Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let over = (self.0.len() + bytes.len()).saturating_sub(KEPT);
        self.0.drain(..over.min(self.0.len()));
        self.0.extend_from_slice(bytes);
    }

    /// How much is kept, in bytes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The last lines, in one line for people, without these secrets.
    pub(super) fn told(&self, secrets: &[String]) -> String {
        let mut text = Cow::from(String::from_utf8_lossy(&self.0).into_owned());
        for secret in secrets {
            text = text.replace(secret.as_str(), "***").into();
        }
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join(" / ");
        let over = last.chars().count().saturating_sub(CHARACTERS);
        let last: String = last.chars().skip(over).collect();
        escape(&last).into_owned()
    }
}

/// Names of variables whose values are secrets have one of these words in them.
const SECRET: [&str; 9] =
    ["PASS", "PWD", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "AUTH", "DSN", "_URL"];
/// What is shorter would be found in any text.
const SHORTEST_SECRET: usize = 4;

/// The password of a URL, such as `postgres://shop:PASSWORD@db/shop`.
fn password_in(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

/// The values among the variables of a container (`NAME=value`) that are no one's business, the longest
/// first.
pub(super) fn secrets_of(environment: &[String]) -> Vec<String> {
    let secret = |variable: &String| {
        let (name, value) = variable.split_once('=')?;
        let name = name.to_ascii_uppercase();
        let is_secret = SECRET.iter().any(|word| name.contains(word)) && !name.ends_with("_FILE");
        let whole = is_secret.then_some(value);
        Some(whole.into_iter().chain(password_in(value)).map(str::to_owned).collect::<Vec<_>>())
    };
    let mut secrets: Vec<_> = environment.iter().filter_map(secret).flatten().collect();
    secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0], &length[..], content].concat()
    }

    fn read(frames: &mut Frames, bytes: &[u8]) -> Result<Vec<(Stream, Vec<u8>)>, String> {
        let mut taken = Vec::new();
        frames.read(
            bytes,
            |why| why,
            |stream, part| {
                taken.push((stream, part.to_vec()));
                Ok(())
            },
        )?;
        Ok(taken)
    }

    #[test]
    fn frames_are_taken_apart_in_whatever_pieces_they_come() {
        let sent = [frame(1, b"rows"), frame(2, b""), frame(2, b"oh no"), frame(1, b"!")].concat();
        for step in 1..sent.len() {
            let mut frames = Frames::default();
            let (mut out, mut error) = (Vec::new(), Vec::new());
            for piece in sent.chunks(step) {
                for (stream, part) in read(&mut frames, piece).unwrap() {
                    if stream == Stream::Out { &mut out } else { &mut error }.extend(part);
                }
            }
            assert_eq!((&out[..], &error[..]), (&b"rows!"[..], &b"oh no"[..]), "{step}");
            assert!(frames.are_whole());
        }
    }

    #[test]
    fn what_is_no_frame_or_half_of_one_is_told() {
        let mut frames = Frames::default();
        assert!(read(&mut frames, b"OCI runtime exec failed").is_err());
        let mut frames = Frames::default();
        assert!(read(&mut frames, &frame(9, b"a")).unwrap_err().contains('9'));
        for cut in [3, 9] {
            let mut frames = Frames::default();
            read(&mut frames, &frame(1, b"rows")[..cut]).unwrap();
            assert!(!frames.are_whole());
        }
    }

    #[test]
    fn the_last_lines_are_kept_without_secrets_whatever_is_printed() {
        let mut tail = Tail::default();
        for number in 0..10_000 {
            tail.add(format!("line {number}\n").as_bytes());
        }
        assert!(tail.0.len() <= KEPT);
        assert!(tail.told(&[]).starts_with("line 9995 / "));
        tail.add(&vec![b'a'; 1 << 20]);
        assert_eq!((tail.0.len(), tail.told(&[]).len()), (KEPT, CHARACTERS));
        let environment = [
            "DB_PASSWORD=hunter22",
            "PASSWORD=hunter2",
            "HOME=/root",
            "KEY=a",
            "STORE=redis://:in:side@cache:6379/0",
        ];
        let secrets = secrets_of(&environment.map(str::to_owned));
        let mut tail = Tail::default();
        tail.add(b"cannot use hunter22, nor hunter2, nor in:side, in /root\x1b[1m\n\n");
        let told = tail.told(&secrets);
        let masked = "cannot use ***, nor ***, nor ***, in /root";
        assert!(told.starts_with(masked) && !told.contains('\x1b'), "{told}");
    }
}
