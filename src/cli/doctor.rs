//! `doctor`: checks everything that a backup and a restore need, and says how to fix what is
//! missing.

use std::{os::unix::fs::FileTypeExt, path::Path, sync::Arc, time::Duration};

use clap::Command;
use tokio_util::sync::CancellationToken;

mod check;
mod places;

use check::{Check, Verdict, failed, failed_with, ok, warning};

use super::{
    context::Context,
    print::{print_json, print_line},
};
use crate::{
    app,
    clock::{self, Clock, SystemClock},
    config::{DaemonChoice, DaemonDecision, SystemSettings},
    convoy::Daemon,
    error::{Error, Result},
    files::look_at,
    logging,
    notify::{NO_CHANNEL, NO_CHANNEL_LONG_HINT},
    progress,
    runs::Store,
    status::{DestinationLook, DestinationVerdict, look_at_destination},
    text::{Style, counted, escape, styled},
    units::format_size,
};

/// Less free space than this is a warning, in bytes.
const LITTLE_SPACE: u64 = 1 << 30;

/// How long the folder of a destination may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// How long a syslog server may take to be resolved and reached.
const SYSLOG_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn command() -> Command {
    Command::new("doctor")
        .about("Look at the daemon, folders, destination and scripts; say what to do")
}

/// Checks everything and shows the results. Returns 1 if a check failed.
pub(super) async fn doctor(context: &Context) -> Result<u8> {
    let mut checks = Vec::new();
    checks.extend(clock::unset(SystemClock.now()).map(|(what, hint)| failed("clock", what, hint)));
    checks.extend(settings(&context.config.system));
    checks.extend(folder(
        "data folder",
        &context.config.data_dir,
        "set BKUP_DATA_DIR to a folder that can be written",
    ));
    checks.push(scripts(context));
    checks.extend(log(context).await);
    checks.extend(channels(context));
    checks.extend(daemon(context).await);
    if context.config.repository_password.is_none()
        && matches!(context.config.daemon().choice, DaemonChoice::Builtin(_))
    {
        checks.push(warning(
            "encryption",
            "the built-in daemon's backups are not encrypted",
            "set BKUP_REPOSITORY_PASSWORD (and keep it somewhere else, too) before the first backup",
        ));
    }

    let code = u8::from(checks.iter().any(|check| check.verdict == Verdict::Failed));
    if context.flags.json {
        print_json(&checks);
        return Ok(code);
    }
    let (_, colour) = context.output();
    for check in &checks {
        let (word, style) = match check.verdict {
            Verdict::Ok => ("ok     ", Style::Green),
            Verdict::Warning => ("warning", Style::Yellow),
            Verdict::Failed => ("FAILED ", Style::Red),
        };
        if context.flags.quiet && check.verdict == Verdict::Ok {
            continue;
        }
        print_line(&format!(
            "{}  {:<18} {}",
            styled(word, style, colour),
            check.what,
            escape(&check.found)
        ));
        if let Some(hint) = &check.hint {
            print_line(&format!("         {:<18} -> {}", "", escape(hint)));
        }
    }
    Ok(code)
}

/// Checks the file with the settings of the system's services, if there is one.
fn settings(system: &SystemSettings) -> Option<Check> {
    let path = system.path.as_ref()?.display();
    let what = "settings";
    Some(if system.is_closed {
        let hint = "as root you see what the services see; for none of them, BKUP_DEFAULTS=off";
        warning(what, format!("this user can't read the services' settings in \"{path}\""), hint)
    } else if let Some(odd) = system.warnings.first() {
        warning(what, odd.message.clone(), odd.hint.clone().unwrap_or_default())
    } else {
        ok(what, format!("those of the services in \"{path}\" hold here, too"))
    })
}

/// Checks a folder of this program: it exists or can be made, is writable, and has space left.
fn folder(what: &'static str, path: &Path, hint: &str) -> Vec<Check> {
    if let Err(error) = std::fs::create_dir_all(path) {
        return vec![failed(what, format!("\"{}\" can't be made: {error}", path.display()), hint)];
    }
    match tempfile_in(path) {
        Ok(()) => {
            vec![ok(what, format!("\"{}\" can be written", path.display())), space(what, path)]
        }
        Err(error) => {
            vec![failed(what, format!("\"{}\" can't be written: {error}", path.display()), hint)]
        }
    }
}

