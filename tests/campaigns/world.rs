//! A site whose volume changes in generations, and what is known of its backups.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{Counts, Random};
use crate::support::site::{Ran, Site};

/// What a folder has: each path with its kind, its content's length and a sum of that.
pub(super) type Content = BTreeMap<PathBuf, (char, u64, u64)>;

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
}

impl World {
    /// `volume` tells apart the worlds of hosts that share a destination.
    pub(super) fn new(site: Site, volume: &str, random: Random) -> Self {
        let seed = random.0;
        println!("campaign with seed {seed}");
        site.run(&format!("create --volume {volume} --size 1G")).ok();
        let mut world = Self {
            site,
            random,
            counts: Counts::default(),
            volume: volume.to_owned(),
            generations: BTreeMap::new(),
            generation: 0,
            must: BTreeSet::new(),
        };
        for number in 0..40 {
            world.write_one(number);
        }
        world.change();
        world
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

    /// Remembers what a command has acknowledged: a backup that it printed the URL of.
    pub(super) fn acknowledged(&mut self, ran: &Ran) {
        let of_this = format!("volume={}", self.volume);
        let urls = ran.out.split(['"', ' ', '\n']).filter(|word| word.contains("?backup="));
        self.must.extend(urls.filter(|url| url.contains(&of_this)).map(str::to_owned));
    }

    /// A command that was disturbed has ended, and everything is looked at. What was printed before may be cut
    /// off: one that did not end well acknowledges nothing. A `prune` keeps the last three.
    pub(super) fn ended(&mut self, line: &str, ran: &Ran) {
        if ran.code == 0 {
            self.acknowledged(ran);
        }
        if line.starts_with("prune") {
            self.pruned(3);
        }
        self.check();
    }

    /// A deletion by this rule was tried, and may have come to any point.
    pub(super) fn pruned(&mut self, keep: usize) {
        let newest: BTreeSet<_> = self.site.backups(&self.volume).into_iter().take(keep).collect();
        self.must.retain(|url| newest.contains(url));
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

    pub(super) fn nothing_is_half_done(&self) {
        let volumes = self.site.run("volumes --json").json();
        let names: Vec<_> =
            volumes.as_array().unwrap().iter().map(|it| it["Name"].clone()).collect();
        assert_eq!(names, [self.volume.as_str()], "a volume is half made, or gone");
        let staging = fs::read_dir(self.site.path("daemon/volumes/.staging")).unwrap().count();
        assert_eq!(staging, 0, "what was begun is still there after the next start");
        assert_eq!(
            content(&self.folder()),
            self.generations[&self.generation],
            "the volume itself"
        );
    }

    /// All backups come back as they were, and restic finds no fault where it is installed.
    pub(super) fn check_all(&mut self) {
        for url in self.listed() {
            self.restored(&url).unwrap_or_else(|why| panic!("{url} can't be restored: {why}"));
        }
        self.restic_check(&self.site.path("backups/repository").display().to_string());
        println!("{:?}", self.counts);
    }

    fn restic_check(&self, repository: &str) {
        let check = Command::new("restic")
            .args(["--no-cache", "--no-lock", "-r", repository, "check", "--read-data"])
            .env("RESTIC_PASSWORD", "secret")
            .output();
        match check {
            Err(_) => eprintln!("restic is not installed"),
            Ok(told) => {
                let told = format!("{}{}", text(&told.stdout), text(&told.stderr));
                assert!(told.contains("no errors were found"), "{told}");
            }
        }
    }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// What a folder has.
pub(super) fn content(folder: &Path) -> Content {
    let (mut found, mut folders) = (Content::new(), vec![folder.to_owned()]);
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let (path, kind) =
                { entry.as_ref().map(|it| (it.path(), it.file_type().unwrap())) }.unwrap();
            let below = path.strip_prefix(folder).unwrap().to_owned();
            if kind.is_dir() {
                found.insert(below, ('d', 0, 0));
                folders.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                // FNV-1a: it is compared with itself alone.
                let sum = content.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
                    (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
                });
                found.insert(below, ('f', content.len() as u64, sum));
            }
        }
    }
    found
}

fn difference(is: &Content, was: &Content) -> Vec<PathBuf> {
    let paths: BTreeSet<_> = is.keys().chain(was.keys()).collect();
    let differs = |path: &&&PathBuf| is.get(**path) != was.get(**path);
    paths.iter().filter(differs).map(|path| (*path).clone()).take(5).collect()
}
