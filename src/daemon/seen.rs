//! What is seen of the places of volumes, of each within a limit: the share of one may not answer.

use std::collections::BTreeSet;

use super::{
    driver::{Drivers, LISTED_WITHIN},
    moment::{Moments, Offer},
    state::VolumeState,
};

/// What is seen of the place of a volume.
pub(super) struct Seen {
    pub(super) offer: Offer,
    /// How what writes to it is held still: [`crate::convoy::HOLD`].
    pub(super) held: Option<String>,
    /// Why the volume's files can't be read now, for people.
    pub(super) problem: Option<String>,
}

/// What is seen of the places of these volumes, in their order. How they are held is asked of Docker,
/// unless it is Docker that waits for this.
pub(super) fn see(
    drivers: &Drivers,
    moments: &Moments,
    volumes: &[VolumeState],
    may_ask_docker: bool,
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
    let offers = moments.offered_all(&places, LISTED_WITHIN).into_iter();
    let held = if may_ask_docker { moments.held(&places) } else { vec![Ok(None); places.len()] };
    let all = offers.zip(problems).zip(held);
    all.map(|((offer, problem), held)| {
        let (held, unheld) = held.map_or_else(|why| (None, Some(why)), |held| (held, None));
        Seen { offer, held, problem: problem.or(unheld) }
    })
    .collect()
}
