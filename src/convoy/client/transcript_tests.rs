//! Serves every exchange that was recorded from the real daemon to the client, byte for byte and
//! over a real socket.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{fault_tests::client, *};
use crate::support::{
    faulty::{Answer, Faulty},
    transcripts::{self, Exchange, Request, Response},
};

/// The answer as Go writes it.
pub(super) fn bytes(response: &Response) -> Vec<u8> {
    let Response { status, content_type, body } = response;
    let content_type =
        content_type.as_ref().map(|t| format!("Content-Type: {t}\r\n")).unwrap_or_default();
    format!("HTTP/1.1 {status} X\r\n{content_type}Content-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// How a recorded exchange is tried.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// The client sends this very request.
    Sent,
    /// The client sends the request with `Verbose`, and gets the recorded answer to the request
    /// without it.
    Bare,
    /// The client can't send the request (a bad name, no name, no body, another route, another
    /// version). The client sends the nearest request that it can, and gets the recorded answer.
    Unsendable,
    /// Docker sends this request, not the client. The server's tests try it.
    Docker,
}

fn kind(exchange: &Exchange) -> Kind {
    const UNSENDABLE: [&str; 8] = [
        "create a volume without a name",
        "endpoint without a backup",
        "inspect with a bad name",
        "inspect with no body",
        "snapshot, bare, no name given",
        "inspect a backup, \\u0026 spelt out",
        "a route that is not there",
        "a method that is not allowed",
    ];
    // Convoy refuses these requests before it reads anything else. The client already refuses to
    // build the URL.
    const REFUSED_BEFORE: [&str; 1] = ["back up to a scheme that is not known"];
    let name = exchange.name.as_str();
    if name.starts_with("docker:") {
        Kind::Docker
    } else if UNSENDABLE.contains(&name)
        || REFUSED_BEFORE.contains(&name)
        || !exchange.request.headers.is_empty()
    {
        Kind::Unsendable
    } else if ["/create", "/mount"].iter().any(|end| exchange.request.path.ends_with(end))
        && exchange.request.body.as_ref().is_none_or(|body| body.get("Verbose").is_none())
    {
        Kind::Bare
    } else {
        Kind::Sent
    }
}

/// The value as JSON text, or the error as `code status: message`.
pub(super) fn outcome(result: Result<Value>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(error) => {
            assert!(error.request.is_some(), "{error:?}");
            format!("{} {}: {}", error.kind.code(), error.status.unwrap_or(0), error.message)
        }
    }
}

/// Calls the trait's method for the route with the recorded arguments. Arguments that the client
/// can't send are replaced.
pub(super) async fn call(client: &Client, request: &Request) -> Result<Value> {
    let text = |key: &str| request.body.as_ref().and_then(|body| body[key].as_str());
    let name = |key: &str| {
        Name::volume(text(key).unwrap_or_default()).or_else(|_| Name::volume("stand-in"))
    };
    let url = |key: &str| BackupUrl::parse(text(key).unwrap());
    let destination = || {
        Destination::parse(text("URL").unwrap()).or_else(|_| Destination::parse("vfs:///stand-in"))
    };
    let value = |value: serde_json::Result<Value>| Ok(value.unwrap());
    let to = |result: Result<()>| result.map(|()| Value::Null);
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/info" | "/v1/nope") => value(serde_json::to_value(client.info().await?)),
        ("GET" | "PUT", "/v1/volumes/list") => value(serde_json::to_value(client.volumes().await?)),
        ("GET", "/v1/volumes/list?driver=1") => {
            value(serde_json::to_value(client.driver_volumes().await?))
        }
        ("GET", "/v1/volumes/") => {
            value(serde_json::to_value(client.volume(&name("VolumeName")?).await?))
        }
        ("POST", "/v1/volumes/create") => {
            let mut volume = NewVolume::named(name("Name")?);
            volume.driver = text("DriverName").map(str::to_owned);
            volume.size = request.body.as_ref().and_then(|body| body["Size"].as_u64());
            volume.backup = text("BackupURL").map(|_| url("BackupURL")).transpose()?;
            value(serde_json::to_value(client.create_volume(&volume).await?))
        }
        ("POST", "/v1/volumes/mount") => {
            value(serde_json::to_value(client.mount_volume(&name("VolumeName")?, None).await?))
        }
        ("POST", "/v1/volumes/umount") => to(client.unmount_volume(&name("VolumeName")?).await),
        ("DELETE", "/v1/volumes/") => {
            to(client.delete_volume(&name("VolumeName")?, None, false).await)
        }
        ("POST", "/v1/snapshots/create") => value(serde_json::to_value(
            client.create_snapshot(&name("VolumeName")?, &name("Name")?).await?,
        )),
        ("GET", "/v1/snapshots/") => {
            value(serde_json::to_value(client.snapshot(&name("SnapshotName")?).await?))
        }
        ("DELETE", "/v1/snapshots/") => to(client.delete_snapshot(&name("SnapshotName")?).await),
        ("GET", "/v1/backups/list") => {
            let volume = text("VolumeName").map(Name::volume).transpose()?;
            value(serde_json::to_value(client.backups(&destination()?, volume.as_ref()).await?))
        }
        ("GET", "/v1/backups/inspect") => {
            value(serde_json::to_value(client.backup(&url("URL")?).await?))
        }
        ("POST", "/v1/backups/create") => Ok(client
            .create_backup(&name("SnapshotName")?, &destination()?)
            .await?
            .to_string()
            .into()),
        ("DELETE", "/v1/backups") => to(client.delete_backup(&url("URL")?, &[]).await),
        other => panic!("no method for {other:?}"),
    }
}

