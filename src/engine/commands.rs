//! What labels of a container ask to be done in it for the backup of a volume that it writes to:
//! commands before and after, and dumps of databases. Pure.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Container, EngineVolume, Written, model::ContainerMount};
use crate::{
    error::{Error, ErrorKind, Result},
    units::parse_duration,
};

/// The label with the command that is run before what writes to the volume is held still.
pub(crate) const BEFORE_LABEL: &str = "convoy-backups.exec-before";
/// The label with the command that is run after what writes to the volume was let go on, also when the
/// backup failed.
pub(crate) const AFTER_LABEL: &str = "convoy-backups.exec-after";
/// The label with the user in the container who runs all of it.
pub(crate) const USER_LABEL: &str = "convoy-backups.exec-user";
/// The label that says how long a command may take, and how long a dump may print nothing.
pub(crate) const TIMEOUT_LABEL: &str = "convoy-backups.exec-timeout";
/// The label that says which database is dumped: a [`DumpKind`].
pub(crate) const DUMP_LABEL: &str = "convoy-backups.dump";
/// The label that says whether the volume's files are left out of the backup, which has the dump only.
pub(crate) const DUMP_ONLY_LABEL: &str = "convoy-backups.dump-only";

/// The beginning of labels with commands that scripts may run; the name of the command is behind it.
pub(crate) const EXEC_LABEL: &str = "convoy-backups.exec.";

/// Which database is dumped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DumpKind {
    Postgres,
    Mysql,
    Mariadb,
    Mongodb,
    Redis,
    /// A file, by its path in the container.
    Sqlite(PathBuf),
}

impl DumpKind {
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
            Self::Mongodb => "mongodb",
            Self::Redis => "redis",
            Self::Sqlite(_) => "sqlite",
        }
    }

    /// Where the database has its files in the usual images.
    fn usual_folders(&self) -> &[&str] {
        match self {
            Self::Postgres => &["/var/lib/postgresql", "/bitnami/postgresql"],
            Self::Mysql => &["/var/lib/mysql", "/bitnami/mysql"],
            Self::Mariadb => &["/var/lib/mysql", "/bitnami/mariadb"],
            Self::Mongodb => &["/data/db", "/bitnami/mongodb"],
            Self::Redis => &["/data", "/var/lib/redis", "/bitnami/redis"],
            Self::Sqlite(_) => &[],
        }
    }

    /// `postgres`, `sqlite:/data/app.db,/data/other.db`, ..; `None` if it is nothing of the kind.
    fn parse(value: &str) -> Option<Vec<Self>> {
        let one = match value {
            "postgres" => Self::Postgres,
            "mysql" => Self::Mysql,
            "mariadb" => Self::Mariadb,
            "mongodb" => Self::Mongodb,
            "redis" => Self::Redis,
            other => {
                let files = other.strip_prefix("sqlite:")?.split(',').map(str::trim);
                let file = |path: &str| {
                    let is_path = path.starts_with('/') && !path.ends_with('/');
                    is_path.then(|| Self::Sqlite(path.into()))
                };
                return files.map(file).collect();
            }
        };
        Some(vec![one])
    }
}

/// Whether a container can run a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    Runs,
    /// Nothing of it runs.
    Off,
    /// It is paused, restarts, or is being removed.
    Other,
}

/// What the labels of one container ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commands {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) activity: Activity,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) timeout: Option<Duration>,
    /// Those of databases in the volume that is asked about.
    pub(crate) dumps: Vec<DumpKind>,
    only_dump: bool,
}

/// What labels ask for, of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Asked {
    /// Containers that write to the volume and have such labels, in the order of their names.
    pub(crate) containers: Vec<Commands>,
    /// Whether the volume's files are left out: each container that writes to it asks for that.
    pub(crate) only_dumps: bool,
    /// Whether a container that writes to the volume runs.
    pub(crate) is_written: bool,
    /// The database that runs in one of them, by the name of its image: a value of [`DUMP_LABEL`].
    pub(crate) database: Option<&'static str>,
}

