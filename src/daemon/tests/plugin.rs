//! The daemon as Docker's volume plugin.

use std::fs;

use super::scene::{Scene, name, refusal};
use crate::convoy::{Daemon as _, Plugin as _};

async fn is_mounted(scene: &Scene) -> bool {
    !scene.daemon().volume(&name("vol1")).await.unwrap().mount_point.is_empty()
}

#[tokio::test]
async fn a_daemon_that_starts_again_unmounts_no_volume_that_a_container_still_uses() {
    let mut scene = Scene::new();
    scene.volume("vol1").await;
    for id in ["c1", "c2", "c1"] {
        scene.daemon().mount_for(&name("vol1"), id).await.unwrap();
    }
    scene.restart(|_| ());
    scene.daemon().unmount_for(&name("vol1"), "c1").await.unwrap();
    assert!(is_mounted(&scene).await, "c2 still uses it");
    scene.restart(|_| ());
    scene.daemon().unmount_for(&name("vol1"), "c2").await.unwrap();
    assert!(!is_mounted(&scene).await);
}

#[tokio::test]
async fn docker_removes_a_volume_of_containers_that_went_without_a_word_and_none_of_a_client() {
    let scene = Scene::new();
    scene.volume("vol1").await;
    scene.daemon().mount_for(&name("vol1"), "c1").await.unwrap();
    scene.daemon().remove_for_docker(&name("vol1")).await.unwrap();
    assert!(scene.daemon().volumes().await.unwrap().is_empty());
    assert!(scene.path("root/volumes/vol1").exists());
    scene.volume("vol1").await;
    assert!(!is_mounted(&scene).await);

    scene.daemon().mount_volume(&name("vol1"), None).await.unwrap();
    let error = scene.daemon().remove_for_docker(&name("vol1")).await.unwrap_err();
    assert_eq!(error.message, "Cannot delete volume vol1. It is still mounted");
    assert!(error.hint.unwrap().contains("convoy-backups unmount --volume vol1"));
    // A script that mounts and unmounts it takes it from no container.
    scene.daemon().mount_for(&name("vol1"), "c1").await.unwrap();
    scene.daemon().unmount_volume(&name("vol1")).await.unwrap();
    assert!(is_mounted(&scene).await);
}

#[tokio::test]
async fn a_start_after_another_boot_finds_no_volume_mounted() {
    let mut scene = Scene::new();
    scene.volume("vol1").await;
    scene.daemon().mount_for(&name("vol1"), "c1").await.unwrap();
    let boot = crate::clock::boot();
    let anew = |state: &str| state.replace(&boot, "another");
    let edit = |root: &std::path::Path, edit: &dyn Fn(&str) -> String| {
        let state = root.join("state/vol1.json");
        fs::write(&state, edit(&fs::read_to_string(&state).unwrap())).unwrap();
    };
    scene.restart(|root| edit(root, &anew));
    assert!(!is_mounted(&scene).await);

    // As an older version left it, in this boot and in another.
    let old = |state: &str| state.replace("\"mounted\": false", "\"mounted\": true");
    let kept =
        |boot: &str| format!("{{\"boot\":\"{boot}\",\"users\":{{\"vol1\":[\"c1\",\"c2\"]}}}}");
    let write = |root: &std::path::Path, boot: &str| {
        edit(root, &old);
        fs::write(root.join("docker-mounts.json"), kept(boot)).unwrap();
    };
    scene.restart(|root| write(root, &boot));
    assert!(!scene.path("root/docker-mounts.json").exists());
    for id in ["c1", "c2"] {
        assert!(is_mounted(&scene).await);
        scene.daemon().unmount_for(&name("vol1"), id).await.unwrap();
    }
    assert!(!is_mounted(&scene).await);
    scene.restart(|root| write(root, "another"));
    assert!(!is_mounted(&scene).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_does_not_wait_for_a_volume_that_is_being_read() {
    let scene = Scene::new();
    scene.volume("vol1").await;
    let volumes = scene.daemon().operations().volumes();
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        volumes.exclusively("vol1", || {
            runtime.block_on(async {
                assert!(scene.daemon().for_the_plugin().volume(&name("vol1")).await.is_ok());
                let error = scene.daemon().remove_for_docker(&name("vol1")).await.unwrap_err();
                let words = "volume vol1 is being backed up or restored; try again in a moment";
                assert_eq!(refusal(&error), (Some(400), words));
            });
            Ok(())
        })
    })
    .unwrap();
    scene.daemon().remove_for_docker(&name("vol1")).await.unwrap();
}

#[tokio::test]
async fn a_crash_while_a_removed_volume_gets_another_name_loses_nothing_of_it() {
    // After how many of the steps the crash was: see `recovery::aside`.
    for steps in 1..=3 {
        let (mut scene, _) = Scene::with_backup().await;
        scene.daemon().remove_for_docker(&name("vol1")).await.unwrap();
        scene.restart(|root| {
            let [from, to] =
                ["vol1", "vol1.removed-1"].map(|name| root.join(format!("state/{name}.json")));
            let state = fs::read_to_string(&from).unwrap();
            let named = "\"name\": \"vol1.removed-1\", \"moved_from\": \"vol1\"";
            fs::write(&to, state.replace("\"name\": \"vol1\"", named)).unwrap();
            let folder = |name: &str| root.join("volumes").join(name);
            if steps > 1 {
                fs::rename(folder("vol1"), folder("vol1.removed-1")).unwrap();
            }
            if steps > 2 {
                fs::remove_file(from).unwrap();
            }
        });
        assert!(scene.daemon().recovered().is_empty(), "{:?}", scene.daemon().recovered());
        let forgotten = scene.daemon().forgotten_volumes().await.unwrap().unwrap();
        assert_eq!(forgotten.keys().collect::<Vec<_>>(), ["vol1.removed-1"]);
        assert_eq!(forgotten["vol1.removed-1"].snapshots.as_ref().unwrap().len(), 1);
        assert!(scene.path("root/volumes/vol1.removed-1/dir/b").exists());
        scene.restart(|_| ());
        scene.volume("vol1.removed-1").await;
        scene.backup("snap1").await;
    }
}
