//! What writes to a volume stands still while it is read, and goes on whatever happens.

use std::{
    fs,
    path::Path,
    sync::mpsc::{Sender, channel},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    s3::{noise, on_s3},
    support::{
        running::Running,
        s3::S3,
        site::Site,
        way::{Way, both_ways},
    },
};

both_ways! {
    a_live_volume_is_read_while_what_writes_to_it_is_held
    what_writes_goes_on_before_a_moment_is_read
    a_hold_that_fails_fails_the_backup_and_what_it_held_goes_on
    a_release_that_fails_fails_the_run_loudly_and_is_tried_again_by_the_next_start
}

const BACKUP: &str = "backup --create-snapshot";

/// A site whose volumes are held by these commands, which find the site's folder as `$SITE`.
fn holding(hold: &str, release: &str) -> Site {
    let site = Site::builtin();
    let with = |command: &str| {
        format!("SITE='{}'; {command}", site.path("").display().to_string().trim_end_matches('/'))
    };
    let (hold, release) = (with(hold), with(release));
    site.with("BKUP_HOLD", hold).with("BKUP_RELEASE", release).with("BKUP_HOLD_VOLUMES", "db")
}

const LOGGED: [&str; 2] = [
    "echo hold $VOLUME >> $SITE/log; echo held > $FOLDER/state",
    "echo release $VOLUME >> $SITE/log; echo goes on > $FOLDER/state",
];

fn log(site: &Site) -> String {
    fs::read_to_string(site.path("log")).unwrap_or_default().replace('\n', ", ")
}

fn notes(site: &Site) -> usize {
    fs::read_dir(site.path("daemon/moments")).map_or(0, Iterator::count)
}

fn restored_state(site: &Site) -> String {
    let url = site.backups("db").remove(0);
    let name = format!("restored{}", site.backups("db").len());
    site.run(&format!("restore --volume {name} --backupurl {url}")).ok();
    fs::read_to_string(site.volume(&name).join("state")).unwrap()
}

fn a_live_volume_is_read_while_what_writes_to_it_is_held(way: Way) {
    let site = way.of(holding(LOGGED[0], LOGGED[1]));
    site.create("db", &[("state", "new\n"), ("table", "rows")]);
    site.create("other", &[("f", "f")]);
    let plan = site.run("backup --create-snapshot --dry-run").ok().out;
    assert_eq!(plan.matches("hold what writes to it still while it is read").count(), 1, "{plan}");
    let doctor = site.run("doctor").out;
    assert!(doctor.contains("db: what writes to them is held still, by BKUP_HOLD"), "{doctor}");
    assert_eq!(log(&site), "");
    for _ in 0..2 {
        site.run(BACKUP).ok();
        assert_eq!(restored_state(&site), "held\n");
    }
    assert_eq!(fs::read_to_string(site.volume("db").join("state")).unwrap(), "goes on\n");
    assert_eq!(log(&site), "hold db, release db, ".repeat(2));
    let held = |volume: &str| {
        let backups = site.run(&format!("backups --volume {volume} --json")).json();
        backups[0]["HeldMilliseconds"].clone()
    };
    assert!(held("db").as_str().unwrap().parse::<u64>().is_ok());
    assert_eq!(held("other"), Value::Null);
    let made = site.run("backup --create-snapshot --volume db --json").json().to_string();
    assert!(made.contains("\"HeldMilliseconds\":"), "{made}");
    site.run("snapshot --volume db").ok();
    assert_eq!(log(&site), "hold db, release db, ".repeat(4));
    let volumes = site.run("volumes --json").json().to_string();
    assert!(volumes.contains("\"HeldMilliseconds\":"), "{volumes}");
    assert_eq!(notes(&site), 0);
}

fn what_writes_goes_on_before_a_moment_is_read(way: Way) {
    let site = holding(LOGGED[0], LOGGED[1]);
    let at = site.path("copy").display().to_string();
    let site = way.of(site
        .with("BKUP_MOMENT_TAKE", format!("cp -a $FOLDER {at} && echo {at}"))
        .with("BKUP_MOMENT_DROP", format!("echo drop >> {at}/../log; rm -r {at}")));
    site.create("db", &[("state", "new\n")]);
    let plan = site.run("backup --create-snapshot --dry-run").ok().out;
    assert!(plan.contains("hold what writes to it still while its moment is taken"), "{plan}");
    site.run(BACKUP).ok();
    assert_eq!(log(&site), "hold db, release db, drop, ");
    assert_eq!(restored_state(&site), "held\n");
}