/// Tries to make a file in a folder. The file is removed at once.
fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!(".convoy-backups-doctor-{}", std::process::id()));
    std::fs::File::create_new(&path)?;
    std::fs::remove_file(&path)
}

fn space(what: &'static str, path: &Path) -> Check {
    match rustix::fs::statvfs(path) {
        Ok(system) => {
            let free = system.f_bavail.saturating_mul(system.f_frsize);
            let found = format!("{} free at \"{}\"", format_size(free), path.display());
            if free < LITTLE_SPACE {
                warning(what, found, "make room: a snapshot needs space for what changed")
            } else {
                ok(what, found)
            }
        }
        Err(error) => warning(
            what,
            format!("free space at \"{}\" is not known: {error}", path.display()),
            "look with \"df\"",
        ),
    }
}

fn scripts(context: &Context) -> Check {
    let library = match app::library(&context.config) {
        Ok(library) => library,
        Err(error) => return failed_with("scripts", &error),
    };
    let listed = match library.list() {
        Ok(listed) => listed,
        Err(error) => return failed_with("scripts", &error),
    };
    let broken: Vec<_> = listed
        .iter()
        .filter(|listed| listed.doc.is_err())
        .map(|listed| listed.name.as_str())
        .collect();
    if broken.is_empty() {
        ok("scripts", format!("{}, all in order", counted(listed.len(), "script", "scripts")))
    } else {
        failed(
            "scripts",
            format!("broken: {}", broken.join(", ")),
            "see \"convoy-backups scripts check\"",
        )
    }
}

/// Checks the log file and the syslog server, if they are configured.
async fn log(context: &Context) -> Vec<Check> {
    let (file, syslog) = (&context.config.file_log, context.config.syslog.clone());
    let mut checks = Vec::new();
    if file.enabled {
        checks.push(match logging::try_out_file(file) {
            Ok(()) => ok("log file", format!("\"{}\" can be written", file.location.display())),
            Err(error) => failed_with("log file", &error),
        });
    }
    if syslog.enabled {
        let (host, server) = (context.config.host_name(), syslog.server.clone());
        let tried = tokio::task::spawn_blocking(move || logging::try_out_syslog(&syslog, &host));
        checks.push(match tokio::time::timeout(SYSLOG_TIMEOUT, tried).await {
            Ok(Ok(Ok(found))) => ok("syslog", found),
            Ok(Ok(Err(error))) => failed_with("syslog", &error),
            Ok(Err(panic)) => {
                failed_with("syslog", &Error::internal(format!("the check failed: {panic}")))
            }
            Err(_) => failed(
                "syslog",
                format!(
                    "the server \"{server}\" could not be resolved or reached in {} s",
                    SYSLOG_TIMEOUT.as_secs()
                ),
                "look at BKUP_LOGGER_SYSLOG_SERVER, and at the name servers in /etc/resolv.conf",
            ),
        });
    }
    checks
}

/// Checks the channels of alerts.
fn channels(context: &Context) -> Vec<Check> {
    let channels = context.notifier.channels();
    if channels.is_empty() {
        let hint = format!("{NO_CHANNEL_LONG_HINT}; then \"convoy-backups notify test\"");
        return vec![warning("who is told", NO_CHANNEL, hint)];
    }
    let told = channels.iter().map(|channel| {
        let when = if channel.always { "every run" } else { "failures" };
        ok("who is told", format!("{} {}: {when}", channel.channel.as_str(), channel.to))
    });
    let mut checks: Vec<Check> = told.collect();
    let waiting = context.notifier.waiting().len();
    if waiting > 0 {
        let found = format!("{} could not be sent yet", counted(waiting, "message", "messages"));
        checks.push(warning("who is told", found, "see \"convoy-backups notify list\""));
    }
    checks
}

