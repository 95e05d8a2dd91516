//! Volumes of Docker: they are found, backed up, restored as volumes of Docker, and removed.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, mpsc},
};

use serde_json::json;
use tokio::sync::oneshot;

use super::scene::{Scene, name, options};
use crate::{
    clock::{Clock, SystemClock},
    convoy::{BackupUrl, CONTAINERS, Daemon as _, NewVolume, PROJECT},
    daemon::{BuiltinDaemon, BuiltinOptions, DockerOptions},
    engine::{EngineUse, Policy, Selection},
    error::ErrorKind,
    support::engine::{Contents, FakeEngine},
};

/// A scene with an engine that has the volume `shop_db` of the compose project `shop`, with a file.
fn with_engine() -> (Scene, FakeEngine, PathBuf) {
    let mut scene = Scene::new();
    fs::create_dir(scene.path("docker")).unwrap();
    let engine = FakeEngine::start(&scene.path("docker"));
    let labels = json!({ "com.docker.compose.project": "shop", "shelf": "3" });
    let files = engine.volume("shop_db", &labels, &json!(null));
    fs::write(files.join("file"), "precious").unwrap();
    open(&mut scene, &engine);
    (scene, engine, files)
}

/// Starts the daemon anew, with this engine.
fn open(scene: &mut Scene, engine: &FakeEngine) {
    let socket = Some(engine.socket.clone());
    open_with(scene, DockerOptions { socket, ..DockerOptions::default() }, Arc::new(SystemClock));
}

fn open_with(scene: &mut Scene, docker: DockerOptions, clock: Arc<dyn Clock>) {
    let selection = Selection { exclude: vec!["*_cache".into()], ..Selection::default() };
    open_as(scene, DockerOptions { selection, ..docker }, clock);
}

fn open_as(scene: &mut Scene, docker: DockerOptions, clock: Arc<dyn Clock>) {
    scene.daemon = None;
    let docker = DockerOptions { own: vec![scene.path("root")], ..docker };
    let with_docker = BuiltinOptions { docker, clock, ..options(&scene.path("root")) };
    scene.daemon = Some(opened(&with_docker));
}

fn opened(with_docker: &BuiltinOptions) -> BuiltinDaemon {
    loop {
        // It asks Docker, which takes a thread that may block.
        let options = with_docker.clone();
        match std::thread::spawn(move || BuiltinDaemon::open(options)).join().unwrap() {
            Err(error) if error.kind == ErrorKind::Busy => std::thread::yield_now(),
            opened => break opened.unwrap(),
        }
    }
}

/// Does this just before a request that begins so is answered.
fn before(engine: &FakeEngine, request: &str, act: impl FnOnce(&mut Contents) + Send + 'static) {
    engine.with(|contents| contents.before.push((request.to_owned(), Box::new(act))));
}

async fn listed(scene: &Scene) -> Vec<String> {
    scene.daemon().volumes().await.unwrap().into_keys().collect()
}

#[tokio::test]
async fn volumes_of_docker_are_found_when_they_come_and_listed_with_what_uses_them() {
    let (mut scene, engine, files) = with_engine();
    engine.volume(&"0123456789abcdef".repeat(4), &json!(null), &json!(null));
    engine.volume("shop_cache", &json!(null), &json!(null));
    engine.container("shop-db-1", "running", &json!({}), &["shop_db"]);
    assert_eq!(listed(&scene).await, ["shop_db"]);
    let volume = scene.daemon().volume(&name("shop_db")).await.unwrap();
    assert_eq!((volume.driver.as_str(), volume.told("Path")), ("docker", files.to_str()));
    assert_eq!((volume.told(PROJECT), volume.told(CONTAINERS)), (Some("shop"), Some("shop-db-1")));
    engine.volume("new", &json!(null), &json!(null));
    assert_eq!(listed(&scene).await, ["new", "shop_db"]);
    engine.with(|contents| contents.volumes.remove("new"));
    assert_eq!(listed(&scene).await, ["shop_db"]);
    // An engine that does not answer says nothing of what came or went.
    fs::rename(&engine.socket, scene.path("docker/away")).unwrap();
    assert_eq!(listed(&scene).await, ["shop_db"]);
    let id = volume.told("VolumeID").map(str::to_owned);
    open(&mut scene, &engine);
    let again = scene.daemon().volume(&name("shop_db")).await.unwrap();
    assert_eq!(again.told("VolumeID").map(str::to_owned), id);
    scene.back_up("shop_db", "snap1").await;
}

