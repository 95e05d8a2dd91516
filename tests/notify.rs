//! Being told: real processes, a real SMTP conversation, real HTTP.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::support::{
    site::Site,
    smtp::{Manners, Smtp},
    web::Web,
};

/// A run in which one volume failed.
const FAILS: &str = "fn main(args) { run::failed(\"vol2\", \"no space left\"); [] }";
const FAILS_OTHERWISE: &str = "fn main(args) { run::failed(\"vol3\", \"no space left\"); [] }";
const GOES_WELL: &str = "fn main(args) { [] }";
/// `user` and `hunter2hunter2`, as AUTH PLAIN sends them.
const LOGIN: &str = "AHVzZXIAaHVudGVyMmh1bnRlcjI=";

fn with_email(site: Site, port: u16) -> Site {
    site.with("BKUP_HOST", "db1")
        .with("BKUP_EMAIL_ENABLED", "true")
        .with("BKUP_EMAIL_FROM", "Backups <backups@example.com>")
        .with("BKUP_EMAIL_TO", "ops@example.com, Bea <bea@example.com>")
        .with("BKUP_EMAIL_SMTP_HOST", "127.0.0.1")
        .with("BKUP_EMAIL_SMTP_PORT", port.to_string())
        .with("BKUP_EMAIL_SMTP_SECURITY", "none")
}

fn with_webhook(site: Site, web: &Web, format: &str) -> Site {
    site.with("BKUP_HOST", "db1")
        .with("BKUP_WEBHOOK_URL", format!("{}/services/T0HIDDEN0", web.url()))
        .with("BKUP_WEBHOOK_FORMAT", format)
}

fn waiting(site: &Site) -> Vec<Value> {
    site.run("notify list --json").json()["outbox"].as_array().unwrap().clone()
}

/// Makes every message in the outbox due.
fn make_due(site: &Site) {
    for entry in fs::read_dir(site.path("data/notify/outbox")).unwrap() {
        let path = entry.unwrap().path();
        let mut file: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        file["next_attempt"] = file["message"]["time"].clone();
        fs::write(&path, file.to_string()).unwrap();
    }
}

#[test]
fn a_failure_is_told_once_by_email_to_everyone_another_one_again_and_the_recovery_too() {
    let smtp = Smtp::start(Manners { login: Some(LOGIN.into()), ..Manners::default() });
    let site = with_email(Site::builtin(), smtp.port())
        .with("BKUP_EMAIL_SMTP_USER", "user")
        .with("BKUP_EMAIL_SMTP_PASS", "hunter2hunter2");
    site.run_script(GOES_WELL, "").ok();
    assert_eq!(smtp.messages().len(), 0, "nobody is told of what is well");
    site.run_script(FAILS, "").ends(1);
    site.run_script(FAILS, "").ends(1);
    site.run_script(FAILS, "--dry-run").ends(1);
    let messages = smtp.messages();
    assert_eq!(messages.len(), 1, "{messages:#?}");
    let first = &messages[0];
    assert_eq!(
        (first.from.as_str(), first.to.join(" ")),
        ("backups@example.com", "ops@example.com bea@example.com".into())
    );
    assert_eq!(first.header("Subject"), "[db1] mine failed: vol2: no space left");
    assert_eq!(first.header("To"), "ops@example.com, Bea <bea@example.com>");
    assert_eq!(first.header("Auto-Submitted"), "auto-generated");
    assert!(first.header("Message-ID").ends_with("@db1>"));
    for words in ["text/plain", "text/html", "vol2: no space left", "convoy-backups runs show 20"] {
        assert!(first.data.contains(words), "no {words:?} in {first:#?}");
    }

    site.run_script(FAILS_OTHERWISE, "").ends(1);
    site.run_script(GOES_WELL, "").ok();
    site.run_script(GOES_WELL, "").ok();
    let subjects: Vec<String> =
        smtp.messages()[1..].iter().map(|message| message.header("Subject")).collect();
    assert_eq!(
        subjects,
        ["[db1] mine still failed: vol3: no space left", "[db1] mine is well again"]
    );
    assert_eq!(waiting(&site), Vec::<Value>::new());
}

