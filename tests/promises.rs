//! docs/promises.md names the tests that show each promise: they exist, and README has the same
//! promises.

use std::{fs, path::Path};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The promises in their order: each heading, such as `1. A backup counts`, and its text.
fn promises() -> Vec<(String, String)> {
    let page = read("docs/promises.md");
    let parts = page.split("\n## ").skip(1);
    parts
        .map(|part| part.split_once('\n').expect("a heading and a text"))
        .map(|(heading, text)| (heading.to_owned(), text.to_owned()))
        .collect()
}

/// The tests that a promise names, each with its file: ``Shown by `file`: `test`, `test`.``
fn shown_by(text: &str) -> Vec<(String, String)> {
    let Some((_, named)) = text.split_once("Shown by ") else { return Vec::new() };
    let (mut file, mut tests) = (String::new(), Vec::new());
    for name in named.split('`').skip(1).step_by(2) {
        if name.ends_with(".rs") {
            name.clone_into(&mut file);
        } else {
            tests.push((file.clone(), name.to_owned()));
        }
    }
    tests
}

#[test]
fn each_promise_is_shown_by_tests_that_exist() {
    let mut wrong = Vec::new();
    for (promise, text) in promises() {
        let tests = shown_by(&text);
        if tests.is_empty() {
            wrong.push(format!("\"{promise}\" is shown by no test"));
        }
        for (file, test) in tests {
            if !read(&file).contains(&format!("fn {test}(")) {
                wrong.push(format!("\"{promise}\": there is no {test} in {file}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_readme_has_the_promises_of_the_page_in_their_order() {
    let readme = read("README.md");
    let (_, section) = readme.split_once("\n## The promises\n").expect("a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let short: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_digit()))
        .map(|line| line.trim_end_matches('.'))
        .collect();
    let long: Vec<String> = promises().into_iter().map(|(heading, _)| heading).collect();
    assert_eq!(short, long);
}
