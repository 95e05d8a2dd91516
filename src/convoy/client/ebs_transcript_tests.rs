//! Serves every exchange that was recorded from the real daemon with its EBS driver to the client.

use serde_json::Value;

use super::{
    fault_tests::client,
    transcript_tests::{bytes, call, outcome},
};
use crate::support::{
    faulty::{Answer, Faulty},
    transcripts::{self, Exchange},
};

/// What the client must make of a refusal: things that are not there any more, and everything else.
const NOT_FOUND: [&str; 15] = [
    "list backups of a volume that is not there",
    "inspect a volume that is not there",
    "snapshot of a volume that is not there",
    "inspect a snapshot that is not there",
    "back up a snapshot that is not there",
    "delete a backup that is gone",
    "inspect a backup that is gone",
    "back up a snapshot whose backup was deleted",
    "delete a snapshot that is gone",
    "inspect a snapshot that is gone",
    "restore from a backup that is gone",
    "list backups of a volume that was deleted",
    "inspect the snapshot of a volume that was deleted",
    "delete the snapshot of a volume that was deleted",
    "delete a volume that is gone",
];
const OTHER_REFUSALS: [&str; 1] = ["inspect a backup while Amazon refuses"];

/// The expected outcome for the recorded answer, worked out from the record.
fn expected(exchange: &Exchange) -> Value {
    let response = &exchange.response;
    if response.status != 200 {
        let code = if NOT_FOUND.contains(&exchange.name.as_str()) { "not_found" } else { "daemon" };
        let words = response.body.split_whitespace().collect::<Vec<_>>().join(" ");
        return format!("{code} {}: {words}", response.status).into();
    }
    if response.body.is_empty() {
        return Value::Null;
    }
    let sent: Value = serde_json::from_str(&response.body).unwrap();
    match exchange.request.path.as_str() {
        "/v1/backups/create" => sent["URL"].clone(),
        "/v1/backups/list" => {
            let mut backups: Vec<_> = sent.as_object().unwrap().iter().collect();
            backups.sort_by_key(|(url, _)| *url);
            backups.into_iter().map(|(_, backup)| backup.clone()).collect()
        }
        "/v1/backups/inspect" => {
            let mut inspected = sent;
            inspected["BackupURL"] = exchange.request.body.as_ref().unwrap()["URL"].clone();
            inspected
        }
        _ => sent,
    }
}

#[tokio::test]
async fn every_exchange_recorded_from_the_ebs_driver_is_understood() {
    let exchanges = transcripts::ebs_exchanges();
    let mut refused = Vec::new();
    for exchange in &exchanges {
        let folder = tempfile::tempdir().unwrap();
        let route = format!("{} {}", exchange.request.method, exchange.request.path);
        let body = exchange.request.body.as_ref().map(Value::to_string).unwrap_or_default();
        let answer = Answer::Raw(bytes(&exchange.response));
        let daemon = Faulty::start(folder.path()).answer_to(&route, &body, answer);
        let result = outcome(call(&client(&daemon), &exchange.request).await);
        let result = serde_json::from_str::<Value>(&result).unwrap_or_else(|_| result.into());
        assert_eq!(result, expected(exchange), "{}", exchange.name);
        if exchange.response.status != 200 {
            refused.push(exchange.name.as_str());
        }
    }
    let mut known = [&NOT_FOUND[..], &OTHER_REFUSALS].concat();
    known.sort_unstable();
    refused.sort_unstable();
    assert_eq!(refused, known);
    assert_eq!(exchanges.len(), 57);
}
