//! Two things are made before the program is compiled: the tables of the default scripts, and the
//! version that `convoy-backups --version` prints.
//!
//! The version says which commit a binary was made from, and of which day.
//! In this order: what the variables `CONVOY_BACKUPS_COMMIT` and `SOURCE_DATE_EPOCH` say
//! (packagers, container images), what git says of the checkout, what `git archive` wrote into this
//! file (tarballs). The day is the commit's, never that of the build, so that the same sources make
//! the same bytes. Where nothing is known, the version stands alone.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// `git archive` puts the commit and its time in here (`.gitattributes`: export-subst).
const ARCHIVED: &str = "$Format:%H %ct$";

/// What a binary is made of, besides the compiler.
const SOURCES: [&str; 7] =
    ["src", "scripts-rhai", "crontab", "packaging/man", "build.rs", "Cargo.toml", "Cargo.lock"];

fn main() -> io::Result<()> {
    for variable in ["CONVOY_BACKUPS_COMMIT", "SOURCE_DATE_EPOCH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let (commit, seconds) = checkout().or_else(archived).unwrap_or_default();
    let commit = env::var("CONVOY_BACKUPS_COMMIT").map_or(commit, |given| given.trim().to_owned());
    let day = env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .or(seconds)
        .map(day);
    let about: Vec<String> =
        [Some(commit).filter(|text| !text.is_empty()), day].into_iter().flatten().collect();
    let whole =
        if about.is_empty() { version } else { format!("{version} ({})", about.join(", ")) };
    println!("cargo::rustc-env=CONVOY_BACKUPS_VERSION={whole}");

    let tables = [table("SCRIPTS", "")?, table("MODULES", "lib/")?].concat();
    fs::write(PathBuf::from(env::var("OUT_DIR").unwrap_or_default()).join("scripts.rs"), tables)
}

/// The Rust text of a table that embeds the scripts of a folder, `scripts-rhai/` or one in it:
/// their names without `.rhai`, sorted, each with its text.
fn table(name: &str, folder: &str) -> io::Result<String> {
    let mut scripts = Vec::new();
    for entry in fs::read_dir(Path::new("scripts-rhai").join(folder))? {
        let file = entry?.file_name();
        if let Some(script) = file.to_str().and_then(|file| file.strip_suffix(".rhai")) {
            scripts.push(format!("{folder}{script}"));
        }
    }
    scripts.sort();
    let rows: String = scripts
        .iter()
        .map(|script| {
            let file = format!("/scripts-rhai/{script}.rhai");
            format!(
                "({script:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {file:?}))),\n"
            )
        })
        .collect();
    Ok(format!("const {name}: &[(&str, &str)] = &[\n{rows}];\n"))
}

/// The commit of a checkout, with "+changes" where the sources differ from it, and its time in
/// seconds since 1970.
fn checkout() -> Option<(String, Option<i64>)> {
    // A tarball unpacked inside of another project's checkout is not that project's.
    Path::new(".git").exists().then_some(())?;
    // Written to at each commit and each change of branch.
    if let Some(log) =
        git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|path| Path::new(path).exists())
    {
        println!("cargo::rerun-if-changed={log}");
    }
    let text = git(&["show", "--no-patch", "--format=%H %ct", "HEAD"])?;
    let (commit, seconds) = split(&text)?;
    let mut changed = vec!["status", "--porcelain", "--untracked-files=no", "--"];
    changed.extend(SOURCES);
    let mark = if git(&changed)?.is_empty() { "" } else { "+changes" };
    Some((format!("{commit}{mark}"), seconds))
}

fn archived() -> Option<(String, Option<i64>)> {
    split(ARCHIVED)
}

/// A commit, shortened, and its time.
fn split(text: &str) -> Option<(String, Option<i64>)> {
    let (commit, seconds) = text.split_once(' ')?;
    let is_commit = commit.len() >= 40 && commit.chars().all(|letter| letter.is_ascii_hexdigit());
    is_commit.then(|| (commit[..10].to_owned(), seconds.parse().ok()))
}

/// What git prints, if it is there and willing.
fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("--no-optional-locks").args(words).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The day (UTC) of a moment in seconds since 1970: `2026-11-23`. After Howard Hinnant's
/// "civil_from_days".
fn day(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
