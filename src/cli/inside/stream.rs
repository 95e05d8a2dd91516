//! `cat`: the content of a file in a backup. `dump`: a folder or a whole volume as a tar archive.

use std::io::{self, IsTerminal as _, Write as _};

use clap::{Arg, ArgMatches, Command};
use tokio_util::sync::CancellationToken;

use super::{
    super::context::Context,
    opened::Opened,
    target::{FORM, MEANING},
};
use crate::{
    convoy::inside::{Content, Form, ReadFile},
    error::{Error, ErrorKind, Result},
};

fn target() -> Arg {
    Arg::new("target").value_name(FORM).required(true).help(MEANING)
}

/// The command for help and completion.
pub(crate) fn cat_command() -> Command {
    Command::new("cat").about("Write the content of a file in a backup to standard output").arg(target()).after_help(
        "Examples:\n  convoy-backups cat wiki:etc/app.conf\n  convoy-backups cat wiki@yesterday:etc/app.conf > app.conf",
    )
}

/// The command for help and completion.
pub(crate) fn dump_command() -> Command {
    Command::new("dump")
        .about("Write a backup, or a folder in it, to standard output as a tar archive")
        .arg(target())
        .after_help(
            "Examples:\n  convoy-backups dump wiki > wiki.tar\n  convoy-backups dump wiki@yesterday:etc | tar -x -C /tmp/etc-of-yesterday\n\n\
             The exit code is 0 only if the archive is complete.",
        )
}

/// Writes a file.
pub(crate) async fn cat(
    context: &Context,
    matches: &ArgMatches,
    cancellation: &CancellationToken,
) -> Result<u8> {
    write(context, matches, Form::Content, cancellation).await
}

/// Writes an archive.
pub(crate) async fn dump(
    context: &Context,
    matches: &ArgMatches,
    cancellation: &CancellationToken,
) -> Result<u8> {
    if io::stdout().is_terminal() {
        return Err(Error::usage("an archive is not written to a terminal").with_hint(
            "write it into a file (convoy-backups dump wiki > wiki.tar), or pass it on (| tar -t)",
        ));
    }
    write(context, matches, Form::Tar, cancellation).await
}

async fn write(
    context: &Context,
    matches: &ArgMatches,
    form: Form,
    cancellation: &CancellationToken,
) -> Result<u8> {
    let opened = Opened::new(context).await?;
    let word = matches.get_one::<String>("target").map(String::as_str).unwrap_or_default();
    let written = async {
        let target = opened.target(word)?;
        let url = opened.backup(&target).await?.field("BackupURL").to_owned();
        let what = ReadFile { url, path: target.path, form, offset: 0, length: None };
        let content = opened.content(&what).await?;
        tokio::select! {
            written = copy(content, form) => written,
            () = cancellation.cancelled() => Err(Error::new(
                ErrorKind::Cancelled,
                "cancelled: what was written is not complete",
            )),
        }
    };
    let written = written.await;
    opened.close(cancellation).await;
    written.map(|()| 0)
}

/// Writes what comes to standard output. A reader that went away (`| head`) is an error only of an archive.
async fn copy(mut content: Content, form: Form) -> Result<()> {
    let path = content.entry.path.clone();
    let mut count = 0;
    while let Some(piece) = content.pieces.recv().await {
        let piece = piece.map_err(|error| error.context(format!("\"/{path}\" is not complete")))?;
        count += piece.len() as u64;
        let written = tokio::task::spawn_blocking(move || io::stdout().lock().write_all(&piece));
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe && form != Form::Tar => {
                return Ok(());
            }
            Ok(Err(error)) => return Err(Error::io("cannot write to standard output", &error)),
            Err(error) => return Err(Error::internal(error.to_string())),
        }
    }
    if content.length.is_some_and(|length| length != count) {
        let message = format!("\"/{path}\" is not complete: it has {count} of its bytes");
        return Err(Error::new(ErrorKind::Repository, message));
    }
    io::stdout()
        .lock()
        .flush()
        .map_err(|error| Error::io("cannot write to standard output", &error))
}
