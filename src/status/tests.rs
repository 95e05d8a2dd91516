//! A look at the volumes, over a daemon in memory, a real store, and a clock that jumps.

use std::{sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use tokio_util::sync::CancellationToken;

use super::{Level, Looked, Report, Sources, State, VolumeStatus, alerts, look, report};
use crate::{
    clock::{Clock, FixedClock},
    config::Config,
    convoy::{
        Daemon as _, Destination, Name, NewVolume,
        memory::{Fault, MemoryDaemon},
        memory_look::MemoryLook,
    },
    error::{Error, ErrorKind},
    notify::Notifier,
    run_words::Trigger,
    runs::{Recorder, RunEnvironment, RunRequest, Store, run},
    schedule::{Crontab, crontab},
    script::{self, Settings, testing},
};

/// A host with one daemon, and the time that its clock shows.
struct Host {
    folder: tempfile::TempDir,
    daemon: Arc<MemoryDaemon>,
    clock: Arc<FixedClock>,
    store: Arc<Store>,
    config: Arc<Config>,
    crontab: Crontab,
}

/// What the runs of the tests do.
const DOES: &str = "const DOES = [\"create\", \"snapshot\", \"backup\", \"delete\"];\n";
/// The day on which the tests begin.
const FIRST_DAY: &str = "2026-11-01T02:30:00Z";

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// So many days after the first.
fn day(days: i64) -> Timestamp {
    at(FIRST_DAY) + jiff::SignedDuration::from_hours(24 * days)
}

impl Host {
    /// A host with these volumes, which are new on the first day. Nothing but the lines of the
    /// crontab and the settings says when backups are due.
    fn new(volumes: &[&str], lines: &str, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().display().to_string();
        let own = [
            ("BKUP_CONVOY", "builtin:/nowhere"),
            ("BKUP_BACKUP_URL", "vfs:///backups"),
            ("BKUP_DATA_DIR", &data),
        ];
        let environment: Vec<_> = own.iter().chain(settings).copied().collect();
        let surroundings = crontab::testing::surroundings(&environment);
        let (crontab, _) = crontab::parse(lines, "crontab", &surroundings).accept().unwrap();
        let host = Self {
            daemon: Arc::new(MemoryDaemon::new()),
            clock: Arc::new(FixedClock::new(at(FIRST_DAY), TimeZone::UTC)),
            store: Arc::new(Store::new(folder.path())),
            config: surroundings.config,
            crontab,
            folder,
        };
        host.set(at(FIRST_DAY));
        volumes.iter().for_each(|name| host.make(name));
        host
    }

    /// Sets the clock, of which the daemon's is the same.
    fn set(&self, now: Timestamp) {
        self.clock.set(now);
        self.daemon.set_time(now);
    }

    /// Makes a volume past this program, as Docker does.
    fn make(&self, name: &str) {
        let new = NewVolume::named(Name::volume(name).unwrap());
        pollster(self.daemon.create_volume(&new)).unwrap();
    }

    async fn run(&self, body: &str) {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let environment = RunEnvironment {
            daemon: self.daemon.clone(),
            lock_folder: self.folder.path().join("locks"),
            lock_wait: Duration::ZERO,
            clock: clock.clone(),
            settings: Arc::new(Settings {
                destination: Some(Destination::parse("vfs:///backups").unwrap()),
                ..Settings::default()
            }),
            data_look: Arc::new(MemoryLook::default()),
            listener: Arc::new(script::Silent),
            message_sink: Arc::new(script::NotifyLog),
            recorder: Some(Arc::new(Recorder::new(self.store.clone(), clock))),
            worked_with_volumes: None,
            queue: None,
            read_queue: None,
            ending: CancellationToken::new(),
        };
        let script = testing::script(&format!("{DOES}fn main(args) {{ {body} }}")).unwrap();
        let request = RunRequest {
            arguments: testing::given(&script, "").unwrap(),
            script,
            trigger: Trigger::Cli,
            entry: None,
            dry_run: false,
            timeout: Duration::from_secs(60),
        };
        let finished = run(&environment, request, CancellationToken::new()).await;
        assert!(finished.recorded && finished.result.is_ok(), "{:?}", finished.result);
    }

    /// Backs every volume up, from a fresh snapshot.
    async fn back_up(&self) {
        let each = "convoy::create_backup(convoy::create_snapshot(v.Name).Name);";
        self.run(&format!("for v in convoy::volumes() {{ {each} }}")).await;
    }

    async fn report(&self) -> Report {
        self.report_on(&self.look().await)
    }

    async fn look(&self) -> Looked {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let entries = &self.crontab.entries;
        let daemon = self.daemon.clone();
        let connect = async |_: &Config| Ok(daemon.clone() as _);
        look(&self.config, entries, &self.store, &clock, connect, |_| {}).await
    }

    fn report_on(&self, looked: &Looked) -> Report {
        let clock: Arc<dyn Clock> = self.clock.clone();
        report(&Sources {
            config: &self.config,
            serving: Some(false),
            entries: &self.crontab.entries,
            paused: &Default::default(),
            followed: None,
            crontab_problem: None,
            copied_root: None,
            looked,
            store: &self.store,
            notifier: &Notifier::new(&self.config, clock.clone()).unwrap(),
            now: &clock.now_local(),
        })
    }

    /// Looks, and reports what `serve` reports of unsafe volumes. Returns whether `status` is well, and
    /// the subjects of all messages so far.
    async fn tell(&self) -> (bool, Vec<String>) {
        let looked = self.look().await;
        let volumes = looked.known.volumes.iter().map(|it| (it.label(), it.clone())).collect();
        let notifier = Notifier::new(&self.config, self.clock.clone()).unwrap();
        alerts::report_unsafe(&notifier, &volumes);
        let subjects = notifier.waiting().into_iter().map(|waiting| waiting.message.subject);
        (self.report_on(&looked).ok, subjects.collect())
    }

    /// What is known of the only volume at this time.
    async fn volume(&self, now: Timestamp) -> VolumeStatus {
        self.set(now);
        let report = self.report().await;
        let volume = report.volumes[0].clone();
        assert_eq!(report.ok, volume.problems.is_empty() && report.problems.is_empty());
        volume
    }
}

/// Waits for a future that is ready at once.
fn pollster<T>(future: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(future).unwrap()
}

#[tokio::test]
async fn a_backup_that_no_line_makes_is_overdue_after_twice_the_usual_distance() {
    let host = Host::new(&["vol1"], "", &[]);
    for number in 0..5 {
        host.set(day(number));
        host.back_up().await;
    }
    let well = host.volume(day(5)).await;
    assert_eq!((well.verdict.state, well.scheduled), (State::Fresh, false));
    assert!(well.verdict.sentence.contains("usual distance"), "{}", well.verdict.sentence);
    let late = host.volume(day(303)).await;
    assert_eq!(late.verdict.overdue_since().unwrap().as_second() / 60, day(6).as_second() / 60);
    assert!(late.problems[0].contains("299d old, should be under 2d"), "{:?}", late.problems);
}

#[tokio::test]
async fn backups_that_were_pruned_still_say_how_often_a_volume_is_backed_up() {
    let host = Host::new(&["vol1"], "", &[]);
    for number in 0..15 {
        host.set(day(number));
        host.back_up().await;
    }
    // As a rule for weeks does.
    let keep = "let urls = convoy::backups().map(|b| b.BackupURL); for (url, at) in urls {";
    host.run(&format!("{keep} if at % 7 != 0 {{ convoy::delete_backup(url); }} }}")).await;
    let well = host.volume(day(15)).await;
    assert!(well.verdict.sentence.contains("may be 2d old"), "{}", well.verdict.sentence);
    assert_eq!(host.volume(day(17)).await.verdict.state, State::Overdue);
}

#[tokio::test]
async fn backups_on_working_days_are_not_overdue_on_a_sunday() {
    let host = Host::new(&["vol1"], "", &[]);
    // The first day is a Sunday.
    for number in (0..28).filter(|number| !matches!(number % 7, 0 | 6)) {
        host.set(day(number));
        host.back_up().await;
    }
    assert_eq!(host.volume(day(29)).await.verdict.state, State::Fresh);
    assert_eq!(host.volume(day(30)).await.verdict.state, State::Overdue);
}

#[tokio::test]
async fn old_volumes_of_a_host_without_lines_are_waited_for_from_the_first_look_on() {
    for (settings, days) in [(&[][..], 7), (&[("BKUP_MAX_BACKUP_AGE", "3d")][..], 3)] {
        let host = Host::new(&[], "", settings);
        host.set(day(-300));
        host.make("vol1");
        host.set(day(0));
        let first = host.report().await;
        assert_eq!((first.ok, first.level), (true, Level::Unknown), "{first:?}");
        assert_eq!(first.sentence, "1 volume has no backup yet.");
        // No run happens: looks alone know it.
        let due = day(days);
        let before = host.volume(due - jiff::SignedDuration::from_hours(1)).await;
        assert_eq!((before.verdict.state, before.verdict.limit), (State::Awaited, due));
        let late = host.volume(due + jiff::SignedDuration::from_secs(1)).await;
        assert_eq!(late.verdict.overdue_since(), Some(due));
        // A run that sees it changes nothing.
        host.run("convoy::volumes();").await;
        let late = host.volume(due + jiff::SignedDuration::from_secs(1)).await;
        assert_eq!(late.verdict.overdue_since(), Some(due));
    }
}

#[tokio::test]
async fn a_volume_that_no_line_backs_up_is_not_safe_at_once_only_where_there_are_lines() {
    let new = |lines| async move { Host::new(&["vol1"], lines, &[]).volume(day(0)).await };
    assert_eq!(new("").await.verdict.state, State::Awaited);
    let missing = new("30 3 * * *  backup --volume vol2\n").await;
    assert_eq!(missing.verdict.state, State::Missing);
    assert!(missing.problems[0].contains("no line of the crontab makes one"), "{missing:?}");
}

const WEBHOOK: (&str, &str) = ("BKUP_WEBHOOK_URL", "http://127.0.0.1:9/");

/// These were told: the first is a problem with these words, and then that it is over.
fn assert_told(subjects: &[String], words: &str) {
    assert_eq!(subjects.len(), 2, "{subjects:?}");
    assert!(subjects[0].contains(words), "{subjects:?}");
    assert!(subjects[1].contains("the volumes are well again"), "{subjects:?}");
}

#[tokio::test]
async fn a_volume_that_no_line_backs_up_is_told_once_and_when_it_is_well() {
    let host = Host::new(&["vol1"], "30 3 * * *  backup --volume vol2\n", &[WEBHOOK]);
    for _ in 0..2 {
        let (ok, told) = host.tell().await;
        assert_eq!((ok, told.len()), (false, 1), "{told:?}");
    }
    host.back_up().await;
    let (ok, told) = host.tell().await;
    assert!(ok);
    assert_told(&told, "vol1 is not known to be safe");
}

#[tokio::test]
async fn lists_that_fail_are_told_once_and_a_daemon_at_work_is_no_problem() {
    let host = Host::new(&["vol1"], "", &[WEBHOOK]);
    let fails = |kind| {
        host.daemon.fault("backups", Fault::Fails(Error::new(kind, "no such bucket")));
    };
    fails(ErrorKind::Busy);
    assert_eq!(host.tell().await, (true, vec![]));
    for _ in 0..2 {
        fails(ErrorKind::Daemon);
        let (ok, told) = host.tell().await;
        assert_eq!((ok, told.len()), (false, 1), "{told:?}");
    }
    let (ok, told) = host.tell().await;
    assert!(ok);
    assert_told(&told, "vol1 is not known to be safe");
}

#[tokio::test]
async fn a_newest_backup_that_cannot_be_looked_at_is_told_once() {
    let host = Host::new(&["vol1", "vol2"], "30 3 * * *  backup\n", &[WEBHOOK]);
    host.back_up().await;
    assert_eq!(host.tell().await, (true, vec![]));
    for _ in 0..2 {
        let odd = Error::new(ErrorKind::Daemon, "odd words");
        host.daemon.fault("backup", Fault::Fails(odd));
        let (ok, told) = host.tell().await;
        assert_eq!((ok, told.len()), (false, 1), "{told:?}");
    }
    let (ok, told) = host.tell().await;
    assert!(ok);
    assert_told(&told, "vol1 is not known to be safe");
}

#[tokio::test]
async fn a_first_look_with_the_clock_in_the_future_does_not_make_a_volume_old() {
    let host = Host::new(&[], "", &[]);
    host.set(day(-300));
    host.make("vol1");
    host.volume(day(5_000)).await;
    assert_eq!(host.volume(day(0)).await.verdict.state, State::Awaited);
    assert_eq!(host.volume(day(8)).await.verdict.state, State::Overdue);
}

#[tokio::test]
async fn a_volume_that_only_looks_saw_is_not_missed() {
    let host = Host::new(&["vol1", "vol2"], "", &[]);
    assert_eq!(host.report().await.volumes.len(), 2);
    host.daemon.delete_volume(&Name::volume("vol1").unwrap(), None, false).await.unwrap();
    let report = host.report().await;
    assert_eq!((report.ok, report.volumes.len()), (true, 1), "{report:?}");
}

#[tokio::test]
async fn a_single_backup_that_no_line_makes_may_be_seven_days_old() {
    let host = Host::new(&["vol1"], "", &[]);
    host.back_up().await;
    assert_eq!(host.volume(day(6)).await.verdict.state, State::Fresh);
    assert_eq!(host.volume(day(8)).await.verdict.state, State::Overdue);
}

#[tokio::test]
async fn a_volume_that_waits_for_its_first_backup_is_not_called_safe() {
    let host = Host::new(&["vol1", "vol2"], "30 3 * * *  backup\n", &[]);
    let awaited = host.report().await;
    assert_eq!((awaited.ok, awaited.level), (true, Level::Unknown));
    assert_eq!(awaited.sentence, "2 volumes have no backup yet; the first is due at 03:30 UTC.");
    assert!(!awaited.notes.iter().any(|note| note.contains("no backup yet")), "{awaited:?}");
    host.back_up().await;
    let safe = host.report().await;
    assert_eq!((safe.ok, safe.level), (true, Level::Good), "{safe:?}");
    host.make("vol3");
    let mixed = host.report().await;
    assert_eq!((mixed.ok, mixed.level), (true, Level::Unknown));
    assert!(mixed.sentence.starts_with("1 of 3 volumes has no backup yet"), "{}", mixed.sentence);
    host.set(day(3));
    let late = host.report().await;
    assert_eq!((late.ok, late.sentence.as_str()), (false, "3 of 3 volumes are not safe."));
}

#[tokio::test]
async fn a_moment_with_the_clock_in_the_future_proves_nothing() {
    for (lines, settings) in [
        ("", &[][..]),
        ("30 3 * * *  backup\n", &[][..]),
        ("", &[("BKUP_MAX_BACKUP_AGE", "26h")][..]),
    ] {
        let host = Host::new(&["vol1"], lines, settings);
        host.set(at("2028-11-26T03:00:00Z"));
        host.back_up().await;
        let then = host.volume(day(10)).await;
        assert_eq!(then.verdict.state, State::Overdue, "{lines} {settings:?}");
        assert!(then.last_backup.is_none());
        let said = then.problems.join("; ");
        assert!(said.contains("dated 2028-11-26 03:00 UTC, which is in the future"), "{said}");

        // The names of later snapshots go on from 2028, and their dates are right.
        host.set(day(10));
        host.back_up().await;
        let well = host.volume(day(10)).await;
        assert_eq!(well.verdict.state, State::Fresh, "{lines} {settings:?}");
        let last = well.last_backup.unwrap();
        assert!(last.made.duration_since(day(10)).as_mins() == 0, "{last:?}");
        assert!(last.snapshot_time < day(11) && well.last_snapshot < Some(day(11)), "{last:?}");
        assert!(well.notes[0].contains("a clock was wrong"), "{:?}", well.notes);
        assert_eq!(host.volume(day(110)).await.verdict.state, State::Overdue);
    }
}

#[tokio::test]
async fn a_volume_that_was_made_with_the_clock_in_the_future_is_not_awaited_until_then() {
    let host = Host::new(&[], "30 3 * * *  backup\n", &[]);
    host.set(at("2036-01-01T00:00:00Z"));
    host.make("vol1");
    host.run("convoy::volumes();").await;
    let volume = host.volume(day(0)).await;
    assert_eq!(volume.verdict.state, State::Overdue);
    assert!(volume.problems[0].contains("some clock was wrong"), "{:?}", volume.problems);
    host.back_up().await;
    assert_eq!(host.volume(day(0)).await.verdict.state, State::Fresh);
}

#[tokio::test]
async fn a_volume_that_was_made_again_under_its_name_is_judged_by_its_own_backups() {
    let host = Host::new(&["vol1"], "30 3 * * *  backup\n", &[]);
    host.back_up().await;
    host.set(day(1));
    // Docker or Convoy does that, past this program.
    let name = Name::volume("vol1").unwrap();
    host.daemon.delete_volume(&name, None, false).await.unwrap();
    host.make("vol1");
    let new = host.volume(day(1)).await;
    assert_eq!((new.verdict.state, new.last_backup.is_none()), (State::Awaited, true));
    assert!(new.sizes.is_empty());
    host.run("convoy::volumes();").await;
    assert_eq!(host.volume(day(1)).await.verdict.state, State::Awaited);
    assert_eq!(host.volume(day(3)).await.verdict.state, State::Overdue);
}

#[tokio::test]
async fn a_volume_that_is_gone_is_missed_until_a_person_says_that_it_was_meant() {
    let host = Host::new(&["vol1", "vol2", "vol3"], "", &[("BKUP_MAX_BACKUP_AGE", "9999d")]);
    let back_up =
        |name: &str| format!("convoy::create_backup(convoy::create_snapshot(\"{name}\").Name);");
    host.run(&format!("convoy::volumes(); {}{}", back_up("vol1"), back_up("vol3"))).await;
    // Docker or Convoy does that, past this program.
    for gone in ["vol1", "vol2"] {
        host.daemon.delete_volume(&Name::volume(gone).unwrap(), None, false).await.unwrap();
    }
    let missed = async |now| {
        host.set(now);
        let report = host.report().await;
        let gone = report.volumes.iter().filter(|volume| volume.gone);
        (report.ok, gone.map(|volume| volume.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(missed(day(1)).await, (false, vec!["vol1".to_owned(), "vol2".to_owned()]));
    // The second never had a backup.
    assert_eq!(missed(day(8)).await, (false, vec!["vol1".to_owned()]));
    assert_eq!(missed(day(300)).await, (false, vec!["vol1".to_owned()]));
    let daemon = host.daemon.identity();
    assert!(host.store.forget_volume(&daemon, "vol1", day(300)).unwrap());
    assert_eq!(missed(day(300)).await, (true, vec![]));
}

#[tokio::test]
async fn a_volume_whose_removal_nobody_saw_the_end_of_is_not_missed() {
    let host = Host::new(&["vol1"], "", &[("BKUP_MAX_BACKUP_AGE", "9999d")]);
    host.back_up().await;
    let daemon = host.daemon.identity();
    host.store.removal_begins(&daemon, "vol1", "run-that-was-killed", day(0)).unwrap();
    host.daemon.delete_volume(&Name::volume("vol1").unwrap(), None, false).await.unwrap();
    host.set(day(1));
    let removed = host.report().await;
    assert!(removed.ok && removed.volumes.is_empty(), "{removed:?}");
}

#[tokio::test]
async fn a_volume_that_a_removal_left_and_that_is_lost_later_is_missed() {
    let back_up_vol1 = "convoy::create_backup(convoy::create_snapshot(\"vol1\").Name);";
    // What shows that the removal failed: a look, a run on all volumes, a run on this one, or time.
    for (seen_by_a_look, run) in [
        (true, None),
        (false, Some("convoy::volumes();")),
        (false, Some(back_up_vol1)),
        (false, None),
    ] {
        let host = Host::new(&["vol1"], "", &[("BKUP_MAX_BACKUP_AGE", "9999d")]);
        host.back_up().await;
        let daemon = host.daemon.identity();
        host.store.removal_begins(&daemon, "vol1", "run-that-was-killed", day(0)).unwrap();
        if seen_by_a_look {
            assert!(host.report().await.ok);
        }
        if let Some(run) = run {
            host.run(run).await;
        }
        let waits_in_vain = !seen_by_a_look && run.is_none();
        host.set(day(if waits_in_vain { 2 } else { 0 }));
        host.daemon.delete_volume(&Name::volume("vol1").unwrap(), None, false).await.unwrap();
        for _ in 0..2 {
            let missed = host.report().await;
            assert!(missed.volumes.iter().any(|volume| volume.gone), "{run:?}: {missed:?}");
            assert!(!missed.ok);
        }
    }
}

#[tokio::test]
async fn a_look_while_a_volume_is_removed_does_not_take_it_for_one_that_stays() {
    let host = Host::new(&["vol1"], "", &[("BKUP_MAX_BACKUP_AGE", "9999d")]);
    host.back_up().await;
    let daemon = host.daemon.identity();
    // After the look's list, and before its end.
    let soon = day(0) + jiff::SignedDuration::from_mins(1);
    host.store.removal_begins(&daemon, "vol1", "run-that-was-killed", soon).unwrap();
    assert!(host.report().await.ok);
    host.daemon.delete_volume(&Name::volume("vol1").unwrap(), None, false).await.unwrap();
    host.set(soon);
    assert!(host.report().await.ok);
}

#[tokio::test]
async fn what_was_found_long_ago_is_not_green_any_more() {
    let host = Host::new(&["vol1"], "30 3 * * *  backup\n", &[]);
    host.back_up().await;
    let looked = host.look().await;
    host.set(day(0) + jiff::SignedDuration::from_mins(30));
    assert!(host.report_on(&looked).ok);
    host.set(day(0) + jiff::SignedDuration::from_mins(31));
    let old = host.report_on(&looked);
    assert_eq!((old.ok, old.sentence.as_str()), (false, "Something is wrong."));
    assert!(old.problems[0].contains("last looked at 31m ago"), "{:?}", old.problems);
}

#[tokio::test]
async fn a_restored_volume_has_no_backup_of_its_own_yet_and_what_it_came_from_is_said() {
    for lines in ["30 3 * * *  backup\n", ""] {
        let host = Host::new(&["vol1"], lines, &[]);
        host.back_up().await;
        host.run("convoy::delete_volume(\"vol1\");").await;
        host.set(day(1));
        let url = "convoy::backups()[0].BackupURL";
        host.run(&format!("convoy::restore(\"vol1\", {url});")).await;
        let restored = host.volume(day(1)).await;
        assert_eq!(restored.verdict.state, State::Awaited, "{:?}", restored.problems);
        assert!(restored.last_backup.is_none());
        assert!(restored.restored_from.as_ref().unwrap().contains("backup="), "{restored:?}");
        assert!(restored.notes[0].contains("it was restored from"), "{:?}", restored.notes);
        let report = host.report().await;
        assert_eq!((report.ok, report.level), (true, Level::Unknown));
        assert_eq!(host.volume(day(9)).await.verdict.state, State::Overdue);
    }
}

#[tokio::test]
async fn a_line_that_backs_up_a_project_counts_for_its_volumes_alone() {
    let lines = "30 3 * * *  backup --project shop\n";
    let host = Host::new(&["shop_db", "shopping", "wiki"], lines, &[]);
    let report = host.report().await;
    let scheduled: Vec<_> = report.volumes.iter().map(|volume| volume.scheduled).collect();
    assert_eq!(scheduled, [true, false, false]);
}
