//! Tests that the default scripts keep their contract.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    clock::{FixedClock, SystemClock},
    convoy::{
        Daemon as _,
        dry_run::DryRun,
        guards::Guards,
        memory::{Fault, MemoryDaemon, NothingKnown},
    },
    error::{Error, ErrorKind},
    run_words::RunStatus,
    script::{
        Host, Listener,
        testing::{Heard, host_over, memory, run_default, run_text},
    },
};

/// A host that knows what earlier runs made.
pub(super) fn again(daemon: &Arc<MemoryDaemon>) -> Host {
    let guards = Guards::new(daemon.clone(), None, Arc::new(SystemClock)).knowing(daemon.clone());
    Host { guards: Arc::new(guards), ..host_over(daemon.clone()) }
}

/// A host with a new data folder.
fn knowing_nothing(daemon: &Arc<MemoryDaemon>) -> Host {
    let guards = Guards::new(daemon.clone(), None, Arc::new(SystemClock));
    Host { guards: Arc::new(guards.knowing(Arc::new(NothingKnown))), ..host_over(daemon.clone()) }
}

/// A daemon whose `vol1` was backed up this many times, each time from a new snapshot. All
/// snapshots are kept.
pub(super) fn backed_up(times: usize) -> Arc<MemoryDaemon> {
    let (daemon, _) = memory(&["vol1"]);
    for _ in 0..times {
        let mut host = again(&daemon);
        Arc::make_mut(&mut host.settings).delete_old_snapshots = false;
        run_default(host, "backup", "--volume vol1 --create-snapshot").unwrap();
    }
    daemon
}

fn refused() -> Fault {
    Fault::Fails(Error::new(ErrorKind::Daemon, "device is busy").with_status(400))
}

#[test]
fn snapshot_takes_one_of_each_volume() {
    let (daemon, host) = memory(&["vol1", "vol2"]);
    let outcome = run_default(host, "snapshot", "").unwrap();
    assert_eq!(outcome.result.as_array().unwrap().len(), 2);
    assert_eq!(outcome.result[1]["VolumeName"], "vol2");
    assert_eq!((daemon.snapshot_names("vol1").len(), daemon.snapshot_names("vol2").len()), (1, 1));
    run_default(again(&daemon), "snapshot", "--volume vol1").unwrap();
    assert_eq!((daemon.snapshot_names("vol1").len(), daemon.snapshot_names("vol2").len()), (2, 1));
}

#[test]
fn each_result_says_of_which_volume_it_is() {
    let (daemon, host) = memory(&["vol1", "vol2"]);
    daemon.fault("create_snapshot", refused());
    let outcome = run_default(host, "backup", "--create-snapshot").unwrap();
    let failed = json!({"VolumeName": "vol1", "Error": "device is busy"});
    assert!(outcome.result[0] == failed && outcome.result[1]["URL"].is_string());
    assert_eq!(outcome.result[1]["VolumeName"], "vol2");
    let outcome = run_default(again(&daemon), "backup", "--volume vol1").unwrap();
    assert_eq!(outcome.result[0]["VolumeName"], "vol1");
}

#[test]
fn the_snapshots_of_the_default_crontab_are_taken_only_where_none_is_a_copy() {
    for (driver, count) in
        [("docker", 0), ("vfs", 0), ("folder", 0), ("a new one", 0), ("devicemapper", 1)]
    {
        let daemon = Arc::new(MemoryDaemon::with_volumes(&["vol1"]).with_driver(driver));
        run_default(again(&daemon), "snapshot", "--if-cheap").unwrap();
        assert_eq!(daemon.snapshot_names("vol1").len(), count, "{driver}");
    }
}

#[test]
fn one_volume_that_fails_does_not_stop_the_others() {
    let (daemon, host) = memory(&["vol1", "vol2", "vol3"]);
    daemon.fault("create_snapshot", refused());
    let outcome = run_default(host, "snapshot", "").unwrap();
    assert_eq!(outcome.result[0], json!({"VolumeName": "vol1", "Error": "device is busy"}));
    assert_eq!(outcome.result[2]["VolumeName"], "vol3");
    assert_eq!(outcome.failures.len(), 1);
    assert_eq!(
        (outcome.failures[0].volume.as_str(), outcome.failures[0].code.as_str()),
        ("vol1", "daemon")
    );
    assert_eq!(outcome.status(), RunStatus::Partial);
}

