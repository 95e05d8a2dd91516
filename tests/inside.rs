//! Looking into backups: lists, files by name in all of them, the content of files and folders, differences;
//! and a restore by name, time or id.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::s3::{noise, on_s3};
use crate::support::{
    s3::S3,
    site::{Ran, Site},
    way::{Way, both_ways},
};

both_ways! {
    a_folder_in_a_backup_is_listed_and_what_is_not_there_is_answered_with_what_is
    the_content_of_a_file_comes_whole_or_the_command_fails
    a_dump_has_all_that_a_volume_has
    a_file_is_found_in_the_backups_that_have_it
    what_differs_between_two_backups_is_shown_below_any_folder
    a_volume_is_restored_by_its_name_and_a_backup_by_its_id
}

const BACKUP: &str = "backup vol1 --create-snapshot";

/// A site with a volume `vol1` and no backup of it.
fn site(way: Way) -> Site {
    let site = way.of(Site::builtin());
    site.create("vol1", &[("etc/app.conf", "port=80\n"), ("etc/more/deep", "d"), ("top", "t")]);
    site
}

/// The ids of the backups of `vol1`, the oldest first.
fn ids(site: &Site) -> Vec<String> {
    let listed = site.run("backups vol1 --json").json();
    let id = |backup: &Value| {
        let name = backup["BackupName"].as_str().unwrap();
        name.strip_prefix("backup-").unwrap()[..12].to_owned()
    };
    listed.as_array().unwrap().iter().rev().map(id).collect()
}

/// Runs a command whose output is no text.
fn output(site: &Site, words: &[&str]) -> (i32, Vec<u8>, String) {
    let ended = site.command().args(words).output().unwrap();
    let err = String::from_utf8_lossy(&ended.stderr).into_owned();
    (ended.status.code().unwrap(), ended.stdout, err)
}

fn paths(listed: &Value) -> Vec<&str> {
    listed.as_array().unwrap().iter().map(|entry| entry["Path"].as_str().unwrap()).collect()
}

fn a_folder_in_a_backup_is_listed_and_what_is_not_there_is_answered_with_what_is(way: Way) {
    let site = site(way);
    fs::set_permissions(site.volume("vol1").join("top"), fs::Permissions::from_mode(0o4751))
        .unwrap();
    symlink("etc/app.conf", site.volume("vol1").join("link")).unwrap();
    site.run(BACKUP).ok();
    let listed = site.run("ls vol1").ok().out;
    let lines: Vec<_> =
        listed.lines().map(|line| line.split_whitespace().last().unwrap()).collect();
    assert_eq!(lines, ["NAME", "etc/", "etc/app.conf", "top"], "{listed}");
    assert!(listed.contains("-rwsr-x--x") && listed.contains("link -> etc/app.conf"), "{listed}");
    assert_eq!(
        paths(&site.run("ls vol1 -R --json").json()),
        ["etc", "etc/app.conf", "etc/more", "etc/more/deep", "link", "top"]
    );
    assert_eq!(paths(&site.run("ls vol1:/etc/ --json").json()), ["etc/app.conf", "etc/more"]);
    let file = site.run("ls vol1:etc/app.conf --json").json();
    assert_eq!((&file[0]["Size"], &file[0]["Kind"]), (&8.into(), &"file".into()));
    for (word, code, words) in [
        ("vol1:ect", 1, ["has no \"/ect\"", "did you mean \"etc\"?"]),
        ("vol1:etc/app.conf/x", 1, ["\"/etc/app.conf\" in the backup is no folder", ""]),
        ("vol1@2001-01-01", 1, ["of 2001-01-01 23:59 or before", "backups vol1"]),
        ("vol1@ffff0000ffff", 1, ["begins with \"ffff0000ffff\"", "backups vol1"]),
        ("vol1@never", 2, ["neither a time nor the id", "yesterday 18:00"]),
        ("vol7", 1, ["no backup of \"vol7\"", "backups of vol1"]),
        ("../x", 2, ["not a volume name", "VOLUME[@WHEN][:PATH]"]),
    ] {
        site.run_words(&["ls", word]).fails(code, &words);
    }
}

