//! Finds scripts: the built-in ones and the user's. A user's script overrides the built-in one of
//! the same name.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    io::Read,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, MutexGuard},
};

use rhai::AST;
use sha2::{Digest, Sha256};

use super::{
    check,
    effect::Effect,
    engine, errors,
    manifest::{self, Manifest},
    parameter::Parameter,
};
use crate::{
    convoy::guards::Deletable,
    error::{Error, ErrorKind, Result},
    sync::lock,
};

// build.rs makes both tables from the folder scripts-rhai/: `SCRIPTS` has the default scripts by
// name, and `MODULES` has what they share, by import path.
include!(concat!(env!("OUT_DIR"), "/scripts.rs"));

/// The longest script, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The most scripts that are kept parsed. The cache is emptied when it is full.
const MOST_PARSED: usize = 100;

/// The end of a built-in file's name in errors.
const BUILT_IN_SUFFIX: &str = ".rhai (built in)";

/// Parsed scripts by their folder and name.
type Parsed = HashMap<(Option<PathBuf>, String), Script>;

/// The cache of parsed scripts, so that a request every second does not parse the same text every
/// second.
fn parsed() -> MutexGuard<'static, Parsed> {
    static PARSED: LazyLock<Mutex<Parsed>> = LazyLock::new(Mutex::default);
    lock(&PARSED)
}

/// All scripts that can be run: the built-in ones, and those of the user's folder.
#[derive(Debug, Clone)]
pub(crate) struct Library {
    folder: Option<PathBuf>,
}

/// Where a script comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The script is part of the program.
    BuiltIn,
    /// The script is a file of the user's.
    File {
        path: PathBuf,
        /// Whether the file replaces a built-in script of the same name.
        overrides: bool,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::File { path, overrides: false } => write!(f, "{}", path.display()),
            Self::File { path, overrides: true } => {
                write!(f, "{}, overrides the built-in one", path.display())
            }
        }
    }
}

/// A library of the user's that has the name of a built-in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shadowing {
    /// The import path: `lib/volumes`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl fmt::Display for Shadowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} shadows the built-in library \"{}\" for scripts of your own; built-in scripts use the built-in one",
            self.path.display(),
            self.name
        )
    }
}

/// A script as an entry in a list of scripts.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) origin: Origin,
    /// The first line of the script's doc, or the error if the script can't be loaded.
    pub(crate) doc: Result<String>,
}

/// A parsed script, ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// The name of the script's file, without `.rhai`.
    pub(crate) name: String,
    pub(crate) origin: Origin,
    /// The text of the script.
    pub(crate) source: String,
    /// The SHA-256 of the text, in hexadecimal.
    pub(crate) digest: String,
    /// The text of the script's `//!` lines.
    pub(crate) doc: String,
    /// The parameters, in the order of their declaration.
    pub(crate) parameters: Vec<Parameter>,
    /// Whether the script declares that it writes nothing (`const READ_ONLY = true;`). The guards
    /// enforce it.
    pub(crate) read_only: bool,
    /// What the script declares that it does (`const DOES = ["backup"];`). A script that declares
    /// nothing but replaces a default script is taken to do the same as the default one.
    pub(crate) does: Vec<Effect>,
    /// Whether the script may do more than `does` says: the user's scripts may, if they declare
    /// nothing.
    pub(crate) may_do_more: bool,
    /// What an empty list as the script's result means
    /// (`const IF_EMPTY = "there are no backups";`).
    pub(crate) if_empty: Option<String>,
    pub(crate) ast: AST,
    /// The script's file in the words of errors.
    pub(crate) file: String,
    /// Imports are looked for in this folder first, then among the built-in files. A built-in
    /// script has no folder: it imports built-in files only.
    pub(crate) folder: Option<PathBuf>,
}

impl Script {
    /// Whether the script may have this effect: it declares the effect, or declares nothing.
    pub(crate) fn may(&self, what: Effect) -> bool {
        self.may_do_more || self.does.contains(&what)
    }

