//! What other members of a repository write there: every member can write backups, with any names.

use super::scene::Scene;
use crate::convoy::Daemon as _;

const NAMES: [&str; 3] = ["backup=backup-00000000000fa4e0", "volume=vol1", "snapshot=snap9"];

#[tokio::test]
async fn a_backup_whose_parts_are_no_names_is_none_and_hides_no_other() {
    let (scene, url) = Scene::with_backup().await;
    for forged in [
        "backup=x&backup=backup-00000000000fa4e0",
        "backup=../x",
        "volume=vol1&volume=vol2",
        "volume=",
        "snapshot=a b",
    ] {
        let part = forged.split_once('=').unwrap().0;
        let others = NAMES.into_iter().filter(|tag| !tag.starts_with(part));
        scene.forge(&others.chain([forged]).collect::<Vec<_>>());
    }
    scene.forge(&[&NAMES[..], &["volume=vol2"]].concat());
    let listed = scene.daemon().backups(&scene.destination, None).await.unwrap();
    let urls: Vec<_> = listed.iter().map(|backup| backup.url().unwrap()).collect();
    assert_eq!(urls, std::slice::from_ref(&url));
    scene.daemon().delete_backup(&url, &[]).await.unwrap();
}
