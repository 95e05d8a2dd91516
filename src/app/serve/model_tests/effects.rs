//! What a step does to the hosts, and what the model learns of it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    hosts::{Command, Kind, is_done},
    model::{Backup, Moment, Volume},
    share::{Damage, Place},
    steps::Step,
    world::World,
};

impl World {
    /// The present moment, by the true time and a host's clock.
    pub(super) fn moment(&self, host: usize) -> Moment {
        Moment { truly: self.now, shown: self.shown(host) }
    }

    /// Lets this step happen.
    pub(super) fn take(&mut self, step: &Step) {
        self.pass(SignedDuration::from_secs(60));
        match step {
            Step::Wait(hours) => self.pass(SignedDuration::from_hours(*hours)),
            Step::Write { host, volume } => self.write(*host, volume),
            Step::Run { host, command } => self.run(*host, command),
            Step::SetClock { host, hours } => {
                self.wrong_by[*host] = SignedDuration::from_hours(*hours);
                self.pass(SignedDuration::ZERO);
            }
            Step::LoseSource { host, volume } => {
                if let Some(number) = self.model.named(*host, volume) {
                    self.model.volumes[number].has_files = self.model.volumes[number].content == 0;
                    self.hosts[*host].write(volume, 0);
                }
            }
            Step::FindSource { host, volume } => self.find_source(*host, volume),
            Step::Accept { host, volume } => self.accept(*host, volume),
            Step::Put(place) => self.put(*place),
            Step::FindAnotherDaemon { host, another } => {
                self.hosts[*host].find_another_daemon(*another);
            }
            Step::BeSilent { host, silent } => self.hosts[*host].be_silent(*silent),
            Step::Break { url, damage } => self.break_backup(url, *damage),
            Step::PutRight => self.put_right(),
            Step::FailToRemove { host, volume } => {
                let words = format!("--volume {volume} --backup-first");
                self.hosts[*host].fail_to_remove(true);
                self.run(*host, &Command { script: "remove", words, by_crontab: false });
                self.hosts[*host].fail_to_remove(false);
            }
            Step::Lose { host, volume } => self.lose(*host, volume),
            Step::Appear { host, volume } => self.appear(*host, volume),
            Step::ListShort { host, volume, hours } => self.list_short(*host, volume, *hours),
            Step::BackUpWeekly { host, volume } => self.back_up_weekly(*host, volume),
        }
    }

    /// Lets time pass on all clocks.
    pub(super) fn pass(&mut self, time: SignedDuration) {
        self.now = self.now.checked_add(time).unwrap();
        for host in 0..self.hosts.len() {
            self.hosts[host].clock.set(self.shown(host));
        }
    }

    /// What a host's clock shows.
    pub(super) fn shown(&self, host: usize) -> Timestamp {
        self.now.checked_add(self.wrong_by[host]).unwrap()
    }

    fn write(&mut self, host: usize, volume: &str) {
        let Some(number) = self.model.named(host, volume) else { return };
        if !self.model.volumes[number].has_files {
            return;
        }
        self.contents += 1;
        self.model.volumes[number].content = self.contents;
        self.hosts[host].write(volume, self.contents);
    }

    fn find_source(&mut self, host: usize, volume: &str) {
        let Some(number) = self.model.named(host, volume) else { return };
        let known = &mut self.model.volumes[number];
        if !known.has_files {
            known.has_files = true;
            self.hosts[host].write(volume, known.content);
        }
    }

    /// A volume whose files are gone has none from now on, if the program has asked about that.
    fn accept(&mut self, host: usize, volume: &str) {
        let Some(number) = self.model.named(host, volume) else { return };
        if !self.hosts[host].accept(volume) {
            return;
        }
        let known = &mut self.model.volumes[number];
        for saved in known.snapshots.values_mut() {
            saved.is_sound = true;
        }
        for backup in self.model.backups.iter_mut().filter(|backup| backup.volume == number) {
            backup.saved.is_sound = true;
        }
        if !known.has_files {
            (known.content, known.has_files) = (0, true);
        }
    }

    /// A volume is removed. Returns its number.
    pub(super) fn removed(&mut self, host: usize, name: &str) -> Option<usize> {
        let number = self.model.named(host, name)?;
        self.model.volumes[number].is_there = false;
        Some(number)
    }

    /// What is deleted with a volume must be in a backup, which the same command may have made.
    fn is_saved(&self, number: usize) {
        let Volume { host, name, content, has_files, .. } = &self.model.volumes[number];
        if *has_files && self.kind == Kind::BuiltIn {
            let is_saved = self.model.backups_of(number).any(|it| it.saved.content == *content);
            assert!(is_saved, "\"{name}\" of host {host} was removed with what no backup has");
        }
    }

    fn put(&mut self, place: Place) {
        self.share.put(place);
    }

