//! `completions`: a shell's completion script. The user's own scripts are among the commands.

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::print::print_line;
use crate::error::Result;

pub(super) fn command() -> Command {
    Command::new("completions")
        .about("Print the completion script of a shell")
        .arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell)))
}

/// Prints the completion script. `tree` has all commands, including the scripts.
pub(super) fn completions(mut tree: Command, matches: &ArgMatches) -> Result<u8> {
    let shell = matches.get_one::<Shell>("shell").copied().unwrap_or(Shell::Bash);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut tree, "convoy-backups", &mut script);
    print_line(String::from_utf8_lossy(&script).trim_end());
    Ok(0)
}
