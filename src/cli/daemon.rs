//! `daemon`: serves the built-in daemon to other programs until it is told to end.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Arg, ArgMatches, Command};

use super::{context::Context, print::print_line, runtime::in_runtime};
use crate::{
    app::builtin_options,
    blocking,
    config::{DaemonChoice, RememberedDaemon, Settled},
    convoy::{guards::KnownBackups as _, server::Server},
    daemon::{BuiltinDaemon, settle_moved},
    error::{Error, ErrorKind, Result},
    logging, progress,
    runs::Store,
    service_manager::ServiceManager,
};

/// How long open requests may take after the daemon is told to end. The service manager is asked
/// not to kill the daemon before.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(300);

pub(super) fn command() -> Command {
    Command::new("daemon")
        .about("Serve the built-in volume daemon to other programs, Docker among them")
        .arg(
            Arg::new("root")
                .long("root")
                .value_name("DIR")
                .help("where volumes and snapshots are [default: the data folder's]"),
        )
        .arg(
            Arg::new("socket")
                .long("socket")
                .value_name("PATH")
                .help("the socket to serve [default: DIR/convoy.sock]"),
        )
        .subcommand(
            Command::new("use")
                .about("Settle which daemon the volumes belong to, where BKUP_CONVOY is not set")
                .arg(
                    Arg::new("daemon")
                        .value_name("DAEMON")
                        .required(true)
                        .help("convoy, builtin, unix:///socket or builtin:/folder"),
                ),
        )
        .subcommand(Command::new("moved").about(
            "Settle that the built-in daemon's folder was moved here, and nothing uses a copy of it",
        ))
}

/// Writes down which daemon is used where `BKUP_CONVOY` is not set.
fn use_daemon(context: &Context, text: &str) -> Result<u8> {
    let config = &context.config;
    let Some(choice) = config.named_daemon(text) else {
        return Err(Error::usage(format!("\"{text}\" is no daemon"))
            .with_hint("write convoy, builtin, unix:///socket or builtin:/folder"));
    };
    let before = config.remembered_daemon().ok().flatten();
    config.remember_daemon(&RememberedDaemon {
        choice: choice.clone(),
        settled: Settled::Use,
        same: None,
    })?;
    if context.flags.quiet {
        return Ok(0);
    }
    let was = before.filter(|before| before.choice != choice);
    let was = was.map(|before| format!(" (it was \"{}\")", before.choice)).unwrap_or_default();
    print_line(&format!("The daemon is \"{choice}\"{was}, where BKUP_CONVOY is not set."));
    if let Some(set) = &config.convoy {
        print_line(&format!("BKUP_CONVOY is set, and holds: \"{set}\"."));
    }
    print_line("A \"serve\" that runs keeps the daemon that it began with: start it again.");
    Ok(0)
}

/// Settles that the root was moved and not copied.
fn moved(context: &Context, root: &Path) -> Result<u8> {
    let settled = settle_moved(root).map_err(|error| match error.kind {
        ErrorKind::Busy => error.with_hint("stop it (\"serve\", \"daemon\") and try again"),
        _ => error,
    })?;
    if !context.flags.quiet {
        let text = match settled {
            true => "The backups that were made before are its own.",
            false => "There is nothing to settle: all that it made is its own.",
        };
        print_line(&format!("{}: {text}", root.display()));
        if !knows_own_backups(context, root) {
            let folder = context.config.data_dir.display();
            print_line(&format!(
                "The data folder \"{folder}\" knows of no backup that this host made with it, so \"prune\" and \"remove\" delete nothing until there is a new one: convoy-backups backup --create-snapshot"
            ));
        }
    }
    Ok(0)
}

/// Whether the store knows of a backup that a run of this host made or restored with the daemon at this
/// root.
/// Only those make deletions safe.
fn knows_own_backups(context: &Context, root: &Path) -> bool {
    let daemon = DaemonChoice::Builtin(root.to_owned()).identity();
    let store = Store::new(&context.config.data_dir);
    let volumes = store.volumes().unwrap_or_default();
    let mut own = volumes.iter().filter(|volume| volume.daemon == daemon);
    own.any(|volume| {
        let known = store.of_volume(&daemon, &volume.name).unwrap_or_default();
        known.iter().any(|backup| backup.made_here || backup.restored)
    })
}

pub(super) fn daemon(context: &Context, matches: &ArgMatches) -> Result<u8> {
    if let Some(("use", matches)) = matches.subcommand() {
        let text = matches.get_one::<String>("daemon").map(String::as_str);
        return use_daemon(context, text.unwrap_or_default());
    }
    let config = &context.config;
    let root = match (matches.get_one::<String>("root"), config.daemon().choice) {
        (Some(root), _) => PathBuf::from(root),
        (None, DaemonChoice::Builtin(root)) => root,
        (None, _) => config.builtin_root(),
    };
    if matches.subcommand_matches("moved").is_some() {
        return moved(context, &root);
    }
    let socket =
        matches.get_one::<String>("socket").map_or_else(|| root.join("convoy.sock"), PathBuf::from);
    let mut options = builtin_options(config, root.clone(), progress::none());
    options.docker.asks_later = true;
    in_runtime(|cancellation| async move {
        let open = move || BuiltinDaemon::open(options);
        let daemon = blocking::try_run("the built-in daemon", ErrorKind::Internal, open).await?;
        let daemon = Arc::new(daemon);
        // The daemon also listens on the root's socket, so that a process that names the root finds
        // this daemon.
        let own_socket = root.join("convoy.sock");
        let bind = |socket: &Path| Server::bind(socket, daemon.clone(), daemon.for_the_plugin());
        let mut servers = vec![bind(&socket)?];
        if socket != own_socket {
            servers.push(bind(&own_socket)?);
        }
        logging::on_hangup(|| {});
        let manager = ServiceManager::of_this_process();
        manager.ready(&format!(
            "serving the volumes in {} at {}",
            root.display(),
            socket.display()
        ));
        context.remark(&format!(
            "serving the volumes in {} at {}; Ctrl-C ends it",
            root.display(),
            socket.display()
        ));
        let served: Vec<_> = servers
            .into_iter()
            .map(|server| tokio::spawn(server.run(cancellation.clone().cancelled_owned())))
            .collect();
        let serving = async {
            for served in served {
                served
                    .await
                    .map_err(|panic| Error::internal(format!("the server failed: {panic}")))??;
            }
            Ok(0)
        };
        manager.during(serving, &cancellation, SHUTDOWN_TIMEOUT).await
    })
}
