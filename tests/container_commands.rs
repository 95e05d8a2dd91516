//! Commands and dumps in containers, by their labels: the whole program on an engine in memory.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    engine::FakeEngine,
    running::Running,
    site::Site,
    way::{Way, both_ways},
};

both_ways! {
    a_dump_is_in_the_backup_beside_the_files_and_comes_back_with_them
    a_dump_that_fails_or_is_torn_fails_the_backup
    with_dump_only_a_backup_has_no_files_and_nothing_is_held
    commands_run_around_the_hold_and_their_failure_fails_the_backup
}

const BACKUP: &str = "backup --create-snapshot";
/// What makes `pg_dumpall` in the container print a dump of this content.
const DUMPS: &str = "cat rows; echo '-- PostgreSQL database cluster dump complete'";

fn rows() -> String {
    "rows\n".repeat(1_000_000)
}

/// A site with an engine that has the volume `shop_db`, with the running container `shop-db-1`.
fn shop(labels: &Value) -> (Site, FakeEngine) {
    let site = Site::builtin();
    let engine = FakeEngine::start(&site.path("docker"));
    let files = engine.volume("shop_db", &json!(null), &json!(null));
    fs::write(files.join("table"), "pages").unwrap();
    engine.container("shop-db-1", "running", labels, &["shop_db"]);
    engine.program("pg_dumpall", DUMPS);
    fs::write(site.path("docker/rows"), rows()).unwrap();
    let site = site.with("BKUP_DOCKER", format!("unix://{}", engine.socket.display()));
    (site, engine)
}

fn dump(labels: &[(&str, &str)]) -> Value {
    let mut all = json!({ "convoy-backups.dump": "postgres" });
    for (name, value) in labels {
        all[format!("convoy-backups.{name}")] = json!(value);
    }
    all
}

const PATH: &str = ".convoy-backups.shop-db-1.postgres.sql";

fn newest(site: &Site) -> Value {
    let all = site.run("backups --volume shop_db --json").json();
    let all = all.as_array().unwrap();
    let time = |backup: &&Value| backup["CreatedTime"].as_str().unwrap().to_owned();
    all.iter().max_by_key(time).unwrap().clone()
}

fn restored(site: &Site, engine: &FakeEngine, backup: &Value, name: &str) -> std::path::PathBuf {
    let url = backup["BackupURL"].as_str().unwrap();
    site.run(&format!("restore --volume {name} --backupurl {url}")).ok();
    engine.with(|contents| contents.volumes[name]["Mountpoint"].as_str().unwrap().into())
}

fn a_dump_is_in_the_backup_beside_the_files_and_comes_back_with_them(way: Way) {
    let (site, engine) = shop(&dump(&[("hold", "none")]));
    let site = way.of(site);
    let plan = site.run("backup --create-snapshot --dry-run").ok().out;
    assert!(plan.contains("dump postgres in shop-db-1"), "{plan}");
    let doctor = site.run("doctor").out;
    assert!(doctor.contains("shop_db: each backup will dump postgres in shop-db-1"), "{doctor}");
    assert_eq!(engine.acts(), "");
    site.run(BACKUP).ok();
    assert_eq!(engine.acts(), "dump in shop-db-1");
    let backup = newest(&site);
    let dumps: Value = serde_json::from_str(backup["Dumps"].as_str().unwrap()).unwrap();
    let bytes = fs::metadata(site.path("docker/rows")).unwrap().len() + 45;
    let wanted =
        json!([{ "Kind": "postgres", "Container": "shop-db-1", "Path": PATH, "Bytes": bytes }]);
    assert_eq!(dumps, wanted);

    let copy = restored(&site, &engine, &backup, "copy");
    assert_eq!(fs::read_to_string(copy.join("table")).unwrap(), "pages");
    let there = fs::read(copy.join(PATH)).unwrap();
    assert_eq!(there.len() as u64, bytes);
    assert!(there.starts_with(b"rows\nrows\n") && there.ends_with(b"cluster dump complete\n"));
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(copy.join(path)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(PATH), 0o600);

    // The old dump of a volume that was restored is no data of the new one.
    fs::write(copy.join(".convoy-backups.old.sql"), "old").unwrap();
    let db = fs::read_dir(site.path("docker/volumes/shop_db/_data")).unwrap().count();
    assert_eq!(db, 1, "nothing is written to the volume");
    engine.container("copy-db-1", "running", &dump(&[("hold", "none")]), &["copy"]);
    fs::write(site.path("docker/rows"), "newer\n").unwrap();
    site.run("backup --create-snapshot --volume copy").ok();
    let url = site.run("backups --volume copy --json").json()[0].clone();
    let again = restored(&site, &engine, &url, "again");
    assert_eq!(fs::read_dir(&again).unwrap().count(), 2, "the file, and one dump");
    let newer = fs::read_to_string(again.join(".convoy-backups.copy-db-1.postgres.sql"));
    assert!(newer.unwrap().starts_with("newer\n"));
    // A backup of a snapshot has the snapshot's dump.
    fs::write(site.path("docker/rows"), rows()).unwrap();
    site.run("snapshot --volume shop_db").ok();
    fs::write(site.path("docker/rows"), "later\n").unwrap();
    engine.acts();
    site.run("backup --volume shop_db").ok();
    assert_eq!(engine.acts(), "");
    let dumps = newest(&site)["Dumps"].as_str().unwrap().to_owned();
    assert!(dumps.contains(PATH) && dumps.contains(&bytes.to_string()), "{dumps}");
}