/// The expected outcome for the recorded answer. It is worked out from the record, not by the
/// client's own code.
fn expected(exchange: &Exchange, kind: &Kind) -> String {
    let Response { status, body, .. } = &exchange.response;
    let words = body.split_whitespace().collect::<Vec<_>>().join(" ");
    if *status != 200 {
        let code = match exchange.name.as_str() {
            "a route that is not there" | "a method that is not allowed" => {
                return format!("protocol 404: the daemon does not know this request: \"{words}\"");
            }
            "umount a volume that is not there"
            | "inspect a volume that is not there"
            | "snapshot of a volume that is not there"
            | "inspect a snapshot that is not there"
            | "list backups of a volume never backed up"
            | "back up a snapshot that is not there"
            | "inspect a backup that is not there"
            | "restore from a backup that is not there"
            | "delete a backup that is gone"
            | "delete a snapshot that is gone"
            | "delete a volume that is gone" => "not_found",
            _ => "daemon",
        };
        return format!("{code} {status}: {words}");
    }
    if body.is_empty() {
        return "null".into();
    }
    let sent: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    match exchange.request.path.as_str() {
        "/v1/backups/create" if *kind == Kind::Bare => {
            Value::from(body.replace("\\u0026", "&")).to_string()
        }
        "/v1/backups/create" => sent["URL"].to_string(),
        "/v1/backups/list" => {
            let mut backups: Vec<_> = sent.as_object().unwrap().iter().collect();
            backups.sort_by_key(|(url, _)| (*url).clone());
            Value::Array(backups.into_iter().map(|(_, info)| info.clone()).collect()).to_string()
        }
        "/v1/volumes/mount" if *kind == Kind::Sent => {
            format!(r#"{{"Name":{},"MountPoint":{}}}"#, sent["Name"], sent["MountPoint"])
        }
        _ if sent.is_null() => {
            // A bare name or path: the client never asks for one, and must not accept one in place
            // of the JSON it asked for.
            format!(
                "protocol 0: the answer makes no sense: \"{body}\" (expected value at line 1 column 1)"
            )
        }
        _ => sent.to_string(),
    }
}

#[tokio::test]
async fn every_recorded_exchange_is_understood() {
    let mut tried = BTreeSet::new();
    let mut count = [0; 4];
    let exchanges = transcripts::exchanges();
    for exchange in &exchanges {
        let kind = kind(exchange);
        assert!(tried.insert(&exchange.name), "{:?} is recorded twice", exchange.name);
        if kind == Kind::Docker {
            assert!(
                exchange.request.path.starts_with("/VolumeDriver.")
                    || exchange.request.path == "/Plugin.Activate"
            );
            count[3] += 1;
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let route = match exchange.request.path.as_str() {
            "/v1/nope" => "GET /v1/info".to_owned(),
            path if exchange.request.method == "PUT" => format!("GET {path}"),
            path => format!("{} {path}", exchange.request.method),
        };
        let daemon =
            Faulty::start(folder.path()).answer(&route, Answer::Raw(bytes(&exchange.response)));
        let mut client = client(&daemon);
        client.options.endpoint = exchange
            .request
            .body
            .as_ref()
            .and_then(|body| Some(body["Endpoint"].as_str()?.to_owned()));
        let result = outcome(call(&client, &exchange.request).await);
        let parsed =
            |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| text.into());
        let expected = expected(exchange, &kind);
        // Texts that are not JSON, which are errors, are compared as they are. JSON is compared
        // regardless of the order of its keys.
        assert_eq!(parsed(&result), parsed(&expected), "{}", exchange.name);

        let requests = daemon.requests();
        assert_eq!(requests.len(), 1, "{}: {requests:?}", exchange.name);
        let sent = &requests[0];
        assert_eq!(sent.line(), route);
        assert_eq!(sent.headers["host"], "localhost");
        assert_eq!(sent.headers["user-agent"], "Convoy-Client/1");
        let sent_body =
            (!sent.body.is_empty()).then(|| serde_json::from_str::<Value>(&sent.body).unwrap());
        let mut recorded = exchange.request.body.clone();
        match kind {
            Kind::Unsendable => count[2] += 1,
            Kind::Sent => {
                count[0] += 1;
                assert_eq!(sent_body, recorded, "{}", exchange.name);
            }
            Kind::Bare => {
                count[1] += 1;
                recorded.as_mut().unwrap()["Verbose"] = true.into();
                assert_eq!(sent_body, recorded, "{}", exchange.name);
            }
            Kind::Docker => unreachable!(),
        }
    }
    assert_eq!(
        count,
        [36, 12, 10, 14],
        "sent as recorded, bare, not to be sent by this client, Docker's"
    );
    assert_eq!(tried.len(), 72);
}

#[tokio::test]
async fn an_ebs_backup_has_no_url_of_its_own_and_gets_the_one_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let inspected = r#"{"Region":"us-east-1","EBSSnapshotID":"snap-0f1","State":"completed","StartTime":"Mon Nov 23 07:00:48 +0000 2026"}"#;
    let daemon = Faulty::start(folder.path())
        .answer("GET /v1/backups/inspect", Answer::json(inspected))
        .answer(
            "GET /v1/backups/list",
            Answer::json(r#"{"ebs://us-east-1/snap-0f1":{"State":"pending"}}"#),
        );
    let client = client(&daemon);
    let url = BackupUrl::parse("ebs://us-east-1/snap-0f1").unwrap();
    let backup = client.backup(&url).await.unwrap();
    assert_eq!(backup.url().unwrap(), url);
    assert!(backup.is_complete() && backup.created().is_some());
    let listed =
        client.backups(&Destination::parse("ebs://us-east-1/").unwrap(), None).await.unwrap();
    assert_eq!(listed[0].url().unwrap(), url);
    assert!(!listed[0].is_complete());
}

#[tokio::test]
async fn what_a_new_volume_shall_be_is_all_sent() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Faulty::start(folder.path());
    let mut client = client(&daemon);
    client.options.endpoint = Some("http://s3.example:9000".into());
    let volume = NewVolume {
        driver: Some("ebs".into()),
        size: Some(40 << 30),
        volume_type: Some("io1".into()),
        iops: Some(1000),
        driver_volume_id: Some("vol-1".into()),
        prepare_for_vm: true,
        ..NewVolume::named(Name::volume("vol1").unwrap())
    };
    client.create_volume(&volume).await.unwrap_err();
    client.delete_volume(&volume.name, None, true).await.unwrap_err();
    client.mount_volume(&volume.name, Some("/mnt/here")).await.unwrap_err();
    let bodies: Vec<_> = daemon.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(
        bodies,
        [
            r#"{"Name":"vol1","DriverName":"ebs","Size":42949672960,"DriverVolumeID":"vol-1","Type":"io1","IOPS":1000,"PrepareForVM":true,"Verbose":true}"#,
            r#"{"VolumeName":"vol1","ReferenceOnly":true}"#,
            r#"{"VolumeName":"vol1","Verbose":true,"MountPoint":"/mnt/here"}"#,
        ]
    );
}

