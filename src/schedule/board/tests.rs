//! The rules of `board`, moment by moment.

use std::collections::BTreeMap;

use jiff::ToSpan;

use super::*;
use crate::schedule::crontab::testing::crontab;

fn at(text: &str) -> Timestamp {
    format!("2026-11-23T{text}Z").parse().unwrap()
}

/// Due times up to this one were dealt with, and nothing was cut off.
fn past(due: Timestamp) -> EntryTimes {
    EntryTimes { due, begun: None }
}

/// Delays are half of the longest.
fn board(most: usize, now: Timestamp) -> Board {
    Board::new(most, now, Box::new(|longest| longest / 2), BTreeSet::new())
}

/// A board that has followed this crontab for some time.
fn following(text: &str, most: usize, now: Timestamp) -> Board {
    let mut board = board(most, now);
    board.follow(&crontab(text), now, None);
    board
}

/// Actions in short: `start snapshot 12:00`.
fn told(actions: &[Action]) -> Vec<String> {
    let time = |time: &Timestamp| time.strftime("%H:%M").to_string();
    let tell = |action: &Action| match action {
        Action::Start(entry, Due { time: due, before: Before::Nothing | Before::NotDue }) => {
            Some(format!("start {} {}", entry.script, time(due)))
        }
        Action::Start(entry, Due { time: due, .. }) => {
            Some(format!("make up {} {}", entry.script, time(due)))
        }
        Action::GiveUp(entry, due, why) => {
            Some(format!("give up {} {} {why:?}", entry.script, time(due)))
        }
        Action::Missed(entry, due, why) => {
            Some(format!("missed {} {} {why:?}", entry.script, time(due)))
        }
        Action::Remember(..) => None,
    };
    actions.iter().filter_map(tell).collect()
}

fn remembered(actions: &[Action]) -> Vec<Timestamp> {
    let time = |action: &Action| match action {
        Action::Remember(_, time) => Some(*time),
        _ => None,
    };
    actions.iter().filter_map(time).collect()
}

fn key(board: &Board, script: &str) -> String {
    board
        .statuses()
        .into_iter()
        .find(|status| status.entry.script == script)
        .unwrap()
        .entry
        .key
        .clone()
}

#[test]
fn a_tick_starts_its_script_and_nothing_is_done_in_between() {
    let mut board = following("0 * * * * snapshot", 2, at("11:30:00"));
    assert_eq!(board.wake(), Some(at("12:00:00")));
    assert!(board.advance(at("11:59:59.999")).is_empty());
    assert_eq!(told(&board.advance(at("12:00:00"))), ["start snapshot 12:00"]);
    assert!(board.advance(at("12:00:00")).is_empty(), "once");
    assert_eq!(board.wake(), Some(at("13:00:00")));
    let status = &board.statuses()[0];
    assert!(
        status.running
            && status.last == Some(at("12:00:00"))
            && status.next == Some(at("13:00:00"))
    );
}

#[test]
fn an_entry_that_still_runs_misses_its_tick() {
    let mut board = following("0 * * * * snapshot", 2, at("11:30:00"));
    let key = key(&board, "snapshot");
    board.advance(at("12:00:00"));
    let actions = board.advance(at("13:00:00"));
    assert_eq!(told(&actions), ["missed snapshot 13:00 StillRunning"]);
    assert_eq!(remembered(&actions), [at("13:00:00")], "it is not made up for at the next start");
    assert_eq!(board.statuses()[0].missed, 1);
    assert!(board.finished(&key).is_empty());
    assert_eq!(told(&board.advance(at("14:00:00"))), ["start snapshot 14:00"]);
}

#[test]
fn the_rest_wait_in_the_order_of_their_coming() {
    let text = "0 12 * * * snapshot\n0 12 * * * backup\n0 12 * * * volumes\n59 11 * * * backups\n";
    let mut board = following(text, 2, at("11:30:00"));
    assert_eq!(told(&board.advance(at("11:59:00"))), ["start backups 11:59"]);
    assert_eq!(told(&board.advance(at("12:00:00"))), ["start snapshot 12:00"]);
    let waiting: Vec<_> = board
        .statuses()
        .into_iter()
        .filter(|status| status.waiting)
        .map(|s| s.entry.line)
        .collect();
    assert_eq!(waiting, [2, 3]);
    let (backups, snapshot) = (key(&board, "backups"), key(&board, "snapshot"));
    assert_eq!(told(&board.finished(&snapshot)), ["start backup 12:00"]);
    assert_eq!(told(&board.finished(&backups)), ["start volumes 12:00"]);
}

