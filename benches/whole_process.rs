//! Whole processes, as a user starts them, beside what a user would pick instead: medians, and the
//! most memory each took.
//!
//! `cargo bench` prints the tables of docs/performance.md. It needs `restic`, `tar` and `gzip`,
//! about 6 GB a run in the system's temporary folder (`TMPDIR`), and ten minutes. `RUNS` sets how
//! often each thing is done (5), `ONLY` which part: `list`, `runs`, `script`, `files`, `many` or `hole`.
//! `SIZE` is that of the volume of `files`: `1g` (20,000 files), `10g` (200,000; 30 GB), `million` empty
//! files, or `onefolder`, as many in one folder. `borg` is measured as well where it is installed.
//! `BINARY` is the program that is measured, if not the one that cargo has built for it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use wait4::Wait4;

#[path = "whole_process/files.rs"]
mod files;
#[path = "whole_process/hole.rs"]
mod hole;
#[path = "whole_process/many.rs"]
mod many;
#[path = "whole_process/room.rs"]
mod room;

/// One process: how long it took and the most memory it had.
#[derive(Clone, Copy)]
struct Measured {
    took: Duration,
    memory: u64,
}

fn main() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let folder = tempfile::Builder::new()
        .prefix("convoy-backups-bench-")
        .tempdir()
        .expect("a temporary folder");
    let runs = std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(5);
    for (name, part) in [
        ("list", list as fn(&Path, usize)),
        ("runs", runs_list),
        ("script", script),
        ("files", files::files),
        ("many", many::many),
        ("hole", hole::hole),
    ] {
        if only.is_empty() || only == name {
            let folder = folder.path().join(name);
            fs::create_dir(&folder).expect("a folder");
            part(&folder, runs);
        }
    }
}

/// Runs it to its end; a failure ends the benchmark, for then its time says nothing.
fn measure(command: &mut Command) -> Measured {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut said).expect("it speaks UTF-8");
    let ended = child.wait4().expect("it ends");
    let took = start.elapsed();
    assert!(ended.status.success(), "{command:?} failed: {said}");
    Measured { took, memory: ended.rusage.maxrss }
}

/// The medians of several runs.
fn median(mut runs: Vec<Measured>) -> Measured {
    runs.sort_by_key(|run| run.took);
    let took = runs[runs.len() / 2].took;
    let memory = runs.iter().map(|run| run.memory).max().unwrap_or(0);
    Measured { took, memory }
}

fn ms(measured: Measured) -> String {
    format!("{:.1} ms", measured.took.as_secs_f64() * 1_000.0)
}

fn seconds(measured: Measured) -> String {
    format!("{:.2} s", measured.took.as_secs_f64())
}

fn mib(measured: Measured) -> String {
    format!("{:.0} MB", measured.memory as f64 / 1e6)
}

fn program(folder: &Path) -> Command {
    let built = env!("CARGO_BIN_EXE_convoy-backups");
    let mut command = Command::new(std::env::var_os("BINARY").unwrap_or_else(|| built.into()));
    command
        .env("BKUP_DATA_DIR", folder.join("data"))
        .env("BKUP_CONVOY", format!("builtin:{}", folder.join("daemon").display()))
        .env("BKUP_BACKUP_URL", format!("vfs://{}", folder.join("backups").display()))
        .env("BKUP_REPOSITORY_PASSWORD", "benchmark")
        .env("BKUP_DOCKER", "off");
    command
}

/// `volumes --json` against a daemon on a socket.
fn list(folder: &Path, runs: usize) {
    for name in ["vol1", "vol2", "vol3"] {
        measure(program(folder).args(["create", "--volume", name, "--size", "1G"]));
    }
    let mut daemon = serve(folder);
    let socket = format!("unix://{}", folder.join("daemon/convoy.sock").display());
    // A process this short is measured more often.
    let all = (0..runs * 10)
        .map(|_| measure(program(folder).env("BKUP_CONVOY", &socket).args(["volumes", "--json"])))
        .collect();
    let measured = median(all);
    println!("| `volumes --json`, daemon on a socket | {} | {} |", ms(measured), mib(measured));
    daemon.kill().and_then(|()| daemon.wait()).expect("it ends");
}

