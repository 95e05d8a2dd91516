//! The log: in a file, to a syslog server, and what happens where one of them fails.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Value;

use crate::support::{running::Running, site::Site, socket, syslog::Sink};

/// A script that says this.
fn says(text: &str) -> String {
    format!("fn main(args) {{ log::warn(`{text}`); }}")
}

/// A process that serves, and logs each request.
fn serve(site: &Site) -> Running {
    let mut command = site.command();
    command.arg("daemon").arg("--root").arg(site.path("served"));
    Running::start(command, &socket_of(site), site.path("console"))
}

fn socket_of(site: &Site) -> std::path::PathBuf {
    site.path("served/convoy.sock")
}

/// Makes the process log a line with this word.
fn ask(site: &Site, word: &str) {
    assert_eq!(
        socket::send(&socket_of(site), "GET", &format!("/{word}"), &[], "").unwrap().status,
        404
    );
}

fn with_file(site: Site) -> (Site, std::path::PathBuf) {
    let path = site.path("logs/log");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let site = site
        .with("BKUP_LOGGER_FILE_ENABLED", "true")
        .with("BKUP_LOGGER_FILE_LOCATION", path.to_str().unwrap());
    (site, path)
}

#[track_caller]
fn wait_for(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what} did not happen");
        std::thread::yield_now();
    }
}

fn has(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|content| content.contains(text))
}

#[test]
fn a_short_commands_lines_reach_the_syslog_server_by_each_transport() {
    let folder = tempfile::tempdir().unwrap();
    let (local, stream) = (folder.path().join("log"), folder.path().join("stream"));
    for sink in [Sink::udp(), Sink::tcp(), Sink::unix(&local), Sink::unix_stream(&stream)] {
        let site = sink.of(Site::builtin()).with("BKUP_HOST", "host1");
        site.run_script(&says("an odd\nna\u{1b}me é"), "").ok();
        let messages = sink.until("an odd");
        let last = messages.last().unwrap();
        assert!(last.ends_with(": an odd\\nna\\u{1b}me é") && last.contains("mine"), "{last}");
        match sink.address.0 {
            "unix" => {
                assert!(last.starts_with("<28>") && last.contains(" convoy-backups["), "{last}")
            }
            _ => {
                let fields: Vec<_> = last.splitn(8, ' ').collect();
                assert_eq!(
                    [fields[0], fields[2], fields[3], fields[5]],
                    ["<28>1", "host1", "convoy-backups", "mine"]
                );
                let time: Timestamp = fields[1].parse().unwrap();
                assert!(time.duration_until(Timestamp::now()).as_secs() < 30, "{last}");
            }
        }
    }
}

#[test]
fn each_destination_has_a_level_of_its_own() {
    let sink = Sink::tcp();
    let (site, path) = with_file(sink.of(Site::builtin()));
    let site =
        site.with("BKUP_LOGGER_SYSLOG_LEVEL", "error").with("BKUP_LOGGER_FILE_LEVEL", "info");
    let script =
        "fn main(args) { log::debug(\"one\"); log::info(\"two\"); log::error(\"three\"); }";
    let ran = site.run_script(script, "").ok();
    assert!(
        ran.err.contains("three") && !ran.err.contains("two"),
        "a short command is quiet: {ran:?}"
    );
    assert_eq!(sink.until("three").len(), 1);
    assert!(has(&path, "two") && has(&path, "three") && !has(&path, "one"));
    let ran = site.with("BKUP_LOGGER_CONSOLE_LEVEL", "off").run_script(script, "").ok();
    assert!(ran.err.is_empty(), "{ran:?}");
}

#[test]
fn a_command_that_fails_before_it_runs_is_in_the_log_too() {
    let sink = Sink::tcp();
    let (site, path) = with_file(sink.of(Site::builtin()));
    site.run("backup --volume no/name").fails(2, &["no/name"]);
    assert!(sink.until("no/name")[0].contains(" - - outcome: "));
    assert!(has(&path, "ERROR outcome: --volume: \"no/name\""));
}

#[test]
fn a_syslog_server_that_is_down_costs_its_lines_alone_and_gets_them_when_it_is_back() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = Site::builtin()
        .with("BKUP_LOGGER_SYSLOG_ENABLED", "true")
        .with("BKUP_LOGGER_SYSLOG_PROTOCOL", "tcp")
        .with("BKUP_LOGGER_SYSLOG_SERVER", "127.0.0.1")
        .with("BKUP_LOGGER_SYSLOG_PORT", port.to_string());
    let ran = site.run_script(&says("text"), "").ok();
    assert_eq!(ran.err.matches("can't be reached: Connection refused").count(), 1, "{ran:?}");

    let serving = serve(&site);
    ask(&site, "first");
    wait_for("word of the server", || serving.log().contains("can't be reached"));
    let sink = Sink::tcp_at(port);
    sink.until("GET /first");
    wait_for("word of the server's return", || serving.log().contains("is reached again"));
    ask(&site, "second");
    sink.until("GET /second");
    drop(sink);
}

