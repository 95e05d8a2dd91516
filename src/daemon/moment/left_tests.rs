//! What could not be undone of a moment is tried again.

use std::{fs, sync::Arc};

use super::*;
use crate::clock::SystemClock;

#[test]
fn what_is_left_of_a_moment_is_undone_at_the_volumes_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for made in ["volume", "copy"] {
        fs::create_dir(at(made)).unwrap();
    }
    let place = Place {
        volume: "vol1".into(),
        folder: at("volume"),
        beside: None,
        is_of_the_host: false,
        is_of_the_engine: false,
        is_for_containers_only: false,
    };
    let root = Root::make(&at("root")).unwrap();
    root.make_folders().unwrap();
    let shown = folder.path().display();
    let commands = MomentCommands::new(
        format!("echo {shown}/copy"),
        format!("test -e {shown}/mended && echo $MOMENT >> {shown}/log"),
    );
    let moments = Moments::new(&root, Some(commands), Arc::new(SystemClock));
    let take = || moments.begin(&place).take(None).unwrap();
    let notes = || fs::read_dir(at("root/moments")).unwrap().count();
    drop(take());
    take().end().unwrap_err();
    assert_eq!(notes(), 2);
    fs::write(at("mended"), "").unwrap();
    let moment = take();
    assert_eq!(notes(), 1);
    moment.end().unwrap();
    assert_eq!(notes(), 0);
    assert_eq!(fs::read_to_string(at("log")).unwrap().lines().count(), 3);
}
