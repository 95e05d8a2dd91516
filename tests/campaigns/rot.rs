//! Files of a repository that rot: a byte that changes, an end that is cut off, a file that is gone.

use std::{fs, path::Path};

use super::{Random, faults, files_in, world::World};
use crate::support::site::Site;

#[test]
fn what_rots_never_comes_back_wrong_and_the_next_backup_is_whole() {
    let site = Site::builtin().with("BKUP_REPOSITORY_PASSWORD", "secret");
    let mut world = World::new(site, "vol1", Random::new(5));
    for _ in 0..3 {
        world.change();
        world.site.run("backup --create-snapshot").ok();
    }
    let (sound, repository) = (world.site.path("sound"), world.site.path("backups/repository"));
    copy(&repository, &sound);
    for _ in 0..faults(10) {
        fs::remove_dir_all(&repository).unwrap();
        copy(&sound, &repository);
        let what = damage(&repository, &mut world.random);
        println!("{what}");
        world.change();
        let ran = world.site.run("backup --create-snapshot");
        // Without its config or its key nothing can be read, and nothing is begun anew beside it.
        if what.contains("/config") || what.contains("/keys/") {
            if ran.code == 0 {
                world.counts.add("got by");
            } else {
                assert!(!ran.err.is_empty(), "{what}: {ran:#?}");
                world.counts.add("refused");
            }
            world.nothing_is_half_done();
            continue;
        }
        let ran = ran.ok();
        world.counts.add("healed");
        let newest = world.listed().first().cloned().unwrap();
        assert!(ran.out.contains(&newest), "{what}: {newest} is not in {ran:#?}");
        if let Err(why) = world.restored(&newest) {
            // Only reading shows that a bit of a file's content has flipped.
            assert!(what.contains("/data/") && what.ends_with("a bit flips"), "{what}: {why}");
            let verified = world.site.run("verify");
            assert_ne!(verified.code, 0, "{what}: {verified:#?}");
            world.counts.add("told by verify");
            world.change();
            world.site.run("backup --create-snapshot").ok();
            let newest = world.listed().first().cloned().unwrap();
            world.restored(&newest).unwrap_or_else(|why| panic!("{what}: {newest}: {why}"));
        }
        for url in world.listed() {
            // Older ones come back as they were, or not at all, with a word.
            if let Err(why) = world.restored(&url) {
                assert!(!why.is_empty());
                world.counts.add("told to be lost");
            }
        }
        world.nothing_is_half_done();
    }
    println!("{:?}", world.counts);
}

/// Damages a file, and says how.
fn damage(repository: &Path, random: &mut Random) -> String {
    let kinds = ["data", "data", "data", "index", "snapshots", "keys", "config"];
    let kind = *random.one_of(&kinds);
    let mut files = files_in(&repository.join(kind));
    files.sort();
    let file = random.one_of(&files).clone();
    let content = fs::read(&file).unwrap();
    let how = *random.one_of(&["a bit flips", "its end is cut off", "it is gone"]);
    match how {
        "a bit flips" => {
            let mut content = content;
            let at = usize::try_from(random.below(content.len() as u64)).unwrap();
            content[at] ^= 1 << random.below(8);
            fs::write(&file, content).unwrap();
        }
        "its end is cut off" => {
            let left = usize::try_from(random.below(content.len() as u64)).unwrap();
            fs::write(&file, &content[..left]).unwrap();
        }
        _ => fs::remove_file(&file).unwrap(),
    }
    format!("{}: {how}", file.display())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = { entry.map(|it| (it.path(), to.join(it.file_name()))) }.unwrap();
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).unwrap();
        }
    }
}
