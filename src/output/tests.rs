use jiff::tz::TimeZone;
use serde_json::json;

use super::*;

fn now() -> Zoned {
    "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap().to_zoned(TimeZone::UTC)
}

fn shown(result: &Value) -> String {
    render_result(result, &now(), false, None)
}

fn backup(volume: &str, name: &str) -> Value {
    json!({
        "BackupName": name, "BackupURL": format!("vfs:///backups?backup={name}&volume={volume}"), "DriverName": "vfs",
        "VolumeName": volume, "VolumeSize": "1073741824", "VolumeCreatedAt": "Mon Nov 23 06:00:00 +0000 2026",
        "SnapshotName": "s1", "SnapshotCreatedAt": "Mon Nov 23 06:59:00 +0000 2026",
        "CreatedTime": "Mon Nov 23 07:00:48 +0000 2026",
    })
}

#[test]
fn ages_are_in_their_largest_unit() {
    const DAY: i64 = 86_400;
    let now = now().timestamp();
    for (seconds, text) in [
        (0, "just now"),
        (59, "59s ago"),
        (60, "1m ago"),
        (3_599, "59m ago"),
        (3 * 3_600, "3h ago"),
        (DAY, "1d ago"),
        (60 * DAY, "60d ago"),
        (61 * DAY, "2 months ago"),
        (400 * DAY, "13 months ago"),
        (800 * DAY, "2 years ago"),
        (-120, "in 2m"),
    ] {
        let time = Timestamp::from_second(now.as_second() - seconds).unwrap();
        assert_eq!(age(time, now), text);
    }
    assert_eq!(age(Timestamp::MIN, Timestamp::MAX), "20012 years ago");
}

#[test]
fn moments_are_in_the_readers_zone() {
    let tokyo = now().with_time_zone(TimeZone::get("Asia/Tokyo").unwrap());
    assert_eq!(
        moment("2026-11-22T16:30:00Z".parse().unwrap(), &tokyo),
        "2026-11-23 01:30 (17h ago)"
    );
}

#[test]
fn volumes_show_their_size_and_newest_snapshot() {
    let volumes = json!([
        {"Name": "vol1", "Driver": "vfs", "MountPoint": "", "CreatedTime": "Mon Nov 23 06:00:00 +0000 2026",
         "DriverInfo": {"Size": "42949672960"}, "Snapshots": {
            "s1": {"Name": "s1", "CreatedTime": "Mon Nov 23 07:00:00 +0000 2026", "DriverInfo": {}},
            "s2": {"Name": "s2", "CreatedTime": "Mon Nov 23 09:00:00 +0000 2026", "DriverInfo": {}}}},
        {"Name": "database", "Driver": "vfs", "MountPoint": "/mnt/db", "CreatedTime": "", "DriverInfo": {"Size": "0"},
         "Snapshots": {}},
    ]);
    let expected = "\
NAME      DRIVER    SIZE  SNAPSHOTS  NEWEST SNAPSHOT  MOUNTED  CREATED
vol1      vfs     40 GiB          2  s2 (1h ago)      -        2026-11-23 06:00 (4h ago)
database  vfs          -          0  -                /mnt/db  -
";
    assert_eq!(shown(&volumes), expected);
    assert!(shown(&volumes[0]).contains("\nvol1  vfs"), "one alone is shown likewise");
}

#[test]
fn snapshots_and_backups_show_when_they_were_made() {
    let snapshots = json!([{"Name": "s1", "VolumeName": "vol1", "CreatedTime": "Mon Nov 23 09:58:00 +0000 2026",
        "DriverInfo": null}]);
    assert_eq!(
        shown(&snapshots),
        "SNAPSHOT  VOLUME  CREATED\ns1        vol1    2026-11-23 09:58 (2m ago)\n"
    );
    let expected = "\
VOLUME  AS OF                      BACKUP       SIZE      NEW
vol1    2026-11-23 06:59 (3h ago)  7ec99f88  1.2 MiB  300 KiB
vol1    2026-11-23 06:59 (3h ago)  1               -        -
";
    let mut new = backup("vol1", "backup-7ec99f8812345678");
    new["BackupSize"] = "1258291".into();
    new["AddedSize"] = "307200".into();
    assert_eq!(shown(&json!([new, backup("vol1", "backup-1")])), expected);
    // Where several hosts made them, it says which.
    let mut others = [new.clone(), new];
    others[0]["Host"] = "one".into();
    others[1]["Host"] = "two".into();
    assert!(shown(&json!(others)).contains("300 KiB  two"), "{}", shown(&json!(others)));
}

