//! `docs/configuration.md` lists every setting as the table has it.

use super::{SETTINGS, Setting};
use crate::command_words::CONFIGURATION_FLAGS;

/// The chapters and the prefixes of their settings' names. The first chapter has all other
/// settings.
const CHAPTERS: [(&str, &str); 5] = [
    ("BKUP_", "Backups, the daemon, runs"),
    ("BKUP_API_", "The dashboard and the API"),
    ("BKUP_EMAIL_", "E-mail"),
    ("BKUP_WEBHOOK_", "A webhook"),
    ("BKUP_LOGGER_", "Logs"),
];

/// The prefix of a setting's chapter.
fn chapter(setting: &Setting) -> &'static str {
    let longest = CHAPTERS
        .iter()
        .map(|(prefix, _)| *prefix)
        .filter(|prefix| setting.name.starts_with(prefix));
    longest.max_by_key(|prefix| prefix.len()).unwrap_or_default()
}

fn line(setting: &Setting) -> String {
    let flag = CONFIGURATION_FLAGS.iter().find(|(_, name, ..)| *name == setting.name);
    let flag = flag.map(|(flag, ..)| format!(" (flag `{flag}`)")).unwrap_or_default();
    let default = setting.default.map(|default| format!("`{default}`")).unwrap_or_default();
    let write = if setting.is_secret() {
        "a secret: it is never shown".into()
    } else {
        setting.about.hint()
    };
    let write = write.trim_start_matches("write ");
    format!("| `{}`{flag} | {default} | {} | {write} |\n", setting.name, setting.help())
}

/// The part of the page that is made from the table of settings.
fn made() -> String {
    let mut text = String::from("## All settings\n");
    for (prefix, title) in CHAPTERS {
        text += &format!(
            "\n### {title}\n\n| variable | default | what it is | how to write it |\n|---|---|---|---|\n"
        );
        text.extend(SETTINGS.iter().filter(|setting| chapter(setting) == prefix).map(line));
    }
    text
}

#[test]
fn the_documentation_lists_every_setting_as_it_is() {
    let page = include_str!("../../docs/configuration.md");
    let at = page.find("## All settings").unwrap();
    let text = made();
    assert!(SETTINGS.iter().all(|setting| text.contains(&format!("| `{}`", setting.name))));
    if page[at..] != text {
        let made = std::env::temp_dir().join("configuration.md");
        std::fs::write(&made, format!("{}{text}", &page[..at])).unwrap();
        panic!("docs/configuration.md is out of date; it should be as {}", made.display());
    }
}
