//! How the content of files goes through the daemon's socket: in frames, so that an end tells that all of
//! it came, and an error comes with its words.
//!
//! A frame is its length in four bytes, the highest first, and so many bytes. The first one has what is
//! read ([`Head`]) as JSON. A length of 0 is the end. [`ERROR`] instead of a length is followed by one
//! frame with the error as JSON.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::inside::FileEntry;
use crate::error::{Error, ErrorKind, Result};

/// Stands before an error.
const ERROR: u32 = u32::MAX;
/// No frame is longer.
const LONGEST: u32 = 64 << 20;

/// What is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Head {
    pub(super) entry: FileEntry,
    pub(super) length: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    kind: String,
    message: String,
    hint: Option<String>,
}

/// A frame with these bytes, of which there is one at least.
pub(super) fn frame(bytes: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(bytes.len() + 4);
    frame.put_u32(u32::try_from(bytes.len()).unwrap_or(ERROR));
    frame.put_slice(bytes);
    frame.freeze()
}

/// The end.
pub(super) fn end() -> Bytes {
    frame(&[])
}

pub(super) fn error(error: &Error) -> Bytes {
    let told = Told {
        kind: error.kind.code().to_owned(),
        message: error.message.clone(),
        hint: error.hint.clone(),
    };
    let mut frames = BytesMut::new();
    frames.put_u32(ERROR);
    frames.put(frame(&serde_json::to_vec(&told).unwrap_or_default()));
    frames.freeze()
}

/// What arrived.
#[derive(Debug)]
pub(super) enum Frame {
    Bytes(Bytes),
    End,
    Error(Error),
}

/// Takes frames out of what arrives.
#[derive(Debug, Default)]
pub(super) struct Frames(BytesMut);

impl Frames {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next frame, if it is there as a whole.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if it is none.
    pub(super) fn next(&mut self) -> Result<Option<Frame>> {
        let Some(length) = self.number(0) else { return Ok(None) };
        let is_error = length == ERROR;
        let (start, length) = match is_error {
            false => (4, length),
            true => match self.number(4) {
                Some(length) => (8, length),
                None => return Ok(None),
            },
        };
        if length > LONGEST {
            return Err(Error::new(ErrorKind::Protocol, "a piece of the answer is too long"));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if self.0.len() < start + length {
            return Ok(None);
        }
        self.0.advance(start);
        let bytes = self.0.split_to(length).freeze();
        Ok(Some(match is_error {
            true => Frame::Error(told(&bytes)),
            false if bytes.is_empty() => Frame::End,
            false => Frame::Bytes(bytes),
        }))
    }

    fn number(&self, at: usize) -> Option<u32> {
        let bytes = self.0.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }
}

fn told(bytes: &[u8]) -> Error {
    match serde_json::from_slice::<Told>(bytes) {
        Ok(Told { kind, message, hint }) => {
            let error = Error::new(ErrorKind::of_code(&kind).unwrap_or(ErrorKind::Daemon), message);
            hint.into_iter().fold(error, |error, hint| error.with_hint(hint))
        }
        Err(_) => Error::new(ErrorKind::Protocol, "the daemon told an error that can't be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let refused = Error::new(ErrorKind::Repository, "a pack is damaged").with_hint("look");
        let sent = [frame(b"head"), frame(&[7; 1000]), error(&refused), end()].concat();
        for size in [1, 3, 7, 1000, 5000] {
            let (mut frames, mut came) = (Frames::default(), Vec::new());
            for piece in sent.chunks(size) {
                frames.add(piece);
                while let Some(frame) = frames.next().unwrap() {
                    came.push(frame);
                }
            }
            let [Frame::Bytes(head), Frame::Bytes(more), Frame::Error(error), Frame::End] =
                &came[..]
            else {
                panic!("{came:?}")
            };
            assert!(&head[..] == b"head" && more.len() == 1000);
            assert_eq!((error.kind, error.hint.as_deref()), (ErrorKind::Repository, Some("look")));
        }
    }

    #[test]
    fn a_length_that_can_not_be_is_refused_before_it_is_believed() {
        let mut frames = Frames::default();
        frames.add(&(LONGEST + 1).to_be_bytes());
        assert_eq!(frames.next().unwrap_err().kind, ErrorKind::Protocol);
    }
}
