//! The built-in daemon as Docker's volume plugin: what containers leave, and what a person does
//! about it.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    engine::FakeEngine,
    site::Site,
    socket::send,
    way::{Way, both_ways},
};

both_ways! {
    a_volume_that_a_dead_container_left_mounted_is_unmounted_by_a_command
    a_container_that_does_not_exist_any_more_has_no_volume_mounted
    a_volume_is_not_unmounted_while_a_container_has_it_or_docker_does_not_answer
    another_engines_containers_say_nothing_of_our_volumes
}

/// A call of Docker's to its plugin.
fn docker(site: &Site, call: &str, fields: &Value) -> Value {
    let (socket, path) = (site.path("daemon/convoy.sock"), format!("/VolumeDriver.{call}"));
    let answer = send(&socket, "POST", &path, &[], &fields.to_string()).unwrap();
    serde_json::from_str(&answer.body).unwrap()
}

/// A site with the volume `k1`, which a container mounted. Nobody has unmounted it.
fn mounted(site: Site) -> Site {
    let site = site.owned();
    assert_eq!(docker(&site, "Create", &json!({ "Name": "k1" })), json!({}));
    let mounted = docker(&site, "Mount", &json!({ "Name": "k1", "ID": "m1" }));
    assert!(mounted["Mountpoint"].as_str().unwrap().ends_with("/volumes/k1"), "{mounted}");
    fs::write(site.volume("k1").join("file"), "content").unwrap();
    site.released()
}

/// A site with an engine that has the volume `k1` of its plugin, whose files are in `folder`.
fn with_engine(folder: &str) -> (Site, FakeEngine) {
    let site = Site::builtin();
    let engine = FakeEngine::start(&site.path("docker"));
    let at = site.path("daemon/volumes").canonicalize();
    let at = at.unwrap_or_else(|_| site.path("daemon").canonicalize().unwrap().join("volumes"));
    let at = at.join(folder);
    engine.with(|contents| {
        let volume =
            json!({ "Name": "k1", "Driver": "convoy", "Mountpoint": at, "Scope": "local" });
        contents.volumes.insert("k1".into(), volume);
    });
    engine.container("web", "exited", &json!(null), &["k1"]);
    let socket = format!("unix://{}", engine.socket.display());
    (mounted(site.with("BKUP_DOCKER", socket)), engine)
}

fn mount_point(site: &Site) -> String {
    let volumes = site.run("volumes --json").json();
    let volume = volumes.as_array().unwrap().iter().find(|volume| volume["Name"] == "k1").unwrap();
    volume["MountPoint"].as_str().unwrap().to_owned()
}

fn a_volume_that_a_dead_container_left_mounted_is_unmounted_by_a_command(way: Way) {
    let site = way.of(mounted(Site::builtin().with("BKUP_DOCKER", "off")));
    let hint = "if none does any more: convoy-backups unmount --volume k1";
    site.run("remove --volume k1 --all").fails(1, &["is mounted at", hint]);
    site.run("unmount --volume k1 --dry-run").ok();
    assert!(!mount_point(&site).is_empty());
    site.run("unmount --volume k1").fails(0, &["there is no Docker engine to ask"]);
    assert!(mount_point(&site).is_empty());
    site.run("unmount --volume k1").ok();
    site.run("unmount --volume k2").fails(1, &["there is no volume \"k2\""]);
    site.run("remove --volume k1 --all").ok();
    assert!(!site.volume("k1").exists());
}

fn a_container_that_does_not_exist_any_more_has_no_volume_mounted(way: Way) {
    let (site, engine) = with_engine("k1");
    let site = way.of(site);
    assert!(!mount_point(&site).is_empty());
    site.run("remove --volume k1 --all").fails(1, &["is mounted at"]);
    engine.with(|contents| contents.containers.clear());
    assert!(mount_point(&site).is_empty());
    site.run("remove --volume k1 --all").ok();
}

fn a_volume_is_not_unmounted_while_a_container_has_it_or_docker_does_not_answer(way: Way) {
    let (site, engine) = with_engine("k1");
    let site = way.of(site);
    site.run("unmount --volume k1").fails(1, &["Containers have it: web", "docker rm"]);
    let socket = engine.socket.with_extension("away");
    fs::rename(&engine.socket, &socket).unwrap();
    site.run("unmount --volume k1").fails(1, &["Docker can't be asked whether containers have it"]);
    assert!(!mount_point(&site).is_empty());
}

fn another_engines_containers_say_nothing_of_our_volumes(way: Way) {
    let (site, engine) = with_engine("another/k1");
    engine.with(|contents| contents.containers.clear());
    let site = way.of(site);
    assert!(!mount_point(&site).is_empty());
    site.run("unmount --volume k1").ok();
    assert!(mount_point(&site).is_empty());
}

#[test]
fn docker_hears_why_a_volume_stays_and_a_new_name_is_no_warning() {
    let site = Site::builtin().with("BKUP_DOCKER", "off").owned();
    let error = docker(&site, "Get", &json!({ "Name": "new" }));
    assert_eq!(error["Err"], "Could not find volume new.");
    docker(&site, "Create", &json!({ "Name": "new" }));
    let got = docker(&site, "Get", &json!({ "Name": "new" }));
    assert!(got["Volume"]["CreatedAt"].as_str().unwrap().starts_with("20"), "{got}");
    let log = fs::read_to_string(site.path("owner.log")).unwrap();
    assert!(!log.contains("WARN"), "{log}");
    site.run_script("fn main(args) { convoy::mount(\"new\") }", "").ok();
    let error = docker(&site, "Remove", &json!({ "Name": "new" }));
    let error = error["Err"].as_str().unwrap();
    assert!(error.contains("still mounted (stop the containers"), "{error}");
}
