//! Tests of a repository's folder: what a crash, a full disk, other hosts or other programs leave.

use super::*;

fn folder_at(path: &Path) -> Folder {
    let folder = Folder::new(path, "host1");
    folder.make().unwrap();
    folder
}

#[test]
fn an_index_is_not_seen_before_its_packs_are_on_disk() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = folder_at(scratch.path());
    let pack_folder = scratch.path().join("data/ab");
    lock(&folder.unsynced).insert(pack_folder.clone());
    let (id, content) = (Id::random(), [Bytes::from_static(b"index")]);
    // The folder does not exist, so syncing it fails.
    folder.write(FileType::Index, &id, &content).unwrap_err();
    assert!(!folder.file(FileType::Index, &id).exists());
    folder.write(FileType::Index, &id, &content).expect_err("what failed once is tried again");
    fs::create_dir(pack_folder).unwrap();
    folder.write(FileType::Index, &id, &content).unwrap();
    assert!(folder.file(FileType::Index, &id).exists() && lock(&folder.unsynced).is_empty());
    assert_eq!(fs::read_dir(scratch.path().join(TEMPORARY)).unwrap().count(), 0);
}

#[test]
fn what_was_removed_does_not_come_back_after_what_relies_on_that() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = folder_at(scratch.path());
    let (pack, snapshot, index) = (Id::random(), Id::random(), Id::random());
    let content = [Bytes::from_static(b"content")];
    for (kind, id) in [(FileType::Pack, &pack), (FileType::Snapshot, &snapshot)] {
        folder.write(kind, id, &content).unwrap();
    }
    folder.remove(FileType::Snapshot, &snapshot).unwrap();
    // The folder can't be synced, so the removal may come back after a power cut.
    let (snapshots, away) = (scratch.path().join("snapshots"), scratch.path().join("away"));
    fs::rename(&snapshots, &away).unwrap();
    folder.write(FileType::Index, &index, &content).unwrap_err();
    folder.remove(FileType::Pack, &pack).unwrap_err();
    assert!(folder.file(FileType::Pack, &pack).exists());
    fs::rename(&away, &snapshots).unwrap();
    folder.write(FileType::Index, &index, &content).unwrap();
    folder.remove(FileType::Pack, &pack).unwrap();
    assert!(lock(&folder.unsynced).is_empty(), "no pack waits for another one's removal");
}

#[test]
fn what_a_host_has_half_written_whose_name_begins_alike_is_not_removed() {
    let scratch = tempfile::tempdir().unwrap();
    let folders = ["db", "db-1"].map(|host| {
        let folder = Folder::new(scratch.path(), host);
        folder.make().unwrap();
        let name = format!("{host}-{}-0", folder.drawn);
        fs::write(scratch.path().join(TEMPORARY).join(name), "").unwrap();
        folder
    });
    assert_eq!(folders[0].remove_leftovers(Duration::ZERO), 1);
    assert_eq!(folders[1].remove_leftovers(Duration::ZERO), 1);
}

#[test]
fn marks_of_several_hosts_do_not_share_a_temporary_file() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = folder_at(scratch.path());
    // Another host is just writing a mark of its own.
    let other = scratch.path().join("convoy-backups.new");
    fs::write(&other, "").unwrap();
    folder.mark("convoy-backups.pruned").unwrap();
    assert!(other.exists() && folder.marked("convoy-backups.pruned").unwrap().is_some());
    assert_eq!(fs::read_dir(scratch.path().join(TEMPORARY)).unwrap().count(), 0);
}

#[test]
fn a_pipe_or_a_folder_in_the_place_of_a_file_is_not_listed() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = folder_at(scratch.path());
    let at = || folder.file(FileType::Snapshot, &Id::random());
    fs::create_dir(at()).unwrap();
    let pipe = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, at(), pipe, rustix::fs::Mode::RUSR, 0).unwrap();
    let id = Id::random();
    folder.write(FileType::Snapshot, &id, &[]).unwrap();
    assert_eq!(folder.names(FileType::Snapshot).unwrap(), [id]);
    assert_eq!(folder.list(FileType::Snapshot).unwrap(), [(id, 0)]);
}

#[test]
fn what_another_process_has_half_written_is_neither_in_the_way_nor_removed() {
    let scratch = tempfile::tempdir().unwrap();
    let (folder, other) = (folder_at(scratch.path()), Folder::new(scratch.path(), "host1"));
    let mine = |serial: u64| {
        scratch.path().join(TEMPORARY).join(format!("host1-{}-{serial}", folder.drawn))
    };
    let of_process = format!("host1-{}-0", std::process::id());
    fs::write(scratch.path().join(TEMPORARY).join(of_process), "").unwrap();
    fs::write(mine(0), "of another, by a miracle").unwrap();
    other.write(FileType::Index, &Id::random(), &[]).unwrap();
    folder.write(FileType::Index, &Id::random(), &[]).unwrap_err();
    assert!(mine(0).exists());
    assert_eq!(folder.remove_leftovers(Duration::ZERO), 2, "both are of this host");
    folder.write(FileType::Index, &Id::random(), &[]).unwrap();
}