    fn break_backup(&mut self, url: &str, damage: Damage) {
        let Some(broken) = self.model.backups.iter().find(|backup| backup.url == url) else {
            return;
        };
        let (packs, content) = (broken.packs.clone(), broken.saved.content);
        match self.kind {
            Kind::Convoy => self.share.break_backup(name_of(url), damage),
            Kind::BuiltIn => packs.iter().for_each(|pack| spoil(pack, damage)),
        }
        // At the built-in daemon, backups share the data that is the same.
        let is_broken = |backup: &&mut Backup| {
            backup.url == url
                || self.kind == Kind::BuiltIn && backup.is_there && backup.saved.content == content
        };
        self.model
            .backups
            .iter_mut()
            .filter(is_broken)
            .for_each(|backup| backup.damage = Some(damage));
    }

    /// Runs a command, and learns what it did.
    pub(super) fn run(&mut self, host: usize, command: &Command) {
        let packs = self.packs();
        let finished = self.runtime.block_on(self.hosts[host].run(command));
        let done = is_done(finished.as_ref());
        if let Some(finished) = &finished {
            let outcome = finished.result.as_ref().err().map(ToString::to_string);
            let failed = finished.failures.iter().map(|failure| failure.message.clone());
            let why: Vec<String> = outcome.into_iter().chain(failed).collect();
            self.outcomes.push(format!("{} {}", finished.status, why.join("; ")));
        }
        if done {
            self.failed[host].remove(command);
        } else {
            self.failed[host].insert(command.clone());
            self.is_troubled[host] = true;
            self.failed_in_future[host] |= self.wrong_by[host].is_positive();
        }
        let word = |flag: &str| {
            let mut words = command.words.split_whitespace();
            words.find(|word| *word == flag)?;
            words.next().map(str::to_owned)
        };
        let volume = word("--volume").unwrap_or_default();
        let mut removed = None;
        match command.script {
            "create" if done => self.new_volume(host, &volume, 0),
            "restore" => {
                self.restored(host, &volume, &word("--backupurl").unwrap_or_default(), done)
            }
            "remove" if done => removed = self.removed(host, &volume),
            _ => {}
        }
        self.observe(host, &packs);
        if let Some(number) = removed.filter(|_| !command.words.ends_with("--all")) {
            self.is_saved(number);
        }
    }

    pub(super) fn new_volume(&mut self, host: usize, name: &str, content: u64) {
        let made = self.moment(host);
        self.model.not_missed(host, name);
        self.model.volumes.push(Volume {
            host,
            name: name.to_owned(),
            made,
            content,
            has_files: true,
            is_there: true,
            is_missed: false,
            snapshots: Default::default(),
        });
    }

    /// A restore gives what was there, bit for bit; a broken backup's fails and is remembered.
    fn restored(&mut self, host: usize, name: &str, url: &str, done: bool) {
        let is_free = self.model.named(host, name).is_none();
        let reaches = self.reaches(host) && is_free;
        let Some(at) = self.model.backups.iter().position(|backup| backup.url == url) else {
            assert!(!done, "a backup was restored that is none: {url}");
            return;
        };
        let backup = &mut self.model.backups[at];
        if done {
            assert!(backup.is_there && backup.damage.is_none(), "restored from a broken {url}");
            let content = backup.saved.content;
            assert!(self.hosts[host].has(name, content), "{url} was not restored bit for bit");
            self.new_volume(host, name, content);
        } else if reaches && backup.is_there {
            assert!(backup.damage.is_some(), "a good backup can't be restored: {url}");
            let (content, damage) = (backup.saved.content, backup.damage);
            if damage == Some(Damage::Hidden) && self.kind == Kind::BuiltIn {
                self.find_broken(host, content);
            }
        }
    }

    /// A restore has found that this content is broken: that holds for every backup of it that the
    /// host knows. (Of a Convoy's words nobody can tell what went wrong.)
    fn find_broken(&mut self, host: usize, content: u64) {
        for backup in &mut self.model.backups {
            if backup.saved.content == content
                && backup.damage == Some(Damage::Hidden)
                && self.model.volumes[backup.volume].host == host
            {
                backup.damage = Some(Damage::Found);
            }
        }
    }

    /// Whether a host reaches its daemon, and the destination.
    pub(super) fn reaches(&self, host: usize) -> bool {
        let of = &self.hosts[host];
        self.share.place() == Place::There && !of.is_silent() && !of.finds_another_daemon()
    }