#[test]
fn the_one_volume_that_was_named_fails_the_run() {
    for line in ["snapshot", "backup"] {
        let (daemon, host) = memory(&["vol1"]);
        daemon.fault("create_snapshot", refused());
        let error = run_default(host, line, "--volume vol1").unwrap_err();
        assert_eq!((error.kind, error.status), (ErrorKind::Daemon, Some(400)));
    }
}

#[test]
fn no_volumes_at_all_are_worth_a_warning() {
    let heard = Arc::new(Heard::default());
    let (_, mut host) = memory(&[]);
    host.listener = Arc::clone(&heard) as Arc<dyn Listener>;
    let outcome = run_default(host, "backup", "").unwrap();
    assert_eq!(outcome.result, json!([]));
    assert_eq!(*heard.lines.lock().unwrap(), ["WARN: there are no volumes"]);
}

#[test]
fn backup_takes_a_snapshot_where_there_is_none_and_uses_the_newest_where_there_is() {
    let (daemon, host) = memory(&["vol1"]);
    let outcome = run_default(host, "backup", "--volume vol1").unwrap();
    let url = outcome.result[0]["URL"].as_str().unwrap().to_owned();
    assert!(url.starts_with("vfs:///backups?backup=backup-"), "{url}");
    assert_eq!(daemon.snapshot_names("vol1").len(), 1);
    run_default(again(&daemon), "backup", "--volume vol1").unwrap();
    assert_eq!((daemon.snapshot_names("vol1").len(), daemon.backup_names().len()), (1, 2));
}

#[test]
fn backup_deletes_older_snapshots_only_after_the_backup_and_keeps_the_one_backed_up() {
    let daemon = backed_up(3);
    let before = daemon.snapshot_names("vol1");
    run_default(again(&daemon), "backup", "--volume vol1 --create-snapshot").unwrap();
    let after = daemon.snapshot_names("vol1");
    assert_eq!((before.len(), after.len()), (3, 1));
    assert!(!before.contains(&after[0]));
    let writes = daemon.writes();
    let backup = writes.iter().rposition(|call| call.starts_with("create_backup")).unwrap();
    let deleted: Vec<&String> =
        writes.iter().filter(|call| call.starts_with("delete_snapshot")).collect();
    assert_eq!(writes.len() - backup - 1, 3, "{writes:?}");
    assert_eq!(
        deleted,
        before
            .iter()
            .map(|name| format!("delete_snapshot {name}"))
            .collect::<Vec<_>>()
            .iter()
            .collect::<Vec<_>>()
    );
}

#[test]
fn backup_deletes_no_snapshot_when_the_backup_failed() {
    let daemon = backed_up(2);
    daemon.fault("create_backup", refused());
    run_default(again(&daemon), "backup", "--volume vol1 --create-snapshot").unwrap_err();
    assert_eq!(daemon.snapshot_names("vol1").len(), 3);
}

#[test]
fn a_snapshot_that_stays_after_a_good_backup_makes_the_run_partial() {
    let daemon = backed_up(2);
    daemon.fault("delete_snapshot", refused());
    let outcome = run_default(again(&daemon), "backup", "--volume vol1 --create-snapshot").unwrap();
    assert!(outcome.result[0]["URL"].is_string());
    assert_eq!(outcome.status(), RunStatus::Partial);
    assert!(
        outcome.failures[0].message.contains("the backup is good, but the older snapshot"),
        "{:?}",
        outcome.failures
    );
    assert_eq!(daemon.snapshot_names("vol1").len(), 2);
}

#[test]
fn backups_and_volumes_list_what_is_there() {
    let daemon = backed_up(2);
    let all = run_default(again(&daemon), "backups", "").unwrap().result;
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert!(all[0]["CreatedTime"].as_str().unwrap() > all[1]["CreatedTime"].as_str().unwrap());
    let volumes = run_default(again(&daemon), "volumes", "").unwrap().result;
    assert_eq!(
        (volumes[0]["Name"].as_str(), volumes[0]["Driver"].as_str()),
        (Some("vol1"), Some("vfs"))
    );
}