impl Asked {
    /// Whether there are commands before or after.
    pub(crate) fn has_commands(&self) -> bool {
        let has = |container: &Commands| container.before.is_some() || container.after.is_some();
        self.containers.iter().any(has)
    }

    pub(crate) fn has_dumps(&self) -> bool {
        self.containers.iter().any(|container| !container.dumps.is_empty())
    }
}

/// What the labels of the containers that write to a folder ask for.
///
/// # Errors
/// If a label of one of them makes no sense; it is named, and its container.
pub(crate) fn commands(
    containers: &[Container],
    of: Written<'_>,
    volumes: &[EngineVolume],
) -> Result<Asked> {
    let volume = volumes.iter().find(|it| it.name == of.volume && of.any(|folder| it.has(folder)));
    let is_it =
        |mount: &&ContainerMount| mount.writable && of.any(|folder| mount.is_of(volume, folder));
    let (mut asked, mut only_dumps) = (Vec::new(), true);
    let mut writers: Vec<_> = containers
        .iter()
        .filter(|container| container.mounts.iter().any(|it| is_it(&it)))
        .collect();
    writers.sort_by_key(|container| container.name());
    let running = || writers.iter().filter(|container| container.runs());
    let is_written = running().next().is_some();
    let database = running().find_map(|container| database_of(&container.image));
    for container in &writers {
        let mut commands = Commands::of(container)?;
        let is_uncertain = |kind: &DumpKind| !homes(container, kind).1;
        if commands.only_dump && commands.dumps.iter().any(is_uncertain) {
            return Err(home_unknown(container));
        }
        let is_here = |kind: &DumpKind| homes(container, kind).0.iter().any(is_it);
        commands.dumps.retain(is_here);
        only_dumps &= commands.only_dump && !commands.dumps.is_empty();
        if commands.before.is_some() || commands.after.is_some() || !commands.dumps.is_empty() {
            asked.push(commands);
        }
    }
    let only_dumps = only_dumps && !asked.is_empty();
    Ok(Asked { containers: asked, only_dumps, is_written, database })
}

/// What the labels of a container ask for.
///
/// # Errors
/// If one makes no sense.
pub(crate) fn commands_of(container: &Container) -> Result<Commands> {
    Commands::of(container)
}

/// A container that runs, and the command that its label has under this name.
///
/// # Errors
/// If there is no such container or label, it does not run, or a label makes no sense.
pub(crate) fn named_command(
    containers: &[Container],
    container: &str,
    command: &str,
) -> Result<(Commands, String)> {
    let found = containers.iter().find(|it| it.name() == container);
    let missing = || {
        Error::new(ErrorKind::Daemon, format!("there is no container \"{container}\""))
            .with_hint("the names are those of docker ps --all")
    };
    let found = found.ok_or_else(missing)?;
    let labels = Labels { of: found.name(), all: &found.labels };
    let label = format!("{EXEC_LABEL}{command}");
    let missing = || {
        Error::configuration(format!("container \"{container}\" has no label {label}"))
            .with_hint("a script runs nothing but what a label of the container says; make the container anew with the label")
    };
    let script = labels.command(&label)?.ok_or_else(missing)?;
    let commands = Commands::of(found)?;
    if commands.activity != Activity::Runs {
        let message = format!(
            "container \"{container}\" does not run ({}), so \"{command}\" can't be run in it",
            found.state
        );
        return Err(Error::new(ErrorKind::Daemon, message)
            .with_hint("a container that is held stands still: run it before docker::quiesced"));
    }
    Ok((commands, script))
}

