//! The HTTP API of a real `serve`: scripts, runs, the schedule, events, who may what, and how it
//! ends.

use std::{
    fs,
    io::Write,
    net::Shutdown,
    process::{Command, Stdio},
    thread,
};

use serde_json::{Value, json};

use crate::support::{
    faulty::{Answer as Answered, Faulty},
    http::{Answer, FULL, READ, Server},
    site::Site,
};

/// A crontab that starts nothing while a test runs.
const YEARLY: &str = "0 0 1 1 *  backup --create-snapshot\n30 4 1 1 *  volumes\n";
/// Goes on until there is a volume of this name.
/// Asks the driver: a list of volumes that is empty while the first one is made would be an error.
const WAITS: &str = "const PARAMETERS = #{ volume: #{ type: \"string\", default: \"go\", help: \"any\" } };\n\
    fn main(args) { log::info(\"it waits\"); \
    while !(args.volume in convoy::driver_volumes()) { sleep(0.02); } \"gone on\" }";
/// Gives its number back.
const MARK: &str = "const PARAMETERS = #{ number: #{ type: \"int\", help: \"any\" } };\nfn main(args) { args.number }";

/// A site with a crontab and these scripts.
fn site_with(scripts: &[(&str, &str)]) -> Site {
    let site = Site::builtin();
    fs::write(site.path("crontab"), YEARLY).unwrap();
    for (name, source) in scripts {
        fs::write(site.path("scripts").join(format!("{name}.rhai")), source).unwrap();
    }
    let (crontab, scripts) =
        (site.path("crontab").display().to_string(), site.path("scripts").display().to_string());
    site.with("BKUP_CRONTAB", crontab).with("BKUP_SCRIPTS_DIR", scripts)
}

fn site() -> Site {
    site_with(&[])
}

/// What is in it, but not which texts and numbers, nor how many times.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let is_by_name = members.values().all(Value::is_object);
            let named = members.iter().map(|(name, value)| {
                (if is_by_name { "NAME".to_owned() } else { name.clone() }, shape(value))
            });
            Value::Object(named.collect())
        }
        Value::Array(values) => {
            let mut shapes: Vec<Value> = values.iter().map(shape).collect();
            shapes.dedup();
            shapes.into()
        }
        Value::String(_) => "text".into(),
        Value::Number(_) => 0.into(),
        other => other.clone(),
    }
}

