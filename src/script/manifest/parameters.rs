//! The parameters that a script declares: `const PARAMETERS = #{ .. };`.

use rhai::{Expr, Position};
use serde_json::Value;

use super::reader::{Reader, literal};
use crate::{
    error::{Error, Result},
    script::parameter::{Parameter, ParameterKind},
    suggest,
};

/// The constant that declares a script's parameters.
const NAME: &str = "PARAMETERS";

/// The flags of every command. A parameter with such a name could never be given on the command
/// line.
pub(crate) const RESERVED: [&str; 12] = [
    "dry_run",
    "json",
    "quiet",
    "verbose",
    "timeout",
    "convoy",
    "as_of",
    "destination",
    "data_dir",
    "scripts_dir",
    "help",
    "version",
];

/// The fields of a parameter's declaration.
const FIELDS: [&str; 6] = ["type", "choices", "required", "default", "positional", "help"];

pub(super) fn parameters(reader: &Reader<'_>) -> Result<Vec<Parameter>> {
    let Some(declared) = reader.constant(NAME, "#{ .. }")? else { return Ok(Vec::new()) };
    let Expr::Map(map, _) = declared else {
        return Err(reader
            .wrong(declared.start_position(), format!("{NAME} must be a map written out here"))
            .with_hint(
                "write const PARAMETERS = #{ name: #{ type: \"string\", help: \"..\" } };",
            ));
    };
    let mut parameters: Vec<Parameter> = Vec::new();
    for (name, declaration) in &map.0 {
        let declared = Declared { reader, name: &name.name, at: name.pos };
        let parameter = declared.parameter(declaration)?;
        declared.check_unique(&parameters, parameter.positional)?;
        parameters.push(parameter);
    }
    Ok(parameters)
}

/// What the fields of a declaration say, each by itself.
#[derive(Default)]
struct Fields {
    /// The type is `None` for a choice, whose values are declared beside it.
    kind: Option<(Option<ParameterKind>, Position)>,
    choices: Option<Vec<String>>,
    required: bool,
    default: Option<(Value, Position)>,
    positional: bool,
    help: String,
}

/// A parameter that is being read.
struct Declared<'a> {
    reader: &'a Reader<'a>,
    name: &'a str,
    at: Position,
}

