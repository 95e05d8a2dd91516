//! The daemon in memory is as the real one.

use serde_json::{Map, Value};

use super::MemoryDaemon;
use crate::{
    convoy::{ApiTime, Daemon as _, Destination, Name, Snapshot},
    error::ErrorKind,
    support::transcripts,
};

/// The fields of a recorded answer, or of what `path` leads to in it; the first element of a map
/// where the path says `*`.
fn recorded(exchange: &str, path: &[&str]) -> Vec<String> {
    let exchanges = transcripts::ebs_exchanges();
    let exchange = exchanges.iter().find(|it| it.name == exchange).unwrap();
    names(serde_json::from_str(&exchange.response.body).unwrap(), path)
}

fn names(value: Value, path: &[&str]) -> Vec<String> {
    let step = |map: Map<String, Value>, step: &&str| {
        let (_, value) = map.into_iter().find(|(name, _)| *step == "*" || name == step).unwrap();
        let Value::Object(map) = value else { panic!("no map at {step}") };
        map
    };
    let Value::Object(map) = value else { panic!("no map") };
    path.iter().fold(map, step).into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn what_the_driver_in_memory_answers_has_the_fields_that_the_real_one_sends() {
    let daemon = MemoryDaemon::ebs(&["vol1"]);
    let name = |text: &str| Name::parse("name", text).unwrap();
    let destination = Destination::parse("ebs://us-east-1/").unwrap();
    let taken = daemon.create_snapshot(&name("vol1"), &name("s1")).await.unwrap();
    let value = |snapshot: &Snapshot| serde_json::to_value(snapshot).unwrap();
    assert_eq!(names(value(&taken), &["DriverInfo"]), recorded("take a snapshot", &["DriverInfo"]));
    let listed = daemon.backups(&destination, None).await.unwrap().remove(0);
    assert_eq!(
        names(serde_json::to_value(&listed).unwrap(), &[]),
        recorded("list all backups", &["*"])
    );
    let url = daemon.create_backup(&name("s1"), &destination).await.unwrap();
    let mut inspected =
        names(serde_json::to_value(daemon.backup(&url).await.unwrap()).unwrap(), &[]);
    // The client adds it.
    inspected.retain(|field| field != "BackupURL");
    assert_eq!(inspected, recorded("inspect a backup", &[]));
    daemon.delete_backup(&url, &[]).await.unwrap();
    let removed = daemon.snapshot(&name("s1")).await.unwrap();
    assert_eq!(
        names(value(&removed), &["DriverInfo"]),
        recorded("inspect a snapshot whose backup was deleted", &["DriverInfo"])
    );
    assert_eq!(removed.created_time, ApiTime::parse(""));
    assert_eq!(daemon.backups(&destination, None).await.unwrap(), []);
    let gone = daemon.delete_backup(&url, &[]).await.unwrap_err();
    assert_eq!(gone.kind, ErrorKind::NotFound);
}
