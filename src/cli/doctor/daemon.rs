//! What `doctor` says of the daemon and the destination.

use std::{os::unix::fs::FileTypeExt as _, path::Path, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    super::context::Context,
    check::{Check, Verdict, failed, failed_with, ok, warning},
    folders::{entered_by_others, space, spool, tempfile_in},
    places,
};
use crate::{
    app, blocking,
    clock::{Clock, SystemClock},
    config::{DaemonChoice, DaemonDecision, Secret},
    convoy::{Daemon, Destination, Info, url::DestinationKind},
    daemon::{damage_of_snapshots, is_in_container},
    files::{Unanswered, look_at},
    progress,
    runs::Store,
    s3::Objects,
    status::{
        DestinationLook, DestinationVerdict, look_at_destination, not_backed_up,
        should_be_backed_up,
    },
    text::counted,
};

/// How long the folder of a destination may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// Checks the daemon, its volumes, the destination, and each volume's newest backup.
pub(super) async fn daemon(context: &Context) -> Vec<Check> {
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
            let named = named(&info, &choice, daemon.description());
            checks.push(ok("daemon", format!("{named}, driver {driver} ({why})")));
            checks.extend(encryption(&info, context, &choice));
        }
        Err(error) => {
            checks.push(failed_with("daemon", &error));
            return checks;
        }
    }
    let mut unnamed = Vec::new();
    let volumes = daemon.volumes().await.map(|mut volumes| {
        unnamed
            .extend(volumes.extract_if(.., |_, volume| volume.is_unnamed()).map(|(name, _)| name));
        volumes
    });
    match volumes {
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
    // It is known only after the daemon listed its volumes.
    if let Ok(mut info) = daemon.info().await {
        info.add_unnamed(unnamed.iter().map(String::as_str));
        checks.extend(docker_host(&info));
    }
    checks.extend(forgotten(daemon.as_ref()).await);
    if let DaemonChoice::Builtin(root) = &choice {
        checks.push(space("volumes' folder", root));
        checks.extend(snapshots(root, context.config.repository_password.as_ref()));
        checks.extend(entered_by_others(root));
        if context.config.backup_url.as_ref().is_some_and(Destination::is_s3) {
            checks.extend(spool(root, context.config.spool_most));
            checks.extend(object_lock(context).await);
        }
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

/// Whether the bucket locks objects as it is asked to.
async fn object_lock(context: &Context) -> Option<Check> {
    const WHAT: &str = "object lock";
    let config = &context.config;
    let object_lock = config.s3_object_lock?;
    let at = config.backup_url.as_ref()?;
    let DestinationKind::S3 { bucket, region, path } = at.kind() else { return None };
    let [bucket, region, path] = [bucket, region, path].map(Clone::clone);
    let (s3, shown) = (config.s3(), bucket.clone());
    let ask = move || Objects::new(&s3, &bucket, &region, &path, "repository")?.can_lock();
    Some(match blocking::run(ask).await {
        Ok(()) => ok(
            WHAT,
            format!(
                "\"{shown}\" can lock; backups ask for what they need to be locked for {object_lock}"
            ),
        ),
        Err(error) => failed_with(WHAT, &error),
    })
}

/// Whether the built-in daemon's own copies of volumes are damaged.
fn snapshots(root: &Path, password: Option<&Secret>) -> Option<Check> {
    let why = damage_of_snapshots(root, password.map(|secret| secret.expose().to_owned()))?;
    let found = format!("the folder of local snapshots is damaged: {why}");
    let hint = "the next snapshot makes it anew; volumes and backups are not touched";
    Some(warning("snapshots", found, hint))
}

/// The daemon, as it says itself who it is; Convoy does not.
fn named(info: &Info, choice: &DaemonChoice, described: String) -> String {
    match (info.program(), choice) {
        (None, _) => described,
        (Some(program), DaemonChoice::Builtin(_)) => format!("{described} ({program})"),
        (Some(program), DaemonChoice::Socket(socket)) => format!(
            "the built-in daemon at {} ({program}), over {}",
            info.root().unwrap_or("a folder that it does not tell"),
            socket.display()
        ),
    }
}

/// Whether backups are encrypted, as the daemon says that makes them.
fn encryption(info: &Info, context: &Context, choice: &DaemonChoice) -> Option<Check> {
    let is_ours = matches!(choice, DaemonChoice::Builtin(_));
    // An older release does not tell it.
    let has_password = || context.config.repository_password.is_some();
    let is_encrypted = info.is_encrypted().or_else(|| is_ours.then(has_password))?;
    let hint = match is_ours {
        true => {
            "set BKUP_REPOSITORY_PASSWORD (and keep it somewhere else, too) before the first backup"
        }
        false => {
            "set BKUP_REPOSITORY_PASSWORD where the daemon runs, not here (and keep it somewhere else, too), before the first backup"
        }
    };
    (!is_encrypted)
        .then(|| warning("encryption", "the built-in daemon's backups are not encrypted", hint))
}

/// The volumes that Docker removed, and that take room.
async fn forgotten(daemon: &dyn Daemon) -> Option<Check> {
    let left = daemon.forgotten_volumes().await.ok().flatten()?;
    let found = || {
        let count = counted(left.len(), "forgotten volume has", "forgotten volumes have");
        format!(
            "{count} files or snapshots of before it was removed (convoy-backups volumes --forgotten)"
        )
    };
    let hint = "\"remove --volume NAME\" removes one; \"create --volume NAME --size 10G\" makes it a volume again";
    (!left.is_empty()).then(|| Check {
        what: "volumes",
        verdict: Verdict::Ok,
        found: found(),
        hint: Some(hint.into()),
    })
}

/// What is on the daemon's Docker host and not backed up.
fn docker_host(info: &Info) -> Vec<Check> {
    const WHAT: &str = "Docker";
    let problem = info.docker_problem().map(|why| {
        warning(
            WHAT,
            why,
            "until Docker answers, new volumes are not seen; those that are known are backed up",
        )
    });
    let note = info.docker_note().map(|why| {
        warning(WHAT, why, "run as root, or as a user in the group docker; or BKUP_DOCKER=off")
    });
    let left_out = info.not_backed_up();
    let wrong = should_be_backed_up(&left_out)
        .map(|why| failed(WHAT, why, "the others are backed up; see docs/docker.md"));
    let others = not_backed_up(&left_out).map(|left| {
        warning(
            WHAT,
            left,
            "name folders in BKUP_FOLDERS; the label convoy-backups.enable=true takes a volume in",
        )
    });
    problem.into_iter().chain(note).chain(wrong).chain(others).collect()
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

fn unanswered(folder: &Path, why: &Unanswered) -> Check {
    let what = format!("\"{}\"", folder.display());
    failed_with("destination", &why.error(&what, "the server of its share may be down"))
}

/// What to do about a destination's folder that is not there. In a container, the daemon may see it all
/// the same.
const fn missing_folder_hint(is_in_container: bool) -> &'static str {
    if is_in_container {
        "make the folder, or mount it into this container, at the same path as for the daemon: backups may be made without, but none is deleted without the lock in it"
    } else {
        "make the folder (mount the share) first; beside Convoy it must be there for Convoy, too"
    }
}

/// Checks the folder of a destination; the error is a check after which no other makes sense.
fn destination_folder(folder: &Path) -> std::result::Result<Vec<Check>, Check> {
    let shown = folder.display();
    match std::fs::metadata(folder) {
        Err(error) => {
            let hint = missing_folder_hint(is_in_container());
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
        match looked.unwrap_or_else(|why| Err(unanswered(folder, &why))) {
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
    fn a_destination_that_a_container_does_not_see_is_mounted_into_it() {
        assert!(missing_folder_hint(true).contains("mount it into this container"));
        assert!(missing_folder_hint(false).starts_with("make the folder"));
    }

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
