//! Tests that errors say what was wrong, where, and what to do.

use std::sync::Arc;

use crate::{
    convoy::memory::Fault,
    error::{Error, ErrorKind},
    script::{
        Library, run,
        testing::{folder, given, memory, run_text, script, value},
    },
};

fn failing(text: &str) -> Error {
    run_text(memory(&["vol1"]).1, text).unwrap_err()
}

#[test]
fn a_syntax_error_has_its_place() {
    let error = script("fn main() {\n    let x = ;\n}").unwrap_err();
    let location = error.location.unwrap();
    assert_eq!(
        (location.line, location.column, location.source_line.as_str()),
        (2, 13, "    let x = ;")
    );
    assert!(location.file.ends_with("test.rhai"));
    assert_eq!(error.kind, ErrorKind::Script);
}

#[test]
fn the_failure_of_a_primitive_is_shown_where_it_was_called() {
    let error = failing(
        "fn main() {\n    let x = 1;\n    inner(x)\n}\nfn inner(x) {\n    convoy::volume(\"vol9\")\n}",
    );
    assert_eq!((error.kind, error.status), (ErrorKind::NotFound, Some(404)));
    let location = error.location.unwrap();
    assert_eq!((location.line, location.source_line.as_str()), (6, "    convoy::volume(\"vol9\")"));
    assert!(location.column >= 5, "{location:?}");
}

#[test]
fn a_failure_inside_an_import_and_a_thread_is_shown_there() {
    let error = failing(
        "import \"lib/volumes\" as volumes;\nfn main() {\n    parallel([1], 2, |i| volumes::each(\"vol1\", |v| nonsense(v)))\n}",
    );
    assert!(error.message.contains("there is no function \"nonsense\" for (string)"), "{error}");
    assert_eq!(error.location.unwrap().line, 3);
    let error = failing(
        "import \"lib/volumes\" as volumes;\nfn main() {\n    volumes::each(\"vol1\", 5)\n}",
    );
    assert_eq!(error.location.unwrap().file, "lib/volumes.rhai (built in)");
}

#[test]
fn misspelt_names_are_answered_with_the_right_ones() {
    for (body, message, hint) in [
        (
            "convoy::volume()",
            "\"convoy::volume\" can't be called with nothing",
            "there is convoy::volume(name: string) -> map",
        ),
        ("convoy::volume(5)", "can't be called with (int)", "convoy::volume(name: string)"),
        (
            "convoy::backups(1, 2, 3)",
            "with 3 arguments",
            "convoy::backups() -> array, and convoy::backups(volume: any)",
        ),
        (
            "convoy::volums()",
            "there is no function \"convoy::volums\"",
            "did you mean \"convoy::volumes\"?",
        ),
        ("convoy::frobnicate()", "there is no function \"convoy::frobnicate\"", "convoy:: has "),
        ("convoi::volumes()", "there is no namespace \"convoi\"", "did you mean \"convoy\"?"),
        ("paralel([], 1, |x| x)", "there is no function \"paralel", "did you mean \"parallel\"?"),
        ("let volume = 1; volum", "there is no variable \"volum\"", "its own variables"),
        ("convoy::volume(\"vol1\").name", "there is no \"name\" in this map", "if \"name\" in map"),
        (
            "config::get(\"destinaton\")",
            "the configuration has no \"destinaton\"",
            "did you mean \"destination\"?",
        ),
        (
            "convoy::delete_volume(\"vol1\", #{ without_backups: true })",
            "no option \"without_backups\"",
            "did you mean \"without_backup\"?",
        ),
        (
            "retention::plan([], #{ keep_lst: 1 })",
            "no option \"keep_lst\"",
            "did you mean \"keep_last\"?",
        ),
        (
            "let default = 1; switch default { 1 => spawn }",
            "\"spawn\" is a word that Rhai keeps",
            "in quotes",
        ),
    ] {
        let error = value(body).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Script, "{body}: {error}");
        assert!(error.message.contains(message), "{body}: {error}");
        assert!(error.hint.clone().unwrap_or_default().contains(hint), "{body}: {:?}", error.hint);
        assert_eq!(error.location.map(|location| location.line), Some(1), "{body}");
    }
}

