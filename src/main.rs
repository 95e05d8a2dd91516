//! Parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    convoy_backups::main(std::env::args_os().skip(1))
}
