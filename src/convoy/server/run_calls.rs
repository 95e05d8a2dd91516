//! Calls that are for runs: which run that is, and their end with it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper::header::HeaderMap;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use crate::{
    convoy::{CALL, IN_HOLD, LOCK_WAIT, RUN},
    scope::Scope,
    sync::lock,
};

/// The longest name of a run or of a call.
const LONGEST_NAME: usize = 80;

/// The calls for runs that go on, by their names.
#[derive(Debug, Default)]
pub(super) struct RunCalls(Arc<Mutex<HashMap<String, CancellationToken>>>);

/// A call for a run. If this is dropped before it is answered, its client has gone, and the call is to
/// end.
pub(super) struct OfRun {
    pub(super) scope: Scope,
    name: String,
    is_answered: bool,
    calls: Arc<Mutex<HashMap<String, CancellationToken>>>,
}

impl RunCalls {
    /// A call that begins; `None` if it is for no run.
    pub(super) fn begin(&self, headers: &HeaderMap) -> Option<OfRun> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let is_name = |name: &&str| {
            let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_.:".contains(letter);
            !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(is_part)
        };
        let run = text(RUN).filter(is_name)?;
        let name = text(CALL).filter(is_name)?.to_owned();
        let lock_wait = text(LOCK_WAIT).and_then(|wait| wait.parse().ok());
        let lock_wait = lock_wait.map(Duration::from_millis);
        let hold = text(IN_HOLD).filter(is_name).map(Into::into);
        let scope = Scope { lock_wait, hold, ..Scope::of(run) };
        lock(&self.0).insert(name.clone(), scope.ended.clone());
        Some(OfRun { scope, name, is_answered: false, calls: Arc::clone(&self.0) })
    }

    /// Ends the call that a request's body names.
    pub(super) fn end(&self, body: &[u8]) -> Answer {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Ended {
            call: String,
        }
        let Ok(Ended { call }) = serde_json::from_slice(body) else {
            return Answer::error(400, "the field Call is missing");
        };
        match lock(&self.0).get(&call) {
            Some(ended) => ended.cancel(),
            None => {
                return Answer::error(409, "there is no such call; if it is on its way, try again");
            }
        }
        Answer::text(String::new())
    }
}

impl OfRun {
    /// The call is answered. What it has begun and left behind, such as a hold, goes on.
    pub(super) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for OfRun {
    fn drop(&mut self) {
        lock(&self.calls).remove(&self.name);
        if !self.is_answered {
            self.scope.ended.cancel();
        }
    }
}
