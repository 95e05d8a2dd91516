//! Sorts the words of the command line: the flags that every command knows, the command, and the
//! command's own words.
//!
//! Scripts declare their own parameters, so the arguments of a script are left unchanged for
//! `script::arguments` to check.

use std::ffi::OsString;

use crate::{
    config::Override,
    error::{Error, Result},
    suggest,
    units::parse_duration,
};

/// The flags that every command knows, wherever they stand.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    /// Reads are real, and nothing is written.
    pub(crate) dry_run: bool,
    /// Standard output is JSON only.
    pub(crate) json: bool,
    /// Only errors are logged.
    pub(crate) quiet: bool,
    /// The number of `-v`.
    pub(crate) verbose: u8,
    /// The limit of a run.
    pub(crate) timeout: Option<std::time::Duration>,
    /// The settings that flags give.
    pub(crate) overrides: Vec<Override>,
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Words {
    Script {
        name: String,
        /// Not checked yet.
        arguments: Vec<String>,
    },
    /// A command of the program's own, for clap to parse.
    Command(Vec<String>),
}

/// The settings that have a flag: the flag as users type it, the variable, the name of its value,
/// and the help.
pub(crate) const CONFIGURATION_FLAGS: [(&str, &str, &str, &str); 5] = [
    (
        "--convoy",
        "BKUP_CONVOY",
        "ADDRESS",
        "the daemon: unix:///path/to/socket, or builtin:/folder",
    ),
    (
        "--destination",
        "BKUP_BACKUP_URL",
        "URL",
        "where backups are: vfs:///folder or s3://bucket@region/path",
    ),
    (
        "--as-of",
        "BKUP_S3_AS_OF",
        "TIME",
        "look at the bucket as it was then (7d ago, or 2026-11-23T07:00); nothing is written to it",
    ),
    ("--data-dir", "BKUP_DATA_DIR", "DIR", "where this program keeps its own data"),
    ("--scripts-dir", "BKUP_SCRIPTS_DIR", "DIR", "a folder with scripts of your own"),
];

/// The program's own commands.
pub(crate) const COMMANDS: [&str; 20] = [
    "run",
    "runs",
    "scripts",
    "serve",
    "status",
    "daemon",
    "demo",
    "config",
    "crontab",
    "doctor",
    "healthcheck",
    "ls",
    "find",
    "cat",
    "diff",
    "dump",
    "notify",
    "completions",
    "man",
    "help",
];

/// The flags that stood for commands in the Node version: `create.js --backup --volume vol1`.
const OLD_COMMANDS: [&str; 7] =
    ["snapshot", "backup", "backups", "volumes", "create", "restore", "remove"];

/// Sorts the words after the program's name.
///
/// # Errors
/// A usage error for a word that is not UTF-8, or a flag without its value.
pub(crate) fn sort(words: impl Iterator<Item = OsString>) -> Result<(Flags, Words)> {
    let (mut flags, mut rest) = (Flags::default(), Vec::new());
    let mut words = words.map(|word| {
        word.into_string()
            .map_err(|word| Error::usage(format!("the argument {word:?} is not UTF-8")))
    });
    while let Some(word) = words.next().transpose()? {
        if word == "--" {
            rest.extend(words.by_ref().collect::<Result<Vec<_>>>()?);
            break;
        }
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                (name.to_owned(), Some(value.to_owned()))
            }
            _ => (word.clone(), None),
        };
        let mut value = |attached: Option<String>| match attached {
            Some(value) => Ok(value),
            None => words
                .next()
                .transpose()?
                .ok_or_else(|| Error::usage(format!("\"{name}\" needs a value behind it"))),
        };
        match name.as_str() {
            "--dry-run" | "--dryRun" if attached.is_none() => flags.dry_run = true,
            "--json" if attached.is_none() => flags.json = true,
            "--quiet" | "-q" if attached.is_none() => flags.quiet = true,
            "--verbose" | "-v" if attached.is_none() => flags.verbose += 1,
            "-vv" => flags.verbose += 2,
            "-vvv" => flags.verbose += 3,
            "--timeout" => {
                let text = value(attached)?;
                flags.timeout =
                    Some(parse_duration(&text).map_err(|error| error.context("--timeout"))?);
            }
            _ => match CONFIGURATION_FLAGS.iter().find(|(flag, ..)| name == *flag) {
                Some((flag, variable, ..)) => {
                    let value = value(attached)?;
                    flags.overrides.push(Override { name: variable, flag, value });
                }
                None => rest.push(word),
            },
        }
    }
    Ok((flags, command(rest)?))
}

