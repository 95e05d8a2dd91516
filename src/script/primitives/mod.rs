//! The functions that the core gives to scripts, a file for each namespace.
//!
//! A primitive is finished when it has a doc with an example, and its line in the [`reference`];
//! tests run every example.

mod config;
mod convoy;
mod log;
mod notify;
mod parallel;
mod removal;
mod retention;
mod run;
mod standard;
#[cfg(test)]
mod tests;
mod time;

use std::sync::{Arc, LazyLock};

use rhai::{
    Dynamic, Engine, EvalAltResult, Map, Module, NativeCallContext, Shared, plugin::exported_module,
};
use serde::{Deserialize, Serialize};

use super::{
    engine, errors,
    host::{Run, RunTag},
};
use crate::error::{Error, ErrorKind, Result};

/// The namespaces of the primitives.
pub(crate) const NAMESPACES: [&str; 7] =
    ["convoy", "config", "log", "notify", "retention", "run", "time"];

/// What a primitive returns to Rhai.
type Returned<T> = std::result::Result<T, Box<EvalAltResult>>;

/// Made once and shared by all engines.
static MODULES: LazyLock<Vec<(&str, Shared<Module>)>> = LazyLock::new(|| {
    let modules = [
        ("convoy", exported_module!(convoy::functions)),
        ("config", exported_module!(config::functions)),
        ("log", exported_module!(log::functions)),
        ("notify", exported_module!(notify::functions)),
        ("retention", exported_module!(retention::functions)),
        ("run", exported_module!(run::functions)),
        ("time", exported_module!(time::functions)),
    ];
    modules.into_iter().map(|(name, module)| (name, module.into())).collect()
});

static GLOBAL: LazyLock<[Shared<Module>; 2]> = LazyLock::new(|| {
    [exported_module!(standard::functions).into(), exported_module!(parallel::functions).into()]
});

/// Gives an engine all primitives.
pub(crate) fn register(engine: &mut Engine) {
    for module in GLOBAL.iter() {
        engine.register_global_module(Shared::clone(module));
    }
    for (name, module) in MODULES.iter() {
        engine.register_static_module(name, Shared::clone(module));
    }
}

/// The run that a primitive was called in.
fn run_of(context: &NativeCallContext<'_>) -> Result<Arc<Run>> {
    let tag = context.tag().and_then(|tag| tag.clone().try_cast::<RunTag>());
    tag.map(|tag| tag.0).ok_or_else(|| Error::internal("a primitive was called outside of a run"))
}

/// What every primitive does: work for the run, and an error at the place of the call.
fn call<T>(context: &NativeCallContext<'_>, work: impl FnOnce(&Run) -> Result<T>) -> Returned<T> {
    errors::raise(run_of(context).and_then(|run| work(&run)), context.call_position())
}

/// A value of the daemon's, under the daemon's own names.
fn to_script<T: Serialize>(value: T) -> Result<Dynamic> {
    rhai::serde::to_dynamic(value).map_err(|error| Error::internal(error.to_string()))
}

fn to_map<T: Serialize>(value: T) -> Result<Map> {
    to_script(value)?.try_cast().ok_or_else(|| Error::internal("the daemon's answer is no map"))
}

/// A value that must be a string.
fn string(value: &Dynamic, what: &str) -> Result<String> {
    value.clone().into_string().map_err(|found| {
        Error::usage(format!("the {what} must be a string, not {}", errors::script_types(found)))
    })
}

/// A map of options, read; an unknown option is an error.
struct Options<'a> {
    map: &'a Map,
    of: &'static str,
}

impl<'a> Options<'a> {
    fn new(map: &'a Map, of: &'static str, known: &[&str]) -> Result<Self> {
        if let Some(unknown) = map.keys().find(|key| !known.contains(&key.as_str())) {
            let otherwise = format!("there are {}", known.join(", "));
            return Err(Error::new(ErrorKind::Script, format!("{of} has no option \"{unknown}\""))
                .with_hint(crate::suggest::did_you_mean_or(
                    unknown,
                    known.iter().copied(),
                    &otherwise,
                )));
        }
        Ok(Self { map, of })
    }

    fn get(&self, name: &str) -> Option<&Dynamic> {
        self.map.get(name).filter(|value| !value.is_unit())
    }

    fn string(&self, name: &str) -> Result<Option<String>> {
        self.get(name)
            .map(|value| string(value, &format!("option \"{name}\" of {}", self.of)))
            .transpose()
    }

    fn flag(&self, name: &str) -> Result<bool> {
        self.get(name).map_or(Ok(false), |value| {
            value.as_bool().map_err(|_| {
                Error::usage(format!("the option \"{name}\" of {} must be true or false", self.of))
            })
        })
    }

