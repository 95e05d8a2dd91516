//! The look at backups in a folder that is laid out as Convoy lays it out.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
};

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha512};
use tempfile::TempDir;

use super::{
    gzip::BLOCK,
    layout::{Checksum, FOLDER, Layout},
    *,
};

const BACKUP: &str = "backup-0123456789abcdef";
const PARTS: Layout<'static> = Layout::new(BACKUP, "db");

struct Scene {
    folder: TempDir,
    look: ObjectStoreLook,
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, look: ObjectStoreLook::new(S3Options::default()) }
    }

    /// A backup of the vfs driver.
    fn with_file() -> Self {
        let scene = Self::new();
        scene.describe(&format!(r#""SingleFile":{{"FilePath":"{FOLDER}/{}"}}"#, scene.archive()));
        scene.write(&scene.archive(), &packed(&[9; 20 * 512]));
        scene
    }

    /// A backup of the devicemapper driver, with its blocks.
    fn with_blocks(count: usize) -> (Self, Vec<String>) {
        let scene = Self::new();
        let mut described = Vec::new();
        let mut paths = Vec::new();
        for number in 0..count {
            let mut block = vec![0; BLOCK];
            block[..8].copy_from_slice(&number.to_le_bytes());
            let checksum = Checksum(Sha512::digest(&block)[..32].try_into().unwrap());
            let offset = number * BLOCK;
            described.push(format!(r#"{{"Offset":{offset},"BlockChecksum":"{checksum}"}}"#));
            paths.push(PARTS.block(&checksum));
            scene.write(&PARTS.block(&checksum), &packed(&block));
        }
        scene.describe(&format!(r#""Blocks":[{}]"#, described.join(",")));
        (scene, paths)
    }

    fn archive(&self) -> String {
        format!("volumes/db/!!/db!!/BackupFiles/{BACKUP}.bak")
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(FOLDER).join(path)
    }

    fn write(&self, path: &str, content: &[u8]) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), content).unwrap();
    }

    fn describe(&self, data: &str) {
        let text = format!(r#"{{"Name":"{BACKUP}","VolumeName":"db",{data}}}"#);
        self.write(&PARTS.description(), text.as_bytes());
    }

    async fn look(&self, depth: Depth) -> Seen {
        let url = format!("vfs://{}?backup={BACKUP}&volume=db", self.folder.path().display());
        self.look.look(&BackupUrl::parse(&url).unwrap(), depth).await
    }

    /// Expects that a look of either depth finds the backup broken, with these words.
    #[track_caller]
    fn assert_broken(seen: [Seen; 2], words: &str) {
        for seen in seen {
            let Seen::Broken(why) = &seen else { panic!("{words}: {seen:?}") };
            assert!(why.contains(words), "{why}");
        }
    }

    async fn both(&self) -> [Seen; 2] {
        [self.look(Depth::Quick).await, self.look(Depth::Thorough).await]
    }
}

#[tokio::test]
async fn a_backup_whose_file_is_there_is_whole() {
    let scene = Scene::with_file();
    let whole = Seen::Whole { bytes: Some(packed(&[9; 20 * 512]).len() as u64) };
    assert_eq!(scene.both().await, [whole.clone(), whole]);
}

#[tokio::test]
async fn a_backup_without_its_file_is_broken() {
    let scene = Scene::with_file();
    let archive = scene.path(&scene.archive());
    let whole = fs::read(&archive).unwrap();
    for (content, words) in [
        (Vec::new(), "is empty"),
        (vec![0; whole.len()], "cut off or damaged"),
        (whole[..whole.len() / 2].to_vec(), "cut off or damaged"),
        (b"<html>a page of a proxy, not an archive</html>".to_vec(), "cut off or damaged"),
    ] {
        fs::write(&archive, content).unwrap();
        Scene::assert_broken(scene.both().await, words);
    }
    fs::remove_file(&archive).unwrap();
    Scene::assert_broken(scene.both().await, "is missing");
}

#[tokio::test]
async fn a_file_that_is_damaged_in_the_middle_is_found_where_it_is_read() {
    let scene = Scene::with_file();
    let archive = scene.path(&scene.archive());
    let mut damaged = fs::read(&archive).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    fs::write(&archive, damaged).unwrap();
    let [quick, thorough] = scene.both().await;
    assert!(matches!(quick, Seen::Whole { .. }), "{quick:?}");
    assert!(matches!(&thorough, Seen::Broken(why) if why.contains("is damaged")), "{thorough:?}");
}

#[tokio::test]
async fn a_backup_lacks_no_block() {
    let (scene, blocks) = Scene::with_blocks(30);
    let whole = Seen::Whole { bytes: Some(30 * BLOCK as u64) };
    assert_eq!(scene.both().await, [whole.clone(), whole]);
    // Each block in its turn: a thorough look misses none.
    for block in &blocks {
        let content = fs::read(scene.path(block)).unwrap();
        fs::remove_file(scene.path(block)).unwrap();
        let seen = scene.look(Depth::Thorough).await;
        assert!(matches!(&seen, Seen::Broken(why) if why.contains("is missing")), "{seen:?}");
        scene.write(block, b"");
        let seen = scene.look(Depth::Thorough).await;
        assert!(matches!(&seen, Seen::Broken(why) if why.contains("is empty")), "{seen:?}");
        scene.write(block, &content);
    }
    // A block with the content of another one.
    let other = fs::read(scene.path(&blocks[1])).unwrap();
    blocks.iter().for_each(|block| scene.write(block, &other));
    Scene::assert_broken(scene.both().await, "is damaged");
}

#[tokio::test]
async fn a_folder_that_lacks_the_backup_is_another_one() {
    let is_unseen = |seen: &Seen| matches!(seen, Seen::Hidden(_));
    assert!(Scene::new().both().await.iter().all(is_unseen));
    let scene = Scene::with_file();
    fs::remove_file(scene.path(&PARTS.description())).unwrap();
    fs::remove_file(scene.path(&scene.archive())).unwrap();
    assert!(scene.both().await.iter().all(is_unseen));
}

#[tokio::test]
async fn what_is_no_regular_file_is_not_read() {
    let scene = Scene::with_file();
    let archive = scene.path(&scene.archive());
    fs::remove_file(&archive).unwrap();
    symlink("/dev/zero", &archive).unwrap();
    let [seen, _] = scene.both().await;
    assert!(matches!(&seen, Seen::Hidden(why) if why.contains("no regular file")), "{seen:?}");
    fs::remove_file(&archive).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &archive, rustix::fs::Mode::RUSR).unwrap();
    assert!(matches!(scene.look(Depth::Thorough).await, Seen::Hidden(_)));
    fs::remove_file(&archive).unwrap();
    fs::create_dir(&archive).unwrap();
    assert!(matches!(scene.look(Depth::Thorough).await, Seen::Hidden(_)));
}

#[tokio::test]
async fn a_file_that_may_not_be_read_says_nothing() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let scene = Scene::with_file();
    let archive = scene.path(&scene.archive());
    fs::set_permissions(&archive, fs::Permissions::from_mode(0o000)).unwrap();
    assert!(matches!(scene.look(Depth::Quick).await, Seen::Hidden(_)));
}

#[tokio::test]
async fn a_description_without_data_is_that_of_a_broken_backup() {
    let scene = Scene::new();
    for data in [r#""Blocks":null,"SingleFile":{"FilePath":""}"#, r#""Blocks":[]"#] {
        scene.describe(data);
        Scene::assert_broken(scene.both().await, "names no data");
    }
    scene.describe(r#""SingleFile":{"FilePath":"/etc/passwd"}"#);
    Scene::assert_broken(scene.both().await, "elsewhere");
}