#[test]
fn a_misspelt_primitive_is_found_before_anything_runs() {
    let error = script(
        "fn main() {\n    convoy::create_snapshot(\"vol1\");\n    if false { [1].map(|x| convoy::bakup(x)); }\n}",
    )
    .unwrap_err();
    assert!(error.message.contains("there is no function \"convoy::bakup\""), "{error}");
    assert_eq!(error.location.unwrap().line, 3);
    // An import under the name of a namespace hides the namespace.
    assert!(script("import \"lib/volumes\" as time;\nfn main() { time::message(1) }").is_ok());
}

#[test]
fn a_misspelt_primitive_in_an_import_is_found_there() {
    let folder = folder(&[
        ("test.rhai", "import \"lib/mine\" as mine;\nfn main() { 1 }"),
        ("lib/mine.rhai", "fn f() {\n    time::nov()\n}"),
    ]);
    let script = Library::new(Some(folder.path().to_owned())).unwrap().load("test").unwrap();
    let error = run(&script, &given(&script, "").unwrap(), Arc::new(memory(&[]).1)).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("did you mean \"time::now\"?"));
    let location = error.location.unwrap();
    assert!(location.file.ends_with("lib/mine.rhai"), "{location:?}");
    assert_eq!((location.line, location.source_line.as_str()), (2, "    time::nov()"));
}

#[test]
fn a_mistake_of_the_scripts_that_it_catches_says_its_line() {
    let (_, host) = memory(&["vol1"]);
    let outcome = run_text(
        host,
        "fn main() {\n  try {\n    nonsense();\n  } catch (error) {\n    run::failed(\"vol1\", error);\n  }\n}",
    );
    assert_eq!(outcome.unwrap().failures[0].message, "function not found: nonsense () (line 3)");
}

#[test]
fn names_that_convoy_would_choke_on_never_reach_it() {
    for body in [
        "convoy::volume(\"a\")",
        "convoy::create_snapshot(\"../x\")",
        "convoy::restore(\"vol2\", \"nonsense\")",
    ] {
        let (daemon, host) = memory(&["vol1"]);
        let error = run_text(host, &format!("fn main() {{ {body} }}")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage, "{body}: {error}");
        assert!(error.hint.is_some());
        assert!(daemon.calls().is_empty(), "{body}");
    }
}

#[test]
fn a_caught_failure_says_all_that_is_known_of_it() {
    let (daemon, host) = memory(&["vol1"]);
    let error = Error::new(ErrorKind::Daemon, "device is busy")
        .with_status(400)
        .with_request("POST /snapshots/create");
    daemon.fault("create_snapshot", Fault::Fails(error.with_hint("wait")));
    let outcome = run_text(
        host,
        "fn main() { try { convoy::create_snapshot(\"vol1\") } catch (e) { return e; } }",
    )
    .unwrap();
    assert_eq!(
        outcome.result,
        serde_json::json!({
            "code": "daemon", "hint": "wait", "message": "device is busy", "request": "POST /snapshots/create", "status": 400,
        })
    );
}

#[test]
fn what_a_script_throws_is_the_error_of_its_run() {
    let error = failing("fn main() {\n    throw \"no luck\"\n}");
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Script, "no luck"));
    assert_eq!(error.location.unwrap().line, 2);
    let error =
        failing("fn main() { throw #{ code: \"usage\", message: \"wrong\", hint: \"do right\" } }");
    assert_eq!((error.kind, error.hint.as_deref()), (ErrorKind::Usage, Some("do right")));
    // A script can't pretend that its run was cancelled.
    let error = failing("fn main() { throw #{ code: \"cancelled\", message: \"x\" } }");
    assert_eq!(error.kind, ErrorKind::Script);
}

#[test]
fn a_result_that_is_no_json_is_refused() {
    for body in
        ["timestamp()", "|x| x", "[#{ a: |x| x }]", "let a = []; for i in 0..100 { a = [a]; } a"]
    {
        let error = value(body).unwrap_err();
        assert!(error.message.contains("can't be written as JSON: there is a "), "{body}: {error}");
    }
}
