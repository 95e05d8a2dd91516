//! What a script may declare.

use serde_json::json;

use crate::{
    error::ErrorKind,
    script::{
        Effect, Library, ParameterKind,
        testing::{folder, script},
    },
};

#[test]
fn a_declaration_is_read_in_the_order_of_its_text() {
    let script = script(
        "//! Effect a thing.\n//!\n//! And more.\nconst PARAMETERS = #{\n zebra: #{ type: \"size\", default: \"2G\", help: \"h\" },\n \
         apple: #{ type: \"choice\", choices: [\"a\", \"b\"], required: true },\n};\nfn main(args) { throw \"not run\" }",
    )
    .unwrap();
    assert_eq!(script.doc, "Effect a thing.\n\nAnd more.");
    assert_eq!(script.digest.len(), 64);
    let [zebra, apple] = script.parameters.as_slice() else { panic!("{:?}", script.parameters) };
    assert_eq!(
        (zebra.name.as_str(), &zebra.kind, zebra.required),
        ("zebra", &ParameterKind::Size, false)
    );
    assert_eq!(
        (zebra.default.clone(), zebra.default_text.as_deref()),
        (Some(json!(2u64 << 30)), Some("2G"))
    );
    assert_eq!(zebra.help, "h");
    assert_eq!(apple.kind, ParameterKind::OneOf(vec!["a".into(), "b".into()]));
    assert!(apple.required);
    assert_eq!(script.signature(), "test [--zebra SIZE] --apple a|b");
}

#[test]
fn each_defect_of_a_declaration_is_shown_at_its_place() {
    for (declaration, message, line, column) in [
        ("#{ v: #{ type: \"strin\" } }", "there is no type \"strin\"", 1, 36),
        ("#{ v: #{ help: \"x\" } }", "\"v\" has no type", 1, 24),
        ("#{ v: #{ type: \"int\", defalt: 1 } }", "\"defalt\" is not known", 1, 43),
        ("#{ v: #{ type: \"int\", default: \"x\" } }", "\"x\" is not a whole number", 1, 52),
        (
            "#{ v: #{ type: \"int\", default: 1, required: true } }",
            "required and has a default",
            1,
            52,
        ),
        ("#{ v: #{ type: \"size\", default: \"1.5g\" } }", "\"1.5g\" is not a size", 1, 53),
        ("#{ v: #{ type: \"int\", required: 1 } }", "must be true or false", 1, 53),
        ("#{ v: #{ type: \"choice\" } }", "a choice without choices", 1, 36),
        ("#{ v: #{ type: [] } }", "one at least", 1, 36),
        ("#{ v: \"string\" }", "must be declared by a map", 1, 27),
        ("#{ v: #{ type: kind() } }", "must be written out, not computed", 1, 36),
        ("#{ \"a b\": #{ type: \"int\" } }", "can't be a parameter's name", 1, 24),
        ("#{ a_b: #{ type: \"int\" }, aB: #{ type: \"int\" } }", "are the same parameter", 1, 47),
        ("5", "must be a map written out here", 1, 21),
    ] {
        let error =
            script(&format!("const PARAMETERS  = {declaration};\nfn main(args) {{}}")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Script, "{declaration}");
        assert!(error.message.contains(message), "{declaration}: {error}");
        let location = error.location.unwrap();
        assert_eq!((location.line, location.column), (line, column), "{declaration}");
        assert!(location.source_line.contains(declaration));
    }
    let error = script("let PARAMETERS = #{};\nfn main(args) {}").unwrap_err();
    assert!(error.message.contains("must be a constant"), "{error}");
}

#[test]
fn every_type_of_a_parameter_can_be_declared_and_is_documented() {
    let page = include_str!("../../../docs/scripts.md");
    for word in ParameterKind::words() {
        let choices = if word == "choice" { ", choices: [\"a\"]" } else { "" };
        let text = format!("const PARAMETERS = #{{ v: #{{ type: \"{word}\"{choices} }} }};");
        let script = script(&format!("{text}\nfn main(args) {{}}")).unwrap();
        assert_eq!(script.parameters[0].kind.word(), word);
        assert!(page.contains(&format!("`\"{word}\"`")) || word == "choice", "{word}");
        assert!(!script.parameters[0].kind.placeholder().is_empty(), "{word}");
    }
    assert!(page.contains("`type: \"choice\", choices:"));
}

#[test]
fn a_script_needs_a_main_that_can_be_called() {
    for (text, message) in [
        ("let x = 1;", "has no function \"main\""),
        ("private fn main(args) {}", "is private"),
        ("fn main(a, b) {}", "has 2 parameters"),
    ] {
        let error = script(text).unwrap_err();
        assert!(error.message.contains(message), "{text}: {error}");
    }
    assert!(script("fn main() {}").is_ok());
}

