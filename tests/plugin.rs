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
    a_container_that_has_the_folder_by_dockers_own_driver_keeps_it_from_being_removed
    another_engines_containers_say_nothing_of_our_volumes
    what_docker_removed_is_listed_on_request_and_removed_with_the_guards_as_ever
    a_restore_into_the_name_that_docker_removed_keeps_what_was_there
    what_docker_removed_does_not_come_back_into_a_new_volume_of_its_name
    a_volume_without_a_name_goes_with_its_container_unless_something_of_it_was_saved
    a_volume_that_somebody_gave_a_name_as_docker_makes_them_is_backed_up
    doctor_knows_whom_it_speaks_to_and_that_backups_are_not_encrypted
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
    site.run("remove --volume k1 --all").fails(1, &["containers have the volume \"k1\"", "web"]);
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

fn a_container_that_has_the_folder_by_dockers_own_driver_keeps_it_from_being_removed(way: Way) {
    let site = Site::builtin();
    let engine = FakeEngine::start(&site.path("docker"));
    let site = way.of(site.with("BKUP_DOCKER", format!("unix://{}", engine.socket.display())));
    site.create("k1", &[("file", "content")]);
    let device = site.volume("k1").canonicalize().unwrap();
    engine.volume("mine", &json!(null), &json!({ "type": "none", "o": "bind", "device": device }));
    engine.container("web", "running", &json!(null), &["mine"]);
    let volumes = site.run("volumes --json").json();
    assert_eq!(volumes.as_array().unwrap().len(), 1, "{volumes}");
    assert_eq!(volumes[0]["DriverInfo"]["Containers"], "web");
    site.run("backup --volume k1").ok();
    let status = site.run("status").ok();
    assert!(!status.out.contains("mine"), "{status:#?}");
    site.run("remove --volume k1").fails(1, &["containers have the volume \"k1\"", "web"]);
    engine.with(|contents| contents.containers.clear());
    site.run("remove --volume k1").ok();
}

fn another_engines_containers_say_nothing_of_our_volumes(way: Way) {
    let (site, engine) = with_engine("another/k1");
    engine.with(|contents| contents.containers.clear());
    let site = way.of(site);
    assert!(!mount_point(&site).is_empty());
    let unmounted = site.run("unmount --volume k1").ok();
    let log = fs::read_to_string(site.path("owner.log")).unwrap_or_default();
    let words = "does not know volume \"k1\"";
    assert!(unmounted.err.contains(words) || log.contains(words), "{unmounted:#?} {log}");
    assert!(mount_point(&site).is_empty());
}

