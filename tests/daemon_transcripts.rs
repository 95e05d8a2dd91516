//! The daemons answer what was recorded from the real one: status, content type and body, names,
//! times and paths aside.

use convoy_backups::ApiTime;
use serde_json::Value;

use crate::support::{
    daemon::DaemonProcess,
    socket::{self, RawAnswer},
    transcripts::{self, Exchange},
};

#[test]
fn every_recorded_exchange_is_answered_as_recorded() {
    for daemon in DaemonProcess::all() {
        // The names that this daemon made, for those that were recorded.
        let mut names: Vec<(String, String)> = Vec::new();
        let mut differences = Vec::new();
        let exchanges = transcripts::exchanges();
        assert_eq!(exchanges.len(), 72);
        for exchange in &exchanges {
            let answer = ask(&daemon, exchange, &names);
            if exchange.name.starts_with("back up, ") && answer.status == 200 {
                names.push((backup_name(&exchange.response.body), backup_name(&answer.body)));
            }
            let difference = if exchange.name.starts_with("S3:") {
                out_of_reach(&answer)
            } else {
                compare(&daemon, exchange, &answer)
            };
            differences
                .extend(difference.map(|difference| format!("{}: {difference}", exchange.name)));
        }
        assert!(
            differences.is_empty(),
            "{} daemon:\n{}\n{}",
            daemon.name,
            differences.join("\n"),
            daemon.log()
        );
    }
}

/// Sends the recorded request, in this daemon's own paths and names.
fn ask(daemon: &DaemonProcess, exchange: &Exchange, names: &[(String, String)]) -> RawAnswer {
    let request = &exchange.request;
    let mut body = request.body.as_ref().map(Value::to_string).unwrap_or_default();
    body = body.replace("/scratch", daemon.folder().to_str().unwrap());
    for (recorded, ours) in names {
        body = body.replace(recorded.as_str(), ours);
    }
    let headers: Vec<_> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    socket::send(&daemon.socket(), &request.method, &request.path, &headers, &body)
        .unwrap_or_else(|error| panic!("{}: {error}; {}", exchange.name, daemon.log()))
}

/// There is no S3 in this test: a plain refusal is all that can be asked for.
fn out_of_reach(answer: &RawAnswer) -> Option<String> {
    let plain = answer.content_type.as_deref() == Some("text/plain; charset=utf-8")
        && answer.body.ends_with('\n')
        && !answer.body.trim().is_empty();
    (answer.status != 400 || !plain).then(|| format!("not refused in plain text: {answer:?}"))
}

fn compare(daemon: &DaemonProcess, exchange: &Exchange, answer: &RawAnswer) -> Option<String> {
    let recorded = &exchange.response;
    if (answer.status, &answer.content_type) != (recorded.status, &recorded.content_type) {
        return Some(format!("recorded {recorded:?}, answered {answer:?}"));
    }
    let ours = placeholders(&without_our_fields(&answer.body), daemon.folder().to_str().unwrap());
    let theirs = placeholders(&recorded.body, "/scratch");
    let same = match exchange.name.as_str() {
        // In any order, and without the volume that was restored from S3.
        "docker: list" => listed_by_docker(&ours) == listed_by_docker(&theirs),
        _ => ours == theirs,
    };
    (!same).then(|| format!("recorded\n{theirs}\nanswered\n{ours}"))
}

/// Without the fields that Convoy has not.
fn without_our_fields(text: &str) -> String {
    let mut result = text.to_owned();
    for field in [
        "VolumeID",
        "AddedSize",
        "BackupSize",
        "CreatedAt",
        "Encrypted",
        "Program",
        "FileCount",
        "Host",
        "Moment",
        "MomentNote",
        "Origin",
        "RootID",
        "SnapshotSize",
        "SourceMounts",
    ] {
        let field = &format!("\"{field}\"");
        while let Some(start) = result.find(field) {
            // A value may hold commas; no line does but at its end.
            let end =
                start + result[start..].find(",\n").or(result[start..].find(',')).unwrap() + 1;
            let end = end + result[end..].len() - result[end..].trim_start().len();
            result.replace_range(start..end, "");
        }
    }
    result
}

fn listed_by_docker(body: &str) -> Vec<String> {
    let answer: Value = serde_json::from_str(body).unwrap();
    let mut volumes: Vec<_> =
        answer["Volumes"].as_array().unwrap().iter().map(Value::to_string).collect();
    volumes.retain(|volume| !volume.contains("restored3"));
    volumes.sort();
    volumes
}

/// The name in `..?backup=NAME\u0026volume=..`.
fn backup_name(answer: &str) -> String {
    answer.split_once("backup=").unwrap().1.split_once('\\').unwrap().0.to_owned()
}

/// The text with paths below `folder` (or in the object store), made-up names and times replaced.
fn placeholders(text: &str, folder: &str) -> String {
    without_times(&without_random_names(&without_paths(text, folder)))
}

fn without_paths(text: &str, folder: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) =
        [folder, "convoy-objectstore/"].iter().filter_map(|path| rest.find(path)).min()
    {
        result += &rest[..start];
        result += "<path>";
        let path = &rest[start..];
        let end = path.find(|c: char| c.is_whitespace() || "\"?".contains(c)).unwrap_or(path.len());
        rest = &path[end..];
    }
    result + rest
}

fn without_random_names(text: &str) -> String {
    let mut result = text.to_owned();
    for what in ["backup-", "volume-", "snapshot-"] {
        let mut from = 0;
        while let Some(found) = result[from..].find(what) {
            from += found + what.len();
            let digits = result[from..].bytes().take_while(u8::is_ascii_hexdigit).count();
            if digits == 16 {
                result.replace_range(from..from + digits, "<hex>");
            }
        }
    }
    result
}

fn without_times(text: &str) -> String {
    const LENGTH: usize = "Mon Nov 23 07:00:48 +0000 2026".len();
    let mut result = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(time) = rest.get(..LENGTH)
            && first.is_ascii_uppercase()
            && ApiTime::parse(time).timestamp().is_some()
        {
            result += "<time>";
            rest = &rest[LENGTH..];
        } else {
            result.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    result
}

#[test]
fn names_times_and_paths_do_not_count_and_everything_else_does() {
    let recorded = "{\"Path\": \"/scratch/volumes/vol1\", \"At\": \"Mon Nov 23 07:00:48 +0000 2026\",\n\"URL\": \"vfs:///scratch/b?backup=backup-a150fb6acecb46a2\\u0026volume=vol1\"}";
    assert_eq!(
        placeholders(recorded, "/scratch"),
        "{\"Path\": \"<path>\", \"At\": \"<time>\",\n\"URL\": \"vfs://<path>?backup=backup-<hex>\\u0026volume=vol1\"}"
    );
    assert_eq!(
        placeholders("cannot find convoy-objectstore/x.cfg in", "/y"),
        "cannot find <path> in"
    );
    assert_eq!(placeholders("volume-short backup-0", "/y"), "volume-short backup-0");
}
