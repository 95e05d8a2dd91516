//! What the notifier queues for which channel, with a clock that the test moves; nothing is sent.

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;

use super::{delivery::Deliveries, message::Event, report::tests::failed, slot::Reach, *};
use crate::{
    clock::FixedClock,
    config::Config,
    error::{Error, ErrorKind},
    run_words::{RunStatus, Trigger},
    support::smtp::{Manners, Smtp},
};

/// A notifier in this folder with e-mail for failures.
fn notifier(folder: &std::path::Path, settings: &[(&str, &str)]) -> (Notifier, Arc<FixedClock>) {
    let clock = Arc::new(FixedClock::new("2026-11-23T07:00:00Z".parse().unwrap(), TimeZone::UTC));
    let data = folder.display().to_string();
    let fixed = [
        ("BKUP_DATA_DIR", data.as_str()),
        ("BKUP_HOST", "db1"),
        ("BKUP_EMAIL_ENABLED", "true"),
        // No server listens there.
        ("BKUP_EMAIL_SMTP_HOST", "127.0.0.1"),
        ("BKUP_EMAIL_SMTP_PORT", "1"),
    ];
    let environment = fixed
        .iter()
        .filter(|(name, _)| !settings.iter().any(|(other, _)| name == other))
        .chain(settings)
        .map(|(name, value)| ((*name).into(), (*value).into()));
    let (config, _) = Config::from_environment(environment.collect::<Vec<_>>(), &[]).unwrap();
    (Notifier::new(&config, clock.clone()).unwrap(), clock)
}

fn subjects(notifier: &Notifier) -> Vec<String> {
    notifier.waiting().into_iter().map(|waiting| waiting.message.subject).collect()
}

#[test]
fn lost_freshness_is_reported_once_and_so_is_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let (notifier, clock) = notifier(folder.path(), &[]);
    notifier.resolve("fresh vol1", "vol1 is backed up", "");
    for days in [9, 10, 11] {
        notifier.problem(
            "fresh vol1",
            &format!("vol1 is not backed up for {days} days"),
            "its schedule says each day",
        );
    }
    assert_eq!(subjects(&notifier), ["[db1] vol1 is not backed up for 9 days"]);
    clock.set("2026-11-24T07:00:00Z".parse().unwrap());
    notifier.problem("fresh vol1", "vol1 is not backed up for 12 days", "");
    notifier.resolve("fresh vol1", "vol1 is backed up", "");
    notifier.resolve("fresh vol1", "vol1 is backed up", "");
    assert_eq!(
        subjects(&notifier)[1..],
        ["[db1] vol1 is not backed up for 12 days", "[db1] vol1 is backed up"]
    );
}

