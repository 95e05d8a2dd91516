//! `man`: the manual's pages, for packagers: one for the program, one for each command, and one for
//! the crontab's format.
//!
//! The pages are made from the tree of commands and the table of settings, so they always agree
//! with the program. The user's own scripts are left out: a package is not made for one host.

use std::{fs, path::Path};

use clap::{Arg, ArgMatches, Command};
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, italic, roman},
};

use crate::{
    config::SETTINGS,
    error::{Error, Result},
    files::write_whole,
};

/// The heading in the middle of each page's first line.
const MANUAL: &str = "convoy-backups manual";

/// The page of the crontab's format, written by hand.
const CRONTAB: &str = include_str!("../../packaging/man/convoy-backups-crontab.5");

pub(super) fn command() -> Command {
    Command::new("man")
        .about("Write the manual's pages; who packages the program needs them")
        .hide(true)
        .arg(
            Arg::new("folder")
                .value_name("DIR")
                .required(true)
                .help("where to; it is made if need be"),
        )
}

/// Writes the pages. `tree` has the commands of the program and of the built-in scripts.
pub(super) fn man(tree: Command, matches: &ArgMatches) -> Result<u8> {
    let folder = matches.get_one::<String>("folder").map(Path::new).unwrap_or(Path::new("."));
    let failed = |error: &std::io::Error| {
        Error::io(format!("cannot write manual pages to \"{}\"", folder.display()), error)
            .with_hint("name a folder that this user can write to")
    };
    fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    for (name, page) in pages(tree)? {
        write_whole(&folder.join(name), page.as_bytes()).map_err(|error| failed(&error))?;
    }
    Ok(0)
}

/// Makes the pages: each with its file name and text.
fn pages(mut tree: Command) -> Result<Vec<(String, String)>> {
    tree.build();
    let mut pages = vec![(
        "convoy-backups-crontab.5".to_owned(),
        CRONTAB.replace("@VERSION@", env!("CARGO_PKG_VERSION")),
    )];
    let mut commands = vec![&tree];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().filter(|command| !command.is_hide_set()));
        let page = page(command, command.get_name() == tree.get_name());
        let page =
            page.map_err(|error| Error::internal(format!("a manual page can't be made: {error}")))?;
        pages.push(page);
    }
    Ok(pages)
}

fn page(command: &Command, is_whole: bool) -> std::io::Result<(String, String)> {
    let source = concat!("convoy-backups ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone());
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    // clap_mangen's title is not used. A reproducible package has no date, and without a date
    // that title moves its other fields up.
    let mut text =
        format!(".TH {} 1 \"\" \"{source}\" \"{MANUAL}\"\n", name.replace('-', "\\-")).into_bytes();
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut more = Roff::new();
    if is_whole {
        environment(&mut more);
        section(&mut more, "FILES", &FILES.map(|(name, what)| (italic(name), what.to_owned())));
        section(
            &mut more,
            "EXIT STATUS",
            &EXIT_CODES.map(|(code, what)| (bold(code), what.to_owned())),
        );
    }
    let others = if is_whole {
        "convoy-backups-crontab(5), restic(1), crontab(5)"
    } else {
        "convoy-backups(1), convoy-backups-crontab(5)"
    };
    more.control("SH", ["SEE ALSO"]).text([roman(others)]);
    more.to_writer(&mut text)?;
    Ok((man.get_filename(), String::from_utf8_lossy(&text).into_owned()))
}

/// Adds every setting, as `config` lists them.
fn environment(page: &mut Roff) {
    let items: Vec<_> = SETTINGS
        .iter()
        .map(|setting| {
            let default =
                setting.default.map(|default| format!(" Default: {default}")).unwrap_or_default();
            (bold(setting.name), format!("{}.{default}", sentence(&setting.help())))
        })
        .collect();
    section(page, "ENVIRONMENT", &items);
    page.control("PP", []).text([roman(
        "Each of them may be given as NAME_FILE, the name of a file that holds the value. Flags win over both. \
         \"convoy-backups config\" shows what is in force, and where it comes from.",
    )]);
}

fn section(page: &mut Roff, title: &str, items: &[(Inline, String)]) {
    page.control("SH", [title]);
    for (name, what) in items {
        page.control("TP", []).text([name.clone()]).text([roman(what)]);
    }
}

/// The text with a capital letter at its beginning.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

const FILES: [(&str, &str); 5] = [
    (
        "/etc/convoy-backups/crontab",
        "What \"serve\" does when, unless BKUP_CRONTAB names another; see convoy-backups-crontab(5).",
    ),
    (
        "/etc/default/convoy-backups",
        "The settings of the system's services. They hold for other commands, too, where the environment says nothing; see BKUP_DEFAULTS.",
    ),
    (
        "/var/lib/convoy-backups",
        "The data folder of root: what ran, the API's token, and the built-in daemon's volumes and snapshots.",
    ),
    ("~/.local/share/convoy-backups", "The data folder of everyone else."),
    (
        "/var/run/convoy/convoy.sock",
        "Convoy's socket. Where it is, it is used; where it is not, the built-in daemon is.",
    ),
];

const EXIT_CODES: [(&str, &str); 5] = [
    ("0", "Done."),
    ("1", "Failed."),
    ("2", "Wrong usage or configuration: nothing was done."),
    ("3", "Partial: some of the volumes failed, and the result says which and why."),
    ("75", "Busy: another run holds the lock. Try later."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::commands::tree, script::Library};

    fn built_in() -> Vec<(String, String)> {
        pages(tree(&Library::new(None).unwrap())).unwrap()
    }

    #[test]
    fn there_is_a_page_for_each_command_and_for_the_crontab_and_none_for_what_is_hidden() {
        let pages = built_in();
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in [
            "convoy-backups.1",
            "convoy-backups-backup.1",
            "convoy-backups-runs-show.1",
            "convoy-backups-crontab.5",
        ] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        assert!(!names.contains(&"convoy-backups-man.1"));
    }

    #[test]
    fn the_page_of_the_whole_names_every_setting() {
        let pages = built_in();
        let (_, whole) = pages.iter().find(|(name, _)| name == "convoy-backups.1").unwrap();
        for setting in SETTINGS {
            assert!(whole.contains(&format!("\\fB{}\\fR", setting.name)), "{}", setting.name);
        }
    }
}