fn a_volume_that_somebody_gave_a_name_as_docker_makes_them_is_backed_up(way: Way) {
    let (given, made) = ("0123456789abcdef".repeat(4), "fedcba9876543210".repeat(4));
    let site = Site::builtin().owned();
    docker(&site, "Create", &json!({ "Name": made }));
    let site = way.of(site.released());
    site.create(&given, &[("file", "content")]);
    site.run("backup").ok();
    assert_eq!(site.backups(&given).len(), 1);
    assert!(site.backups(&made).is_empty());
    site.run("status").ok();
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

/// A site where Docker made the volume `k1` with a file, it was backed up, and Docker removed it.
fn removed(way: Way) -> Site {
    let site = Site::builtin().with("BKUP_DOCKER", "off").owned();
    docker(&site, "Create", &json!({ "Name": "k1" }));
    fs::write(site.volume("k1").join("file"), "content").unwrap();
    site.run("backup --volume k1").ok();
    site.run("snapshot --volume k1").ok();
    assert_eq!(docker(&site, "Remove", &json!({ "Name": "k1" })), json!({}));
    way.of(site.released())
}

fn forgotten(site: &Site) -> Vec<String> {
    let listed = site.run("volumes --forgotten --json").json();
    let all = listed.as_array().unwrap().iter();
    all.map(|volume| {
        assert_eq!(volume["DriverInfo"]["Forgotten"], "true");
        volume["Name"].as_str().unwrap().to_owned()
    })
    .collect()
}

fn what_docker_removed_is_listed_on_request_and_removed_with_the_guards_as_ever(way: Way) {
    let site = removed(way);
    assert_eq!(site.run("volumes --json").json(), json!([]));
    assert_eq!(forgotten(&site), ["k1"]);
    site.run("doctor").ends(0);
    assert!(site.run("doctor").out.contains("1 forgotten volume has files or snapshots"));
    fs::write(site.volume("k1").join("file"), "changed").unwrap();
    site.run("remove --volume k1").fails(1, &["it has changed (\"file\")"]);
    site.run("remove --volume k1 --all --dry-run").ok();
    assert!(site.volume("k1").exists());
    site.run("remove --volume k1 --all").ok();
    assert!(!site.volume("k1").exists());
    assert!(forgotten(&site).is_empty());

    let site = removed(way);
    site.run("remove --volume k1").ok();
    assert!(!site.volume("k1").exists());
    assert_eq!(site.backups("k1").len(), 1);
}

fn a_restore_into_the_name_that_docker_removed_keeps_what_was_there(way: Way) {
    let site = removed(way);
    fs::write(site.volume("k1").join("file"), "newer").unwrap();
    let url = site.backups("k1").remove(0);
    site.run_words(&["restore", "--volume", "k1", "--backupurl", &url]).ok();
    let file = |volume: &str| fs::read_to_string(site.volume(volume).join("file")).unwrap();
    assert_eq!((file("k1"), file("k1.removed-1")), ("content".into(), "newer".into()));
    assert_eq!(forgotten(&site), ["k1.removed-1"]);
    site.run("create --volume k1.removed-1 --size 1G").ok();
    assert_eq!(site.snapshots("k1.removed-1").len(), 1);
    assert!(site.snapshots("k1").is_empty());
}

fn what_docker_removed_does_not_come_back_into_a_new_volume_of_its_name(way: Way) {
    let site = removed(way).owned();
    for round in ["one", "two"] {
        docker(&site, "Create", &json!({ "Name": "k1" }));
        assert_eq!(fs::read_dir(site.volume("k1")).unwrap().count(), 0);
        fs::write(site.volume("k1").join("file"), round).unwrap();
        docker(&site, "Remove", &json!({ "Name": "k1" }));
    }
    let site = way.of(site.released());
    assert_eq!(forgotten(&site), ["k1", "k1.removed-1", "k1.removed-2"]);
    site.run("create --volume k1 --size 1G").ok();
    let file = |volume: &str| fs::read_to_string(site.volume(volume).join("file")).unwrap();
    assert_eq!([file("k1"), file("k1.removed-1"), file("k1.removed-2")], ["two", "content", "one"]);
}

fn a_volume_without_a_name_goes_with_its_container_unless_something_of_it_was_saved(way: Way) {
    let site = Site::builtin().with("BKUP_DOCKER", "off").owned();
    let names = ["a", "b"].map(|digit| digit.repeat(64));
    for name in &names {
        docker(&site, "Create", &json!({ "Name": name }));
        docker(&site, "Mount", &json!({ "Name": name, "ID": "m1" }));
        fs::write(site.volume(name).join("file"), "content").unwrap();
        docker(&site, "Unmount", &json!({ "Name": name, "ID": "m1" }));
    }
    let site = way.of(site.released());
    assert_eq!(site.run("volumes --json").json(), json!([]));
    let left = site.run("volumes --not-backed-up --json").json();
    assert_eq!(
        (left[0]["Kind"].as_str(), left[1]["Name"].as_str()),
        (Some("anonymous"), Some(&*names[1]))
    );
    site.run("backup").ok();
    assert!(site.run("status").out.replace('\n', " ").contains("2 volumes without a name"));
    // Somebody wants this one.
    site.run(&format!("backup --volume {}", names[1])).ok();
    let site = site.owned();
    for name in &names {
        assert_eq!(docker(&site, "Remove", &json!({ "Name": name })), json!({}));
    }
    assert!(!site.volume(&names[0]).exists() && site.volume(&names[1]).exists());
    let site = way.of(site.released());
    assert_eq!(forgotten(&site), [names[1].clone()]);
    let status = site.run("status");
    assert!(!status.out.contains("gone from the daemon"), "{status:#?}");
}

fn doctor_knows_whom_it_speaks_to_and_that_backups_are_not_encrypted(way: Way) {
    let site = Site::builtin().with("BKUP_DOCKER", "off");
    let socket = site.path("daemon/convoy.sock");
    let site = way.of(site);
    let named = |site: &Site| {
        let out = site.run("doctor").out;
        assert!(out.contains("the built-in daemon at ") && !out.contains("Convoy at"), "{out}");
        assert!(out.contains(concat!("(convoy-backups ", env!("CARGO_PKG_VERSION"), ")")), "{out}");
        assert!(out.contains("backups are not encrypted"), "{out}");
    };
    named(&site);
    // As in a container beside the daemon's: the password here is not the daemon's.
    let site = site.owned();
    named(
        &site
            .with("BKUP_CONVOY", format!("unix://{}", socket.display()))
            .with("BKUP_REPOSITORY_PASSWORD", "of-nobody"),
    );
}
