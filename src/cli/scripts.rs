//! `scripts list | show | check | new | definitions`.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};
use serde_json::json;

use super::{
    context::Context,
    print::{print_json, print_line},
};
use crate::{
    app, diagnostic,
    error::{Error, Result},
    output::{Cell, Column, table},
    script::{self, Library},
    text::Style,
};

/// The text of a new script.
const TEMPLATE: &str = include_str!("template.rhai");

pub(super) fn command() -> Command {
    let file = |name: &'static str| Arg::new(name).value_name("FILE");
    Command::new("scripts")
        .about("List, show, check or begin scripts")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("The scripts there are, and where each comes from"))
        .subcommand(
            Command::new("show")
                .about("Print a script's source")
                .arg(Arg::new("name").value_name("NAME").required(true)),
        )
        .subcommand(
            Command::new("check")
                .about("Check scripts without running them: these files, or all there are")
                .arg(file("files").num_args(0..)),
        )
        .subcommand(
            Command::new("new")
                .about("Begin a script of your own in BKUP_SCRIPTS_DIR, or here")
                .arg(Arg::new("name").value_name("NAME").required(true)),
        )
        .subcommand(
            Command::new("definitions").about("Print all primitives for an editor (.d.rhai)"),
        )
}

pub(super) fn scripts(context: &Context, matches: &ArgMatches) -> Result<u8> {
    let Some((name, matches)) = matches.subcommand() else {
        return Err(Error::internal("clap found no command"));
    };
    match name {
        "list" => list(context),
        "show" => show(context, &value(matches, "name")),
        "check" => {
            let files: Vec<PathBuf> = matches
                .get_many::<String>("files")
                .into_iter()
                .flatten()
                .map(PathBuf::from)
                .collect();
            check(context, &files)
        }
        "new" => new(context, &value(matches, "name")),
        _ => {
            print_line(script::definitions().trim_end());
            Ok(0)
        }
    }
}

fn value(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
}

fn list(context: &Context) -> Result<u8> {
    let library = app::library(&context.config)?;
    let listed = library.list()?;
    if context.flags.json {
        let all: Vec<_> = listed.iter().map(|listed| describe(&library, &listed.name)).collect();
        print_json(&all);
    } else {
        let row = |listed: script::Listed| {
            let doc = match listed.doc {
                Ok(doc) => Cell::from(doc),
                Err(error) => Cell::from(format!("broken: {error}")).styled(Style::Red),
            };
            vec![Cell::from(listed.name), Cell::from(listed.origin.to_string()), doc]
        };
        let (width, colour) = context.output();
        let columns = [Column::left("NAME"), Column::left("FROM"), Column::words("WHAT IT DOES")];
        print_line(
            table(&columns, listed.into_iter().map(row).collect(), width, colour).trim_end(),
        );
        for shadowing in library.shadowing() {
            print_line(&shadowing.to_string());
        }
    }
    Ok(0)
}

fn describe(library: &Library, name: &str) -> serde_json::Value {
    match library.load(name) {
        Ok(script) => script::describe::script(&script),
        Err(error) => json!({ "name": name, "error": diagnostic::to_json(&error) }),
    }
}

fn show(context: &Context, name: &str) -> Result<u8> {
    let library = app::library(&context.config)?;
    if context.flags.json {
        let mut shown = describe(&library, name);
        shown["source"] = library.source(name)?.0.into();
        print_json(&shown);
    } else {
        print_line(library.source(name)?.0.trim_end());
    }
    Ok(0)
}

/// Checks these files, or all scripts. Returns 1 if one is broken.
fn check(context: &Context, files: &[PathBuf]) -> Result<u8> {
    let library = app::library(&context.config)?;
    let checked: Vec<(String, Result<script::Script>)> = if files.is_empty() {
        library
            .list()?
            .into_iter()
            .map(|listed| (listed.name.clone(), library.load(&listed.name)))
            .collect()
    } else {
        files.iter().map(|file| (file.display().to_string(), library.load_file(file))).collect()
    };
    let broken = checked.iter().filter(|(_, script)| script.is_err()).count();
    if context.flags.json {
        let all: Vec<_> = checked
            .iter()
            .map(|(name, script)| json!({ "script": name, "error": script.as_ref().err().map(diagnostic::to_json) }))
            .collect();
        print_json(&all);
    }
    for (name, script) in checked {
        match script {
            Ok(script) if !context.flags.json && !context.flags.quiet => {
                print_line(&format!("ok      {name}: {}", script.signature()))
            }
            Ok(_) => {}
            Err(error) => context.show_error(&error),
        }
    }
    if !context.flags.json && !context.flags.quiet {
        for shadowing in library.shadowing() {
            print_line(&format!("note    {shadowing}"));
        }
    }
    Ok(u8::from(broken > 0))
}

/// Makes a new script from the template, in the user's folder.
fn new(context: &Context, name: &str) -> Result<u8> {
    script::library::check_name(name)?;
    let folder = match &context.config.scripts_dir {
        Some(folder) => {
            // A user who configures a folder of scripts and makes the first script wants both.
            std::fs::create_dir_all(folder).map_err(|error| {
                Error::io(format_args!("cannot make the folder \"{}\"", folder.display()), &error)
            })?;
            folder.clone()
        }
        None => PathBuf::from("."),
    };
    let path = folder.join(format!("{name}.rhai"));
    write_new(&path, &TEMPLATE.replace("{name}", name))?;
    print_line(&format!("wrote {}", path.display()));
    if context.config.scripts_dir.is_none() {
        print_line("Set BKUP_SCRIPTS_DIR (or --scripts-dir) to its folder, so that it is found.");
    }
    if Library::new(None)?.list()?.iter().any(|listed| listed.name == name) {
        print_line(&format!("It overrides the built-in script \"{name}\" there."));
    }
    print_line(&format!("Check it with \"convoy-backups scripts check {}\".", path.display()));
    Ok(0)
}

fn write_new(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let written = std::fs::File::create_new(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| {
        let failed = Error::io(format_args!("cannot write \"{}\"", path.display()), &error);
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                failed.with_hint("take another name, or edit that file")
            }
            _ => failed,
        }
    })
}