#[test]
fn create_and_restore_answer_the_new_volume() {
    let daemon = backed_up(1);
    let created = run_default(again(&daemon), "create", "--volume vol2 --size 40G --type ext4")
        .unwrap()
        .result;
    assert_eq!(created["Name"], "vol2");
    let url = run_default(again(&daemon), "backups", "").unwrap().result[0]["BackupURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let restored =
        run_default(again(&daemon), "restore", &format!("--volume vol3 --backupurl {url}"))
            .unwrap()
            .result;
    assert_eq!(restored["Name"], "vol3");
    assert_eq!(
        run_default(again(&daemon), "create", "--volume vol2 --size 1.5g").unwrap_err().kind,
        ErrorKind::Usage
    );
    assert_eq!(
        run_default(again(&daemon), "restore", "--volume vol4").unwrap_err().kind,
        ErrorKind::Usage
    );
}

#[test]
fn remove_keeps_the_newest_backup_and_deletes_backups_before_snapshots() {
    let daemon = backed_up(3);
    let newest = daemon.backup_names().pop().unwrap();
    let removed = run_default(again(&daemon), "remove", "--volume vol1").unwrap().result;
    assert_eq!(daemon.backup_names(), std::slice::from_ref(&newest));
    assert_eq!(
        (
            removed["Backups"].as_array().unwrap().len(),
            removed["Snapshots"].as_array().unwrap().len()
        ),
        (2, 3)
    );
    assert!(removed["Kept"].as_str().unwrap().contains(&newest));
    let kinds: Vec<String> = daemon
        .writes()
        .iter()
        .filter(|call| call.starts_with("delete_"))
        .map(|call| call.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(
        kinds,
        [
            "delete_backup",
            "delete_backup",
            "delete_snapshot",
            "delete_snapshot",
            "delete_snapshot",
            "delete_volume"
        ]
    );
    assert!(
        run_default(again(&daemon), "volumes", "").unwrap().result.as_array().unwrap().is_empty()
    );
}

/// A daemon whose EBS volume `vol1` was backed up this many times. Its snapshots are `snap-1`,
/// `snap-2` and so on.
fn backed_up_at_ebs(times: usize) -> Arc<MemoryDaemon> {
    let daemon = Arc::new(MemoryDaemon::ebs(&["vol1"]));
    for _ in 0..times {
        run_default(again(&daemon), "backup", "--volume vol1 --create-snapshot").unwrap();
    }
    daemon
}

#[test]
fn remove_at_ebs_deletes_the_volume_and_leaves_the_snapshot_that_is_the_newest_backup() {
    let daemon = backed_up_at_ebs(3);
    let dry = Arc::new(DryRun::new(
        daemon.clone(),
        Arc::new(FixedClock::new(jiff::Timestamp::UNIX_EPOCH, jiff::tz::TimeZone::UTC)),
    ));
    let planned = run_default(host_over(dry), "remove", "--volume vol1").unwrap().result;
    assert_eq!(daemon.ebs_snapshots().len(), 3);
    let removed = run_default(again(&daemon), "remove", "--volume vol1").unwrap().result;
    assert_eq!(planned, removed);
    assert_eq!(daemon.ebs_snapshots(), ["snap-3"]);
    assert_eq!(removed["Kept"], "ebs://us-east-1/snap-3");
    assert_eq!(
        (
            removed["Backups"].as_array().unwrap().len(),
            removed["Snapshots"].as_array().unwrap().len()
        ),
        (2, 2)
    );
    assert!(
        run_default(again(&daemon), "volumes", "").unwrap().result.as_array().unwrap().is_empty()
    );
    let restored =
        run_default(again(&daemon), "restore", "--volume vol2 --backupurl ebs://us-east-1/snap-3")
            .unwrap()
            .result;
    assert_eq!(restored["Name"], "vol2");
}

#[test]
fn remove_at_ebs_says_the_urls_of_what_no_list_has_any_more() {
    let daemon = backed_up_at_ebs(2);
    // The newest backup may only look broken.
    daemon.set_ebs_state("snap-2", "error");
    let heard = Arc::new(Heard::default());
    let host = Host { listener: Arc::clone(&heard) as Arc<dyn Listener>, ..again(&daemon) };
    let removed = run_default(host, "remove", "--volume vol1").unwrap().result;
    assert_eq!(
        (&removed["Kept"], &removed["Left"]),
        (&json!("ebs://us-east-1/snap-1"), &json!(["ebs://us-east-1/snap-2"]))
    );
    assert_eq!(daemon.ebs_snapshots(), ["snap-1", "snap-2"]);
    assert_eq!(removed["Snapshots"], json!([]));
    let said = heard.lines.lock().unwrap().join("\n");
    for stays in
        ["\"ebs://us-east-1/snap-1\" is the newest", "\"ebs://us-east-1/snap-2\" is a backup"]
    {
        assert!(said.contains(stays), "{said}");
    }
}

#[test]
fn remove_all_at_ebs_leaves_nothing_at_amazon() {
    let daemon = backed_up_at_ebs(2);
    let removed = run_default(again(&daemon), "remove", "--volume vol1 --all").unwrap().result;
    assert_eq!((daemon.ebs_snapshots(), &removed["Kept"]), (Vec::new(), &Value::Null));
}

#[test]
fn remove_all_leaves_nothing() {
    let daemon = backed_up(2);
    let removed = run_default(again(&daemon), "remove", "--volume vol1 --all").unwrap().result;
    assert_eq!((daemon.backup_names().len(), &removed["Kept"]), (0, &Value::Null));
}

/// Two hosts that share a destination. Each has a `vol1` that was backed up this many times. The
/// newest backup is the other host's.
fn two_hosts(ours: usize, theirs: usize) -> (Arc<MemoryDaemon>, Arc<MemoryDaemon>) {
    let (here, _) = memory(&["vol1"]);
    let back_up = |daemon: &Arc<MemoryDaemon>, times: usize| {
        for _ in 0..times {
            run_default(again(daemon), "backup", "--volume vol1 --create-snapshot").unwrap();
        }
    };
    back_up(&here, ours);
    let there = Arc::new(here.another_host(&["vol1"]));
    back_up(&there, theirs);
    (here, there)
}

#[test]
fn remove_leaves_the_backups_of_another_hosts_volume_of_the_same_name() {
    let (here, _) = two_hosts(2, 2);
    let before = here.backup_names();
    let removed = run_default(again(&here), "remove", "--volume vol1").unwrap().result;
    assert_eq!(here.backup_names(), before[1..], "{removed}");
    assert!(removed["Kept"].as_str().unwrap().contains(&before[1]), "{removed}");
    assert_eq!(removed["Left"].as_array().unwrap().len(), 2, "{removed}");

    let (here, there) = two_hosts(2, 1);
    let theirs = here.backup_names()[2].clone();
    run_default(again(&here), "remove", "--volume vol1 --all").unwrap();
    assert_eq!(here.backup_names(), std::slice::from_ref(&theirs));
    run_default(again(&there), "remove", "--volume vol1").unwrap();
    assert_eq!(here.backup_names(), [theirs]);
}

#[test]
fn remove_deletes_nothing_where_the_only_good_backup_is_another_hosts() {
    let (here, _) = two_hosts(1, 1);
    let snapshot = here.snapshot_names("vol1").remove(0);
    run_text(again(&here), &format!("fn main(args) {{ convoy::delete_snapshot(\"{snapshot}\") }}"))
        .unwrap();
    // The data folder is new, so that nothing tells that it is this host's.
    let error = run_default(knowing_nothing(&here), "remove", "--volume vol1").unwrap_err();
    assert!(error.message.contains("no good backup"), "{error}");
    assert_eq!(here.backup_names().len(), 2);

    // Our backup is listed, but broken.
    let (here, _) = two_hosts(1, 1);
    here.fault("backup", refused());
    let error = run_default(again(&here), "remove", "--volume vol1").unwrap_err();
    assert!(error.message.contains("no good backup"), "{error}");
    assert_eq!((here.backup_names().len(), here.snapshot_names("vol1").len()), (2, 1));
}

#[test]
fn remove_knows_backups_by_snapshots_that_another_program_took() {
    let (daemon, host) = memory(&["vol1"]);
    let runtime = host.runtime.clone();
    let name = |text: &str| crate::convoy::Name::volume(text).unwrap();
    runtime
        .block_on(async { daemon.create_snapshot(&name("vol1"), &name("by-hand")).await })
        .unwrap();
    run_default(host, "backup", "--volume vol1").unwrap();
    let mut host = again(&daemon);
    Arc::make_mut(&mut host.settings).delete_old_snapshots = false;
    run_default(host, "backup", "--volume vol1 --create-snapshot").unwrap();
    let newest = daemon.backup_names()[1].clone();
    let removed = run_default(again(&daemon), "remove", "--volume vol1").unwrap().result;
    assert_eq!(daemon.backup_names(), [newest], "{removed}");
    assert_eq!(removed["Left"], json!([]));
}

#[test]
fn remove_keeps_the_newest_good_backup_and_what_is_newer() {
    let daemon = backed_up(3);
    let before = daemon.backup_names();
    daemon.fault("backup", refused());
    let removed = run_default(again(&daemon), "remove", "--volume vol1").unwrap().result;
    assert_eq!(daemon.backup_names(), before[1..], "{removed}");
    assert!(removed["Kept"].as_str().unwrap().contains(&before[1]), "{removed}");
    assert!(removed["Left"][0].as_str().unwrap().contains(&before[2]), "{removed}");
}

#[test]
fn remove_deletes_nothing_where_a_snapshot_of_a_volume_that_was_forgotten_would_go_with_it() {
    let (daemon, host) = memory(&["vol1"]);
    run_default(host, "snapshot", "").unwrap();
    run_text(again(&daemon), "fn main(args) { convoy::forget_volume(\"vol1\") }").unwrap();
    run_default(again(&daemon), "create", "--volume vol1 --size 1G").unwrap();
    for _ in 0..2 {
        run_default(again(&daemon), "backup", "--volume vol1 --create-snapshot").unwrap();
    }
    let writes = daemon.writes().len();
    let error = run_default(again(&daemon), "remove", "--volume vol1").unwrap_err();
    assert!(error.message.contains("older than it"), "{error}");
    assert_eq!(daemon.writes().len(), writes);
    run_default(again(&daemon), "remove", "--volume vol1 --all").unwrap();
    assert!(daemon.backup_names().is_empty());
}

#[test]
fn prune_leaves_another_hosts_backups_alone_and_says_so() {
    let (here, there) = two_hosts(2, 2);
    let before = here.backup_names();
    let pruned = run_default(again(&there), "prune", "--keep-last 1").unwrap().result;
    assert_eq!(here.backup_names(), [&before[..2], &before[3..]].concat());
    let left = pruned.as_array().unwrap().last().unwrap();
    assert_eq!((&left["VolumeName"], left["Left"].as_array().unwrap().len()), (&json!("vol1"), 2));
    assert!(left["Why"].as_str().unwrap().contains("--all-hosts"), "{left}");
    run_default(again(&here), "prune", "--volume vol1 --keep-last 1 --snapshots").unwrap();
    assert_eq!(here.backup_names(), [before[1].clone(), before[3].clone()]);

    // A host that has no volume of that name.
    let (here, _) = two_hosts(2, 2);
    let bystander = Arc::new(here.another_host(&[]));
    let pruned = run_default(again(&bystander), "prune", "--keep-last 1").unwrap().result;
    assert_eq!((here.backup_names().len(), pruned[0]["Left"].as_array().unwrap().len()), (4, 4));
}

#[test]
fn prune_says_once_how_many_backups_it_leaves_alone_because_no_run_is_known_to_have_made_them() {
    let (daemon, _) = memory(&["vol1", "vol2"]);
    for _ in 0..2 {
        run_default(again(&daemon), "backup", "--create-snapshot").unwrap();
    }
    let heard = Arc::new(Heard::default());
    let mut host = knowing_nothing(&daemon);
    host.listener = Arc::clone(&heard) as Arc<dyn Listener>;
    let pruned = run_default(host, "prune", "--keep-last 1").unwrap().result;
    let lines = heard.lines.lock().unwrap().clone();
    let warnings: Vec<_> = lines.iter().filter(|line| line.starts_with("WARN")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("4 of the backups"), "{lines:?}");
    assert_eq!(pruned.as_array().unwrap().len(), 2);
    assert!(pruned[0].get("Left").is_some() && pruned[0].get("Unknown").is_none(), "{pruned}");
    assert_eq!(daemon.backup_names().len(), 4);
}

#[test]
fn prune_for_all_hosts_plans_each_hosts_volume_of_a_name_by_itself() {
    for with_volume in [false, true] {
        let (here, _) = two_hosts(2, 2);
        let before = here.backup_names();
        let host = match with_volume {
            true => here.clone(),
            false => Arc::new(here.another_host(&[])),
        };
        run_default(again(&host), "prune", "--keep-last 1 --all-hosts").unwrap();
        assert_eq!(here.backup_names(), [before[1].clone(), before[3].clone()], "{with_volume}");
    }
}

#[test]
fn a_forged_backup_takes_the_place_of_none_that_this_host_made() {
    let daemon = backed_up(3);
    let made = daemon.backup_names();
    let url = format!("vfs:///backups?backup={}&volume=vol1", made[2]);
    daemon.forge(&crate::convoy::BackupUrl::parse(&url).unwrap());
    let outcome = run_default(again(&daemon), "prune", "--keep-last 2").unwrap();
    assert_eq!(outcome.status(), RunStatus::Done, "{outcome:?}");
    let kept = [made[1].clone(), made[2].clone(), "backup-forged".to_owned()];
    assert_eq!(daemon.backup_names(), kept);
    let reason = "kept by the rules among those that this host surely made";
    assert_eq!(outcome.result[2]["Reasons"], json!([reason]));
}

#[test]
fn prune_keeps_the_newest_that_this_host_made_though_a_forged_one_is_newer() {
    let daemon = backed_up(2);
    let made = daemon.backup_names().pop().unwrap();
    let url = format!("vfs:///backups?backup={made}&volume=vol1");
    let url = crate::convoy::BackupUrl::parse(&url).unwrap();
    daemon.forge(&url);
    let outcome = run_default(again(&daemon), "prune", "--keep-last 1").unwrap();
    assert_eq!(outcome.status(), RunStatus::Done, "{outcome:?}");
    assert_eq!(daemon.backup_names(), [made, "backup-forged".to_owned()]);
    assert_eq!(outcome.result[1]["Reasons"], json!(["the newest that this host surely made"]));
}

#[test]
fn remove_touches_nothing_of_a_volume_without_a_backup() {
    let (daemon, host) = memory(&["vol1"]);
    run_default(host, "snapshot", "").unwrap();
    let writes = daemon.writes().len();
    let error = run_default(again(&daemon), "remove", "--volume vol1").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Guard);
    assert!(error.hint.unwrap().contains("--all"));
    assert_eq!(daemon.writes().len(), writes);
}

#[test]
fn prune_deletes_what_no_rule_keeps_and_says_why() {
    let daemon = backed_up(4);
    let plan = run_default(again(&daemon), "prune", "--volume vol1 --keep-last 2").unwrap().result;
    let kept: Vec<bool> =
        plan.as_array().unwrap().iter().map(|item| item["Keep"].as_bool().unwrap()).collect();
    assert_eq!(kept, [true, true, false, false]);
    assert_eq!(daemon.backup_names().len(), 2);
    for item in plan.as_array().unwrap() {
        assert_eq!(item["VolumeName"], "vol1");
        assert!(
            !item["Reasons"].as_array().unwrap().is_empty() && item["CreatedTime"].is_string(),
            "{item}"
        );
        assert_eq!(item.get("Deleted").is_some(), item["Keep"] == false, "{item}");
    }
    assert_eq!(daemon.snapshot_names("vol1").len(), 4);
}

#[test]
fn prune_deletes_the_oldest_first_and_never_the_newest() {
    let daemon = backed_up(3);
    let names = daemon.backup_names();
    run_default(again(&daemon), "prune", "--keep-last 1").unwrap();
    assert_eq!(daemon.backup_names(), [names[2].clone()]);
    let deleted: Vec<String> =
        daemon.writes().into_iter().filter(|call| call.starts_with("delete_")).collect();
    assert_eq!(
        deleted,
        [format!("delete_backup {}", names[0]), format!("delete_backup {}", names[1])]
    );
}

#[test]
fn prune_gives_back_space_each_time_and_is_partial_where_it_could_not() {
    let daemon = backed_up(2);
    let asked = || daemon.calls().iter().filter(|call| call.starts_with("give_back ")).count();
    let kept = run_default(again(&daemon), "prune", "--keep-last 5").unwrap();
    assert_eq!((asked(), daemon.backup_names().len()), (1, 2));
    assert_eq!(kept.status(), RunStatus::Done);
    daemon.fault("give_back", refused());
    let failed = run_default(again(&daemon), "prune", "--keep-last 5").unwrap();
    assert_eq!((failed.status(), failed.failures.len()), (RunStatus::Partial, 1));
}

#[test]
fn prune_with_snapshots_keeps_the_one_that_the_newest_backup_was_made_from() {
    let daemon = backed_up(2);
    let source = daemon.snapshot_names("vol1").pop().unwrap();
    run_default(again(&daemon), "snapshot", "").unwrap();
    run_default(again(&daemon), "prune", "--keep-last 1 --snapshots").unwrap();
    let left = daemon.snapshot_names("vol1");
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.contains(&source));
}

