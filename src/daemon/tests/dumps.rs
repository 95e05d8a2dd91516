//! Dumps of databases in backups.

use std::{fs, time::Duration};

use serde_json::json;

use super::scene::{Scene, name, options};
use crate::{
    convoy::{Changes, Daemon as _},
    daemon::{BuiltinDaemon, BuiltinOptions, ContainerHolds, DockerOptions, HoldOptions},
    engine::HoldPolicy,
    support::engine::FakeEngine,
};

/// A scene with an engine that has the volume `db`, whose container `pg` is dumped.
fn with_dump(content: &str) -> (Scene, FakeEngine) {
    let mut scene = Scene::new();
    let engine = FakeEngine::start(&scene.path("docker"));
    let files = engine.volume("db", &json!(null), &json!(null));
    fs::write(files.join("file"), "pages").unwrap();
    engine.container("pg", "running", &json!({ "convoy-backups.dump": "postgres" }), &["db"]);
    fs::write(scene.path("docker/rows"), content).unwrap();
    engine.program("pg_dumpall", "cat rows; echo '-- PostgreSQL database cluster dump complete'");
    scene.daemon = None;
    let socket = engine.socket.clone();
    let docker = DockerOptions { socket: Some(socket.clone()), ..DockerOptions::default() };
    let (policy, limit) = (HoldPolicy::Pause, Duration::from_hours(1));
    let containers = Some(ContainerHolds { policy, limit, ..ContainerHolds::at(&socket) });
    let hold = HoldOptions { commands: None, containers, limit };
    let options = BuiltinOptions { docker, hold, ..options(&scene.path("root")) };
    // It asks Docker, which takes a thread that may block.
    let opened = std::thread::spawn(move || BuiltinDaemon::open(options)).join().unwrap();
    scene.daemon = Some(opened.unwrap());
    (scene, engine)
}

const DUMP: &str = ".convoy-backups.pg.postgres.sql";

#[tokio::test]
async fn a_dump_of_many_pieces_comes_back_as_it_was_made() {
    let rows: String = (0..600_000_u64).map(|row| format!("{}\n", row * row)).collect();
    let (scene, engine) = with_dump(&rows);
    let url = scene.back_up("db", "snap1").await;
    assert_eq!(engine.acts(), "dump in pg, pause pg, unpause pg");
    let backup = scene.daemon().backup(&url).await.unwrap();
    let dump = &backup.moment().dumps[0];
    assert_eq!(
        (dump.kind.as_str(), dump.container.as_str(), dump.path.as_str()),
        ("postgres", "pg", DUMP)
    );
    assert_eq!((backup.field("FileCount"), dump.bytes), ("2", rows.len() as u64 + 45));
    scene.restore("copy", &url).await.unwrap();
    let copy = scene.path("docker/volumes/copy/_data");
    let there = fs::read_to_string(copy.join(DUMP)).unwrap();
    assert_eq!(there.strip_prefix(&rows), Some("-- PostgreSQL database cluster dump complete\n"));
    assert_eq!(fs::read_to_string(copy.join("file")).unwrap(), "pages");
}

#[tokio::test]
async fn a_volume_is_unchanged_since_a_backup_that_has_a_dump_beside_its_files() {
    let (scene, _engine) = with_dump("rows\n");
    let url = scene.back_up("db", "snap1").await;
    let changes = async || scene.daemon().changes_since(&name("db"), &url).await.unwrap();
    assert!(matches!(changes().await, Changes::Unchanged));
    fs::write(scene.path("docker/volumes/db/_data/new"), "").unwrap();
    assert!(matches!(changes().await, Changes::Changed { .. }));
}
