//! `demo`: the main job from end to end, on real files, with the built-in daemon and the default
//! scripts. A newcomer runs it first, and any step that does not hold is an error.

mod tree;

use std::{
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    print::{print_json, print_line},
    runtime::{cancelled, in_runtime},
};
use crate::{
    app,
    config::{Config, DaemonChoice},
    convoy::Destination,
    error::{Error, Result},
    run_words::{RunStatus, Trigger},
    runs::{self, RunEnvironment, RunRequest},
    script::{self, Library},
    units::format_size,
};

const VOLUME: &str = "demo";
const RESTORED: &str = "demo-restored";

/// The state of a demo.
struct Demo<'a> {
    context: &'a Context,
    environment: RunEnvironment,
    library: Library,
    cancellation: CancellationToken,
    steps: Vec<Value>,
}

pub(super) fn command() -> Command {
    Command::new("demo")
                .about("Snapshot, back up, prune and restore a volume of real files, and compare every one of them")
                .arg(
                    Arg::new("folder")
                        .long("folder")
                        .value_name("DIR")
                        .help("where to do it [default: a new folder in the system's temporary one]"),
                )
}

/// Runs the demo in the folder that the user named, or in a new one. Returns 0 only if every step
/// held.
///
/// # Errors
/// The first step that did not hold, with the folder in which the files were left.
pub(super) fn demo(context: &Context, matches: &ArgMatches) -> Result<u8> {
    let folder = make_folder(matches.get_one::<String>("folder").map(Into::into))?;
    let result = in_runtime(|cancellation| in_folder(context, &folder, cancellation));
    result.map_err(|error| {
        let left = format!("what was made so far is in {}", folder.display());
        let hint = error.hint.as_ref().map_or(left.clone(), |hint| format!("{hint}; {left}"));
        error.with_hint(hint)
    })
}

async fn in_folder(
    context: &Context,
    folder: &Path,
    cancellation: CancellationToken,
) -> Result<u8> {
    let (root, destination) = (folder.join("daemon"), folder.join("backups"));
    std::fs::create_dir(&destination).map_err(|error| {
        Error::io(format_args!("cannot make \"{}\"", destination.display()), &error)
    })?;
    let mut config: Config = context.config.clone();
    config.convoy = Some(DaemonChoice::Builtin(root.clone()));
    config.data_dir = folder.join("data");
    config.backup_url = Some(Destination::parse(&format!("vfs://{}", destination.display()))?);
    config.delete_old_snapshots = true;
    config.scripts_dir = None;
    let connection = app::connect(&config, context.progress()).await?;
    let environment = app::run_environment(
        &config,
        app::settings(&config),
        &connection,
        Arc::new(script::NotifyLog),
        app::recorder(&config),
    );
    let library = Library::new(None)?;
    let mut demo = Demo { context, environment, library, cancellation, steps: Vec::new() };
    let held = demo.steps(folder, &root.join("volumes"), &destination).await;
    let Demo { steps, environment, .. } = demo;
    drop(environment);
    connection.close(&CancellationToken::new(), |text| context.remark(text)).await;
    held?;

    if context.flags.json {
        print_json(
            &json!({ "folder": folder, "volumes": root.join("volumes"), "backups": destination, "steps": steps }),
        );
    } else if !context.flags.quiet {
        farewell(folder, &root, &destination);
    }
    Ok(0)
}