    /// Learns which snapshots and backups are new, and which are gone.
    fn observe(&mut self, host: usize, packs: &BTreeSet<PathBuf>) {
        let volumes = self.runtime.block_on(self.hosts[host].volumes());
        let listed: BTreeSet<&str> = volumes.keys().map(String::as_str).collect();
        let known: BTreeSet<&str> =
            self.model.living(host).map(|(_, volume)| volume.name.as_str()).collect();
        assert_eq!(listed, known, "the volumes of host {host}");
        let now = self.moment(host);
        for (name, listed) in &volumes {
            let number = self.model.named(host, name).unwrap();
            let volume = &mut self.model.volumes[number];
            let saved = volume.saved(now);
            for snapshot in listed.snapshots.iter().flatten().map(|(name, _)| name) {
                volume.snapshots.entry(snapshot.clone()).or_insert(saved);
            }
        }
        if self.share.place() != Place::There {
            return;
        }
        let listed = self.runtime.block_on(self.hosts[host].backups());
        let urls: BTreeSet<String> =
            listed.iter().map(|backup| backup.url().unwrap().to_string()).collect();
        for backup in &mut self.model.backups {
            backup.is_there &= urls.contains(&backup.url);
        }
        let known: BTreeSet<String> =
            self.model.backups.iter().map(|backup| backup.url.clone()).collect();
        let fresh: Vec<_> = listed
            .iter()
            .filter(|backup| !known.contains(&backup.url().unwrap().to_string()))
            .collect();
        let written: Vec<PathBuf> = self.packs().difference(packs).cloned().collect();
        for backup in &fresh {
            // A removal may have made it first, from a snapshot that went with the volume.
            let volume = self.model.last_named(host, backup.volume()).unwrap();
            let snapshot = backup.field("SnapshotName");
            let of = &self.model.volumes[volume];
            let saved = of.snapshots.get(snapshot).copied().unwrap_or_else(|| of.saved(now));
            let damage = self.inherited(saved.content);
            self.model.backups.push(Backup {
                url: backup.url().unwrap().to_string(),
                volume,
                saved,
                made: now,
                damage,
                is_there: true,
                packs: if fresh.len() == 1 { written.clone() } else { Vec::new() },
            });
        }
    }

    /// The built-in daemon does not write again what is at the destination, be it broken.
    fn inherited(&self, content: u64) -> Option<Damage> {
        let is_hidden = |backup: &Backup| {
            backup.saved.content == content
                && matches!(backup.damage, Some(Damage::Hidden | Damage::Found))
        };
        let inherits = self.kind == Kind::BuiltIn && self.model.backups.iter().any(is_hidden);
        inherits.then_some(Damage::Hidden)
    }

    /// The files with data at the destination of built-in daemons.
    fn packs(&self) -> BTreeSet<PathBuf> {
        let data = self.share.folder().join("repository/data");
        let folders = std::fs::read_dir(data).into_iter().flatten().flatten();
        let files =
            folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten());
        files.flatten().map(|file| file.path()).collect()
    }

    /// Puts right whatever is wrong. Two days later, when reminders are over, all that failed runs
    /// again, and everything is backed up.
    fn put_right(&mut self) {
        self.put(Place::There);
        for host in 0..self.hosts.len() {
            self.wrong_by[host] = SignedDuration::ZERO;
            self.hosts[host].find_another_daemon(false);
            self.hosts[host].be_silent(false);
            for name in self.model.missed(host) {
                self.hosts[host].forget(&name);
                self.model.not_missed(host, &name);
            }
            let names: Vec<String> =
                self.model.living(host).map(|(_, volume)| volume.name.clone()).collect();
            for volume in names {
                self.find_source(host, &volume);
                // What broken backups share with others is not used again.
                self.write(host, &volume);
            }
        }
        // `serve` looks every few minutes, also before so much time has passed.
        self.pass(SignedDuration::ZERO);
        for host in &self.hosts {
            self.runtime.block_on(host.look());
        }
        self.pass(SignedDuration::from_hours(50));
        for host in 0..self.hosts.len() {
            self.is_troubled[host] = self.failed_in_future[host];
            let backup = Command {
                script: "backup",
                words: " --create-snapshot".to_owned(),
                by_crontab: true,
            };
            if self.model.living(host).next().is_some() {
                self.run(host, &backup);
            }
            for command in std::mem::take(&mut self.failed[host]) {
                if matches!(command.script, "backup" | "prune" | "snapshot") {
                    self.pass(SignedDuration::from_secs(1));
                    self.run(host, &command);
                }
            }
        }
    }
}

/// A backup's name in its URL.
fn name_of(url: &str) -> &str {
    let after = url.split("backup=").nth(1).unwrap_or_default();
    after.split('&').next().unwrap_or_default()
}

fn spoil(pack: &Path, damage: Damage) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(mut bytes) = std::fs::read(pack) else { return };
    if damage == Damage::Open {
        std::fs::remove_file(pack).unwrap();
        return;
    }
    bytes[0] ^= 1;
    std::fs::set_permissions(pack, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(pack, bytes).unwrap();
}