impl Declared<'_> {
    fn wrong(&self, at: Position, message: impl Into<String>) -> Error {
        self.reader.wrong(at, message)
    }

    fn parameter(&self, declaration: &Expr) -> Result<Parameter> {
        self.check_name()?;
        let fields = self.fields(declaration)?;
        let kind = self.kind(fields.kind, fields.choices)?;
        let (default, default_text) = match fields.default {
            None => (None, None),
            Some((_, at)) if fields.required => {
                return Err(self.wrong(
                    at,
                    format!(
                        "the parameter \"{}\" is required and has a default: choose one",
                        self.name
                    ),
                ));
            }
            Some((value, at)) => {
                let typed = kind.typed(&value).map_err(|error| {
                    self.wrong(
                        at,
                        format!(
                            "the default of the parameter \"{}\": {}",
                            self.name, error.message
                        ),
                    )
                })?;
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                (Some(typed), Some(text))
            }
        };
        let Fields { required, positional, help, .. } = fields;
        if positional && matches!(kind, ParameterKind::Bool) {
            let message =
                format!("the parameter \"{}\" is a flag and can't be positional", self.name);
            return Err(self.wrong(self.at, message));
        }
        let name = self.name.to_owned();
        Ok(Parameter { name, kind, required, default, default_text, positional, help })
    }

    fn check_name(&self) -> Result<()> {
        let name = self.name;
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if is_name {
            return Ok(());
        }
        Err(self
            .wrong(self.at, format!("\"{name}\" can't be a parameter's name"))
            .with_hint("use letters, digits and \"_\", a letter first"))
    }

    /// Whether the command line can tell the parameter from the others and from its own flags.
    fn check_unique(&self, others: &[Parameter], positional: bool) -> Result<()> {
        let is_same = |name: &str| suggest::fold(name) == suggest::fold(self.name);
        if let Some(twin) = others.iter().find(|other| is_same(&other.name)) {
            return Err(self.wrong(
                self.at,
                format!(
                    "\"{}\" and \"{}\" are the same parameter on the command line",
                    twin.name, self.name
                ),
            ));
        }
        if let Some(first) = others.iter().find(|other| other.positional && positional) {
            let message = format!("\"{}\" and \"{}\" are both positional", first.name, self.name);
            return Err(self.wrong(self.at, message).with_hint("one parameter can be"));
        }
        if RESERVED.into_iter().any(is_same) {
            return Err(self
                .wrong(self.at, format!("\"{}\" is a flag of every command", self.name))
                .with_hint("choose another name for the parameter"));
        }
        Ok(())
    }

    fn fields(&self, declaration: &Expr) -> Result<Fields> {
        let name = self.name;
        let Expr::Map(map, _) = declaration else {
            return Err(self
                .wrong(
                    declaration.start_position(),
                    format!("the parameter \"{name}\" must be declared by a map"),
                )
                .with_hint(format!("write {name}: #{{ type: \"string\", help: \"..\" }}")));
        };
        let mut fields = Fields::default();
        for (field, value) in &map.0 {
            let at = value.start_position();
            let field_of = || format!("\"{}\" of the parameter \"{name}\"", field.name);
            let Some(literal) = literal(value) else {
                return Err(self
                    .wrong(at, format!("{} must be written out, not computed", field_of()))
                    .with_hint("a declaration is read without running the script"));
            };
            match (field.name.as_str(), literal) {
                ("type", literal) => fields.kind = Some((self.declared_type(literal, at)?, at)),
                ("choices", literal) => fields.choices = Some(self.choices(&literal, at)?),
                ("required", Value::Bool(value)) => fields.required = value,
                ("positional", Value::Bool(value)) => fields.positional = value,
                ("required" | "positional", _) => {
                    return Err(self.wrong(at, format!("{} must be true or false", field_of())));
                }
                ("default", value) => fields.default = Some((value, at)),
                ("help", Value::String(text)) => fields.help = text,
                ("help", _) => {
                    return Err(self.wrong(at, format!("{} must be a string", field_of())));
                }
                (other, _) => {
                    let message =
                        format!("\"{other}\" is not known in the declaration of a parameter");
                    return Err(self.wrong(field.pos, message).with_hint(
                        suggest::did_you_mean_or(
                            other,
                            FIELDS,
                            "there are type, choices, required, default, positional and help",
                        ),
                    ));
                }
            }
        }
        Ok(fields)
    }

    /// The type of a declaration's `type:` and `choices:` together.
    fn kind(
        &self,
        kind: Option<(Option<ParameterKind>, Position)>,
        choices: Option<Vec<String>>,
    ) -> Result<ParameterKind> {
        let parameter = format!("the parameter \"{}\"", self.name);
        match (kind, choices) {
            (Some((Some(kind), _)), None) => Ok(kind),
            (None | Some((None, _)), Some(choices)) => Ok(ParameterKind::OneOf(choices)),
            (None, None) => Err(self
                .wrong(self.at, format!("{parameter} has no type"))
                .with_hint(format!("add type: one of {}", ParameterKind::words().join(", ")))),
            (Some((None, at)), None) => Err(self
                .wrong(at, format!("{parameter} is a choice without choices"))
                .with_hint("add choices: [\"one\", \"other\"]")),
            (Some((Some(_), at)), Some(_)) => {
                Err(self.wrong(at, format!("{parameter} has choices and another type")))
            }
        }
    }

    /// The type that `type:` names. `None` for a choice, whose values are declared beside it.
    fn declared_type(&self, literal: Value, at: Position) -> Result<Option<ParameterKind>> {
        let word = match literal {
            Value::String(word) => word,
            choices @ Value::Array(_) => {
                return Ok(Some(ParameterKind::OneOf(self.choices(&choices, at)?)));
            }
            _ => {
                return Err(self.wrong(
                    at,
                    format!(
                        "the type of the parameter \"{}\" must be a string or a list of choices",
                        self.name
                    ),
                ));
            }
        };
        let words = ParameterKind::words();
        match ParameterKind::of_word(&word) {
            Some(ParameterKind::OneOf(_)) => Ok(None),
            Some(kind) => Ok(Some(kind)),
            None => {
                let otherwise = format!("there are {}", words.join(", "));
                Err(self
                    .wrong(at, format!("there is no type \"{word}\""))
                    .with_hint(suggest::did_you_mean_or(&word, words, &otherwise)))
            }
        }
    }

    fn choices(&self, literal: &Value, at: Position) -> Result<Vec<String>> {
        let choices: Option<Vec<String>> = literal
            .as_array()
            .and_then(|all| all.iter().map(|one| one.as_str().map(str::to_owned)).collect());
        choices.filter(|choices| !choices.is_empty()).ok_or_else(|| {
            self.wrong(
                at,
                format!(
                    "the choices of the parameter \"{}\" must be a list of strings, one at least",
                    self.name
                ),
            )
        })
    }
}
