use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

/// Items named `a`, `b`, .. at these times.
fn items(times: &[&str]) -> Vec<Item> {
    let name = |index: usize| char::from(b'a' + u8::try_from(index).unwrap()).to_string();
    times
        .iter()
        .enumerate()
        .map(|(i, time)| Item { id: name(i), time: time.parse().unwrap(), rank: 0 })
        .collect()
}

fn kept(items: &[Item], policy: &Policy, zone: &TimeZone) -> Vec<Item> {
    let plan = plan(items, policy, zone).unwrap();
    plan.into_iter().filter(|d| d.keep).map(|d| Item { id: d.id, time: d.time, rank: 0 }).collect()
}

/// The ids that are kept, newest first.
fn ids(items: &[Item], policy: &Policy, zone: &TimeZone) -> String {
    kept(items, policy, zone).into_iter().map(|item| item.id).collect()
}

fn days(count: u64) -> Option<Duration> {
    Some(Duration::from_secs(count * 86_400))
}

fn reasons_of(id: &str, items: &[Item], policy: &Policy, zone: &TimeZone) -> String {
    plan(items, policy, zone).unwrap().into_iter().find(|d| d.id == id).unwrap().reasons.join(", ")
}

#[test]
fn each_rule_keeps_the_newest_of_its_periods() {
    let items = items(&[
        "2026-11-23T07:30:00Z", // a, a Monday
        "2026-11-23T07:10:00Z", // b
        "2026-11-23T06:50:00Z", // c
        "2026-11-22T23:59:59Z", // d, Sunday: the week before
        "2026-11-22T01:00:00Z", // e
        "2026-11-16T00:00:00Z", // f, Monday of the week before
        "2026-10-31T12:00:00Z", // g
        "2025-12-31T12:00:00Z", // h
        "2024-12-30T12:00:00Z", // i, lies in the ISO year 2025
    ]);
    let none = Policy::default();
    let table = [
        (Policy { keep_last: Some(3), ..none.clone() }, "abc"),
        (Policy { keep_last: Some(99), ..none.clone() }, "abcdefghi"),
        (Policy { keep_hourly: Some(2), ..none.clone() }, "ac"),
        (Policy { keep_hourly: Some(3), ..none.clone() }, "acd"),
        (Policy { keep_daily: Some(1), ..none.clone() }, "a"),
        (Policy { keep_daily: Some(3), ..none.clone() }, "adf"),
        (Policy { keep_weekly: Some(2), ..none.clone() }, "ad"),
        (Policy { keep_weekly: Some(9), ..none.clone() }, "adghi"),
        (Policy { keep_monthly: Some(2), ..none.clone() }, "ag"),
        (Policy { keep_yearly: Some(9), ..none.clone() }, "ahi"),
        (Policy { keep_within: days(1), ..none.clone() }, "abcd"),
        (Policy { keep_within: Some(Duration::MAX), ..none.clone() }, "abcdefghi"),
        (Policy { keep_daily: Some(2), keep_yearly: Some(2), ..none.clone() }, "adh"),
        (
            Policy {
                keep_daily: Some(0),
                keep_last: Some(1),
                keep_within: days(0),
                ..none.clone()
            },
            "a",
        ),
        (Policy { keep_daily: Some(1), keep_at_least: Some(3), ..none.clone() }, "abc"),
        (Policy { keep_daily: Some(3), keep_at_least: Some(3), ..none.clone() }, "adf"),
        (Policy { keep_yearly: Some(2), keep_at_least: Some(4), ..none.clone() }, "abch"),
        (Policy { keep_last: Some(u32::MAX), keep_at_least: Some(u32::MAX), ..none }, "abcdefghi"),
    ];
    for (policy, expected) in table {
        assert_eq!(ids(&items, &policy, &TimeZone::UTC), expected, "{policy:?}");
    }
}

