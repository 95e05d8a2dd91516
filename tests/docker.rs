//! Docker's own volumes, by an engine in memory: which are backed up, by project, and which are not.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use serde_json::json;

use crate::support::{
    engine::{Act, FakeEngine},
    site::Site,
    socket::send,
    way::{Way, both_ways},
};

both_ways! {
    the_volumes_of_a_compose_project_are_listed_and_backed_up_together
    what_docker_has_and_nobody_backs_up_is_told_in_one_line_and_listed_on_request
    a_volume_that_should_be_backed_up_and_can_not_be_is_a_problem
}

/// A site with an engine that has two volumes of the project `shop`, and one of none.
fn site() -> (Site, FakeEngine) {
    let site = Site::builtin();
    let engine = FakeEngine::start(&site.path("docker"));
    let shop = json!({ "com.docker.compose.project": "shop" });
    for (name, labels) in [("shop_db", &shop), ("shop_web", &shop), ("wiki", &json!(null))] {
        fs::write(engine.volume(name, labels, &json!(null)).join("file"), name).unwrap();
    }
    let service =
        json!({ "com.docker.compose.project": "shop", "com.docker.compose.service": "db" });
    engine.container("shop-db-1", "running", &service, &["shop_db"]);
    let socket = format!("unix://{}", engine.socket.display());
    (site.with("BKUP_DOCKER", socket), engine)
}

fn the_volumes_of_a_compose_project_are_listed_and_backed_up_together(way: Way) {
    let (site, _engine) = site();
    let site = way.of(site);
    let listed = site.run("volumes --project shop --json").json();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|volume| &volume["Name"]).collect();
    assert_eq!(names, ["shop_db", "shop_web"]);
    let info = &listed[0]["DriverInfo"];
    assert_eq!((&info["Project"], &info["Service"]), (&json!("shop"), &json!("db")));
    assert_eq!(info["Containers"], "shop-db-1");
    site.run("backup --project shop --create-snapshot").ok();
    let backed_up = ["shop_db", "shop_web", "wiki"].map(|volume| site.backups(volume).len());
    assert_eq!(backed_up, [1, 1, 0]);
    site.run("backup --project none").fails(1, &["no volume is of the compose project \"none\""]);
    site.run("backup --project shop --volume wiki").fails(2, &["a volume and a project"]);
    let status = site.run("status").out;
    assert!(status.contains("shop: 2 volumes, saved"), "{status}");
}

fn what_docker_has_and_nobody_backs_up_is_told_in_one_line_and_listed_on_request(way: Way) {
    let (site, engine) = site();
    engine.volume(&"0123456789abcdef".repeat(4), &json!(null), &json!(null));
    engine.volume("cache", &json!({ "convoy-backups.enable": "false" }), &json!(null));
    let site = way.of(site);
    fs::create_dir(site.path("conf")).unwrap();
    engine.with(|contents| {
        let mounts = contents.containers[0]["Mounts"].as_array_mut().unwrap();
        mounts.push(json!({ "Type": "bind", "Source": site.path("conf") }));
    });
    let line = "Docker has more that is not backed up: 1 volume left out by a setting or label, 1 volume without a name, 1 folder of the host that containers mount";
    for command in ["status", "doctor"] {
        let out = site.run(command).out;
        assert!(out.replace('\n', " ").contains(line), "{command}: {out}");
    }
    let listed = site.run("volumes --not-backed-up --json").json();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|left| &left["Kind"]).collect();
    assert_eq!(names, ["left-out", "anonymous", "folder"]);
    assert_eq!(listed[2]["Containers"], json!(["shop-db-1"]));
    let shown = site.run("volumes --not-backed-up").ok().out;
    assert!(shown.contains("NOT BACKED UP") && shown.contains("cache"), "{shown}");
}

fn a_volume_that_should_be_backed_up_and_can_not_be_is_a_problem(way: Way) {
    let (site, engine) = site();
    engine.volume("odd", &json!({ "convoy-backups.enable": "yes" }), &json!(null));
    let site = way.of(site);
    let why = "volume \"odd\" of Docker is not backed up: its label convoy-backups.enable=\"yes\" must be true or false";
    for command in ["status", "doctor"] {
        let ran = site.run(command).ends(1);
        assert!(ran.out.contains(why), "{ran:#?}");
    }
    fs::remove_file(&engine.socket).unwrap();
    let ran = site.run("status").ends(1);
    assert!(ran.out.contains("Docker was not asked for its volumes"), "{ran:#?}");
}

#[test]
fn docker_asks_its_plugin_for_volumes_while_it_is_asked_for_its_own() {
    let (site, engine) = site();
    let site = site.owned();
    site.create("own", &[]);
    let (socket, answers) = (site.path("daemon/convoy.sock"), Arc::new(Mutex::new(Vec::new())));
    let answered = answers.clone();
    let while_it_is_asked: Act = Box::new(move |_| {
        let ask = |call: &str, body: &str| send(&socket, "POST", call, &[], body).unwrap().body;
        answered.lock().unwrap().extend([
            ask("/VolumeDriver.List", "{}"),
            ask("/VolumeDriver.Get", r#"{"Name":"shop_db"}"#),
        ]);
    });
    engine.with(|contents| contents.before.push(("GET /volumes".into(), while_it_is_asked)));
    let listed = site.run("volumes --json").json();
    assert_eq!(listed.as_array().unwrap().len(), 4);
    let answers = answers.lock().unwrap();
    assert!(answers[0].contains("own") && !answers[0].contains("shop_db"), "{answers:?}");
    assert!(answers[1].contains("Could not find volume"), "{answers:?}");
    // Two looks: how the new volume may be held, and the list.
    let requests = engine.with(|contents| contents.requests.clone());
    let pings = requests.iter().filter(|request| *request == "GET /_ping").count();
    assert_eq!(pings, 2, "{requests:?}");
}

#[test]
fn where_docker_does_not_answer_or_no_pattern_fits_no_volumes_are_no_success_without_a_word() {
    let (site, engine) = site();
    let site = site.with("BKUP_DOCKER_INCLUDE", "nothing_*");
    let ran = site.run("volumes").ok();
    let words = "no volume of Docker fits a pattern of BKUP_DOCKER_INCLUDE";
    assert!(ran.err.contains(words), "{ran:#?}");
    fs::remove_file(&engine.socket).unwrap();
    for command in ["volumes", "backup --create-snapshot"] {
        let words = "no volumes are known: Docker was not asked for its volumes";
        site.run(command).fails(1, &[words, "there is no socket"]);
    }
}

#[test]
fn a_backup_that_docker_let_down_has_failed_and_says_what_to_do_about_docker() {
    let (site, engine) = site();
    site.run("volumes").ok();
    fs::remove_file(&engine.socket).unwrap();
    // It accepts, and hangs up.
    let closing = std::os::unix::net::UnixListener::bind(&engine.socket).unwrap();
    std::thread::spawn(move || closing.incoming().for_each(drop));
    let ran = site.run("backup --volume wiki --create-snapshot");
    let ran = ran.fails(1, &["the connection to Docker broke", "is Docker being restarted?"]);
    assert!(!ran.err.contains("the daemon may still be at it"), "{ran:#?}");
    assert_eq!(site.backups("wiki").len(), 0);
}