#[test]
fn always_is_every_run_and_cancelled_and_listing_runs_are_no_failures() {
    let smtp = Smtp::start(Manners::default());
    let site = with_email(Site::builtin(), smtp.port()).with("BKUP_EMAIL_ON", "always");
    site.run_script(GOES_WELL, "").ok();
    site.run_script(FAILS, "").ends(1);
    site.run_script(FAILS, "").ends(1);
    site.run_script(GOES_WELL, "--dry-run").ok();
    let subjects: Vec<String> =
        smtp.messages().iter().map(|message| message.header("Subject")).collect();
    let failed = "[db1] mine failed: vol2: no space left";
    assert_eq!(subjects, ["[db1] mine went well", failed, failed]);
}

#[test]
fn a_good_backup_by_hand_ends_what_was_told_of_other_words_and_a_list_that_fails_tells_nobody() {
    let smtp = Smtp::start(Manners::default());
    let site = with_email(Site::builtin(), smtp.port());
    site.create("vol1", &[("file", "content")]);
    let folder = site.path("backups");
    fs::remove_dir(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    site.run("backup --volume vol1 --create-snapshot").ends(1);
    site.run("backups").ends(1);
    site.run("backups --volume vol1").ends(1);
    let told = |subjects: &[&str]| {
        let messages = smtp.messages();
        let all: Vec<String> = messages.iter().map(|message| message.header("Subject")).collect();
        assert_eq!(all.len(), subjects.len(), "{all:?}");
        assert!(
            all.iter().zip(subjects).all(|(subject, words)| subject.contains(words)),
            "{all:?}"
        );
    };
    told(&["backup --volume vol1 --create-snapshot failed"]);
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    site.run("backup").ok();
    site.run("backup").ok();
    told(&[
        "backup --volume vol1 --create-snapshot failed",
        "backup --volume vol1 --create-snapshot is well again",
    ]);
    assert_eq!(site.run("notify list --json").json()["problems"], json!([]));
    site.run("status").ok();
}

#[test]
fn a_server_that_is_down_gets_the_message_when_it_is_up_from_whichever_process() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = with_email(Site::builtin(), port)
        .with("BKUP_EMAIL_SMTP_USER", "user")
        .with("BKUP_EMAIL_SMTP_PASS", "hunter2hunter2");
    let ran = site.run_script(FAILS, "").fails(1, &["cannot tell people by e-mail", "notify list"]);
    assert!(!ran.err.contains("hunter2"), "{ran:?}");
    let list = waiting(&site);
    assert_eq!((list.len(), &list[0]["attempts"]), (1, &json!(1)), "{list:?}");
    assert!(list[0]["error"].as_str().unwrap().contains("127.0.0.1"), "{list:?}");
    let shown = site.run("notify list").ok().out;
    assert!(shown.contains("mine failed: vol2") && shown.contains("e-mail"), "{shown}");

    let outbox = site.path("data/notify/outbox");
    let file = fs::read_dir(&outbox).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&outbox).unwrap().permissions().mode() & 0o777, 0o700);
    let kept = fs::read_to_string(&file).unwrap();
    assert!(!kept.contains("hunter2") && kept.contains("no space left"), "{kept}");

    let smtp = Smtp::on(
        TcpListener::bind(("127.0.0.1", port)).unwrap(),
        Manners { login: Some(LOGIN.into()), ..Manners::default() },
    );
    site.run_script(FAILS, "").ends(1);
    assert_eq!(
        smtp.messages().len(),
        0,
        "it is not due yet, and the same failure is not told twice"
    );
    make_due(&site);
    while !waiting(&site).is_empty() {
        site.run("volumes").ok();
    }
    assert_eq!(smtp.messages().len(), 1);
    assert_eq!(smtp.messages()[0].header("Subject"), "[db1] mine failed: vol2: no space left");
}