#[tokio::test]
async fn a_backup_of_a_volume_of_docker_is_restored_as_one_with_its_labels() {
    let (scene, engine, files) = with_engine();
    let url = scene.back_up("shop_db", "snap1").await;
    let backup = scene.daemon().backup(&url).await.unwrap();
    assert_eq!((backup.field("DriverName"), backup.field("FileCount")), ("docker", "1"));
    let error = scene.restore("shop_db", &url).await.unwrap_err();
    assert!(error.message.contains("already exists"), "{error}");

    let restored = scene.restore("shop_old", &url).await.unwrap();
    assert_eq!(restored.driver, "docker");
    let folder = scene.path("docker/volumes/shop_old");
    assert_eq!(fs::read_to_string(folder.join("_data/file")).unwrap(), "precious");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing of ours stays");
    let labels = engine.with(|contents| contents.volumes["shop_old"]["Labels"].clone());
    assert_eq!(labels["shelf"], "3");
    assert!(labels["com.docker.compose.project"].is_null(), "compose would remove the copy");
    // The restored one is not taken for another at the next look.
    let id = restored.told("VolumeID").map(str::to_owned);
    let again = scene.daemon().volume(&name("shop_old")).await.unwrap();
    assert_eq!(again.told("VolumeID").map(str::to_owned), id);

    // The disaster: Docker's volume is removed, and comes back from the backup under its name.
    engine.with(|contents| contents.volumes.remove("shop_db"));
    fs::remove_dir_all(files.parent().unwrap()).unwrap();
    assert_eq!(listed(&scene).await, ["shop_old"]);
    scene.restore("shop_db", &url).await.unwrap();
    assert_eq!(fs::read_to_string(files.join("file")).unwrap(), "precious");
}

#[tokio::test]
async fn a_restore_that_fails_leaves_no_volume_of_docker() {
    let (scene, engine, _) = with_engine();
    let url = scene.back_up("shop_db", "snap1").await;
    let packs = scene.path("backups/repository/data");
    fs::remove_dir_all(&packs).unwrap();
    scene.restore("shop_old", &url).await.unwrap_err();
    assert!(!engine.with(|contents| contents.volumes.contains_key("shop_old")));
    assert_eq!(listed(&scene).await, ["shop_db"]);
}

/// The folder with what Docker keeps of a volume.
fn place(scene: &Scene, volume: &str) -> PathBuf {
    scene.path("docker/volumes").join(volume)
}

/// The inode of a folder, and its mark.
fn marks(folder: PathBuf) -> (u64, String) {
    let metadata = fs::metadata(folder).unwrap();
    let born = metadata.created().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    let (inode, nanoseconds) = (metadata.ino(), born.subsec_nanos());
    (inode, format!("{inode}-{}.{nanoseconds:09}", born.as_secs()))
}

/// A scene whose process was killed while it restored the volume `half`: before its files were put
/// in place.
async fn killed_in_a_restore() -> (Scene, FakeEngine, BackupUrl) {
    let (mut scene, engine, _) = with_engine();
    let url = scene.back_up("shop_db", "snap1").await;
    scene.restore("half", &url).await.unwrap();
    scene.daemon = None;
    let (data, filled) = (place(&scene, "half").join("_data"), place(&scene, "half").join(FILLED));
    fs::rename(&data, &filled).unwrap();
    fs::create_dir(&data).unwrap();
    let state = scene.path("root/state/half.json");
    let mut known: serde_json::Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    known["restoring"] = json!(marks(filled).0);
    known["mark"] = json!(marks(data).1);
    fs::write(&state, known.to_string()).unwrap();
    (scene, engine, url)
}

const FILLED: &str = ".convoy-backups-restore";

#[tokio::test]
async fn what_a_crash_left_of_a_restore_is_removed_by_the_next_start() {
    let (mut scene, engine, _) = killed_in_a_restore().await;
    open(&mut scene, &engine);
    assert_eq!(listed(&scene).await, ["shop_db"]);
    assert!(!place(&scene, "half").exists());
    let told = scene.daemon().recovered().join("\n");
    assert!(told.contains("restore it again"), "{told}");
}

#[tokio::test]
async fn a_restore_whose_files_were_in_place_before_the_crash_is_complete() {
    let (mut scene, engine, _) = killed_in_a_restore().await;
    let (data, filled) = (place(&scene, "half").join("_data"), place(&scene, "half").join(FILLED));
    fs::rename(&data, scene.path("empty")).unwrap();
    fs::rename(&filled, &data).unwrap();
    fs::rename(scene.path("empty"), &filled).unwrap();
    open(&mut scene, &engine);
    let told = scene.daemon().recovered().join("\n");
    assert!(told.contains("it is complete"), "{told}");
    assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "precious");
    assert!(!filled.exists());
    let id =
        scene.daemon().volume(&name("half")).await.unwrap().told("VolumeID").unwrap().to_owned();
    assert_eq!(listed(&scene).await, ["half", "shop_db"]);
    let again = scene.daemon().volume(&name("half")).await.unwrap();
    assert_eq!(again.told("VolumeID"), Some(&*id), "it is not taken for another");
}