fn command(mut rest: Vec<String>) -> Result<Words> {
    let Some(first) = rest.first().cloned() else { return Ok(Words::Command(rest)) };
    if first.starts_with('-') {
        return old_command(rest);
    }
    if first == "help" {
        // `help backup` is `backup --help`, and `help` alone is `--help`.
        rest.remove(0);
        rest.push("--help".to_owned());
        return command(rest);
    }
    if COMMANDS.contains(&first.as_str())
        && !(first == "run" && rest.get(1).is_some_and(|name| !name.starts_with('-')))
    {
        return Ok(Words::Command(rest));
    }
    let start = usize::from(first == "run");
    let arguments = rest.split_off(start + 1);
    Ok(Words::Script { name: rest.swap_remove(start), arguments })
}

/// Translates a command of the Node version: `--backup --volume vol1`, in any order, is `backup
/// --volume vol1`.
fn old_command(mut rest: Vec<String>) -> Result<Words> {
    let is_old =
        |word: &String| word.strip_prefix("--").is_some_and(|name| OLD_COMMANDS.contains(&name));
    match rest.iter().filter(|word| is_old(word)).count() {
        0 => match rest.first().map(String::as_str) {
            Some("-h" | "--help" | "-V" | "--version") => Ok(Words::Command(rest)),
            Some(flag) => {
                let name = flag.trim_start_matches('-');
                let error = Error::usage(format!("\"{flag}\" is not known here"));
                Err(match suggest::did_you_mean(name, COMMANDS.into_iter().chain(OLD_COMMANDS)) {
                    Some(hint) => error.with_hint(hint),
                    None => error.with_hint("see \"convoy-backups --help\""),
                })
            }
            None => Ok(Words::Command(rest)),
        },
        1 => {
            let at = rest.iter().position(is_old).unwrap_or_default();
            let name = rest.remove(at).trim_start_matches('-').to_owned();
            Ok(Words::Script { name, arguments: rest })
        }
        _ => Err(Error::usage("more than one command was given")
            .with_hint("give one of them, such as \"backup --volume vol1\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(line: &str) -> (Flags, Words) {
        sort(line.split_whitespace().map(OsString::from)).unwrap()
    }

    fn script(line: &str) -> (String, String) {
        match sorted(line).1 {
            Words::Script { name, arguments } => (name, arguments.join(" ")),
            Words::Command(words) => panic!("{words:?} is no script"),
        }
    }

    #[test]
    fn the_lines_in_peoples_crontabs_still_work() {
        for (line, name, arguments) in [
            ("--backup --volume vol1 --createSnapshot", "backup", "--volume vol1 --createSnapshot"),
            ("--volume vol1 --createSnapshot --backup", "backup", "--volume vol1 --createSnapshot"),
            ("--snapshot", "snapshot", ""),
            (
                "--create --volume V1 --size 40G --type ext4",
                "create",
                "--volume V1 --size 40G --type ext4",
            ),
            (
                "--restore --volume NEW --backupurl vfs:///x?a=b",
                "restore",
                "--volume NEW --backupurl vfs:///x?a=b",
            ),
            ("--remove --volume V1 --all", "remove", "--volume V1 --all"),
            ("run backup --volume vol1", "backup", "--volume vol1"),
            ("mine --anything goes", "mine", "--anything goes"),
            ("help backup", "backup", "--help"),
            ("help run backup", "backup", "--help"),
        ] {
            assert_eq!(script(line), (name.to_owned(), arguments.to_owned()), "{line}");
        }
        assert!(sort(["--backup", "--restore"].into_iter().map(OsString::from)).is_err());
        assert!(sort(["--bakup"].into_iter().map(OsString::from)).is_err());
    }

    #[test]
    fn flags_of_every_command_may_stand_anywhere() {
        let (flags, words) =
            sorted("--json backup --volume vol1 -vv --dry-run --timeout=2h --destination vfs:///b");
        assert!(flags.json && flags.dry_run && flags.verbose == 2);
        assert_eq!(flags.timeout.unwrap().as_secs(), 7_200);
        assert_eq!(
            (flags.overrides[0].value.as_str(), flags.overrides[0].flag),
            ("vfs:///b", "--destination")
        );
        assert!(
            matches!(words, Words::Script { arguments, .. } if arguments == ["--volume", "vol1"])
        );
        let (flags, words) = sorted("mine -- --json");
        assert!(
            !flags.json
                && matches!(words, Words::Script { arguments, .. } if arguments == ["--json"])
        );
        assert!(sort(["backup", "--timeout"].into_iter().map(OsString::from)).is_err());
    }

    #[test]
    fn no_script_may_name_a_parameter_like_a_flag_of_every_command() {
        for (flag, ..) in CONFIGURATION_FLAGS {
            assert!(
                crate::script::manifest::parameters::RESERVED
                    .contains(&flag.trim_start_matches('-').replace('-', "_").as_str()),
                "{flag}"
            );
        }
    }

    #[test]
    fn the_programs_own_commands_go_to_clap() {
        for line in [
            "",
            "--help",
            "help",
            "help help",
            "help doctor",
            "-V",
            "scripts list",
            "run",
            "run --help",
            "doctor",
            "daemon --root /x --socket /y",
        ] {
            assert!(matches!(sorted(line).1, Words::Command(_)), "{line}");
        }
    }
}