#[test]
fn a_syslog_server_that_reads_nothing_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::builtin()
        .with("BKUP_LOGGER_SYSLOG_ENABLED", "true")
        .with("BKUP_LOGGER_SYSLOG_PROTOCOL", "tcp")
        .with("BKUP_LOGGER_SYSLOG_SERVER", "127.0.0.1")
        .with("BKUP_LOGGER_SYSLOG_PORT", listener.local_addr().unwrap().port().to_string());
    let script =
        "fn main(args) { let s = \"\"; s.pad(8000, 'x'); for i in 0..4000 { log::info(s); } }";
    let start = Instant::now();
    site.run_script(script, "").ok();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_log_file_that_logrotate_moves_or_truncates_is_followed() {
    let (site, path) = with_file(Site::builtin());
    let serving = serve(&site);
    let moved = site.path("logs/log.1");
    ask(&site, "one");
    wait_for("the first line", || has(&path, "/one"));
    fs::rename(&path, &moved).unwrap();
    fs::File::create(&path).unwrap();
    ask(&site, "two");
    wait_for("the second line", || has(&path, "/two"));
    assert!(!has(&path, "/one") && has(&moved, "/one") && !has(&moved, "/two"));

    // A file that was moved is let go of on SIGHUP, before there is anything to log: what is logged
    // then is that.
    fs::rename(&path, &moved).unwrap();
    serving.signal("HUP");
    wait_for("a new file", || has(&path, "opened anew"));

    fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    ask(&site, "three");
    wait_for("the third line", || has(&path, "/three"));
    assert!(
        fs::read_to_string(&path).unwrap().starts_with("20"),
        "no hole where the lines before were"
    );
}

#[test]
fn a_log_file_whose_folder_is_gone_stops_nothing() {
    let (site, path) = with_file(Site::builtin());
    let serving = serve(&site);
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    ask(&site, "one");
    ask(&site, "two");
    wait_for("word of it", || serving.log().contains("cannot write the log file"));
    fs::create_dir(path.parent().unwrap()).unwrap();
    ask(&site, "three");
    wait_for("the third line", || has(&path, "/three"));
    wait_for("word of the end", || serving.log().contains("can be written again"));
    assert_eq!(serving.log().matches("cannot write the log file").count(), 1, "{}", serving.log());
    let full = site.with("BKUP_LOGGER_FILE_LOCATION", "/dev/full");
    let ran = full.run_script(&says("text"), "").ok();
    assert_eq!(ran.err.matches("No space left").count(), 1, "{ran:?}");
}

#[test]
fn a_log_that_cannot_be_is_refused_and_doctor_says_what_to_do() {
    let (site, path) = with_file(Site::builtin());
    let nowhere = path.with_file_name("none").join("log").display().to_string();
    for (name, value, word) in [
        ("BKUP_LOGGER_FILE_LOCATION", nowhere.as_str(), "make its folder first"),
        ("BKUP_LOGGER_FILE_LOCATION", "/", "a file in that folder"),
        ("BKUP_LOGGER_SYSLOG_SERVER", "/dev/log", "BKUP_LOGGER_SYSLOG_PROTOCOL=unix"),
        ("BKUP_LOGGER_SYSLOG_PROTOCOL", "pigeon", "udp, tcp or unix"),
        ("BKUP_LOGGER_FORMAT", "xml", "text or json"),
    ] {
        let (site, _) = with_file(Site::builtin());
        let site = site.with("BKUP_LOGGER_SYSLOG_ENABLED", "true").with(name, value);
        site.run("volumes").fails(2, &[word]);
        let doctor = site.run("doctor");
        assert!(
            doctor.code != 0 && format!("{}{}", doctor.out, doctor.err).contains(word),
            "{doctor:?}"
        );
    }
    let site = Sink::tcp().of(site);
    let checks = site.run("doctor --json");
    let checks: Value = serde_json::from_str(&checks.out).unwrap();
    for what in ["log file", "syslog"] {
        let check = checks.as_array().unwrap().iter().find(|check| check["what"] == what).unwrap();
        assert_eq!(check["verdict"], "ok", "{check}");
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let doctor = site.with("BKUP_LOGGER_SYSLOG_PORT", port).run("doctor");
    assert!(
        doctor.code == 1 && doctor.out.contains("can't be reached: Connection refused"),
        "{doctor:?}"
    );
}

#[test]
fn lines_in_json_are_objects_with_the_time_in_utc_wherever_the_host_is() {
    let (site, path) = with_file(Site::builtin());
    let site = site.with("TZ", "Pacific/Kiritimati").with("BKUP_HOST", "host1");
    let text = "a \"word\"\nand more";
    let ran = site.run_script(&says(text), "").ok();
    let time: Timestamp = ran.err.split(' ').next().unwrap().parse().unwrap();
    assert!(time.duration_until(Timestamp::now()).abs().as_secs() < 30, "{ran:?}");

    fs::remove_file(&path).unwrap();
    let site = site.with("BKUP_LOGGER_FORMAT", "json");
    let ran = site.run_script(&says(text), "").ok();
    for (lines, least) in [(ran.err, 1), (fs::read_to_string(&path).unwrap(), 2)] {
        let lines: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.len() >= least, "{lines:?}");
        let line = lines.iter().find(|line| line["target"] == "mine").unwrap();
        assert_eq!([&line["message"], &line["level"], &line["host"]], [text, "warn", "host1"]);
        let time = line["time"].as_str().unwrap();
        assert!(time.len() == "2026-11-23T07:00:48.123456Z".len() && time.ends_with('Z'), "{time}");
        let time: Timestamp = time.parse().unwrap();
        assert!(time.duration_until(Timestamp::now()).abs().as_secs() < 30);
    }
}
