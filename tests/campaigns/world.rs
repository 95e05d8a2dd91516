//! A site whose volume changes in generations, and what is known of its backups.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    Counts, Random,
    content::{Content, content, difference},
    other::{OTHER, Other},
    repository::{self, has_cheap_key, restic_check},
};
use crate::support::site::{Ran, Site};

pub(super) struct World {
    pub(super) site: Site,
    pub(super) random: Random,
    pub(super) counts: Counts,
    volume: String,
    /// What the volume had in each generation. The file `GENERATION` in it says which one it is.
    generations: BTreeMap<u64, Content>,
    generation: u64,
    /// The backups that must be there.
    must: BTreeSet<String>,
    /// The backups that were listed last, newest first.
    known: Vec<String>,
    pub(super) other: Other,
    longest: Duration,
}

impl World {
    /// `volume` tells apart the worlds of hosts that share a destination.
    pub(super) fn new(site: Site, volume: &str, random: Random) -> Self {
        let seed = random.0;
        println!("campaign with seed {seed}");
        has_cheap_key(&site.path("backups"));
        site.run(&format!("create --volume {volume} --size 1G")).ok();
        let mut world = Self {
            site,
            random,
            counts: Counts::default(),
            volume: volume.to_owned(),
            generations: BTreeMap::new(),
            generation: 0,
            must: BTreeSet::new(),
            known: Vec::new(),
            other: Other::default(),
            longest: Duration::ZERO,
        };
        for number in 0..40 {
            world.write_one(number);
        }
        world.change();
        world
    }

    /// The first backup, before anything is disturbed. How long it takes tells within which time to disturb.
    pub(super) fn first_backup(&mut self) {
        let begun = Instant::now();
        let first =
            self.site.run(&format!("backup --create-snapshot --volume {}", self.volume)).ok();
        // A little longer than a command takes, so that some of them come to their end.
        self.longest = begun.elapsed().mul_f32(1.2);
        self.acknowledged(&first);
        self.listed();
    }

    /// When to disturb a command. Some take less time than a backup.
    pub(super) fn moment(&mut self) -> Duration {
        let part = *self.random.one_of(&[1, 1, 3]);
        self.random.moment(self.longest / part)
    }

    /// After the faults, a backup is made, and all of them come back.
    pub(super) fn end(&mut self) {
        let last =
            self.site.run(&format!("backup --create-snapshot --volume {}", self.volume)).ok();
        self.acknowledged(&last);
        self.check_all();
    }

    pub(super) fn volume(&self) -> &str {
        &self.volume
    }

    fn folder(&self) -> PathBuf {
        self.site.volume(&self.volume)
    }