#[test]
fn processes_that_share_an_outbox_send_every_message_once() {
    let smtp = Smtp::start(Manners::default());
    let site = Site::builtin().with("BKUP_WEBHOOK_URL", "http://127.0.0.1:1/");
    // Nobody listens at port 1, so every message waits.
    const TELLS: &str = r#"fn main(args) {
        for number in 0..30 { notify::info(`number ${number}`, "text"); }
    }"#;
    site.run_script(TELLS, "").ok();
    make_due(&site);
    let site = with_email(site, smtp.port()).without("BKUP_WEBHOOK_URL");
    // As if they were for the channel that the processes have.
    for entry in fs::read_dir(site.path("data/notify/outbox")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"webhook\"", "\"email\"")).unwrap();
    }
    let volumes = |number: usize| {
        let root = format!("builtin:{}", site.path(&format!("daemon-{number}")).display());
        site.command()
            .args(["volumes", "--convoy", &root])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut children: Vec<_> = (0..6).map(volumes).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    while !waiting(&site).is_empty() {
        site.run("volumes").ok();
    }
    let mut subjects: Vec<String> =
        smtp.messages().iter().map(|message| message.header("Subject")).collect();
    assert_eq!(subjects.len(), 30, "{subjects:?}");
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), 30);
}

#[test]
fn an_address_that_is_refused_keeps_no_one_else_from_being_told() {
    let smtp =
        Smtp::start(Manners { refused: vec!["ops@example.com".into()], ..Manners::default() });
    let site = with_email(Site::builtin(), smtp.port());
    site.run_script(FAILS, "").fails(1, &["no such user here", "ops@example.com"]);
    assert_eq!(smtp.messages()[0].to, ["bea@example.com"]);
    assert_eq!(waiting(&site).len(), 1);
    make_due(&site);
    while waiting(&site)[0]["attempts"] == 1 {
        site.run("volumes").ok();
    }
    assert_eq!(smtp.messages().len(), 1, "who has it does not get it again");
    assert_eq!(waiting(&site).len(), 1, "the other address is tried again");
}

#[test]
fn notify_test_says_how_each_channel_went() {
    let site = Site::builtin();
    site.run("notify test").fails(2, &["no channel is on", "BKUP_EMAIL_ENABLED"]);
    assert!(site.run("notify list").ok().out.contains("nobody is told"));
    let (smtp, web) = (
        Smtp::start(Manners { login: Some(LOGIN.into()), ..Manners::default() }),
        Web::start("200 OK", "", "ok"),
    );
    let site = with_webhook(with_email(site, smtp.port()), &web, "json")
        .with("BKUP_EMAIL_SMTP_USER", "user")
        .with("BKUP_EMAIL_SMTP_PASS", "hunter2hunter2");
    let well = site.run("notify test").ok().out;
    assert!(
        well.contains("sent    e-mail to ops@example.com")
            && well.contains("sent    webhook http://127.0.0.1"),
        "{well}"
    );
    assert!(!well.contains("T0HIDDEN0"), "{well}");
    assert_eq!((smtp.messages().len(), web.requests().len()), (1, 1));

    let site = site.with("BKUP_EMAIL_SMTP_PASS", "wrongwrong");
    let ill = site
        .run("notify test")
        .fails(1, &["535", "wrong user or password", "BKUP_EMAIL_SMTP_PASS"]);
    assert!(ill.out.contains("FAILED  e-mail") && ill.out.contains("sent    webhook"), "{ill:?}");
    assert!(
        !format!("{ill:?}").contains("wrongwrong") && !format!("{ill:?}").contains("T0HIDDEN0"),
        "{ill:?}"
    );
    let json = site.run("notify test --json").ends(1);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        (&json[0]["error"]["code"], &json[1]["error"]),
        (&json!("configuration"), &Value::Null)
    );
    site.with("BKUP_EMAIL_SMTP_SECURITY", "starttls")
        .run("notify test")
        .fails(1, &["BKUP_EMAIL_SMTP_SECURITY"]);
}

