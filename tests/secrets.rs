//! Secrets never appear: everything is run with all of them set, and every output is searched for
//! them.

use std::{fs, path::Path};

use convoy_backups::SETTINGS;

use crate::support::{site::Site, syslog::Sink};

/// A value for each secret setting: the setting and what must not show up.
fn markers() -> Vec<(&'static str, String)> {
    let secret = SETTINGS.iter().filter(|setting| setting.is_secret());
    secret
        .map(|setting| {
            (setting.name, format!("marker-of-{}", setting.name.to_lowercase().replace('_', "-")))
        })
        .collect()
}

/// The setting's value: the marker, in an address where nobody listens where it must be one.
fn value(name: &str, marker: &str) -> String {
    if name.ends_with("_URL") { format!("http://127.0.0.1:9/{marker}") } else { marker.to_owned() }
}

/// All that is in files below this folder, and their names.
fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push((entry.path().display().to_string(), fs::read(entry.path()).unwrap()));
        }
    }
}

/// Runs everything there is; what it printed.
fn everything(site: &Site) -> Vec<(String, Vec<u8>)> {
    let mut printed = Vec::new();
    let mut run = |line: &str| {
        let ran = site.run(line);
        printed.push((
            format!("the output of {line}"),
            format!("{}\n{}", ran.out, ran.err).into_bytes(),
        ));
        ran.code
    };
    for line in ["create --volume vol1 --size 1G", "create --volume vol2 --size 1G"] {
        assert_eq!(run(line), 0);
    }
    for name in ["vol1", "vol2"] {
        fs::write(site.volume(name).join("file"), name).unwrap();
    }
    assert_eq!(run("backup -vvv"), 0);
    let url = site.backups("vol1").remove(0);
    let wrong = site.path("nowhere").display().to_string();
    // What is not there (yet) is refused, and must not tell either.
    for line in [
        "snapshot -vvv --json",
        "backup --create-snapshot -vvv --json",
        "backup --dry-run -vvv",
        "backups -vvv",
        "volumes -vvv --json",
        &format!("restore --volume vol3 --backupurl {url} -vvv"),
        "restore --volume x1 --backupurl vfs:///a?b",
        "prune --keep-last 1 -vvv",
        "remove --volume vol2 --all -vvv",
        &format!("backup -vvv --destination vfs://{wrong}"),
        "backup --volume nosuch -vvv",
        "backup --timeout 1s -vvv",
        "nosuch",
        "config",
        "config --json",
        "doctor -vvv",
        "doctor --json",
        "scripts",
        "scripts check",
        "runs list",
        "runs list --json",
        "status",
        "status --json",
        "notify test -vvv",
        "notify test --json",
        "crontab check",
        "--help",
    ] {
        run(line);
    }
    for source in [
        "fn main(args) { throw \"on purpose\" }",
        "fn main(args) { log::info(config::all()); config::all() }",
        "fn main(args) { notify::email(\"subject\", \"text\"); }",
        "fn main(args) { notify::webhook(#{ text: \"text\" }); }",
        "fn main(args) { notify::problem(\"subject\", \"text\"); notify::info(\"subject\", \"text\"); }",
    ] {
        let ran = site.run_script(source, "-vvv");
        printed.push((
            format!("the output of {source}"),
            format!("{}\n{}", ran.out, ran.err).into_bytes(),
        ));
    }
    printed
}

#[test]
fn no_secret_is_in_any_output_log_or_file() {
    for (format, transport, from_files) in [("text", "smtp", false), ("json", "ses", true)] {
        let sink = Sink::tcp();
        let secrets = tempfile::tempdir().unwrap();
        let mut site = sink
            .of(Site::builtin())
            .with("BKUP_LOGGER_SYSLOG_LEVEL", "trace")
            .with("BKUP_LOGGER_FILE_ENABLED", "true")
            .with("BKUP_LOGGER_FILE_LEVEL", "trace")
            .with("BKUP_LOGGER_FORMAT", format)
            .with("BKUP_EMAIL_ENABLED", "true")
            .with("BKUP_EMAIL_ON", "always")
            .with("BKUP_EMAIL_TRANSPORT", transport)
            .with("BKUP_EMAIL_SMTP_HOST", "127.0.0.1")
            .with("BKUP_EMAIL_SMTP_PORT", "9")
            .with("BKUP_EMAIL_SMTP_USER", "user")
            .with("BKUP_EMAIL_SES_REGION", "eu-west-1")
            .with("BKUP_EMAIL_SES_ENDPOINT", "http://127.0.0.1:9")
            .with("BKUP_WEBHOOK_ON", "always");
        let log = site.path("log");
        site = site.with("BKUP_LOGGER_FILE_LOCATION", log.to_str().unwrap());
        for (name, marker) in markers() {
            let value = value(name, &marker);
            site = if from_files {
                let path = secrets.path().join(name);
                fs::write(&path, format!("{value}\n")).unwrap();
                site.with(&format!("{name}_FILE"), path.to_str().unwrap())
            } else {
                site.with(name, value)
            };
        }

        let mut found = everything(&site);
        let settings = site.run("config").ok();
        assert_eq!(
            settings.out.matches("(set)").count(),
            markers().len(),
            "all are set: {settings:?}"
        );
        site.run_script("fn main(args) { log::warn(\"the very end\"); }", "").ok();
        let messages = sink.until("the very end");
        let logged = fs::read_to_string(&log).unwrap();
        assert!(
            logged.contains("the very end") && logged.lines().count() > 50 && messages.len() > 50,
            "{logged}"
        );
        found.push(("the syslog server".into(), messages.join("\n").into_bytes()));
        files(&site.path("."), &mut found);
        assert!(found.len() > 60, "{}", found.len());
        for (place, content) in found {
            for (name, marker) in markers() {
                let there =
                    content.windows(marker.len()).position(|window| window == marker.as_bytes());
                if let Some(at) = there {
                    let around = &content[at.saturating_sub(200)..(at + 100).min(content.len())];
                    panic!("{name} is in {place}: {:?}", String::from_utf8_lossy(around));
                }
            }
        }
    }
}
