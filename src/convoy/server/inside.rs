//! Looking into backups, and reading files of them: not Convoy's.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::answer::Answer;
use crate::{
    convoy::{
        Daemon,
        frames::{self, Head},
        inside::{Content, Look, ReadFile},
    },
    error::{Error, Result},
};

/// So many pieces wait to be sent.
const WAITING: usize = 2;

pub(super) async fn look(daemon: &dyn Daemon, body: &[u8]) -> Result<Answer> {
    let what: Look = parse(body)?;
    match daemon.look(&what).await? {
        Some(seen) => {
            let text = serde_json::to_string(&seen);
            text.map(Answer::text).map_err(|error| Error::internal(error.to_string()))
        }
        None => Ok(Answer::error(404, "this daemon can't look into backups")),
    }
}

/// The content comes in frames ([`frames`]).
pub(super) async fn content(daemon: &dyn Daemon, body: &[u8]) -> Result<Answer> {
    let what: ReadFile = parse(body)?;
    let Some(content) = daemon.content(&what).await? else {
        return Ok(Answer::error(404, "this daemon can't read files of backups"));
    };
    let head = Head { entry: content.entry.clone(), length: content.length };
    let head = serde_json::to_vec(&head).map_err(|error| Error::internal(error.to_string()))?;
    let (sender, pieces) = mpsc::channel(WAITING);
    tokio::spawn(send(content, frames::frame(&head), sender));
    Ok(Answer::pieces(pieces))
}

/// Sends the frames, until nobody takes them any more.
async fn send(mut content: Content, head: Bytes, sender: mpsc::Sender<Bytes>) {
    let mut next = head;
    loop {
        if sender.send(next).await.is_err() {
            return;
        }
        next = match content.pieces.recv().await {
            // A frame without bytes would be the end.
            Some(Ok(piece)) if piece.is_empty() => Bytes::new(),
            Some(Ok(piece)) => frames::frame(&piece),
            Some(Err(error)) => {
                log::warn!("reading \"/{}\" of a backup failed: {error}", content.entry.path);
                _ = sender.send(frames::error(&error)).await;
                return;
            }
            None => {
                _ = sender.send(frames::end()).await;
                return;
            }
        };
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body)
        .map_err(|error| Error::usage(format!("the request's body makes no sense: {error}")))
}
