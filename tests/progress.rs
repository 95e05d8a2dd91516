//! How far runs are, as it is told over HTTP while they go on.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{running::Running, site::Site};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const MIB: u64 = 1 << 20;

/// `serve`, and where it listens.
fn serve(site: &Site) -> (Running, String) {
    let mut command = site.command();
    command.arg("serve");
    let running = Running::start(command, &site.path("daemon/convoy.sock"), site.path("serve.log"));
    let sign = site.path("data/serve.running");
    while fs::read_to_string(&sign).is_ok_and(|text| text.is_empty())
        || !running.log().contains("listening on")
    {
        std::thread::yield_now();
    }
    let address = fs::read_to_string(&sign).unwrap();
    (running, address.trim_start_matches("http://").trim_end_matches('/').to_owned())
}

/// Sends a request; the answer's body begins at what comes back.
fn request(
    address: &str,
    method: &str,
    path: &str,
    body: &str,
    headers: &str,
) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 20"), "{method} {path}: {line}");
    while line.trim_end() != "" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    reader
}

/// The answer's JSON.
fn ask(address: &str, method: &str, path: &str, body: &str, headers: &str) -> Value {
    let mut text = String::new();
    request(address, method, path, body, &format!("{headers}Connection: close\r\n"))
        .read_to_string(&mut text)
        .unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Starts a script; the run's id.
fn start(address: &str, script: &str, arguments: Value) -> String {
    let path = format!("/api/{script}");
    let started = ask(address, "POST", &path, &arguments.to_string(), "Prefer: respond-async\r\n");
    started["run"].as_str().unwrap().to_owned()
}

/// The events from here on, each with its name.
struct Events(BufReader<TcpStream>);

impl Events {
    fn listen(address: &str) -> Self {
        let mut events = Self(request(address, "GET", "/api/events", "", ""));
        events.line("listening");
        events
    }

    /// The next line with this in it.
    fn line(&mut self, part: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the events end before \"{part}\"");
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The events of these names, until so many runs have ended.
    fn until_ended(&mut self, mut runs: usize) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        while runs > 0 {
            let name = self.line("event:").trim_start_matches("event:").trim().to_owned();
            let line = self.line("data:");
            let data: Value = serde_json::from_str(line.trim_start_matches("data:")).unwrap();
            runs -= usize::from(name == "run-ended");
            events.push((name, data));
        }
        events
    }
}

fn random(bytes: u64) -> Vec<u8> {
    let mut content = Vec::new();
    fs::File::open("/dev/urandom").unwrap().take(bytes).read_to_end(&mut content).unwrap();
    content
}

/// What was told of a run's progress.
fn progress<'a>(events: &'a [(String, Value)], run: &str) -> Vec<&'a Value> {
    let of_it = events.iter().filter(|(name, data)| name == "run-progress" && data["run"] == run);
    of_it.map(|(_, data)| data).collect()
}

#[test]
fn two_runs_at_a_time_are_told_each_with_its_own_bytes_to_the_last_one() {
    let site = Site::builtin().with("BKUP_API_TOKEN", TOKEN).with("BKUP_MAX_CONCURRENT", "4");
    fs::write(site.path("crontab"), "0 0 1 1 *  backup\n").unwrap();
    let crontab = site.path("crontab").display().to_string();
    let site = site.with("BKUP_CRONTAB", crontab);
    for (volume, size) in [("vol1", 3), ("vol2", 5)] {
        site.create(volume, &[]);
        fs::write(site.volume(volume).join("file"), random(size * MIB)).unwrap();
    }
    let (mut running, address) = serve(&site);
    let mut events = Events::listen(&address);
    let runs = ["vol1", "vol2"].map(|volume| {
        start(&address, "backup", json!({ "volume": volume, "create_snapshot": true }))
    });
    let told = events.until_ended(2);
    for (run, volume, size) in [(&runs[0], "vol1", 3), (&runs[1], "vol2", 5)] {
        let progress = progress(&told, run);
        assert!(
            progress.iter().all(|told| told["what"].as_str().unwrap().ends_with(volume)),
            "{progress:?}"
        );
        let last = progress.last().unwrap();
        assert_eq!(last["what"], format!("backup {volume}"), "{progress:?}");
        assert_eq!(last["done"], last["total"], "the last word is always told: {progress:?}");
        let total = last["total"].as_u64().unwrap();
        assert!((size * MIB..(size + 1) * MIB).contains(&total), "{progress:?}");
        let position = |wanted: &str| {
            told.iter()
                .position(|(name, data)| {
                    name == wanted && (data["id"] == **run || data["run"] == **run)
                })
                .unwrap()
        };
        assert!(position("run-started") < position("run-progress"), "{told:?}");
        let shown = ask(&address, "GET", &format!("/api/runs/{run}"), "", "");
        assert_eq!(
            (&shown["status"], &shown["progress"]),
            (&json!("done"), &Value::Null),
            "{shown}"
        );
    }
    assert_eq!(running.terminate().code(), Some(0), "{}", running.log());
}

#[test]
fn a_restore_is_counted_and_what_a_script_says_is_shown_while_it_goes_on() {
    let site = Site::builtin().with("BKUP_API_TOKEN", TOKEN).with("BKUP_SCRIPTS_DIR", "scripts");
    fs::write(site.path("crontab"), "0 0 1 1 *  backup\n").unwrap();
    let crontab = site.path("crontab").display().to_string();
    let site = site.with("BKUP_CRONTAB", crontab);
    site.create("vol1", &[]);
    fs::write(site.volume("vol1").join("file"), random(2 * MIB)).unwrap();
    site.run("backup --volume vol1").ok();
    let source = "fn main(args) { run::progress(\"waits for the end\"); sleep(3600); }";
    fs::write(site.path("scripts/waits.rhai"), source).unwrap();
    let url = site.backups("vol1").remove(0);

    let (mut running, address) = serve(&site);
    let mut events = Events::listen(&address);
    let run = start(&address, "restore", json!({ "volume": "vol2", "backupurl": url }));
    let told = events.until_ended(1);
    let restored = json!({ "run": run, "what": "restore vol2", "done": 2 * MIB, "total": 2 * MIB });
    assert_eq!(progress(&told, &run).last(), Some(&&restored), "{told:?}");

    let run = start(&address, "waits", json!({}));
    let said = events.line("waits for the end");
    let said: Value = serde_json::from_str(said.trim_start_matches("data:")).unwrap();
    assert_eq!(
        said,
        json!({ "run": run, "what": "waits for the end", "done": null, "total": null })
    );
    let shown = ask(&address, "GET", &format!("/api/runs/{run}"), "", "");
    assert_eq!(
        shown["progress"],
        json!({ "what": "waits for the end", "done": null, "total": null }),
        "{shown}"
    );
    ask(&address, "DELETE", &format!("/api/runs/{run}"), "", "");
    events.until_ended(1);
    assert_eq!(running.terminate().code(), Some(0), "{}", running.log());
}
