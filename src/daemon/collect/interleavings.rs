//! Hosts that back up and give back space at the same bucket, which has no locks: in whatever order their
//! requests come, and wherever one of them is killed, what a backup needs stays, and what none needs goes.
//!
//! This is a model of which every state is looked at. The real code is broken off at each of its changes in
//! `tests`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What a host leaves out in a test that must fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Without {
    Nothing,
    /// The collector does not list snapshots again before it removes an index file.
    TheSecondList,
    /// The writer does not look for marks after its backup is visible.
    Adopting,
    /// The writer does not look for marks that were there when it read the index.
    OlderMarks,
    /// The collector removes at once what it has marked.
    TheDay,
}

/// An index file: what it says of the one pack.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct File {
    names: bool,
    /// The file is as old as its mark.
    marks: bool,
    day: u8,
}

/// One repository with one pack, which no backup needs at first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    has_pack: bool,
    index: BTreeMap<u8, File>,
    next_file: u8,
    /// The backups that need the pack, by their writers.
    backups: BTreeSet<usize>,
    /// Those whose runs have ended well.
    done: BTreeSet<usize>,
    day: u8,
    hosts: Vec<Host>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Host {
    /// What it does next, and the index files that it knows.
    Writer(Writing, BTreeSet<u8>),
    Collector(Collecting),
    /// The run is over, or the host was killed.
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Writing {
    ReadIndex,
    LookAgain,
    WriteBackup,
    ListMarks,
    /// It has these, and reads them.
    ReadMarks(BTreeSet<u8>),
    NameAgain,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Collecting {
    next: Step,
    backups: BTreeSet<usize>,
    listed: BTreeSet<u8>,
    /// The file that it wrote.
    new: Option<u8>,
    old: Vec<u8>,
    goes: bool,
    tries: u8,
    /// So many more times it is started, each on another day.
    runs: u8,
    /// The day of its last run.
    ran: Option<u8>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Step {
    #[default]
    Idle,
    ListIndex,
    ReadIndex,
    WriteIndex,
    ListAgain,
    RemoveIndex,
    RemovePack,
}

impl World {
    fn new(writers: usize, collectors: usize) -> Self {
        let writer = || Host::Writer(Writing::ReadIndex, BTreeSet::new());
        let collector = || Host::Collector(Collecting { runs: 2, ..Collecting::default() });
        let hosts = (0..writers).map(|_| writer());
        let hosts = hosts.chain((0..collectors).map(|_| collector())).collect();
        let index = BTreeMap::from([(0, File { names: true, marks: false, day: 0 })]);
        let (backups, done) = (BTreeSet::new(), BTreeSet::new());
        Self { has_pack: true, index, next_file: 1, backups, done, day: 0, hosts }
    }

    /// Whether there is a backup that can never be restored, or one that is called good and can't be
    /// restored now.
    fn is_lost(&self) -> bool {
        let is_named = self.index.values().any(|file| file.names);
        (!self.has_pack && !self.backups.is_empty()) || (!is_named && !self.done.is_empty())
    }

    fn end_well(&mut self, writer: usize) -> Host {
        self.done.insert(writer);
        Host::Over
    }

    fn add(&mut self, names: bool, marks: bool) -> u8 {
        let id = self.next_file;
        self.next_file += 1;
        self.index.insert(id, File { names, marks, day: self.day });
        id
    }

    fn files(&self) -> BTreeSet<u8> {
        self.index.keys().copied().collect()
    }

    /// All worlds that may come next.
    fn next(&self, without: Without) -> Vec<Self> {
        let mut worlds = Vec::new();
        for host in 0..self.hosts.len() {
            let mut world = self.clone();
            if world.act(host, without) {
                worlds.push(world);
            }
            if self.is_at_work(host) {
                let mut killed = self.clone();
                killed.hosts[host] = Host::Over;
                worlds.push(killed);
            }
        }
        // No run lasts for a day.
        if self.day < 3 && !(0..self.hosts.len()).any(|host| self.is_at_work(host)) {
            worlds.push(Self { day: self.day + 1, ..self.clone() });
        }
        worlds
    }

    fn is_at_work(&self, host: usize) -> bool {
        match &self.hosts[host] {
            Host::Writer(Writing::ReadIndex, _) | Host::Over => false,
            Host::Writer(..) => true,
            Host::Collector(collecting) => collecting.next != Step::Idle,
        }
    }

    /// Lets a host do what it does next. Returns whether there is anything.
    fn act(&mut self, host: usize, without: Without) -> bool {
        let next = match self.hosts[host].clone() {
            Host::Over => return false,
            Host::Writer(next, known) => self.write(host, next, known, without),
            Host::Collector(collecting) => match self.collect(collecting, without) {
                Some(collecting) => Host::Collector(collecting),
                None => return false,
            },
        };
        self.hosts[host] = next;
        true
    }

    fn write(&mut self, host: usize, next: Writing, known: BTreeSet<u8>, without: Without) -> Host {
        match next {
            Writing::ReadIndex => {
                if !self.index.values().any(|file| file.names) {
                    // It writes its own pack, which nobody has marked.
                    return Host::Over;
                }
                Host::Writer(Writing::LookAgain, self.files())
            }
            Writing::LookAgain if known.is_subset(&self.files()) => {
                Host::Writer(Writing::WriteBackup, known)
            }
            Writing::LookAgain => Host::Writer(Writing::ReadIndex, BTreeSet::new()),
            Writing::WriteBackup => {
                self.backups.insert(host);
                match without {
                    Without::Adopting => self.end_well(host),
                    _ => Host::Writer(Writing::ListMarks, known),
                }
            }
            Writing::ListMarks => Host::Writer(Writing::ReadMarks(self.files()), known),
            Writing::ReadMarks(listed) => {
                if !listed.is_subset(&self.files()) {
                    return Host::Writer(Writing::ListMarks, known);
                }
                let is_new = |id: &&u8| !known.contains(id);
                let looks = |id: &&u8| without != Without::OlderMarks || is_new(id);
                let is_named = listed.iter().filter(is_new).any(|id| self.index[id].names);
                let is_marked = listed.iter().filter(looks).any(|id| self.index[id].marks);
                match is_marked && !is_named {
                    true => Host::Writer(Writing::NameAgain, known),
                    false => self.end_well(host),
                }
            }
            Writing::NameAgain => {
                self.add(true, false);
                self.end_well(host)
            }
        }
    }

    fn collect(&mut self, mut of: Collecting, without: Without) -> Option<Collecting> {
        match of.next {
            Step::Idle => {
                if of.runs == 0 || of.ran == Some(self.day) {
                    return None;
                }
                (of.runs, of.ran, of.tries) = (of.runs - 1, Some(self.day), 2);
                (of.backups, of.next) = (self.backups.clone(), Step::ListIndex);
            }
            Step::ListIndex => {
                of.listed = self.files();
                of.next = Step::ReadIndex;
            }
            Step::ReadIndex => {
                if !of.listed.is_subset(&self.files()) {
                    return Some(self.again(of));
                }
                of.next = Step::WriteIndex;
            }
            Step::WriteIndex => self.plan(&mut of, without),
            Step::ListAgain => {
                let is_new = !self.backups.is_subset(&of.backups);
                if is_new && without != Without::TheSecondList {
                    if let Some(new) = of.new.take() {
                        self.index.remove(&new);
                    }
                    return Some(self.again(of));
                }
                of.next = Step::RemoveIndex;
            }
            Step::RemoveIndex => match of.old.pop() {
                Some(old) => _ = self.index.remove(&old),
                None => of.next = if of.goes { Step::RemovePack } else { Step::Idle },
            },
            Step::RemovePack => {
                self.has_pack = false;
                of.next = Step::Idle;
            }
        }
        Some(of)
    }

    /// What the collector decides by what it has read, and the index file that it writes then.
    fn plan(&mut self, of: &mut Collecting, without: Without) {
        let read = || of.listed.iter().filter_map(|id| Some((*id, self.index.get(id)?)));
        let is_named = read().any(|(_, file)| file.names);
        let marks: Vec<(u8, u8)> =
            read().filter(|(_, file)| file.marks).map(|(id, file)| (id, file.day)).collect();
        let named: Vec<u8> = read().filter(|(_, file)| file.names).map(|(id, _)| id).collect();
        let is_due = marks.iter().all(|(_, day)| *day < self.day) || without == Without::TheDay;
        let marked: Vec<u8> = marks.iter().map(|(id, _)| *id).collect();
        (of.new, of.old, of.goes) = (None, Vec::new(), false);
        of.next = Step::ListAgain;
        if !of.backups.is_empty() {
            if !is_named && !marked.is_empty() {
                of.new = Some(self.add(true, false));
            }
        } else if is_named {
            of.new = Some(self.add(false, true));
            of.old = [named, marked].concat();
        } else if !marked.is_empty() && is_due {
            (of.old, of.goes) = (marked, true);
        } else if marks.is_empty() && self.has_pack {
            // No index file says anything of it any more.
            of.new = Some(self.add(false, true));
        } else {
            of.next = Step::Idle;
        }
    }

    fn again(&self, of: Collecting) -> Collecting {
        if of.tries == 0 {
            return Collecting { next: Step::Idle, ..of };
        }
        let backups = self.backups.clone();
        Collecting { next: Step::ListIndex, backups, tries: of.tries - 1, ..of }
    }
}

/// Looks at every state that can be reached. Returns the first in which a
/// backup is lost, or after which room does not come back.
fn first_loss(writers: usize, collectors: usize, without: Without) -> Option<World> {
    let start = World::new(writers, collectors);
    let (mut seen, mut left) = (HashSet::from([start.clone()]), vec![start]);
    while let Some(world) = left.pop() {
        if world.is_lost() {
            return Some(world);
        }
        let next = world.next(without);
        if next.is_empty() && !comes_to_rest(&world) {
            return Some(world);
        }
        left.extend(next.into_iter().filter(|world| seen.insert(world.clone())));
    }
    assert!(seen.len() > 100, "{}", seen.len());
    None
}

/// Once all are over, one host gives back space each day: the pack is named if a backup needs it, and gone
/// if none does.
fn comes_to_rest(world: &World) -> bool {
    let mut world = world.clone();
    for _ in 0..4 {
        world.day += 1;
        world.hosts = vec![Host::Collector(Collecting { runs: 1, ..Collecting::default() })];
        while world.act(0, Without::Nothing) {}
    }
    let is_named = world.index.values().any(|file| file.names);
    let is_needed = !world.backups.is_empty();
    (world.has_pack, is_named) == (is_needed, is_needed)
}

#[test]
fn nothing_is_lost_in_whatever_order_the_requests_of_two_and_three_hosts_come() {
    for (writers, collectors) in [(1, 1), (2, 1), (1, 2)] {
        assert_eq!(first_loss(writers, collectors, Without::Nothing), None);
    }
}

#[test]
fn each_rule_of_the_protocol_is_needed() {
    for without in [Without::TheSecondList, Without::Adopting, Without::OlderMarks, Without::TheDay]
    {
        let lost = [(1, 1), (1, 2)]
            .into_iter()
            .any(|(writers, collectors)| first_loss(writers, collectors, without).is_some());
        assert!(lost, "{without:?}");
    }
}
