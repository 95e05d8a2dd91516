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

use rhai::{AST, Expr, FnAccess, Position, Stmt};
use serde_json::Value;

use super::{
    effect::Effect,
    parameter::{Parameter, ParameterKind, typed},
    thrown::located,
};
use crate::error::{Error, ErrorKind, Result};

/// The constant that declares a script's parameters.
const NAME: &str = "PARAMETERS";

/// The constant that declares that a script writes nothing.
const READ_ONLY: &str = "READ_ONLY";

/// The constant that declares what a script does.
const DOES: &str = "DOES";

/// The words that `type:` accepts.
const TYPES: [&str; 11] = [
    "string",
    "int",
    "bool",
    "size",
    "duration",
    "choice",
    "list",
    "volume",
    "snapshot",
    "backup_url",
    "destination",
];

/// The flags of every command. A parameter with such a name could never be given on the command
/// line.
pub(crate) const RESERVED: [&str; 11] = [
    "dry_run",
    "json",
    "quiet",
    "verbose",
    "timeout",
    "convoy",
    "destination",
    "data_dir",
    "scripts_dir",
    "help",
    "version",
];

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

/// Where a declaration is read; errors name the place.
struct Reader<'a> {
    file: &'a str,
    source: &'a str,
}

impl Reader<'_> {
    fn wrong(&self, position: Position, message: impl Into<String>) -> Error {
        located(Error::new(ErrorKind::Script, message), self.file, self.source, position)
    }

    /// The value of the script's constant `name`; `None` if the script has no such constant.
    fn constant<'a>(&self, ast: &'a AST, name: &str, example: &str) -> Result<Option<&'a Expr>> {
        for statement in ast.statements() {
            if let Stmt::Var(variable, flags, position) = statement
                && variable.0.name == name
            {
                if !flags.contains(rhai::ASTFlags::CONSTANT) {
                    return Err(self
                        .wrong(*position, format!("{name} must be a constant"))
                        .with_hint(format!("write \"const {name} = {example};\"")));
                }
                return Ok(Some(&variable.1));
            }
        }
        Ok(None)
    }
}

/// Reads a script's declaration.
///
/// # Errors
/// [`ErrorKind::Script`] with the place of the first mistake in a declaration, or if there is no
/// `main`.
pub(crate) fn read(ast: &AST, file: &str, source: &str) -> Result<Manifest> {
    let reader = Reader { file, source };
    check_main(ast, &reader)?;
    let parameters = parameters(ast, &reader)?;
    let read_only = read_only(ast, &reader)?;
    let does = does(ast, read_only, &reader)?;
    Ok(Manifest { parameters, read_only, does, if_empty: if_empty(ast, &reader)? })
}

fn parameters(ast: &AST, reader: &Reader<'_>) -> Result<Vec<Parameter>> {
    let Some(declared) = reader.constant(ast, NAME, "#{ .. }")? else { return Ok(Vec::new()) };
    let Expr::Map(map, _) = declared else {
        return Err(reader
            .wrong(declared.start_position(), format!("{NAME} must be a map written out here"))
            .with_hint(
                "write const PARAMETERS = #{ name: #{ type: \"string\", help: \"..\" } };",
            ));
    };
    let mut parameters: Vec<Parameter> = Vec::new();
    for (name, declaration) in &map.0 {
        let parameter = parameter(reader, &name.name, name.pos, declaration)?;
        if let Some(twin) = parameters
            .iter()
            .find(|p| crate::suggest::fold(&p.name) == crate::suggest::fold(&parameter.name))
        {
            return Err(reader.wrong(
                name.pos,
                format!(
                    "\"{}\" and \"{}\" are the same parameter on the command line",
                    twin.name, parameter.name
                ),
            ));
        }
        if RESERVED
            .iter()
            .any(|flag| crate::suggest::fold(flag) == crate::suggest::fold(&parameter.name))
        {
            return Err(reader
                .wrong(name.pos, format!("\"{}\" is a flag of every command", parameter.name))
                .with_hint("choose another name for the parameter"));
        }
        parameters.push(parameter);
    }
    Ok(parameters)
}