fn the_content_of_a_file_comes_whole_or_the_command_fails(way: Way) {
    let site = site(way);
    let mut content = Vec::new();
    for number in 0..900_000_u32 {
        content.extend(number.wrapping_mul(2_654_435_761).to_le_bytes());
    }
    fs::write(site.volume("vol1").join("large"), &content).unwrap();
    site.run(BACKUP).ok();
    assert_eq!(
        output(&site, &["cat", "vol1:etc/app.conf"]),
        (0, b"port=80\n".to_vec(), String::new())
    );
    let (code, out, err) = output(&site, &["cat", "vol1:large"]);
    assert!(code == 0 && out == content, "{err}");
    site.run("cat vol1:etc").fails(2, &["is a folder", "dump"]);
    site.run("cat vol1").fails(2, &["is a folder"]);
    // A reader that goes away is no failure, and nothing waits for it.
    let mut cat =
        site.command().args(["cat", "vol1:large"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(cat.stdout.take());
    assert!(cat.wait().unwrap().success());
    // The last piece of the file is damaged.
    for pack in packs(&site) {
        let file = File::options().read(true).write(true).open(&pack).unwrap();
        let length = file.metadata().unwrap().len();
        if length > 1 << 20 {
            file.write_all_at(&[0; 4096], length / 2).unwrap();
        }
    }
    let (code, out, err) = output(&site, &["cat", "vol1:large"]);
    assert!(code == 1 && out.len() < content.len(), "{code} {}", out.len());
    assert!(err.contains("\"/large\" is not complete") && err.contains("damaged"), "{err}");
}

fn packs(site: &Site) -> Vec<PathBuf> {
    let folders = fs::read_dir(site.path("backups/repository/data")).unwrap();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

/// What a folder has: each path with what tells files apart.
fn content(folder: &Path) -> BTreeMap<PathBuf, String> {
    let (mut found, mut left) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let kind = meta.file_type();
            let what = if kind.is_symlink() {
                format!("{:?}", fs::read_link(&path).unwrap())
            } else if kind.is_file() {
                let times = (meta.mtime(), meta.mtime_nsec(), meta.nlink());
                format!("{times:?} {:?}", fs::read(&path).unwrap())
            } else {
                String::new()
            };
            let below = path.strip_prefix(folder).unwrap().to_owned();
            found.insert(below, format!("{:o} {} {what}", meta.mode(), meta.uid()));
            if kind.is_dir() {
                left.push(path);
            }
        }
    }
    found
}

fn a_dump_has_all_that_a_volume_has(way: Way) {
    let site = site(way);
    let volume = site.volume("vol1");
    let long = "n".repeat(150);
    fs::create_dir_all(volume.join(&long).join(&long)).unwrap();
    fs::write(volume.join(&long).join(&long).join("file"), "long").unwrap();
    fs::write(volume.join(OsStr::from_bytes(b"caf\xe9")), "no UTF-8").unwrap();
    fs::write(volume.join("empty"), "").unwrap();
    fs::hard_link(volume.join("top"), volume.join("etc/second name")).unwrap();
    symlink("../top", volume.join("etc/link")).unwrap();
    fs::set_permissions(volume.join("etc"), fs::Permissions::from_mode(0o1770)).unwrap();
    let old = fs::FileTimes::new()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_000, 5));
    File::options().write(true).open(volume.join("empty")).unwrap().set_times(old).unwrap();
    site.run(BACKUP).ok();

    let unpacked = |words: &[&str]| {
        let (code, archive, err) = output(&site, words);
        assert_eq!(code, 0, "{err}");
        let (file, into) = (site.path("archive.tar"), tempfile::tempdir().unwrap());
        fs::write(&file, archive).unwrap();
        let mut tar = Command::new("tar");
        let tar = tar.arg("-xpf").arg(&file).arg("-C").arg(into.path()).output().unwrap();
        assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        into
    };
    let whole = unpacked(&["dump", "vol1"]);
    assert_eq!(content(whole.path()), content(&volume));
    let (_, archive, _) = output(&site, &["dump", "vol1"]);
    fs::write(site.path("archive.tar"), archive).unwrap();
    let names =
        Command::new("tar").arg("-tf").arg(site.path("archive.tar")).output().unwrap().stdout;
    let names = String::from_utf8_lossy(&names).into_owned();
    let is_uniform = |name: &str| name == "." || !name.starts_with('.');
    assert!(names.lines().all(is_uniform) && names.contains("etc/second name"), "{names}");
    let part = unpacked(&["dump", "vol1:etc/more"]);
    assert_eq!(fs::read_to_string(part.path().join("more/deep")).unwrap(), "d");
    let one = unpacked(&["dump", "vol1:top"]);
    assert_eq!(fs::read_to_string(one.path().join("top")).unwrap(), "t");
    assert_eq!(content(one.path()).len(), 1);
}

fn a_file_is_found_in_the_backups_that_have_it(way: Way) {
    let site = site(way);
    site.create("vol2", &[("etc/app.conf", "other")]);
    site.run("backup --create-snapshot").ok();
    site.run(BACKUP).ok();
    fs::write(site.volume("vol1").join("etc/app.conf"), "port=8080\n").unwrap();
    site.run(BACKUP).ok();
    let found = site.run("find app.conf --json").json();
    assert_eq!((&found["Backups"], &found["HasMore"]), (&4.into(), &false.into()));
    let found = &found["Files"];
    let of = |at: usize| {
        let file = &found[at];
        (file["Volume"].as_str().unwrap(), file["Size"].as_u64(), file["Backups"].as_u64())
    };
    assert_eq!(found.as_array().unwrap().len(), 3, "{found}");
    assert_eq!(of(0), ("vol1", Some(8), Some(2)));
    assert_eq!(of(1), ("vol1", Some(10), Some(1)));
    assert_eq!(of(2), ("vol2", Some(5), Some(1)));
    assert_ne!(found[0]["First"], found[0]["Last"]);
    let count = |line: &str| site.run(line).json()["Files"].as_array().unwrap().len();
    assert_eq!(count("find APP.* -i --volume vol2 --json"), 1);
    assert_eq!(count("find APP.* --json"), 0);
    assert_eq!(count("find etc/**/deep --json"), 1);
    assert_eq!(count("find more --json"), 1, "what is in a folder that is found is not");
    assert_eq!(
        count("find etc/** --volume vol1 --json"),
        4,
        "two of them are one file that changed"
    );
    site.run("find x --volume vol7").fails(1, &["no backup of \"vol7\""]);
    assert_eq!(count("find app.conf --since 2999-01-01 --json"), 0);
    let shown = site.run("find app.conf --volume vol1").ok().out;
    assert!(shown.contains("etc/app.conf") && shown.contains("2, from "), "{shown}");
    let nothing = site.run("find nosuch").ok().out;
    assert_eq!(nothing, "nothing was found in 4 backups\n");
    site.run("find [a-").fails(2, &["the pattern \"[a-\"", "*.conf"]);
    site.run("find x --since never").fails(2, &["--since: \"never\" is not a time"]);
}

