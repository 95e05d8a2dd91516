//! What the engine did to containers and volumes in a stretch of time.

use std::{collections::BTreeMap, time::Instant};

use jiff::Timestamp;
use serde::Deserialize;

use super::{Engine, HOLD_LABEL, failure};
use crate::error::Result;

/// How long the engine may take to tell its events.
const TOLD_WITHIN: std::time::Duration = std::time::Duration::from_secs(20);
/// So many events an engine keeps, of all kinds. Where so many came, earlier ones may be lost, so all
/// are asked for: a filter would hide how many there were.
const KEPT: usize = 256;

/// What happened by which something may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A container was started, or let go on.
    WentOn {
        /// The container's id.
        id: String,
        /// Its name, else its id.
        name: String,
        /// Its label [`HOLD_LABEL`].
        hold: Option<String>,
    },
    /// A container that was started has this volume, and may write to it.
    Mounted {
        volume: String,
        /// The container's id.
        container: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    #[serde(rename = "Type", default)]
    kind: String,
    #[serde(default)]
    action: String,
    actor: Actor,
    /// In nanoseconds since 1970.
    #[serde(rename = "timeNano", default)]
    time: i128,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

impl Told {
    fn event(mut self) -> Option<Event> {
        let id = self.actor.id;
        let mut attribute = |name: &str| self.actor.attributes.remove(name);
        match (self.kind.as_str(), self.action.as_str()) {
            ("container", "start" | "unpause") => Some(Event::WentOn {
                name: attribute("name").unwrap_or_else(|| id.clone()),
                hold: attribute(HOLD_LABEL),
                id,
            }),
            ("volume", "mount") if attribute("read/write").as_deref() != Some("false") => {
                Some(Event::Mounted { volume: id, container: attribute("container")? })
            }
            _ => None,
        }
    }
}

impl Engine {
    /// What was started, let go on or mounted in this stretch of time, which is over; and whether the
    /// engine may have lost some of it.
    ///
    /// # Errors
    /// If the engine can't be reached, or does not tell.
    pub(crate) fn events(
        &self,
        (since, until): (Timestamp, Timestamp),
    ) -> Result<(Vec<Event>, bool)> {
        let second = |time: Timestamp| {
            format!("{}.{:09}", time.as_second(), time.subsec_nanosecond().max(0))
        };
        // What happened since may have taken the place of what is asked for.
        let now = Timestamp::now().max(until);
        let route = format!("/events?since={}&until={}&stream=false", second(since), second(now));
        let within = Instant::now() + TOLD_WITHIN;
        let answer = self.call_until(&hyper::Method::GET, &route, None, within)?;
        let told = serde_json::Deserializer::from_slice(&answer.body).into_iter::<Told>();
        let told: Vec<Told> = told.collect::<Result<_, _>>().map_err(|error| {
            failure::no_sense(&self.socket, &error.to_string()).with_request("GET /events")
        })?;
        let may_lack = told.len() >= KEPT;
        let meanwhile = told.into_iter().filter(|told| told.time <= until.as_nanosecond());
        Ok((meanwhile.filter_map(Told::event).collect(), may_lack))
    }
}
