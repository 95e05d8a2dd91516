//! Dumps of databases, by labels of their containers. A dump goes straight into the repository while the
//! database makes it; a snapshot or backup has it as a file beside the volume's, or in their place.

mod script;

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use jiff::Timestamp;

use self::script::{Shape, file_name, script};
use super::{
    reading::Reader,
    repository::OpenRepository,
    save::{self, ExtraFile, Extras},
    state::VolumeState,
};
use crate::{
    convoy::DumpRecord,
    engine::{Activity, Asked, Commands, DUMP_LABEL, DumpKind, Engine, Exec, Limit},
    error::{Error, ErrorKind, Result},
    scope,
    units::format_size,
};

/// How long a dump may print nothing where no label says so: a lock, or a copy that is made first, may
/// take long.
const USUAL_SILENCE: Duration = Duration::from_mins(30);
/// What is printed behind a dump that went well begins so.
const END: &str = "\nconvoy-backups: the dump ends here ";

/// The dumps of a volume's databases. They are in the repository, and in no snapshot yet.
#[derive(Debug, Default)]
pub(super) struct Dumps {
    files: Vec<ExtraFile>,
    pub(super) records: Vec<DumpRecord>,
    /// Whether the volume's files are left out.
    pub(super) are_all: bool,
}

impl Dumps {
    pub(super) fn extras(&self) -> Extras<'_> {
        Extras { files: &self.files, are_all: self.are_all }
    }
}

impl Reader<'_> {
    /// Dumps the databases that have their files in this volume, where labels ask for it. That of a
    /// container that is off is at rest, and is backed up by its files.
    ///
    /// # Errors
    /// If a dump fails, or is not whole.
    pub(super) fn dump(
        self,
        volume: &VolumeState,
        repository: &OpenRepository,
        now: impl Fn() -> Timestamp,
    ) -> Result<Dumps> {
        let place = self.drivers.place(&volume.driver, &volume.name);
        if !self.moments.asked(&place)?.has_dumps() {
            return Ok(Dumps::default());
        }
        self.drivers.check(volume)?;
        if self.moments.is_quiet(&place) {
            let message = format!(
                "volume \"{}\" can't be dumped while docker::quiesced holds its containers",
                volume.name
            );
            return Err(Error::configuration(message).with_hint(
                "back it up outside of docker::quiesced, or remove the label convoy-backups.dump",
            ));
        }
        // Where another volume is held, the same container may stand still.
        let _turn = self.moments.turn(&place)?;
        // A dump may take hours, and what an earlier hold left must not stand still for as long.
        self.moments.release_left();
        let Some(engine) = self.moments.engine() else { return Ok(Dumps::default()) };
        let asked = self.moments.asked(&place)?;
        if !asked.has_dumps() {
            let message = format!(
                "volume \"{}\": the container that is to be dumped can't be found any more",
                volume.name
            );
            return Err(Error::new(ErrorKind::Io, message)
                .with_hint("it was removed, or is made anew: try again when it runs"));
        }
        let Asked { containers, only_dumps, .. } = asked;
        let mut dumps = Dumps { are_all: only_dumps, ..Dumps::default() };
        for container in containers.iter().filter(|container| !container.dumps.is_empty()) {
            match container.activity {
                Activity::Runs => {}
                Activity::Off if !only_dumps => {
                    log::warn!(
                        "volume \"{}\": container \"{}\" does not run, so its database is not dumped; its files are at rest",
                        volume.name,
                        container.name
                    );
                    continue;
                }
                Activity::Off | Activity::Other => return Err(does_not_run(volume, container)),
            }
            for kind in &container.dumps {
                let dumped = dump(&engine, container, kind, repository, &now);
                let (file, record) =
                    dumped.map_err(|error| error.context(format!("volume \"{}\"", volume.name)))?;
                log::info!(
                    "volume {}: {} of container {} was dumped ({})",
                    volume.name,
                    record.kind,
                    record.container,
                    format_size(record.bytes)
                );
                dumps.files.push(file);
                dumps.records.push(record);
            }
        }
        let mut paths: Vec<_> = dumps.files.iter().map(ExtraFile::path).collect();
        paths.sort_unstable();
        if let Some(twice) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!(
                "volume \"{}\": two of its dumps would have the name \"{}\"",
                volume.name, twice[0]
            );
            return Err(Error::configuration(message).with_hint(
                "give the databases paths that differ in more than special characters",
            ));
        }
        dumps.are_all &= !dumps.files.is_empty();
        Ok(dumps)
    }
}