#[test]
fn a_webhook_gets_what_it_understands() {
    let web = Web::start("204 No Content", "", "");
    let site = with_webhook(Site::builtin(), &web, "json").with("BKUP_WEBHOOK_TOKEN", "tok-1");
    site.run_script(FAILS, "").ends(1);
    let request = web.requests().remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/services/T0HIDDEN0"));
    assert_eq!(
        (request.headers["authorization"].as_str(), request.headers["content-type"].as_str()),
        ("Bearer tok-1", "application/json")
    );
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(
        (&body["event"], &body["run"]["failures"][0]["volume"]),
        (&json!("failed"), &json!("vol2")),
        "{body}"
    );

    let site = site.with("BKUP_WEBHOOK_FORMAT", "slack");
    site.run_script(FAILS_OTHERWISE, "").ends(1);
    let body: Value = serde_json::from_str(&web.requests()[1].body).unwrap();
    assert!(body["text"].as_str().unwrap().contains("vol3: no space left"), "{body}");

    let site = site.with("BKUP_WEBHOOK_FORMAT", "ntfy");
    site.run_script(GOES_WELL, "").ok();
    let request = web.requests().remove(2);
    assert_eq!(
        (request.headers["title"].as_str(), request.headers["tags"].as_str()),
        ("[db1] mine is well again", "white_check_mark")
    );
}

#[test]
fn gotify_gets_title_message_and_priority_with_its_applications_token() {
    let web = Web::start("200 OK", "", "{\"id\":1}");
    let site = with_webhook(Site::builtin(), &web, "gotify").with("BKUP_WEBHOOK_TOKEN", "A-token");
    site.run_script(FAILS, "").ends(1);
    site.run_script(GOES_WELL, "").ok();
    let requests = web.requests();
    assert_eq!(
        (requests[0].method.as_str(), requests[0].path.as_str()),
        ("POST", "/services/T0HIDDEN0/message")
    );
    assert_eq!(
        (
            requests[0].headers["authorization"].as_str(),
            requests[0].headers["content-type"].as_str()
        ),
        ("Bearer A-token", "application/json")
    );
    let bodies: Vec<Value> =
        requests.iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect();
    assert_eq!(bodies[0]["title"], "[db1] mine failed: vol2: no space left");
    assert!(bodies[0]["message"].as_str().unwrap().contains("convoy-backups runs show 20"));
    assert_eq!(
        (bodies[0]["priority"].as_u64(), bodies[1]["priority"].as_u64()),
        (Some(8), Some(5))
    );
    assert_eq!(bodies[1]["title"], "[db1] mine is well again");
    assert!(site.run("notify list").ok().out.contains("(Gotify)"));
}

#[test]
fn a_service_that_waits_for_pings_hears_of_every_run_but_dry_and_listing_ones() {
    let web = Web::start("200 OK", "", "OK");
    let site = with_webhook(Site::builtin(), &web, "healthchecks");
    for (script, code) in [(GOES_WELL, 0), (FAILS, 1), (FAILS, 1), (GOES_WELL, 0)] {
        site.run_script(script, "").ends(code);
    }
    site.run("volumes").ok();
    site.run_script(GOES_WELL, "--dry-run").ok();
    let pings: Vec<String> = web
        .requests()
        .iter()
        .map(|request| request.path.split('?').next().unwrap().replace("/services/T0HIDDEN0", ""))
        .collect();
    assert_eq!(pings, ["/start", "", "/start", "/fail", "/start", "/fail", "/start", ""]);
    let ids: Vec<String> = web
        .requests()
        .iter()
        .map(|request| request.path.split("rid=").nth(1).unwrap().to_owned())
        .collect();
    assert!(
        ids[0] == ids[1] && ids[2] == ids[3] && ids[1] != ids[2] && ids[0].len() == 36,
        "{ids:?}"
    );
}