#[test]
fn jitter_delays_a_start_and_ends_before_the_next_tick() {
    let mut board = following(
        "0 * * * * @jitter=10m snapshot\n* * * * * @jitter=1h volumes",
        2,
        at("11:30:00"),
    );
    board.states.retain(|_, state| state.entry.script == "snapshot");
    assert!(told(&board.advance(at("12:00:00"))).is_empty());
    assert!(board.statuses()[0].waiting);
    assert_eq!(board.wake().map(|wake| wake.max(at("12:05:00"))), Some(at("12:05:00")));
    assert_eq!(told(&board.advance(at("12:05:00"))), ["start snapshot 12:00"]);

    let mut board = following("* * * * * @jitter=1h volumes", 2, at("11:59:30"));
    assert!(told(&board.advance(at("12:00:00"))).is_empty());
    assert_eq!(
        told(&board.advance(at("12:00:15"))),
        ["start volumes 12:00"],
        "a quarter of the minute, not half an hour"
    );
}

#[test]
fn what_was_missed_while_the_program_was_down_is_made_up_for_once() {
    let crontab = crontab(
        "0 * * * * snapshot\n0 3 * * * backup\n0 * * * * @catchup=off volumes\n0 * * * * backups\n",
    );
    let known: BTreeMap<String, Timestamp> = crontab
        .entries
        .iter()
        .filter_map(|entry| match entry.script.as_str() {
            "snapshot" | "volumes" => Some((entry.key.clone(), at("05:00:00"))),
            "backup" => Some((entry.key.clone(), at("03:00:00"))),
            _ => None,
        })
        .collect();
    let mut board = board(10, at("11:30:00"));
    let actions =
        board.follow(&crontab, at("11:30:00"), Some(&|key| known.get(key).copied().map(past)));
    assert_eq!(
        told(&actions),
        ["missed volumes 11:00 Down"],
        "snapshot waits, backup missed nothing, backups is new"
    );
    assert_eq!(remembered(&actions), [at("11:00:00"), at("11:30:00")]);
    assert!(board.advance(at("11:30:00")).is_empty());
    assert_eq!(told(&board.advance(at("11:30:15"))), ["make up snapshot 11:00"]);
    assert_eq!(
        told(&board.advance(at("12:00:00"))),
        ["missed snapshot 12:00 StillRunning", "start volumes 12:00", "start backups 12:00"]
    );
}

#[test]
fn what_was_cut_off_is_made_up_for_once_where_the_entry_catches_up() {
    let crontab = crontab(
        "0 * * * * snapshot\n0 * * * * @catchup=off volumes\n0 * * * * backup\n0 11 * * * backups\n",
    );
    let cut_off = |due, again| Some(EntryRun { due, again });
    let known = |key: &str| {
        let entry = crontab.entries.iter().find(|entry| entry.key == key).unwrap();
        let (due, cut_off) = match entry.script.as_str() {
            "snapshot" | "volumes" => (at("11:00:00"), cut_off(at("11:00:00"), false)),
            "backup" => (at("11:00:00"), cut_off(at("11:00:00"), true)),
            // The tick of 11:00 was missed since: it stands for both.
            _ => (at("10:00:00"), cut_off(at("10:00:00"), true)),
        };
        Some(EntryTimes { due, begun: cut_off })
    };
    let mut board = board(10, at("11:30:00"));
    let actions = board.follow(&crontab, at("11:30:00"), Some(&known));
    assert_eq!(
        told(&actions),
        [
            "give up volumes 11:00 NoCatchUp",
            "give up backup 11:00 Again",
            "give up backups 10:00 Again"
        ]
    );
    assert!(remembered(&actions).is_empty());
    let actions = board.advance(at("11:30:15"));
    assert_eq!(told(&actions), ["make up snapshot 11:00", "make up backups 11:00"]);
    assert!(matches!(&actions[0], Action::Start(_, Due { before: Before::CutOff, .. })));
    assert!(matches!(&actions[1], Action::Start(_, Due { before: Before::Missed, .. })));
}

