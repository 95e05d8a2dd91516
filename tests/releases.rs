//! What a release says of itself: version, commit, changes.

use std::{path::Path, process::Command};

use super::support::running::binary;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn version() -> String {
    let output = binary().arg("--version").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_version_is_that_of_the_package_with_its_commit_and_day() {
    let version = version();
    let rest = version.strip_prefix(concat!("convoy-backups ", env!("CARGO_PKG_VERSION"))).unwrap();
    let git = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let commit = git
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8(output.stdout).unwrap());
    // Where there is no git, as in a tarball, nothing is promised but the version.
    let Some(commit) = commit.filter(|_| option_env!("CONVOY_BACKUPS_COMMIT").is_none()) else {
        return;
    };
    let about = rest
        .trim()
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .unwrap_or_else(|| panic!("{version}"));
    let (seen, day) = about.split_once(", ").unwrap();
    assert!(commit.starts_with(seen.trim_end_matches("+changes")), "{version} is not of {commit}");
    assert!(day.parse::<jiff::civil::Date>().is_ok(), "{version}");
}

#[test]
fn the_changelog_has_a_chapter_for_the_version_that_is_built() {
    let text = read("CHANGELOG.md");
    let heading = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&heading), "CHANGELOG.md has no \"{heading}\"");
    let released = text.find(&heading).unwrap();
    assert!(text.find("## [Unreleased]").is_some_and(|unreleased| unreleased < released));
}

#[test]
fn the_oldest_rust_is_the_one_that_the_readme_names() {
    let wanted = format!("Rust ({} or newer)", env!("CARGO_PKG_RUST_VERSION"));
    assert!(read("README.md").contains(&wanted), "README.md does not say \"{wanted}\"");
}