#[test]
fn a_week_goes_on_over_new_year_and_a_month_comes_back_after_a_year() {
    let items = items(&[
        "2027-01-02T12:00:00Z",
        "2026-12-29T12:00:00Z",
        "2026-01-05T12:00:00Z",
        "2025-12-29T12:00:00Z",
    ]);
    let weekly = Policy { keep_weekly: Some(9), ..Policy::default() };
    assert_eq!(ids(&items, &weekly, &TimeZone::UTC), "acd");
    assert_eq!(
        reasons_of("a", &items, &weekly, &TimeZone::UTC),
        "newest, weekly 1 of 9 (2026-W53)"
    );
    let monthly = Policy { keep_monthly: Some(9), ..Policy::default() };
    assert_eq!(ids(&items, &monthly, &TimeZone::UTC), "abcd");
}

#[test]
fn a_policy_that_keeps_nothing_is_refused() {
    let items = items(&["2026-11-23T07:30:00Z"]);
    let none = Policy::default();
    let zeros =
        Policy { keep_last: Some(0), keep_daily: Some(0), keep_within: days(0), ..none.clone() };
    let floor_alone = Policy { keep_at_least: Some(3), ..none.clone() };
    for (policy, why) in
        [(none, "empty"), (zeros, "zero"), (floor_alone, "\"keep_at_least\" alone")]
    {
        for items in [&items[..], &[]] {
            let error = plan(items, &policy, &TimeZone::UTC).unwrap_err();
            assert!(error.message.contains(why), "{error}");
            assert_eq!(error.exit_code(), 2);
            assert!(error.hint.unwrap().contains("keep_last"));
        }
    }
}

#[test]
fn no_items_need_no_decisions() {
    let policy = Policy {
        keep_daily: Some(7),
        keep_within: days(1),
        keep_at_least: Some(2),
        ..Policy::default()
    };
    assert_eq!(plan(&[], &policy, &TimeZone::UTC).unwrap(), []);
}

#[test]
fn one_id_twice_is_refused_because_it_could_be_kept_and_removed_at_once() {
    let mut twice = items(&["2026-11-23T07:30:00Z", "2026-11-22T07:30:00Z"]);
    twice[1].id = "a".into();
    let policy = Policy { keep_last: Some(1), ..Policy::default() };
    assert!(
        plan(&twice, &policy, &TimeZone::UTC).unwrap_err().message.contains("\"a\" is given twice")
    );
}

#[test]
fn days_without_backups_do_not_age_the_others_out() {
    let items = items(&["2026-11-23T03:00:00Z", "2026-08-01T03:00:00Z", "2025-01-05T03:00:00Z"]);
    let policy = Policy { keep_daily: Some(3), ..Policy::default() };
    assert_eq!(ids(&items, &policy, &TimeZone::UTC), "abc");
    let policy = Policy { keep_within: days(1), ..Policy::default() };
    assert_eq!(
        ids(&items, &policy, &TimeZone::UTC),
        "ab",
        "counted from the newest, however long ago it was, without the latest time without any"
    );
}

#[test]
fn what_lies_exactly_on_the_edge_of_the_duration_is_kept() {
    let items = items(&["2026-11-23T03:00:00Z", "2026-11-22T03:00:00Z", "2026-11-22T02:59:59Z"]);
    let policy = Policy { keep_within: days(1), ..Policy::default() };
    assert_eq!(ids(&items, &policy, &TimeZone::UTC), "ab");
}

#[test]
fn equal_times_are_ordered_by_id_whatever_order_they_come_in() {
    let mut items = items(&["2026-11-23T03:00:00Z"; 3]);
    let policy = Policy { keep_last: Some(2), ..Policy::default() };
    assert_eq!(ids(&items, &policy, &TimeZone::UTC), "cb");
    items.rotate_left(1);
    assert_eq!(ids(&items, &policy, &TimeZone::UTC), "cb");
    let policy = Policy { keep_daily: Some(2), ..Policy::default() };
    assert_eq!(ids(&items, &policy, &TimeZone::UTC), "c");
}

