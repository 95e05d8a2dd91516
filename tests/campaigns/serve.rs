//! `serve` that is killed at random moments, while it makes up for a line of its crontab and is asked over HTTP.

use std::{fs, process::Stdio};

use serde_json::{Map, Value};

use super::{
    COMMANDS, Random, faults,
    world::{World, goes_on},
};
use crate::support::{http::Server, site::Site};

/// A run that was asked for.
struct Asked {
    line: String,
    id: String,
}

#[test]
fn a_serve_that_is_killed_tells_what_it_did_not_end_and_leaves_nothing_half_done() {
    let site = Site::builtin()
        .with("BKUP_REPOSITORY_PASSWORD", "secret")
        // Nobody listens there: alerts stay in the outbox.
        .with("BKUP_WEBHOOK_URL", "http://127.0.0.1:9/hook");
    let crontab = site.path("crontab");
    fs::write(&crontab, "0 0 1 1 *  backup --create-snapshot --volume vol1\n").unwrap();
    let site = site.with("BKUP_CRONTAB", crontab.display().to_string());
    let mut world = World::new(site, "vol1", Random::new(8));
    world.first_backup();
    for _ in 0..faults(10) {
        world.change();
        let mut server = Server::start(&world.site);
        let asked = ask(&mut world, &server);
        // The moment is the fault.
        std::thread::sleep(world.moment());
        server.running.kill();
        let is_news = world.random.below(2) == 0;
        if is_news {
            // Nobody was told of anything yet.
            _ = fs::remove_dir_all(world.site.path("data/notify"));
        }
        while world.random.below(3) == 0 {
            is_killed_while_it_starts(&mut world);
        }
        if world.random.below(3) == 0 {
            world.a_day_passes();
        }
        server = Server::start(&world.site);
        look(&mut world, &server, &asked, is_news);
        server.running.kill();
        if world.random.below(2) == 0 {
            was_down_for_long(&world);
        }
    }
    world.end();
}

/// Starts some scripts without waiting for them.
fn ask(world: &mut World, server: &Server) -> Vec<Asked> {
    let mut asked: Vec<Asked> = Vec::new();
    for _ in 0..=world.random.below(3) {
        let word = *world.random.one_of(&COMMANDS);
        let line = world.line(word);
        // What comes of the second volume is known only where one run is about it.
        if line.contains(OTHER) && asked.iter().any(|before| before.line.contains(OTHER)) {
            continue;
        }
        let (script, body) = request(&line);
        let id = server.client.start(&format!("/api/{script}"), &body);
        asked.push(Asked { line, id });
    }
    asked
}

const OTHER: &str = "--volume other";

/// A line of the command line, as the API takes it.
fn request(line: &str) -> (&str, Value) {
    let (script, words) = line.split_once(' ').unwrap();
    let arguments = words.split("--").filter(|words| !words.is_empty());
    let arguments = arguments.map(|words| match words.trim().split_once(' ') {
        Some((name, value)) => (name.to_owned(), value.into()),
        None => (words.trim().to_owned(), true.into()),
    });
    (script, Value::Object(arguments.collect::<Map<_, _>>()))
}

fn is_killed_while_it_starts(world: &mut World) {
    let after = world.moment() / 2;
    let mut serve = world.command("serve");
    let mut serve = serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    _ = serve.kill();
    _ = serve.wait();
    world.counts.add("killed while it started");
}

/// The next start makes up for the crontab's line.
fn was_down_for_long(world: &World) {
    let store = rusqlite::Connection::open(world.site.path("data/runs.sqlite")).unwrap();
    store.execute("UPDATE times SET time = 0 WHERE name LIKE 'due %'", []).unwrap();
}

/// What was asked for has ended in one way or another, and who is to be told of it will be.
fn look(world: &mut World, server: &Server, asked: &[Asked], is_news: bool) {
    let mut interrupted: Vec<(&str, Vec<&str>)> = Vec::new();
    for Asked { line, id } in asked {
        let run = server.client.get(&format!("/api/runs/{id}")).is(200).json();
        assert!(!goes_on(&run), "it does not go on any more: {line}: {run:#}");
        let (script, status) = (line.split(' ').next().unwrap(), run["status"].as_str().unwrap());
        match status {
            "done" => {
                world.counts.add("done before");
                if !line.contains(OTHER) {
                    world.acknowledged_in(&run["result"].to_string());
                }
            }
            "interrupted" => {
                world.counts.add("interrupted");
                match interrupted.iter_mut().find(|(of, _)| *of == script) {
                    Some((_, ids)) => ids.push(id),
                    None => interrupted.push((script, vec![id])),
                }
            }
            // A prune before it may have deleted the backup.
            "failed" if script == "restore" => world.counts.add("a backup was gone"),
            _ => panic!("{line}: {run:#}"),
        }
        if line.contains(OTHER) {
            world.other.ended(line, status == "done");
        }
    }
    server.until("a run does not end", || {
        let runs = world.site.run("runs list --json").json();
        !runs.as_array().unwrap().iter().any(goes_on)
    });
    for Asked { line, .. } in asked {
        if let Some((_, keep)) = line.split_once("--keep-last ") {
            world.pruned(keep.parse().unwrap());
        }
    }
    let outbox = world.site.path("data/notify/outbox");
    for (script, ids) in interrupted {
        let is_of = |text: &String| match is_news {
            true => ids.iter().any(|id| text.contains(id)),
            false => text.contains(script),
        };
        server.until(&format!("nobody is told of {script} {ids:?}"), || {
            let files = fs::read_dir(&outbox).into_iter().flatten().flatten();
            // A message that is tried in vain is written anew.
            files.filter_map(|file| fs::read_to_string(file.path()).ok()).any(|text| is_of(&text))
        });
    }
    world.check();
    if world.random.below(4) == 0 {
        let ran = world.site.run(COMMANDS[0]).ok();
        world.acknowledged(&ran);
        world.counts.add("the next backup was made");
    }
}