#[tokio::test]
async fn a_volume_that_was_made_anew_after_the_crash_is_never_touched() {
    let (mut scene, engine, _) = killed_in_a_restore().await;
    let id = fs::read_to_string(scene.path("root/state/half.json")).unwrap();
    let id: serde_json::Value = serde_json::from_str(&id).unwrap();
    engine.with(|contents| contents.volumes.remove("half"));
    fs::remove_dir_all(place(&scene, "half")).unwrap();
    let data = engine.volume("half", &json!(null), &json!(null));
    fs::write(data.join("new"), "precious").unwrap();
    open(&mut scene, &engine);
    let told = scene.daemon().recovered().join("\n");
    assert!(told.contains("made anew meanwhile"), "{told}");
    assert_eq!(fs::read_to_string(data.join("new")).unwrap(), "precious");
    assert_eq!(listed(&scene).await, ["half", "shop_db"]);
    let volume = scene.daemon().volume(&name("half")).await.unwrap();
    assert_ne!(volume.told("VolumeID"), id["id"].as_str(), "it is another volume");
    scene.back_up("half", "snap2").await;
}

#[tokio::test]
async fn what_a_container_wrote_into_an_unfinished_restore_stays() {
    for is_written in [true, false] {
        let (mut scene, engine, _) = killed_in_a_restore().await;
        let data = place(&scene, "half").join("_data");
        if is_written {
            fs::write(data.join("new"), "precious").unwrap();
        } else {
            engine.container("user", "running", &json!({}), &["half"]);
        }
        open(&mut scene, &engine);
        let told = scene.daemon().recovered().join("\n");
        assert!(told.contains("the volume of that name stays"), "{told}");
        assert_eq!(listed(&scene).await, ["half", "shop_db"]);
        assert_eq!(data.join("new").exists(), is_written);
        assert!(data.exists() && !place(&scene, "half").join(FILLED).exists());
    }
}

#[tokio::test]
async fn an_unfinished_restore_is_ended_when_docker_answers_again_and_before_the_next_restore() {
    let (mut scene, engine, url) = killed_in_a_restore().await;
    let away = scene.path("docker/away");
    fs::rename(&engine.socket, &away).unwrap();
    open(&mut scene, &engine);
    assert_eq!(listed(&scene).await, ["shop_db"]);
    fs::rename(&away, &engine.socket).unwrap();
    scene.restore("half", &url).await.unwrap();
    let data = place(&scene, "half").join("_data");
    assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "precious");
}

#[tokio::test]
async fn a_restore_never_takes_the_place_of_files_that_came_meanwhile() {
    let users = "GET /containers/json?all=1&filters";
    for made_anew in [false, true] {
        let (scene, engine, _) = with_engine();
        let url = scene.back_up("shop_db", "snap1").await;
        let data = place(&scene, "half").join("_data");
        let there = data.clone();
        before(&engine, users, move |contents| {
            if made_anew {
                contents.volumes.get_mut("half").unwrap()["Labels"] = json!({});
                fs::remove_dir(&there).unwrap();
                fs::create_dir(&there).unwrap();
            }
            fs::write(there.join("new"), "precious").unwrap();
        });
        let error = scene.restore("half", &url).await.unwrap_err();
        assert!(error.message.contains("while volume half was being restored"), "{error}");
        assert_eq!(fs::read_to_string(data.join("new")).unwrap(), "precious");
        assert!(!data.join("file").exists() && !place(&scene, "half").join(FILLED).exists());
        assert_eq!(listed(&scene).await, ["half", "shop_db"]);
        scene.back_up("half", "snap2").await;
    }
}

#[tokio::test]
async fn a_volume_that_another_program_makes_at_the_same_moment_is_its_own() {
    let (scene, engine, _) = with_engine();
    let url = scene.back_up("shop_db", "snap1").await;
    let data = place(&scene, "half").join("_data");
    let there = data.clone();
    before(&engine, "POST /volumes/create", move |contents| {
        fs::create_dir_all(&there).unwrap();
        let made =
            json!({ "Name": "half", "Driver": "local", "Mountpoint": there, "Labels": null });
        contents.volumes.insert("half".into(), made);
    });
    let error = scene.restore("half", &url).await.unwrap_err();
    assert!(error.message.contains("Docker has a volume half already"), "{error}");
    assert!(engine.with(|contents| contents.volumes.contains_key("half")) && data.exists());
    assert_eq!(listed(&scene).await, ["half", "shop_db"]);
}

