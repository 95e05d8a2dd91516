//! A script's parameters as JSON Schema. The schema accepts the values that
//! [`crate::script::arguments`] accepts.
//!
//! The patterns help authors of clients and forms. A value that matches is well formed; the daemon
//! may still refuse it, because the volume does not exist, for example.

use serde_json::{Map, Value, json};

use crate::script::{Parameter, ParameterKind, Script};

/// The name of a volume or a snapshot, as in [`crate::convoy::Name`].
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{1,127}$";
/// A size in bytes, as in [`crate::units::parse_size`]. The numbers are short enough for any unit.
const SIZE: &str = "^([0-9]{1,18}[bB]?|[0-9]{1,6}[kKmMgGtT]([iI]?[bB])?)$";
/// A length of time, as in [`crate::units::parse_duration`]. The numbers are short enough for any
/// unit.
pub(super) const DURATION: &str = "^([0-9]{1,6}[smh]|[0-9]{1,5}d|[0-9]{1,4}w|[0-9]{1,2}y){1,3}$";
/// A length of time in which every part is above zero.
pub(super) const SOME_TIME: &str =
    "^([1-9][0-9]{0,5}[smh]|[1-9][0-9]{0,4}d|[1-9][0-9]{0,3}w|[1-9][0-9]?y){1,3}$";
/// A destination. The program accepts more names of folders than this pattern.
const DESTINATION: &str = "^(vfs://(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+|s3://[a-z0-9.-]+@[a-z0-9-]+(/[A-Za-z0-9_.-]+)*|ebs://[a-z0-9-]+)$";
/// The URL of a backup.
const BACKUP_URL: &str = "^((vfs://(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+|s3://[a-z0-9.-]+@[a-z0-9-]+(/[A-Za-z0-9_.-]+)*)\
    \\?backup=[A-Za-z0-9][A-Za-z0-9_.-]{1,127}&volume=[A-Za-z0-9][A-Za-z0-9_.-]{1,127}(&as-of=2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?|ebs://[a-z0-9-]+/snap-[0-9a-f]+)$";

/// How the arguments come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// As JSON, with types.
    Json,
    /// As a form: all values are text, and a list is a repeated field.
    Form,
}

/// All arguments of a script.
pub(super) fn arguments(script: &Script, sent: Sent) -> Value {
    let properties: Map<String, Value> = script
        .parameters
        .iter()
        .map(|parameter| (parameter.name.clone(), property(parameter, sent)))
        .collect();
    let required = script.parameters.iter().filter(|parameter| parameter.required);
    let required: Vec<&str> = required.map(|parameter| parameter.name.as_str()).collect();
    let mut schema =
        json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

fn property(parameter: &Parameter, sent: Sent) -> Value {
    let mut schema = of_kind(&parameter.kind, sent);
    // In JSON, `null` means the same as leaving the argument out.
    if sent == Sent::Json && !parameter.required {
        allow_null(&mut schema);
    }
    schema["description"] = parameter.help.clone().into();
    let default = match parameter.kind {
        ParameterKind::Size
        | ParameterKind::Duration
        | ParameterKind::Time
        | ParameterKind::Since => parameter.default_text.clone().map(Value::String),
        _ => parameter.default.clone(),
    };
    if let Some(default) = default {
        schema["default"] = default;
    }
    schema
}

fn of_kind(kind: &ParameterKind, sent: Sent) -> Value {
    let text = |pattern: &str, example: &str| json!({ "type": "string", "pattern": pattern, "examples": [example] });
    let in_json = sent == Sent::Json;
    match kind {
        ParameterKind::String => json!({ "type": "string", "minLength": 1 }),
        ParameterKind::Int if in_json => {
            json!({ "type": ["integer", "string"], "format": "int64", "pattern": "^-?[0-9]{1,18}$" })
        }
        ParameterKind::Int => json!({ "type": "integer", "format": "int64" }),
        ParameterKind::Bool if in_json => {
            json!({ "type": ["boolean", "string"], "pattern": "^(true|false|yes|no|1|0)$" })
        }
        ParameterKind::Bool => {
            json!({ "type": "string", "enum": ["true", "false", "yes", "no", "1", "0"] })
        }
        ParameterKind::Size if in_json => {
            json!({ "type": ["string", "integer"], "minimum": 0, "maximum": i64::MAX, "pattern": SIZE, "examples": ["40G"] })
        }
        ParameterKind::Size => text(SIZE, "40G"),
        // A number of seconds is accepted, too.
        ParameterKind::Duration if in_json => {
            json!({ "type": ["string", "integer"], "minimum": 0, "maximum": i64::MAX, "pattern": DURATION, "examples": ["7d"] })
        }
        ParameterKind::Duration => text(DURATION, "7d"),
        ParameterKind::Time | ParameterKind::Since => {
            json!({ "type": "string", "minLength": 1, "examples": ["yesterday 18:00"] })
        }
        ParameterKind::OneOf(choices) => json!({ "type": "string", "enum": choices }),
        ParameterKind::List => {
            json!({ "type": ["array", "string"], "items": { "type": "string" } })
        }
        ParameterKind::Volume => text(NAME, "vol1"),
        ParameterKind::Snapshot => text(NAME, "vol1-20261123T074200.123456Z"),
        ParameterKind::BackupUrl => {
            text(BACKUP_URL, "vfs:///mnt/backups?backup=backup-e2f082aae4225ed9&volume=vol1")
        }
        ParameterKind::Destination => text(DESTINATION, "vfs:///mnt/backups"),
    }
}

fn allow_null(schema: &mut Value) {
    match &mut schema["type"] {
        Value::Array(types) => types.push("null".into()),
        one => *one = json!([one.take(), "null"]),
    }
    if let Some(Value::Array(choices)) = schema.get_mut("enum") {
        choices.push(Value::Null);
    }
}
