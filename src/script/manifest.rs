//! A script's declaration, read from its syntax tree without running it.
//!
//! ```rhai
//! //! Back up one volume, or every volume.
//!
//! const PARAMETERS = #{
//!     volume: #{ type: "volume", help: "the volume; every volume if left out" },
//!     keep:   #{ type: "duration", default: "7d", help: "how long to keep it" },
//! };
//! ```
//!
//! A declaration is literal data. So listing scripts, showing help or checking a crontab needs no
//! engine and runs no script.

pub(crate) mod parameters;
mod reader;

use rhai::{AST, Expr, FnAccess, Position};
use serde_json::Value;

use self::{
    parameters::parameters,
    reader::{Reader, literal},
};
use super::{effect::Effect, parameter::Parameter};
use crate::error::Result;

/// The constant that declares that a script writes nothing.
const READ_ONLY: &str = "READ_ONLY";

/// The constant that declares what a script does.
const DOES: &str = "DOES";

/// The constant that declares what an empty list as the script's result means.
const IF_EMPTY: &str = "IF_EMPTY";

/// A script's declaration.
pub(crate) struct Manifest {
    /// In the order of their declaration.
    pub(crate) parameters: Vec<Parameter>,
    /// `const READ_ONLY = true;`
    pub(crate) read_only: bool,
    /// `const DOES = ["snapshot", "backup"];`
    pub(crate) does: Option<Vec<Effect>>,
    /// `const IF_EMPTY = "there are no backups";`
    pub(crate) if_empty: Option<String>,
}

/// Reads a script's declaration.
///
/// # Errors
/// [`Script`](crate::error::ErrorKind::Script) with the place of the first mistake in a declaration, or if there is no
/// `main`.
pub(crate) fn read(ast: &AST, file: &str, source: &str) -> Result<Manifest> {
    let reader = Reader { ast, file, source };
    check_main(&reader)?;
    let parameters = parameters(&reader)?;
    let read_only = read_only(&reader)?;
    let does = does(read_only, &reader)?;
    Ok(Manifest { parameters, read_only, does, if_empty: if_empty(&reader)? })
}

fn read_only(reader: &Reader<'_>) -> Result<bool> {
    match reader.constant(READ_ONLY, "true")? {
        None => Ok(false),
        Some(Expr::BoolConstant(value, _)) => Ok(*value),
        Some(other) => Err(reader
            .wrong(
                other.start_position(),
                format!("{READ_ONLY} must be true or false, written out here"),
            )
            .with_hint("a declaration is read without running the script")),
    }
}

fn does(read_only: bool, reader: &Reader<'_>) -> Result<Option<Vec<Effect>>> {
    let Some(declared) = reader.constant(DOES, "[\"backup\"]")? else { return Ok(None) };
    let at = declared.start_position();
    let Some(Value::Array(words)) = literal(declared) else {
        return Err(reader
            .wrong(at, format!("{DOES} must be a list of words, written out here"))
            .with_hint("write const DOES = [\"backup\"];"));
    };
    let known = Effect::WORDS.map(|(word, _)| word);
    let otherwise = format!("there are {}", known.join(", "));
    let mut all = Vec::new();
    for word in words {
        let word = word.as_str().map_or_else(|| word.to_string(), str::to_owned);
        let does = Effect::parse(&word).ok_or_else(|| {
            reader
                .wrong(at, format!("{DOES} does not know \"{word}\""))
                .with_hint(crate::suggest::did_you_mean_or(&word, known, &otherwise))
        })?;
        all.push(does);
    }
    if read_only && !all.is_empty() {
        return Err(reader
            .wrong(at, format!("a script with {READ_ONLY} writes nothing"))
            .with_hint(format!("take {READ_ONLY} or {DOES} out")));
    }
    Ok(Some(all))
}

fn if_empty(reader: &Reader<'_>) -> Result<Option<String>> {
    match reader.constant(IF_EMPTY, "\"there are no backups\"")? {
        None => Ok(None),
        Some(Expr::StringConstant(text, _)) => Ok(Some(text.to_string())),
        Some(other) => Err(reader
            .wrong(other.start_position(), format!("{IF_EMPTY} must be a string, written out here"))
            .with_hint("write const IF_EMPTY = \"there are no backups\";")),
    }
}

fn check_main(reader: &Reader<'_>) -> Result<()> {
    let main = reader.ast.iter_functions().find(|function| function.name == "main");
    let hint = "write \"fn main(args) { .. }\"; what it returns is the run's result";
    match main {
        None => {
            Err(reader.wrong(Position::NONE, "the script has no function \"main\"").with_hint(hint))
        }
        Some(main) if main.access == FnAccess::Private => {
            Err(reader.wrong(Position::NONE, "the script's \"main\" is private").with_hint(hint))
        }
        Some(main) if main.params.len() > 1 => Err(reader
            .wrong(
                Position::NONE,
                format!(
                    "the script's \"main\" has {} parameters, one is the most",
                    main.params.len()
                ),
            )
            .with_hint(hint)),
        Some(_) => Ok(()),
    }
}