#[tokio::test]
async fn a_volume_that_was_made_anew_since_it_was_looked_at_is_not_removed() {
    let (scene, engine, files) = with_engine();
    assert_eq!(listed(&scene).await, ["shop_db"]);
    fs::rename(&files, scene.path("former")).unwrap();
    fs::create_dir(&files).unwrap();
    fs::write(files.join("new"), "precious").unwrap();
    let error = scene.daemon().delete_volume(&name("shop_db"), None, false).await.unwrap_err();
    assert!(error.message.contains("not known to be the volume"), "{error}");
    assert!(engine.with(|contents| contents.volumes.contains_key("shop_db")));
    assert_eq!(fs::read_to_string(files.join("new")).unwrap(), "precious");
}

#[tokio::test]
async fn a_share_that_is_not_mounted_is_not_empty_while_docker_is_away_at_a_start() {
    let (mut scene, engine, _) = with_engine();
    let nfs = json!({ "type": "nfs", "o": "addr=10.0.0.1", "device": ":/data" });
    engine.volume("share", &json!(null), &nfs);
    assert_eq!(listed(&scene).await, ["share", "shop_db"]);
    fs::rename(&engine.socket, scene.path("docker/away")).unwrap();
    open(&mut scene, &engine);
    let error = scene.try_back_up("share", "snap1").await.unwrap_err();
    assert!(error.message.contains("is not mounted now"), "{error}");
}

#[tokio::test]
async fn a_volume_that_leads_to_another_folder_is_another_volume() {
    let (scene, engine, _) = with_engine();
    let ids = async |device: &str| {
        fs::create_dir_all(scene.path(device)).unwrap();
        let bind = json!({ "type": "none", "o": "bind", "device": scene.path(device) });
        engine.with(|contents| contents.volumes.remove("bound"));
        engine.volume("bound", &json!(null), &bind);
        let volume = scene.daemon().volume(&name("bound")).await.unwrap();
        volume.told("VolumeID").map(str::to_owned)
    };
    let one = ids("one").await;
    assert_eq!(ids("one").await, one);
    assert_ne!(ids("two").await, one);
}

#[tokio::test]
async fn a_folder_that_is_not_the_one_docker_told_of_is_not_read() {
    let (scene, engine, files) = with_engine();
    assert_eq!(listed(&scene).await, ["shop_db"]);
    fs::rename(&engine.socket, scene.path("docker/away")).unwrap();
    fs::rename(&files, scene.path("former")).unwrap();
    fs::create_dir(&files).unwrap();
    let error = scene.try_back_up("shop_db", "snap1").await.unwrap_err();
    assert!(error.message.contains("is another folder than Docker told of"), "{error}");
}

#[tokio::test]
async fn a_volume_of_docker_is_removed_by_docker_and_never_while_a_container_has_it() {
    let (scene, engine, _) = with_engine();
    scene.snapshot("shop_db", "snap1").await;
    engine.container("shop-db-1", "exited", &json!({}), &["shop_db"]);
    let error = scene.daemon().delete_volume(&name("shop_db"), None, false).await.unwrap_err();
    assert!(error.message.contains("volume is in use"), "{error}");
    let error = scene.daemon().delete_volume(&name("shop_db"), None, true).await.unwrap_err();
    assert!(error.message.contains("one of Docker's"), "{error}");
    engine.with(|contents| contents.containers.clear());
    scene.daemon().delete_volume(&name("shop_db"), None, false).await.unwrap();
    assert!(listed(&scene).await.is_empty());
    let made = NewVolume { driver: Some("docker".into()), ..NewVolume::named(name("shop_db")) };
    scene.daemon().create_volume(&made).await.unwrap();
    assert_eq!(listed(&scene).await, ["shop_db"]);
    assert!(scene.daemon().snapshot(&name("snap1")).await.is_err(), "it went with its volume");
}

#[tokio::test]
async fn a_volume_of_docker_that_can_not_be_read_here_fails_alone_and_says_what_to_do() {
    let (scene, engine, files) = with_engine();
    engine.volume(
        "share",
        &json!(null),
        &json!({ "type": "nfs", "o": "addr=10.0.0.1", "device": ":/data" }),
    );
    engine.with(|contents| {
        let volume = contents.volumes.get_mut("shop_db").unwrap();
        volume["Mountpoint"] = json!("/elsewhere/shop_db/_data");
    });
    for (volume, words) in [("share", "is not mounted now"), ("shop_db", "can't be seen here")] {
        let listed = scene.daemon().volume(&name(volume)).await.unwrap();
        assert!(
            listed.told("Problem").is_some_and(|problem| problem.contains(words)),
            "{listed:?}"
        );
        let error = scene.try_back_up(volume, "snap1").await.unwrap_err();
        assert!(error.message.contains(words) && error.hint.is_some(), "{error}");
    }
    assert!(files.join("file").exists());
}