fn what_differs_between_two_backups_is_shown_below_any_folder(way: Way) {
    let site = site(way);
    site.run(BACKUP).ok();
    let volume = site.volume("vol1");
    fs::write(volume.join("etc/app.conf"), "port=8080\n").unwrap();
    fs::remove_dir_all(volume.join("etc/more")).unwrap();
    fs::write(volume.join("new"), "n").unwrap();
    fs::set_permissions(volume.join("top"), fs::Permissions::from_mode(0o600)).unwrap();
    site.run(BACKUP).ok();
    let first = ids(&site).remove(0);
    let shown = site.run(&format!("diff vol1@{first}")).ok().out;
    assert_eq!(
        shown,
        "M etc/app.conf  8 B -> 10 B\n- etc/more/\n- etc/more/deep  1 B\n+ new  1 B\nm top  1 B\n\
         1 added (1 B), 2 removed (1 B), 1 changed (10 B), 1 with other metadata only\n"
    );
    let part = site.run(&format!("diff vol1@{first}:etc/app.conf vol1@now --json")).json();
    assert_eq!((&part["Changed"], &part["Removed"]), (&1.into(), &0.into()), "{part}");
    assert_eq!(part["Files"][0]["Before"]["Size"], 8);
    assert_eq!(site.run("diff vol1@now").ok().out, "No differences.\n");
    site.run("diff vol1:nosuch").fails(1, &["has no \"/nosuch\""]);
    site.run("diff vol1:etc vol1:top").fails(2, &["two paths"]);
}

fn a_volume_is_restored_by_its_name_and_a_backup_by_its_id(way: Way) {
    let site = site(way);
    site.run(BACKUP).ok();
    fs::write(site.volume("vol1").join("top"), "changed").unwrap();
    site.run(BACKUP).ok();
    let ids = ids(&site);
    let top = |volume: &str| fs::read_to_string(site.volume(volume).join("top")).unwrap();
    let said: Ran = site.run("restore vol1").ok();
    assert_eq!((top("vol1-restored").as_str(), top("vol1").as_str()), ("changed", "changed"));
    for words in [
        "Restored vol1 as of ",
        &format!("from the backup {}", &ids[1][..8]),
        " in 3 files, in ",
        "Its files are in ",
        "To undo this:  convoy-backups remove vol1-restored --all",
    ] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    site.run(&format!("restore vol1 --backup {} --to first", ids[0])).ok();
    assert_eq!(top("first"), "t");
    site.run("restore vol1 --at 2001-01-01").fails(1, &["the first one is"]);
    site.run("remove vol1-restored --all").ok();
    assert!(!site.volume("vol1-restored").exists());
    assert_eq!(site.backups("vol1").len(), 2, "the volume's own backups stay");
}

#[test]
fn of_a_bucket_a_dump_reads_neighbours_at_once_and_one_file_reads_what_it_needs() {
    let s3 = S3::start();
    let site = on_s3(Site::builtin(), &s3);
    site.create("vol1", &[("one", "1")]);
    for number in 0..300 {
        fs::write(site.volume("vol1").join(format!("f{number}")), noise(5_000 + number)).unwrap();
    }
    site.run(BACKUP).ok();
    let read = |words: &[&str]| {
        let before = s3.requests().len();
        let (code, out, err) = output(&site, words);
        assert_eq!(code, 0, "{err}");
        (out, s3.requests().len() - before)
    };
    let (archive, requests) = read(&["dump", "vol1"]);
    assert!(requests < 25, "{requests} requests for 301 files");
    let (file, into) = (site.path("archive.tar"), tempfile::tempdir().unwrap());
    fs::write(&file, archive).unwrap();
    let tar =
        Command::new("tar").arg("-xpf").arg(&file).arg("-C").arg(into.path()).status().unwrap();
    assert!(tar.success() && content(into.path()) == content(&site.volume("vol1")));
    let (one, requests) = read(&["cat", "vol1:one"]);
    assert!(one == b"1" && requests < 15, "{requests} requests for one file");
}
