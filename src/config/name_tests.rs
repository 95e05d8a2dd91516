//! Hints, scripts, packages and documents name settings in their text. Each of these names is in
//! the table of settings.

use std::path::{Path, PathBuf};

use super::{SETTINGS, settings::find};

/// Files and folders with texts that name settings.
const SOURCES: [&str; 9] = [
    "src",
    "scripts-rhai",
    "packaging",
    "Dockerfile",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "install.sh",
    "convoy.init.d",
];

/// Names that are not settings, and why a text has them.
const OTHERS: [(&str, &str); 10] = [
    ("BKUP_X", "stands for any setting"),
    ("BKUP_S3", "stands for the settings of S3"),
    ("BKUP_EMAIL_SES", "names the source of a key to the AWS library"),
    ("BKUP_FOO", "a test of unknown names"),
    ("BKUP_BACKUP_ULR", "a test of misspelt names"),
    ("BKUP_API_TOKN", "a test of misspelt names"),
    ("BKUP_EMAIL_SMTP_PAS", "a test of misspelt names"),
    ("BKUP_EMAIL_SMTP_PASWORD", "a test of misspelt names"),
    ("BKUP_RUN_TIMOUT", "a test of misspelt names"),
    ("BKUP_LOCKWAIT", "a test of misspelt names"),
];

/// Adds the text files below a path.
fn files(path: PathBuf, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap();
        entries.for_each(|entry| files(entry.unwrap().path(), found));
    } else {
        found.push(path);
    }
}

/// The words of a text that begin like this program's variables.
fn names(text: &str) -> Vec<&str> {
    let is_part =
        |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
    let words = text.split(|letter: char| !is_part(letter));
    words.filter(|word| word.starts_with("BKUP_") && *word != "BKUP_").collect()
}

fn is_known(name: &str) -> bool {
    let base = name.strip_suffix("_FILE").unwrap_or(name);
    let is_group =
        name.ends_with('_') && SETTINGS.iter().any(|setting| setting.name.starts_with(name));
    find(name).is_some()
        || find(base).is_some()
        || is_group
        || OTHERS.iter().any(|(other, _)| *other == base)
}

#[test]
fn every_setting_that_a_text_names_is_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    SOURCES.iter().for_each(|source| files(root.join(source), &mut all));
    assert!(all.len() > 200, "{}", all.len());
    let mut unknown = Vec::new();
    for path in all {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let wrong = names(&text).into_iter().filter(|name| !is_known(name));
        unknown.extend(wrong.map(|name| format!("{name} in {}", path.display())));
    }
    assert!(unknown.is_empty(), "not settings: {unknown:#?}");
}

#[test]
fn a_name_that_is_not_in_the_table_is_noticed() {
    assert_eq!(names("set BKUP_HOST=x or $BKUP_JITTER."), ["BKUP_HOST", "BKUP_JITTER"]);
    assert!(is_known("BKUP_HOST") && is_known("BKUP_HOST_FILE") && is_known("BKUP_EMAIL_"));
    // Assembled here, because this file is searched too.
    assert!(["HOTS", "EMIL_"].iter().all(|rest| !is_known(&format!("BKUP_{rest}"))));
}