#[test]
fn a_repository_without_a_folder_for_unfinished_files_gets_one() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = folder_at(scratch.path());
    fs::remove_dir(scratch.path().join(TEMPORARY)).unwrap();
    // A share that is not mounted has no repository, and is not filled.
    folder.write(FileType::Index, &Id::random(), &[]).unwrap_err();
    assert!(!scratch.path().join(TEMPORARY).exists());
    fs::write(scratch.path().join("config"), "").unwrap();
    folder.write(FileType::Index, &Id::random(), &[]).unwrap();
    assert_eq!(fs::read_dir(scratch.path().join(TEMPORARY)).unwrap().count(), 0);
}

#[test]
fn a_file_that_is_gone_is_a_matter_of_the_repository() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = folder_at(scratch.path());
    let error = folder.read_part(FileType::Pack, &Id::random(), 0, 1).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Repository);
    // A folder in place of a file can't be read, and reading again does not help.
    let id = Id::random();
    fs::create_dir(folder.file(FileType::Index, &id)).unwrap();
    assert_eq!(folder.read(FileType::Index, &id).unwrap_err().kind, ErrorKind::Io);
}

#[test]
fn links_that_others_put_into_a_repository_lead_nowhere() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |below: &str| scratch.path().join(below);
    let link = |to: &Path, at: &Path| std::os::unix::fs::symlink(to, at).unwrap();
    let folder = folder_at(&path("repository"));
    fs::create_dir(path("victim")).unwrap();
    let precious = path("victim").join(format!("host1-{}-7", folder.drawn));
    fs::write(&precious, "words").unwrap();
    let content = [Bytes::from_static(b"content")];
    let id = Id::random();

    // The folder for unfinished files.
    fs::remove_dir(path("repository/tmp")).unwrap();
    link(&path("victim"), &path("repository/tmp"));
    fs::write(path("repository/config"), "").unwrap();
    folder.write(FileType::Snapshot, &id, &content).unwrap_err();
    folder.mark("convoy-backups.pruned").unwrap_err();
    assert_eq!(folder.remove_leftovers(Duration::ZERO), 0);
    fs::remove_file(path("repository/tmp")).unwrap();

    // A folder of packs, one of files, and the files themselves.
    let pack = folder.file(FileType::Pack, &id);
    link(&path("victim"), pack.parent().unwrap());
    folder.write(FileType::Pack, &id, &content).unwrap_err();
    fs::write(path("victim").join(id.to_hex().as_str()), "content").unwrap();
    folder.read_part(FileType::Pack, &id, 0, 7).unwrap_err();
    folder.remove(FileType::Pack, &id).unwrap_err();
    link(&precious, &folder.file(FileType::Snapshot, &id));
    link(Path::new("/dev/zero"), &folder.file(FileType::Index, &id));
    for kind in [FileType::Snapshot, FileType::Index] {
        assert!(folder.list(kind).unwrap().is_empty() && folder.names(kind).unwrap().is_empty());
        folder.read(kind, &id).unwrap_err();
        assert_eq!(folder.size(kind, &id).unwrap(), None);
    }
    folder.write(FileType::Snapshot, &id, &content).unwrap();
    assert_eq!(folder.read(FileType::Snapshot, &id).unwrap(), "content");
    let left: Vec<_> = fs::read_dir(path("victim")).unwrap().collect();
    assert_eq!((left.len(), fs::read_to_string(precious).unwrap().as_str()), (2, "words"));

    // The repository itself may be a link of root or of this user's, and of nobody else's. The folder that
    // it is in may be any: somebody has named it.
    fs::rename(path("repository"), path("victim/repository")).unwrap();
    link(&path("victim/repository"), &path("repository"));
    assert_eq!(folder.list(FileType::Snapshot).unwrap().len(), 1);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(path("repository"), Some(65534), None).unwrap();
        folder.list(FileType::Snapshot).unwrap_err();
        folder.make().unwrap_err();
    }
    link(&path("victim"), &path("named"));
    let named = Folder::new(&path("named/repository"), "host1");
    assert_eq!(named.list(FileType::Snapshot).unwrap(), [(id, 7)]);
}

#[test]
fn nobody_waits_for_a_pipe_in_the_place_of_a_file() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = folder_at(scratch.path());
    let id = Id::random();
    for kind in [FileType::Config, FileType::Key, FileType::Index, FileType::Snapshot] {
        let (at, mode) = (folder.file(kind, &id), rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, at, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        folder.read(kind, &id).unwrap_err();
        assert_eq!(folder.size(kind, &id).unwrap(), None);
    }
    assert!(folder.keys().unwrap().is_empty());
}

#[test]
fn a_file_out_of_all_proportion_is_not_read() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = folder_at(scratch.path());
    let id = Id::random();
    for kind in [FileType::Config, FileType::Key, FileType::Snapshot, FileType::Index] {
        let file = File::create(folder.file(kind, &id)).unwrap();
        file.set_len(largest_file(kind) + 1).unwrap();
        let error = folder.read(kind, &id).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Repository);
        assert!(error.message.contains("are the most"), "{error}");
    }
    let pack = Id::random();
    folder.write(FileType::Pack, &pack, &[Bytes::from_static(b"content")]).unwrap();
    assert_eq!(folder.read_part(FileType::Pack, &pack, 3, 4).unwrap(), "tent");
    folder.read_part(FileType::Pack, &pack, 3, u32::MAX).unwrap_err();
}
