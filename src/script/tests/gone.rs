//! What another run has deleted meanwhile is gone, and fails no run.

use std::sync::Arc;

use crate::{
    convoy::{
        Daemon,
        memory::{Fault, MemoryDaemon},
    },
    error::{Error, ErrorKind},
    run_words::RunStatus,
    script::{
        Host, Outcome,
        testing::{host_over, run_default},
    },
};

fn gone() -> Fault {
    Fault::Fails(Error::new(ErrorKind::NotFound, "it is gone").with_status(400))
}

fn host(daemon: &Arc<MemoryDaemon>) -> Host {
    host_over(Arc::clone(daemon) as Arc<dyn Daemon>)
}

/// A daemon whose `vol1` has so many snapshots and backups.
fn backed_up(times: usize) -> Arc<MemoryDaemon> {
    let daemon = Arc::new(MemoryDaemon::with_volumes(&["vol1"]));
    for _ in 0..times {
        let mut host = host(&daemon);
        Arc::make_mut(&mut host.settings).delete_old_snapshots = false;
        run_default(host, "backup", "--create-snapshot").unwrap();
    }
    daemon
}

fn run_well(daemon: &Arc<MemoryDaemon>, script: &str, line: &str) -> Outcome {
    let outcome = run_default(host(daemon), script, line).unwrap();
    assert_eq!(outcome.status(), RunStatus::Done, "{outcome:?}");
    outcome
}

#[test]
fn a_snapshot_that_goes_before_it_is_backed_up_gives_way_to_a_fresh_one() {
    for line in ["--volume vol1 --create-snapshot", "--volume vol1", ""] {
        let daemon = backed_up(1);
        // The guards look for it before the backup, and the script after.
        daemon.fault("snapshot", gone());
        daemon.fault("snapshot", gone());
        run_well(&daemon, "backup", line);
        assert_eq!(daemon.backup_names().len(), 2, "{line}");
    }
}

#[test]
fn something_else_that_is_not_there_still_fails_the_backup() {
    let daemon = backed_up(1);
    daemon.fault("create_backup", gone());
    let error = run_default(host(&daemon), "backup", "--volume vol1").unwrap_err();
    assert_eq!(error.message, "it is gone");
    assert_eq!(daemon.backup_names().len(), 1);
}

#[test]
fn a_backup_that_goes_before_it_is_pruned_counts_as_deleted() {
    let daemon = backed_up(3);
    daemon.fault("delete_backup", gone());
    let plan = run_well(&daemon, "prune", "--keep-last 1").result;
    let deleted = plan.as_array().unwrap().iter().filter(|item| item["Deleted"] == true);
    assert_eq!(deleted.count(), 2, "{plan}");
}

#[test]
fn what_goes_before_remove_deletes_it_does_not_stop_it() {
    for call in ["delete_backup", "delete_snapshot"] {
        let daemon = backed_up(2);
        daemon.fault(call, gone());
        run_well(&daemon, "remove", "--volume vol1 --all");
        assert!(run_well(&daemon, "volumes", "").result.as_array().unwrap().is_empty(), "{call}");
    }
}