#[test]
fn a_made_up_run_comes_well_before_the_next_tick() {
    let crontab = crontab("* * * * * snapshot");
    let mut board = board(1, at("11:59:50"));
    board.follow(&crontab, at("11:59:50"), Some(&|_| Some(past(at("11:00:00")))));
    assert_eq!(board.wake(), Some(at("11:59:52.5")));
    assert_eq!(told(&board.advance(at("11:59:53"))), ["make up snapshot 11:59"]);
}

#[test]
fn after_a_sleep_the_last_tick_stands_for_all() {
    let mut board =
        following("0 * * * * snapshot\n0 * * * * @catchup=off volumes", 2, at("11:30:00"));
    let actions = board.advance(at("17:20:00"));
    assert_eq!(told(&actions), ["missed volumes 17:00 Down"]);
    assert_eq!(told(&board.advance(at("17:21:00"))), ["make up snapshot 17:00"]);
    let snapshot = key(&board, "snapshot");
    board.finished(&snapshot);
    assert_eq!(
        told(&board.advance(at("18:00:20"))),
        ["start snapshot 18:00", "start volumes 18:00"]
    );
    let mut board = following("0 * * * * @catchup=off volumes", 2, at("11:30:00"));
    assert_eq!(
        told(&board.advance(at("17:00:20"))),
        ["start volumes 17:00"],
        "it woke just in time"
    );
}

#[test]
fn a_clock_that_is_put_back_repeats_nothing() {
    let mut board = following("0 * * * * snapshot", 2, at("11:30:00"));
    let key = key(&board, "snapshot");
    assert_eq!(told(&board.advance(at("12:00:01"))), ["start snapshot 12:00"]);
    board.finished(&key);
    assert!(board.advance(at("11:00:00")).is_empty(), "an hour back");
    assert!(board.advance(at("12:00:00")).is_empty(), "it has run already");
    assert_eq!(told(&board.advance(at("13:00:00"))), ["start snapshot 13:00"]);
}

#[test]
fn a_clock_that_was_years_ahead_does_not_stop_everything_until_then() {
    let ahead = at("12:30:00") + 24.hours() * 1_500;
    let mut board = following("0 * * * * snapshot", 2, ahead);
    assert_eq!(remembered(&board.advance(at("12:30:00"))), [at("12:30:00")]);
    assert_eq!(told(&board.advance(at("13:00:00"))), ["start snapshot 13:00"]);
    let crontab = crontab("0 * * * * snapshot");
    let mut board = self::board(1, at("12:30:00"));
    board.follow(&crontab, at("12:30:00"), Some(&|_| Some(past(ahead))));
    assert_eq!(board.wake(), Some(at("13:00:00")));
}

#[test]
fn entries_that_stay_keep_what_is_known_of_them() {
    let mut board = following("0 * * * * snapshot\n0 * * * * backup\n", 1, at("11:30:00"));
    let (snapshot, backup) = (key(&board, "snapshot"), key(&board, "backup"));
    assert_eq!(told(&board.advance(at("12:00:00"))), ["start snapshot 12:00"]);
    let actions = board.follow(
        &crontab("# moved\n\n0 * * * * snapshot\n30 * * * * volumes\n"),
        at("12:10:00"),
        None,
    );
    assert_eq!(remembered(&actions), [at("12:10:00")], "the new one has missed nothing");
    let statuses = board.statuses();
    assert_eq!(
        (statuses[0].entry.line, statuses[0].running, statuses[0].entry.key.as_str()),
        (3, true, snapshot.as_str())
    );
    assert!(board.finished(&snapshot).is_empty(), "backup was taken out while it waited");
    assert_eq!(told(&board.advance(at("12:30:00"))), ["start volumes 12:30"]);
    assert!(board.finished(&backup).is_empty());
    board.follow(&crontab("0 * * * * snapshot\n"), at("13:00:00"), None);
    assert!(!told(&board.advance(at("13:00:00"))).iter().any(|told| told.contains("volumes")));
    assert_eq!(board.queue.len(), 1, "a tick of the very moment of the change is not lost");
}

#[test]
fn the_end_starts_nothing_and_drops_what_waits() {
    let mut board = following(
        "0 * * * * snapshot\n0 * * * * backup\n0 * * * * @jitter=1h volumes",
        1,
        at("11:30:00"),
    );
    let snapshot = key(&board, "snapshot");
    board.advance(at("12:00:00"));
    assert_eq!(board.end().len(), 2);
    assert!(board.finished(&snapshot).is_empty());
    assert!(board.advance(at("13:00:00")).is_empty() && board.wake().is_none());
}