#[test]
fn equal_times_are_ordered_by_rank_before_the_id() {
    let mut items = items(&["2026-11-23T03:00:00Z"; 3]);
    items[0].rank = 1;
    let policy = Policy { keep_last: Some(2), ..Policy::default() };
    assert_eq!(ids(&items, &policy, &TimeZone::UTC), "ac");
}

#[test]
fn a_policy_of_arguments_takes_the_rules_among_them() {
    let arguments = [("keep_daily", 7), ("keep_within", 60), ("keep_last", 0), ("retries", -1)];
    let policy = Policy::of_arguments("thin-out", arguments).unwrap();
    let expected = Policy {
        keep_daily: Some(7),
        keep_last: Some(0),
        keep_within: Some(Duration::from_secs(60)),
        ..Policy::default()
    };
    assert_eq!(policy, expected);
}

#[test]
fn a_policy_of_arguments_needs_a_rule_and_no_negative_one() {
    for (arguments, why) in [
        (vec![], "\"thin-out\" needs to know what to keep"),
        (vec![("keep_daily", 0), ("size", 7)], "\"thin-out\" needs to know what to keep"),
        (vec![("keep_at_least", 3)], "\"thin-out\" needs to know what to keep"),
        (vec![("keep_last", 3), ("keep_daily", -1)], "-1 is not a number of items to keep"),
    ] {
        let error = Policy::of_arguments("thin-out", arguments).unwrap_err();
        assert_eq!((error.message.as_str(), error.exit_code()), (why, 2));
    }
}

#[test]
fn days_are_those_of_the_given_zone() {
    let items = items(&["2026-11-23T22:00:00Z", "2026-11-23T14:00:00Z"]);
    let policy = Policy { keep_daily: Some(5), ..Policy::default() };
    assert_eq!(ids(&items, &policy, &TimeZone::UTC), "a");
    assert_eq!(ids(&items, &policy, &zone("Asia/Tokyo")), "ab");
    assert_eq!(ids(&items, &policy, &zone("America/Los_Angeles")), "a");
}

#[test]
fn the_hour_that_occurs_twice_is_two_hours_and_says_which() {
    let new_york = zone("America/New_York");
    // 01:30 EST, 01:10 EST, 01:50 EDT, 00:50 EDT.
    let items = items(&[
        "2026-11-01T06:30:00Z",
        "2026-11-01T06:10:00Z",
        "2026-11-01T05:50:00Z",
        "2026-11-01T04:50:00Z",
    ]);
    let policy = Policy { keep_hourly: Some(9), ..Policy::default() };
    assert_eq!(ids(&items, &policy, &new_york), "acd");
    assert_eq!(
        reasons_of("a", &items, &policy, &new_york),
        "newest, hourly 1 of 9 (2026-11-01 01:00 -05)"
    );
    assert_eq!(reasons_of("c", &items, &policy, &new_york), "hourly 2 of 9 (2026-11-01 01:00 -04)");
    assert_eq!(reasons_of("d", &items, &policy, &new_york), "hourly 3 of 9 (2026-11-01 00:00)");
}

#[test]
fn the_hour_that_is_left_out_costs_nothing() {
    let berlin = zone("Europe/Berlin");
    // 03:05 CEST, 01:55 CET: ten minutes apart, two hours.
    let items = items(&["2026-03-29T01:05:00Z", "2026-03-29T00:55:00Z"]);
    let policy = Policy { keep_hourly: Some(2), ..Policy::default() };
    assert_eq!(ids(&items, &policy, &berlin), "ab");
    let policy = Policy { keep_daily: Some(2), ..Policy::default() };
    assert_eq!(ids(&items, &policy, &berlin), "a");
}

