//! Gives back the space of what no backup needs, once a day at each destination, whether anything was deleted
//! or not: what failed runs have left goes as well, and what waits for its day.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use super::state::ServeState;
use crate::{
    blocking,
    clock::{Clock as _, SystemClock},
    config::Config,
    convoy::{Daemon, Destination},
    diagnostic::{explained, in_one_line},
    error::ErrorKind,
    notify::Notifier,
    schedule::CrontabEntry,
    script::Effect,
};

/// The pause between the start of `serve` and the first time: a start has enough to do.
const FIRST: Duration = Duration::from_hours(1);
const PAUSE: Duration = Duration::from_hours(24);
/// The pause until it is tried again where backups, or other hosts, are in the way.
const BUSY: Duration = Duration::from_hours(1);
/// The key of the problem that space is not given back at a destination, without its URL.
const KEY: &str = "space ";

/// A destination at which space is given back.
struct Place {
    config: Arc<Config>,
    destination: Destination,
    /// Whether this host deletes backups there. If not, another one may be meant to, and a key that may
    /// not delete is no problem.
    is_pruned: bool,
}

/// Gives back space once a day, until it is told to stop.
pub(super) async fn keep(state: Arc<ServeState>, stop: CancellationToken) {
    let (mut pause, mut denied) = (FIRST, BTreeSet::new());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = give_back_everywhere(&state, &mut denied).await;
    }
}

/// Returns the pause until the next time. `denied` has the URLs of where it was told that the key may not.
async fn give_back_everywhere(state: &ServeState, denied: &mut BTreeSet<String>) -> Duration {
    let places = places(&state.crontab().entries, &state.config);
    drop_unused(&state.notifier, &places).await;
    let (mut pause, zone) = (PAUSE, SystemClock.time_zone());
    for place in places.values() {
        // A daemon that can't be reached is a problem of its own.
        let Ok(connection) = state.daemons.get(&place.config).await else { continue };
        if !give_back(&*connection.daemon, place, (&state.notifier, denied), &zone).await {
            pause = BUSY;
        }
    }
    pause
}

/// The destinations of these lines, or of the configuration if there are none, by their URLs.
fn places(entries: &[Arc<CrontabEntry>], config: &Arc<Config>) -> BTreeMap<String, Place> {
    let mut places = BTreeMap::new();
    let of = |config: &Arc<Config>| Some((config.clone(), config.backup_url.clone()?));
    let lines = entries.iter().filter_map(|entry| {
        let prunes = entry.does.contains(&Effect::Prune) && !entry.dry_run;
        Some((of(&entry.config)?, prunes))
    });
    for ((config, destination), prunes) in of(config).map(|it| (it, false)).into_iter().chain(lines)
    {
        let place = Place { config, destination: destination.clone(), is_pruned: false };
        let known = places.entry(destination.to_string()).or_insert(place);
        known.is_pruned |= prunes;
    }
    places
}

/// A destination that is no longer used has no problem.
async fn drop_unused(notifier: &Arc<Notifier>, places: &BTreeMap<String, Place>) {
    let used: Vec<String> = places.keys().map(|url| format!("{KEY}{url}")).collect();
    let notifier = notifier.clone();
    blocking::run(move || {
        let known = notifier.problems().unwrap_or_default();
        let ours = known.keys().filter_map(|key| key.strip_prefix("problem "));
        for key in ours.filter(|key| key.starts_with(KEY) && !used.iter().any(|it| it == key)) {
            notifier.drop_problem(key);
        }
    })
    .await;
}

/// Gives back space at a destination, and reports if it can't. Returns whether that is settled.
async fn give_back(
    daemon: &dyn Daemon,
    place: &Place,
    (notifier, denied): (&Arc<Notifier>, &mut BTreeSet<String>),
    zone: &TimeZone,
) -> bool {
    let at = place.destination.to_string();
    let (key, notifier) = (format!("{KEY}{at}"), notifier.clone());
    match daemon.give_back(&place.destination).await {
        Ok(given) => {
            if let Some(given) = given {
                log::info!("{}", given.sentence(&at, zone));
                given.notes.iter().for_each(|note| log::warn!("{note}"));
            }
            let (subject, text) = (format!("space is given back at {at}"), "It is once a day.");
            blocking::run(move || notifier.resolve(&key, &subject, text)).await;
            true
        }
        Err(error) if error.kind == ErrorKind::Busy => {
            log::info!("space is given back in an hour: {}", in_one_line(&error));
            false
        }
        // Another host prunes there, with another key.
        Err(error) if error.kind == ErrorKind::Denied && !place.is_pruned => {
            let text = format!("this host gives back no space at \"{at}\": {}", error.message);
            let level = if denied.insert(at) { log::Level::Info } else { log::Level::Debug };
            log::log!(level, "{text}");
            true
        }
        Err(error) => {
            log::warn!("space is not given back at \"{at}\": {}", in_one_line(&error));
            if place.is_pruned {
                let subject = format!("space is not given back at {at}");
                let text = format!(
                    "Nothing is lost, but it takes more and more room.\n\n{}",
                    explained(&error)
                );
                blocking::run(move || notifier.problem(&key, &subject, &text)).await;
            }
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::FixedClock,
        convoy::memory::{Fault, MemoryDaemon},
        error::Error,
    };

    fn config(folder: &std::path::Path, url: &str) -> Arc<Config> {
        let data = folder.display().to_string();
        let environment = [
            ("BKUP_DATA_DIR", data.as_str()),
            ("BKUP_BACKUP_URL", url),
            ("BKUP_EMAIL_ENABLED", "true"),
            ("BKUP_EMAIL_SMTP_HOST", "127.0.0.1"),
            ("BKUP_EMAIL_SMTP_PORT", "1"),
        ];
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        Arc::new(Config::from_environment(environment.to_vec(), &[]).unwrap().0)
    }

    #[tokio::test]
    async fn a_destination_where_space_is_not_given_back_is_a_problem_until_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), "vfs:///backups");
        let clock = FixedClock::new("2026-11-23T07:00:00Z".parse().unwrap(), TimeZone::UTC);
        let notifier = Arc::new(Notifier::new(&config, Arc::new(clock)).unwrap());
        let daemon = MemoryDaemon::new();
        let destination = config.backup_url.clone().unwrap();
        let mut place = Place { config, destination, is_pruned: false };
        let told =
            || notifier.waiting().into_iter().map(|it| it.message.subject).collect::<Vec<_>>();
        let mut denied = BTreeSet::new();
        let failed = |kind| Fault::Fails(Error::new(kind, "no rights"));
        for (is_pruned, kind, problems, is_settled) in [
            (false, ErrorKind::Io, 0, true),
            (false, ErrorKind::Denied, 0, true),
            (true, ErrorKind::Busy, 0, false),
            (true, ErrorKind::Io, 1, true),
        ] {
            place.is_pruned = is_pruned;
            daemon.fault("give_back", failed(kind));
            let settled =
                give_back(&daemon, &place, (&notifier, &mut denied), &TimeZone::UTC).await;
            assert_eq!((settled, told().len()), (is_settled, problems), "{kind:?}");
        }
        assert!(told()[0].ends_with("space is not given back at vfs:///backups"), "{:?}", told());
        assert!(denied.contains("vfs:///backups"));
        assert!(give_back(&daemon, &place, (&notifier, &mut denied), &TimeZone::UTC).await);
        assert!(told()[1].ends_with("space is given back at vfs:///backups"), "{:?}", told());
    }
}