async fn daemon(context: &Context) -> Vec<Check> {
    let DaemonDecision { choice, why, refusal } = context.config.daemon();
    let mut checks = Vec::new();
    if refusal.is_none()
        && let DaemonChoice::Socket(socket) = &choice
    {
        checks.push(self::socket(socket));
        if checks[0].verdict == Verdict::Failed {
            return checks;
        }
    }
    let connection = match app::connect(&context.config, progress::none()).await {
        Ok(connection) => connection,
        Err(error) => return vec![failed_with("daemon", &error)],
    };
    let daemon = connection.daemon.clone();
    match daemon.info().await {
        Ok(info) => {
            let driver = info.default_driver().unwrap_or("unknown").to_owned();
            checks.push(ok("daemon", format!("{}, driver {driver} ({why})", daemon.description())));
        }
        Err(error) => {
            checks.push(failed_with("daemon", &error));
            return checks;
        }
    }
    match daemon.volumes().await {
        Ok(volumes) if volumes.is_empty() => {
            let hint = "make one with \"convoy-backups create --volume NAME --size 10G\", or look whether this is the right daemon";
            checks.push(warning("volumes", "the daemon lists none", hint));
        }
        Ok(volumes) => {
            checks.push(ok("volumes", counted(volumes.len(), "volume", "volumes")));
            checks.extend(places::checks(&volumes));
        }
        Err(error) => checks.push(failed_with("volumes", &error)),
    }
    if let DaemonChoice::Builtin(root) = &choice {
        checks.push(space("volumes' folder", root));
        let hint = "backups made before: \"convoy-backups backups\" lists them as \"left alone\"";
        checks.extend(
            app::copied_root(&context.config).map(|it| warning("volumes' folder", it, hint)),
        );
    }
    checks.extend(destination(context, daemon.as_ref()).await);
    let store = Store::new(&context.config.data_dir);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let looks = look_at_destination(&context.config, &daemon, &store, &clock).await;
    checks.extend(looks.iter().map(newest_backups));
    connection.close(&CancellationToken::new(), |text| context.remark(text)).await;
    checks
}

/// What the look at every volume's newest backup at a destination found.
fn newest_backups(look: &DestinationLook) -> Check {
    const WHAT: &str = "newest backups";
    let looked = counted(look.volumes, "volume", "volumes");
    match &look.verdict {
        DestinationVerdict::Wrong(error) => failed_with(WHAT, error),
        DestinationVerdict::Busy => warning(
            WHAT,
            format!("a run is at work at {}", look.destination),
            "look again when it has ended",
        ),
        DestinationVerdict::Well if look.broken.is_empty() && !look.doubtful.is_empty() => failed(
            WHAT,
            format!(
                "looked at those of {looked} at {}; the data of these may not be all there: {}",
                look.destination,
                look.doubtful.join(", ")
            ),
            "\"convoy-backups status\" says why; if that was meant: \"convoy-backups status --accept VOLUME\"",
        ),
        DestinationVerdict::Well if look.broken.is_empty() && !look.unclear.is_empty() => warning(
            WHAT,
            format!(
                "of {looked} at {}; these could not be looked at: {}",
                look.destination,
                look.unclear.join(", ")
            ),
            "\"convoy-backups status\" says why",
        ),
        DestinationVerdict::Well if look.broken.is_empty() => {
            ok(WHAT, format!("looked at those of {looked}, all good, at {}", look.destination))
        }
        DestinationVerdict::Well => failed(
            WHAT,
            format!(
                "looked at those of {looked} at {}; these can't be restored: {}{}",
                look.destination,
                look.broken.join(", "),
                match look.unclear.as_slice() {
                    [] => String::new(),
                    unclear => format!("; these could not be looked at: {}", unclear.join(", ")),
                }
            ),
            "\"convoy-backups status\" says why; make new ones with \"convoy-backups backup --create-snapshot\"",
        ),
    }
}