/// A form of these arguments.
fn form(arguments: &Value) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in arguments.as_object().unwrap() {
        form.append_pair(name, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    form.finish()
}

/// The words of these arguments on a command line.
fn words(arguments: &Value) -> Vec<String> {
    let of = |(name, value): (&String, &Value)| match value {
        Value::Bool(_) => vec![format!("--{name}")],
        value => vec![
            format!("--{name}"),
            value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        ],
    };
    arguments.as_object().unwrap().iter().flat_map(of).collect()
}

#[test]
fn every_script_gives_over_http_as_json_and_as_a_form_what_the_command_line_gives() {
    let site = site();
    let Server { client, .. } = &Server::start(&site);
    let url = |volume: &str| {
        client.json("/api/backups", &json!({ "volume": volume })).json()[0]["BackupURL"].clone()
    };
    type Arguments<'a> = &'a dyn Fn(&str) -> Value;
    let steps: &[(&str, Arguments<'_>)] = &[
        ("create", &|volume| json!({ "volume": volume, "size": "1G" })),
        ("snapshot", &|volume| json!({ "volume": volume })),
        ("backup", &|volume| json!({ "volume": volume, "create-snapshot": true })),
        ("backup", &|volume| json!({ "volume": volume })),
        ("backups", &|volume| json!({ "volume": volume })),
        ("backups", &|_| json!({})),
        ("volumes", &|_| json!({})),
        (
            "restore",
            &|volume| json!({ "volume": format!("{volume}-new"), "backupurl": url(volume) }),
        ),
        ("prune", &|volume| json!({ "volume": volume, "keep-last": 1 })),
        ("remove", &|volume| json!({ "volume": volume, "all": true })),
    ];
    for (script, arguments) in steps {
        let path = format!("/api/{script}");
        let by_json = client.json(&path, &arguments("vol1")).is(200);
        assert_eq!(by_json.header("content-type"), "application/json");
        assert_eq!(by_json.header("location"), format!("/api/runs/{}", by_json.header("run-id")));
        let by_form = client.form(&path, &form(&arguments("vol2"))).is(200);
        let mut line = vec![(*script).to_owned(), "--json".to_owned()];
        line.extend(words(&arguments("vol3")));
        let by_words = site.run_words(&line.iter().map(String::as_str).collect::<Vec<_>>()).json();
        for answer in [&by_json, &by_form] {
            assert_eq!(
                shape(&answer.json()),
                shape(&by_words),
                "{script}: {} {by_words}",
                answer.body
            );
        }
        let run = client.get(by_form.header("location")).is(200).json();
        assert_eq!((&run["result"], &run["trigger"]), (&by_form.json(), &json!("http")), "{run}");
        if arguments("same") == json!({}) {
            assert_eq!((by_json.json(), by_form.json()), (by_words.clone(), by_words), "{script}");
        }
    }
    let left = client.post("/api/volumes").is(200).json();
    assert_eq!(left.as_array().unwrap().len(), 3, "the restored ones: {left}");
}

#[test]
fn the_names_of_arguments_are_one_in_any_spelling() {
    let site = site();
    site.create("vol1", &[("file", "content")]);
    let Server { client, .. } = &Server::start(&site);
    let spellings = [
        "create_snapshot",
        "createSnapshot",
        "create-snapshot",
        "CREATE_SNAPSHOT",
        "CreateSnapshot",
    ];
    for (number, spelling) in spellings.iter().enumerate() {
        let answer = match number % 2 {
            0 => client.json("/api/backup", &json!({ "Volume": "vol1", *spelling: true })),
            _ => client.form("/api/backup", &format!("volume=vol1&{spelling}=true")),
        };
        answer.is(200);
        assert_eq!(site.backups("vol1").len(), number + 1, "{spelling}: a snapshot is taken");
    }
    let twice = json!({ "createSnapshot": true, "create-snapshot": true });
    client.json("/api/backup", &twice).problem(400, "usage", &["create-snapshot", "twice"]);
    client.form("/api/backup", "createSnapshot=1&create_snapshot=1").problem(
        400,
        "usage",
        &["twice"],
    );
}

#[test]
fn a_dry_run_answers_with_its_plan_and_changes_nothing() {
    let site = site();
    site.create("vol1", &[("file", "content")]);
    site.run("backup --volume vol1").ok();
    let Server { client, .. } = &Server::start(&site);
    let before = (site.snapshots("vol1"), site.backups("vol1"));
    for query in ["?dry_run=true", "?dry_run", "?dry_run=1"] {
        let answer = client
            .json(&format!("/api/remove{query}"), &json!({ "volume": "vol1", "all": true }))
            .is(200);
        let told = answer.json();
        assert_eq!(told["dry_run"], true);
        let steps = told["plan"].as_array().unwrap();
        assert!(!steps.is_empty() && steps.iter().all(|step| step["text"].is_string()), "{told}");
        let run = client.get(answer.header("location")).is(200).json();
        assert_eq!((&run["dry_run"], &run["plan"]), (&json!(true), &told["plan"]));
    }
    assert_eq!((site.snapshots("vol1"), site.backups("vol1")), before);
    client.json("/api/remove?dry_run=maybe", &json!({ "volume": "vol1" })).problem(
        400,
        "usage",
        &["maybe", "dry_run"],
    );
    client.json("/api/remove?dryrun=true", &json!({ "volume": "vol1" })).problem(
        400,
        "usage",
        &["did you mean"],
    );
    assert_eq!(
        (site.snapshots("vol1"), site.backups("vol1")),
        before,
        "what is not understood is not done"
    );
}

#[test]
fn a_run_that_nobody_waits_for_is_found_where_the_answer_says() {
    let site = site_with(&[("waits", WAITS)]);
    let server = Server::start(&site);
    let client = &server.client;
    for (preference, path) in [
        ("respond-async", "/api/backup"),
        ("wait=5, Respond-Async; foo=bar", "/api/volumes"),
        ("respond-async", "/api/backup?dry_run=true"),
    ] {
        let answer = client.ask("POST", path, &[("Prefer", preference)], "").is(202);
        let id = answer.json()["run"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("location"), format!("/api/runs/{id}"));
        assert_eq!(
            (answer.header("run-id"), answer.header("preference-applied")),
            (id.as_str(), "respond-async")
        );
        client.get(answer.header("location")).is(200);
        assert_eq!(server.ended(&id)["status"], "done");
    }
    let id = client.start("/api/waits?timeout=1s", &json!({}));
    assert_eq!(server.ended(&id)["status"], "timed-out");
    client.json("/api/waits?timeout=1s", &json!({})).problem(
        504,
        "deadline_exceeded",
        &["\"run\""],
    );
    client.json("/api/waits?timeout=soon", &json!({})).problem(
        400,
        "usage",
        &["soon", "\"timeout\""],
    );
}

#[test]
fn two_hundred_runs_at_once_are_all_run_in_the_order_of_their_ids() {
    let site = site_with(&[("mark", MARK)]).with("BKUP_MAX_CONCURRENT", "2");
    let server = Server::start(&site);
    let client = &server.client;
    let started = thread::scope(|scope| {
        let start = |thread: u64| {
            let numbers = thread * 25..(thread + 1) * 25;
            scope.spawn(|| {
                numbers
                    .map(|n| (client.start("/api/mark", &json!({ "number": n })), n))
                    .collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..8).map(start).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for (id, number) in &started {
        let run = server.ended(id);
        assert_eq!((&run["status"], &run["result"]), (&json!("done"), &json!(number)), "{run}");
    }
    let listed = client.get("/api/runs?script=mark&limit=500").is(200).json();
    let mut runs = listed["runs"].as_array().unwrap().clone();
    assert_eq!(runs.len(), 200);
    let text = |run: &Value, name: &str| run[name].as_str().unwrap().to_owned();
    let time = |run: &Value, name: &str| text(run, name).parse::<jiff::Timestamp>().unwrap();
    runs.reverse();
    let disordered = runs.windows(2).find(|pair| text(&pair[0], "id") > text(&pair[1], "id"));
    assert!(disordered.is_none(), "the newest is listed first: {disordered:?}");
    for (index, run) in runs.iter().enumerate() {
        let going_on = runs[..index]
            .iter()
            .filter(|earlier| time(earlier, "ended") > time(run, "started"))
            .count();
        assert!(
            going_on < 2,
            "{going_on} runs with lower ids had not ended when this began: {run}"
        );
    }
}

#[test]
fn a_client_that_goes_away_ends_no_run() {
    let site = site_with(&[("waits", WAITS)]);
    let server = Server::start(&site);
    let mut events = server.client.events("", &[]);
    let connection = server.client.send("POST", "/api/waits", &[], "");
    let id = events.until("run-started").data["id"].as_str().unwrap().to_owned();
    connection.shutdown(Shutdown::Both).unwrap();
    drop(connection);
    site.run("create --volume go --size 1G").ok();
    let run = server.ended(&id);
    assert_eq!((&run["status"], &run["result"]), (&json!("done"), &json!("gone on")), "{run}");
}

#[test]
fn a_run_is_ended_by_whoever_deletes_it_and_the_one_who_waits_is_told() {
    let site = site_with(&[("waits", WAITS)]).with("BKUP_MAX_CONCURRENT", "1");
    let server = Server::start(&site);
    let client = &server.client;
    let mut events = client.events("", &[]);
    let waiting = client.send("POST", "/api/waits", &[], "");
    let id = events.until("run-started").data["id"].as_str().unwrap().to_owned();
    let second = client.start("/api/waits", &json!({}));
    assert_eq!(client.get(&format!("/api/runs/{second}")).json()["status"], "waiting");

    for id in [&second, &id] {
        let answer = client.delete(&format!("/api/runs/{id}")).is(202).json();
        assert_eq!(answer, json!({ "id": id, "cancelling": true }));
        let run = server.ended(id);
        assert_eq!(run["status"], "cancelled", "{run}");
        assert!(run["cancel_requested"]["by"].is_string(), "{run}");
        client.delete(&format!("/api/runs/{id}")).problem(409, "busy", &["cancelled", id]);
    }
    Answer::read(waiting).unwrap().problem(409, "cancelled", &[&id]);
}

#[test]
fn a_run_that_fails_on_one_volume_is_a_problem_with_the_failure_and_what_was_done_all_the_same() {
    let site = site();
    for volume in ["vol1", "vol2"] {
        site.create(volume, &[("file", volume)]);
    }
    fs::remove_dir_all(site.volume("vol2")).unwrap();
    let server = Server::start(&site);
    let answer = server.client.json("/api/backup", &json!({ "createSnapshot": true }));
    let (status, run) = (answer.status, answer.header("run-id").to_owned());
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    let failures = problem["failures"].as_array().unwrap();
    assert_eq!(
        (failures.len(), &failures[0]["volume"], &failures[0]["code"]),
        (1, &json!("vol2"), &problem["code"])
    );
    assert!(
        problem["result"].as_array().unwrap().iter().any(|backup| backup["URL"].is_string()),
        "{problem}"
    );
    assert_eq!(problem["run"].as_str(), Some(run.as_str()));
    let record = server.client.get(&format!("/api/runs/{run}")).json();
    assert_eq!(
        (&record["status"], &record["volumes_done"]),
        (&json!("partial"), &json!(["vol1"])),
        "{record}"
    );
    let one = server.client.json("/api/backup", &json!({ "volume": "vol3" }));
    one.problem(422, "not_found", &["vol3", "\"run\"", "\"hint\""]);
}

#[test]
fn the_token_for_looking_looks_and_the_other_does_everything() {
    let site = site();
    site.create("vol1", &[("file", "content")]);
    let Server { client, .. } = &Server::start(&site);
    let (read, nobody, wrong) =
        (client.with_token(READ), client.with_token(""), client.with_token("wrong-wrong-wrong"));
    let entry =
        client.get("/api/schedule").json()["entries"][0]["key"].as_str().unwrap().to_owned();
    let run = client.post("/api/volumes").is(200).header("run-id").to_owned();

    for path in [
        "/api/scripts",
        "/api/scripts/backup",
        "/api/runs",
        &format!("/api/runs/{run}"),
        &format!("/api/runs/{run}/log"),
        "/api/schedule",
        "/api/status",
        "/readyz",
        "/metrics",
        "/openapi.json",
    ] {
        assert!(matches!(read.get(path).status, 200 | 503), "{path}");
        nobody.get(path).problem(401, "unauthorized", &["token"]);
        wrong.get(path).problem(401, "unauthorized", &["token is wrong"]);
    }
    read.post("/api/volumes").is(200);
    read.json("/api/backup?dry_run=true", &json!({ "createSnapshot": true })).is(200);
    for (method, path) in [
        ("POST", "/api/backup".to_owned()),
        ("POST", "/api/backup?dry_run=false".to_owned()),
        ("POST", format!("/api/schedule/{entry}/pause")),
        ("POST", format!("/api/schedule/{entry}/run")),
        ("DELETE", format!("/api/runs/{run}")),
    ] {
        read.ask(method, &path, &[], "").problem(403, "forbidden", &["\"hint\""]);
        nobody.ask(method, &path, &[], "").problem(401, "unauthorized", &[]);
    }
    assert!(site.snapshots("vol1").is_empty(), "nothing was done");
    assert_eq!(client.get("/api/schedule").json()["entries"][0]["paused"], false);
    for path in ["/healthz", "/"] {
        nobody.get(path).is(200);
    }

    let session = nobody.json("/session", &json!({ "token": READ })).is(200);
    assert_eq!(session.json()["role"], "read");
    let cookie = session.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(
        session.header("set-cookie").contains("HttpOnly") && !cookie.contains(READ),
        "{cookie}"
    );
    nobody.ask("GET", "/api/runs", &[("Cookie", &cookie)], "").is(200);
    let here = format!("http://{}", client.address);
    let signed_in = [("Cookie", cookie.as_str()), ("Origin", here.as_str())];
    assert!(matches!(nobody.ask("POST", "/api/backup", &signed_in, "").status, 403));
    nobody.json("/session", &json!({ "token": "wrong-wrong-wrong" })).problem(
        401,
        "unauthorized",
        &[],
    );
    let log = fs::read_to_string(site.path("serve.log")).unwrap();
    assert!(!log.contains(FULL) && !log.contains(READ), "{log}");
}

#[test]
fn an_entry_of_the_crontab_is_run_now_and_paused_and_stays_so_over_a_restart() {
    let site = site_with(&[("waits", WAITS)]);
    fs::write(site.path("crontab"), format!("{YEARLY}0 0 1 1 *  waits\n")).unwrap();
    let mut server = Server::start(&site);
    let entries =
        |server: &Server| server.client.get("/api/schedule").is(200).json()["entries"].clone();
    let key = |index: usize| entries(&server)[index]["key"].as_str().unwrap().to_owned();
    let (backup, waits) = (key(0), key(2));
    let first = entries(&server)[0].clone();
    assert_eq!(
        (&first["script"], &first["arguments"]),
        (&json!("backup"), &json!(["--create-snapshot"])),
        "{first}"
    );
    assert!(first["next"].is_string() && first["last_run"].is_null(), "{first}");

    let answer = server.client.post(&format!("/api/schedule/{waits}/run")).is(202);
    let (told, location) = (answer.json(), answer.header("location"));
    assert_eq!(
        (&told["key"], &told["running"], &told["status"]),
        (&json!(waits), &json!(true), &json!("running")),
        "{told}"
    );
    let id = told["run"].as_str().unwrap();
    assert_eq!((answer.header("run-id"), location), (id, format!("/api/runs/{id}").as_str()));
    assert_eq!(told["last_run"]["id"], id, "{told}");
    // At once.
    let run = server.client.get(location).is(200).json();
    assert_eq!(
        (&run["script"], &run["trigger"], &run["entry"]["key"]),
        (&json!("waits"), &json!("http"), &json!(waits))
    );
    server.client.post(&format!("/api/schedule/{waits}/run")).problem(
        409,
        "busy",
        &["runs already"],
    );
    assert_eq!(entries(&server)[2]["running"], true);
    site.run("create --volume go --size 1G").ok();
    server.until("it does not end", || entries(&server)[2]["running"] == false);
    assert_eq!(entries(&server)[2]["last_run"]["status"], "done");

    let paused = server.client.post(&format!("/api/schedule/{backup}/pause")).is(200).json();
    assert_eq!((&paused["paused"], &paused["key"]), (&json!(true), &json!(backup)), "{paused}");
    server.client.post(&format!("/api/schedule/{backup}/pause")).is(200);
    assert_eq!(server.running.terminate().code(), Some(0), "{}", server.running.log());
    let mut server = Server::start(&site);
    assert_eq!(entries(&server)[0]["paused"], true);
    server.client.post(&format!("/api/schedule/{backup}/resume")).is(200);
    server.running.kill();
    let server = Server::start(&site);
    assert_eq!(entries(&server)[0]["paused"], false);
    for (path, words) in
        [("nothing/run", "no such entry"), (&format!("{backup}/explode"), "run, pause and resume")]
    {
        server.client.post(&format!("/api/schedule/{path}")).problem(404, "not_found", &[words]);
    }
    let wrong = server.client.get(&format!("/api/schedule/{backup}/run")).is(405);
    assert_eq!(wrong.header("allow"), "POST");
}

#[test]
fn an_entry_that_waits_for_its_turn_says_so_and_one_that_cannot_be_started_says_why() {
    let site = site_with(&[("waits", WAITS)]).with("BKUP_MAX_CONCURRENT", "1");
    let file = site.path("crontab").display().to_string();
    let crontab = format!(
        "0 0 1 1 *  snapshot\n0 0 1 1 *  waits\nBKUP_CONVOY=builtin:{file}\n0 0 1 1 *  backup\n"
    );
    fs::write(site.path("crontab"), crontab).unwrap();
    let server = Server::start(&site);
    let client = &server.client;
    let entries = client.get("/api/schedule").is(200).json()["entries"].clone();
    let run = |index: usize, query: &str| {
        client
            .post(&format!("/api/schedule/{}/run{query}", entries[index]["key"].as_str().unwrap()))
    };
    let waits = client.start("/api/waits", &json!({}));
    let snapshot = run(0, "").is(202).json();
    let (id, status) = (snapshot["run"].as_str().unwrap(), &snapshot["status"]);
    assert_eq!(status, "waiting", "{snapshot}");
    assert_eq!(client.get(&format!("/api/runs/{id}")).is(200).json()["status"], "waiting");
    run(0, "").problem(409, "busy", &["runs already"]);
    for query in ["", "?dry_run=true"] {
        run(2, query).problem(500, "io", &[&file]);
    }
    client.delete(&format!("/api/runs/{waits}")).is(202);
    assert_eq!(server.ended(id)["status"], "done");
    fs::remove_file(site.path("scripts/waits.rhai")).unwrap();
    run(1, "").problem(500, "configuration", &["no script named", "waits"]);
}

#[test]
fn a_dry_run_of_an_entry_has_the_entrys_own_settings_and_is_none_of_its_runs() {
    let tells = "const PARAMETERS = #{ volume: #{ type: \"string\", default: \"go\", help: \"any\" } };\n\
        fn main(args) { if run::dry_run() { return [config::destination(), time::format(0, \"%:z\")]; } \
        while !(args.volume in convoy::driver_volumes()) { sleep(0.02); } \"gone on\" }";
    let site = site_with(&[("tells", tells), ("slow", "fn main(args) { sleep(3600); }")]);
    let other = format!("vfs://{}", site.path("other").display());
    fs::create_dir(site.path("other")).unwrap();
    let crontab = format!(
        "CRON_TZ=Pacific/Chatham\nBKUP_BACKUP_URL={other}\n0 0 1 1 *  tells\n0 0 1 1 *  @timeout=1s slow\n0 0 1 1 *  backup --volume vol1\n"
    );
    fs::write(site.path("crontab"), crontab).unwrap();
    site.create("vol1", &[("file", "content")]);
    let server = Server::start(&site);
    let (full, read) = (&server.client, &server.client.with_token(READ));
    let entries = || full.get("/api/schedule").is(200).json()["entries"].clone();
    let path = |index: usize| {
        format!("/api/schedule/{}/run?dry_run=true", entries()[index]["key"].as_str().unwrap())
    };

    let before = entries();
    for client in [full, read] {
        let answer = client.post(&path(0)).is(200);
        assert_eq!(
            answer.json()["result"],
            json!([other, "+12:45"]),
            "its own destination and zone"
        );
        assert_eq!(answer.json()["dry_run"], true);
        let run = full.get(answer.header("location")).is(200).json();
        assert_eq!(
            (&run["dry_run"], &run["trigger"], &run["entry"]),
            (&json!(true), &json!("http"), &Value::Null)
        );
    }
    let planned = full.post(&path(2)).is(200).json();
    assert!(
        planned["plan"].to_string().contains(site.path("other").to_str().unwrap()),
        "{planned}"
    );
    full.post(&path(1)).problem(504, "deadline_exceeded", &["\"run\""]);
    assert_eq!(shape(&entries()), shape(&before));
    assert!(
        entries()
            .as_array()
            .unwrap()
            .iter()
            .all(|entry| entry["last"].is_null() && entry["last_run"].is_null())
    );

    // While it runs, too; and whoever does not wait can end it.
    let running = full.post(path(0).split('?').next().unwrap()).is(202).json()["run"].clone();
    full.post(&path(0)).is(200);
    assert_eq!(entries()[0]["last_run"]["id"], running);
    let left = full.ask("POST", &path(1), &[("Prefer", "respond-async")], "").is(202);
    let id = left.json()["run"].as_str().unwrap().to_owned();
    full.delete(left.header("location")).is(202);
    assert_eq!(server.ended(&id)["status"], "cancelled");
    full.delete(&format!("/api/runs/{}", running.as_str().unwrap())).is(202);

    assert!(
        site.snapshots("vol1").is_empty()
            && fs::read_dir(site.path("other")).unwrap().next().is_none()
    );
    for (path, status, code) in [
        (path(0).replace("run?", "pause?"), 400, "usage"),
        (path(0).replace("true", "perhaps"), 400, "usage"),
        (path(0).replace("dry_run", "dry"), 400, "usage"),
        ("/api/schedule/none/run?dry_run=true".to_owned(), 404, "not_found"),
    ] {
        full.post(&path).problem(status, code, &[]);
    }
    read.post(&path(0).replace("true", "false")).problem(403, "forbidden", &["\"hint\""]);
}

#[test]
fn the_token_for_looking_looks_where_the_program_looks_and_no_longer() {
    let site = site_with(&[(
        "visit",
        "const READ_ONLY = true;\nconst PARAMETERS = #{ at: #{ type: \"destination\", help: \"any\" } };\nfn main(args) { args.at }",
    )])
    .with("BKUP_RUN_TIMEOUT", "2h");
    site.create("vol1", &[("file", "content")]);
    site.run("backup --volume vol1").ok();
    let url = site.backups("vol1").remove(0);
    let Server { client, .. } = &Server::start(&site);
    let read = client.with_token(READ);
    let restore = |url: &str| json!({ "volume": "vol2", "backupurl": url });
    let dry = "/api/restore?dry_run=true";
    read.json(dry, &restore(&url)).is(200);
    read.json(&format!("{dry}&timeout=2h"), &restore(&url)).is(200);
    let refused = read.json(&format!("{dry}&timeout=2h1s"), &restore(&url));
    assert_eq!(refused.problem(403, "forbidden", &["2h", "\"hint\""])["field"], "timeout");
    let elsewhere = url.replace(site.path("backups").to_str().unwrap(), "/etc");
    for elsewhere in
        [&elsewhere, "s3://bucket@us-east-1/path?backup=backup-1234567890abcdef&volume=vol1"]
    {
        let refused = read.json(dry, &restore(elsewhere)).problem(
            403,
            "forbidden",
            &["destination", "\"hint\""],
        );
        assert_eq!(refused["field"], "backupurl");
    }
    read.json("/api/visit", &json!({ "at": "vfs:///etc" })).problem(403, "forbidden", &["\"at\""]);
    read.post("/api/visit").is(200);
    // The full one may.
    client.json("/api/visit?timeout=3h", &json!({ "at": "vfs:///etc" })).is(200);
    assert_eq!(client.json(dry, &restore(&elsewhere)).status, 422);
}

#[test]
fn two_instances_on_one_host_do_not_sign_each_other_out() {
    let (first, second) = (&Site::builtin(), &Site::builtin());
    let (first, second) = (Server::start(first), Server::start(second));
    let (first, second) = (&first.client.with_token(""), &second.client.with_token(""));
    // At the same name and port, as where ports are not passed on.
    let sign_in = |client: &crate::support::http::Client| {
        let answer = client.json("/session", &json!({ "token": FULL })).is(200);
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    };
    let cookies = [sign_in(first), sign_in(second)];
    assert_ne!(cookies[0].split('=').next(), cookies[1].split('=').next());
    let both = cookies.join("; ");
    for client in [first, second] {
        client.ask("GET", "/session", &[("Cookie", &both)], "").is(200);
    }
}

#[test]
fn events_tell_of_a_run_from_its_start_to_its_end_and_go_on_where_they_were_left() {
    let site = site_with(&[("waits", WAITS)]);
    let mut server = Server::start(&site);
    let mut events = server.client.events("", &[]);
    let id = server.client.start("/api/waits", &json!({}));
    let started = events.until("run-started");
    assert_eq!(
        (started.data["id"].as_str(), &started.data["status"]),
        (Some(id.as_str()), &json!("running"))
    );
    let line = std::iter::from_fn(|| Some(events.until("run-line")))
        .find(|line| line.data["text"] == "it waits")
        .unwrap();
    assert_eq!(line.data["run"].as_str(), Some(id.as_str()), "{line:?}");
    drop(events);

    // Who was away gets what was missed, by the header or by the query.
    site.run("create --volume go --size 1G").ok();
    server.ended(&id);
    let of_run = format!("?run={id}&after={}", line.id);
    for (query, headers) in
        [(of_run.as_str(), vec![]), ("", vec![("Last-Event-ID", line.id.as_str())])]
    {
        let mut events = server.client.events(query, &headers);
        let ended = std::iter::from_fn(|| Some(events.next()))
            .inspect(|event| {
                assert!(
                    event.name != "run-started" || event.data["id"] != id.as_str(),
                    "again: {event:?}"
                )
            })
            .find(|event| event.name == "run-ended" && event.data["id"] == id.as_str())
            .unwrap();
        assert_eq!(ended.data["status"], "done", "{ended:?}");
    }
    server.running.terminate();
    let server = Server::start(&site);
    for seen in [line.id.as_str(), "nonsense", "0-0"] {
        assert_eq!(
            server.client.events("", &[("Last-Event-ID", seen)]).next().name,
            "reset",
            "{seen}"
        );
    }
    let key =
        server.client.get("/api/schedule").json()["entries"][0]["key"].as_str().unwrap().to_owned();
    let mut events = server.client.events("", &[]);
    server.client.post(&format!("/api/schedule/{key}/pause")).is(200);
    events.until("schedule");
    // Short ones that only read are not worth an event.
    site.run("volumes").ok();
    site.run("snapshot").ok();
    let ended = events.until("run-ended").data;
    assert_eq!(
        (&ended["script"], &ended["trigger"]),
        (&json!("snapshot"), &json!("cli")),
        "runs of other processes are told, too"
    );
}

#[test]
fn runs_come_in_pages_and_are_found_by_script_status_volume_and_time() {
    let site = site_with(&[("mark", MARK), ("breaks", "fn main(args) { throw \"broken\" }")]);
    site.create("vol1", &[("file", "content")]);
    let server = Server::start(&site);
    let client = &server.client;
    let ids: Vec<String> = (0..7)
        .map(|n| {
            client.json("/api/mark", &json!({ "number": n })).is(200).header("run-id").to_owned()
        })
        .collect();
    client.post("/api/breaks").problem(500, "script", &["broken", "breaks.rhai", "\"line\":1"]);
    client.json("/api/backup", &json!({ "volume": "vol1" })).is(200);

    let (mut path, mut found, mut pages) =
        (Some("/api/runs?script=mark&limit=3".to_owned()), Vec::new(), 0);
    while let Some(next) = path {
        let page = client.get(&next).is(200).json();
        found.extend(
            page["runs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|run| run["id"].as_str().unwrap().to_owned()),
        );
        path = page["next"].as_str().map(str::to_owned);
        pages += 1;
    }
    found.reverse();
    assert_eq!((found, pages), (ids, 3));

    let scripts = |query: &str| {
        let found = client.get(&format!("/api/runs?{query}")).is(200).json();
        let names = found["runs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["script"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(scripts("status=failed"), ["breaks"]);
    assert_eq!(scripts("volume=vol1"), ["backup", "create"]);
    assert_eq!(scripts("since=1h&status=done&script=backup"), ["backup"]);
    assert_eq!(scripts("since=2999-01-01T00:00:00Z"), Vec::<String>::new());
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("status=good", "status"),
        ("since=never", "since"),
        ("limt=5", "limt"),
        ("limit=1&limit=2", "limit"),
    ] {
        let problem = client.get(&format!("/api/runs?{query}")).problem(400, "usage", &[]);
        assert_eq!(problem["field"], field, "{problem}");
    }
}

#[test]
fn a_log_comes_as_json_by_number_or_as_text() {
    let chatty = "fn main(args) { for n in 0..5 { log::info(`line ${n}`); } log::warn(\"two\\nlines \\u001b[31m\") }";
    let site = site_with(&[("chatty", chatty)]);
    let Server { client, .. } = &Server::start(&site);
    let id = client.post("/api/chatty").is(200).header("run-id").to_owned();
    let log = client.get(&format!("/api/runs/{id}/log")).is(200).json();
    let lines = log["lines"].as_array().unwrap();
    assert!(log["ended"] == true && lines.len() > 5, "{log}");
    let after = lines[2]["number"].as_u64().unwrap();
    let rest = client.get(&format!("/api/runs/{id}/log?after={after}&limit=2")).is(200).json();
    assert_eq!(rest["lines"].as_array().unwrap()[..], lines[3..5]);
    for (query, from, to) in [
        ("tail=2", lines.len() - 2, lines.len()),
        ("tail=10000", 0, lines.len()),
        (&format!("tail={}&after={after}", lines.len()), 3, lines.len()),
        ("tail=3&limit=1", lines.len() - 3, lines.len() - 2),
    ] {
        let tail = client.get(&format!("/api/runs/{id}/log?{query}")).is(200).json();
        assert_eq!(tail["lines"].as_array().unwrap()[..], lines[from..to], "{query}");
    }
    let end = client
        .ask("GET", &format!("/api/runs/{id}/log?tail=1"), &[("Accept", "text/plain")], "")
        .is(200);
    assert_eq!(end.body.lines().count(), 1, "{}", end.body);
    let text =
        client.ask("GET", &format!("/api/runs/{id}/log"), &[("Accept", "text/plain")], "").is(200);
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(text.body.lines().count(), lines.len(), "a line each: {}", text.body);
    assert!(text.body.contains("line 4") && !text.body.contains('\u{1b}'), "{:?}", text.body);
    for query in ["after=-1", "after=x", "limit=0", "limit=10001", "tail=0", "tail=10001", "tail=x"]
    {
        client.get(&format!("/api/runs/{id}/log?{query}")).problem(400, "usage", &[]);
    }
}

#[test]
fn readyz_says_what_is_not_ready_and_metrics_tell_what_was() {
    let site = site().with("BKUP_MAX_BACKUP_AGE", "1d");
    site.create("vol1", &[("file", "content")]);
    crate::serve::make_old(&site, "vol1");
    let server = Server::start(&site);
    let client = &server.client;
    let check = |answer: Answer, name: &str| {
        let checks = answer.json()["checks"].as_array().unwrap().clone();
        checks.into_iter().find(|check| check["name"] == name).unwrap()
    };
    let freshness = check(client.get("/readyz").is(503), "freshness");
    assert!(
        freshness["ok"] == false && freshness["detail"].as_str().unwrap().contains("vol1"),
        "{freshness}"
    );
    let metrics =
        |line: &str| client.get("/metrics").is(200).body.lines().any(|there| there == line);
    assert!(metrics("convoy_backups_backup_overdue{volume=\"vol1\"} 1"));
    assert!(metrics("convoy_backups_healthy 0"));

    client.json("/api/backup", &json!({ "volume": "vol1" })).is(200);
    client.json("/api/backup", &json!({ "volume": "vol2" })).is(422);
    client.get("/api/status?fresh=true").is(200);
    assert_eq!(client.get("/readyz").is(200).json()["ready"], true);
    for line in [
        "convoy_backups_runs_total{script=\"backup\",status=\"done\"} 1",
        "convoy_backups_runs_total{script=\"backup\",status=\"failed\"} 1",
        "convoy_backups_run_duration_seconds_count{script=\"backup\"} 2",
        "convoy_backups_backup_overdue{volume=\"vol1\"} 0",
        "convoy_backups_healthy 1",
    ] {
        assert!(metrics(line), "no {line} in {}", client.get("/metrics").body);
    }
    fs::write(site.path("crontab"), "61 * * * *  backup\n").unwrap();
    server.running.signal("HUP");
    server.until("the crontab was not read", || client.get("/readyz").status == 503);
    assert_eq!(check(client.get("/readyz"), "schedule")["ok"], false);
    assert_eq!(client.get("/api/schedule").json()["refused"][0]["line"], 1);
}

#[test]
fn metrics_are_as_prometheus_reads_them_whatever_volumes_are_called() {
    let odd =
        ["quo\"te", "back\\slash", "new\nline", "br{ac}e", "\u{fc}n\u{ef}", " ", "#", "a=b,c"];
    let volumes: serde_json::Map<_, _> = odd
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "Name": name, "Driver": "vfs", "MountPoint": "", "CreatedTime": "", "DriverInfo": {}, "Snapshots": {} })))
        .collect();
    let site = site();
    let daemon = Faulty::start_at(&site.path("daemon/convoy.sock"))
        .answer("GET /v1/info", Answered::json(r#"{"General": {"DriverList": ["vfs"]}}"#))
        .answer("GET /v1/volumes/list", Answered::json(Value::Object(volumes).to_string()));
    let site = site.with("BKUP_CONVOY", format!("unix://{}", daemon.socket().display()));
    let Server { client, .. } = &Server::start(&site);
    client.post("/api/volumes").is(200);
    let text = client.get("/metrics").is(200);
    assert_eq!(text.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    for (name, label) in
        [("quo\"te", r#"quo\"te"#), ("back\\slash", r"back\\slash"), ("new\nline", r"new\nline")]
    {
        let line = format!("convoy_backups_volume_problems{{volume=\"{label}\"}} ");
        assert!(text.body.contains(&line), "{name}: no {line} in {}", text.body);
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed: apt-get install prometheus");
    promtool.stdin.take().unwrap().write_all(text.body.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?} {}", text.body);
}

#[test]
fn who_waits_gets_the_answer_though_the_program_was_told_to_end_and_nothing_new_begins() {
    let site = site_with(&[("waits", WAITS)]);
    let mut server = Server::start(&site);
    let mut events = server.client.events("", &[]);
    let waiting = server.client.send("POST", "/api/waits", &[], "");
    events.until("run-started");
    server.running.signal("TERM");
    server.until("it goes on", || server.client.post("/api/volumes").status == 503);
    let refused = server.client.post("/api/volumes");
    assert_eq!(refused.header("retry-after"), "10");
    refused.problem(503, "shutting_down", &["ending"]);
    server.client.get("/readyz").is(503);
    server.client.get("/api/runs").is(200);
    site.run("create --volume go --size 1G").ok();
    let answer = Answer::read(waiting).unwrap().is(200);
    assert_eq!(answer.json(), "gone on");
    assert_eq!(server.running.wait().code(), Some(0), "{}", server.running.log());

    site.run("remove --volume go --all").ok();
    let mut server = Server::start_with(&site, &[("BKUP_SHUTDOWN_GRACE", "0s")]);
    let mut events = server.client.events("", &[]);
    let waiting = server.client.send("POST", "/api/waits", &[], "");
    let id = events.until("run-started").data["id"].as_str().unwrap().to_owned();
    assert_eq!(server.running.terminate().code(), Some(0), "{}", server.running.log());
    Answer::read(waiting).unwrap().problem(503, "shutting_down", &[&id]);
    let record = site.run(&format!("runs show {id} --json")).json();
    assert_eq!(record["status"], "interrupted", "{record}");
}