    /// A whole number that is not negative.
    fn number(&self, name: &str) -> Result<Option<u64>> {
        self.get(name)
            .map(|value| {
                value.as_int().ok().and_then(|number| u64::try_from(number).ok()).ok_or_else(|| {
                    Error::usage(format!(
                        "the option \"{name}\" of {} must be a number, 0 or more, not {value}",
                        self.of
                    ))
                })
            })
            .transpose()
    }
}

/// A primitive in the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its namespace; empty for a function that needs none.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// How it is called: `convoy::volume(name: string) -> map`.
    pub(crate) signature: String,
    /// How many arguments it takes.
    pub(crate) arity: usize,
    /// Its doc: what it does, how it fails, an example.
    pub(crate) doc: String,
}

impl Entry {
    /// Its name with the namespace: `convoy::volume`.
    pub(crate) fn path(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}::{}", self.namespace, self.name)
        }
    }

    /// The examples in its doc: what stands in its `rhai` blocks.
    #[cfg(test)]
    pub(crate) fn examples(&self) -> Vec<String> {
        self.doc
            .split("```rhai\n")
            .skip(1)
            .map(|block| block.split("```").next().unwrap_or_default().to_owned())
            .collect()
    }
}

/// All primitives, by namespace and name: what documentation and error messages are made from.
pub(crate) fn reference() -> &'static [Entry] {
    static REFERENCE: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let json = engine::for_compiling().gen_fn_metadata_to_json(false).unwrap_or_default();
        let metadata: Metadata = serde_json::from_str(&json).unwrap_or_default();
        let mut entries: Vec<Entry> = metadata.entries("").collect();
        for (namespace, module) in &metadata.modules {
            entries.extend(module.entries(namespace));
        }
        // Rhai's own order differs from run to run where names and numbers of parameters are equal.
        entries.sort_by(|a, b| {
            (a.path(), a.arity, &a.signature).cmp(&(b.path(), b.arity, &b.signature))
        });
        entries.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        entries
    });
    &REFERENCE
}

/// The primitives as definitions for the Rhai language server (`.d.rhai`), so that editors know
/// them.
pub(crate) fn definitions() -> String {
    engine::for_compiling().definitions().include_standard_packages(false).single_file()
}

/// Rhai's description of an engine's functions.
#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    modules: std::collections::BTreeMap<String, Metadata>,
    #[serde(default)]
    functions: Vec<Function>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Function {
    name: String,
    #[serde(default)]
    params: Vec<FunctionParameter>,
    #[serde(default)]
    return_type: String,
    #[serde(default)]
    doc_comments: Vec<String>,
}

#[derive(Deserialize)]
struct FunctionParameter {
    #[serde(default)]
    name: String,
    #[serde(rename = "type", default)]
    kind: String,
}

impl Metadata {
    fn entries<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = Entry> + 'a {
        self.functions.iter().map(move |function| function.entry(namespace))
    }
}

impl Function {
    fn entry(&self, namespace: &str) -> Entry {
        let parameters: Vec<String> =
            self.params.iter().map(|p| format!("{}: {}", p.name, script_type(&p.kind))).collect();
        let mut entry = Entry {
            namespace: namespace.to_owned(),
            name: self.name.clone(),
            signature: String::new(),
            arity: parameters.len(),
            doc: self
                .doc_comments
                .iter()
                .flat_map(|comment| comment.lines())
                .map(|line| line.trim_start().trim_start_matches("///"))
                .map(|line| line.strip_prefix(' ').unwrap_or(line))
                .collect::<Vec<_>>()
                .join("\n"),
        };
        let result = match script_type(&self.return_type).as_str() {
            "" | "()" => String::new(),
            other => format!(" -> {other}"),
        };
        entry.signature = format!("{}({}){result}", entry.path(), parameters.join(", "));
        entry
    }
}

/// Rust's names of types as a script's author knows them.
fn script_type(rust: &str) -> String {
    let inner = rust
        .trim()
        .trim_start_matches("Returned<")
        .trim_start_matches("Result<")
        .split([',', '>'])
        .next()
        .unwrap_or_default()
        .trim();
    match inner {
        "&str" | "String" | "ImmutableString" | "&mut ImmutableString" => "string",
        "f64" | "FLOAT" => "float",
        "INT" | "i64" | "int" => "int",
        "bool" => "bool",
        "Map" => "map",
        "Array" => "array",
        "Dynamic" | "?" => "any",
        "FnPtr" | "Fn" => "function",
        other => other,
    }
    .to_owned()
}