    /// What the guards let the script delete. A backup may replace older snapshots.
    pub(crate) fn deletable(&self) -> Deletable {
        if self.may_delete() {
            Deletable::Everything
        } else if self.may(Effect::Backup) {
            Deletable::Snapshots
        } else {
            Deletable::Nothing
        }
    }

    /// Whether the script may delete backups, snapshots or volumes.
    pub(crate) fn may_delete(&self) -> bool {
        self.may(Effect::Prune) || self.may(Effect::Delete)
    }
}

impl Library {
    /// The built-in scripts, and those of a folder, which override them.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] if the folder is missing, is not a folder, or can't be read.
    pub(crate) fn new(folder: Option<PathBuf>) -> Result<Self> {
        let folder = match folder {
            None => None,
            Some(folder) => {
                let hint = "BKUP_SCRIPTS_DIR must be a folder with .rhai files; leave it unset to have the default scripts only";
                let wrong = |error: std::io::Error| {
                    Error::configuration(format!(
                        "cannot read the folder of scripts \"{}\": {error}",
                        folder.display()
                    ))
                    .with_hint(hint)
                };
                let real = folder.canonicalize().map_err(wrong)?;
                std::fs::read_dir(&real).map_err(wrong)?;
                Some(real)
            }
        };
        Ok(Self { folder })
    }

    /// All scripts by name. A script that can't be loaded is listed with its error.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] if the user's folder can no longer be read.
    pub(crate) fn list(&self) -> Result<Vec<Listed>> {
        let names = self.names()?;
        Ok(names
            .into_iter()
            .map(|name| {
                let doc = self
                    .load(&name)
                    .map(|script| script.doc.lines().next().unwrap_or_default().trim().to_owned());
                let path = self.folder.as_ref().map(|folder| folder.join(format!("{name}.rhai")));
                let origin = match path.filter(|path| path.symlink_metadata().is_ok()) {
                    Some(path) => {
                        Origin::File { path, overrides: built_in(SCRIPTS, &name).is_some() }
                    }
                    None => Origin::BuiltIn,
                };
                Listed { name, origin, doc }
            })
            .collect())
    }

    /// A script's text and origin.
    ///
    /// # Errors
    /// A usage error if there is no such script; the hint has the nearest name.
    pub(crate) fn source(&self, name: &str) -> Result<(String, Origin)> {
        let overrides = built_in(SCRIPTS, name);
        if is_name(name) {
            let file = format!("{name}.rhai");
            if let Some((text, path)) =
                self.folder.as_deref().map(|f| read_inside(f, &file)).transpose()?.flatten()
            {
                return Ok((text, Origin::File { path, overrides: overrides.is_some() }));
            }
            if let Some(text) = overrides {
                return Ok((text.to_owned(), Origin::BuiltIn));
            }
        }
        let names = self.names().unwrap_or_default();
        let otherwise = format!("there are {}", names.join(", "));
        Err(Error::usage(format!("no script named \"{name}\"")).with_hint(
            crate::suggest::did_you_mean_or(name, names.iter().map(String::as_str), &otherwise),
        ))
    }

    /// Parses a script and reads its declaration. Nothing of the script runs.
    ///
    /// # Errors
    /// A usage error if there is no such script; [`ErrorKind::Script`] with the place if the script
    /// is wrong.
    pub(crate) fn load(&self, name: &str) -> Result<Script> {
        let (source, origin) = self.source(name)?;
        self.parse(name, source, origin)
    }