/// Makes a volume of Docker anew, with one file.
fn make_anew(engine: &FakeEngine, name: &str) {
    engine.with(|contents| contents.volumes.remove(name));
    let folder = engine.socket.with_file_name("volumes").join(name);
    // It stays beside, so that its inode is not given away at once.
    fs::rename(&folder, engine.socket.with_file_name("former")).unwrap();
    fs::write(engine.volume(name, &json!(null), &json!(null)).join("new"), "another's").unwrap();
}

/// The system's clock, which once waits for a test.
#[derive(Debug, Default)]
struct WaitingClock(Mutex<Option<(oneshot::Sender<()>, mpsc::Receiver<()>)>>);

impl Clock for WaitingClock {
    fn now(&self) -> jiff::Timestamp {
        let waiting = self.0.lock().unwrap().take();
        if let Some((waits, goes_on)) = waiting {
            waits.send(()).unwrap();
            goes_on.recv().unwrap();
        }
        SystemClock.now()
    }

    fn time_zone(&self) -> jiff::tz::TimeZone {
        SystemClock.time_zone()
    }
}

#[tokio::test]
async fn a_volume_made_anew_while_its_backup_waits_is_never_saved_as_the_former_one() {
    for is_snapshot in [false, true] {
        let (mut scene, engine, _) = with_engine();
        let clock = Arc::new(WaitingClock::default());
        let socket = Some(engine.socket.clone());
        let docker = DockerOptions { socket, ..DockerOptions::default() };
        open_with(&mut scene, docker, clock.clone());
        let ((waits, waiting), (go_on, goes_on)) = (oneshot::channel(), mpsc::channel());
        *clock.0.lock().unwrap() = Some((waits, goes_on));
        let save = async {
            if is_snapshot {
                let made = scene.daemon().create_snapshot(&name("shop_db"), &name("snap1")).await;
                return made.map(drop);
            }
            scene.try_back_up("shop_db", "snap1").await.map(drop)
        };
        let another_comes = async {
            waiting.await.unwrap();
            make_anew(&engine, "shop_db");
            assert_eq!(listed(&scene).await, ["shop_db"]);
            go_on.send(()).unwrap();
        };
        let error = tokio::join!(save, another_comes).0.unwrap_err();
        assert!(error.message.contains("was made anew just now"), "{error}");
        assert!(scene.daemon().backups(&scene.destination, None).await.unwrap().is_empty());
        assert!(scene.daemon().snapshot(&name("snap1")).await.is_err());
        scene.back_up("shop_db", "snap2").await;
    }
}

#[tokio::test]
async fn volumes_of_docker_are_listed_no_more_once_it_is_off_and_are_the_same_when_it_is_on() {
    let (mut scene, engine, _) = with_engine();
    let id = async |scene: &Scene| {
        let volume = scene.daemon().volume(&name("shop_db")).await.unwrap();
        volume.told("VolumeID").map(str::to_owned)
    };
    let before = id(&scene).await;
    let off = DockerOptions { use_of: EngineUse::Off, ..DockerOptions::default() };
    open_with(&mut scene, off, Arc::new(SystemClock));
    assert!(listed(&scene).await.is_empty());
    open(&mut scene, &engine);
    assert_eq!(id(&scene).await, before);
}

#[tokio::test]
async fn a_volume_of_docker_that_is_not_there_any_more_can_be_forgotten() {
    let (mut scene, _engine, files) = with_engine();
    let nowhere = DockerOptions { use_of: EngineUse::IfThere, ..DockerOptions::default() };
    open_with(&mut scene, nowhere, Arc::new(SystemClock));
    assert_eq!(listed(&scene).await, ["shop_db"], "nothing says that it is gone");
    scene.daemon().delete_volume(&name("shop_db"), None, true).await.unwrap();
    assert!(listed(&scene).await.is_empty() && files.join("file").exists());
}

