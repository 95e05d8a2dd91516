//! Containers stand still while their volume is read, and run again whatever happens: the whole
//! program on an engine in memory.

use std::{
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::json;

use crate::support::{
    engine::{FakeEngine, Faults},
    running::Running,
    site::Site,
    way::{Way, both_ways},
};

both_ways! {
    containers_stand_still_while_their_volume_is_read_and_the_backup_says_for_how_long
    a_container_that_cannot_stand_still_fails_the_backup_unless_a_live_one_will_do
    all_volumes_of_a_project_are_read_in_one_hold
    a_script_backs_up_while_it_holds_containers_and_they_go_on_whatever_it_does
}

const BACKUP: &str = "backup --create-snapshot";

/// A site with an engine that has the volume `shop_db`, with two containers that run, one that is
/// paused and one that is off.
fn shop() -> (Site, FakeEngine) {
    let site = Site::builtin();
    let engine = FakeEngine::start(&site.path("docker"));
    let files = engine.volume("shop_db", &json!(null), &json!(null));
    fs::write(files.join("table"), "rows").unwrap();
    let labels = |service: &str, depends_on: &str| {
        json!({
            "com.docker.compose.project": "shop",
            "com.docker.compose.service": service,
            "com.docker.compose.depends_on": depends_on,
        })
    };
    engine.container("shop-db-1", "running", &labels("db", ""), &["shop_db"]);
    let mut web = labels("web", "db:service_healthy:true");
    web["convoy-backups.hold"] = json!("stop");
    engine.container("shop-web-1", "running", &web, &["shop_db"]);
    engine.container("shop-old-1", "paused", &labels("old", ""), &["shop_db"]);
    engine.container("shop-job-1", "exited", &labels("job", ""), &["shop_db"]);
    let site = site.with("BKUP_DOCKER", format!("unix://{}", engine.socket.display()));
    (site, engine)
}

/// The containers as they were before.
const AS_BEFORE: [(&str, &str); 4] = [
    ("shop-db-1", "running"),
    ("shop-web-1", "running"),
    ("shop-old-1", "paused"),
    ("shop-job-1", "exited"),
];

fn are_as_before(engine: &FakeEngine) -> bool {
    AS_BEFORE.iter().all(|(name, state)| engine.state(name) == *state)
}

const DONE: &str = "stop shop-web-1, pause shop-db-1, unpause shop-db-1, start shop-web-1";

fn containers_stand_still_while_their_volume_is_read_and_the_backup_says_for_how_long(way: Way) {
    let (site, engine) = shop();
    let site = way.of(site);
    let plan = site.run("backup --create-snapshot --dry-run").ok().out;
    assert!(plan.contains("and stop shop-web-1, pause shop-db-1 while it is read"), "{plan}");
    let doctor = site.run("doctor").out;
    assert!(
        doctor.contains("shop_db: each backup will stop shop-web-1, pause shop-db-1"),
        "{doctor}"
    );
    assert_eq!(engine.acts(), "");
    for _ in 0..2 {
        site.run(BACKUP).ok();
        assert_eq!(engine.acts(), DONE);
    }
    let backups = site.run("backups --volume shop_db --json").json();
    let held = backups[0]["HeldContainers"].as_str().unwrap();
    let held: serde_json::Value = serde_json::from_str(held).unwrap();
    assert!(held["shop-db-1"].is_u64() && held["shop-web-1"].is_u64(), "{held}");
    assert_eq!(held.as_object().unwrap().len(), 2);
    site.run("snapshot --volume shop_db").ok();
    assert_eq!(engine.acts(), DONE);
    assert!(are_as_before(&engine));
}

fn all_volumes_of_a_project_are_read_in_one_hold(way: Way) {
    let (site, engine) = shop();
    let shop = json!({ "com.docker.compose.project": "shop" });
    let files = engine.volume("shop_files", &shop, &json!(null));
    fs::write(files.join("picture"), "of a shop").unwrap();
    let odd = json!({ "com.docker.compose.project": "shop", "convoy-backups.hold": "odd" });
    engine.volume("shop_odd", &odd, &json!(null));
    let uses = json!({
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "uploads",
        "com.docker.compose.depends_on": "web:service_started:true",
    });
    engine.container("shop-uploads-1", "running", &uses, &["shop_files", "shop_odd"]);
    let site = way.of(site);
    for _ in 0..2 {
        let ran = site.run("backup --project shop");
        assert!(ran.code == 3 && ran.err.contains("must be pause, stop or none"), "{ran:?}");
        assert_eq!(
            engine.acts(),
            "pause shop-uploads-1, stop shop-web-1, pause shop-db-1, unpause shop-db-1, start shop-web-1, unpause shop-uploads-1"
        );
    }
    for (volume, count) in [("shop_db", 2), ("shop_files", 2), ("shop_odd", 0)] {
        assert_eq!(site.backups(volume).len(), count, "{volume}");
    }
    let held = &site.run("backups --volume shop_files --json").json()[0]["HeldContainers"];
    assert!(held.as_str().unwrap().contains("shop-uploads-1"), "{held}");
    let url = &site.backups("shop_files")[0];
    site.run(&format!("restore --volume copy --backupurl {url}")).ok();
    let restored = site.path("docker/volumes/copy/_data/picture");
    assert_eq!(fs::read_to_string(restored).unwrap(), "of a shop");
    assert!(are_as_before(&engine) && engine.state("shop-uploads-1") == "running");
}

fn a_script_backs_up_while_it_holds_containers_and_they_go_on_whatever_it_does(way: Way) {
    let (site, engine) = shop();
    engine.container(
        "shop-cache-1",
        "running",
        &json!({ "convoy-backups.exec.clear": "true" }),
        &[],
    );
    let site = way.of(site);
    let held = r#"
        fn main(args) {
            docker::exec("shop-cache-1", "clear");
            docker::quiesced(["shop_db"], || {
                convoy::back_up("shop_db");
                convoy::back_up("shop_db");
                docker::containers_using("shop_db").len()
            })
        }"#;
    let plan = site.run_script(held, "--dry-run").ok().out;
    for step in [
        "run \"clear\" in the container",
        "hold what writes to \"shop_db\"",
        "let what was held go on",
    ] {
        assert!(plan.contains(step), "{step}: {plan}");
    }
    assert_eq!(engine.acts(), "");
    site.run_script(held, "").ok();
    assert_eq!(engine.acts(), format!("exec in shop-cache-1: true, {DONE}"));
    let backups = site.run("backups --volume shop_db --json").json();
    for backup in [&backups[0], &backups[1]] {
        let held = backup["HeldContainers"].as_str().unwrap();
        assert!(held.contains("shop-db-1") && held.contains("shop-web-1"), "{held}");
    }
    let throws = r#"fn main(args) { docker::quiesced(["shop_db"], || throw "enough") }"#;
    site.run_script(throws, "").fails(1, &["enough"]);
    assert_eq!(engine.acts(), DONE);
    let unknown = r#"fn main(args) { docker::exec("shop-cache-1", "drop") }"#;
    site.run_script(unknown, "").fails(2, &["has no label convoy-backups.exec.drop"]);
    assert!(are_as_before(&engine));
}

fn a_container_that_cannot_stand_still_fails_the_backup_unless_a_live_one_will_do(way: Way) {
    let (site, engine) = shop();
    let refused = ("pause", "403 Forbidden", "not allowed");
    engine.with(|contents| contents.faults.refused = Some(refused));
    let site = way.of(site);
    site.run(BACKUP).fails(
        1,
        &[
            "volume \"shop_db\": cannot pause container \"shop-db-1\": Docker refused: not allowed",
            "BKUP_DOCKER_UNHELD=live",
        ],
    );
    assert_eq!(site.backups("shop_db").len(), 0);
    assert!(are_as_before(&engine));
    drop(site);

    let (site, engine) = shop();
    engine.with(|contents| contents.faults.refused = Some(refused));
    let site = way.of(site.with("BKUP_DOCKER_UNHELD", "live"));
    let ran = site.run(BACKUP).ok();
    if matches!(way, Way::Alone) {
        assert!(ran.err.contains("so its files are read as they are"), "{}", ran.err);
    }
    let backup = site.run("backups --volume shop_db --json").json()[0].clone();
    assert_eq!((&backup["Moment"], &backup["HeldMilliseconds"]), (&json!("live"), &json!(null)));
    assert!(are_as_before(&engine));
}

#[test]
fn containers_run_again_where_a_run_is_told_to_end() {
    for signal in ["INT", "TERM", "HUP"] {
        let (site, engine) = shop();
        engine.with(|contents| contents.faults.slow = Duration::from_millis(200));
        let mut running = backing_up(&site);
        engine.until("shop-web-1", "exited");
        running.signal(signal);
        running.wait();
        assert!(are_as_before(&engine), "after {signal}: {}", running.log());
    }
    // The second one ends the program at once, in the middle of its calls to the engine.
    let (site, engine) = shop();
    engine.with(|contents| contents.faults.slow = Duration::from_millis(500));
    let mut running = backing_up(&site);
    engine.until("shop-web-1", "exited");
    running.signal("INT");
    running.signal("TERM");
    running.wait();
    assert!(are_as_before(&engine), "{}", running.log());
}

#[test]
fn a_run_goes_on_without_its_terminal_where_it_was_told_to() {
    let (site, engine) = shop();
    engine.with(|contents| contents.faults.slow = Duration::from_millis(200));
    let mut command = std::process::Command::new("nohup");
    let program = site.command();
    command.arg(program.get_program()).args(BACKUP.split(' ')).current_dir(site.path(""));
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut running = Running::start_until(command, site.path("run.log"), || true);
    engine.until("shop-web-1", "exited");
    running.signal("HUP");
    assert!(running.wait().success(), "{}", running.log());
    assert!(are_as_before(&engine));
}

#[test]
fn what_a_hold_that_is_too_long_held_runs_again_and_the_copy_is_thrown_away() {
    let (site, engine) = shop();
    engine.with(|contents| contents.faults.slow = Duration::from_millis(600));
    site.with("BKUP_DOCKER_HOLD_MAX", "1s")
        .run(BACKUP)
        .fails(1, &["cannot pause container \"shop-db-1\""]);
    assert!(are_as_before(&engine));
}

#[test]
fn an_engine_that_died_is_asked_again_by_the_next_command() {
    let (site, engine) = shop();
    // It is not released either before the engine is away.
    let refused = ("unpause", "500 Internal Server Error", "it is dying");
    engine.with(|contents| {
        contents.faults.breaks = Some("pause");
        contents.faults.refused = Some(refused);
    });
    let away = site.path("docker/away");
    let mut running = backing_up(&site);
    engine.until("shop-db-1", "paused");
    fs::rename(&engine.socket, &away).unwrap();
    running.wait();
    engine.with(|contents| contents.faults.refused = None);
    assert!(running.log().contains("docker unpause shop-db-1"), "{}", running.log());
    fs::rename(&away, &engine.socket).unwrap();
    let next = site.run("volumes").ok();
    assert!(next.err.contains("was left by a run that did not end; it was released"), "{next:?}");
    assert!(are_as_before(&engine));
    engine.with(|contents| contents.faults = Faults::default());
    site.run(BACKUP).ok();
}

fn backing_up(site: &Site) -> Running {
    let mut command = site.command();
    command.args(BACKUP.split(' '));
    Running::start_until(command, site.path("run.log"), || true)
}

fn notes(site: &Site) -> usize {
    fs::read_dir(site.path("daemon/moments")).unwrap().count()
}

/// Numbers without a pattern (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// `KILLS=1000` for more.
#[test]
fn nothing_stays_paused_or_stopped_after_kills_at_random_moments() {
    let kills = std::env::var("KILLS").map_or(25, |kills| kills.parse().unwrap());
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    let mut random = Random(seed);
    let (site, engine) = shop();
    site.run(BACKUP).ok();
    let requests = |engine: &FakeEngine| engine.with(|contents| contents.requests.len());
    let before = requests(&engine);
    site.run(BACKUP).ok();
    let in_one_run = (requests(&engine) - before) as u64;
    let mut left = 0;
    for kill in 0..kills {
        let slow = Duration::from_millis(random.below(40));
        engine.with(|contents| contents.faults.slow = slow);
        let at = requests(&engine) + random.below(in_one_run) as usize;
        let later = Duration::from_micros(random.below(50_000));
        let mut running = backing_up(&site);
        let start = Instant::now();
        while requests(&engine) <= at && start.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        let reached = Instant::now();
        while reached.elapsed() < later {
            std::thread::yield_now();
        }
        running.kill();
        left += usize::from(notes(&site) > 0);
        site.run("volumes").ok();
        assert!(are_as_before(&engine), "kill {kill} of seed {seed}: {:?}", engine.acts());
        assert_eq!(notes(&site), 0, "kill {kill} of seed {seed}");
    }
    assert!(left > 0, "no kill came while something was held (seed {seed})");
    engine.with(|contents| contents.faults = Faults::default());
    site.run(BACKUP).ok();
}