#[tokio::test]
async fn the_s3_endpoint_is_sent_for_s3_alone() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Faulty::start(folder.path());
    let mut client = client(&daemon);
    client.options.endpoint = Some("http://s3.example:9000".into());
    let snapshot = Name::snapshot("s1").unwrap();
    for (url, is_s3) in [
        ("vfs:///mnt/backups?backup=b1&volume=vol1", false),
        ("s3://bucket@region/path?backup=b1&volume=vol1", true),
        ("ebs://us-east-1/snap-1", false),
    ] {
        let backup = BackupUrl::parse(url).unwrap();
        let destination = backup.destination();
        let before = daemon.requests().len();
        let restored = NewVolume {
            backup: Some(backup.clone()),
            ..NewVolume::named(Name::volume("vol2").unwrap())
        };
        client.backups(&destination, None).await.unwrap_err();
        assert_eq!(client.is_used(&destination).await.unwrap(), None);
        client.backup(&backup).await.unwrap_err();
        client.create_backup(&snapshot, &destination).await.unwrap_err();
        client.delete_backup(&backup, &[]).await.unwrap_err();
        client.create_volume(&restored).await.unwrap_err();
        let requests = daemon.requests().split_off(before);
        assert_eq!(requests.len(), 6);
        for request in requests {
            assert_eq!(request.body.contains("Endpoint"), is_s3, "{} {url}", request.line());
        }
    }
}

