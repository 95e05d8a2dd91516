//! Sends what is read of a backup, piece by piece.

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::{
    archive,
    content::{ToRead, send_one},
};
use crate::{convoy::inside::Form, daemon::repository::guarded, error::Result};

/// Reads it, and sends it piece by piece.
///
/// # Errors
/// If it can't be read, or if nobody takes the pieces any more: who does is owed this error, because
/// pieces that just end look like all of it.
pub(in crate::daemon) fn send(to_read: &ToRead, pieces: &Sender<Result<Bytes>>) -> Result<()> {
    guarded("reading a backup", || {
        let mut source = to_read.source()?;
        match to_read.form() {
            Form::Tar => archive::send(&mut source, to_read, pieces),
            Form::Content => {
                let (node, path) = (to_read.node(), &to_read.entry.path);
                source.file(node, path, to_read.range(), &mut |piece| send_one(pieces, piece))
            }
        }
    })
}
