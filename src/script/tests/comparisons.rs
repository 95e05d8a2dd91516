//! Tests that a comparison without a meaning throws, in place of being `false`.

use serde_json::json;

use crate::{
    error::ErrorKind,
    script::testing::{memory, run_text, script, value},
};

/// An expression for each type that a script can have.
const VALUES: [(&str, &str); 13] = [
    ("nothing", "()"),
    ("bool", "true"),
    ("int", "7"),
    ("float", "7.5"),
    ("char", "'a'"),
    ("text", "\"a\""),
    ("array", "[1]"),
    ("blob", "blob(2, 0)"),
    ("map", "#{ a: 1 }"),
    ("function", "|x| x"),
    ("timestamp", "timestamp()"),
    ("range", "0..3"),
    ("inclusive range", "0..=3"),
];

fn have_an_order(left: &str, right: &str) -> bool {
    let both = |kinds: &[&str]| kinds.contains(&left) && kinds.contains(&right);
    both(&["int", "float"]) || both(&["char", "text"]) || both(&["bool"]) || both(&["timestamp"])
}

#[test]
fn every_comparison_of_types_without_an_order_throws() {
    let mut wrong = Vec::new();
    for (left, x) in VALUES {
        for (right, y) in VALUES {
            for operator in ["<", "<=", ">", ">="] {
                let body = format!("let x = {x}; let y = {y}; x {operator} y");
                let found = value(&body);
                let as_expected = match &found {
                    Ok(result) => have_an_order(left, right) && result.is_boolean(),
                    Err(error) => {
                        !have_an_order(left, right)
                            && error.kind == ErrorKind::Script
                            && error.message.contains("can't be compared")
                            && error.hint.is_some()
                            && error.location.as_ref().is_some_and(|place| place.line == 1)
                    }
                };
                if !as_expected {
                    wrong.push(format!("{left} {operator} {right}: {found:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
}

#[test]
fn comparisons_with_an_order_are_as_ever() {
    for (body, expected) in [
        ("1 < 2", true),
        ("2 <= 1", false),
        ("1 < 1.5", true),
        ("1.5 >= 2", false),
        ("0.1 + 0.2 <= 0.3", true),
        ("\"a\" < \"b\"", true),
        ("\"b\" <= \"a\"", false),
        ("'a' < \"b\"", true),
        ("false < true", true),
        ("time::now() > 0", true),
        ("let start = timestamp(); timestamp() >= start", true),
        ("() == ()", true),
        ("() == 5", false),
        ("\"5\" == 5", false),
        ("\"5\" != 5", true),
        ("[1, \"a\", ()] == [1, \"a\", ()]", true),
        ("() in [(), \"completed\"]", true),
        ("5 in [\"5\", 5]", true),
        ("5 in 0..10", true),
        ("switch \"a\" { 0..10 => true, _ => false }", false),
    ] {
        assert_eq!(value(body).unwrap(), json!(expected), "{body}");
    }
}

#[test]
fn the_hint_says_what_to_do_with_the_text() {
    for (body, message, hint) in [
        (
            "let made = \"Thu Nov 26 14:03:22 +0000 2026\"; made > time::now()",
            "a text can't be compared with a number: \"Thu Nov 26 14:03:22 +0000 2026\" > ",
            "time::parse",
        ),
        (
            "convoy::volume(\"vol1\").CreatedTime < 5",
            "a text can't be compared with a number",
            "time::parse",
        ),
        (
            "\"100008\" > 10",
            "a text can't be compared with a number: \"100008\" > 10",
            "BackupSizeBytes",
        ),
        ("9 * 3600 > \"36h\"", "a number can't be compared with a text", "36 * 3600"),
        ("() > 5", "nothing can't be compared with a number: () > 5", "if value != ()"),
        ("[1] > [0]", "an array can't be compared with an array", "numbers with numbers"),
        // Times of the daemon's compare by the weekday's name.
        (
            "\"Wed Nov 25 14:03:22 +0000 2026\" > \"Thu Nov 26 14:03:22 +0000 2026\"",
            "times as texts can't be compared",
            "time::parse",
        ),
    ] {
        let error = value(body).unwrap_err();
        assert!(error.message.contains(message), "{body}: {error}");
        assert!(error.hint.as_deref().unwrap_or_default().contains(hint), "{body}: {error:?}");
    }
}

#[test]
fn a_wrong_retention_by_hand_deletes_nothing() {
    let (daemon, host) = memory(&["vol1"]);
    let error = run_text(
        host,
        r#"fn main() {
            for i in 0..3 { convoy::create_backup(convoy::create_snapshot("vol1").Name); }
            let cutoff = time::now() - 30 * 86400;
            let all = convoy::backups("vol1");
            let young = all.filter(|b| b.CreatedTime > cutoff);
            for b in all { if b in young { continue; } try { convoy::delete_backup(b.BackupURL); } catch { } }
        }"#,
    )
    .unwrap_err();
    assert!(error.message.contains("a text can't be compared with a number"), "{error}");
    assert_eq!(error.location.unwrap().line, 5);
    assert_eq!(daemon.backup_names().len(), 3);
}

#[test]
fn a_comparison_inside_of_a_sort_throws_too() {
    for body in [
        "let a = [#{ t: \"x\" }, #{ t: 1 }]; a.sort(|a, b| a.t > b.t); a",
        "let a = [#{ t: \"x\" }, #{ t: 1 }]; a.sort_by(|a, b| a.t > b.t); a",
        "let a = [\"b\", 1]; a.sort(); a",
        "let a = [1, 2]; a.sort(|a, b| ()); a",
        "let a = [1, 2]; a.sort(|a, b| convoy::volume(\"vol9\")); a",
        "let a = [(), ()]; a.sort(|a, b| a < b); a",
        "let a = [\"x\", 1]; a.dedup(|a, b| a < b); a",
        "max(\"9\", 10)",
        "min((), 1)",
        "\"Thu\" in 0..10",
    ] {
        assert!(value(body).is_err(), "{body}");
    }
    for (body, sorted) in [
        ("let a = [3, 1, 2]; a.sort(|a, b| a - b); a", json!([1, 2, 3])),
        ("let a = [3, 1, 2]; a.sort(|a, b| a > b); a", json!([3, 2, 1])),
        ("let a = [1, 1, 2, 1]; a.dedup(|a, b| a == b); a", json!([1, 2, 1])),
    ] {
        assert_eq!(value(body).unwrap(), sorted, "{body}");
    }
}

#[test]
fn a_condition_that_is_neither_true_nor_false_throws() {
    for body in [
        "[1, 2].filter(|x| ())",
        "[1, 2].filter(|x| { let y = x > 1; })",
        "[1, 2].some(|x| \"yes\")",
        "[1, 2].all(|x| 1)",
        "[1, 2].find(|x| ())",
        "[1, 2].find_map(|x| convoy::volume(5))",
        "[1, 2].index_of(|x| ())",
        "let a = [1, 2]; a.retain(|x| ()); a",
        "let a = [1, 2]; a.drain(|x| ()); a",
        "let a = [1, 2]; a.dedup(|x, y| ()); a",
        "#{ a: 1 }.filter(|k, v| ())",
        "let m = #{ a: 1 }; m.retain(|k, v| ()); m",
        "let m = #{ a: 1 }; m.drain(|k, v| ()); m",
    ] {
        let found = value(body).map_err(|error| error.kind);
        assert_eq!(found, Err(ErrorKind::Script), "{body}");
    }
    for (body, expected) in [
        ("[1, 2, 3].filter(|x| x > 1)", json!([2, 3])),
        ("[5, 6].filter(|x, i| i == 1)", json!([6])),
        ("[5, 6].filter(|| this == 5)", json!([5])),
        ("[1, 2].some(|x| x == 2)", json!(true)),
        ("[1, 2].all(|x| x == 2)", json!(false)),
        ("[].all(|x| x == 2)", json!(true)),
        ("[1, 2].find(|x| x == 2)", json!(2)),
        ("[1, 2].find(|x| x == 3)", json!(null)),
        ("[1, 2].index_of(|x| x == 2)", json!(1)),
        ("[1, 2].index_of(|x| x == 3)", json!(-1)),
        ("[1, 2, 1].index_of(|x| x == 1, 1)", json!(2)),
        ("let a = [1, 2]; let out = a.retain(|x| x == 2); [a, out]", json!([[2], [1]])),
        ("let a = [1, 2]; let out = a.drain(|x| x == 2); [a, out]", json!([[1], [2]])),
        ("#{ a: 1, b: 2 }.filter(|k, v| k == \"a\" || v == 3)", json!({ "a": 1 })),
        ("let m = #{ a: 1, b: 2 }; m.retain(|k, v| v == 2); m", json!({ "b": 2 })),
        ("let m = #{ a: 1, b: 2 }; m.drain(|k, v| v == 2); m", json!({ "a": 1 })),
    ] {
        assert_eq!(value(body).unwrap(), expected, "{body}");
    }
}

#[test]
fn a_script_that_compares_still_passes_the_check() {
    assert!(script("fn main() { let x = (); if x > 5 { 1 } else { 2 } }").is_ok());
}
