//! `find`: in which backups a file is.

use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio_util::sync::CancellationToken;

use super::{
    super::context::Context,
    super::print::{print_json, print_line},
    opened::{Opened, another_kind, or_cancelled},
};
use crate::{
    convoy::{
        BackupUrl, Name,
        chosen::short_id,
        inside::{EntryKind, FindFiles, FoundFile, FoundFiles, Look, MOST_ENTRIES, Seen},
    },
    error::{Error, ErrorKind, Result},
    output::{Cell, Column, table},
    text::counted,
    time_words::{self, Day},
    units::format_size,
};

/// The command for help and completion.
pub(crate) fn command() -> Command {
    let option =
        |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    Command::new("find")
        .about("Find files by name in all backups")
        .arg(
            Arg::new("pattern")
                .value_name("PATTERN")
                .required(true)
                .help("a name or a path, with *, ? and ** in it: \"*.conf\", \"etc/**/app.conf\""),
        )
        .arg(option("volume", "VOLUME").help("only in backups of this volume"))
        .arg(option("since", "TIME").help("only in backups of this time or later: 7d, yesterday, 2026-11-23"))
        .arg(
            Arg::new("ignore-case")
                .long("ignore-case")
                .short('i')
                .action(ArgAction::SetTrue)
                .help("upper and lower case are the same"),
        )
        .after_help(
            "Each line is a file as it is in some backups, one after another, and the newest of these.\n\n\
             Examples:\n  convoy-backups find app.conf\n  convoy-backups find \"*.sql\" --volume db --since 30d",
        )
}

/// Finds files.
pub(crate) async fn find(
    context: &Context,
    matches: &ArgMatches,
    cancellation: &CancellationToken,
) -> Result<u8> {
    let opened = Opened::new(context).await?;
    let found = or_cancelled(look(&opened, matches), cancellation).await;
    let shown = found.map(|found| show(context, &opened, &found));
    opened.close(cancellation).await;
    shown
}

async fn look(opened: &Opened<'_>, matches: &ArgMatches) -> Result<FoundFiles> {
    let text = |name| matches.get_one::<String>(name).cloned();
    let volume = text("volume").map(|name| Name::volume(&name)).transpose()?;
    let since = text("since")
        .map(|since| time_words::parse(&since, &opened.now, Day::Begin))
        .transpose()
        .map_err(|error| error.context("--since"))?;
    let what = FindFiles {
        url: opened.destination.to_string(),
        pattern: text("pattern").unwrap_or_default(),
        ignore_case: matches.get_flag("ignore-case"),
        volume: volume.as_ref().map(ToString::to_string),
        since,
        most: MOST_ENTRIES,
    };
    match opened.look(&Look::Find(what)).await? {
        Seen::Find(found)
            if found.backups == 0
                && found.failed.is_empty()
                && volume.is_some()
                && since.is_none() =>
        {
            let name = volume.as_ref().map(ToString::to_string).unwrap_or_default();
            let error =
                Error::new(ErrorKind::NotFound, format!("there is no backup of \"{name}\""));
            Err(error.with_hint("\"convoy-backups backups\" lists what there is"))
        }
        Seen::Find(found) => Ok(found),
        _ => Err(another_kind()),
    }
}

/// Shows what was found. Returns the exit code: 3 where backups could not be looked through.
fn show(context: &Context, opened: &Opened<'_>, found: &FoundFiles) -> u8 {
    for failed in &found.failed {
        log::warn!("a backup could not be looked through: {failed}");
    }
    let code = if found.failed.is_empty() { 0 } else { 3 };
    if context.flags.json {
        print_json(found);
        return code;
    }
    let backups = counted(found.backups, "backup", "backups");
    if found.files.is_empty() {
        print_line(&format!("nothing was found in {backups}"));
        return code;
    }
    let columns = [
        Column::left("VOLUME"),
        Column::left("PATH"),
        Column::right("SIZE"),
        Column::left("MODIFIED"),
        Column::left("IN BACKUPS"),
    ];
    let rows = found.files.iter().map(|file| row(opened, file)).collect();
    let (width, colour) = context.output();
    print_line(table(&columns, rows, width, colour).trim_end());
    if found.has_more {
        print_line(&format!("There are more than these {}.", found.files.len()));
    }
    context.remark(&format!("looked through {backups}"));
    code
}

fn row(opened: &Opened<'_>, file: &FoundFile) -> Vec<Cell> {
    let entry = &file.entry;
    let zone = || opened.now.time_zone().clone();
    let time = |at: jiff::Timestamp| at.to_zoned(zone()).strftime("%Y-%m-%d %H:%M").to_string();
    let newest = BackupUrl::parse(&file.last.url);
    let id = newest.map_or_else(|_| file.last.url.clone(), |url| short_id(url.backup()).to_owned());
    let newest = format!("{id} ({})", time(file.last.taken));
    let of = match file.backups {
        1 => newest,
        count => format!("{count}, from {} to {newest}", time(file.first.taken)),
    };
    let is_file = entry.kind == EntryKind::File;
    let path = if entry.kind == EntryKind::Folder {
        format!("{}/", entry.path)
    } else {
        entry.path.clone()
    };
    vec![
        file.volume.as_str().into(),
        path.into(),
        if is_file { format_size(entry.size) } else { String::new() }.into(),
        entry.modified.map(time).unwrap_or_default().into(),
        of.into(),
    ]
}