#[tokio::test]
async fn a_convoy_without_our_routes_is_taken_as_convoy_is() {
    let no_such_route = transcripts::exchanges()
        .into_iter()
        .find(|exchange| exchange.name == "a route that is not there")
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let daemon = Faulty::start(folder.path())
        .answer("GET /v1/capabilities", Answer::Raw(bytes(&no_such_route.response)))
        .answer("GET /v1/backups/used", Answer::Raw(bytes(&no_such_route.response)))
        .answer("GET /v1/backups/inspected", Answer::Raw(bytes(&no_such_route.response)))
        .answer("GET /v1/backups/inspect", Answer::json(r#"{"BackupName":"backup-1"}"#))
        .answer("GET /v1/backups/inspect", Answer::Text(400, "AccessDenied\n".into()));
    let client = client(&daemon);
    assert_eq!(client.capabilities().await.unwrap(), Capabilities::CONVOY);
    let bucket = Destination::parse("s3://bucket@region/path").unwrap();
    assert_eq!(client.is_used(&bucket).await.unwrap(), None);
    let urls = [1, 2].map(|number| {
        let url = format!("s3://bucket@region/path?backup=backup-{number}&volume=vol1");
        BackupUrl::parse(&url).unwrap()
    });
    let inspected = client.inspect_backups(&urls).await.unwrap();
    assert_eq!(inspected[0].as_ref().unwrap().field("BackupName"), "backup-1");
    assert_eq!(inspected[1].as_ref().unwrap_err().message, "AccessDenied");
}

#[tokio::test]
async fn what_answers_otherwise_when_asked_for_its_capabilities_is_taken_as_convoy_is() {
    let folder = tempfile::tempdir().unwrap();
    let ours = r#"{"DeletesByPrefix":false,"LocksDestinations":true}"#;
    let daemon = Faulty::start(folder.path())
        .answer("GET /v1/capabilities", Answer::json(ours))
        .answer("GET /v1/capabilities", Answer::Text(500, "oops\n".into()))
        .answer("GET /v1/capabilities", Answer::Text(200, "Handler not found\n".into()));
    let client = client(&daemon);
    let expected = Capabilities {
        deletes_by_prefix: false,
        locks_destinations: true,
        lists_all: false,
        inspects_data: false,
        backs_up_volumes: false,
        holds_writers: false,
        keeps_required_backups: false,
    };
    assert_eq!(client.capabilities().await.unwrap(), expected);
    for _ in 0..2 {
        // Another daemon may have taken the place at the socket.
        assert_eq!(client.capabilities().await.unwrap(), Capabilities::CONVOY);
    }
}

#[tokio::test]
async fn the_answers_of_our_own_routes_are_understood_with_fields_more_or_less() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Faulty::start(folder.path())
        .answer("GET /v1/capabilities", Answer::json(r#"{"LocksDestinations":true,"Later":1}"#))
        .answer("GET /v1/backups/used", Answer::json(r#"{"Used":false}"#))
        .answer("GET /v1/backups/used", Answer::json(r#"{"Used":null}"#))
        .answer("GET /v1/backups/used", Answer::Text(400, "AccessDenied\n".into()));
    let mut client = client(&daemon);
    client.options.endpoint = Some("http://s3.example:9000".into());
    let capabilities = client.capabilities().await.unwrap();
    assert_eq!(capabilities, Capabilities { locks_destinations: true, ..Capabilities::CONVOY });
    let bucket = Destination::parse("s3://bucket@region/path").unwrap();
    assert_eq!(client.is_used(&bucket).await.unwrap(), Some(false));
    assert_eq!(client.is_used(&bucket).await.unwrap(), None);
    assert_eq!(client.is_used(&bucket).await.unwrap_err().message, "AccessDenied");
    assert_eq!(
        daemon.requests()[1].body,
        r#"{"URL":"s3://bucket@region/path","Endpoint":"http://s3.example:9000"}"#
    );
}
