//! Which lines of the crontab snapshot and back up a volume, and when.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    config::{Config, DaemonChoice},
    convoy::Destination,
    schedule::CrontabEntry,
    script::{Effect, Library, Script, arguments::from_command_line},
};

/// Which volumes the crontab's lines for one daemon snapshot and back up, and when.
#[derive(Debug, Clone)]
pub(crate) struct Coverage {
    /// The settings for volumes that no line backs up.
    config: Arc<Config>,
    /// Whether the crontab has lines, whatever they do.
    has_lines: bool,
    lines: Vec<Line>,
    /// The compose projects of volumes, by volume.
    projects: BTreeMap<String, String>,
}

/// A line whose script takes snapshots or makes backups. Scripts of users that do not declare what
/// they do are left out.
#[derive(Debug, Clone)]
struct Line {
    entry: Arc<CrontabEntry>,
    backs_up: bool,
    /// `None`: every volume.
    volume: Option<String>,
    /// `None`: of whichever compose project.
    project: Option<String>,
}

impl Coverage {
    /// The coverage of each daemon that these lines use: a line may name another daemon than the
    /// configuration. Without lines, the coverage of the configuration's daemon alone.
    pub(crate) fn by_daemon(config: &Arc<Config>, entries: &[Arc<CrontabEntry>]) -> Vec<Self> {
        struct Group {
            daemon: DaemonChoice,
            config: Arc<Config>,
            entries: Vec<Arc<CrontabEntry>>,
        }
        // What the configuration decides is asked once: it looks at files.
        let default = config.daemon().choice;
        let mut groups: Vec<Group> = Vec::new();
        for entry in entries {
            let daemon = entry.config.convoy.as_ref().unwrap_or(&default);
            match groups.iter_mut().find(|group| group.daemon == *daemon) {
                Some(group) => group.entries.push(entry.clone()),
                None => groups.push(Group {
                    daemon: daemon.clone(),
                    config: entry.config.clone(),
                    entries: vec![entry.clone()],
                }),
            }
        }
        if groups.is_empty() {
            groups.push(Group { daemon: default, config: config.clone(), entries: Vec::new() });
        }
        groups.into_iter().map(|group| Self::of(group.config, &group.entries)).collect()
    }

    /// The configuration of the daemon that these lines use.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The destinations of the lines that back up, each once; the configuration's if no line backs
    /// up.
    pub(super) fn destinations(&self) -> Vec<&Destination> {
        let mut destinations: Vec<&Destination> = Vec::new();
        let lines = self.lines.iter().filter(|line| line.backs_up).map(|line| &line.entry.config);
        for destination in
            lines.chain([&self.config]).filter_map(|config| config.backup_url.as_ref())
        {
            if !destinations.iter().any(|known| known.key() == destination.key()) {
                destinations.push(destination);
            }
        }
        destinations
    }

    /// The coverage by lines that all use the daemon of this configuration.
    pub(super) fn of(config: Arc<Config>, entries: &[Arc<CrontabEntry>]) -> Self {
        // A crontab of a thousand lines uses few scripts, so each script is loaded once.
        let mut scripts: BTreeMap<(&str, Option<&Path>), Option<Script>> = BTreeMap::new();
        let line = |entry| {
            let entry: &Arc<CrontabEntry> = entry;
            let backs_up = entry.does.contains(&Effect::Backup);
            if entry.dry_run || !backs_up && !entry.does.contains(&Effect::Snapshot) {
                return None;
            }
            let folder = entry.config.scripts_dir.as_deref();
            let script = scripts.entry((&entry.script, folder)).or_insert_with(|| {
                Library::new(folder.map(Path::to_owned))
                    .and_then(|all| all.load(&entry.script))
                    .ok()
            });
            let arguments = from_command_line(script.as_ref()?, &entry.arguments).ok()?;
            let text = |name: &str| {
                let value = arguments.values().get(name).and_then(|value| value.as_str());
                value.map(str::to_owned)
            };
            let (volume, project) = (text("volume"), text("project"));
            Some(Line { entry: entry.clone(), backs_up, volume, project })
        };
        let lines = entries.iter().filter_map(line).collect();
        Self { config, has_lines: !entries.is_empty(), lines, projects: BTreeMap::new() }
    }

    /// The coverage where volumes are of these compose projects, by volume.
    pub(super) fn knowing(&self, projects: BTreeMap<String, String>) -> Self {
        Self { projects, ..self.clone() }
    }

    /// Whether a line is about a volume. Of one that is not listed now, the name tells the project:
    /// compose puts it before the name.
    fn concerns(&self, line: &Line, volume: &str) -> bool {
        let is_of = |project: &str| match self.projects.get(volume) {
            Some(own) => own == project,
            None => {
                let (volume, separator) = match volume.strip_prefix("bind.") {
                    Some(of_folder) => (of_folder, '.'),
                    None => (volume, '_'),
                };
                volume.strip_prefix(project).is_some_and(|rest| rest.starts_with(separator))
            }
        };
        line.volume.as_deref().is_none_or(|named| named == volume)
            && line.project.as_deref().is_none_or(is_of)
    }

    /// The settings of the first line that backs the volume up.
    pub(super) fn config_of<'a>(&'a self, volume: &'a str) -> &'a Config {
        self.lines_of(volume, true).next().map_or(&self.config, |line| &line.entry.config)
    }

    fn lines_of<'a>(&'a self, volume: &'a str, backs_up: bool) -> impl Iterator<Item = &'a Line> {
        let lines = self.lines.iter().filter(move |line| line.backs_up == backs_up);
        lines.filter(move |line| self.concerns(line, volume))
    }

    /// Whether the line with this key backs this volume up.
    pub(crate) fn covers(&self, key: &str, volume: &str) -> bool {
        self.lines_of(volume, true).any(|line| line.entry.key == key)
    }

    /// How long a run that backs this volume up may take.
    pub(crate) fn run_time(&self, volume: &str) -> Duration {
        self.lines_of(volume, true)
            .map(|line| line.entry.timeout)
            .max()
            .unwrap_or(self.config.run_timeout)
    }

    /// Whether the crontab has lines. Where it has none, it says nothing of how volumes are backed up:
    /// cron(8) or a person may do that.
    pub(super) fn has_lines(&self) -> bool {
        self.has_lines
    }

    /// Whether a line backs this volume up.
    pub(crate) fn backs_up(&self, volume: &str) -> bool {
        self.lines_of(volume, true).next().is_some()
    }

    /// When a line takes the next snapshot of this volume after this time.
    pub(super) fn next_snapshot(&self, volume: &str, after: Timestamp) -> Option<Timestamp> {
        self.next(volume, false, after)
    }

    /// When a line makes the next backup of this volume after this time.
    pub(super) fn next_backup(&self, volume: &str, after: Timestamp) -> Option<Timestamp> {
        self.next(volume, true, after)
    }

    fn next(&self, volume: &str, backs_up: bool, after: Timestamp) -> Option<Timestamp> {
        self.lines_of(volume, backs_up).filter_map(|line| line.entry.next_after(after)).min()
    }
}