/// Other files than the database's would be left out with them.
fn home_unknown(container: &Container) -> Error {
    let message = format!(
        "container \"{}\": the label {DUMP_ONLY_LABEL} leaves a volume's files out, and which of its volumes has the database can't be told",
        container.name()
    );
    Error::configuration(message).with_hint(
        "mount the database's volume at the usual folder of its image, or remove the label: the dump is then beside the files",
    )
}

/// The database of an image, such as `docker.io/library/postgres:16-alpine`.
fn database_of(image: &str) -> Option<&'static str> {
    let name = image.rsplit('/').next().unwrap_or_default();
    let name = name.split([':', '@']).next().unwrap_or_default();
    // Tools that are named after a database are none.
    let databases = [
        ("postgres", "postgres"),
        ("postgresql", "postgres"),
        ("postgis", "postgres"),
        ("pgvector", "postgres"),
        ("timescaledb", "postgres"),
        ("mariadb", "mariadb"),
        ("mysql", "mysql"),
        ("mysql-server", "mysql"),
        ("percona", "mysql"),
        ("mongo", "mongodb"),
        ("mongodb", "mongodb"),
        ("redis", "redis"),
        ("valkey", "redis"),
    ];
    databases.into_iter().find(|(known, _)| *known == name).map(|(_, database)| database)
}

/// The writable mounts of a container that have the files of its database: those at the usual folders,
/// else all; and whether that is certain.
fn homes<'a>(container: &'a Container, kind: &DumpKind) -> (Vec<&'a ContainerMount>, bool) {
    let writable = || container.mounts.iter().filter(|mount| mount.writable);
    if let DumpKind::Sqlite(file) = kind {
        let around = writable().filter(|mount| file.starts_with(&mount.destination));
        let home = around.max_by_key(|mount| mount.destination.as_os_str().len());
        return (home.into_iter().collect(), true);
    }
    let is_usual = |mount: &&ContainerMount| {
        kind.usual_folders().iter().any(|usual| {
            let at = &mount.destination;
            at.starts_with(usual) || (at != Path::new("/") && Path::new(usual).starts_with(at))
        })
    };
    let usual: Vec<_> = writable().filter(is_usual).collect();
    if !usual.is_empty() {
        return (usual, true);
    }
    let all: Vec<_> = writable().collect();
    let is_certain = all.len() < 2;
    (all, is_certain)
}

impl Commands {
    fn of(container: &Container) -> Result<Self> {
        let labels = Labels { of: container.name(), all: &container.labels };
        let [before, after] = [BEFORE_LABEL, AFTER_LABEL].map(|label| labels.command(label));
        let (before, after) = (before?, after?);
        let dumps = labels.dumps(container)?;
        let only_dump = labels.only_dump()?;
        if only_dump && dumps.is_empty() {
            return Err(labels.odd(DUMP_ONLY_LABEL, &format!("is of no use without {DUMP_LABEL}")));
        }
        if only_dump && (before.is_some() || after.is_some()) {
            let why = format!("reads no files, so {BEFORE_LABEL} and {AFTER_LABEL} are of no use");
            return Err(labels.odd(DUMP_ONLY_LABEL, &why));
        }
        let activity = match container.state.as_str() {
            "running" => Activity::Runs,
            "exited" | "created" | "dead" | "stopped" | "configured" => Activity::Off,
            _ => Activity::Other,
        };
        Ok(Self {
            id: container.id.clone(),
            name: container.name().to_owned(),
            activity,
            before,
            after,
            user: labels.command(USER_LABEL)?,
            timeout: labels.timeout()?,
            dumps,
            only_dump,
        })
    }
}

/// The labels of a container.
struct Labels<'a> {
    of: &'a str,
    all: &'a BTreeMap<String, String>,
}

