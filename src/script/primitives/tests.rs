//! Tests that every primitive has a doc and an example, and that every example runs.

use std::sync::Arc;

use super::*;
use crate::{
    error::ErrorKind,
    script::{
        reference::{definitions, reference},
        testing::{memory, run_text, value},
    },
};

#[test]
fn every_primitive_has_a_doc_and_an_example() {
    assert!(reference().len() > 30, "{}", reference().len());
    for entry in reference() {
        assert!(
            entry.doc.lines().next().is_some_and(|line| line.len() > 15),
            "{} has no doc",
            entry.signature
        );
        assert!(!entry.examples().is_empty(), "{} has no example", entry.signature);
        let known = entry.namespace.is_empty() || NAMESPACES.contains(&entry.namespace.as_str());
        assert!(known, "{} is in no known namespace", entry.signature);
    }
    for namespace in NAMESPACES {
        assert!(
            reference().iter().any(|entry| entry.namespace == namespace),
            "{namespace} is empty"
        );
    }
}

#[test]
fn every_example_runs() {
    for entry in reference() {
        for example in entry.examples() {
            let (_, host) = memory(&["vol1"]);
            if let Err(error) = run_text(host, &format!("fn main(args) {{\n{example}\n}}")) {
                panic!(
                    "the example of {} fails: {error}\n{:?}\n{example}",
                    entry.signature, error.location
                );
            }
        }
    }
}

#[test]
fn a_primitive_that_can_fail_says_with_which_code_and_another_says_nothing() {
    for entry in reference() {
        let doc = entry.doc.split("```").next().unwrap_or_default().replace('\n', " ");
        let mut sentences = doc.split("Fails with ").skip(1);
        let first = sentences.next();
        assert_eq!(entry.can_fail, first.is_some(), "{}: {doc}", entry.signature);
        assert_eq!(sentences.next(), None, "{} says it twice", entry.signature);
        let Some(code) = first.and_then(|sentence| sentence.split('`').nth(1)) else { continue };
        assert!(ErrorKind::of_code(code).is_some(), "{}: \"{code}\"", entry.signature);
    }
}

