//! What must hold after each step, judged by what the model knows.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    hosts::Limit,
    model::{Backup, Moment, Volume, age, demanded},
    share::{Damage, Place},
    steps::Step,
    world::World,
};

/// Times that differ by less are not told apart: a snapshot is not taken at the moment of the step.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(30);
/// A backup that is further in the future proves nothing.
const FUTURE: SignedDuration = SignedDuration::from_hours(25);

/// What there was before a step.
pub(super) struct Before {
    /// The newest good backup of each volume: when its snapshot was truly taken.
    newest_good: Vec<Option<Timestamp>>,
    /// The numbers of the backups that were there, and of those that were good.
    there: BTreeSet<usize>,
    good: BTreeSet<usize>,
    /// The volume that the step may delete with all its backups.
    may_go: Option<usize>,
}

impl Before {
    pub(super) fn new(world: &World, step: &Step) -> Self {
        let model = &world.model;
        let newest = |volume| model.newest_good(volume).map(|backup| backup.saved.taken.truly);
        let numbers = |is: &dyn Fn(&Backup) -> bool| {
            let all = model.backups.iter().enumerate();
            all.filter(|(_, backup)| is(backup)).map(|(number, _)| number).collect()
        };
        Self {
            newest_good: (0..model.volumes.len()).map(newest).collect(),
            there: numbers(&|backup| backup.is_there),
            good: numbers(&Backup::is_good),
            may_go: removed_for_good(world, step),
        }
    }
}

/// The volume that `remove --all` names.
fn removed_for_good(world: &World, step: &Step) -> Option<usize> {
    let Step::Run { host, command } = step else { return None };
    let name = command.words.strip_prefix("--volume ")?.strip_suffix(" --all")?;
    world.model.named(*host, name).filter(|_| command.script == "remove")
}

/// The backups that may go: see each rule.
pub(super) fn check_deletions(world: &World, step: &Step, before: &Before) {
    let model = &world.model;
    let gone: Vec<&Backup> = before
        .there
        .iter()
        .map(|number| &model.backups[*number])
        .filter(|backup| !backup.is_there)
        .collect();
    match step {
        Step::Run { command, .. } if matches!(command.script, "prune" | "remove") => {}
        Step::PutRight => {}
        _ => assert!(gone.is_empty(), "{step:?} deleted {}", gone[0].url),
    }
    if let Step::Run { host, command } = step
        && !command.words.ends_with("--all-hosts")
        && demanded::OTHERS_STAY
    {
        let others = gone.iter().find(|backup| model.volumes[backup.volume].host != *host);
        assert!(others.is_none(), "host {host} deleted another host's {}", others.unwrap().url);
    }
    for (volume, newest) in before.newest_good.iter().enumerate() {
        let Some(newest) = newest.filter(|_| before.may_go != Some(volume)) else { continue };
        let stays = model.backups.iter().enumerate().any(|(number, backup)| {
            backup.volume == volume
                && backup.is_there
                && backup.saved.taken.truly >= newest
                && (before.good.contains(&number) || backup.is_good())
        });
        let Volume { host, name, .. } = &model.volumes[volume];
        assert!(stays, "the newest good backup of \"{name}\" of host {host} is gone");
    }
}

/// What `status` must say of a host.
#[derive(Debug)]
enum Verdict {
    /// Something is wrong: `status` says so, and people were told.
    Alarm(String),
    /// All is well, and `status` says so.
    Well,
    /// Neither is certain.
    Open,
}

/// Looks at a host as `serve` does, and compares what it finds with what the model knows.
pub(super) fn check_status(world: &World, host: usize) {
    let of = &world.hosts[host];
    let report = world.runtime.block_on(of.look());
    match verdict(world, host) {
        Verdict::Alarm(why) => {
            assert!(!report.ok, "status of host {host} is ok, but {why}: {:#?}", report.volumes);
            assert!(of.has_told(), "nobody was told by host {host} that {why}");
        }
        Verdict::Well => {
            let wrong = report.volumes.iter().flat_map(|volume| &volume.problems);
            let wrong: Vec<&String> = wrong.chain(&report.problems).collect();
            let told: Vec<&String> = report.open_problems.iter().map(|open| &open.title).collect();
            assert!(report.ok, "all is well at host {host}, but status says {wrong:?} {told:?}");
        }
        Verdict::Open => {}
    }
}