#[test]
fn a_day_that_is_interrupted_by_the_day_before_is_one_day() {
    // In Newfoundland, until 2011, clocks went from 00:01 back to 23:01: 7 November began twice in
    // 2010.
    let st_johns = zone("America/St_Johns");
    let items = items(&[
        "2010-11-07T12:00:00Z", // a, the 7th
        "2010-11-07T03:00:00Z", // b, the 6th again, 23:30
        "2010-11-07T02:30:30Z", // c, the 7th, 00:00:30
        "2010-11-07T02:00:00Z", // d, the 6th, 23:30
        "2010-11-05T12:00:00Z", // e
    ]);
    let policy = Policy { keep_daily: Some(3), ..Policy::default() };
    assert_eq!(ids(&items, &policy, &st_johns), "abe");
}

#[test]
fn the_ends_of_time_are_times_too() {
    let item = |id: &str, time| Item { id: id.into(), time, rank: 0 };
    let items = [
        item("max", Timestamp::MAX),
        item("zero", Timestamp::UNIX_EPOCH),
        item("min", Timestamp::MIN),
    ];
    let policy = Policy {
        keep_hourly: Some(9),
        keep_daily: Some(9),
        keep_weekly: Some(9),
        keep_monthly: Some(9),
        keep_yearly: Some(9),
        keep_within: days(1),
        ..Policy::default()
    };
    for zone in [TimeZone::UTC, zone("Pacific/Kiritimati"), zone("Pacific/Pago_Pago")] {
        assert_eq!(kept(&items, &policy, &zone).len(), 3);
    }
}

#[test]
fn reasons_say_which_rule_or_what_stands_in_place() {
    let items = items(&[
        "2026-11-23T07:30:00Z",
        "2026-11-23T06:00:00Z",
        "2026-11-22T23:00:00Z",
        "2026-11-21T23:00:00Z",
        "2026-10-02T23:00:00Z",
    ]);
    let policy = Policy {
        keep_daily: Some(2),
        keep_weekly: Some(2),
        keep_within: days(0),
        ..Policy::default()
    };
    let reason = |id| reasons_of(id, &items, &policy, &TimeZone::UTC);
    assert_eq!(reason("a"), "newest, daily 1 of 2 (2026-11-23), weekly 1 of 2 (2026-W48)");
    assert_eq!(
        reason("b"),
        "not kept by any rule: the one of 2026-11-23 07:30:00 stands for its day"
    );
    assert_eq!(reason("c"), "daily 2 of 2 (2026-11-22), weekly 2 of 2 (2026-W47)");
    assert_eq!(
        reason("d"),
        "not kept by any rule: the one of 2026-11-22 23:00:00 stands for its week"
    );
    assert_eq!(reason("e"), "not kept by any rule: 2 newer ones are kept");
    let policy = Policy {
        keep_last: Some(1),
        keep_monthly: Some(2),
        keep_yearly: Some(1),
        ..Policy::default()
    };
    assert_eq!(
        reasons_of("a", &items, &policy, &TimeZone::UTC),
        "newest, last 1 of 1, monthly 1 of 2 (2026-11), yearly 1 of 1 (2026)"
    );
    let policy = Policy { keep_within: days(1), keep_at_least: Some(4), ..Policy::default() };
    assert_eq!(reasons_of("a", &items, &policy, &TimeZone::UTC), "newest, within 1d of the newest");
    assert_eq!(reasons_of("d", &items, &policy, &TimeZone::UTC), "at least 4");
}