#[test]
fn several_failures_are_one_message_and_what_no_one_has_to_know_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let (notifier, _) = notifier(folder.path(), &[]);
    let volumes: Vec<String> = (0..30).map(|number| format!("vol{number}")).collect();
    notifier.on_run_end(&failed(&volumes.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(subjects(&notifier).len(), 1);
    for status in [RunStatus::Cancelled, RunStatus::Skipped, RunStatus::Done] {
        let mut report = failed(&["vol1"]);
        (report.status, report.script) = (status, "other".into());
        notifier.on_run_end(&report);
    }
    let mut busy = failed(&[]);
    (busy.status, busy.trigger) = (RunStatus::Failed, Trigger::Cli);
    busy.error = Some(Error::new(ErrorKind::Busy, "in use"));
    busy.script = "busy".into();
    notifier.on_run_end(&busy);
    let mut dry = failed(&["vol1"]);
    (dry.dry_run, dry.script) = (true, "dry".into());
    notifier.on_run_end(&dry);
    assert_eq!(subjects(&notifier).len(), 1, "{:?}", subjects(&notifier));
    busy.trigger = Trigger::Cron;
    notifier.on_run_end(&busy);
    assert_eq!(subjects(&notifier)[1..], ["[db1] busy failed: in use"]);
    assert_eq!(notifier.problems().unwrap().len(), 2);
}

#[tokio::test]
async fn a_message_is_given_up_after_a_day_and_the_next_failure_is_reported_again() {
    let folder = tempfile::tempdir().unwrap();
    let (notifier, clock) = notifier(folder.path(), &[("BKUP_REMIND_AFTER", "30d")]);
    notifier.on_run_end(&failed(&["vol1"]));
    assert_eq!(notifier.delivery.deliver_due().await, Deliveries { sent: 0, failed: 1 });
    assert_eq!(
        notifier.delivery.deliver_due().await,
        Deliveries::default(),
        "not before it is due"
    );
    clock.set("2026-11-23T07:01:00Z".parse().unwrap());
    assert_eq!(notifier.delivery.deliver_due().await.failed, 1);
    let again = &notifier.waiting()[0];
    assert_eq!(
        (again.attempts, notifier.delivery.next_attempt()),
        (2, Some("2026-11-23T07:03:00Z".parse().unwrap()))
    );
    notifier.on_run_end(&failed(&["vol1"]));
    assert_eq!(notifier.waiting().len(), 1, "people will know");
    clock.set("2036-01-01T00:00:00Z".parse().unwrap());
    notifier.delivery.deliver_due().await;
    assert_eq!(notifier.waiting().len(), 1, "a clock that jumps gives nothing up");
    for time in ["2026-11-23T07:03:00Z", "2026-11-24T07:00:00Z"] {
        assert_eq!(notifier.waiting().len(), 1);
        clock.set(time.parse().unwrap());
        assert_eq!(notifier.delivery.deliver_due().await.failed, 1);
    }
    assert_eq!(notifier.waiting().len(), 0, "given up, after a day and five attempts");
    notifier.on_run_end(&failed(&["vol1"]));
    assert_eq!(notifier.waiting().len(), 1, "nobody knows yet");
}

#[tokio::test]
async fn a_later_message_does_not_arrive_first() {
    let folder = tempfile::tempdir().unwrap();
    let (notifier, clock) = notifier(folder.path(), &[]);
    notifier.on_run_end(&failed(&["vol1"]));
    notifier.delivery.deliver_due().await;
    clock.set("2026-11-23T07:00:30Z".parse().unwrap());
    notifier.on_run_end(&failed(&[]));
    assert_eq!(
        notifier.delivery.deliver_due().await.failed,
        2,
        "the older one was tried, and the newer one would have failed as it did"
    );
    let attempts: Vec<u32> = notifier.waiting().iter().map(|waiting| waiting.attempts).collect();
    assert_eq!(attempts, [2, 1]);
}

#[test]
fn without_a_channel_nothing_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (notifier, _) = notifier(folder.path(), &[("BKUP_EMAIL_ENABLED", "false")]);
    notifier.on_run_end(&failed(&["vol1"]));
    notifier.problem("x", "subject", "text");
    notifier.notify(Event::Information, "subject", "text", Reach::All, None);
    assert!(notifier.waiting().is_empty() && !folder.path().join("notify").exists());
}

/// A run `backup --volume NAME` by this trigger, failed or with a good backup.
fn backup_of(volume: &str, trigger: Trigger, is_good: bool) -> RunReport {
    let mut report = failed(if is_good { &[] } else { &["x"] });
    report.arguments = ["--volume".to_owned(), volume.to_owned()].into();
    report.trigger = trigger;
    if is_good {
        report.backed_up = [volume.to_owned()].into();
    } else {
        (report.status, report.failures) = (RunStatus::Failed, Vec::new());
        report.error = Some(Error::guard("no space left"));
    }
    report
}

#[test]
fn a_good_backup_by_any_run_resolves_the_failures_of_others_and_reports_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let (notifier, _) = notifier(folder.path(), &[]);
    notifier.on_run_end(&failed(&["vol1", "vol2"]));
    notifier.on_run_end(&backup_of("vol1", Trigger::Cli, false));
    assert_eq!(notifier.problems().unwrap().len(), 2);
    notifier.on_run_end(&backup_of("vol2", Trigger::Cli, true));
    assert_eq!(notifier.problems().unwrap().len(), 2, "vol1 is not backed up yet");
    let mut elsewhere = backup_of("vol1", Trigger::Http, true);
    elsewhere.daemon_and_destination = Some("daemon s3://other".into());
    (elsewhere.script, elsewhere.arguments) = ("nightly".into(), Vec::new());
    notifier.on_run_end(&elsewhere);
    assert_eq!(
        notifier.problems().unwrap().len(),
        2,
        "a backup elsewhere makes up for nothing here"
    );
    elsewhere.daemon_and_destination = failed(&[]).daemon_and_destination;
    notifier.on_run_end(&elsewhere);
    assert_eq!(notifier.problems().unwrap().len(), 0);
    notifier.on_run_end(&elsewhere);
    assert_eq!(subjects(&notifier)[2..], ["[db1] backup, backup --volume vol1 is well again"]);
}

#[test]
fn a_script_that_backs_up_some_volumes_makes_up_for_no_failed_backup_of_every_volume() {
    let folder = tempfile::tempdir().unwrap();
    let (notifier, _) = notifier(folder.path(), &[]);
    // A backup of every volume that found no daemon.
    let mut nothing = failed(&[]);
    nothing.status = RunStatus::Failed;
    nothing.error = Some(Error::new(ErrorKind::Unreachable, "there is no daemon"));
    notifier.on_run_end(&nothing);
    let mut some = failed(&[]);
    (some.script, some.takes_volume) = ("nightly".into(), false);
    some.backed_up = ["vol1".to_owned()].into();
    notifier.on_run_end(&some);
    assert_eq!(notifier.problems().unwrap().len(), 1, "other volumes may not be backed up");
    (some.script, some.takes_volume) = ("my-backup".into(), true);
    notifier.on_run_end(&some);
    assert_eq!(notifier.problems().unwrap().len(), 0);
}