impl Demo<'_> {
    /// Runs all steps. Each does real work and prints its result.
    async fn steps(&mut self, folder: &Path, volumes: &Path, destination: &Path) -> Result<()> {
        let volume = volumes.join(VOLUME);
        self.say(&format!("This works on real files in {}.", folder.display()));
        let with_attributes = self.create(&volume).await?;
        self.snapshot().await?;
        let second = self.back_up_twice(&volume, destination).await?;
        self.prune(&second).await?;
        self.restore(&second, &volume, &volumes.join(RESTORED), with_attributes).await
    }

    /// Makes the volume and fills it. Returns whether its file system has extended attributes.
    async fn create(&mut self, volume: &Path) -> Result<bool> {
        self.run("create", json!({ "volume": VOLUME, "size": "1G" })).await?;
        let with_attributes = tree::fill(volume)?;
        self.step("create", format!("made the volume \"{VOLUME}\" and put {} into it: documents, a database, links, a sparse file,\n     a FIFO, a name that is not UTF-8", files(volume)?));
        Ok(with_attributes)
    }

    async fn snapshot(&mut self) -> Result<()> {
        let snapshots = self.run("snapshot", json!({ "volume": VOLUME })).await?;
        let name = snapshots[0]["Name"].as_str().unwrap_or("?");
        self.step("snapshot", format!("took the snapshot {name}"));
        Ok(())
    }

    /// Makes two backups with changes between them, the second of them incremental. Returns the
    /// result of the second.
    async fn back_up_twice(&mut self, volume: &Path, destination: &Path) -> Result<Value> {
        let empty = tree::size_of(destination);
        let first =
            self.run("backup", json!({ "volume": VOLUME, "create_snapshot": true })).await?;
        let first_added = tree::size_of(destination) - empty;
        self.step(
            "backup",
            format!(
                "backed it up, inspected the backup, and found it good: {} at the destination\n     {}",
                format_size(first_added),
                url(&first)
            ),
        );

        tree::change(volume)?;
        self.step(
            "change",
            "changed one page of the database and three documents, wrote one, removed one".into(),
        );

        let before = tree::size_of(destination);
        let second =
            self.run("backup", json!({ "volume": VOLUME, "create_snapshot": true })).await?;
        let second_added = tree::size_of(destination) - before;
        let part = second_added as f64 * 100.0 / first_added as f64;
        self.step(
            "backup",
            format!(
                "backed up again: this one added {} ({part:.1} % of the first)",
                format_size(second_added)
            ),
        );
        hold(second_added * 4 < first_added, || {
            format!(
                "the second backup added {second_added} bytes after {first_added}, which is not incremental"
            )
        })?;
        hold(url(&first) != url(&second), || "both backups have the same URL".into())?;
        Ok(second)
    }

    /// Prunes the two backups to the second one.
    async fn prune(&mut self, second: &Value) -> Result<()> {
        let listed = self.run("backups", json!({ "volume": VOLUME })).await?;
        hold(listed.as_array().is_some_and(|all| all.len() == 2), || {
            format!("two backups were made, listed were {listed}")
        })?;
        self.run("prune", json!({ "volume": VOLUME, "keep_last": 1 })).await?;
        let left = self.run("backups", json!({ "volume": VOLUME })).await?;
        let only_second = left.as_array().is_some_and(|all| all.len() == 1)
            && left[0]["BackupURL"].as_str() == Some(url(second));
        hold(only_second, || {
            format!("pruning should have left {}, listed were {left}", url(second))
        })?;
        self.step(
            "prune",
            "pruned the backups to the last one: the older was deleted, the newest good one never is".into(),
        );
        Ok(())
    }

    /// Restores the backup into a new volume and compares that with the original.
    async fn restore(
        &mut self,
        backup: &Value,
        volume: &Path,
        restored: &Path,
        with_attributes: bool,
    ) -> Result<()> {
        self.run("restore", json!({ "volume": RESTORED, "backupurl": url(backup) })).await?;
        let (count, differences) = tree::differences(volume, restored)?;
        hold(differences.is_empty(), || {
            format!("the restored volume differs: {}", differences.join("; "))
        })?;
        self.step("restore", compared(count, with_attributes));
        Ok(())
    }

    /// Runs a default script to its end. Any status but `done` is an error.
    async fn run(&self, name: &str, arguments: Value) -> Result<Value> {
        if self.cancellation.is_cancelled() {
            return Err(cancelled());
        }
        let script = self.library.load(name)?;
        let arguments = script::arguments::from_json(
            &script,
            arguments.as_object().unwrap_or(&serde_json::Map::new()),
        )?;
        let timeout = self.context.flags.timeout.unwrap_or(self.context.config.run_timeout);
        let request = RunRequest {
            script,
            arguments,
            trigger: Trigger::Cli,
            entry: None,
            dry_run: false,
            timeout,
        };
        let finished = runs::run(&self.environment, request, self.cancellation.clone()).await;
        let result = finished
            .result
            .map_err(|error| error.context(format_args!("the script \"{name}\" failed")))?;
        hold(finished.status == RunStatus::Done, || {
            format!("the script \"{name}\" went wrong: {:?}", finished.failures)
        })?;
        Ok(result)
    }

    fn step(&mut self, script: &str, text: String) {
        self.say(&format!("\n{:>2}. {:<9} {text}", self.steps.len() + 1, format!("{script}:")));
        self.steps.push(json!({ "step": script, "text": text.split_whitespace().collect::<Vec<_>>().join(" ") }));
    }

    fn say(&self, text: &str) {
        if !self.context.flags.json && !self.context.flags.quiet {
            print_line(text);
        }
    }
}

fn url(result: &Value) -> &str {
    result[0]["URL"].as_str().unwrap_or_default()
}