fn socket(path: &Path) -> Check {
    const HINT: &str =
        "start Convoy (in a container: mount /var/run/convoy), or set BKUP_CONVOY=builtin:/folder";
    let shown = path.display();
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => failed(
            "socket",
            format!("\"{shown}\" is not for this user: {error}"),
            "run as root, or as a user that may use the socket",
        ),
        Err(error) => failed("socket", format!("\"{shown}\": {error}"), HINT),
        Ok(metadata) if !metadata.file_type().is_socket() => failed(
            "socket",
            format!("\"{shown}\" is not a socket"),
            "look at the mounts: Docker makes a folder where the host has no socket",
        ),
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => ok("socket", format!("\"{shown}\" answers")),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => failed(
                "socket",
                format!("\"{shown}\" is not for this user: {error}"),
                "run as root, or as a user that may use the socket",
            ),
            Err(error) => failed("socket", format!("nobody listens at \"{shown}\": {error}"), HINT),
        },
    }
}

fn silent(folder: &Path) -> Check {
    failed(
        "destination",
        format!("\"{}\" does not answer", folder.display()),
        "the server of its share may be down",
    )
}

/// Checks the folder of a destination; the error is a check after which no other makes sense.
fn destination_folder(folder: &Path) -> std::result::Result<Vec<Check>, Check> {
    let shown = folder.display();
    match std::fs::metadata(folder) {
        Err(error) => {
            let hint = "make the folder (mount the share) first; beside Convoy it must be there for Convoy, too";
            return Err(failed("destination", format!("\"{shown}\": {error}"), hint));
        }
        Ok(metadata) if !metadata.is_dir() => {
            return Err(failed(
                "destination",
                format!("\"{shown}\" is not a folder"),
                "set BKUP_BACKUP_URL to a folder",
            ));
        }
        Ok(_) => {}
    }
    Ok(match tempfile_in(folder) {
        Ok(()) => vec![
            ok("destination", format!("\"{shown}\" can be written")),
            space("destination", folder),
        ],
        Err(error) => vec![failed(
            "destination",
            format!("\"{shown}\" can't be written: {error}"),
            "look at its owner and mount options",
        )],
    })
}

/// Checks the destination: it is configured, exists, is writable, has space, and the daemon can
/// list it.
async fn destination(context: &Context, daemon: &dyn Daemon) -> Vec<Check> {
    let Some(destination) = &context.config.backup_url else {
        return vec![failed(
            "destination",
            "none is set",
            "set BKUP_BACKUP_URL, such as vfs:///mnt/backups or s3://bucket@region/path",
        )];
    };
    let mut checks = Vec::new();
    if let Some(folder) = destination.folder() {
        let path = folder.to_owned();
        let looked = look_at(folder, ANSWERS_WITHIN, move || destination_folder(&path));
        match looked.unwrap_or_else(|| Err(silent(folder))) {
            Ok(found) => checks.extend(found),
            Err(failed) => return vec![failed],
        }
    }
    match daemon.backups(destination, None).await {
        Ok(backups) if backups.is_empty() => {
            checks.push(warning(
                "backups",
                format!("none at {destination} yet"),
                "make one with \"convoy-backups backup\"",
            ));
        }
        Ok(backups) => checks.push(ok("backups", format!("{} at {destination}", backups.len()))),
        Err(error) => checks.push(failed_with("backups", &error)),
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_that_could_not_be_looked_at_or_is_in_doubt_is_not_called_good() {
        let look = |broken: &[&str], unclear: &[&str], doubtful: &[&str]| {
            let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            newest_backups(&DestinationLook {
                destination: "vfs:///backups".into(),
                volumes: 3,
                broken: named(broken),
                doubtful: named(doubtful),
                unclear: named(unclear),
                verdict: DestinationVerdict::Well,
            })
        };
        assert_eq!(look(&[], &[], &[]).verdict, Verdict::Ok);
        let unclear = look(&[], &["vol1", "vol2"], &[]);
        assert_eq!(unclear.verdict, Verdict::Warning);
        assert!(unclear.found.contains("could not be looked at: vol1, vol2"), "{unclear:?}");
        let both = look(&["vol3"], &["vol1"], &[]);
        assert_eq!(both.verdict, Verdict::Failed);
        let said = "can't be restored: vol3; these could not be looked at: vol1";
        assert!(both.found.contains(said), "{both:?}");
        let doubtful = look(&[], &["vol1"], &["vol2"]);
        assert_eq!(doubtful.verdict, Verdict::Failed);
        assert!(doubtful.found.contains("may not be all there: vol2"), "{doubtful:?}");
    }
}
