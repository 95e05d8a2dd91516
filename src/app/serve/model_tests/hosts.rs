//! A host of the model: its daemon, its clock, its data folder, and the program's parts over them,
//! put together as `serve` does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use super::{share::Share, shared_convoy::SharedConvoy};
use crate::{
    app::{
        run_reports,
        serve::{freshness::report_daemon_and_backups, notified_run::run_and_notify},
        settings,
    },
    clock::{Clock, FixedClock},
    config::{Config, DaemonChoice},
    convoy::{Backup, Daemon, Volume, identity, memory_look::MemoryLook},
    daemon::{BuiltinDaemon, BuiltinOptions, DockerOptions, HoldOptions},
    error::Result,
    notify::Notifier,
    progress,
    run_words::{RunStatus, Trigger},
    runs::{self, Entry, FinishedRun, Recorder, RunEnvironment, RunRequest, Store},
    s3::S3Options,
    schedule::{Crontab, Surroundings, crontab},
    script::{self, Library, arguments::from_command_line},
    status::{self, Report, alerts},
};

/// Which daemon a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Convoy,
    BuiltIn,
}

/// What a host says of how old a backup may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// `BKUP_MAX_BACKUP_AGE` is three days.
    ThreeDays,
    /// A line of the crontab backs up each day at 03:00, and a run may take an hour.
    Daily,
    /// Nothing, as where cron(8) starts the backups.
    Unsaid,
}

/// A command, as a person or the crontab starts it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Command {
    pub(super) script: &'static str,
    pub(super) words: String,
    pub(super) by_crontab: bool,
}

/// The daemon that has the host's volumes.
enum Own {
    Convoy(Arc<SharedConvoy>),
    BuiltIn(Arc<BuiltinDaemon>),
}

pub(super) struct Host {
    pub(super) limit: Limit,
    pub(super) clock: Arc<FixedClock>,
    own: Own,
    /// The daemon that is found where the host's own is not, or before it.
    other: Arc<SharedConvoy>,
    /// Where Convoy's socket is, if it is there.
    socket: PathBuf,
    config: Arc<Config>,
    crontab: Crontab,
    store: Arc<Store>,
    recorder: Arc<Recorder>,
    notifier: Arc<Notifier>,
    /// Whether people got a message on something bad since all was well.
    told: AtomicBool,
}

impl Host {
    /// A host with an empty daemon and an empty data folder, in this folder.
    pub(super) fn new(
        number: usize,
        kind: Kind,
        limit: Limit,
        folder: &Path,
        share: &Arc<Share>,
        clock: Arc<FixedClock>,
    ) -> Self {
        let data = folder.join("data");
        fs::create_dir_all(&data).unwrap();
        let socket = folder.join("convoy.sock");
        let (config, crontab) = configuration(number, limit, &data, share);
        let config = Arc::new(config);
        let root = config.builtin_root();
        let convoy = |identity| {
            let clock: Arc<dyn Clock> = clock.clone();
            Arc::new(SharedConvoy::new(number as u64 + 1, identity, share.clone(), clock))
        };
        let at_socket = identity::of_socket(&socket);
        let (own, other) = match kind {
            Kind::Convoy => {
                fs::write(&socket, "").unwrap();
                (Own::Convoy(convoy(at_socket)), convoy(identity::of_root(&root)))
            }
            Kind::BuiltIn => {
                let options = BuiltinOptions {
                    docker: DockerOptions::default(),
                    moment: None,
                    hold: HoldOptions::default(),
                    excludes: crate::exclude::Excludes::default(),
                    spool_most: 0,
                    lock_wait: Duration::from_secs(60),
                    folders: Vec::new(),
                    root,
                    password: None,
                    s3: S3Options::default(),
                    host: format!("host{number}"),
                    progress: progress::none(),
                    clock: clock.clone(),
                };
                (Own::BuiltIn(Arc::new(BuiltinDaemon::open(options).unwrap())), convoy(at_socket))
            }
        };
        let store = Arc::new(Store::new(&config.data_dir));
        let recorder = Arc::new(Recorder::new(store.clone(), clock.clone()));
        let notifier = Arc::new(Notifier::new(&config, clock.clone()).unwrap());
        let told = AtomicBool::new(false);
        Self { limit, clock, own, other, socket, config, crontab, store, recorder, notifier, told }
    }

    /// The daemon that has the host's volumes, past the program.
    pub(super) fn own(&self) -> Arc<dyn Daemon> {
        match &self.own {
            Own::Convoy(convoy) => convoy.clone(),
            Own::BuiltIn(daemon) => daemon.clone(),
        }
    }

    fn is_convoy(&self) -> bool {
        matches!(self.own, Own::Convoy(_))
    }

    /// Whether the daemon that is found is another one than the host's own.
    pub(super) fn finds_another_daemon(&self) -> bool {
        self.socket.exists() != self.is_convoy()
    }

