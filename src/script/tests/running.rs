//! What a run gives to its script, and how the run ends.

use std::sync::Arc;

use serde_json::json;

use crate::{
    convoy::memory::Fault,
    error::{Error, ErrorKind},
    run_words::RunStatus,
    script::{
        Listener, Outcome, run,
        testing::{Heard, given, memory, run_text, script, value},
    },
};

#[test]
fn main_gets_its_arguments_and_its_result_is_the_runs() {
    let script = script(
        "const PARAMETERS = #{ keep: #{ type: \"duration\" }, size: #{ type: \"size\", default: \"1k\" }, volume: #{ type: \"volume\" } };
         fn main(args) { [args.keep + 1, args.size, args.volume == (), args] }",
    )
    .unwrap();
    let outcome =
        run(&script, &given(&script, "--keep 1m").unwrap(), Arc::new(memory(&[]).1)).unwrap();
    assert_eq!(outcome.result, json!([61, 1024, true, {"keep": 60, "size": 1024, "volume": null}]));
    assert_eq!(outcome.status(), RunStatus::Done);
}

#[test]
fn a_run_knows_itself_and_the_configuration() {
    let result = value(
        "[run::id(), run::trigger(), run::dry_run(), config::get(\"delete_old_snapshots\"), config::destination()]",
    );
    assert_eq!(result.unwrap(), json!(["run-1", "cli", false, true, "vfs:///backups"]));
}