    /// Parses a script from any file, to check it before it goes into the folder. Its imports are
    /// resolved as for the scripts of this folder.
    ///
    /// # Errors
    /// - [`ErrorKind::Io`] if the file can't be read.
    /// - [`ErrorKind::Configuration`] if the path is not a file, or the file is too long for a
    ///   script.
    /// - [`ErrorKind::Script`] with the place if the script is wrong.
    pub(crate) fn load_file(&self, path: &Path) -> Result<Script> {
        let text = read_bounded(path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !is_name(&name) {
            return Err(Error::usage(format!("\"{name}\" can't be a script's name")).with_hint(
                "use small letters, digits, \"_\" and \"-\", a letter first, and end the file's name in .rhai",
            ));
        }
        let overrides = built_in(SCRIPTS, &name).is_some();
        self.parse(&name, text, Origin::File { path: path.to_owned(), overrides })
    }

    fn parse(&self, name: &str, source: String, origin: Origin) -> Result<Script> {
        let key = (self.folder.clone(), name.to_owned());
        let is_same = |known: &&Script| known.source == source && known.origin == origin;
        if let Some(known) = parsed().get(&key).filter(is_same) {
            return Ok(known.clone());
        }
        let script = self.parse_anew(name, source, origin)?;
        let mut parsed = parsed();
        if parsed.len() >= MOST_PARSED {
            parsed.clear();
        }
        parsed.insert(key, script.clone());
        Ok(script)
    }

    fn parse_anew(&self, name: &str, source: String, origin: Origin) -> Result<Script> {
        let file = match &origin {
            Origin::BuiltIn => built_in_file(name),
            Origin::File { path, .. } => path.display().to_string(),
        };
        let mut ast = engine::for_compiling()
            .compile(&source)
            .map_err(|error| errors::of_parsing(&error, &file, &source))?;
        ast.set_source(file.as_str());
        let Manifest { parameters, read_only, does, if_empty } =
            manifest::read(&ast, &file, &source)?;
        check::check(&ast, &file, &source)?;
        let is_own = origin != Origin::BuiltIn;
        // The overridden script's declaration fills in what the user's script does not declare.
        let overridden = match &origin {
            Origin::File { overrides: true, .. } => Self { folder: None }.load(name).ok(),
            _ => None,
        };
        Ok(Script {
            may_do_more: is_own && !read_only && does.is_none(),
            does: does.unwrap_or_else(|| match &overridden {
                Some(default) if !read_only => default.does.clone(),
                _ => Vec::new(),
            }),
            if_empty: if_empty.or_else(|| overridden?.if_empty),
            name: name.to_owned(),
            digest: Sha256::digest(source.as_bytes())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            doc: doc(ast.doc()),
            folder: self.folder.clone().filter(|_| is_own),
            origin,
            source,
            parameters,
            read_only,
            ast,
            file,
        })
    }

    /// The user's libraries that have the name of a built-in one: scripts of the user's import
    /// them, and built-in scripts import the built-in ones.
    pub(crate) fn shadowing(&self) -> Vec<Shadowing> {
        let Some(folder) = &self.folder else { return Vec::new() };
        MODULES
            .iter()
            .map(|(name, _)| Shadowing {
                name: (*name).to_owned(),
                path: folder.join(format!("{name}.rhai")),
            })
            .filter(|shadowing| shadowing.path.symlink_metadata().is_ok())
            .collect()
    }

    fn names(&self) -> Result<Vec<String>> {
        let mut names: BTreeMap<String, ()> =
            SCRIPTS.iter().map(|(name, _)| ((*name).to_owned(), ())).collect();
        if let Some(folder) = &self.folder {
            let wrong = |error| {
                Error::configuration(format!(
                    "cannot read the folder of scripts \"{}\": {error}",
                    folder.display()
                ))
            };
            for entry in std::fs::read_dir(folder).map_err(wrong)? {
                let file = entry.map_err(wrong)?.file_name();
                if let Some(name) = file
                    .to_str()
                    .and_then(|file| file.strip_suffix(".rhai"))
                    .filter(|name| is_name(name))
                {
                    names.insert(name.to_owned(), ());
                }
            }
        }
        Ok(names.into_keys().collect())
    }
}

/// The text of an imported file, and the file in the words of errors. The user's file comes before
/// the built-in one.
///
/// `path` is as a script wrote it: `lib/volumes`, `lib/volumes.rhai`, `backup`.
pub(crate) fn module(folder: Option<&Path>, path: &str) -> Result<(String, String)> {
    let path = path.strip_suffix(".rhai").unwrap_or(path);
    let parts: Vec<&str> = path.split('/').collect();
    if !parts.iter().all(|part| is_name(part)) {
        return Err(Error::new(
            ErrorKind::Script,
            format!("cannot import \"{path}\": a script can import only what lies in the scripts' folders"),
        )
        .with_hint("write import \"lib/name\" as name, for the file lib/name.rhai in the folder of scripts"));
    }
    if let Some((text, file)) =
        folder.map(|folder| read_inside(folder, &format!("{path}.rhai"))).transpose()?.flatten()
    {
        return Ok((text, file.display().to_string()));
    }
    if let Some(text) = built_in(MODULES, path).or_else(|| built_in(SCRIPTS, path)) {
        return Ok((text.to_owned(), built_in_file(path)));
    }
    let otherwise = match folder {
        Some(folder) => {
            format!("there is no \"{path}.rhai\" in \"{}\", and none built in", folder.display())
        }
        None => format!(
            "there is no \"{path}.rhai\" built in; set BKUP_SCRIPTS_DIR to the folder where it is"
        ),
    };
    Err(Error::new(ErrorKind::Script, format!("cannot import \"{path}\": there is no such file"))
        .with_hint(crate::suggest::did_you_mean_or(
            path,
            MODULES.iter().map(|(name, _)| *name),
            &otherwise,
        )))
}

/// The name of a built-in file in errors.
fn built_in_file(name: &str) -> String {
    format!("{name}{BUILT_IN_SUFFIX}")
}

/// Whether a file in the words of errors is a built-in one. The user's files have absolute paths.
pub(crate) fn is_built_in(file: &str) -> bool {
    !file.starts_with('/') && file.ends_with(BUILT_IN_SUFFIX)
}

fn built_in(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// A file's text and path. `None` if there is no such file. A symbolic link that leads out of the
/// folder is an error.
fn read_inside(folder: &Path, relative: &str) -> Result<Option<(String, PathBuf)>> {
    let path = folder.join(relative);
    let cannot =
        |error: std::io::Error| Error::io(format!("cannot read \"{}\"", path.display()), &error);
    match path.symlink_metadata() {
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(cannot(error)),
        Ok(_) => {}
    }
    let real = path.canonicalize().map_err(cannot)?;
    if !real.starts_with(folder) {
        return Err(Error::configuration(format!(
            "\"{}\" is a symbolic link out of the folder of scripts: it leads to \"{}\"",
            path.display(),
            real.display()
        ))
        .with_hint("copy the file into the folder"));
    }
    Ok(Some((read_bounded(&real)?, path)))
}

/// The text of a script's file. Anything else than a file is not even opened: a FIFO would wait for
/// a writer, and a device may never end.
fn read_bounded(path: &Path) -> Result<String> {
    let cannot =
        |error: std::io::Error| Error::io(format!("cannot read \"{}\"", path.display()), &error);
    let too_long =
        || Error::configuration(format!("\"{}\" is not a file of at most 1 MiB", path.display()));
    if !path.metadata().map_err(cannot)?.is_file() {
        return Err(too_long());
    }
    // Reading one byte more than allowed shows that the file is too long. Its reported size can't
    // be trusted: files in /proc report none.
    let mut text = Vec::new();
    std::fs::File::open(path)
        .map_err(cannot)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(cannot)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(too_long());
    }
    String::from_utf8(text).map_err(|_| cannot(std::io::Error::other("it is not UTF-8")))
}

/// Checks the name of a new script.
///
/// # Errors
/// A usage error if the name is not allowed.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if is_name(name) {
        return Ok(());
    }
    Err(Error::usage(format!("\"{name}\" is not a name for a script"))
        .with_hint("a name is lower-case letters, digits, \"-\" or \"_\", the first a letter"))
}

/// Whether the name is allowed for a script: `^[a-z][a-z0-9_-]*$`.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
}

/// The text of the doc lines without their `//!`.
fn doc(lines: &str) -> String {
    let lines: Vec<&str> = lines
        .lines()
        .map(|line| line.trim().strip_prefix("//!").unwrap_or(line))
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .collect();
    lines.join("\n").trim().to_owned()
}