#[test]
fn ten_thousand_items_are_planned_in_a_moment() {
    let items: Vec<Item> = (0..10_000)
        .map(|i| Item {
            id: format!("{i:05}"),
            time: Timestamp::from_second(1_700_000_000 + i * 1_800).unwrap(),
            rank: 0,
        })
        .collect();
    let policy = Policy {
        keep_last: Some(5),
        keep_hourly: Some(24),
        keep_daily: Some(7),
        keep_weekly: Some(5),
        keep_monthly: Some(12),
        keep_yearly: Some(10),
        keep_within: days(3),
        keep_at_least: Some(3),
    };
    let begin = std::time::Instant::now();
    let plan = plan(&items, &policy, &zone("Europe/Berlin")).unwrap();
    assert_eq!(plan.len(), 10_000);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

/// A small random number generator (xorshift) that gives the same numbers in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn chance(&mut self) -> bool {
        self.below(2) == 0
    }

    fn count(&mut self) -> Option<u32> {
        self.chance().then(|| u32::try_from(self.below(6)).unwrap())
    }

    fn policy(&mut self) -> Policy {
        loop {
            let policy = Policy {
                keep_last: self.count(),
                keep_hourly: self.count(),
                keep_daily: self.count(),
                keep_weekly: self.count(),
                keep_monthly: self.count(),
                keep_yearly: self.count(),
                keep_within: self.chance().then(|| Duration::from_secs(self.below(40 * 86_400))),
                keep_at_least: self.count(),
            };
            if policy.check().is_ok() {
                return policy;
            }
        }
    }

    /// Up to 60 items in random order, with bursts, gaps, equal times and changes of the clock.
    fn items(&mut self) -> Vec<Item> {
        let mut time = 1_288_000_000 + i64::try_from(self.below(40 * 86_400)).unwrap();
        let mut items = Vec::new();
        for index in 0..self.below(60) {
            let step =
                [1, 600, 3_600, 86_400, 40 * 86_400][usize::try_from(self.below(5)).unwrap()];
            time += i64::try_from(self.below(step)).unwrap();
            items.push(Item {
                id: format!("{index}"),
                time: Timestamp::from_second(time).unwrap(),
                rank: 0,
            });
        }
        for index in (1..items.len()).rev() {
            let other = usize::try_from(self.below(index as u64 + 1)).unwrap();
            items.swap(index, other);
        }
        items
    }
}

/// Checks many policies over many lists, in time zones with all sorts of clock changes.
fn for_many(mut check: impl FnMut(&mut Numbers, &[Item], &Policy, &TimeZone)) {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let zones = ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"]
        .map(zone);
    for round in 0..2_000 {
        let (items, policy) = (numbers.items(), numbers.policy());
        check(&mut numbers, &items, &policy, &zones[round % zones.len()]);
    }
}

#[test]
fn a_clock_that_jumped_ahead_and_a_host_that_was_off_remove_nothing_at_one_stroke() {
    let at = |id: String, time: &str| Item { id, time: time.parse().unwrap(), rank: 0 };
    let mut items: Vec<Item> =
        (1..=28).map(|day| at(format!("{day}"), &format!("2026-11-{day:02}T03:00:00Z"))).collect();
    let policy = Policy { keep_within: days(20), ..Policy::default() };
    assert_eq!(kept(&items, &policy, &TimeZone::UTC).len(), 21);
    items.push(at("ahead".into(), "2028-01-02T03:00:00Z"));
    assert_eq!(kept(&items, &policy, &TimeZone::UTC).len(), 22);
    let reason = "within 20d of the newest, not counting 400d without any";
    assert_eq!(reasons_of("28", &items, &policy, &TimeZone::UTC), reason);
    // The time that has passed since then ages the older ones as usual.
    for day in 3..=12 {
        items.push(at(format!("new {day}"), &format!("2028-01-{day:02}T03:00:00Z")));
    }
    let ids = |items: &[Item]| -> Vec<String> {
        kept(items, &policy, &TimeZone::UTC).into_iter().map(|item| item.id).collect()
    };
    assert!(ids(&items).contains(&"19".to_owned()) && !ids(&items).contains(&"18".to_owned()));
    for day in 13..=23 {
        items.push(at(format!("new {day}"), &format!("2028-01-{day:02}T03:00:00Z")));
    }
    assert!(ids(&items).iter().all(|id| id.starts_with("new")), "{:?}", ids(&items));
}