impl Labels<'_> {
    fn odd(&self, label: &str, why: &str) -> Error {
        Error::configuration(format!("container \"{}\": the label {label} {why}", self.of))
            .with_hint("correct the label, and make the container anew (docker compose up -d): a container keeps its labels")
    }

    fn command(&self, label: &str) -> Result<Option<String>> {
        let value = self.all.get(label).map(|value| value.trim());
        match value {
            Some("") => Err(self.odd(label, "is empty")),
            value => Ok(value.map(str::to_owned)),
        }
    }

    fn timeout(&self) -> Result<Option<Duration>> {
        let Some(value) = self.all.get(TIMEOUT_LABEL) else { return Ok(None) };
        let parsed = parse_duration(value).ok().filter(|limit| !limit.is_zero());
        let why = || format!("must be a duration, such as 90s or 10m; it is \"{}\"", short(value));
        parsed.map(Some).ok_or_else(|| self.odd(TIMEOUT_LABEL, &why()))
    }

    fn only_dump(&self) -> Result<bool> {
        match self.all.get(DUMP_ONLY_LABEL).map(|value| value.trim().to_ascii_lowercase()) {
            None => Ok(false),
            Some(word) if word == "false" => Ok(false),
            Some(word) if word == "true" => Ok(true),
            Some(word) => {
                let why = format!("must be true or false; it is \"{}\"", short(&word));
                Err(self.odd(DUMP_ONLY_LABEL, &why))
            }
        }
    }

    fn dumps(&self, container: &Container) -> Result<Vec<DumpKind>> {
        let Some(value) = self.all.get(DUMP_LABEL) else { return Ok(Vec::new()) };
        let dumps = DumpKind::parse(value.trim()).ok_or_else(|| {
            let why = format!(
                "must be postgres, mysql, mariadb, mongodb, redis, or sqlite:/path/in/the/container; it is \"{}\"",
                short(value)
            );
            self.odd(DUMP_LABEL, &why)
        })?;
        let homeless = dumps.iter().find(|kind| homes(container, kind).0.is_empty());
        match homeless {
            Some(DumpKind::Sqlite(file)) => {
                let why = format!("names \"{}\", which is in no volume of it", file.display());
                Err(self.odd(DUMP_LABEL, &why))
            }
            _ => Ok(dumps),
        }
    }
}