#[test]
fn prune_without_a_rule_deletes_nothing() {
    let daemon = backed_up(2);
    for line in ["", "--volume vol1", "--snapshots", "--keep-last 0"] {
        let error = run_default(again(&daemon), "prune", line).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage);
        assert!(error.hint.unwrap().contains("--keep-last"));
    }
    assert_eq!(daemon.backup_names().len(), 2);
}

#[test]
fn prune_goes_on_past_a_volume_that_fails_and_reaches_volumes_that_are_gone() {
    let (daemon, host) = memory(&["vol1", "vol2"]);
    run_default(host, "backup", "").unwrap();
    run_default(again(&daemon), "backup", "").unwrap();
    run_default(again(&daemon), "remove", "--volume vol2").unwrap();
    run_default(again(&daemon), "create", "--volume vol2 --size 1G").unwrap();
    run_default(again(&daemon), "backup", "--volume vol2").unwrap();
    run_default(again(&daemon), "remove", "--volume vol2").unwrap();
    daemon.fault("delete_backup", refused());
    let outcome = run_default(again(&daemon), "prune", "--keep-last 1").unwrap();
    assert_eq!(outcome.status(), RunStatus::Partial, "{outcome:?}");
    assert_eq!(outcome.failures[0].volume, "vol1");
    let items = outcome.result.as_array().unwrap();
    assert!(items.iter().any(|item| item["VolumeName"] == "vol2"), "{items:?}");
    assert!(
        items.iter().any(|item| item["VolumeName"] == "vol1" && item["Error"] == "device is busy"),
        "{items:?}"
    );
}