#[test]
fn a_script_says_itself_that_it_only_reads() {
    let read_only =
        |text: &str| script(&format!("{text}\nfn main() {{ [] }}")).map(|script| script.read_only);
    assert!(read_only("const READ_ONLY = true;").unwrap());
    assert!(!read_only("const READ_ONLY = false;").unwrap());
    assert!(!read_only("").unwrap());
    for (text, message) in [
        ("let READ_ONLY = true;", "READ_ONLY must be a constant"),
        ("const READ_ONLY = 1;", "READ_ONLY must be true or false"),
        ("const READ_ONLY = 1 > 0;", "READ_ONLY must be true or false"),
    ] {
        let error = read_only(text).unwrap_err();
        assert!(error.message.contains(message) && error.location.is_some(), "{error:?}");
    }
    let library = crate::script::Library::new(None).unwrap();
    let only_read = |name: &&str| library.load(name).unwrap().read_only;
    let all = ["backup", "backups", "create", "prune", "remove", "restore", "snapshot", "volumes"];
    assert_eq!(all.iter().copied().filter(only_read).collect::<Vec<_>>(), ["backups", "volumes"]);
}

#[test]
fn a_script_says_itself_what_it_does() {
    let does = |text: &str| script(&format!("{text}\nfn main() {{ [] }}"));
    let says = does("const DOES = [\"snapshot\", \"backup\"];").unwrap();
    assert_eq!(says.does, [Effect::Snapshot, Effect::Backup]);
    assert!(says.may(Effect::Backup) && !says.may_delete());
    assert!(does("const DOES = [\"delete\"];").unwrap().may_delete());
    let silent = does("").unwrap();
    assert!(silent.does.is_empty() && silent.may(Effect::Backup) && silent.may_delete());
    assert!(!does("const READ_ONLY = true;").unwrap().may(Effect::Backup));
    for (text, message, hint) in [
        ("let DOES = [];", "must be a constant", "const DOES = [\"backup\"];"),
        ("const DOES = \"backup\";", "must be a list of words", "const DOES = [\"backup\"];"),
        ("const DOES = [\"bakcup\"];", "does not know \"bakcup\"", "did you mean \"backup\"?"),
        ("const DOES = [7];", "does not know \"7\"", "there are create, snapshot,"),
        ("const DOES = [1 + 1];", "must be a list of words", "const DOES"),
        (
            "const READ_ONLY = true;\nconst DOES = [\"backup\"];",
            "writes nothing",
            "READ_ONLY or DOES",
        ),
    ] {
        let error = does(text).unwrap_err();
        assert!(error.message.contains(message), "{text}: {error}");
        assert!(error.hint.clone().unwrap().contains(hint), "{text}: {:?}", error.hint);
        assert_eq!(error.location.unwrap().line, text.lines().count(), "{text}");
    }
}

#[test]
fn a_script_says_itself_what_an_empty_list_means() {
    let if_empty =
        |text: &str| script(&format!("{text}\nfn main() {{ [] }}")).map(|script| script.if_empty);
    let says = if_empty("const IF_EMPTY = \"all is well\";").unwrap();
    assert_eq!(says.as_deref(), Some("all is well"));
    assert_eq!(if_empty("").unwrap(), None);
    for (text, message) in [
        ("let IF_EMPTY = \"x\";", "IF_EMPTY must be a constant"),
        ("const IF_EMPTY = [\"x\"];", "IF_EMPTY must be a string"),
        ("const IF_EMPTY = \"x\" + 1;", "IF_EMPTY must be a string"),
    ] {
        let error = if_empty(text).unwrap_err();
        assert!(error.message.contains(message), "{text}: {error}");
        assert_eq!(error.location.unwrap().line, 1, "{text}");
    }
    // A script that does not declare it has the declaration of the default script it overrides.
    let folder = folder(&[
        ("backup.rhai", "fn main() { [] }"),
        ("prune.rhai", "const IF_EMPTY = \"all is well\";\nfn main() { [] }"),
    ]);
    let library = Library::new(Some(folder.path().to_owned())).unwrap();
    let words = |name: &str| library.load(name).unwrap().if_empty.unwrap();
    assert_eq!(words("backup"), "there are no volumes");
    assert_eq!(words("prune"), "all is well");
    assert_eq!(words("backups"), "there are no backups");
}

#[test]
fn a_script_in_the_place_of_a_default_one_does_what_that_one_does_and_may_do_more() {
    let folder = folder(&[("backup.rhai", "fn main() { [] }"), ("mine.rhai", "fn main() { [] }")]);
    let library = Library::new(Some(folder.path().to_owned())).unwrap();
    let (backup, mine) = (library.load("backup").unwrap(), library.load("mine").unwrap());
    assert_eq!((backup.does.as_slice(), backup.may_delete()), ([Effect::Backup].as_slice(), true));
    assert_eq!((mine.does.as_slice(), mine.may_delete()), ([].as_slice(), true));
    let default = Library::new(None).unwrap().load("backup").unwrap();
    assert_eq!(
        (default.does.as_slice(), default.may_delete()),
        ([Effect::Backup].as_slice(), false)
    );
}
