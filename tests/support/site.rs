//! A site to try the program on: a scratch folder, a destination, and a daemon with real volumes.
//!
//! The daemon is the built-in one, in the process of each command. Where `CONVOY_BIN` names
//! Convoy's binary, a [`Site::new`] is driven by the real Convoy with its vfs driver instead, so
//! that the same scenarios are tried against it.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use super::running::{Running, binary, convoy, program};

/// A scratch folder with a daemon, a destination, and the program set up for both.
pub struct Site {
    /// The process that commands speak to, if there is one; it ends before the site's files go.
    owner: Option<Running>,
    folder: TempDir,
    environment: Vec<(String, String)>,
    /// Whether commands see the site's folder `run` as `/run/convoy`.
    has_own_run: bool,
    /// What commands see at another place: a folder, and where it is mounted.
    mount: Option<Mounted>,
    /// What is before each command, to take rights from it.
    before: &'static [&'static str],
}

/// A folder that commands see at another place.
struct Mounted {
    folder: PathBuf,
    at: PathBuf,
    /// Whether it is on another file system there, with the same files.
    copied: bool,
}

impl Site {
    /// With the built-in daemon, or with Convoy where `CONVOY_BIN` is set.
    pub fn new() -> Self {
        let mut site = Self::bare();
        let socket = site.path("convoy.sock");
        let Some(command) =
            convoy(&socket, &site.path("convoy-root"), &site.path("daemon/volumes"))
        else {
            return site.with_builtin();
        };
        site.owner = Some(Running::start(command, &socket, site.path("convoy.log")));
        site.with("BKUP_CONVOY", format!("unix://{}", socket.display()))
    }

    /// With the built-in daemon, whatever the environment says.
    pub fn builtin() -> Self {
        Self::bare().with_builtin()
    }

    fn with_builtin(self) -> Self {
        let address = format!("builtin:{}", self.path("daemon").display());
        self.with("BKUP_CONVOY", address)
    }

    /// Where no setting names the daemon: commands see the site's folder `run` as `/run/convoy`, so
    /// that what is there decides. It needs what `unshare --mount` needs: root, or user namespaces.
    pub fn unset() -> Self {
        let site = Self { has_own_run: true, ..Self::bare() };
        std::fs::create_dir(site.path("run")).unwrap();
        site
    }

    /// With a process that owns the built-in daemon's folder: commands reach the daemon over its
    /// socket. The process has the environment that the site has now. Convoy is such a process.
    pub fn owned(mut self) -> Self {
        if self.owner.is_some() {
            return self;
        }
        let mut command = self.command();
        command.args(["daemon", "--root"]).arg(self.path("daemon"));
        let socket = self.path("daemon/convoy.sock");
        self.owner = Some(Running::start(command, &socket, self.path("owner.log")));
        self
    }

    /// Without that process: each command owns the daemon's folder while it runs.
    pub fn released(mut self) -> Self {
        if let Some(mut owner) = self.owner.take() {
            owner.terminate();
        }
        self
    }

    /// Where commands see one folder of the site mounted at another. It needs what [`Site::unset`]
    /// needs. An owner sees it if it is started afterwards.
    pub fn mounting(mut self, folder: PathBuf, at: PathBuf) -> Self {
        self.mount = Some(Mounted { folder, at, copied: false });
        self
    }

    /// Without that mount.
    pub fn unmounted(mut self) -> Self {
        self.mount = None;
        self
    }

    /// Where the site's folder `share` is mounted at this volume's folder. An owner starts again.
    pub fn with_share_at(self, volume: &str) -> Self {
        let (share, volume) = (self.path("share"), self.volume(volume));
        self.mounting(share, volume).with_owner_anew()
    }

    /// As [`Site::with_share_at`], with another share with the same files.
    pub fn with_another_share_at(self, volume: &str) -> Self {
        let (folder, at) = (self.path("share"), self.volume(volume));
        Self { mount: Some(Mounted { folder, at, copied: true }), ..self }.with_owner_anew()
    }

    /// Where the share is not mounted (any more). An owner starts again.
    pub fn without_share(self) -> Self {
        self.unmounted().with_owner_anew()
    }

    /// A process sees the mounts of its start.
    fn with_owner_anew(mut self) -> Self {
        match self.owner.take() {
            None => self,
            Some(mut owner) => {
                owner.terminate();
                self.owned()
            }
        }
    }

    /// Where commands can't read what only another user may, also those of root.
    pub fn limited(self) -> Self {
        const BEFORE: [&str; 4] =
            ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"];
        let is_root = rustix::process::geteuid().is_root();
        Self { before: if is_root { &BEFORE } else { &[] }, ..self }
    }