#[test]
fn a_backup_whose_data_was_not_looked_at_says_so() {
    let mut listed = [backup("vol1", "backup-2"), backup("vol1", "backup-1")];
    listed[0]["Verified"] = "false".into();
    listed[1]["Verified"] = "true".into();
    let expected = "\
VOLUME  AS OF                      BACKUP  SIZE  NEW  NOTE
vol1    2026-11-23 06:59 (3h ago)  2          -    -  not verified
vol1    2026-11-23 06:59 (3h ago)  1          -    -  -
";
    assert_eq!(shown(&json!(listed)), expected);
    let made = json!([{"URL": "vfs:///b?backup=b1&volume=vol1", "Verified": false}, {"URL": "vfs:///b?backup=b2&volume=vol2"}]);
    let expected = "\
VOLUME  BACKUP                          WHAT IT HAS
vol1    vfs:///b?backup=b1&volume=vol1  not verified
vol2    vfs:///b?backup=b2&volume=vol2  checked
";
    assert_eq!(shown(&made), expected);
}

#[test]
fn what_a_new_backup_has_is_one_line() {
    let url = "vfs:///backups?backup=backup-7ec99f8812345678&volume=wiki";
    let mut made = json!({ "URL": url, "BackupSize": 3_435_973_836_u64, "FileCount": 1204, "AddedSize": 42_991_616, "Seconds": 12 });
    let line = |made: &Value| {
        let shown = render_result(made, &now(), false, Some(80));
        shown.lines().last().unwrap().to_owned()
    };
    assert_eq!(line(&made), "wiki    7ec99f88  3.2 GiB in 1,204 files, 41 MiB new, checked, 12s");
    made["Seconds"] = 0.into();
    made["FileCount"] = 1.into();
    made["Doubt"] = "it has one file".into();
    let elsewhere = shown(&made);
    assert!(elsewhere.contains(url), "{elsewhere}");
    assert!(
        elsewhere
            .trim_end()
            .ends_with("in 1 file, 41 MiB new, checked, under 1s, in doubt: it has one file")
    );
}

#[test]
fn a_list_of_backups_fits_a_terminal_of_eighty_columns() {
    let mut backup = backup("db-orders", "backup-7ec99f8812345678");
    backup["BackupSize"] = "1073741824".into();
    backup["AddedSize"] = "1047527424".into();
    let shown = render_result(&json!([backup]), &now(), false, Some(80));
    assert!(shown.lines().all(|line| width(line) <= 80), "{shown}");
}

#[test]
fn an_ebs_backup_that_is_not_complete_says_so() {
    let ebs = |state: &str| {
        json!({"BackupURL": "ebs://us-east-1/snap-1", "EBSSnapshotID": "snap-1", "EBSVolumeID": "vol-9",
            "StartTime": "Mon Nov 23 07:00:48 +0000 2026", "Size": "1073741824", "State": state})
    };
    assert!(
        shown(&ebs("error")).contains("snap-1  1.0 GiB    -  not complete: error"),
        "{}",
        shown(&ebs("error"))
    );
    assert!(shown(&ebs("completed")).contains("2026-11-23 07:00 (2h ago)"));
}

#[test]
fn what_failed_stands_below_what_went_well() {
    let result = json!([
        {"VolumeName": "vol2", "Error": "POST /snapshots/create: 400: tar failed\nfile changed"},
        {"URL": "vfs:///backups?backup=backup-1&volume=vol1"},
        {"URL": "odd", "Error": "the backup is good, but the older snapshot stays"},
    ]);
    let expected = "\
VOLUME  BACKUP                                      WHAT IT HAS
vol1    vfs:///backups?backup=backup-1&volume=vol1  checked
-       odd                                         checked

failed: vol2: POST /snapshots/create: 400: tar failed\\nfile changed
failed: odd: the backup is good, but the older snapshot stays
";
    assert_eq!(shown(&result), expected);
}