#[test]
fn what_a_webhook_refuses_is_said_without_its_address_and_no_redirect_is_followed() {
    let elsewhere = Web::start("200 OK", "", "");
    let location: &'static str = format!("Location: {}/x\r\n", elsewhere.url()).leak();
    for (status, headers, body, words) in [
        ("302 Found", location, "", "redirects are not followed"),
        ("404 Not Found", "", "no hook T0HIDDEN0 here", "404"),
        ("500 Internal Server Error", "", "try\nlater", "try\\nlater"),
        ("403 Forbidden", "", "no", "BKUP_WEBHOOK_TOKEN"),
    ] {
        let web = Web::start(status, headers, body);
        let ran = with_webhook(Site::builtin(), &web, "json").run("notify test").fails(1, &[words]);
        assert!(!format!("{ran:?}").contains("T0HIDDEN0"), "{ran:?}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn amazon_ses_gets_a_signed_request_and_no_secret() {
    let web = Web::start("200 OK", "Content-Type: application/json\r\n", "{\"MessageId\":\"1\"}");
    let ses = |site: Site, web: &Web| {
        with_email(site, 1)
            .with("BKUP_EMAIL_TRANSPORT", "ses")
            .with("BKUP_EMAIL_SES_AWS_ACCESS_KEY_ID", "AKIATEST")
            .with("BKUP_EMAIL_SES_AWS_SECRET_ACCESS_KEY", "secret-key-1234")
            .with("BKUP_EMAIL_SES_REGION", "eu-west-1")
            .with("BKUP_EMAIL_SES_ENDPOINT", web.url())
    };
    let site = ses(Site::builtin(), &web);
    site.run_script(FAILS, "").ends(1);
    let request = web.requests().remove(0);
    assert_eq!(request.path, "/v2/email/outbound-emails");
    let signed = &request.headers["authorization"];
    assert!(
        signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIATEST/")
            && signed.contains("/eu-west-1/ses/"),
        "{signed}"
    );
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["Destination"]["ToAddresses"], json!(["ops@example.com", "bea@example.com"]));
    assert!(body["Content"]["Raw"]["Data"].is_string(), "{body}");
    assert!(!format!("{request:?}").contains("secret-key-1234"));

    let refuses = Web::start(
        "400 Bad Request",
        "Content-Type: application/json\r\nx-amzn-ErrorType: MessageRejected\r\n",
        "{\"message\":\"Email address is not verified.\"}",
    );
    let ran = ses(Site::builtin(), &refuses)
        .run("notify test")
        .fails(1, &["MessageRejected", "not verified"]);
    assert!(!format!("{ran:?}").contains("secret-key-1234"), "{ran:?}");
    assert_eq!(refuses.requests().len(), 3, "together, then one by one");
}

#[test]
fn scripts_write_to_people_and_not_to_arbitrary_hosts_and_a_dry_run_writes_nothing() {
    let (smtp, web) = (Smtp::start(Manners::default()), Web::start("200 OK", "", ""));
    let site = with_webhook(with_email(Site::builtin(), smtp.port()), &web, "json");
    let script = r##"fn main(args) {
        notify::problem("vol1 is old\r\nBcc: x@example.com", "<script>9 days</script>");
        notify::problem("vol1 is old\r\nBcc: x@example.com", "<script>10 days</script>");
        notify::info("report", "all is well");
        notify::email(#{ to: ["only@example.com"], subject: "mine", text: "text", html: "<b>html</b>" });
        notify::webhook(#{ body: #{ text: "raw" } });
    }"##;
    site.run_script(script, "--dry-run").ok();
    assert_eq!((smtp.messages().len(), web.requests().len()), (0, 0));
    site.run_script(script, "").ok();
    let mails = smtp.messages();
    assert_eq!(mails.len(), 3, "{mails:#?}");
    assert_eq!(mails[0].header("Subject"), "[db1] vol1 is old\\r\\nBcc: x@example.com");
    assert!(mails[0].data.contains("&lt;script&gt;9 days"), "{mails:#?}");
    assert_eq!(
        (mails[2].header("Subject").as_str(), mails[2].to.join("")),
        ("mine", "only@example.com".into())
    );
    assert!(mails[2].data.contains("<b>html</b>"));
    let bodies: Vec<String> = web.requests().iter().map(|request| request.body.clone()).collect();
    assert_eq!((bodies.len(), bodies[2].as_str()), (3, "{\"text\":\"raw\"}"));

    site.run_script("fn main(args) { notify::webhook(#{ url: \"http://evil\", subject: \"s\", text: \"t\" }); }", "")
        .fails(1, &["takes no \"url\"", "BKUP_WEBHOOK_URL"]);
    site.run_script(
        "fn main(args) { notify::email(#{ to: \"nobody\", subject: \"s\", text: \"t\" }); }",
        "",
    )
    .fails(2, &["\"nobody\" is not an e-mail address"]);
}

#[test]
fn wrong_settings_are_said_at_start_and_nothing_is_done() {
    let email = || with_email(Site::builtin(), 1);
    for (site, words) in [
        (email().with("BKUP_EMAIL_TO", "ops@example.com,a b@c..d"), "BKUP_EMAIL_TO"),
        (email().with("BKUP_EMAIL_TO", "a@b@c"), "BKUP_EMAIL_TO"),
        (email().with("BKUP_EMAIL_FROM", "x@exa mple.com"), "BKUP_EMAIL_FROM"),
        (email().with("BKUP_EMAIL_SMTP_USER", "user"), "BKUP_EMAIL_SMTP_PASS is not"),
        (email().with("BKUP_EMAIL_SMTP_PASS", "hunter2"), "BKUP_EMAIL_SMTP_USER is not"),
        (
            email()
                .with("BKUP_EMAIL_SES_AWS_ACCESS_KEY_ID", "id")
                .with("BKUP_EMAIL_SMTP_USER", "u")
                .with("BKUP_EMAIL_SMTP_PASS", "hunter2"),
            "BKUP_EMAIL_TRANSPORT is not",
        ),
        (
            email()
                .with("BKUP_EMAIL_TRANSPORT", "ses")
                .with("BKUP_EMAIL_SES_AWS_ACCESS_KEY_ID", "id"),
            "BKUP_EMAIL_SES_AWS_SECRET_ACCESS_KEY is not",
        ),
        (
            email()
                .with("BKUP_EMAIL_TRANSPORT", "ses")
                .with("BKUP_EMAIL_SES_AWS_SECRET_ACCESS_KEY", "hunter2"),
            "BKUP_EMAIL_SES_AWS_ACCESS_KEY_ID is not",
        ),
        (Site::builtin().with("BKUP_WEBHOOK_TOKEN", "hunter2"), "BKUP_WEBHOOK_URL is not"),
        (
            Site::builtin().with("BKUP_WEBHOOK_URL", "https://user:hunter2@example.com/"),
            "BKUP_WEBHOOK_URL",
        ),
        (Site::builtin().with("BKUP_WEBHOOK_URL", "https://exa\\mple/hunter2"), "BKUP_WEBHOOK_URL"),
    ] {
        let ran = site.run("volumes").fails(2, &[words]);
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
        assert!(!site.path("data").exists());
    }
}

#[test]
fn a_data_folder_that_can_not_be_written_keeps_nobody_from_being_told() {
    let smtp = Smtp::start(Manners::default());
    let site = with_email(Site::builtin(), smtp.port());
    fs::create_dir(site.path("data")).unwrap();
    fs::write(site.path("data/notify"), "in the way").unwrap();
    site.run_script(FAILS, "").fails(1, &["sent by this process, or not at all"]);
    assert_eq!(smtp.messages().len(), 1);
}