fn a_dump_that_fails_or_is_torn_fails_the_backup(way: Way) {
    let labels = [("hold", "none"), ("exec-timeout", "1s")];
    let (site, engine) = shop(&dump(&labels));
    engine.with(|contents| contents.containers[0]["Env"] = json!(["POSTGRES_PASSWORD=hunter22"]));
    let site = way.of(site);
    for (program, words) in [
        (
            "echo rows; echo no role for hunter22 >&2; exit 1",
            "failed (exit code 1): no role for ***",
        ),
        ("cat rows", "is not whole: its end is missing"),
        ("cat rows; sleep 600", "printed nothing within 1s"),
    ] {
        engine.program("pg_dumpall", program);
        let begin =
            "volume \"shop_db\": container \"shop-db-1\": the dump (convoy-backups.dump=postgres)";
        site.run(BACKUP).fails(1, &[begin, words]);
        assert_eq!(site.backups("shop_db").len(), 0, "{program}");
    }
    engine.program("pg_dumpall", DUMPS);
    engine.with(|contents| contents.faults.output_breaks_after = Some(1_000_000));
    site.run(BACKUP).fails(1, &["its output was cut off before it ended"]);
    engine.with(|contents| contents.faults.output_breaks_after = None);
    // The container goes away while it is dumped, and its command with it.
    engine.program("pg_dumpall", "cat rows; kill -9 $PPID");
    engine.with(|contents| {
        contents.before.push(("GET /exec/".into(), Box::new(|now| now.execs.clear())));
    });
    site.run(BACKUP).fails(1, &["it is not known how it ended"]);
    assert_eq!(site.backups("shop_db").len(), 0);
    engine.program("pg_dumpall", DUMPS);
    site.run(BACKUP).ok();
    assert_eq!(site.backups("shop_db").len(), 1);
}

fn with_dump_only_a_backup_has_no_files_and_nothing_is_held(way: Way) {
    let (site, engine) = shop(&dump(&[("dump-only", "true")]));
    let site = way.of(site);
    let plan = site.run("backup --create-snapshot --dry-run").ok().out;
    assert!(plan.contains("dump postgres in shop-db-1 in place of its files"), "{plan}");
    assert!(!plan.contains("pause"), "{plan}");
    site.run(BACKUP).ok();
    assert_eq!(engine.acts(), "dump in shop-db-1");
    let backup = newest(&site);
    assert_eq!(backup["Moment"], "dump");
    let copy = restored(&site, &engine, &backup, "copy");
    let names: Vec<_> = fs::read_dir(&copy).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, [PATH]);
    assert!(fs::read(copy.join(PATH)).unwrap().starts_with(b"rows\n"));
    engine.with(|contents| contents.containers[0]["State"] = json!("exited"));
    let backup = "backup --create-snapshot --volume shop_db";
    site.run(backup).fails(1, &["container \"shop-db-1\" does not run", "let it run"]);
}

#[test]
fn ctrl_c_in_a_command_before_ends_it_and_the_one_after_is_run() {
    let (site, engine) = shop(&json!({
        "convoy-backups.exec-before": "touch begun; exec sleep 1000",
        "convoy-backups.exec-after": "rm begun; touch went-on",
    }));
    let mut command = site.command();
    command.args(BACKUP.split(' '));
    let begun = site.path("docker/begun");
    let mut running = Running::start_until(command, site.path("run.log"), || begun.exists());
    running.signal("INT");
    assert!(!running.wait().success(), "{}", running.log());
    assert!(site.path("docker/went-on").exists() && !begun.exists(), "{}", running.log());
    assert!(engine.acts().ends_with("exec in shop-db-1: rm begun; touch went-on"));
}

fn commands_run_around_the_hold_and_their_failure_fails_the_backup(way: Way) {
    let labels = json!({
        "convoy-backups.exec-before": "test ! -e fails",
        "convoy-backups.exec-after": "echo after",
    });
    let (site, engine) = shop(&labels);
    let site = way.of(site);
    let plan = site.run("backup --create-snapshot --dry-run").ok().out;
    assert!(plan.contains("run convoy-backups.exec-before in shop-db-1"), "{plan}");
    for _ in 0..2 {
        site.run(BACKUP).ok();
        assert_eq!(
            engine.acts(),
            "exec in shop-db-1: test ! -e fails, pause shop-db-1, unpause shop-db-1, exec in shop-db-1: echo after"
        );
    }
    fs::write(site.path("docker/fails"), "").unwrap();
    site.run(BACKUP)
        .fails(1, &["container \"shop-db-1\": convoy-backups.exec-before failed (exit code 1)"]);
    assert_eq!(engine.acts(), "exec in shop-db-1: test ! -e fails, exec in shop-db-1: echo after");
    assert_eq!(site.backups("shop_db").len(), 2);
}