    /// Makes Convoy's socket go away or come back; for a built-in daemon, appear or go away.
    pub(super) fn find_another_daemon(&self, another: bool) {
        if another == self.is_convoy() {
            _ = fs::remove_file(&self.socket);
        } else {
            fs::write(&self.socket, "").unwrap();
        }
    }

    /// Whether the host's daemon does not answer.
    pub(super) fn is_silent(&self) -> bool {
        matches!(&self.own, Own::Convoy(convoy) if convoy.is_silent())
    }

    /// Makes Convoy stop to answer, or answer again. A built-in daemon is part of the program.
    pub(super) fn be_silent(&self, silent: bool) {
        if let Own::Convoy(convoy) = &self.own {
            convoy.be_silent(silent);
        }
    }

    /// Lets the next removal of a volume fail without an answer.
    pub(super) fn fail_to_remove(&self, fails: bool) {
        if let Own::Convoy(convoy) = &self.own {
            convoy.fail_to_remove(fails);
        }
    }

    /// Leaves this volume out of Convoy's lists; `None`: they are whole again.
    pub(super) fn leave_out(&self, volume: Option<&str>) {
        if let Own::Convoy(convoy) = &self.own {
            convoy.leave_out(volume);
        }
    }

    /// Says that a volume that is gone was meant to go, as `status --forget` does.
    pub(super) fn forget(&self, volume: &str) {
        self.store.forget_volume(&self.own().identity(), volume, self.clock.now()).unwrap();
    }

    /// Replaces the files of a volume; 0: there are none.
    pub(super) fn write(&self, volume: &str, content: u64) {
        match &self.own {
            Own::Convoy(convoy) => convoy.write(volume, content),
            Own::BuiltIn(daemon) => {
                let folder = daemon.root().join("volumes").join(volume);
                _ = fs::remove_dir_all(&folder);
                fs::create_dir_all(folder.join("inner")).unwrap();
                for (file, text) in files(content) {
                    fs::write(folder.join(file), text).unwrap();
                }
                if content == 0 {
                    fs::remove_dir(folder.join("inner")).unwrap();
                }
            }
        }
    }

    /// Whether a volume has exactly these files.
    pub(super) fn has(&self, volume: &str, content: u64) -> bool {
        match &self.own {
            Own::Convoy(convoy) => convoy.content(volume) == content,
            Own::BuiltIn(daemon) => {
                let folder = daemon.root().join("volumes").join(volume);
                let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
                files(content).iter().all(|(file, text)| read(file) == *text)
                    && (content != 0 || fs::read_dir(&folder).unwrap().next().is_none())
            }
        }
    }

    /// The volumes that the host's own daemon has.
    pub(super) async fn volumes(&self) -> BTreeMap<String, Volume> {
        let silent = self.is_silent();
        self.be_silent(false);
        let volumes = self.own().volumes().await.unwrap();
        self.be_silent(silent);
        volumes
    }

    /// What is at the destination.
    pub(super) async fn backups(&self) -> Vec<Backup> {
        let silent = self.is_silent();
        self.be_silent(false);
        let destination = self.config.backup_url.clone().unwrap();
        let backups = self.own().backups(&destination, None).await.unwrap();
        self.be_silent(silent);
        backups
    }

    /// Connects as the program does: to the daemon that the configuration decides on.
    fn connect(&self, config: &Config) -> Result<(Arc<dyn Daemon>, DaemonChoice)> {
        let decision = config.daemon_beside(&self.socket);
        if let Some(refusal) = decision.refusal {
            return Err(refusal);
        }
        let is_socket = matches!(decision.choice, DaemonChoice::Socket(_));
        let daemon = if is_socket == self.is_convoy() { self.own() } else { self.other.clone() };
        Ok((daemon, decision.choice))
    }

    /// Runs a script as `serve` does, messages included; `None` if it could not be started.
    pub(super) async fn run(&self, command: &Command) -> Option<FinishedRun> {
        let script = Library::new(None).unwrap().load(command.script).unwrap();
        let words: Vec<String> = command.words.split_whitespace().map(str::to_owned).collect();
        let arguments = from_command_line(&script, &words).unwrap();
        let key = format!("entry {} {}", command.script, command.words);
        let (daemon, choice) = match self.connect(&self.config) {
            Ok(connected) => connected,
            Err(error) if command.by_crontab => {
                self.notifier.problem(&key, "it can't be started", &error.to_string());
                return None;
            }
            Err(error) => {
                let report = run_reports::of_unstarted(&script, &words, false, &error);
                self.notifier.on_run_end(&report);
                return None;
            }
        };
        let request = RunRequest {
            script,
            arguments,
            trigger: if command.by_crontab { Trigger::Cron } else { Trigger::Cli },
            entry: command.by_crontab.then(|| Entry { key: key.clone(), line: 1 }),
            dry_run: false,
            timeout: Duration::from_secs(60),
        };
        let environment = self.environment(daemon, choice);
        let queued = runs::enqueue(&environment, request, CancellationToken::new());
        let finished = run_and_notify(queued, &self.notifier, std::future::ready(())).await;
        if command.by_crontab {
            self.notifier.resolve(&key, "it can be started again", "");
        }
        Some(finished)
    }