#[test]
fn a_tick_among_a_thousand_entries_takes_no_time() {
    let text: String = (0..1_000)
        .map(|n| format!("{} {} * * * backup --volume vol{n}\n", n % 60, n % 24))
        .collect();
    let mut board = following(&text, 1_000, at("00:00:00"));
    let begun = std::time::Instant::now();
    let mut started = 0;
    for minute in 0..24 * 60 {
        for action in board.advance(at("00:00:01") + minute.minutes()) {
            if let Action::Start(entry, _) = action {
                started += 1;
                board.finished(&entry.key);
            }
        }
    }
    assert_eq!(started, 1_000 - text.lines().filter(|line| line.starts_with("0 0 ")).count());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?} for a day", begun.elapsed());
}

#[test]
fn a_paused_entry_is_not_started_until_it_is_resumed_and_nothing_of_that_time_is_made_up_for() {
    let mut board = following("0 * * * * snapshot", 2, at("11:30:00"));
    let key = key(&board, "snapshot");
    assert!(board.pause(&key) && !board.pause("none"));
    assert!(board.statuses()[0].paused && board.statuses()[0].next.is_none());
    assert!(board.advance(at("12:00:00")).is_empty());
    // The same holds after the crontab was read again, and after a start.
    board.follow(&crontab("0 * * * * snapshot"), at("12:10:00"), None);
    assert!(board.advance(at("13:00:00")).is_empty());
    let mut again =
        Board::new(2, at("13:30:00"), Box::new(|longest| longest / 2), board.paused().clone());
    again.follow(
        &crontab("0 * * * * snapshot"),
        at("13:30:00"),
        Some(&|_| Some(past(at("11:00:00")))),
    );
    assert!(told(&again.advance(at("14:00:00"))).is_empty());
    let resumed = again.resume(&key, at("14:30:00")).unwrap();
    assert_eq!(remembered(&resumed), [at("14:30:00")]);
    assert_eq!(told(&again.advance(at("15:00:00"))), ["start snapshot 15:00"]);
    assert!(again.resume("none", at("15:00:00")).is_none());
}

#[test]
fn an_entry_can_be_run_when_it_is_not_due_but_not_twice_at_a_time() {
    let mut board = following("0 * * * * snapshot", 2, at("11:30:00"));
    let key = key(&board, "snapshot");
    let (_, due) = board.run_now(&key, at("11:40:00")).unwrap().unwrap();
    assert_eq!(due, Due { time: at("11:40:00"), before: Before::NotDue });
    assert!(told(&board.advance(at("11:40:00"))).is_empty(), "whoever wanted it starts it");
    let error = board.run_now(&key, at("11:41:00")).unwrap_err();
    assert_eq!(error.kind, crate::error::ErrorKind::Busy, "{error}");
    assert!(board.run_now("none", at("11:41:00")).unwrap().is_none());
    board.finished(&key);
    assert_eq!(
        told(&board.advance(at("12:00:00"))),
        ["start snapshot 12:00"],
        "its own time comes all the same"
    );
    // A paused entry can still be run by hand, at once.
    board.finished(&key);
    board.pause(&key);
    assert!(board.run_now(&key, at("12:10:00")).unwrap().is_some());
    board.finished(&key);
    board.end();
    assert_eq!(
        board.run_now(&key, at("12:11:00")).unwrap_err().kind,
        crate::error::ErrorKind::Cancelled
    );
}

#[test]
fn what_is_wanted_now_waits_for_no_other_entry() {
    let mut board =
        following("40 * * * * snapshot\n41 * * * * backup\n0 0 * * * volumes", 1, at("11:30:00"));
    let (volumes, snapshot) = (key(&board, "volumes"), key(&board, "snapshot"));
    assert_eq!(told(&board.advance(at("11:40:00"))), ["start snapshot 11:40"]);
    assert!(board.run_now(&volumes, at("11:40:30")).unwrap().is_some());
    assert!(told(&board.advance(at("11:41:00"))).is_empty(), "what is due waits for both");
    assert!(told(&board.finished(&volumes)).is_empty());
    assert_eq!(told(&board.finished(&snapshot)), ["start backup 11:41"]);
}