/// A value for an error, which may be anything.
fn short(value: &str) -> String {
    value.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container(name: &str, labels: &Value, mounts: &[(&str, &str)]) -> Container {
        let mount = |(volume, at): &(&str, &str)| {
            json!({ "Type": "volume", "Name": volume, "Driver": "local", "RW": true,
                "Source": format!("/volumes/{volume}"), "Destination": at })
        };
        let mounts: Vec<_> = mounts.iter().map(mount).collect();
        serde_json::from_value(json!({
            "Id": name, "Names": [format!("/{name}")], "State": "running", "Labels": labels,
            "Mounts": mounts,
        }))
        .unwrap()
    }

    fn volume(name: &str) -> EngineVolume {
        let volume =
            json!({ "Name": name, "Driver": "local", "Mountpoint": format!("/volumes/{name}") });
        serde_json::from_value(volume).unwrap()
    }

    fn asked(containers: &[Container], name: &str) -> Result<Asked> {
        let folder = PathBuf::from(format!("/volumes/{name}"));
        commands(
            containers,
            Written { volume: name, folder: &folder, real: &folder },
            &[volume("data"), volume("other")],
        )
    }

    #[test]
    fn a_dump_is_of_the_volume_that_has_the_database() {
        let two = [("data", "/var/lib/postgresql/data"), ("other", "/export")];
        let db = container("db", &json!({ DUMP_LABEL: "postgres" }), &two);
        let dumps = |containers: &[Container], name: &str| asked(containers, name).unwrap();
        let data = dumps(std::slice::from_ref(&db), "data");
        assert_eq!(data.containers[0].dumps, [DumpKind::Postgres]);
        assert!(!data.only_dumps && data.has_dumps());
        assert!(!dumps(&[db], "other").has_dumps());
        // Where the usual folder is no volume, it may be any.
        let odd = container(
            "db",
            &json!({ DUMP_LABEL: "postgres" }),
            &[("data", "/pg"), ("other", "/x")],
        );
        assert!(
            ["data", "other"]
                .iter()
                .all(|name| dumps(std::slice::from_ref(&odd), name).has_dumps())
        );
        let label = json!({ DUMP_LABEL: "sqlite:/data/a.db, /data/b/c.db" });
        let web = container("web", &label, &[("data", "/data"), ("other", "/data/b")]);
        let all = ["data", "other"].map(|name| dumps(std::slice::from_ref(&web), name));
        assert_eq!(
            all.map(|asked| asked.containers[0].dumps.clone()),
            [[DumpKind::Sqlite("/data/a.db".into())], [DumpKind::Sqlite("/data/b/c.db".into())],]
        );
    }

    #[test]
    fn files_are_left_out_where_each_container_that_writes_to_them_asks_for_that() {
        let at = [("data", "/var/lib/mysql")];
        let only = json!({ DUMP_LABEL: "mariadb", DUMP_ONLY_LABEL: "true" });
        let db = container("db", &only, &at);
        assert!(asked(std::slice::from_ref(&db), "data").unwrap().only_dumps);
        let other = container("other", &json!({}), &at);
        assert!(!asked(&[db, other], "data").unwrap().only_dumps);
        assert!(!asked(&[], "data").unwrap().only_dumps);
    }

    #[test]
    fn a_database_is_known_by_the_image_of_a_container_that_runs() {
        for (image, database) in [
            ("postgres", Some("postgres")),
            ("docker.io/library/postgres:16-alpine", Some("postgres")),
            ("ghcr.io:443/bitnami/mariadb@sha256:00", Some("mariadb")),
            ("mongo:7", Some("mongodb")),
            ("valkey/valkey", Some("redis")),
            ("prodrigestivill/postgres-backup-local", None),
            ("phpmyadmin", None),
            ("", None),
        ] {
            let mut db = container("db", &json!({}), &[("data", "/data")]);
            db.image = image.into();
            let of = |db: &Container| asked(std::slice::from_ref(db), "data").unwrap();
            assert_eq!(of(&db).database, database, "{image}");
            db.state = "exited".into();
            assert_eq!((of(&db).database, of(&db).is_written), (None, false));
        }
    }

    #[test]
    fn a_label_that_makes_no_sense_is_told_with_its_container() {
        for (labels, words) in [
            (json!({ BEFORE_LABEL: " " }), "exec-before is empty"),
            (
                json!({ TIMEOUT_LABEL: "soon" }),
                "must be a duration, such as 90s or 10m; it is \"soon\"",
            ),
            (json!({ TIMEOUT_LABEL: "0s" }), "must be a duration"),
            (json!({ DUMP_LABEL: "oracle" }), "dump must be postgres, mysql, mariadb"),
            (json!({ DUMP_LABEL: "sqlite" }), "sqlite:/path/in/the/container"),
            (json!({ DUMP_LABEL: "sqlite:app.db" }), "sqlite:/path/in/the/container"),
            (json!({ DUMP_LABEL: "sqlite:/etc/app.db" }), "\"/etc/app.db\", which is in no volume"),
            (json!({ DUMP_ONLY_LABEL: "yes" }), "dump-only must be true or false"),
            (json!({ DUMP_ONLY_LABEL: "true" }), "is of no use without convoy-backups.dump"),
            (
                json!({ DUMP_ONLY_LABEL: "true", DUMP_LABEL: "redis", BEFORE_LABEL: "sync" }),
                "reads no files",
            ),
        ] {
            let odd = container("shop-db-1", &labels, &[("data", "/data")]);
            let error = asked(&[odd], "data").unwrap_err();
            assert!(error.message.contains("container \"shop-db-1\": the label convoy-backups."));
            assert!(error.message.contains(words) && error.hint.is_some(), "{error}");
        }
    }
}