fn read_only(ast: &AST, reader: &Reader<'_>) -> Result<bool> {
    match reader.constant(ast, READ_ONLY, "true")? {
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

fn does(ast: &AST, read_only: bool, reader: &Reader<'_>) -> Result<Option<Vec<Effect>>> {
    let Some(declared) = reader.constant(ast, DOES, "[\"backup\"]")? else { return Ok(None) };
    let at = declared.start_position();
    let literal =
        declared.get_literal_value(None).and_then(|value| serde_json::to_value(&value).ok());
    let Some(Value::Array(words)) = literal else {
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

fn if_empty(ast: &AST, reader: &Reader<'_>) -> Result<Option<String>> {
    match reader.constant(ast, IF_EMPTY, "\"there are no backups\"")? {
        None => Ok(None),
        Some(Expr::StringConstant(text, _)) => Ok(Some(text.to_string())),
        Some(other) => Err(reader
            .wrong(other.start_position(), format!("{IF_EMPTY} must be a string, written out here"))
            .with_hint("write const IF_EMPTY = \"there are no backups\";")),
    }
}

fn check_main(ast: &AST, reader: &Reader<'_>) -> Result<()> {
    let main = ast.iter_functions().find(|function| function.name == "main");
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

fn parameter(
    reader: &Reader<'_>,
    name: &str,
    position: Position,
    declaration: &Expr,
) -> Result<Parameter> {
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return Err(reader
            .wrong(position, format!("\"{name}\" can't be a parameter's name"))
            .with_hint("use letters, digits and \"_\", a letter first"));
    }
    let Expr::Map(fields, _) = declaration else {
        return Err(reader
            .wrong(
                declaration.start_position(),
                format!("the parameter \"{name}\" must be declared by a map"),
            )
            .with_hint(format!("write {name}: #{{ type: \"string\", help: \"..\" }}")));
    };
    let (mut kind, mut choices, mut required, mut default, mut help) =
        (None, None, false, None, String::new());
    for (field, value) in &fields.0 {
        let at = value.start_position();
        let Some(literal) =
            value.get_literal_value(None).and_then(|value| serde_json::to_value(&value).ok())
        else {
            return Err(reader
                .wrong(
                    at,
                    format!(
                        "\"{}\" of the parameter \"{name}\" must be written out, not computed",
                        field.name
                    ),
                )
                .with_hint("a declaration is read without running the script"));
        };
        match (field.name.as_str(), literal) {
            ("type", literal) => kind = Some((read_kind(reader, name, at, literal)?, at)),
            ("choices", literal) => choices = Some(read_choices(reader, name, at, &literal)?),
            ("required", Value::Bool(value)) => required = value,
            ("default", value) => default = Some((value, at)),
            ("help", Value::String(text)) => help = text,
            ("required" | "help", _) => {
                let what = if field.name == "help" { "a string" } else { "true or false" };
                return Err(reader.wrong(
                    at,
                    format!("\"{}\" of the parameter \"{name}\" must be {what}", field.name),
                ));
            }
            (other, _) => {
                let known = ["type", "choices", "required", "default", "help"];
                return Err(reader
                    .wrong(
                        field.pos,
                        format!("\"{other}\" is not known in the declaration of a parameter"),
                    )
                    .with_hint(crate::suggest::did_you_mean_or(
                        other,
                        known,
                        "there are type, choices, required, default and help",
                    )));
            }
        }
    }
    let kind = match (kind, choices) {
        (None, None) => {
            return Err(reader
                .wrong(position, format!("the parameter \"{name}\" has no type"))
                .with_hint(format!("add type: one of {}", TYPES.join(", "))));
        }
        (None | Some((None, _)), Some(choices)) => ParameterKind::OneOf(choices),
        (Some((None, at)), None) => {
            return Err(reader
                .wrong(at, format!("the parameter \"{name}\" is a choice without choices"))
                .with_hint("add choices: [\"one\", \"other\"]"));
        }
        (Some((Some(_), at)), Some(_)) => {
            return Err(
                reader.wrong(at, format!("the parameter \"{name}\" has choices and another type"))
            );
        }
        (Some((Some(kind), _)), None) => kind,
    };
    let mut parameter = Parameter {
        name: name.to_owned(),
        kind,
        required,
        default: None,
        default_text: None,
        help,
    };
    if let Some((value, at)) = default {
        if required {
            return Err(reader.wrong(
                at,
                format!("the parameter \"{name}\" is required and has a default: choose one"),
            ));
        }
        let typed = typed(&parameter, &value).map_err(|error| {
            reader.wrong(at, format!("the default of the parameter \"{name}\": {}", error.message))
        })?;
        parameter.default = Some(typed);
        parameter.default_text =
            Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    Ok(parameter)
}

/// The type that a declaration names. `None` for a choice, whose values are declared beside it.
fn read_kind(
    reader: &Reader<'_>,
    name: &str,
    at: Position,
    literal: Value,
) -> Result<Option<ParameterKind>> {
    let word = match literal {
        Value::String(word) => word,
        choices @ Value::Array(_) => {
            return Ok(Some(ParameterKind::OneOf(read_choices(reader, name, at, &choices)?)));
        }
        _ => {
            return Err(reader.wrong(
                at,
                format!(
                    "the type of the parameter \"{name}\" must be a string or a list of choices"
                ),
            ));
        }
    };
    Ok(Some(match word.as_str() {
        "string" => ParameterKind::String,
        "int" => ParameterKind::Int,
        "bool" => ParameterKind::Bool,
        "size" => ParameterKind::Size,
        "duration" => ParameterKind::Duration,
        "list" => ParameterKind::List,
        "volume" => ParameterKind::Volume,
        "snapshot" => ParameterKind::Snapshot,
        "backup_url" => ParameterKind::BackupUrl,
        "destination" => ParameterKind::Destination,
        "choice" => return Ok(None),
        _ => {
            return Err(reader.wrong(at, format!("there is no type \"{word}\"")).with_hint(
                crate::suggest::did_you_mean_or(
                    &word,
                    TYPES,
                    &format!("there are {}", TYPES.join(", ")),
                ),
            ));
        }
    }))
}

fn read_choices(
    reader: &Reader<'_>,
    name: &str,
    at: Position,
    literal: &Value,
) -> Result<Vec<String>> {
    let choices: Option<Vec<String>> = literal
        .as_array()
        .and_then(|all| all.iter().map(|one| one.as_str().map(str::to_owned)).collect());
    match choices {
        Some(choices) if !choices.is_empty() => Ok(choices),
        _ => Err(reader.wrong(
            at,
            format!(
                "the choices of the parameter \"{name}\" must be a list of strings, one at least"
            ),
        )),
    }
}
