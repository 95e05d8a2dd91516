//! What must hold after each step, judged by what the model knows.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    hosts::Limit,
    model::{Backup, Moment, Volume, age},
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
        Step::PutRight | Step::FailToRemove { .. } => {}
        _ => assert!(gone.is_empty(), "{step:?} deleted {}", gone[0].url),
    }
    if let Step::Run { host, command } = step
        && !command.words.ends_with("--all-hosts")
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
    if world.reaches(host) {
        let gone = |name: &String| report.volumes.iter().any(|it| it.gone && it.name == *name);
        let missed = world.model.missed(host);
        let unsaid = missed.iter().find(|name| !gone(name));
        assert!(unsaid.is_none(), "host {host} does not say that {unsaid:?} is gone: {report:#?}");
    }
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
    if let Some(name) = world.model.missed(host).first().filter(|_| world.reaches(host)) {
        return Verdict::Alarm(format!("\"{name}\" was lost"));
    }
    // A lost volume that had no good backup is missed for a week.
    let was_lost = |volume: &Volume| volume.host == host && volume.is_missed;
    let mut is_well = world.reaches(host)
        && !world.model.volumes.iter().any(was_lost)
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
    let is_open = |backup: &Backup| backup.damage == Some(Damage::Open);
    let Some(good) = world
        .model
        .backups_of(number)
        .filter(|it| proves(it, now))
        .max_by_key(|it| it.saved.taken.truly)
    else {
        let age = age(volume.made, now);
        let is_late = late(world, limit, number, (volume.made, volume.made), now).0;
        return if is_late || newest.is_some() && age > SignedDuration::from_hours(8 * 24) {
            Verdict::Alarm(format!("\"{name}\" has no good backup, and is {age} old"))
        } else {
            Verdict::Open
        };
    };
    let (is_late, is_in_time) = late(world, limit, number, (good.saved.taken, good.made), now);
    if is_late {
        let age = age(good.saved.taken, now);
        return Verdict::Alarm(format!("the newest good backup of \"{name}\" is {age} old"));
    }
    let newest_is_good = newest.is_some_and(|newest| newest.url == good.url);
    let mut backups = world.model.backups_of(number);
    let all_good = backups.all(|backup| backup.damage.is_none() && backup.saved.is_sound);
    let right = [good.saved.taken, good.made, volume.made].iter().all(|it| it.truly == it.shown);
    if is_in_time && newest_is_good && all_good && right && volume.has_files {
        return Verdict::Well;
    }
    if newest.is_some_and(is_open) {
        return Verdict::Alarm(format!("the newest backup of \"{name}\" is broken"));
    }
    if newest.is_some_and(|newest| !newest.saved.is_sound) {
        return Verdict::Alarm(format!("the newest backup of \"{name}\" lacks its files"));
    }
    Verdict::Open
}

/// Whether a backup proves that a volume is safe, if it is new enough.
fn proves(backup: &Backup, now: Timestamp) -> bool {
    backup.is_good() && age(backup.saved.taken, now) > -FUTURE && age(backup.made, now) > -FUTURE
}

/// Whether a backup taken and made at these moments is surely too old, and whether it is surely new
/// enough.
fn late(
    world: &World,
    limit: Limit,
    number: usize,
    (taken, made): (Moment, Moment),
    now: Timestamp,
) -> (bool, bool) {
    let hours = SignedDuration::from_hours;
    let over = match limit {
        Limit::ThreeDays => age(taken, now) - hours(3 * 24),
        Limit::Daily => now.duration_since(next_at_three(made.shown)) - hours(1),
        Limit::Unsaid => {
            // By the distance of its backups, of which the program knows more than the model.
            let mut times: Vec<Timestamp> = world
                .model
                .backups
                .iter()
                .filter(|it| it.volume == number)
                .map(|it| it.made.shown)
                .collect();
            times.sort();
            let distances = times.windows(2).map(|pair| pair[1].duration_since(pair[0]));
            let longest = distances.max().unwrap_or_default().max(hours(4 * 24));
            let age = age(made, now);
            return (age > longest + longest + TOLERANCE, age < hours(24) - TOLERANCE);
        }
    };
    (over > TOLERANCE, over < -TOLERANCE)
}

/// The first 03:00 after this time.
fn next_at_three(after: Timestamp) -> Timestamp {
    let day = 24 * 3_600;
    let days = (after.as_second() - 3 * 3_600).div_euclid(day) + 1;
    Timestamp::from_second(days * day + 3 * 3_600).unwrap()
}