#[test]
fn times_are_seconds() {
    let result = value(
        "[time::now(), time::parse(\"Mon Nov 23 06:19:31 +0000 2026\"), time::age(\"2026-01-01T00:00:00Z\"),
          time::format(0), time::format(\"2026-01-01T00:00:00Z\", \"%d.%m.%Y\")]",
    );
    assert_eq!(
        result.unwrap(),
        json!([1767312000, 1795414771, 86400, "1970-01-01T00:00:00+00:00", "01.01.2026"])
    );
    assert!(
        value("time::parse(\"yesterday\")")
            .unwrap_err()
            .message
            .contains("\"yesterday\" is no time")
    );
    assert!(value("time::format(0, \"%!\")").is_err());
}

#[test]
fn values_have_the_daemons_names_and_lists_are_sorted() {
    let (_, host) = memory(&["vol2", "vol1"]);
    let outcome = run_text(
        host,
        "fn main() {
            let first = convoy::create_snapshot(\"vol1\");
            let second = convoy::create_snapshot(\"vol1\");
            convoy::create_backup(first.Name);
            convoy::create_backup(second.Name);
            let newest_first = convoy::backups(\"vol1\");
            [convoy::volumes().map(|v| v.Name), convoy::snapshots(\"vol1\")[0].Name == second.Name,
             newest_first[0].SnapshotName == second.Name, convoy::backups().len(), convoy::backups(\"vol2\")]
        }",
    );
    assert_eq!(outcome.unwrap().result, json!([["vol1", "vol2"], true, true, 2, []]));
}

#[test]
fn without_a_destination_nothing_is_backed_up() {
    let (daemon, mut host) = memory(&["vol1"]);
    Arc::make_mut(&mut host.settings).destination = None;
    let error = run_text(
        host,
        "fn main() { convoy::create_backup(convoy::create_snapshot(\"vol1\").Name) }",
    )
    .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Configuration);
    assert!(error.hint.unwrap().contains("BKUP_BACKUP_URL"));
    assert!(daemon.backup_names().is_empty());
}

#[test]
fn parallel_keeps_the_order_and_throws_the_first_failure() {
    assert_eq!(value("parallel([3, 1, 2], 2, |x| x * 10)").unwrap(), json!([30, 10, 20]));
    assert_eq!(value("parallel([], 8, |x| x)").unwrap(), json!([]));
    let error =
        value("parallel([1, 2, 3], 1, |x| if x == 2 { throw `no ${x}` } else { x })").unwrap_err();
    assert_eq!(error.message, "no 2");
    assert!(value("parallel([1], 0, |x| x)").unwrap_err().message.contains("1 is the least"));
    let caught = value(
        "parallel([1, 2], 2, |x| { try { if x == 1 { throw x; } return x; } catch (e) { return -e; } })",
    );
    assert_eq!(caught.unwrap(), json!([-1, 2]));
}

#[test]
fn after_a_failure_parallel_begins_no_further_item() {
    let (daemon, host) = memory(&["vol1", "vol2"]);
    daemon.fault("create_snapshot", Fault::Fails(Error::new(ErrorKind::Daemon, "no")));
    run_text(
        host,
        "fn main() { parallel([\"vol1\", \"vol2\"], 1, |v| convoy::create_snapshot(v)) }",
    )
    .unwrap_err();
    assert_eq!(daemon.writes().len(), 1);
}

#[test]
fn a_dry_run_tells_nobody() {
    let heard = Arc::new(Heard::default());
    let (_, mut host) = memory(&[]);
    host.listener = Arc::clone(&heard) as Arc<dyn Listener>;
    host.run.dry_run = true;
    run_text(host, "fn main() { notify::problem(\"a\", \"b\"); notify::info(\"c\", \"d\"); }")
        .unwrap();
    assert_eq!(
        *heard.lines.lock().unwrap(),
        ["INFO: would tell people: a: b", "INFO: would tell people: c: d"]
    );
}

#[test]
fn recorded_failures_make_a_run_partial_or_failed() {
    let heard = Arc::new(Heard::default());
    let (_, mut host) = memory(&["vol1"]);
    host.listener = Arc::clone(&heard) as Arc<dyn Listener>;
    let outcome = run_text(
        host,
        "fn main() { run::progress(\"p\"); run::failed(\"vol1\", \"bad\"); run::failed(\"vol2\", #{ code: \"guard\", message: \"no\" }); [1] }",
    )
    .unwrap();
    let failures: Vec<_> = outcome
        .failures
        .iter()
        .map(|f| (f.volume.as_str(), f.code.as_str(), f.message.as_str()))
        .collect();
    assert_eq!(failures, [("vol1", "script", "bad"), ("vol2", "guard", "no")]);
    assert_eq!(
        *heard.lines.lock().unwrap(),
        ["progress: p", "ERROR: \"vol1\": bad", "ERROR: \"vol2\": no"]
    );
    assert_eq!(outcome.status(), RunStatus::Partial);
    let with = |result| Outcome { result, failures: outcome.failures.clone() }.status();
    assert_eq!(with(json!([{"VolumeName": "vol1", "Error": "bad"}])), RunStatus::Failed);
    assert_eq!(
        with(json!([{"VolumeName": "vol1", "Error": "bad"}, {"URL": "x"}])),
        RunStatus::Partial
    );
}

#[test]
fn an_item_without_a_time_is_kept() {
    let plan = value(
        "retention::plan([#{ id: \"a\", time: 5 }, #{ id: \"b\", time: \"\" }, #{ id: \"c\", time: 9 }], #{ keep_last: 1 }).map(|d| [d.id, d.keep])",
    );
    assert_eq!(plan.unwrap(), json!([["c", true], ["a", false], ["b", true]]));
    assert!(
        value("retention::plan([#{ id: \"a\", time: 5 }], #{ keep_last: -1 })")
            .unwrap_err()
            .message
            .contains("0 or more")
    );
}

#[test]
fn where_a_clock_was_wrong_the_newest_by_its_name_is_kept() {
    let items = [
        ("a", "Thu Jan 01 00:00:00 +0000 2026", "vol1-20360101T000000.000000Z"),
        ("b", "Thu Jan 01 01:00:00 +0000 2026", "vol1-20360101T000000.000001Z"),
        ("c", "Thu Jan 01 02:00:00 +0000 2026", "vol1-20260101T020000.000000Z"),
    ];
    let items = items.map(|(id, time, name)| {
        format!("#{{ id: \"{id}\", CreatedTime: \"{time}\", SnapshotName: \"{name}\" }}")
    });
    let plan = value(&format!(
        "retention::plan([{}], #{{ keep_last: 1 }}).map(|d| [d.id, d.keep])",
        items.join(", ")
    ));
    assert_eq!(plan.unwrap(), json!([["c", true], ["b", true], ["a", false]]));
}

#[test]
fn a_thousand_volumes_cost_a_script_little() {
    let names: Vec<String> = (0..1000).map(|n| format!("vol{n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (_, host) = memory(&names);
    let begun = std::time::Instant::now();
    let outcome = crate::script::testing::run_default(host, "snapshot", "").unwrap();
    assert_eq!(outcome.result.as_array().unwrap().len(), 1000);
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