#[tokio::test]
async fn docker_sees_the_volumes_of_its_plugin_only_and_is_never_asked_for_them() {
    let (scene, engine, _) = with_engine();
    scene.volume("own").await;
    let asked = || engine.with(|contents| contents.requests.len());
    let (before, plugin) = (asked(), scene.daemon().for_the_plugin());
    assert_eq!(plugin.volumes().await.unwrap().into_keys().collect::<Vec<_>>(), ["own"]);
    assert_eq!(plugin.driver_volumes().await.unwrap().len(), 1);
    assert!(plugin.volume(&name("own")).await.is_ok());
    assert!(plugin.volume(&name("shop_db")).await.is_err());
    plugin.create_volume(&NewVolume::named(name("new"))).await.unwrap();
    let docker = NewVolume { driver: Some("docker".into()), ..NewVolume::named(name("odd")) };
    assert!(plugin.create_volume(&docker).await.is_err());
    assert_eq!(asked(), before);
}

#[tokio::test]
async fn a_folder_of_the_host_is_a_volume_where_its_containers_label_says_so() {
    let (mut scene, engine, _) = with_engine();
    let (site, inner) = (scene.path("site"), scene.path("site/inner"));
    fs::create_dir_all(&inner).unwrap();
    fs::write(site.join("file"), "precious").unwrap();
    let mount = |engine: &FakeEngine, label: &str, source: &PathBuf| {
        let labels = json!({ "convoy-backups.binds": label, "com.docker.compose.project": "shop" });
        engine.container("web", "running", &labels, &[]);
        engine.with(|contents| {
            let container = contents.containers.last_mut().unwrap();
            container["Mounts"] = json!([{ "Type": "bind", "Source": source }]);
        });
    };
    mount(&engine, "true", &inner);
    let of_the_host = |names: Vec<String>| -> Vec<_> {
        names.into_iter().filter(|name| name != "shop_db").collect()
    };
    assert_eq!(of_the_host(listed(&scene).await).len(), 1);
    // A folder around it takes its place.
    mount(&engine, "true", &site);
    let names = of_the_host(listed(&scene).await);
    assert_eq!(names.len(), 1, "{names:?}");
    let bind = names[0].as_str();
    assert!(bind.starts_with("bind.shop."), "{bind}");
    let volume = scene.daemon().volume(&name(bind)).await.unwrap();
    assert_eq!((volume.driver.as_str(), volume.told("Path")), ("folder", site.to_str()));
    assert_eq!((volume.told(PROJECT), volume.told("Problem")), (Some("shop"), None));

    let url = scene.back_up(bind, "snap1").await;
    scene.restore("beside", &url).await.unwrap();
    let restored = scene.path("root/volumes/beside/file");
    assert_eq!(fs::read_to_string(restored).unwrap(), "precious");
    scene.daemon().delete_volume(&name(bind), None, false).await.unwrap_err();
    assert!(site.join("file").exists(), "a folder of the host stays");

    // A project that is taken down has no containers, and keeps its folder; so it is while Docker is away.
    engine.with(|contents| contents.containers.clear());
    let volume = scene.daemon().volume(&name(bind)).await.unwrap();
    assert_eq!(volume.told(PROJECT), Some("shop"), "of a project that is taken down");
    // Nor is it another volume where another project's container mounts it.
    engine.container(
        "other",
        "running",
        &json!({ "convoy-backups.binds": "true", "com.docker.compose.project": "blog" }),
        &[],
    );
    engine.with(|contents| {
        contents.containers[0]["Mounts"] = json!([{ "Type": "bind", "Source": site }]);
    });
    assert_eq!(
        of_the_host(listed(&scene).await).iter().filter(|it| it.starts_with("bind.")).count(),
        1
    );
    engine.with(|contents| contents.containers.clear());
    assert!(listed(&scene).await.contains(&bind.to_owned()));
    let away = scene.path("docker/away");
    fs::rename(&engine.socket, &away).unwrap();
    open(&mut scene, &engine);
    assert!(listed(&scene).await.contains(&bind.to_owned()));
    scene.back_up(bind, "snap2").await;
    fs::rename(&away, &engine.socket).unwrap();
    mount(&engine, "false", &site);
    assert!(!listed(&scene).await.contains(&bind.to_owned()));
}

/// Starts the daemon anew, with an engine that it found by itself.
fn open_found(scene: &mut Scene, engine: &FakeEngine) {
    let (socket, use_of) = (Some(engine.socket.clone()), EngineUse::IfThere);
    let docker = DockerOptions { socket, use_of, ..DockerOptions::default() };
    open_with(scene, docker, Arc::new(SystemClock));
}

async fn told(scene: &Scene) -> (Vec<String>, Option<String>, Option<String>) {
    let info = scene.daemon().info().await.unwrap();
    let left =
        info.not_backed_up().into_iter().map(|left| format!("{:?} {}", left.kind, left.name));
    let text = |text: Option<&str>| text.map(str::to_owned);
    (left.collect(), text(info.docker_problem()), text(info.docker_note()))
}

