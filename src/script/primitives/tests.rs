//! Every primitive has a doc and an example, and every example runs.

use super::*;
use crate::script::{
    reference::{definitions, reference},
    testing::{memory, run_text},
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
        text += &format!("- `{}`: {}\n", entry.signature, doc.trim());
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
            usize::from(block.contains("create_backup")),
            "{block}"
        );
    }
}