    fn write_one(&mut self, number: u64) {
        let length = match self.random.below(10) {
            0 => self.random.below(1_500_000),
            1 => 0,
            _ => self.random.below(3000),
        };
        let path = self.folder().join(format!("d{}", number % 7)).join(format!("f{number}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, self.random.bytes(length)).unwrap();
    }

    /// The next generation of the volume.
    pub(super) fn change(&mut self) {
        for _ in 0..6 {
            let number = self.random.below(60);
            let path = self.folder().join(format!("d{}", number % 7)).join(format!("f{number}"));
            match self.random.below(3) {
                0 if path.exists() => fs::remove_file(path).unwrap(),
                _ => self.write_one(number),
            }
        }
        self.next_generation();
    }

    /// The next generation has this file, or has it no more, and is else as it was.
    pub(super) fn keep(&mut self, name: &str, content: Option<&[u8]>) {
        let path = self.folder().join(name);
        content
            .map_or_else(|| fs::remove_file(&path), |content| fs::write(&path, content))
            .unwrap();
        self.next_generation();
    }

    fn next_generation(&mut self) {
        self.generation += 1;
        fs::write(self.folder().join("GENERATION"), self.generation.to_string()).unwrap();
        self.generations.insert(self.generation, content(&self.folder()));
    }

    /// A command of the program that a campaign disturbs.
    pub(super) fn command(&self, line: &str) -> Command {
        let mut command = self.site.command();
        command.args(line.split_whitespace());
        command
    }

    /// The volume changes, a day goes by or not, and one of these commands is next: its line. `restore` and
    /// `create` make a second volume, or remove it where it is there.
    pub(super) fn begin(&mut self, commands: &[&str]) -> String {
        self.change();
        if self.random.below(4) == 0 {
            self.a_day_passes();
        }
        let word = *self.random.one_of(commands);
        self.line(word)
    }

    /// The line of such a command.
    pub(super) fn line(&mut self, word: &str) -> String {
        let is_there = self.site.volume(OTHER).exists();
        match word {
            "restore" | "create" if is_there => format!("remove --volume {OTHER} --all"),
            "restore" if !self.known.is_empty() => {
                let url = self.random.one_of(&self.known);
                format!("restore --volume {OTHER} --backupurl {url}")
            }
            "restore" | "create" => format!("create --volume {OTHER} --size 1G"),
            _ => word.to_owned(),
        }
    }

    /// Remembers what a command has acknowledged: a backup that it printed the URL of.
    pub(super) fn acknowledged(&mut self, ran: &Ran) {
        self.acknowledged_in(&ran.out);
    }

    /// The same, by what was printed or answered.
    pub(super) fn acknowledged_in(&mut self, text: &str) {
        let of_this = format!("volume={}", self.volume);
        let urls = text.split(['"', ' ', '\n']).filter(|word| word.contains("?backup="));
        self.must.extend(urls.filter(|url| url.contains(&of_this)).map(str::to_owned));
    }

    /// A command that was disturbed has ended, and everything is looked at. What was printed before may be cut
    /// off: one that did not end well acknowledges nothing. What it deletes may have gone to any point.
    pub(super) fn ended(&mut self, line: &str, ran: &Ran) {
        if line.contains(OTHER) {
            self.other.ended(line, ran.code == 0);
        } else if ran.code == 0 {
            self.acknowledged(ran);
        }
        if let Some((_, keep)) = line.split_once("--keep-last ") {
            self.pruned(keep.parse().unwrap());
        }
        self.check();
    }

    /// A deletion was tried that keeps so many of the newest, and may have come to any point. What is new since
    /// the backups were listed last takes the place of older ones.
    pub(super) fn pruned(&mut self, keep: usize) {
        let new = self.site.backups(&self.volume);
        let new = new.iter().filter(|url| !self.known.contains(url)).count();
        let may_go: BTreeSet<_> = self.known.iter().skip(keep.saturating_sub(new)).collect();
        self.must.retain(|url| !may_go.contains(url));
    }

    /// A day goes by at the destination: what is unused may go.
    pub(super) fn a_day_passes(&self) {
        repository::a_day_passes(&self.site.path("backups/repository"));
    }

    /// All backups that are listed; those that must be there are.
    pub(super) fn listed(&mut self) -> Vec<String> {
        let listed = match self.must.is_empty() {
            true => {
                let all = self.site.run("backups --json").json();
                let url =
                    |backup: &serde_json::Value| backup["BackupURL"].as_str().unwrap().to_owned();
                let of_this = format!("volume={}", self.volume);
                let all = all.as_array().unwrap().iter().map(url);
                all.filter(|url| url.ends_with(&of_this)).collect()
            }
            false => self.site.backups(&self.volume),
        };
        for url in &self.must {
            assert!(listed.contains(url), "lost: {url} is not in {listed:?}");
        }
        self.known.clone_from(&listed);
        listed
    }

    /// Restores a backup on another host, and compares it with what the volume had in that generation.
    /// `Err`: it can't be restored, and what is said of that.
    pub(super) fn restored(&mut self, url: &str) -> Result<(), String> {
        let other = TempDir::new().unwrap();
        let at = |below: &str| other.path().join(below).display().to_string();
        let restore = self
            .command(&format!("restore --volume back --backupurl {url}"))
            .env("BKUP_CONVOY", format!("builtin:{}", at("root")))
            .env("BKUP_DATA_DIR", at("data"))
            .output()
            .unwrap();
        let ran = Ran::of(format!("restore {url}"), restore);
        let back = other.path().join("root/volumes/back");
        if ran.code != 0 {
            assert!(!back.exists(), "half a volume is there: {ran:#?}");
            return Err(ran.err);
        }
        let generation: u64 = fs::read_to_string(back.join("GENERATION")).unwrap().parse().unwrap();
        let (is, was) = (content(&back), &self.generations[&generation]);
        assert!(is == *was, "{url} is not what it was: {:?}", difference(&is, was));
        self.counts.add("restored");
        Ok(())
    }

    /// What must be there is, the newest backup and another one come back as they were, and nothing is
    /// half done.
    pub(super) fn check(&mut self) {
        let listed = self.listed();
        let mut looked_at: Vec<_> = listed.first().cloned().into_iter().collect();
        if listed.len() > 1 {
            looked_at.push(self.random.one_of(&listed[1..]).clone());
        }
        for url in looked_at {
            self.restored(&url).unwrap_or_else(|why| panic!("{url} can't be restored: {why}"));
        }
        self.nothing_is_half_done();
    }

    pub(super) fn nothing_is_half_done(&mut self) {
        let volumes = self.site.run("volumes --json").json();
        let names = volumes.as_array().unwrap().iter().map(|it| it["Name"].as_str().unwrap());
        let (other, names): (Vec<_>, Vec<_>) = names.partition(|name| *name == OTHER);
        assert_eq!(names, [self.volume.as_str()], "a volume is half made, or gone");
        let folder = self.site.volume(OTHER);
        assert_eq!(folder.exists(), !other.is_empty(), "a folder of no volume");
        let is = (!other.is_empty()).then(|| content(&folder));
        let mut known = std::mem::take(&mut self.other);
        known.is(is, |is| self.is_whole(&folder, is));
        self.other = known;
        let staging = fs::read_dir(self.site.path("daemon/volumes/.staging")).unwrap().count();
        assert_eq!(staging, 0, "what was begun is still there after the next start");
        assert_eq!(
            content(&self.folder()),
            self.generations[&self.generation],
            "the volume itself"
        );
    }

    /// Whether a volume has what a backup has.
    fn is_whole(&self, folder: &Path, is: &Content) -> bool {
        let generation = fs::read_to_string(folder.join("GENERATION"));
        let generation = generation.ok().and_then(|number| number.parse::<u64>().ok());
        generation.is_some_and(|number| self.generations.get(&number) == Some(is))
    }

    /// The store of runs can be read, and no run in it goes on for ever.
    pub(super) fn records_are_right(&self) {
        let runs = self.site.run("runs list --json").ok();
        assert!(!runs.err.contains("damaged"), "{runs:#?}");
        for run in runs.json().as_array().unwrap() {
            assert!(!goes_on(run), "it does not go on any more: {run:#}");
        }
    }

    /// All backups come back as they were, and restic finds no fault where it is installed.
    pub(super) fn check_all(&mut self) {
        for url in self.listed() {
            self.restored(&url).unwrap_or_else(|why| panic!("{url} can't be restored: {why}"));
        }
        restic_check(&self.site.path("backups/repository"));
        println!("{:?}", self.counts);
    }
}

/// Whether a run's record says that it goes on.
pub(super) fn goes_on(run: &serde_json::Value) -> bool {
    matches!(run["status"].as_str(), Some("running" | "waiting"))
}
