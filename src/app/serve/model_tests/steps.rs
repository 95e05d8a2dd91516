//! The steps of the model: what can happen next.

use super::{
    hosts::{Command, Kind, Limit},
    share::{Damage, Place},
    world::World,
};

/// The names of volumes: one begins like another.
const NAMES: [&str; 3] = ["vol1", "vol10", "data"];
/// How wrong a clock can be, in hours: in 2036, some days ahead or behind, right.
const WRONG_BY: [i64; 6] = [87_600, 50, 500, -20, -80, 0];

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Time passes, in hours.
    Wait(i64),
    /// New files in a volume.
    Write { host: usize, volume: String },
    /// A command runs.
    Run { host: usize, command: Command },
    /// A host's clock is wrong by so many hours from now on.
    SetClock { host: usize, hours: i64 },
    /// The files of a volume are gone, as when what is mounted there is not.
    LoseSource { host: usize, volume: String },
    /// They are there again.
    FindSource { host: usize, volume: String },
    /// A person says that the loss was meant.
    Accept { host: usize, volume: String },
    /// The destination's folder is moved away, replaced by an empty one, or there again.
    Put(Place),
    /// Another daemon is found than the host's own; or its own again.
    FindAnotherDaemon { host: usize, another: bool },
    /// The daemon stops to answer, or answers again.
    BeSilent { host: usize, silent: bool },
    /// A backup breaks on the disk.
    Break { url: String, damage: Damage },
    /// A removal of a volume fails without an answer.
    FailToRemove { host: usize, volume: String },
    /// A volume goes away past the program, as Docker or Convoy removes it.
    Lose { host: usize, volume: String },
    /// A volume comes past the program, as Docker makes it.
    Appear { host: usize, volume: String },
    /// A list of volumes lacks one for so many hours. It may have come just before, past the program.
    ListShort { host: usize, volume: String, hours: i64 },
    /// cron(8) backs a volume up each week, and people do so now and then.
    BackUpWeekly { host: usize, volume: String },
    /// Everything that is wrong is put right, two days pass, and all is backed up.
    PutRight,
}

/// Chooses what happens next.
pub(super) fn choose(world: &mut World) -> Step {
    let host = world.random.below(world.hosts.len());
    let any = world.random.below(118);
    let volumes: Vec<String> =
        world.model.living(host).map(|(_, volume)| volume.name.clone()).collect();
    let volume = world.random.pick(&volumes);
    match (any, volume) {
        (0..10, _) => Step::Wait(1 + world.random.below(40) as i64),
        (10..22, Some(volume)) => Step::Write { host, volume },
        // A Convoy does not tell what is in a volume.
        (22..25, Some(volume)) if world.kind == Kind::BuiltIn => Step::LoseSource { host, volume },
        (25..29, Some(volume)) => Step::FindSource { host, volume },
        (29..31, Some(volume)) => Step::Accept { host, volume },
        (31..35, _) => {
            let hours = world.random.pick(&WRONG_BY).unwrap_or_default();
            Step::SetClock { host, hours }
        }
        (35..42, _) => {
            let places = [Place::There, Place::There, Place::Away, Place::Empty];
            let place = world.random.pick(&places).unwrap_or(Place::There);
            // A host that has never used the share can't miss it.
            let is_used = |host| {
                let backups = &mut world.model.backups.iter();
                backups.any(|backup| world.model.volumes[backup.volume].host == host)
            };
            let all_use_it = (0..world.hosts.len()).all(is_used);
            Step::Put(if all_use_it { place } else { Place::There })
        }
        // Which daemon it is, the first command decides.
        (42..45, Some(_)) => Step::FindAnotherDaemon { host, another: world.random.percent(40) },
        (45..48, _) => Step::BeSilent { host, silent: world.random.percent(40) },
        (48..51, _) => breakage(world).unwrap_or(Step::Wait(1)),
        (51..54, _) => Step::PutRight,
        // The built-in daemon is part of the program: nothing goes past it.
        (100..103, Some(volume)) if world.kind == Kind::Convoy => {
            Step::FailToRemove { host, volume }
        }
        (103..106, Some(volume)) if world.kind == Kind::Convoy => Step::Lose { host, volume },
        (106..110, _) if world.kind == Kind::Convoy && world.reaches(host) => {
            appearance(world, host)
        }
        (110..116, Some(_)) if world.kind == Kind::Convoy && world.wrong_by[host].is_zero() => {
            // Only looks have seen a volume that comes right now; no run has.
            let comes = world.random.percent(50) && !world.hosts[host].is_silent();
            let volume = match comes {
                true => format!("docker{}", world.model.volumes.len()),
                false => volumes[volumes.len() - 1].clone(),
            };
            Step::ListShort { host, volume, hours: 1 + world.random.below(40) as i64 }
        }
        (116..118, Some(volume)) if is_weekly(world, host) => Step::BackUpWeekly { host, volume },
        (106..118, _) => Step::Wait(1),
        (_, volume) => {
            let command = command(world, host, any, volume);
            Step::Run { host, command }
        }
    }
}