fn verdict(world: &World, host: usize) -> Verdict {
    let of = &world.hosts[host];
    let now = world.shown(host);
    let volumes: Vec<(usize, &Volume)> = world.model.living(host).collect();
    let knows_volumes = world.model.backups.iter().any(|backup| {
        let volume = &world.model.volumes[backup.volume];
        volume.host == host && volume.is_there && backup.is_good()
    });
    if of.is_silent() {
        return Verdict::Alarm("its daemon does not answer".into());
    }
    if of.finds_another_daemon() && knows_volumes {
        return Verdict::Alarm("its daemon is not the one that is found".into());
    }
    if world.share.place() != Place::There && knows_volumes {
        return Verdict::Alarm(format!("the destination is {:?}", world.share.place()));
    }
    let mut is_well = world.reaches(host)
        && !world.is_troubled[host]
        && world.wrong_by[host].is_zero()
        && !volumes.is_empty();
    for (number, volume) in volumes {
        match volume_verdict(world, of.limit, number, volume, now) {
            Verdict::Alarm(why) => return Verdict::Alarm(why),
            Verdict::Well => {}
            Verdict::Open => is_well = false,
        }
    }
    if is_well { Verdict::Well } else { Verdict::Open }
}

fn volume_verdict(
    world: &World,
    limit: Limit,
    number: usize,
    volume: &Volume,
    now: Timestamp,
) -> Verdict {
    let name = &volume.name;
    let newest = world.model.newest(number);
    let proves = |backup: &&Backup| {
        backup.is_good()
            && age(backup.saved.taken, now) > -FUTURE
            && age(backup.made, now) > -FUTURE
    };
    let newest_good =
        world.model.backups_of(number).filter(proves).max_by_key(|backup| backup.saved.taken.truly);
    let late = |moment: Moment, made: Moment| match limit {
        Limit::ThreeDays => age(moment, now) - SignedDuration::from_hours(72),
        Limit::Daily => {
            now.duration_since(next_at_three(made.shown)) - SignedDuration::from_hours(1)
        }
    };
    let has_namesake =
        world.model.backups.iter().any(|backup| {
            backup.volume != number && world.model.volumes[backup.volume].name == *name
        });
    if has_namesake && !demanded::STATUS_GOES_BY_OWN_BACKUPS {
        return Verdict::Open;
    }
    let is_open = |backup: &Backup| backup.damage == Some(Damage::Open);
    if newest.is_some_and(is_open) && !demanded::EVERY_NEWEST_IS_LOOKED_AT {
        return Verdict::Open;
    }
    let is_future = |backup: &Backup| {
        let hour = backup.saved.taken.shown.strftime("%Y%m%dT%H").to_string();
        age(backup.saved.taken, now).is_negative()
            || age(backup.made, now).is_negative()
            || !backup.snapshot.contains(&hour)
    };
    if world.model.backups_of(number).any(is_future) && !demanded::THE_FUTURE_PROVES_NOTHING {
        return Verdict::Open;
    }
    let Some(good) = newest_good else {
        let known = late(volume.made, volume.made);
        return if known > TOLERANCE && newest.is_none() {
            Verdict::Alarm(format!(
                "\"{name}\" has no backup, and is {} old",
                age(volume.made, now)
            ))
        } else if newest.is_some() && age(volume.made, now) > SignedDuration::from_hours(73) {
            Verdict::Alarm(format!("\"{name}\" has no good backup"))
        } else {
            Verdict::Open
        };
    };
    let late = late(good.saved.taken, good.made);
    if late > TOLERANCE {
        return Verdict::Alarm(format!(
            "the newest good backup of \"{name}\" is {} old",
            age(good.saved.taken, now)
        ));
    }
    let newest_is_good = newest.is_some_and(|newest| newest.url == good.url);
    let no_damage = world.model.backups_of(number).all(|backup| backup.damage.is_none());
    let no_doubt = world.model.backups_of(number).all(|backup| backup.saved.is_sound);
    let right = [good.saved.taken, good.made, volume.made].iter().all(|it| it.truly == it.shown);
    if late < -TOLERANCE && newest_is_good && no_damage && no_doubt && right && volume.is_sound {
        return Verdict::Well;
    }
    if newest.is_some_and(is_open) {
        return Verdict::Alarm(format!("the newest backup of \"{name}\" is broken"));
    }
    Verdict::Open
}

/// The first 03:00 after this time.
fn next_at_three(after: Timestamp) -> Timestamp {
    let day = 24 * 3_600;
    let days = (after.as_second() - 3 * 3_600).div_euclid(day) + 1;
    Timestamp::from_second(days * day + 3 * 3_600).unwrap()
}
