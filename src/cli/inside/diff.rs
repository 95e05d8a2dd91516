//! `diff`: what differs between two backups.

use clap::{Arg, ArgMatches, Command};
use tokio_util::sync::CancellationToken;

use super::{
    super::context::Context,
    super::print::{print_json, print_line},
    opened::{Opened, another_kind, or_cancelled},
    target::{FORM, MEANING},
};
use crate::{
    convoy::inside::{
        Change, Compare, Difference, Differences, EntryKind, Look, MOST_ENTRIES, Seen,
    },
    error::{Error, Result},
    text::{Style, escape, styled, with_separators},
    units::format_size,
};

/// The command for help and completion.
pub(crate) fn command() -> Command {
    Command::new("diff")
        .about("Show what differs between two backups")
        .arg(Arg::new("from").value_name(FORM).required(true).help(MEANING))
        .arg(Arg::new("to").value_name(FORM).help(
            "the backup to compare it with: the volume's newest good one if left out",
        ))
        .after_help(
            "Each line is a path: + added, - removed, M changed, m only owner, mode, times or attributes changed.\n\n\
             Examples:\n  convoy-backups diff wiki@yesterday\n  convoy-backups diff wiki@2026-11-20:etc wiki@now",
        )
}

/// Compares two backups.
pub(crate) async fn diff(
    context: &Context,
    matches: &ArgMatches,
    cancellation: &CancellationToken,
) -> Result<u8> {
    let opened = Opened::new(context).await?;
    let compared = or_cancelled(compare(&opened, matches), cancellation).await;
    opened.close(cancellation).await;
    show(context, &compared?);
    Ok(0)
}

async fn compare(opened: &Opened<'_>, matches: &ArgMatches) -> Result<Differences> {
    let word = |name| matches.get_one::<String>(name).map(String::as_str);
    let from = opened.target(word("from").unwrap_or_default())?;
    let to = match word("to") {
        Some(word) => opened.target(word)?,
        None => opened.target(from.volume.as_str())?,
    };
    if !to.path.is_empty() && to.path != from.path {
        return Err(Error::usage("two paths were named, and one is compared in both backups")
            .with_hint("name it behind the first one: diff wiki@yesterday:etc wiki@now"));
    }
    let url = opened.backup(&from).await?.field("BackupURL").to_owned();
    let with = opened.backup(&to).await?.field("BackupURL").to_owned();
    let what = Compare { url, with, path: from.path, most: MOST_ENTRIES };
    match opened.look(&Look::Compare(what)).await? {
        Seen::Compare(differences) => Ok(differences),
        _ => Err(another_kind()),
    }
}

fn show(context: &Context, compared: &Differences) {
    if context.flags.json {
        print_json(compared);
        return;
    }
    let (_, colour) = context.output();
    for difference in &compared.files {
        print_line(&line(difference, colour));
    }
    if compared.has_more {
        print_line(&format!("There are more than these {}.", compared.files.len()));
    }
    print_line(&sum(compared));
}

fn line(difference: &Difference, colour: bool) -> String {
    let (sign, style) = match difference.change {
        Change::Added => ("+", Style::Green),
        Change::Removed => ("-", Style::Red),
        Change::Changed => ("M", Style::Yellow),
        Change::Metadata => ("m", Style::Faint),
    };
    let entry = difference.after.as_ref().or(difference.before.as_ref());
    let is_folder = entry.is_some_and(|entry| entry.kind == EntryKind::Folder);
    let path = escape(&difference.path);
    let slash = if is_folder { "/" } else { "" };
    let size = |entry: &Option<crate::convoy::inside::FileEntry>| {
        let file = entry.as_ref().filter(|entry| entry.kind == EntryKind::File);
        file.map(|entry| format_size(entry.size))
    };
    let sizes = match (size(&difference.before), size(&difference.after)) {
        (Some(before), Some(after)) if before != after => format!("  {before} -> {after}"),
        (Some(size), _) | (None, Some(size)) => format!("  {size}"),
        (None, None) => String::new(),
    };
    format!("{} {path}{slash}{sizes}", styled(sign, style, colour))
}

/// `3 added (12 KiB), 1 removed (4 KiB), 2 changed (1.2 MiB), 1 with other metadata`
fn sum(compared: &Differences) -> String {
    let Differences { added, removed, changed, changed_metadata, .. } = *compared;
    if added + removed + changed + changed_metadata == 0 {
        return "No differences.".to_owned();
    }
    format!(
        "{} added ({}), {} removed ({}), {} changed ({}), {} with other metadata only",
        with_separators(added),
        format_size(compared.added_bytes),
        with_separators(removed),
        format_size(compared.removed_bytes),
        with_separators(changed),
        format_size(compared.changed_bytes),
        with_separators(changed_metadata),
    )
}