fn hold(held: bool, why: impl FnOnce() -> String) -> Result<()> {
    if held { Ok(()) } else { Err(Error::internal(format!("the demo did not hold: {}", why()))) }
}

fn files(folder: &Path) -> Result<String> {
    let (count, _) = tree::differences(folder, folder)?;
    Ok(format!("{count} files and folders of {}", format_size(tree::size_of(folder))))
}

/// Makes the folder to work in. It must be new or empty, so that no file of the user is touched.
fn make_folder(folder: Option<PathBuf>) -> Result<PathBuf> {
    let Some(folder) = folder else { return new_folder(&std::env::temp_dir()) };
    std::fs::create_dir_all(&folder)
        .map_err(|error| Error::io(format_args!("cannot make \"{}\"", folder.display()), &error))?;
    let path = std::fs::canonicalize(&folder)
        .map_err(|error| Error::io(format_args!("cannot use \"{}\"", folder.display()), &error))?;
    match std::fs::read_dir(&path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(path),
        Ok(false) => Err(Error::usage(format!("the folder \"{}\" is not empty", folder.display()))
            .with_hint("name a new one")),
        Err(error) => Err(Error::io(format_args!("cannot list \"{}\"", folder.display()), &error)),
    }
}

/// Makes a new folder for this user alone. Other users can write to the system's temporary folder,
/// so an existing folder or link there may be theirs. Only a folder made here is used.
fn new_folder(base: &Path) -> Result<PathBuf> {
    let mut index = 1;
    loop {
        let path = base.join(format!("convoy-backups-demo-{index}"));
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => index += 1,
            Err(error) => {
                return Err(Error::io(format_args!("cannot make \"{}\"", path.display()), &error));
            }
        }
    }
}

/// The sentence of the last step. Properties that the file system does not have were not compared.
fn compared(count: usize, with_attributes: bool) -> String {
    let attributes = if with_attributes { ", extended attributes" } else { "" };
    format!(
        "restored the backup into the new volume \"{RESTORED}\" and compared all {count} files and folders:\n     content, owner, mode, times to the nanosecond, links{attributes}: all the same"
    )
}

fn farewell(folder: &Path, root: &Path, destination: &Path) {
    let program = program();
    let flags = format!(
        "--convoy builtin:{} --destination vfs://{}",
        root.display(),
        destination.display()
    );
    print_line(&format!(
        "\nEvery step held.\n\n\
         Where things are:\n  \
           volumes     {volumes}\n  \
           snapshots   {snapshots} (restic's format)\n  \
           backups     {backups} (restic's format, too)\n\n\
         Look at them:\n  \
           {program} volumes {flags}\n  \
           {program} backups {flags}\n  \
           {program} prune --keep-daily 7 --dry-run {flags}\n\n\
         What to type next, for volumes of your own:\n  \
           export BKUP_BACKUP_URL=vfs:///mnt/backups   # a folder, better on another machine (NFS)\n  \
           export BKUP_REPOSITORY_PASSWORD=...         # else the built-in daemon's backups are not encrypted\n  \
           {program} doctor                       # is everything in place?\n  \
           {program} create --volume vol1 --size 10G\n  \
           {program} backup --create-snapshot\n\n\
         Remove the demo: rm -r {folder}",
        volumes = root.join("volumes").display(),
        snapshots = root.join("repository").display(),
        backups = destination.join("repository").display(),
        folder = folder.display(),
    ));
}

/// The path by which this program was called: a newcomer has not installed it yet.
fn program() -> String {
    let Ok(path) = std::env::current_exe() else { return "convoy-backups".into() };
    let here = std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).map(Path::to_owned).ok());
    here.unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_default_folder_is_new_and_nobody_elses() {
        let base = tempfile::tempdir().unwrap();
        let at = |index: u32| base.path().join(format!("convoy-backups-demo-{index}"));
        std::fs::create_dir(at(1)).unwrap();
        // A link to a path that does not exist. Its owner would own what the demo writes there.
        symlink(base.path().join("elsewhere"), at(2)).unwrap();
        std::fs::write(at(3), "a file").unwrap();
        let made = new_folder(base.path()).unwrap();
        assert_eq!(made, at(4));
        assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!base.path().join("elsewhere").exists());
        assert!(new_folder(&base.path().join("missing")).is_err());
    }

    #[test]
    fn attributes_are_claimed_only_where_there_are_any() {
        assert!(compared(3, true).contains("links, extended attributes: all the same"));
        assert!(compared(3, false).contains("links: all the same"));
    }
}