/// `runs list` over a store with 10,000 runs, each with 20 lines of log and a result.
fn runs_list(folder: &Path, runs: usize) {
    const RUNS: usize = 10_000;
    // The program makes the store; its first run is then had again and again, each time a minute
    // later.
    measure(program(folder).args(["create", "--volume", "vol1", "--size", "1G"]));
    let mut store = rusqlite::Connection::open(folder.join("data/runs.sqlite")).expect("a store");
    let transaction = store.transaction().expect("a transaction");
    transaction
        .execute_batch(&format!(
            "CREATE TEMP TABLE numbers AS
                WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {RUNS}) SELECT n FROM n;
            CREATE TEMP TABLE copies AS SELECT runs.*, n FROM runs, numbers;
            UPDATE copies SET id = printf('20261123T%06d.000000-1a-0', n), started = started - ({RUNS} - n) * 60000000,
                script = iif(n % 3, 'backup', 'prune'), status = iif(n % 50, 'done', 'failed'),
                result = printf('[%s]', replace(printf('%.20c', 'x'), 'x', '{{\"Name\":\"vol1\",\"Driver\":\"vfs\"}},')|| 'null');
            ALTER TABLE copies DROP COLUMN n;
            DELETE FROM runs;
            INSERT INTO runs SELECT * FROM copies;
            INSERT INTO lines SELECT copies.id, numbers.n, copies.started, 3, 'backup', printf('line %d of the log', numbers.n)
                FROM copies, numbers WHERE numbers.n <= 20;
            INSERT OR IGNORE INTO run_volumes SELECT 'vol1', id FROM copies;"
        ))
        .expect("10,000 runs");
    transaction.commit().expect("room");
    drop(store);
    for words in [
        "runs list",
        "runs list --json -n 10000",
        "runs list --status failed --script prune --since 7d",
    ] {
        let all = (0..runs * 5).map(|_| measure(program(folder).args(words.split(' ')))).collect();
        let measured = median(all);
        println!("| `{words}`, 10,000 runs | {} | {} |", ms(measured), mib(measured));
    }
}

fn serve(folder: &Path) -> Child {
    let root = folder.join("daemon");
    let child = program(folder)
        .args(["daemon", "--root"])
        .arg(&root)
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    while UnixStream::connect(root.join("convoy.sock")).is_err() {
        std::thread::yield_now();
    }
    child
}

/// What a script costs: `snapshot` over 1,000 volumes of a daemon that answers from memory, less
/// the daemon's own time.
fn script(folder: &Path, runs: usize) {
    const VOLUMES: usize = 1_000;
    let socket = folder.join("convoy.sock");
    let busy = Arc::new(AtomicU64::new(0));
    let listener = UnixListener::bind(&socket).expect("a socket");
    let spent = Arc::clone(&busy);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let spent = Arc::clone(&spent);
            std::thread::spawn(move || answer(stream.expect("a connection"), VOLUMES, &spent));
        }
    });
    let address = format!("unix://{}", socket.display());
    let mut own = Vec::new();
    for _ in 0..runs {
        busy.store(0, Ordering::Relaxed);
        let mut measured =
            measure(program(folder).env("BKUP_CONVOY", &address).args(["snapshot", "--json"]));
        measured.took =
            measured.took.saturating_sub(Duration::from_nanos(busy.load(Ordering::Relaxed)));
        own.push(measured);
    }
    let measured = median(own);
    let each = measured.took.as_secs_f64() * 1_000.0 / VOLUMES as f64;
    println!(
        "| `snapshot` of 1,000 volumes, per volume, without the daemon's time | {each:.2} ms | {} |",
        mib(measured)
    );
}

/// One connection of the daemon in memory: every request until the client hangs up.
fn answer(mut stream: UnixStream, volumes: usize, busy: &AtomicU64) {
    let volume = |name: &str| {
        format!(
            r#"{{"Name":"{name}","Driver":"vfs","MountPoint":"","CreatedTime":"Mon Nov 23 07:00:48 +0000 2026","DriverInfo":{{}},"Snapshots":{{}}}}"#
        )
    };
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let start = Instant::now();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let asked: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = if first.contains("/volumes/list") {
            let all: Vec<_> = (0..volumes)
                .map(|i| format!("\"vol{i:04}\":{}", volume(&format!("vol{i:04}"))))
                .collect();
            format!("{{{}}}", all.join(","))
        } else if first.starts_with("POST") {
            let (name, volume) =
                (asked["Name"].as_str().unwrap_or(""), asked["VolumeName"].as_str().unwrap_or(""));
            format!(
                r#"{{"Name":"{name}","VolumeName":"{volume}","CreatedTime":"Mon Nov 23 07:00:48 +0000 2026","DriverInfo":{{}}}}"#
            )
        } else {
            volume(asked["VolumeName"].as_str().unwrap_or(""))
        };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        let sent = stream.write_all(answer.as_bytes());
        busy.fetch_add(u64::try_from(start.elapsed().as_nanos()).unwrap_or(0), Ordering::Relaxed);
        if sent.is_err() {
            return;
        }
    }
}