#[test]
fn a_plan_shows_what_is_to_be_done_and_what_was_done_each_with_its_reason() {
    let item = |name: &str, keep: bool, reasons: Value| {
        json!({"VolumeName": "vol1", "Keep": keep, "Reasons": reasons,
            "BackupURL": format!("vfs:///backups?backup={name}&volume=vol1"),
            "CreatedTime": "Mon Nov 23 07:00:48 +0000 2026"})
    };
    let mut failed = item("backup-3", false, json!(["not kept by any rule"]));
    failed["Error"] = json!("DELETE /backups: 400: no");
    let mut deleted = item("backup-4", false, json!(["not kept by any rule"]));
    deleted["Deleted"] = json!(true);
    let plan = json!([
        item("backup-1", true, json!(["newest", "daily 1 of 7 (2026-11-23)"])),
        item("backup-2", false, json!(["not kept by any rule"])),
        failed,
        deleted,
        {"VolumeName": "vol1", "Left": ["vfs:///b?..", "vfs:///c?.."], "Why": "may be another host's"},
    ]);
    let expected = "\
OUTCOME     VOLUME  CREATED                    BACKUP OR SNAPSHOT  WHY
kept        vol1    2026-11-23 07:00 (2h ago)  backup-1            newest, daily 1 of 7 (2026-11-23)
not tried   vol1    2026-11-23 07:00 (2h ago)  backup-2            not kept by any rule
failed      vol1    2026-11-23 07:00 (2h ago)  backup-3            DELETE /backups: 400: no
deleted     vol1    2026-11-23 07:00 (2h ago)  backup-4            not kept by any rule
left alone  vol1    -                          2 backups           may be another host's

kept 1, deleted 1, left alone 2, failed 1, not tried 1
";
    assert_eq!(shown(&plan), expected);

    let plan = json!([
        {"id": "s1", "keep": true, "reasons": "at least 1", "time": "2026-11-23T07:00:48Z"},
        {"id": "s2", "keep": false, "reasons": "not kept by any rule", "time": "2026-11-23T07:00:48Z"},
    ]);
    let expected = "\
PLAN    VOLUME  CREATED                    BACKUP OR SNAPSHOT  WHY
keep    -       2026-11-23 07:00 (2h ago)  s1                  at least 1
delete  -       2026-11-23 07:00 (2h ago)  s2                  not kept by any rule

keep 1, delete 1
";
    assert_eq!(shown(&plan), expected);
}

#[test]
fn a_flat_map_is_shown_name_by_name() {
    let removed = json!({"VolumeName": "vol1", "Backups": ["b1", "b2"], "Snapshots": [], "Kept": null, "Count": 2});
    let expected = "\
VolumeName  vol1
Backups     b1
            b2
Snapshots   none
Kept        -
Count       2
";
    assert_eq!(shown(&removed), expected);
}

#[test]
fn anything_else_is_shown_too() {
    for (result, expected) in [
        (json!(null), "done\n"),
        (json!([]), "nothing was found\n"),
        (json!({}), "nothing was found\n"),
        (json!(true), "true\n"),
        (json!(4.5), "4.5\n"),
        (json!("two\nlines"), "two\nlines\n"),
        (json!(["a", 1, null]), "a\n1\n-\n"),
        (json!({"a": {"b": 1}}), "{\n  \"a\": {\n    \"b\": 1\n  }\n}\n"),
        (json!([{"a": 1}, 2]), "[\n  {\n    \"a\": 1\n  },\n  2\n]\n"),
        (
            json!([{"Name": "x", "Driver": 7}]),
            "[\n  {\n    \"Name\": \"x\",\n    \"Driver\": 7\n  }\n]\n",
        ),
    ] {
        assert_eq!(shown(&result), expected);
    }
}

#[test]
fn nothing_in_a_result_acts_on_the_terminal() {
    let evil = "\u{1b}[2J\u{9b}\u{202e}\u{7f}x";
    let mut named = backup("vol1", "backup-1");
    named["BackupName"] = json!(evil);
    for result in [
        json!(evil),
        json!([evil]),
        json!({ evil: evil }),
        json!({ evil: { evil: evil } }),
        json!([{"VolumeName": evil, "Error": evil}]),
        json!([{"URL": evil}]),
        json!([{"VolumeName": evil, "Keep": true, "Reasons": [evil], "BackupURL": evil}]),
        json!([{"Name": evil, "CreatedTime": evil, "DriverInfo": {}}]),
        json!([named]),
    ] {
        let shown = shown(&result);
        let acts = |letter: char| letter != '\n' && (letter.is_control() || letter == '\u{202e}');
        assert!(!shown.contains(acts), "{shown:?}");
        assert!(shown.contains('x') && shown.ends_with('\n'));
    }
}

#[test]
fn colour_is_there_only_when_asked_for() {
    let result = json!([{"VolumeName": "vol2", "Error": "no"}, backup("vol1", "backup-1")]);
    assert!(!shown(&result).contains('\u{1b}'));
    assert!(
        render_result(&result, &now(), true, None)
            .contains("\u{1b}[1;31mfailed\u{1b}[0m: vol2: no")
    );
}