    /// Where commands can have 1,024 files open.
    pub fn with_few_descriptors(self) -> Self {
        Self { before: &["prlimit", "--nofile=1024:1024"], ..self }
    }

    /// Without a daemon.
    pub fn bare() -> Self {
        let folder = tempfile::Builder::new().prefix("convoy-backups-test-").tempdir().unwrap();
        for name in ["backups", "daemon", "scripts"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let destination = format!("vfs://{}", folder.path().join("backups").display());
        let data = folder.path().join("data").display().to_string();
        Self {
            folder,
            owner: None,
            environment: Vec::new(),
            has_own_run: false,
            mount: None,
            before: &[],
        }
        .with("BKUP_BACKUP_URL", destination)
        .with("BKUP_DATA_DIR", data)
        .with("BKUP_API_LISTEN", "127.0.0.1:0")
    }

    /// With this variable in every command's environment.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.retain(|(there, _)| there != name);
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Without this variable.
    pub fn without(mut self, name: &str) -> Self {
        self.environment.retain(|(there, _)| there != name);
        self
    }

    /// A path in the scratch folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder with a volume's files.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.path("daemon/volumes").join(name)
    }

    /// A command of the program, set up for this site.
    pub fn command(&self) -> Command {
        let mut command = match &self.mount {
            Some(Mounted { folder, at, copied }) => {
                let mount = match copied {
                    false => "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"",
                    true => {
                        "mount -t ramfs other \"$2\" && cp -a \"$1/.\" \"$2\" && shift 2 && exec \"$@\""
                    }
                };
                in_own_mounts(mount, &[folder, at])
            }
            None if self.has_own_run => self.with_own_run(),
            None if let [first, rest @ ..] = self.before => {
                let mut limited = program(first);
                limited.args(rest).arg(binary().get_program());
                limited
            }
            None => binary(),
        };
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path());
        command
    }

    /// The program where the site's folder `run` is `/run/convoy`. The process stays the same one.
    fn with_own_run(&self) -> Command {
        const MOUNT: &str = "mount -t tmpfs tmpfs /run && mkdir /run/convoy && \
            mount --bind \"$1\" /run/convoy && shift && exec \"$@\"";
        in_own_mounts(MOUNT, &[&self.path("run")])
    }

    /// Runs the program with these words (split at blanks; what has blanks goes to
    /// [`Site::run_words`]).
    pub fn run(&self, line: &str) -> Ran {
        self.run_words(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs the program with these words.
    pub fn run_words(&self, words: &[&str]) -> Ran {
        Ran::of(words.join(" "), self.command().args(words).output().unwrap())
    }

    /// Runs a script of this source, as the user's own, with these words behind its name.
    pub fn run_script(&self, source: &str, words: &str) -> Ran {
        std::fs::write(self.path("scripts/mine.rhai"), source).unwrap();
        self.run(&format!("--scripts-dir {} mine {words}", self.path("scripts").display()))
    }

    /// A volume with these files.
    pub fn create(&self, volume: &str, files: &[(&str, &str)]) {
        self.run(&format!("create --volume {volume} --size 1G")).ok();
        for (name, content) in files {
            let path = self.volume(volume).join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    /// The names of a volume's snapshots, oldest first.
    pub fn snapshots(&self, volume: &str) -> Vec<String> {
        let volumes = self.run("volumes --json").json();
        let all = volumes.as_array().unwrap();
        let volume = all
            .iter()
            .find(|there| there["Name"] == volume)
            .unwrap_or_else(|| panic!("no {volume} in {volumes}"));
        volume["Snapshots"].as_object().unwrap().keys().cloned().collect()
    }

    /// The URLs of a volume's backups, newest first.
    pub fn backups(&self, volume: &str) -> Vec<String> {
        let backups = self.run(&format!("backups --volume {volume} --json")).json();
        backups
            .as_array()
            .unwrap()
            .iter()
            .map(|backup| backup["BackupURL"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// The program in mounts of its own, after this line of shell. The process stays the same one, and
/// fails where nothing can be mounted.
fn in_own_mounts(shell: &str, paths: &[&PathBuf]) -> Command {
    let mut command = program("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "sh", "-c", shell, "sh"]).args(paths);
    command.arg(binary().get_program());
    command
}

/// A command that has run.
#[derive(Debug)]
pub struct Ran {
    /// What was typed.
    pub line: String,
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// From what the system says of it.
    pub fn of(line: String, output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            line,
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// It went well.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ends(0)
    }

    /// It ended with this code.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// It ended with this code, and said all of this on standard error.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in {self:#?}");
        }
        self.ends(code)
    }

    /// It went well, and its standard output is JSON alone.
    #[track_caller]
    pub fn json(self) -> Value {
        let ran = self.ok();
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:#?}"))
    }
}
