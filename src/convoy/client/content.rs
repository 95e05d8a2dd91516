//! The content of files of backups, which comes in frames.

use std::{path::Path, time::Duration};

use hyper::StatusCode;
use tokio::sync::mpsc;

use super::{answer, call::Call, failure::error_of};
use crate::{
    convoy::{
        frames::{Frame, Frames, Head},
        inside::Content,
    },
    error::{Error, ErrorKind, Result},
    unix_http::Opened,
};

/// So many pieces wait to be taken.
const WAITING: usize = 2;

/// Sends the call, and reads how its answer begins. `None` from Convoy, which has no such route.
pub(super) async fn open(call: Call, socket: &Path, connect: Duration) -> Result<Option<Content>> {
    let request = call.request();
    let failed = |failure| error_of(&failure, &call, socket, connect).with_request(request.clone());
    let opened = call.open(socket, connect).await.map_err(failed)?;
    match opened.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        _ => {
            let refused = answer::accept(opened.whole().await.map_err(failed)?);
            let refused = refused.err().unwrap_or_else(|| Error::internal("nothing was refused"));
            return Err(refused.with_request(request));
        }
    }
    let mut coming = Coming { opened, frames: Frames::default() };
    let wrong = |why: &str| Error::new(ErrorKind::Protocol, format!("{request}: {why}"));
    let head: Head = match coming.next().await? {
        Frame::Bytes(head) => serde_json::from_slice(&head)
            .map_err(|error| wrong(&format!("what is read is not told: {error}")))?,
        Frame::Error(error) => return Err(error),
        Frame::End => return Err(wrong("the answer has no beginning")),
    };
    let (sender, pieces) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        loop {
            let piece = match coming.next().await {
                Ok(Frame::Bytes(piece)) => Ok(piece),
                Ok(Frame::End) => return,
                Ok(Frame::Error(error)) | Err(error) => Err(error),
            };
            let is_over = piece.is_err();
            if sender.send(piece).await.is_err() || is_over {
                return;
            }
        }
    });
    Ok(Some(Content { entry: head.entry, length: head.length, pieces }))
}

/// What comes of an answer.
struct Coming {
    opened: Opened,
    frames: Frames,
}

impl Coming {
    /// # Errors
    /// If the answer breaks off, or makes no sense.
    async fn next(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = self.frames.next()? {
                return Ok(frame);
            }
            let why = match self.opened.piece().await {
                Some(Ok(piece)) => {
                    self.frames.add(&piece);
                    continue;
                }
                Some(Err(failure)) => failure.to_string(),
                None => "it ended early".to_owned(),
            };
            let message = format!("the daemon's answer broke off: {why}");
            return Err(Error::new(ErrorKind::Unreachable, message)
                .with_hint("its log may say more; try again"));
        }
    }
}