#[test]
fn primitives_fail_with_the_codes_of_their_docs() {
    const BACKED_UP: &str =
        "let url = convoy::create_backup(convoy::create_snapshot(\"vol1\").Name).URL; ";
    const MISSING: &str = "\"vfs:///backups?backup=backup-0000000000000000&volume=vol1\"";
    let mut wrong = Vec::new();
    for (body, code) in [
        ("convoy::volume(\"vol9\")", "not_found"),
        ("convoy::create_volume(#{ size: 1 })", "usage"),
        ("convoy::create_volume(#{ name: \"vol1\" })", "daemon"),
        ("convoy::restore(\"vol2\", MISSING)", "not_found"),
        ("BACKED_UP convoy::restore(\"vol1\", url)", "guard"),
        ("convoy::mount(\"vol9\")", "not_found"),
        ("convoy::mount(\"vol9\", \"/mnt\")", "not_found"),
        ("convoy::unmount(\"vol9\")", "not_found"),
        ("convoy::delete_volume(\"vol1\")", "guard"),
        ("convoy::delete_volume(\"vol1\", #{})", "guard"),
        ("convoy::forget_volume(\"vol9\")", "not_found"),
        ("convoy::removal_plan(\"vol9\", true)", "not_found"),
        ("convoy::removal_plan(\"vol1\", false)", "guard"),
        ("convoy::create_snapshot(\"vol9\")", "not_found"),
        ("convoy::snapshot(\"none\")", "not_found"),
        ("convoy::delete_snapshot(\"none\")", "not_found"),
        ("convoy::snapshots(\"vol9\")", "not_found"),
        ("convoy::own_snapshots(\"vol9\")", "not_found"),
        ("convoy::own_backups(\"vol9\")", "not_found"),
        ("convoy::unclear_backups(\"vol9\")", "not_found"),
        ("convoy::safe_copy(\"vol1\")", "guard"),
        ("convoy::backups((), \"nowhere\")", "usage"),
        ("convoy::backup(MISSING)", "not_found"),
        ("convoy::create_backup(\"none\")", "not_found"),
        ("convoy::read_back(#{})", "usage"),
        ("convoy::create_backup(\"none\", \"vfs:///elsewhere\")", "not_found"),
        ("convoy::delete_backup(MISSING)", "not_found"),
        ("BACKED_UP convoy::delete_backup(url)", "guard"),
        ("BACKED_UP convoy::delete_backup(url, #{})", "guard"),
        ("docker::containers_using(\"vol9\")", "not_found"),
        ("docker::quiesced([\"vol9\"], || 1)", "not_found"),
        ("docker::quiesced([1], || 1)", "usage"),
        ("docker::quiesced([\"vol1\"], || throw #{ code: \"busy\", message: \"later\" })", "busy"),
        ("docker::exec(\"none\", \"reindex\")", "daemon"),
        ("config::get(\"none\")", "script"),
        ("notify::email(#{ subject: \"s\" })", "usage"),
        ("notify::webhook(#{})", "usage"),
        ("notify::webhook(#{ url: \"http://example.com\" })", "script"),
        ("parallel([1], 0, |item| item)", "script"),
        ("parallel([1], 1, |item| throw #{ code: \"busy\", message: \"later\" })", "busy"),
        ("retention::plan([], #{})", "usage"),
        ("retention::plan([#{ id: \"a\" }], #{ keep_last: 1 })", "script"),
        (
            "let item = #{ id: \"a\", time: 1 }; retention::plan([item, item], #{ keep_last: 1 })",
            "script",
        ),
        ("retention::policy(#{ keep_last: -1 })", "usage"),
        ("retention::policy(#{ volume: \"vol1\", keep_last: () })", "usage"),
        ("retention::policy(#{ keep_last: \"3\" })", "usage"),
        ("retention::carry_out(\"vol1\", [#{ id: \"a\" }], |id| id)", "script"),
        ("time::parse(\"soon\")", "script"),
        ("time::format(\"soon\")", "script"),
        ("time::format(0, \"%\")", "script"),
        ("time::age(\"soon\")", "script"),
    ] {
        let body = body.replace("BACKED_UP", BACKED_UP).replace("MISSING", MISSING);
        let found = value(&body).map_err(|error| error.kind.code());
        if found != Err(code) {
            wrong.push(format!("{body}: {found:?} in place of {code}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for body in [
        "convoy::backups()",
        "convoy::backups(\"vol1\")",
        "convoy::own_backups(\"vol1\")",
        "convoy::unclear_backups(\"vol1\")",
        "convoy::backups_by_volume(\"vol1\")",
        "convoy::read_back(#{})",
        "convoy::create_backup(convoy::create_snapshot(\"vol1\").Name)",
    ] {
        let (_, mut host) = memory(&["vol1"]);
        Arc::make_mut(&mut host.settings).destination = None;
        let error = run_text(host, &format!("fn main() {{ {body} }}")).expect_err(body);
        assert_eq!(error.kind.code(), "configuration", "{body}: {error}");
    }
}

#[test]
fn signatures_are_in_the_words_of_scripts() {
    let signatures: Vec<&str> = reference().iter().map(|entry| entry.signature.as_str()).collect();
    for signature in [
        "convoy::volume(name: string) -> map",
        "convoy::backups(volume: any, destination: string) -> array",
        "convoy::unmount(volume: string)",
        "convoy::forget_volume(name: string)",
        "convoy::driver_volumes() -> map",
        "time::now() -> int",
        "run::dry_run() -> bool",
        "parallel(items: array, limit: int, action: function) -> array",
    ] {
        assert!(signatures.contains(&signature), "{signature} is not among {signatures:#?}");
    }
}

#[test]
fn editors_get_definitions_of_all_primitives() {
    let definitions = definitions();
    for line in ["module convoy {", "module retention {", "fn create_snapshot(", "fn parallel("] {
        assert!(definitions.contains(line), "no {line:?} in {definitions}");
    }
}

/// Wraps a Markdown list item to lines that fit a terminal. Code in backticks is not broken.
fn wrapped(item: &str) -> String {
    const COLUMNS: usize = 118;
    let (mut text, mut width) = (String::new(), 0);
    let words = item.split('`').enumerate().flat_map(|(number, piece)| {
        // Every second piece is code. A word may consist of code and the characters next to it.
        let is_code = number % 2 == 1;
        let shown = if is_code { format!("`{}`", piece.replace(' ', "\0")) } else { piece.into() };
        shown.chars().collect::<Vec<_>>()
    });
    for word in words.collect::<String>().split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > COLUMNS {
            text += "\n ";
            width = 1;
        }
        if width > 0 {
            text.push(' ');
            width += 1;
        }
        text += word;
        width += length;
    }
    text.replace('\0', " ") + "\n"
}

/// The part of `docs/scripts.md` that is made from the primitives' own docs.
fn chapter() -> String {
    let mut text = String::from("## All functions\n\n");
    let mut namespace = "";
    for entry in reference() {
        if entry.namespace != namespace {
            namespace = &entry.namespace;
            text += &format!("\n### {namespace}\n\n");
        }
        let doc = entry.doc.split("```").next().unwrap_or_default().replace('\n', " ");
        text += &wrapped(&format!("- `{}`: {}", entry.signature, doc.trim()));
    }
    text
}

#[test]
fn the_documentation_lists_every_primitive_as_it_is() {
    let page = include_str!("../../../docs/scripts.md");
    let at = page.find("## All functions").unwrap();
    let chapter = chapter();
    if page[at..] != chapter {
        let made = std::env::temp_dir().join("scripts.md");
        std::fs::write(&made, format!("{}{chapter}", &page[..at])).unwrap();
        panic!("docs/scripts.md is out of date; it should be as {}", made.display());
    }
}

#[test]
fn the_documentation_has_a_row_for_every_code_that_scripts_may_throw() {
    let page = include_str!("../../../docs/scripts.md");
    let rows = page.split("| `error.code` |").nth(1).unwrap().split("\n\n").next().unwrap();
    let cells = rows.lines().skip(1).map(|row| row.split('|').nth(1).unwrap_or_default());
    let mut documented: Vec<&str> =
        cells.flat_map(|codes| codes.split('`').skip(1).step_by(2)).collect();
    let kinds = ErrorKind::ALL.iter().filter(|kind| kind.scripts_may_throw());
    let mut thrown: Vec<&str> = kinds.map(|kind| kind.code()).collect();
    documented.sort_unstable();
    thrown.sort_unstable();
    assert_eq!(documented, thrown);
}

#[test]
fn every_script_in_the_documentation_runs() {
    let page = include_str!("../../../docs/scripts.md");
    let blocks: Vec<&str> =
        page.split("```rhai\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 3);
    for block in blocks {
        let (daemon, host) = memory(&["vol1", "db-one"]);
        let text = if block.contains("fn main") {
            block.to_owned()
        } else {
            format!("fn main() {{\n{block}\n}}")
        };
        let outcome = run_text(host, &text)
            .unwrap_or_else(|error| panic!("{error}\n{:?}\n{block}", error.location));
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        assert_eq!(
            daemon.backup_names().len(),
            usize::from(["create_backup", "convoy::back_up"].iter().any(|it| block.contains(it))),
            "{block}"
        );
    }
}
