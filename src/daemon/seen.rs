//! What is seen of the places of volumes, of each within a limit: the share of one may not answer.

use std::{collections::BTreeSet, path::PathBuf};

use super::{
    database::database_in,
    driver::{Drivers, LISTED_WITHIN},
    moment::{Ask, Kind, Moments, Offer, Place, Told},
    state::VolumeState,
};
use crate::files::look_at_each;

/// What is seen of the place of a volume.
pub(super) struct Seen {
    pub(super) offer: Offer,
    /// How what writes to it is held still, and what is done in containers for it.
    pub(super) told: Told,
    /// The database in it that is saved while it writes, with neither a moment, a hold nor a dump:
    /// [`crate::convoy::LIVE_DATABASE`].
    pub(super) live_database: Option<&'static str>,
    /// Why the volume's files can't be read now, for people.
    pub(super) problem: Option<String>,
}

/// What is seen of the places of these volumes, in their order.
pub(super) fn see(
    drivers: &Drivers,
    moments: &Moments,
    volumes: &[VolumeState],
    ask: &Ask,
) -> Vec<Seen> {
    let mut problems = vec![None; volumes.len()];
    let of: BTreeSet<&str> = volumes.iter().map(|volume| volume.driver.as_str()).collect();
    for driver in of {
        let own = || volumes.iter().enumerate().filter(|(_, volume)| volume.driver == driver);
        let names: Vec<_> = own().map(|(_, volume)| volume.name.as_str()).collect();
        let checked = drivers.of(driver).check(&names, LISTED_WITHIN);
        for ((at, _), checked) in own().zip(checked) {
            problems[at] = checked.err().map(|error| error.message);
        }
    }
    let place = |volume: &VolumeState| drivers.place(&volume.driver, &volume.name);
    let places: Vec<_> = volumes.iter().map(place).collect();
    let offers = moments.offered_all(&places, LISTED_WITHIN);
    let held = moments.held(&places, ask);
    let databases = live_databases(&places, &offers, &held);
    let all = offers.into_iter().zip(problems).zip(held).zip(databases);
    all.map(|(((offer, problem), held), live_database)| {
        let (told, unheld) =
            held.map_or_else(|why| (Told::default(), Some(why)), |told| (told, None));
        Seen { offer, told, live_database, problem: problem.or(unheld) }
    })
    .collect()
}

/// The databases that are saved while they write, with neither a moment, a hold nor a dump, as far as
/// they are recognised.
fn live_databases(
    places: &[Place],
    offers: &[Offer],
    told: &[Result<Told, String>],
) -> Vec<Option<&'static str>> {
    let mut databases = vec![None; places.len()];
    let (mut numbers, mut unknown) = (Vec::new(), Vec::new());
    for (number, ((place, offer), told)) in places.iter().zip(offers).zip(told).enumerate() {
        let Ok(told) = told else { continue };
        let is_live = offer.kind == Kind::Live && told.held.is_none();
        if !is_live || told.has_dumps || !told.is_written {
            continue;
        }
        databases[number] = told.database;
        if told.database.is_none() {
            numbers.push(number);
            unknown.push((place.folder.clone(), place.folder.clone()));
        }
    }
    let looks = look_at_each(&unknown, LISTED_WITHIN, |folder: PathBuf| database_in(&folder));
    for (number, seen) in numbers.into_iter().zip(looks) {
        databases[number] = seen.ok().flatten();
    }
    databases
}
