//! Inspecting many backups: by one call to our server, by a call for each to Convoy.

use std::time::Instant;

use serde_json::{Map, Value};

use super::Client;
use crate::{
    convoy::{Answered, Backup, BackupUrl, Daemon as _, INSPECTION_TIME, route},
    error::{Error, ErrorKind, Result},
};

impl Client {
    /// What our server found; `None` from Convoy.
    pub(super) async fn inspect_at_once(
        &self,
        urls: &[BackupUrl],
    ) -> Result<Option<Vec<Result<Backup>>>> {
        let mut body = Map::new();
        body.insert("URLs".into(), urls.iter().map(|url| Value::from(url.to_string())).collect());
        let deadline = self.deadlines().listing;
        let call = self.get(route::BACKUPS_INSPECTED, Some(body.into()), deadline);
        let request = call.request();
        let Some(answer) = self.beyond_convoy::<Vec<Answered<Backup>>>(call).await? else {
            return Ok(None);
        };
        if answer.len() > urls.len() || (answer.is_empty() && !urls.is_empty()) {
            let message =
                format!("{} backups were inspected instead of {}", answer.len(), urls.len());
            return Err(Error::new(ErrorKind::Protocol, message).with_request(request));
        }
        let inspected = answer.into_iter().map(Result::from);
        let named = |(url, backup): (&BackupUrl, Result<Backup>)| Ok(backup?.with_url(url));
        Ok(Some(urls.iter().zip(inspected).map(named).collect()))
    }

    /// What a call for each of the first backups found. A daemon that does not answer ends it.
    pub(super) async fn inspect_one_by_one(
        &self,
        urls: &[BackupUrl],
    ) -> Result<Vec<Result<Backup>>> {
        let started = Instant::now();
        let mut inspected = Vec::new();
        for url in urls {
            if started.elapsed() > INSPECTION_TIME {
                break;
            }
            match self.backup(url).await {
                Err(error) if gave_no_answer(error.kind) => return Err(error),
                answer => inspected.push(answer),
            }
        }
        Ok(inspected)
    }
}

fn gave_no_answer(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Protocol)
}