#[test]
fn a_name_that_is_neither_a_volumes_nor_a_backups_is_not_found() {
    let (daemon, host) = memory(&["vol1", "gone"]);
    run_default(host, "backup", "--volume gone").unwrap();
    run_default(again(&daemon), "remove", "--volume gone").unwrap();
    for line in ["backups", "prune --keep-last 1"] {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let of =
            |volume: &str| run_default(again(&daemon), name, &format!("--volume {volume} {rest}"));
        let error = of("typo").unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{line}: {error}");
        assert!(error.message.contains("no volume \"typo\""), "{line}: {error}");
        assert_eq!(of("vol1").unwrap().result, json!([]), "{line}");
        assert_eq!(of("gone").unwrap().result.as_array().unwrap().len(), 1, "{line}");
    }
}

#[test]
fn prune_of_one_volume_that_fails_part_way_tells_what_was_deleted() {
    let daemon = backed_up(4);
    daemon.fault("delete_backup", Fault::HappensThenTimesOut);
    daemon.fault("delete_backup", refused());
    let outcome = run_default(again(&daemon), "prune", "--volume vol1 --keep-last 1").unwrap();
    assert_eq!(outcome.status(), RunStatus::Partial, "{outcome:?}");
    let plan = outcome.result.as_array().unwrap();
    assert_eq!(
        (plan[3]["Deleted"].as_bool(), plan[2]["Error"].as_str()),
        (Some(true), Some("device is busy"))
    );
    assert!(
        plan[1].get("Deleted").is_none() && plan[1]["NotTried"] == true,
        "it was not tried: {}",
        plan[1]
    );
    assert_eq!(plan[0]["Keep"], true);
    assert_eq!(
        (outcome.failures[0].volume.as_str(), outcome.failures[0].code.as_str()),
        ("vol1", "daemon")
    );
    assert_eq!(daemon.backup_names().len(), 3);
}

