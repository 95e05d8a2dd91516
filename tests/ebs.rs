//! The program beside Convoy's EBS driver, whose answers were recorded from the real one.

use serde_json::Value;

use crate::support::{
    faulty::{Answer, Faulty},
    site::Site,
    transcripts::{self, Exchange},
};

/// Convoy as it was when two backups of `vol1` and one of `vol2` were there. Deletions succeed, and
/// the snapshot of the older backup is what it was after its deletion.
fn convoy(site: &Site) -> Faulty {
    let recorded = recorded_lately(transcripts::ebs_exchanges());
    let find = |name: &str| -> &Exchange { recorded.iter().find(|it| it.name == name).unwrap() };
    let answer = |exchange: &Exchange| {
        Answer::Text(exchange.response.status, exchange.response.body.clone())
    };
    let mut daemon = Faulty::start_at(&site.path("convoy.sock"));
    for name in [
        "info",
        "list volumes",
        "list volumes by driver",
        "inspect a volume",
        "list the backups of a volume",
        "inspect a backup",
        "inspect the newer backup",
        "inspect the backup of the other volume",
        "delete a backup",
        "inspect a snapshot whose backup was deleted",
        "delete a snapshot whose backup was deleted",
        "delete a backup that is gone",
        "list all backups",
        "inspect a snapshot that is pending",
        "back up the newer snapshot",
    ] {
        let Exchange { request, .. } = find(name);
        let route = format!("{} {}", request.method, request.path);
        daemon = match &request.body {
            Some(body) => daemon.answer_to(&route, &body.to_string(), answer(find(name))),
            None => daemon.answer(&route, answer(find(name))),
        };
    }
    daemon
}

/// The answers, with their times moved so that the newest of them was an hour ago: what is recent goes by
/// the clock.
fn recorded_lately(exchanges: Vec<Exchange>) -> Vec<Exchange> {
    const FORM: &str = "%a %b %d %H:%M:%S %z %Y";
    const LENGTH: usize = "Mon Nov 23 07:00:48 +0000 2026".len();
    let time = |text: &str, at: usize| {
        let text = text.get(at..at + LENGTH)?;
        Some(jiff::Zoned::strptime(FORM, text).ok()?.timestamp())
    };
    let times = |text: &str| {
        let starts = text.match_indices('"').map(|(at, _)| at + 1);
        starts.filter_map(|at| Some((at, time(text, at)?))).collect::<Vec<_>>()
    };
    let all = exchanges.iter().flat_map(|exchange| times(&exchange.response.body));
    let newest = all.map(|(_, time)| time).max().unwrap();
    let moved = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1) - newest;
    let moved = jiff::SignedDuration::from_secs(moved.total(jiff::Unit::Second).unwrap() as i64);
    let with_moved = |mut exchange: Exchange| {
        for (at, time) in times(&exchange.response.body) {
            let later = (time + moved).to_zoned(jiff::tz::TimeZone::UTC);
            let later = later.strftime(FORM).to_string();
            exchange.response.body.replace_range(at..at + LENGTH, &later);
        }
        exchange
    };
    exchanges.into_iter().map(with_moved).collect()
}

/// A site at EBS, beside this daemon.
fn at_ebs(site: Site) -> Site {
    let socket = format!("unix://{}", site.path("convoy.sock").display());
    site.with("BKUP_CONVOY", socket).with("BKUP_BACKUP_URL", "ebs://us-east-1/")
}

/// The recorded URLs of the backups of `vol1`, the newer first.
fn recorded_urls() -> [String; 2] {
    let recorded = transcripts::ebs_exchanges();
    ["inspect the newer backup", "inspect a backup"].map(|name| {
        let exchange = recorded.iter().find(|exchange| exchange.name == name).unwrap();
        exchange.request.body.as_ref().unwrap()["URL"].as_str().unwrap().to_owned()
    })
}

fn texts<'a>(items: &'a Value, field: &str) -> Vec<&'a str> {
    items.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap()).collect()
}

#[test]
fn convoys_backups_at_ebs_are_listed_once_each_with_their_times_and_states() {
    let site = at_ebs(Site::bare());
    let _convoy = convoy(&site);
    let listed = site.run("backups --volume vol1 --json").json();
    assert_eq!(texts(&listed, "BackupURL"), recorded_urls());
    assert_eq!(texts(&listed, "State"), ["completed", "completed"]);
    assert!(texts(&listed, "CreatedTime").iter().all(|time| time.len() == 30));
    let all = site.run("backups --json").json();
    assert_eq!(texts(&all, "VolumeName"), ["vol2", "vol1", "vol1"]);
}

#[test]
fn prune_at_ebs_deletes_the_older_backup_and_convoys_note_of_it() {
    let site = at_ebs(Site::bare());
    let convoy = convoy(&site);
    // From now on, the newer one is known to be this host's own.
    site.run("backup --volume vol1").ok();
    let pruned = site.run("prune --volume vol1 --keep-last 1 --json").ok().json();
    let [newer, older] = recorded_urls();
    assert_eq!(texts(&pruned, "BackupURL"), [newer, older.clone()]);
    assert_eq!((&pruned[0]["Keep"], &pruned[1]["Deleted"]), (&true.into(), &true.into()));
    let deletions: Vec<_> =
        convoy.requests().into_iter().filter(|request| request.method == "DELETE").collect();
    assert_eq!(deletions.len(), 2, "{deletions:?}");
    assert_eq!(deletions[0].body, format!(r#"{{"URL":"{older}"}}"#));
    assert_eq!(deletions[1].path, "/v1/snapshots/");
}