fn dump(
    engine: &Engine,
    container: &Commands,
    kind: &DumpKind,
    repository: &OpenRepository,
    now: impl Fn() -> Timestamp,
) -> Result<(ExtraFile, DumpRecord)> {
    let end = format!("{END}{:016x}\n", RandomState::new().build_hasher().finish());
    let script = script(kind, &end);
    let what = format!("the dump ({DUMP_LABEL}={})", kind.as_str());
    let exec = Exec {
        container: (&container.id, &container.name),
        what: &what,
        script: &script,
        user: container.user.as_deref(),
        limit: Limit::Silent(container.timeout.unwrap_or(USUAL_SILENCE)),
    };
    let modified = now();
    let mut shape = Shape::default();
    let content = save::stream(repository, |take| {
        let mut behind = Behind::new(&end);
        engine.exec(
            exec,
            &scope::is_ended,
            Some(&mut |bytes| {
                behind.take(bytes, &mut |part| {
                    shape.add(part);
                    take(part)
                })
            }),
        )?;
        if behind.is_end() && shape.is_whole(kind) { Ok(()) } else { Err(torn(exec)) }
    })?;
    let file = ExtraFile::new(&file_name(&container.name, kind), content, modified);
    let (kind, path, bytes) = (kind.as_str().to_owned(), file.path(), file.bytes());
    Ok((file, DumpRecord { kind, container: container.name.clone(), path, bytes }))
}

fn torn(exec: Exec<'_>) -> Error {
    let message = format!("{exec} is not whole: its end is missing");
    Error::new(ErrorKind::Io, message).with_hint(
        "look into the database's log; does a proxy before Docker's socket end long answers?",
    )
}

fn does_not_run(volume: &VolumeState, container: &Commands) -> Error {
    let message = format!(
        "volume \"{}\": container \"{}\" does not run, or is paused, so its database can't be dumped",
        volume.name, container.name
    );
    Error::new(ErrorKind::Io, message).with_hint("let it run, and try again")
}

/// Keeps back what may be the end, which is no part of a dump.
struct Behind<'a> {
    end: &'a [u8],
    kept: Vec<u8>,
}

impl<'a> Behind<'a> {
    fn new(end: &'a str) -> Self {
        Self { end: end.as_bytes(), kept: Vec::new() }
    }

    /// Gives on what can't be a part of the end.
    fn take(&mut self, bytes: &[u8], give: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.kept.extend_from_slice(bytes);
        let surplus = self.kept.len().saturating_sub(self.end.len());
        if surplus > 0 {
            give(&self.kept[..surplus])?;
            self.kept.drain(..surplus);
        }
        Ok(())
    }

    fn is_end(&self) -> bool {
        self.kept == self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_no_part_of_a_dump_and_its_absence_is_seen() {
        for (printed, wanted, ends) in [
            ("rows and more rows<end>", "rows and more rows", true),
            ("<end>", "", true),
            ("rows<end>\n", "rows<", false),
            ("<en", "", false),
        ] {
            for step in 1..printed.len() {
                let (mut behind, mut given) = (Behind::new("<end>"), Vec::new());
                for part in printed.as_bytes().chunks(step) {
                    let mut give = |part: &[u8]| {
                        given.extend_from_slice(part);
                        Ok(())
                    };
                    behind.take(part, &mut give).unwrap();
                }
                assert_eq!(behind.is_end(), ends, "{printed} {step}");
                if ends {
                    assert_eq!(given, wanted.as_bytes());
                }
            }
        }
    }
}
