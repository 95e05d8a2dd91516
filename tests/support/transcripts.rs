//! The exchanges recorded from the real daemon, with its vfs driver and with its EBS driver.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Transcripts {
    exchanges: Vec<Exchange>,
}

/// One exchange.
#[derive(Debug, Clone, Deserialize)]
pub struct Exchange {
    pub name: String,
    pub request: Request,
    pub response: Response,
}

/// What was asked.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Option<Value>,
}

/// What was answered.
#[derive(Debug, Clone, Deserialize)]
pub struct Response {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: String,
}

/// The exchanges with the vfs driver, in the order in which they were recorded.
pub fn exchanges() -> Vec<Exchange> {
    let text = include_str!("../data/transcripts.json");
    serde_json::from_str::<Transcripts>(text).unwrap().exchanges
}

/// The exchanges with the EBS driver, in the order in which they were recorded. Amazon's part was
/// played by a simulation of EC2.
pub fn ebs_exchanges() -> Vec<Exchange> {
    let text = include_str!("../data/ebs-transcripts.json");
    serde_json::from_str::<Transcripts>(text).unwrap().exchanges
}