#[tokio::test]
async fn an_engine_that_comes_long_after_the_start_is_used_and_missed_by_nobody_before() {
    let (mut scene, engine, _) = with_engine();
    let away = scene.path("docker/away");
    scene.restart(|root| fs::remove_file(root.join("state/shop_db.json")).unwrap());
    fs::rename(&engine.socket, &away).unwrap();
    open_found(&mut scene, &engine);
    assert!(listed(&scene).await.is_empty());
    assert_eq!(told(&scene).await, (vec![], None, None));
    fs::rename(&away, &engine.socket).unwrap();
    assert_eq!(listed(&scene).await, ["shop_db"]);
}

#[tokio::test]
async fn an_engine_whose_folders_are_never_seen_here_is_told_in_one_line_unless_it_was_asked_for() {
    let (mut scene, engine, _) = with_engine();
    scene.restart(|root| fs::remove_file(root.join("state/shop_db.json")).unwrap());
    let elsewhere = |contents: &mut Contents| {
        contents.volumes.get_mut("shop_db").unwrap()["Mountpoint"] =
            json!("/elsewhere/shop_db/_data");
    };
    engine.with(elsewhere);
    open_found(&mut scene, &engine);
    assert!(listed(&scene).await.is_empty());
    assert_eq!(told(&scene).await, (vec!["Unseen shop_db".to_owned()], None, None));
    open(&mut scene, &engine);
    let volume = scene.daemon().volume(&name("shop_db")).await.unwrap();
    assert!(volume.told("Problem").is_some(), "it was asked for");
}

#[tokio::test]
async fn a_known_volume_that_can_not_be_judged_fails_and_is_never_left_out_in_silence() {
    let (scene, engine, _) = with_engine();
    assert_eq!(listed(&scene).await, ["shop_db"]);
    let label = |value: &str| {
        let value = json!({ "convoy-backups.enable": value });
        engine.with(|contents| contents.volumes.get_mut("shop_db").unwrap()["Labels"] = value);
    };
    label("yes");
    let volume = scene.daemon().volume(&name("shop_db")).await.unwrap();
    let problem = volume.told("Problem").unwrap();
    assert!(problem.contains("must be true or false"), "{problem}");
    let error = scene.try_back_up("shop_db", "snap1").await.unwrap_err();
    assert!(error.message.contains("must be true or false"), "{error}");
    label("false");
    assert!(listed(&scene).await.is_empty(), "that was meant");
    label("true");
    assert_eq!(listed(&scene).await, ["shop_db"]);
    scene.back_up("shop_db", "snap1").await;
}

#[tokio::test]
async fn what_containers_asked_for_holds_while_none_of_them_is_there() {
    let (mut scene, engine, _) = with_engine();
    let (socket, selection) = (Some(engine.socket.clone()), Policy::Labelled);
    let labelled = DockerOptions {
        socket,
        has_policy: true,
        selection: Selection { policy: selection, ..Selection::default() },
        ..DockerOptions::default()
    };
    let open = |scene: &mut Scene| open_as(scene, labelled.clone(), Arc::new(SystemClock));
    open(&mut scene);
    assert!(listed(&scene).await.is_empty());
    let asks = json!({ "convoy-backups.enable": "true" });
    engine.container("db", "running", &asks, &["shop_db"]);
    assert_eq!(listed(&scene).await, ["shop_db"]);
    engine.with(|contents| contents.containers.clear());
    assert_eq!(listed(&scene).await, ["shop_db"]);
    open(&mut scene);
    assert_eq!(listed(&scene).await, ["shop_db"]);
    engine.container("db", "running", &json!({}), &["shop_db"]);
    assert!(listed(&scene).await.is_empty(), "now it does not");
}

#[tokio::test]
async fn after_an_upgrade_only_volumes_with_the_label_are_backed_up_until_somebody_says_otherwise()
{
    let (mut scene, engine, _) = with_engine();
    scene.restart(|root| {
        fs::remove_file(root.join("state/shop_db.json")).unwrap();
        fs::remove_file(root.join("format.json")).unwrap();
        let mut signs = fs::read_dir(root.join("state")).unwrap();
        fs::remove_dir(signs.next().unwrap().unwrap().path()).unwrap();
    });
    for _ in 0..2 {
        open(&mut scene, &engine);
        assert!(listed(&scene).await.is_empty());
        assert_eq!(told(&scene).await.0, ["NotLabelled shop_db"]);
    }
    let socket = Some(engine.socket.clone());
    let all = DockerOptions { socket, has_policy: true, ..DockerOptions::default() };
    open_with(&mut scene, all, Arc::new(SystemClock));
    assert_eq!(listed(&scene).await, ["shop_db"]);
}

