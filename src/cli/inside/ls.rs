//! `ls`: what a folder in a backup has.

use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio_util::sync::CancellationToken;

use super::{
    super::context::Context,
    super::print::print_line,
    opened::{Opened, another_kind, or_cancelled},
    target::{FORM, MEANING},
};
use crate::{
    convoy::inside::{EntryKind, FileEntry, ListFiles, Look, MOST_ENTRIES, Seen},
    error::Result,
    output::{Cell, Column, table},
    text::{Style, escape},
    units::format_size,
};

/// The command for help and completion.
pub(crate) fn command() -> Command {
    let target = Arg::new("target").value_name(FORM).required(true).help(MEANING);
    Command::new("ls")
        .about("List the files in a backup")
        .arg(target)
        .arg(
            Arg::new("recursive")
                .long("recursive")
                .short('R')
                .action(ArgAction::SetTrue)
                .help("list what is in the folders below, too"),
        )
        .after_help(
            "Examples:\n  convoy-backups ls wiki\n  convoy-backups ls \"wiki@yesterday 18:00:etc\"\n  convoy-backups ls -R wiki@7ec99f88 --json",
        )
}

/// Lists a folder.
pub(crate) async fn ls(
    context: &Context,
    matches: &ArgMatches,
    cancellation: &CancellationToken,
) -> Result<u8> {
    let opened = Opened::new(context).await?;
    let word = matches.get_one::<String>("target").map(String::as_str).unwrap_or_default();
    let listed =
        or_cancelled(list(context, &opened, word, matches.get_flag("recursive")), cancellation)
            .await;
    opened.close(cancellation).await;
    listed.map(|()| 0)
}

async fn list(context: &Context, opened: &Opened<'_>, word: &str, below: bool) -> Result<()> {
    let target = opened.target(word)?;
    let backup = opened.backup(&target).await?;
    let mut what = ListFiles {
        url: backup.field("BackupURL").to_owned(),
        path: target.path.clone(),
        below,
        after: None,
        most: MOST_ENTRIES,
    };
    let mut is_first = true;
    loop {
        let Seen::List(listed) = opened.look(&Look::List(what.clone())).await? else {
            return Err(another_kind());
        };
        let is_file = listed.entry.kind != EntryKind::Folder;
        let entries = if is_file { vec![listed.entry] } else { listed.entries };
        what.after = entries.last().map(|entry| entry.path.clone());
        if context.flags.json {
            for entry in &entries {
                print_line(if is_first { "[" } else { "," });
                print_line(&serde_json::to_string(entry).unwrap_or_default());
                is_first = false;
            }
        } else {
            show(context, opened, &entries, &target.path, is_file, is_first);
            is_first = false;
        }
        if !listed.has_more {
            break;
        }
    }
    if context.flags.json {
        print_line(if is_first { "[]" } else { "]" });
    }
    Ok(())
}

fn show(
    context: &Context,
    opened: &Opened<'_>,
    entries: &[FileEntry],
    folder: &str,
    is_file: bool,
    is_first: bool,
) {
    let (width, colour) = context.output();
    if entries.is_empty() {
        if is_first {
            context.remark("the folder is empty");
        }
        return;
    }
    let columns = [
        Column::left("MODE"),
        Column::left("OWNER"),
        Column::right("SIZE"),
        Column::left("MODIFIED"),
        Column::left("NAME"),
    ];
    let rows = entries.iter().map(|entry| {
        let inside = entry.path.strip_prefix(folder).map(|path| path.trim_start_matches('/'));
        let name = inside.filter(|_| !is_file).unwrap_or(&entry.path);
        let name = match (entry.kind, &entry.target) {
            (EntryKind::Folder, _) => Cell::from(format!("{name}/")).styled(Style::Bold),
            (_, Some(target)) => format!("{name} -> {target}").into(),
            _ => name.into(),
        };
        let size =
            if entry.kind == EntryKind::File { format_size(entry.size) } else { String::new() };
        vec![
            mode(entry).into(),
            owner(entry).into(),
            size.into(),
            modified(entry, opened).into(),
            name,
        ]
    });
    let shown = table(&columns, rows.collect(), width, colour);
    // The headings stand above the first page alone.
    let shown = if is_first { &shown } else { shown.split_once('\n').map_or("", |(_, rest)| rest) };
    print_line(shown.trim_end());
}

/// `-rw-r--r--`, as `ls` shows it.
pub(super) fn mode(entry: &FileEntry) -> String {
    let kind = match entry.kind {
        EntryKind::File => '-',
        EntryKind::Folder => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::Fifo => 'p',
        EntryKind::Socket => 's',
        EntryKind::Device => 'b',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = entry.mode >> shift & 7;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, entry.mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn owner(entry: &FileEntry) -> String {
    let user = entry.user.clone().unwrap_or_else(|| entry.uid.to_string());
    let group = entry.group.clone().unwrap_or_else(|| entry.gid.to_string());
    escape(&format!("{user}:{group}")).into_owned()
}

fn modified(entry: &FileEntry, opened: &Opened<'_>) -> String {
    let zone = opened.now.time_zone().clone();
    let at = entry.modified.map(|at| at.to_zoned(zone).strftime("%Y-%m-%d %H:%M").to_string());
    at.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_shown_as_ls_shows_it() {
        let entry = |kind, mode| FileEntry {
            path: String::new(),
            kind,
            size: 0,
            modified: None,
            mode,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            target: None,
        };
        for (kind, bits, shown) in [
            (EntryKind::File, 0o644, "-rw-r--r--"),
            (EntryKind::File, 0o4755, "-rwsr-xr-x"),
            (EntryKind::Folder, 0o1777, "drwxrwxrwt"),
            (EntryKind::Folder, 0o2640, "drw-r-S---"),
            (EntryKind::Symlink, 0o777, "lrwxrwxrwx"),
        ] {
            assert_eq!(mode(&entry(kind, bits)), shown);
        }
    }
}
