//! A script's declaration as JSON: for `--json` on the command line, the HTTP API and its OpenAPI
//! document.

use serde_json::{Value, json};

use super::{
    library::Script,
    parameter::{Parameter, ParameterKind},
};

/// Everything that a script declares, without its source.
pub(crate) fn script(script: &Script) -> Value {
    json!({
        "name": script.name,
        "summary": summary(&script.doc),
        "doc": script.doc,
        "origin": script.origin.to_string(),
        "digest": script.digest,
        "read_only": script.read_only,
        "does": script.does,
        "may_delete": script.may_delete(),
        "signature": script.signature(),
        "parameters": script.parameters.iter().map(parameter).collect::<Vec<_>>(),
    })
}

/// The first line of a doc.
fn summary(doc: &str) -> &str {
    doc.lines().next().unwrap_or_default().trim()
}

fn parameter(parameter: &Parameter) -> Value {
    let mut shown = json!({
        "name": parameter.name,
        "option": parameter.option(),
        "type": parameter.kind.word(),
        "required": parameter.required,
        "positional": parameter.positional,
        "default": parameter.default,
        "default_text": parameter.default_text,
        "help": parameter.help,
    });
    if let (ParameterKind::OneOf(choices), Some(shown)) = (&parameter.kind, shown.as_object_mut()) {
        shown.insert("choices".into(), choices.as_slice().into());
    }
    shown
}