fn a_hold_that_fails_fails_the_backup_and_what_it_held_goes_on(way: Way) {
    let site = way.of(holding("echo no such container >&2; exit 3", LOGGED[1]));
    site.create("db", &[("state", "new\n")]);
    site.create("other", &[("f", "f")]);
    site.run(BACKUP)
        .fails(3, &["volume \"db\": BKUP_HOLD failed (exit status: 3): no such container"]);
    assert_eq!((log(&site).as_str(), notes(&site)), ("release db, ", 0));
    assert_eq!((site.backups("db").len(), site.backups("other").len()), (0, 1));
}

fn a_release_that_fails_fails_the_run_loudly_and_is_tried_again_by_the_next_start(way: Way) {
    let site =
        way.of(holding(LOGGED[0], "test -e $SITE/mended || { echo gone away >&2; exit 1; }"));
    site.create("db", &[("state", "new\n")]);
    site.run(BACKUP).fails(
        1,
        &["BKUP_RELEASE failed (exit status: 1): gone away", "run by hand what BKUP_RELEASE says"],
    );
    assert_eq!((notes(&site), site.backups("db").len()), (1, 0));
    fs::write(site.path("mended"), "").unwrap();
    site.run(BACKUP).ok();
    assert_eq!((notes(&site), site.backups("db").len()), (0, 1));
}

#[test]
fn one_of_the_two_commands_or_volumes_without_them_are_refused() {
    let site = Site::builtin().with("BKUP_HOLD", "true");
    site.run("volumes").fails(2, &["BKUP_HOLD is set, but BKUP_RELEASE is not"]);
    let site = Site::builtin().with("BKUP_HOLD_VOLUMES", "db");
    site.run("volumes").fails(2, &["BKUP_HOLD_VOLUMES is set, but BKUP_HOLD is not"]);
    let site = holding("true", "true").with("BKUP_HOLD_VOLUMES", "db,a/b");
    site.run("volumes").fails(2, &["is not a list of volumes"]);
}

fn until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never was so");
        std::thread::yield_now();
    }
}

/// A backup that is being made, and holds: its command waits until the site has a file `go`.
fn in_the_middle_of_a_hold(site: &Site) -> Running {
    let mut command = site.command();
    command.args(BACKUP.split(' '));
    let running = Running::start_until(command, site.path("run.log"), || true);
    until(|| site.path("held").exists());
    running
}

/// It ends by itself where nobody stops it.
const WAITS: &str =
    "touch $SITE/held; for n in $(seq 600); do test -e $SITE/go && exit; sleep 0.1; done";

#[test]
fn a_hold_that_a_kill_left_is_released_by_the_next_start_and_said() {
    let site = holding(WAITS, LOGGED[1]);
    site.create("db", &[("state", "new\n")]);
    in_the_middle_of_a_hold(&site).kill();
    fs::write(site.path("go"), "").unwrap();
    assert_eq!((log(&site).as_str(), notes(&site)), ("", 1));
    let next = site.run("volumes");
    assert!(
        next.err.contains("a hold of what writes to volume \"db\" was left by a run"),
        "{next:?}"
    );
    assert!(next.ok().err.contains("it was released"));
    assert_eq!((log(&site).as_str(), notes(&site)), ("release db, ", 0));
    assert!(site.backups("db").is_empty());
}

#[test]
fn a_hold_command_that_a_kill_left_running_is_ended_before_the_next_start_releases() {
    let site = holding(&format!("echo $$ > $SITE/process; {WAITS}"), LOGGED[1]);
    site.create("db", &[("state", "new\n")]);
    in_the_middle_of_a_hold(&site).kill();
    let process = fs::read_to_string(site.path("process")).unwrap();
    let state = || fs::read_to_string(format!("/proc/{}/stat", process.trim())).unwrap_or_default();
    let ended = |state: &str| state.is_empty() || state.contains(") Z ");
    assert!(!ended(&state()));
    site.run("volumes").ok();
    assert!(ended(&state()), "{}", state());
    assert_eq!((log(&site).as_str(), notes(&site)), ("release db, ", 0));
}

#[test]
fn a_first_snapshot_is_read_before_what_writes_is_held() {
    let hold = "find $SITE/daemon -path '*/data/*' -type f | wc -l > $SITE/packs";
    let site = holding(hold, LOGGED[1]);
    site.create("db", &[("state", "new\n")]);
    fs::write(site.volume("db").join("table"), noise(3_000_000)).unwrap();
    site.run("snapshot --volume db").ok();
    let packs = fs::read_to_string(site.path("packs")).unwrap();
    assert!(packs.trim().parse::<usize>().unwrap() > 0);
}