#[test]
fn a_run_that_fails_otherwise_still_ends_what_its_good_backups_make_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let (notifier, _) = notifier(folder.path(), &[]);
    notifier.on_run_end(&backup_of("vol1", Trigger::Cron, false));
    let mut partly = failed(&["vol2"]);
    partly.backed_up = ["vol1".to_owned()].into();
    notifier.on_run_end(&partly);
    assert_eq!(
        subjects(&notifier)[1..],
        [
            "[db1] backup --volume vol1 is well again",
            "[db1] backup partly failed: vol2: no space left, 12 bytes missing of vol2"
        ]
    );
    // The backup is good and something else failed: no other backup makes up for that.
    let mut old_snapshot = failed(&["vol3"]);
    old_snapshot.arguments = ["--create-snapshot".to_owned()].into();
    old_snapshot.backed_up = ["vol3".to_owned()].into();
    notifier.on_run_end(&old_snapshot);
    notifier.on_run_end(&backup_of("vol3", Trigger::Cron, true));
    assert!(notifier.problems().unwrap().contains_key("run backup --create-snapshot"));
}

#[test]
fn what_a_person_typed_and_never_types_again_is_not_wrong_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (notifier, clock) = notifier(folder.path(), &[("BKUP_REMIND_AFTER", "1d")]);
    notifier.on_run_end(&backup_of("vol9", Trigger::Cli, false));
    notifier.on_run_end(&backup_of("vol8", Trigger::Cron, false));
    clock.set("2026-11-26T07:00:00Z".parse().unwrap());
    assert_eq!(
        notifier.problems().unwrap().into_keys().collect::<Vec<_>>(),
        ["run backup --volume vol8"]
    );
}

#[test]
fn a_look_at_a_list_by_hand_is_no_problem_and_the_crontabs_is() {
    let folder = tempfile::tempdir().unwrap();
    let (notifier, _) = notifier(folder.path(), &[("BKUP_EMAIL_ON", "always")]);
    let mut look = failed(&["vol1"]);
    (look.script, look.read_only) = ("backups".into(), true);
    for trigger in [Trigger::Cli, Trigger::Http] {
        look.trigger = trigger;
        notifier.on_run_end(&look);
    }
    assert!(subjects(&notifier).is_empty() && notifier.problems().unwrap().is_empty());
    look.trigger = Trigger::Cron;
    notifier.on_run_end(&look);
    assert_eq!(notifier.problems().unwrap().len(), 1);
    (look.status, look.trigger) = (RunStatus::Done, Trigger::Cli);
    look.failures.clear();
    notifier.on_run_end(&look);
    notifier.on_run_end(&look);
    assert_eq!(subjects(&notifier)[1..], ["[db1] backups is well again"]);
}

#[test]
fn a_problem_that_only_people_can_judge_is_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let (notifier, clock) = notifier(folder.path(), &[("BKUP_REMIND_AFTER", "1h")]);
    for time in ["2026-11-23T08:00:00Z", "2026-11-24T08:00:00Z", "2026-11-29T08:00:00Z"] {
        clock.set(time.parse().unwrap());
        notifier.problem_with("gone vol1", "vol1 is gone from the daemon", "", Repeat::Never);
        notifier.problem("disk", "the disk is full", "");
    }
    let all = subjects(&notifier);
    assert_eq!(all.iter().filter(|subject| subject.contains("vol1")).count(), 1, "{all:?}");
    assert_eq!(all.len(), 4, "others are reminded of: {all:?}");
    notifier.drop_problem("gone vol1");
    assert_eq!(subjects(&notifier).len(), 4, "nobody is told that it is known");
    assert_eq!(notifier.problems().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_no_more_than_the_time_given() {
    for manners in [
        Manners { mute: true, ..Manners::default() },
        Manners { hangs: true, ..Manners::default() },
    ] {
        let (smtp, folder) = (Smtp::start(manners), tempfile::tempdir().unwrap());
        let port = smtp.port().to_string();
        let (notifier, _) = notifier(
            folder.path(),
            &[("BKUP_EMAIL_SMTP_PORT", &port), ("BKUP_EMAIL_SMTP_SECURITY", "none")],
        );
        let before = std::time::Instant::now();
        notifier.notify(Event::Problem, "subject", "text", Reach::All, None);
        notifier.deliver_within(Duration::from_millis(200)).await;
        assert!(before.elapsed() < Duration::from_secs(5));
        assert_eq!(notifier.waiting()[0].attempts, 1, "it waits on");
    }
}