#[tokio::test]
async fn a_snapshot_of_a_volume_that_docker_has_no_more_can_be_deleted_and_nothing_of_it_stays() {
    let (mut scene, engine, files) = with_engine();
    scene.snapshot("shop_db", "snap1").await;
    engine.with(|contents| contents.volumes.remove("shop_db"));
    fs::remove_dir_all(files.parent().unwrap()).unwrap();
    assert!(listed(&scene).await.is_empty());
    let state = scene.path("root/state/shop_db.json");
    open(&mut scene, &engine);
    assert!(state.exists());
    scene.daemon().delete_snapshot(&name("snap1")).await.unwrap();
    open(&mut scene, &engine);
    assert!(!state.exists());
}

#[tokio::test]
async fn a_container_that_takes_a_volume_just_as_its_files_come_into_place_keeps_its_folder() {
    let (scene, engine, _) = with_engine();
    let url = scene.back_up("shop_db", "snap1").await;
    let users = "GET /containers/json?all=1&filters";
    let (data, there) = (place(&scene, "half").join("_data"), place(&scene, "half").join("_data"));
    before(&engine, users, |_| {});
    before(&engine, users, move |contents| {
        assert!(there.join("file").exists(), "the files are in place");
        let mounts = json!([{ "Type": "volume", "Name": "half", "RW": true }]);
        let container = json!({ "Id": "1", "Names": ["/late"], "Mounts": mounts });
        contents.containers.push(container);
    });
    let error = scene.restore("half", &url).await.unwrap_err();
    assert!(error.message.contains("container late took it"), "{error}");
    assert!(data.exists() && !data.join("file").exists());
}

#[tokio::test]
async fn a_volume_that_the_engine_does_not_know_is_not_forgotten_while_its_folder_is_there() {
    let (scene, engine, files) = with_engine();
    scene.snapshot("shop_db", "snap1").await;
    assert_eq!(listed(&scene).await, ["shop_db"]);
    engine.with(|contents| contents.volumes.clear());
    let error = scene.daemon().delete_volume(&name("shop_db"), None, false).await.unwrap_err();
    assert!(error.message.contains("its folder is there"), "{error}");
    assert!(files.exists() && scene.daemon().snapshot(&name("snap1")).await.is_ok());
}

#[tokio::test]
async fn no_volume_is_made_where_the_folder_of_all_can_not_be_seen() {
    let (scene, engine, _) = with_engine();
    let url = scene.back_up("shop_db", "snap1").await;
    let volumes = scene.path("docker/volumes");
    fs::rename(&volumes, scene.path("docker/away")).unwrap();
    let error = scene.restore("half", &url).await.unwrap_err();
    assert!(error.message.contains("was not made"), "{error}");
    assert!(!engine.with(|contents| contents.volumes.contains_key("half")));
}

#[tokio::test]
async fn a_state_that_can_not_be_written_stops_no_backup_and_is_written_later() {
    let (mut scene, engine, _) = with_engine();
    let blocks = scene.path("root/state/other.json");
    fs::create_dir(&blocks).unwrap();
    fs::write(engine.volume("other", &json!(null), &json!(null)).join("file"), "").unwrap();
    assert_eq!(listed(&scene).await, ["other", "shop_db"]);
    scene.back_up("shop_db", "snap1").await;
    scene.back_up("other", "snap2").await;
    fs::remove_dir(&blocks).unwrap();
    let id =
        scene.daemon().volume(&name("other")).await.unwrap().told("VolumeID").map(str::to_owned);
    open(&mut scene, &engine);
    let again = scene.daemon().volume(&name("other")).await.unwrap();
    assert_eq!(again.told("VolumeID"), id.as_deref());
}

#[tokio::test]
async fn a_folder_that_takes_the_name_of_a_volume_of_docker_is_a_volume_of_its_own() {
    let (mut scene, engine, files) = with_engine();
    let before = scene.daemon().volume(&name("shop_db")).await.unwrap();
    scene.daemon = None;
    let folders = vec![("shop_db".to_owned(), files)];
    let socket = Some(engine.socket.clone());
    let docker = DockerOptions { socket, ..DockerOptions::default() };
    let options = BuiltinOptions { folders, docker, ..options(&scene.path("root")) };
    scene.daemon = Some(opened(&options));
    let now = scene.daemon().volume(&name("shop_db")).await.unwrap();
    assert_eq!(now.driver, "folder");
    assert_ne!(now.told("VolumeID"), before.told("VolumeID"));
}