#[test]
fn what_other_rules_kept_long_ago_is_not_kept_for_a_time_without_any() {
    let month = |month: i32| Item {
        id: format!("month {month}"),
        time: format!("2026-{month:02}-28T03:00:00Z").parse().unwrap(),
        rank: 0,
    };
    let days_of_november = (1..=28).map(|day| Item {
        id: format!("{day}"),
        time: format!("2026-11-{day:02}T03:00:00Z").parse().unwrap(),
        rank: 0,
    });
    let items: Vec<Item> = (1..=10).map(month).chain(days_of_november.skip(20)).collect();
    let policy = Policy { keep_within: days(7), ..Policy::default() };
    assert_eq!(kept(&items, &policy, &TimeZone::UTC).len(), 8);
}

#[test]
fn each_item_gets_one_decision_with_a_reason_newest_first() {
    for_many(|_, items, policy, zone| {
        let plan = plan(items, policy, zone).unwrap();
        let mut expected = items.to_vec();
        expected.sort_by(|a, b| (b.time, &b.id).cmp(&(a.time, &a.id)));
        let planned: Vec<_> =
            plan.iter().map(|d| Item { id: d.id.clone(), time: d.time, rank: 0 }).collect();
        assert_eq!(planned, expected);
        assert!(plan.iter().all(|decision| !decision.reasons.is_empty()));
    });
}

#[test]
fn the_newest_and_as_many_as_promised_are_always_kept() {
    for_many(|_, items, policy, zone| {
        let plan = plan(items, policy, zone).unwrap();
        assert!(plan.first().is_none_or(|newest| newest.keep), "{policy:?}");
        let promised =
            [policy.keep_last, policy.keep_at_least, Some(1)].into_iter().flatten().max().unwrap()
                as usize;
        assert!(plan.iter().filter(|d| d.keep).count() >= promised.min(items.len()), "{policy:?}");
    });
}

#[test]
fn planning_over_what_is_kept_keeps_it() {
    for_many(|_, items, policy, zone| {
        let once = kept(items, policy, zone);
        assert_eq!(kept(&once, policy, zone), once, "{policy:?}");
    });
}

#[test]
fn the_order_of_the_input_does_not_matter() {
    for_many(|_, items, policy, zone| {
        let mut turned = items.to_vec();
        turned.reverse();
        assert_eq!(plan(items, policy, zone).unwrap(), plan(&turned, policy, zone).unwrap());
    });
}

#[test]
fn what_was_removed_would_never_have_been_wanted_again() {
    for_many(|numbers, items, policy, zone| {
        // The minimum counts items, not periods. A new month can remove two old items from the kept
        // ones, and the minimum then fills up from the rest.
        let policy = Policy { keep_at_least: None, ..policy.clone() };
        let newest = items.iter().map(|item| item.time.as_second()).max().unwrap_or(0);
        let later = newest + 1 + i64::try_from(numbers.below(60 * 86_400)).unwrap();
        let mut more = items.to_vec();
        more.push(Item {
            id: "newer".into(),
            time: Timestamp::from_second(later).unwrap(),
            rank: 0,
        });
        let before = kept(items, &policy, zone);
        for item in kept(&more, &policy, zone).iter().filter(|item| item.id != "newer") {
            assert!(before.contains(item), "{policy:?}: {item:?}");
        }
    });
}

#[test]
fn a_more_generous_rule_never_keeps_less() {
    for_many(|_, items, policy, zone| {
        let strict = Policy { keep_at_least: None, ..policy.clone() };
        let generous = Policy {
            keep_daily: Some(strict.keep_daily.unwrap_or(0) + 1),
            keep_within: Some(strict.keep_within.unwrap_or_default() + Duration::from_secs(3_600)),
            ..strict.clone()
        };
        let wide = kept(items, &generous, zone);
        assert!(kept(items, &strict, zone).iter().all(|item| wide.contains(item)), "{policy:?}");
    });
}