#[test]
fn prune_that_could_delete_nothing_has_failed() {
    for line in ["--volume vol1 --keep-last 1", "--keep-last 1"] {
        let daemon = backed_up(3);
        daemon.fault("delete_backup", refused());
        let outcome = run_default(again(&daemon), "prune", line).unwrap();
        assert_eq!(outcome.status(), RunStatus::Failed, "{line}: {outcome:?}");
        assert_eq!(outcome.result.as_array().unwrap().len(), 3, "{line}: {outcome:?}");
        assert_eq!(daemon.backup_names().len(), 3, "{line}");
    }
}

#[test]
fn a_volume_with_nothing_to_prune_went_well_beside_one_that_failed() {
    let (daemon, host) = memory(&["vol1", "vol2"]);
    run_default(host, "backup", "").unwrap();
    run_default(again(&daemon), "backup", "--volume vol1").unwrap();
    daemon.fault("delete_backup", refused());
    let outcome = run_default(again(&daemon), "prune", "--keep-last 1").unwrap();
    assert_eq!(outcome.status(), RunStatus::Partial, "{outcome:?}");
}

#[test]
fn prune_whose_snapshots_cannot_be_listed_still_tells_which_backups_it_deleted() {
    let daemon = backed_up(3);
    // The plan looks at the volume twice, and the deletions look once more.
    (0..3).for_each(|_| daemon.fault("volume", Fault::None));
    daemon.fault("volume", refused());
    let outcome =
        run_default(again(&daemon), "prune", "--volume vol1 --keep-last 1 --snapshots").unwrap();
    assert_eq!(outcome.status(), RunStatus::Partial, "{outcome:?}");
    let plan = outcome.result.as_array().unwrap();
    assert_eq!(plan.iter().filter(|item| item["Deleted"] == true).count(), 2, "{plan:?}");
    assert_eq!(plan[3], json!({"VolumeName": "vol1", "Error": "device is busy"}));
}

