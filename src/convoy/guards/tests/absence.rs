//! Guard 3: absence is not evidence.

use super::*;

#[tokio::test]
async fn guard_3_a_list_that_fails_stops_every_deletion_of_the_run() {
    let bench = bench(&["vol1", "vol2"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.daemon.fault("backups", Fault::Fails(denied()));
    assert!(bench.guards.backups(&vfs(), None).await.is_err());
    let error = bench.guards.delete_backup(&old, Even::default()).await.unwrap_err();
    assert!(error.message.contains("AccessDenied"), "{error}");
    assert!(bench.guards.delete_volume(&name("vol2"), None, true).await.is_err());
    assert_eq!(bench.daemon.backup_names().len(), 2);
    bench.another_run().delete_backup(&old, Even::default()).await.unwrap();
}

#[tokio::test]
async fn guard_3_a_list_that_lacks_the_backup_just_made_stops_every_deletion_of_the_run() {
    let bench = bench(&["vol1"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.daemon.fault("backups", Fault::AnswersSuccessOnly);
    assert!(bench.guards.backups(&vfs(), None).await.unwrap().is_empty());
    let error = bench.guards.delete_backup(&old, THE_NEWEST).await.unwrap_err();
    assert!(error.message.contains("lacks"), "{error}");
    assert_eq!(bench.daemon.backup_names().len(), 2);
}

#[tokio::test]
async fn guard_3_an_empty_list_of_volumes_is_not_believed_where_the_driver_has_some() {
    let bench = bench(&["vol1"]);
    bench.daemon.fault("volumes", Fault::AnswersSuccessOnly);
    let error = bench.guards.volumes().await.unwrap_err();
    assert!(error.message.contains("lists no volumes"), "{error}");
    assert!(bench.guards.delete_volume(&name("vol1"), None, true).await.is_err());
    assert!(bench.guards.volumes().await.is_ok());
}

#[tokio::test]
async fn guard_3_never_backed_up_is_believed_only_where_the_whole_destination_says_so() {
    let bench = bench(&["vol1"]);
    assert_eq!(bench.guards.backups(&vfs(), Some(&name("vol1"))).await.unwrap(), []);
    let denied_in_the_same_words =
        Error::new(ErrorKind::NotFound, "cannot find vo/l1/vol1/volume.cfg in objectstore")
            .with_status(400);
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.daemon.fault("backups", Fault::Fails(denied_in_the_same_words));
    assert!(bench.guards.backups(&vfs(), Some(&name("vol1"))).await.is_err());
    assert!(bench.guards.delete_volume(&name("vol1"), None, true).await.is_err());
}
