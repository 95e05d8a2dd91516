//! Connects to the daemon that the configuration names: Convoy's socket, or the built-in daemon's
//! root.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{net::UnixStream, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::handover::Handover;
use crate::{
    blocking,
    clock::SystemClock,
    config::{Config, DaemonChoice, DaemonDecision, Secret, Unheld},
    convoy::{
        Daemon,
        client::{Client, ClientOptions, Deadlines},
        guards::DataLook,
        server::Server,
    },
    daemon::{
        BuiltinDaemon, BuiltinOptions, ContainerHolds, DockerOptions, HoldCommands, HoldOptions,
        MomentCommands, Patience, is_copied, is_in_container,
    },
    error::{Error, ErrorKind, Result},
    files::real_path,
    objectstore::ObjectStoreLook,
    progress::Progress,
    sync::lock,
};

/// How long to wait for the owner of a root to open its socket, or to release the root.
const OWNER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long closing waits for other processes' requests before it remarks on it.
const CLOSE_REMARK_AFTER: Duration = Duration::from_secs(2);
/// The longest that the owner of a root may work on one call.
const OWNERS_LONG_WRITE: Duration = Duration::from_hours(14 * 24);
const OWNER_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The daemon of a configuration, and the socket that this process serves for it.
pub(crate) struct Connection {
    pub(crate) daemon: Arc<dyn Daemon>,
    /// Looks at the data of backups, where the daemon does not.
    pub(crate) data_look: Arc<dyn DataLook>,
    /// Why this daemon was chosen, for people.
    pub(crate) why: String,
    pub(super) choice: DaemonChoice,
    /// The root of the built-in daemon that serves the chosen socket, if it is this data folder's
    /// and that is not remembered yet.
    pub(super) same: Option<DaemonChoice>,
    sockets: ServedSockets,
}

/// The sockets that this process serves for the roots it owns: for each, the sender that stops it
/// when dropped, and its task.
type ServedSockets = Arc<Mutex<Vec<(watch::Sender<()>, JoinHandle<Result<()>>)>>>;

impl Connection {
    /// Closes the socket once other processes' requests are answered. If that takes long, `remark`
    /// gets a message; a cancellation ends the wait and cuts those requests off.
    pub(crate) async fn close(self, cancellation: &CancellationToken, remark: impl Fn(&str)) {
        let sockets = std::mem::take(&mut *lock(&self.sockets));
        for (stop, mut served) in sockets {
            drop(stop);
            let ended = tokio::select! {
                ended = &mut served => ended,
                () = tokio::time::sleep(CLOSE_REMARK_AFTER) => {
                    remark(
                        "this command is over; another one still works through this process, and is waited for (Ctrl-C cuts it off)",
                    );
                    tokio::select! {
                        ended = served => ended,
                        () = cancellation.cancelled() => return,
                    }
                }
            };
            let failed = match ended {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => panic.to_string(),
            };
            log::warn!("the built-in daemon's socket failed: {failed}");
        }
    }
}

/// The options of the built-in daemon.
pub(crate) fn builtin_options(
    config: &Config,
    root: PathBuf,
    progress: Arc<dyn Progress>,
) -> BuiltinOptions {
    let text = |secret: &Secret| secret.expose().to_owned();
    let own = config.own_folders().into_iter().chain([root.clone()]).collect();
    BuiltinOptions {
        root,
        password: config.repository_password.as_ref().map(text),
        s3: config.s3(),
        folders: config.folders.clone(),
        docker: DockerOptions {
            socket: config.docker.socket.clone(),
            use_of: config.docker.use_of,
            selection: config.docker.selection.clone(),
            has_policy: config.docker.has_policy,
            own,
            patience: Patience::default(),
            is_in_container: is_in_container(),
            asks_later: false,
        },
        moment: config.moment_commands.clone().map(|(take, drop)| MomentCommands::new(take, drop)),
        hold: hold_options(config),
        excludes: config.excludes.clone(),
        spool_most: config.spool_most,
        lock_wait: config.lock_wait,
        host: config.host_name(),
        progress,
        clock: Arc::new(SystemClock),
    }
}

fn hold_options(config: &Config) -> HoldOptions {
    let hold = config.hold.clone();
    let commands =
        hold.commands.map(|(hold, release, volumes)| HoldCommands { hold, release, volumes });
    let containers = config.docker.socket.as_deref().map(|socket| ContainerHolds {
        policy: hold.containers,
        is_chosen: hold.is_chosen,
        reads_unheld: hold.unheld == Unheld::Live,
        limit: hold.containers_limit,
        ..ContainerHolds::at(socket)
    });
    HoldOptions { commands, containers, limit: hold.limit }
}

/// The built-in daemon, in this process or in the owner of its root.
#[derive(Clone)]
struct Builtin {
    options: BuiltinOptions,
    sockets: ServedSockets,
}

/// Connects to the daemon that the configuration decides on.
///
/// # Errors
/// A configuration error if the data folder is a file, or its volumes belong to another daemon than
/// the one that is there; [`ErrorKind::Busy`] if another process owns the built-in daemon's root
/// and does not answer.
pub(crate) async fn connect(config: &Config, progress: Arc<dyn Progress>) -> Result<Connection> {
    connect_to(config, config.daemon(), progress).await
}