#[test]
fn a_snapshot_older_than_a_day_is_not_backed_up_but_the_volume_as_it_is() {
    let daemon = backed_up(1);
    let snapshots_after = |now: &str| {
        let heard = Arc::new(Heard::default());
        let mut host = again(&daemon);
        host.listener = Arc::clone(&heard) as Arc<dyn Listener>;
        Arc::make_mut(&mut host.settings).delete_old_snapshots = false;
        host.clock = Arc::new(FixedClock::new(now.parse().unwrap(), jiff::tz::TimeZone::UTC));
        run_default(host, "backup", "--volume vol1").unwrap();
        let lines = heard.lines.lock().unwrap().clone();
        (lines, daemon.snapshot_names("vol1").len())
    };
    assert_eq!(snapshots_after("2026-01-01T23:00:00Z"), (Vec::new(), 1));
    let note = |old: &str| {
        format!(
            "INFO: the newest snapshot of \"vol1\" is {old} old, so the volume is backed up as it is now"
        )
    };
    // The daemon's own clock stands still in this test, so the fresh snapshot is old as well.
    assert_eq!(snapshots_after("2026-01-02T06:00:00Z"), (vec![note("29 hours")], 2));
    assert_eq!(snapshots_after("2026-01-08T06:00:00Z"), (vec![note("7 days")], 3));
}

#[test]
fn a_listing_that_fails_stops_prune_before_anything_is_deleted() {
    for call in ["volumes", "backups"] {
        let daemon = backed_up(3);
        let writes = daemon.writes().len();
        daemon.fault(call, refused());
        assert!(run_default(again(&daemon), "prune", "--keep-last 1").is_err(), "{call}");
        assert_eq!(daemon.writes().len(), writes, "{call}");
    }
}