#[test]
fn a_hold_is_released_when_its_run_is_cancelled() {
    for signal in ["TERM", "INT"] {
        let site = holding(WAITS, LOGGED[1]);
        site.create("db", &[("state", "new\n")]);
        let mut running = in_the_middle_of_a_hold(&site);
        running.signal(signal);
        assert!(!running.wait().success());
        assert_eq!((log(&site).as_str(), notes(&site)), ("release db, ", 0), "{}", running.log());
        assert!(site.backups("db").is_empty());
    }
}

#[test]
fn a_hold_that_hangs_is_stopped_and_released() {
    let site = holding(WAITS, LOGGED[1]).with("BKUP_HOLD_MAX", "1s");
    site.create("db", &[("state", "new\n")]);
    site.run(BACKUP).fails(1, &["BKUP_HOLD did not end within 1s and was stopped"]);
    assert_eq!((log(&site).as_str(), notes(&site)), ("release db, ", 0));
    assert!(Path::new(&site.path("held")).exists());
}

/// A volume on S3 with one backup, in which this many bytes are new once it is held, and a service that
/// takes no packs from then on until what is returned here is dropped.
fn with_a_slow_service(bytes: usize) -> (Site, S3, Sender<()>) {
    let s3 = S3::start();
    let hold = format!("test -e $SITE/new && mv $SITE/new $FOLDER/table; {}", LOGGED[0]);
    let site = on_s3(holding(&hold, LOGGED[1]), &s3);
    site.create("db", &[("state", "new\n")]);
    site.run(BACKUP).ok();
    let (new, log) = (site.path("new"), site.path("log"));
    fs::write(new, noise(bytes)).unwrap();
    let (open, gate) = channel::<()>();
    s3.fault(move |request| {
        let is_held = fs::read_to_string(&log).is_ok_and(|log| log.matches("hold").count() == 2);
        if is_held && request.method == "PUT" && request.object.contains("/data/") {
            _ = gate.recv();
        }
        None
    });
    (site, s3, open)
}

/// A backup whose writers go on while all that is new of it waits in the spool.
fn in_the_middle_of_the_upload(site: &Site) -> Running {
    let mut command = site.command();
    command.args(BACKUP.split(' '));
    let running = Running::start_until(command, site.path("run.log"), || true);
    until(|| log(site).matches("release").count() == 2 && !spooled(site).is_empty());
    running
}

fn spooled(site: &Site) -> Vec<std::path::PathBuf> {
    let folders = fs::read_dir(site.path("daemon/spool")).into_iter().flatten().flatten();
    folders.flat_map(|it| fs::read_dir(it.path())).flatten().flatten().map(|it| it.path()).collect()
}

#[test]
fn what_writes_goes_on_before_the_upload_and_what_a_kill_left_of_it_is_removed() {
    let (site, s3, open) = with_a_slow_service(20_000_000);
    in_the_middle_of_the_upload(&site).kill();
    drop(open);
    s3.mend();
    let next = site.run("volumes").ok();
    assert!(next.err.contains("1 unfinished upload was removed"), "{next:?}");
    assert!(!site.path("daemon/spool").exists() && notes(&site) == 0);
    assert_eq!(site.backups("db").len(), 1);
    site.run(BACKUP).ok();
    assert!(spooled(&site).is_empty());
    assert_eq!(restored_state(&site), "held\n");
    let table = |volume: &str| fs::read(site.volume(volume).join("table")).unwrap();
    assert!(table("restored2") == table("db"));
}

#[test]
fn an_upload_from_the_spool_ends_well_once_the_service_takes_it() {
    let (site, _s3, open) = with_a_slow_service(20_000_000);
    let mut running = in_the_middle_of_the_upload(&site);
    drop(open);
    assert!(running.wait().success(), "{}", running.log());
    assert!(spooled(&site).is_empty());
    assert_eq!((site.backups("db").len(), restored_state(&site).as_str()), (2, "held\n"));
    let doctor = site.run("doctor").out;
    assert!(doctor.contains("may wait to be uploaded"), "{doctor}");
}

#[test]
fn a_hold_that_lasts_as_long_as_the_upload_ends_at_its_limit() {
    let (site, _s3, open) = with_a_slow_service(120_000_000);
    let site = site.with("BKUP_SPOOL_MAX", "0").with("BKUP_HOLD_MAX", "2s");
    let mut command = site.command();
    command.args(BACKUP.split(' '));
    let mut running = Running::start_until(command, site.path("run.log"), || true);
    until(|| log(&site).matches("release").count() == 2);
    drop(open);
    assert!(!running.wait().success());
    assert!(running.log().contains("stood still for 2s"), "{}", running.log());
    assert_eq!((site.backups("db").len(), notes(&site)), (1, 0));
}