/// As [`connect`], to a daemon that was decided on before.
pub(super) async fn connect_to(
    config: &Config,
    decision: DaemonDecision,
    progress: Arc<dyn Progress>,
) -> Result<Connection> {
    check_data_folder(&config.data_dir)?;
    let DaemonDecision { choice, why, refusal } = decision;
    if let Some(refusal) = refusal
        && !serves(&config.found_daemon(), &choice).await
    {
        return Err(refusal);
    }
    let sockets = ServedSockets::default();
    let daemon: Arc<dyn Daemon> = match choice.clone() {
        DaemonChoice::Socket(socket) => {
            Arc::new(client(socket, config.s3_endpoint.clone(), Deadlines::default()))
        }
        DaemonChoice::Builtin(root) => {
            let builtin = Builtin {
                options: builtin_options(config, root.clone(), progress),
                sockets: sockets.clone(),
            };
            let connect = move || {
                let builtin = builtin.clone();
                let connecting = async move { open_or_connect(&builtin).await };
                Box::pin(connecting)
                    as std::pin::Pin<Box<dyn Future<Output = Result<Arc<dyn Daemon>>> + Send>>
            };
            Arc::new(Handover::new(&root, Box::new(connect)).await?)
        }
    };
    let mut same = None;
    if config.convoy.is_none() && !config.remembers_daemon() {
        let own = DaemonChoice::Builtin(config.builtin_root());
        same = serves(&choice, &own).await.then_some(own);
    }
    log::info!("daemon: {} ({why})", daemon.description());
    let data_look = Arc::new(ObjectStoreLook::new(config.s3()));
    Ok(Connection { daemon, data_look, why, choice, same, sockets })
}

/// Whether a process serves the built-in daemon of this root on this socket, as
/// `convoy-backups daemon` does on Convoy's: then both are one daemon.
async fn serves(socket: &DaemonChoice, root: &DaemonChoice) -> bool {
    let (DaemonChoice::Socket(socket), DaemonChoice::Builtin(root)) = (socket, root) else {
        return false;
    };
    if !root.is_dir() || !socket.exists() {
        return false;
    }
    let deadlines = Deadlines { restart: Duration::ZERO, ..Deadlines::default() };
    let served = client(socket.clone(), None, deadlines).info().await.ok();
    let served = served.as_ref().and_then(|info| info.root()).map(Path::new);
    served.is_some_and(|served| real_path(served) == real_path(root))
}

/// A data folder that is a file is a mistake, and must not make the program miss the files in it
/// silently. A folder that does not exist yet is no mistake, and one that can't be written stops no
/// backup.
pub(super) fn check_data_folder(folder: &Path) -> Result<()> {
    let is_file = match folder.metadata() {
        Ok(metadata) => !metadata.is_dir(),
        Err(error) => error.kind() == std::io::ErrorKind::NotADirectory,
    };
    if is_file {
        return Err(Error::configuration(format!(
            "the data folder \"{}\" is not a folder",
            folder.display()
        ))
        .with_hint("set BKUP_DATA_DIR to a folder that this user can write to"));
    }
    Ok(())
}

fn client(socket: PathBuf, endpoint: Option<String>, deadlines: Deadlines) -> Client {
    Client::new(ClientOptions { socket, endpoint, deadlines })
}

/// Opens the root in this process if it is free, and serves its socket to others; else connects to
/// the socket of its owner.
async fn open_or_connect(builtin: &Builtin) -> Result<Arc<dyn Daemon>> {
    let socket = builtin.options.root.join("convoy.sock");
    let start = std::time::Instant::now();
    loop {
        let busy = match open(builtin).await {
            Ok(daemon) => {
                serve(&daemon, builtin, &socket);
                return Ok(daemon);
            }
            Err(error) if error.kind == ErrorKind::Busy => error,
            Err(error) => return Err(error),
        };
        if UnixStream::connect(&socket).await.is_ok() {
            // A root whose owner ends can be taken over at once, so this client does not wait for
            // the socket to come back.
            let deadlines = Deadlines {
                restart: Duration::ZERO,
                // It ends what a run asks for with that: the run's own time counts.
                long_write: OWNERS_LONG_WRITE,
                ..Deadlines::default()
            };
            return Ok(Arc::new(client(socket, None, deadlines)));
        }
        if start.elapsed() > OWNER_TIMEOUT {
            return Err(busy.with_hint(format!(
                "its owner does not answer at \"{}\"; end that process first",
                socket.display()
            )));
        }
        tokio::time::sleep(OWNER_POLL_INTERVAL).await;
    }
}

/// Opens the root in this process. Opening cleans up, and logs, what a crash left unfinished there.
async fn open(builtin: &Builtin) -> Result<Arc<BuiltinDaemon>> {
    let options = builtin.options.clone();
    let open = move || BuiltinDaemon::open(options);
    blocking::try_run("the built-in daemon", ErrorKind::Internal, open).await.map(Arc::new)
}

/// Serves the root's socket to other processes. This process works without it, so a failure is only
/// logged.
fn serve(daemon: &Arc<BuiltinDaemon>, builtin: &Builtin, socket: &Path) {
    match Server::bind(socket, daemon.clone(), daemon.for_the_plugin()) {
        Ok(server) => {
            let (stop, mut stopped) = watch::channel(());
            let served = tokio::spawn(server.run(async move {
                let _ = stopped.changed().await;
            }));
            lock(&builtin.sockets).push((stop, served));
        }
        Err(error) => log::warn!("other processes can't use this daemon meanwhile: {error}"),
    }
}

/// Says that the folder of the built-in daemon was copied or moved, and what settles that.
pub(crate) fn copied_root(config: &Config) -> Option<String> {
    let DaemonChoice::Builtin(root) = config.daemon().choice else { return None };
    is_copied(&root).then(|| {
        format!(
            "\"{}\" was copied or moved to another place, so backups made before are left alone, as they may be another host's (if it was moved, and nothing else uses it any more: convoy-backups daemon moved)",
            root.display()
        )
    })
}