    fn environment(&self, daemon: Arc<dyn Daemon>, choice: DaemonChoice) -> RunEnvironment {
        let config = self.config.clone();
        RunEnvironment {
            daemon,
            data_look: Arc::new(MemoryLook::default()),
            lock_folder: self.config.data_dir.join("locks"),
            lock_wait: self.config.lock_wait,
            clock: self.clock.clone(),
            settings: settings(&self.config),
            listener: Arc::new(script::Silent),
            message_sink: self.notifier.clone(),
            recorder: Some(self.recorder.clone()),
            worked_with_volumes: Some(Arc::new(move || {
                config.remember_run(&choice, None).unwrap();
            })),
            queue: None,
            read_queue: None,
            ending: CancellationToken::new(),
        }
    }

    /// Looks at the volumes and alerts people as `serve` does, and returns what `status` shows.
    pub(super) async fn look(&self) -> Report {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let looked = status::look(
            &self.config,
            &self.crontab.entries,
            &self.store,
            &clock,
            async |config| self.connect(config).map(|(daemon, _)| daemon),
            |look| {
                let volumes = &look.known.volumes;
                let has_others = volumes.iter().any(|volume| !volume.gone);
                for volume in volumes {
                    alerts::report_volume(&self.notifier, volume, has_others, &TimeZone::UTC);
                }
            },
        );
        let looked = looked.await;
        report_daemon_and_backups(&self.notifier, &looked.known);
        self.deliver();
        let report = status::report(&status::Sources {
            config: &self.config,
            serving: Some(true),
            entries: &self.crontab.entries,
            paused: &BTreeSet::new(),
            followed: None,
            crontab_problem: None,
            copied_root: None,
            looked: &looked,
            store: &self.store,
            notifier: &self.notifier,
            now: &self.clock.now_local(),
        });
        if report.ok {
            self.told.store(false, Ordering::Relaxed);
        }
        report
    }

    /// Says that the loss of a volume's files was meant, as `status --accept` does; whether one was
    /// in doubt.
    pub(super) fn accept(&self, volume: &str) -> bool {
        let accepted = self.store.accept_loss(volume, self.clock.now()).unwrap_or_default();
        for (daemon, why) in &accepted {
            self.notifier.on_accepted(daemon, volume, why);
        }
        !accepted.is_empty()
    }

    /// Takes every message out of the outbox, as if it had been sent.
    fn deliver(&self) {
        let outbox = self.config.data_dir.join("notify/outbox");
        for waiting in self.notifier.waiting() {
            if waiting.message.event.is_bad() {
                self.told.store(true, Ordering::Relaxed);
            }
            fs::remove_file(outbox.join(format!("{}.json", waiting.id))).unwrap();
        }
    }

    /// Whether people were told of something since all was well, and it is still open.
    pub(super) fn has_told(&self) -> bool {
        let is_open = !self.notifier.problems().unwrap().is_empty();
        is_open && self.told.load(Ordering::Relaxed)
    }
}

/// The configuration of a host, and its crontab.
fn configuration(number: usize, limit: Limit, data: &Path, share: &Share) -> (Config, Crontab) {
    let mut environment = vec![
        ("HOME", "/nowhere".to_owned()),
        ("BKUP_DATA_DIR", data.display().to_string()),
        ("BKUP_BACKUP_URL", share.destination().to_string()),
        ("BKUP_HOST", format!("host{number}")),
        ("BKUP_LOCK_WAIT", "0s".to_owned()),
        ("BKUP_RUN_TIMEOUT", "1h".to_owned()),
        // Nothing is sent: the model takes messages out of the outbox.
        ("BKUP_WEBHOOK_URL", "http://127.0.0.1:9/".to_owned()),
    ];
    if limit == Limit::ThreeDays {
        environment.push(("BKUP_MAX_BACKUP_AGE", "3d".to_owned()));
    }
    let environment: Vec<_> =
        environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let config = Config::from_environment(environment.clone(), &[]).unwrap().0;
    let lines = match limit {
        Limit::Daily => "0 3 * * * backup --create-snapshot\n",
        Limit::ThreeDays | Limit::Unsaid => "",
    };
    let surroundings = Surroundings {
        environment,
        overrides: Vec::new(),
        config: Arc::new(config.clone()),
        zone: TimeZone::UTC,
    };
    let (crontab, _) = crontab::parse(lines, "crontab", &surroundings).accept().unwrap();
    (config, crontab)
}

/// The files that a number stands for.
fn files(content: u64) -> Vec<(&'static str, String)> {
    if content == 0 {
        return Vec::new();
    }
    vec![("one", format!("{content}\n")), ("inner/two", format!("{content} ").repeat(100))]
}

/// Whether a run did all that it was to do.
pub(super) fn is_done(finished: Option<&FinishedRun>) -> bool {
    finished.is_some_and(|finished| finished.status == RunStatus::Done)
}
