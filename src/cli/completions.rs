//! `completions`: a shell's completion script, the user's own scripts among the commands.

use clap::ArgMatches;
use clap_complete::Shell;

use super::{Context, commands};
use crate::{app, error::Result};

pub(super) fn completions(context: &Context, matches: &ArgMatches) -> Result<u8> {
    let shell = matches.get_one::<Shell>("shell").copied().unwrap_or(Shell::Bash);
    let mut tree = commands::tree(&app::library(&context.config)?);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut tree, "convoy-backups", &mut script);
    super::print_line(String::from_utf8_lossy(&script).trim_end());
    Ok(0)
}
