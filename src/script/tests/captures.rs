//! Tests that a closure inside of `parallel` can't change what is outside of it.

use serde_json::json;

use crate::{
    error::{Error, ErrorKind},
    script::testing::{script, value},
};

fn is_refusal(error: &Error) -> bool {
    error.kind == ErrorKind::Script
        && error.message.contains("parallel")
        && error.hint.as_deref().unwrap_or_default().contains("return")
        && error.location.is_some()
}

#[test]
fn an_assignment_to_a_captured_variable_is_found_when_the_script_is_loaded() {
    for body in [
        "parallel([1], 1, |n| { total = total + n; })",
        "parallel([1], 1, |n| { total += n; })",
        "parallel([1], 1, |n| total += n)",
        "[1].parallel(1, |n| total += n)",
        "parallel([1], 1, |n| { if n > 5 { total += n; } })",
        "parallel([1], 1, |n| { for i in 0..3 { while true { total = i; break; } } })",
        "parallel([1], 1, |n| { map.count = n; })",
        "parallel([1], 1, |n| { map.inner.list[0] += n; })",
        "parallel([1], 1, |n| { list[0] = n; })",
        "parallel([1], 1, |n| { [1].for_each(|x| total += x); })",
        "parallel([1], 1, |n| { let f = |x| { [x].map(|y| { total += y; }) }; f.call(n); })",
        "parallel([1], 1, |n| { try { total += n; } catch { } })",
        "let counts = [1].map(|x| parallel([x], 2, |n| { total += n; })); counts",
    ] {
        let text =
            format!("fn main() {{ let total = 0; let map = #{{}}; let list = [1];\n{body} }}");
        let error = script(&text).expect_err(body);
        assert!(is_refusal(&error), "{body}: {error:?}");
        assert_eq!(error.location.unwrap().line, 2, "{body}");
    }
}

#[test]
fn what_the_load_can_not_see_is_refused_at_the_call() {
    for body in [
        "let f = |n| { total += n; }; parallel([1, 2], 2, f)",
        "let f = |n| { total += n; }; parallel([1, 2], 2, |n| f.call(n))",
        "parallel([1, 2], 2, |n| { list.push(n); })",
        "parallel([1, 2], 2, |n| { list.sort(); })",
        "parallel([1, 2], 2, |n| { map.inner.list.push(n); })",
        "let fs = [|n| total += n]; parallel([1, 2], 2, |n| { fs[0].call(n) })",
        "parallel([|n| total += n], 2, |f| f.call(1))",
        "parallel([#{ f: |n| total += n }], 2, |map| { let f = map.f; f.call(1) })",
        "parallel([1, 2], 2, |n| { total.bump(n); })",
        "together([1, 2], |n| { total += n; })",
        "parallel([1], 1, |n| { let total2 = total; let total = 1; if n == 1 { list.push(n); } total2 })",
    ] {
        let body = format!(
            "fn bump(n) {{ this += n; }} fn together(items, f) {{ parallel(items, 2, f) }} fn main() {{ let total = 0; let map = #{{ inner: #{{ list: [] }} }}; let list = [1];\n{body} }}"
        );
        let error =
            crate::script::testing::run_text(crate::script::testing::memory(&["vol1"]).1, &body)
                .expect_err(&body);
        assert!(is_refusal(&error), "{body}: {error:?}");
    }
}

#[test]
fn closures_that_only_read_or_change_what_is_their_own_go_on() {
    for (body, expected) in [
        ("let base = 5; parallel([1, 2], 2, |n| base + n)", json!([6, 7])),
        ("let list = [1, 2]; parallel([1, 2], 2, |n| list.len() + n)", json!([3, 4])),
        (
            "let list = [1, 2]; parallel([1, 2], 2, |n| { let own = list; own.push(n); own.len() })",
            json!([3, 3]),
        ),
        (
            "let list = [1, 2]; parallel([1], 2, |n| { let sum = 0; for x in list { x += 1; sum += x; } sum })",
            json!([5]),
        ),
        ("let list = [1, 2]; parallel([1], 2, |n| list.map(|x| x + n))", json!([[2, 3]])),
        ("let list = [1, 2]; parallel([1], 2, |n| list.filter(|x| x > n).len())", json!([1])),
        (
            "let map = #{ a: 1 }; parallel([1], 2, |n| { let own = map; own.b = n; own.len() })",
            json!([2]),
        ),
        (
            "let map = #{ a: [1] }; parallel([1], 2, |n| { let own = map.a; own[0] += n; own[0] })",
            json!([2]),
        ),
        (
            "let map = #{ a: 1 }; parallel([\"a\"], 2, |key| key in map && map[key] == 1)",
            json!([true]),
        ),
        ("let double = |x| x * 2; parallel([1, 2], 2, |n| double.call(n))", json!([2, 4])),
        (
            "parallel([1, 2], 2, |n| { let sum = 0; for x in [n, n] { sum += x; } sum })",
            json!([2, 4]),
        ),
        ("parallel([[1], [2]], 2, |list| { list.push(5); list.len() })", json!([2, 2])),
        (
            "let total = 1; parallel([1], 2, |n| { let x = total; let total = 5; total += x; total })",
            json!([6]),
        ),
        (
            "let list = [1]; let made = parallel([1], 2, |n| list); made[0].push(2); made",
            json!([[1, 2]]),
        ),
        ("let total = 0; for n in parallel([1, 2], 2, |n| n) { total += n; } total", json!(3)),
        ("let total = 0; let add = |n| { total += n; }; add.call(1); add.call(2); total", json!(3)),
        (
            "let limit = 1; parallel([1, 2], 2, |n| parallel([n], 2, |m| m > limit)[0])",
            json!([false, true]),
        ),
    ] {
        assert_eq!(value(body).map_err(|error| format!("{error:?}")), Ok(expected), "{body}");
    }
}

#[test]
fn functions_that_get_a_captured_value_may_change_their_copy() {
    let text = r#"
        import "lib/volumes" as volumes;
        fn longer(list) { list.push(9); list[0] += 1; list.len() }
        fn main() {
            let list = [1];
            parallel([1, 2], 2, |n| [
                longer(list),
                volumes::flatten([list, n]).len(),
                volumes::each_of(list, |x| { x += n; x })[0],
            ])
        }"#;
    let (_, host) = crate::script::testing::memory(&[]);
    let result = crate::script::testing::run_text(host, text).unwrap().result;
    assert_eq!(result, json!([[2, 2, 2], [2, 2, 3]]));
}

#[test]
fn closures_that_read_the_same_variables_never_race() {
    let items: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let body = format!(
        "let names = [\"a\", \"b\", \"c\"]; let map = #{{ a: 1 }}; parallel([{}], 16, |n| {{ for i in 0..50 {{ names.len(); map.keys(); names.contains(\"b\"); }} n }}).len()",
        items.join(", ")
    );
    for _ in 0..5 {
        assert_eq!(value(&body).unwrap(), json!(200));
    }
}
