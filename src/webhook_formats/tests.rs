use serde_json::{Value, json};

use super::{format::Request, healthchecks::ping, *};

/// The request for a failed run, or another event.
fn request(word: &str, url: &str, event: Event, body: Option<&Value>) -> Request {
    let (_, format) = WORDS.iter().find(|(other, _)| *other == word).unwrap();
    let run = json!({ "id": "run-1" });
    let content = Content {
        event,
        subject: "[db1] <backup> failed: völ2",
        text: "text & more\n",
        host: "db1",
        time: "2026-11-23T07:42:00Z".parse().unwrap(),
        run: Some(&run),
        run_id: Some("run-1"),
        body,
    };
    (format.request)(url, &content)
}

fn failed(word: &str) -> Request {
    request(word, "https://example.com/hook", Event::Failed, None)
}

fn json_of(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

#[test]
fn each_service_gets_its_own_form() {
    let json = json_of(&failed("json"));
    assert_eq!(
        (json["event"].as_str(), json["run"]["id"].as_str()),
        (Some("failed"), Some("run-1"))
    );
    assert_eq!(
        json_of(&failed("slack"))["text"],
        ":red_circle: *[db1] &lt;backup&gt; failed: völ2*\ntext &amp; more\n"
    );

    let ntfy = failed("ntfy");
    let header = |name| &ntfy.headers.iter().find(|(other, _)| *other == name).unwrap().1;
    let title = header("Title");
    assert!(title.contains("=?utf-8?b?") && title.starts_with("[db1]"), "{title}");
    assert_eq!((header("Priority").as_str(), header("Tags").as_str()), ("4", "warning"));
    assert_eq!(ntfy.body, "text & more\n");
}

#[test]
fn gotify_gets_title_message_and_a_priority_at_its_own_path() {
    let gotify = |url, event| request("gotify", url, event, None);
    let failed = gotify("https://example.com/gotify/", Event::Failed);
    assert_eq!(
        (failed.url.as_str(), failed.content_type),
        ("https://example.com/gotify/message", "application/json")
    );
    assert_eq!(
        json_of(&failed),
        json!({ "title": "[db1] <backup> failed: völ2", "message": "text & more\n", "priority": 8 })
    );
    for (url, address) in [
        ("https://example.com", "https://example.com/message"),
        ("https://example.com/message", "https://example.com/message"),
        ("https://example.com?token=A1", "https://example.com/message?token=A1"),
    ] {
        assert_eq!(gotify(url, Event::Test).url, address);
    }
    for (event, priority) in [(Event::Problem, 8), (Event::Recovered, 5), (Event::Succeeded, 2)] {
        assert_eq!(json_of(&gotify("https://example.com", event))["priority"], priority);
    }
}

#[test]
fn a_scripts_own_body_is_posted_as_it_is_where_the_webhook_takes_json() {
    let own = json!({ "anything": [1] });
    for (word, _) in WORDS {
        let request = request(word, "https://example.com/hook", Event::Information, Some(&own));
        let is_posted = !matches!(*word, "ntfy" | "healthchecks");
        assert_eq!(own == request.body, is_posted, "{word}");
    }
}

#[test]
fn pings_say_how_the_run_went_and_which_it_was() {
    let ping = |event| ping("https://hc.example.com/uuid/?create=1", event, Some("run-1"));
    let start = ping(Event::Started);
    let rid = start.split('&').next_back().unwrap().to_owned();
    let groups: Vec<usize> = rid.trim_start_matches("rid=").split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12], "{rid}");
    for (event, signal) in [
        (Event::Started, "/start"),
        (Event::Succeeded, ""),
        (Event::Failed, "/fail"),
        (Event::Test, "/log"),
    ] {
        assert_eq!(ping(event), format!("https://hc.example.com/uuid{signal}?create=1&{rid}"));
    }
}

#[test]
fn the_readme_names_every_format() {
    let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
    let list = format!("BKUP_WEBHOOK_FORMAT={}", words.join("|"));
    assert!(include_str!("../../README.md").contains(&list), "README.md does not have {list}");
}