/// A volume with a new name.
fn appearance(world: &World, host: usize) -> Step {
    Step::Appear { host, volume: format!("docker{}", world.model.volumes.len()) }
}

/// Whether nothing but cron(8) backs up the host's volumes, and nothing keeps it from that.
fn is_weekly(world: &World, host: usize) -> bool {
    let is_right = world.wrong_by[host].is_zero();
    world.hosts[host].limit == Limit::Unsaid && is_right && world.reaches(host)
}

/// One of the newest backups breaks.
fn breakage(world: &mut World) -> Option<Step> {
    let numbers: Vec<usize> = (0..world.model.volumes.len()).collect();
    let volume = world.random.pick(&numbers)?;
    let newest = world.model.newest(volume)?;
    let is_breakable = world.kind == Kind::Convoy || !newest.packs.is_empty();
    let url = newest.url.clone();
    let damage = if world.random.percent(50) { Damage::Open } else { Damage::Hidden };
    (is_breakable && world.share.place() == Place::There).then_some(Step::Break { url, damage })
}

/// A command of this host.
fn command(world: &mut World, host: usize, any: usize, volume: Option<String>) -> Command {
    let random = &mut world.random;
    let by_crontab = random.percent(50);
    let of = |volume: &str| format!("--volume {volume}");
    match (any, volume) {
        (54..70, Some(volume)) => {
            let fresh = if random.percent(70) { " --create-snapshot" } else { "" };
            let words = if by_crontab { fresh.to_owned() } else { of(&volume) + fresh };
            Command { script: "backup", words, by_crontab }
        }
        (70..74, Some(volume)) => Command { script: "snapshot", words: of(&volume), by_crontab },
        (74..86, volume) => {
            let rules = [
                "--keep-last 1",
                "--keep-last 2",
                "--keep-daily 2",
                "--keep-within 2d",
                "--keep-hourly 1 --snapshots",
            ];
            let rule = random.pick(&rules).unwrap_or_default();
            let volume = volume.filter(|_| !by_crontab).map(|volume| of(&volume));
            let all_hosts = if random.percent(20) { " --all-hosts" } else { "" };
            let words = format!("{} {rule}{all_hosts}", volume.unwrap_or_default());
            Command { script: "prune", words, by_crontab }
        }
        (86..89, Some(volume)) => {
            let ways = [" --all", " --backup-first", " --backup-first", ""];
            let all = random.pick(&ways).unwrap_or_default();
            Command { script: "remove", words: of(&volume) + all, by_crontab: false }
        }
        (89..93, _) if !world.model.backups.is_empty() => {
            let urls: Vec<String> = world
                .model
                .backups
                .iter()
                .filter(|backup| backup.is_there)
                .map(|backup| backup.url.clone())
                .collect();
            let url =
                world.random.pick(&urls).unwrap_or_else(|| "vfs:///gone?backup=b&volume=v".into());
            let name = world.random.pick(&["restored", "vol1"]).unwrap_or_default();
            let words = format!("--volume {name} --backupurl {url}");
            Command { script: "restore", words, by_crontab: false }
        }
        _ => {
            let names: Vec<&str> =
                NAMES.into_iter().filter(|name| world.model.named(host, name).is_none()).collect();
            let name = world.random.pick(&names).unwrap_or(NAMES[0]);
            let words = format!("--volume {name} --size 1G");
            Command { script: "create", words, by_crontab: false }
        }
    }
}
